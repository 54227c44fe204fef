"""The furnace controller's device, against frames written by hand from the Modbus specification."""

import pytest

from megabar.acquisition.clock import RealClock
from megabar.devices.errors import LimitError, Refused, WrongInstrument
from megabar.devices.furnaces import Furnace
from megabar.devices.furnaces.eurotherm import Eurotherm3504


def crc(body: bytes) -> bytes:
    """The bitwise definition in "MODBUS over Serial Line" V1.02, section 6.2.2."""
    register = 0xFFFF
    for byte in body:
        register ^= byte
        for _ in range(8):
            carry = register & 1
            register >>= 1
            if carry:
                register ^= 0xA001
    return bytes([register & 0xFF, register >> 8])


def frames(request: str, reply: str) -> tuple[bytes, bytes]:
    return tuple(bytes.fromhex(text) + crc(bytes.fromhex(text)) if text else b"" for text in (request, reply))


def written(request: str) -> tuple[bytes, bytes]:
    """A write that is echoed."""
    return frames(request, request)


IDENTITY = frames("01 03 007A 0001", "01 03 02 E440")
# process value 812.3, target 900.0, manual output 0, output 41.2, working set-point 815.0
LOOP = frames("01 03 0001 0005", "01 03 0A 1FBB 2328 0000 019C 1FD6")
RATE_50 = frames("01 03 0023 0001", "01 03 02 01F4")
RATE_OFF = frames("01 03 0023 0001", "01 03 02 0000")
STATUS = frames("01 03 004B 0001", "01 03 02 0000")
BROKEN = frames("01 03 004B 0001", "01 03 02 0020")
AUTOMATIC = frames("01 03 0111 0001", "01 03 02 0000")
MANUAL = frames("01 03 0111 0001", "01 03 02 0001")
OUTPUT_0 = frames("01 03 0004 0001", "01 03 02 0000")
OUTPUT_41 = frames("01 03 0004 0001", "01 03 02 019C")
TO_AUTOMATIC = written("01 06 0111 0000")
TO_MANUAL = written("01 06 0111 0001")
NO_OUTPUT = written("01 06 0003 0000")
ATTACH = [IDENTITY, LOOP, RATE_50, STATUS, MANUAL]


@pytest.fixture
def furnace_on(on_serial_line, attach):
    """A furnace attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes], attachment=ATTACH):
        transcript = on_serial_line([*attachment, *exchanges])
        return attach(Eurotherm3504, transcript.address, "furnace", timeout_s=0.2), transcript

    return make


def test_the_frames_here_are_those_that_others_compute():
    assert IDENTITY[0] == bytes.fromhex("01 03 00 7A 00 01 A5 D3")
    assert RATE_50[0] == bytes.fromhex("01 03 00 23 00 01 75 C0")


def test_it_checks_the_identity_and_then_only_reads(furnace_on):
    furnace, transcript = furnace_on()
    transcript.done()
    assert isinstance(furnace, Furnace)
    assert furnace.hazard == "thermal"


@pytest.mark.parametrize("reply", ["01 03 02 2480", "01 83 02"])
def test_another_controller_on_the_line_is_refused(on_serial_line, attach, reply: str):
    transcript = on_serial_line([frames("01 03 007A 0001", reply)])
    with pytest.raises(WrongInstrument):
        attach(Eurotherm3504, transcript.address, "furnace", timeout_s=0.2)
    transcript.done()


def test_trigger_reads_the_loop_in_one_block(furnace_on):
    furnace, transcript = furnace_on(LOOP)
    furnace.trigger().wait(5)
    transcript.done()
    assert {name: entry["value"] for name, entry in furnace.read().items()} == {
        "furnace_temperature": 812.3,
        "furnace_output": 41.2,
        "furnace_working_setpoint": 815.0,
        "furnace_setpoint": 900.0,
    }
    units = {name: key["units"] for name, key in furnace.describe().items()}
    assert units["furnace_temperature"] == "degC" and units["furnace_output"] == "%"


def test_temperatures_below_zero_are_signed(furnace_on):
    furnace, _ = furnace_on(frames("01 03 0001 0005", "01 03 0A FFCE 0000 0000 0000 0000"))
    furnace.trigger().wait(5)
    assert furnace.temperature.get() == -5.0


def test_a_target_is_sent_after_the_rate_in_force_was_looked_at(furnace_on):
    furnace, transcript = furnace_on(RATE_50, written("01 06 0002 2710"), frames("01 03 0002 0001", "01 03 02 2710"))
    furnace.setpoint.set(1000.0).wait(5)
    transcript.done()


@pytest.mark.parametrize("rate", [RATE_OFF, frames("01 03 0023 0001", "01 03 02 03E9")])
def test_no_target_and_no_heating_without_a_rate_within_its_limits(furnace_on, rate):
    furnace, transcript = furnace_on(rate, rate)
    for status in (furnace.setpoint.set(1000.0), furnace.heating.set(1)):
        with pytest.raises(Refused, match="ramp rate"):
            status.wait(5)
    transcript.done()


@pytest.mark.parametrize(
    "name, value",
    [
        ("setpoint", 2526.9),
        ("setpoint", -0.1),
        ("setpoint", float("nan")),
        ("setpoint", float("inf")),
        ("ramp_rate", 100.1),
        ("ramp_rate", 0.0),
        ("ramp_rate", -5.0),
        ("heating", 2),
        ("heating", 0.5),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(furnace_on, name: str, value: float):
    furnace, transcript = furnace_on()
    sent = transcript.n_bytes
    with pytest.raises(LimitError):
        getattr(furnace, name).set(value)
    with pytest.raises(LimitError):
        getattr(furnace, name).check_value(value)
    assert transcript.n_bytes == sent
    transcript.done()


def test_the_limits_are_those_of_the_safety_table(furnace_on):
    furnace, _ = furnace_on()
    assert furnace.setpoint.limits[1] + 273.15 == pytest.approx(2800, abs=0.1)
    assert furnace.setpoint.limits[1] + 273.15 <= 2800
    assert furnace.ramp_rate.limits[1] == 100


def test_a_rig_tightens_limits_and_never_widens_them(furnace_on):
    furnace, _ = furnace_on()
    furnace.tighten({"setpoint": (0.0, 1500.0)})
    with pytest.raises(LimitError):
        furnace.setpoint.set(1600.0)
    with pytest.raises(LimitError, match="within"):
        furnace.tighten({"ramp_rate": (0.1, 200.0)})


def test_the_rate_is_set_and_read_back(furnace_on):
    furnace, transcript = furnace_on(written("01 06 0023 00C8"), frames("01 03 0023 0001", "01 03 02 00C8"))
    furnace.ramp_rate.set(20.0).wait(5)
    transcript.done()


def test_a_rate_that_the_controller_did_not_take_is_refused(furnace_on):
    furnace, _ = furnace_on(written("01 06 0023 00C8"), RATE_50)
    with pytest.raises(Refused, match="read back"):
        furnace.ramp_rate.set(20.0).wait(5)


def test_heating_goes_to_automatic_and_is_confirmed(furnace_on):
    furnace, transcript = furnace_on(RATE_50, STATUS, TO_AUTOMATIC, AUTOMATIC)
    furnace.heating.set(1).wait(5)
    transcript.done()


def test_a_controller_that_stays_in_manual_is_told(furnace_on):
    furnace, transcript = furnace_on(RATE_50, STATUS, TO_AUTOMATIC, MANUAL)
    with pytest.raises(Refused, match="stays in manual"):
        furnace.heating.set(1).wait(5)
    transcript.done()


def test_no_heating_with_a_broken_thermocouple(furnace_on):
    furnace, transcript = furnace_on(RATE_50, BROKEN)
    with pytest.raises(Refused, match="thermocouple"):
        furnace.heating.set(1).wait(5)
    transcript.done()


def test_the_heater_is_cut_and_the_cut_is_confirmed(furnace_on):
    furnace, transcript = furnace_on(TO_MANUAL, NO_OUTPUT, OUTPUT_0, MANUAL)
    furnace.heating.set(0).wait(5)
    transcript.done()


def test_a_cut_that_does_not_show_is_tried_again(furnace_on):
    cut = [TO_MANUAL, NO_OUTPUT]
    furnace, transcript = furnace_on(*cut, OUTPUT_41, MANUAL, *cut, OUTPUT_0, AUTOMATIC, *cut, OUTPUT_0, MANUAL)
    furnace.heating.set(0).wait(5)
    assert (furnace.heating.get(), furnace.output.get()) == (0, 0.0)
    transcript.done()


def test_a_cut_that_never_shows_fails(furnace_on):
    furnace, transcript = furnace_on(*[TO_MANUAL, NO_OUTPUT, OUTPUT_41, MANUAL] * 60)
    furnace.link.clock, furnace.link.timeout_s = RealClock(10.0), 10.0 * furnace.link.timeout_s  # 10 s in one
    with pytest.raises(Refused, match="heater off: output is not seen"):
        furnace.heating.set(0).wait(10)
    assert not transcript.surprises
    assert len(transcript.left) < 220, "it was asked for more than a few times"
    assert furnace.output.get() == 41.2, "what was seen is kept"


def test_a_cut_survives_a_lost_reply(furnace_on):
    lost = (TO_MANUAL[0], b"")
    seen = [OUTPUT_41, AUTOMATIC]
    furnace, transcript = furnace_on(lost, IDENTITY, *seen, TO_MANUAL, NO_OUTPUT, OUTPUT_0, MANUAL)
    furnace.heating.set(0).wait(5)
    transcript.done()


def test_the_safe_state_is_the_heater_off(furnace_on):
    furnace, transcript = furnace_on(TO_MANUAL, NO_OUTPUT, OUTPUT_0, MANUAL)
    ((what, action, limit_s),) = furnace.safe_steps()
    assert what == "heater off" and limit_s >= 5
    action().wait(5)
    transcript.done()


@pytest.mark.parametrize("position", range(0, 15, 3))
def test_one_wrong_byte_in_a_reply_is_never_a_value(furnace_on, position: int):
    request, reply = LOOP
    bad = bytes(byte ^ (0x10 if i == position else 0) for i, byte in enumerate(reply))
    furnace, transcript = furnace_on((request, bad), IDENTITY, LOOP)
    furnace.trigger().wait(5)
    assert furnace.temperature.get() == 812.3
    transcript.done()
