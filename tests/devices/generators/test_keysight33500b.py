"""The device of the function generator 33500B, against a transcript of its commands."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.acquisition.guard.words import Lines
from megabar.acquisition.guarded import guarded_ports
from megabar.acquisition.rig import load_rig
from megabar.devices.errors import LimitError, LinkError, Refused, WrongInstrument
from megabar.devices.generators import FunctionGenerator
from megabar.devices.generators.keysight33500b import Keysight33500B, PumpModulator, parse_shape
from megabar.devices.pause import Pause
from megabar.devices.visa import MessageLink
from megabar.plans.safety import Hazardous

IDENTITY = (b"*IDN?\n", b"Agilent Technologies,33522B,MY52201807,3.05-1.19-2.00-52-00\n")
STATE = b":SOUR1:FREQ?;:SOUR1:VOLT?;:SOUR1:VOLT:OFFS?;:OUTP1?"
SETTINGS = b";:SOUR1:FUNC?;:OUTP1:LOAD?;:SOUR1:VOLT:UNIT?\n"
LEVELS = b":SOUR1:VOLT?;:SOUR1:VOLT:OFFS?\n"
IS = b"+1.000000000000000E+03;+1.000000000000000E-01;+0.000000000000000E+00;0"
SET = b";SIN;+5.000000000000000E+01;VPP\n"
ATTACH = [IDENTITY, (STATE + SETTINGS, IS + SET)]
OFF = [(b":OUTP1 0\n", b""), (b":OUTP1?\n", b"0\n")]


@pytest.fixture
def generator_on(on_socket, attach):
    """A generator attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes], device_class: type[Keysight33500B] = Keysight33500B):
        transcript = on_socket([*ATTACH, *exchanges])
        return attach(device_class, transcript.address, "pump", timeout_s=0.3), transcript

    return make


def levels(amplitude_v: float, offset_v: float) -> tuple[bytes, bytes]:
    return LEVELS, f"{amplitude_v:+.15E};{offset_v:+.15E}\n".encode()


def test_it_asks_who_answers_and_then_only_reads(generator_on):
    device, transcript = generator_on()
    transcript.done()
    assert isinstance(device, FunctionGenerator)
    configuration = {name: entry["value"] for name, entry in device.read_configuration().items()}
    assert configuration == {"pump_shape": "SIN", "pump_load": 50.0, "pump_peak_to_peak": 1}


def test_one_message_fetches_what_is_set(generator_on):
    device, transcript = generator_on((STATE + b"\n", b"+2.5E+06;+1.5E+00;-2.0E-01;1\n"))
    device.trigger().wait(5)
    transcript.done()
    read = {name: entry["value"] for name, entry in device.read().items()}
    assert read == {"pump_frequency": 2.5e6, "pump_amplitude": 1.5, "pump_offset": -0.2, "pump_output": 1}


@pytest.mark.parametrize("identity", [b"Agilent Technologies,33220A,MY1,2", b"Keysight Technologies,33622A,MY1,2"])
def test_another_generator_is_refused_after_one_question(on_socket, attach, identity: bytes):
    transcript = on_socket([(b"*IDN?\n", identity + b"\n")])
    with pytest.raises(WrongInstrument, match="answers at"):
        attach(Keysight33500B, transcript.address, "pump")
    transcript.done()


def test_one_that_tells_effective_values_is_refused_not_changed(on_socket, attach):
    transcript = on_socket([IDENTITY, (STATE + SETTINGS, (IS + SET).replace(b"VPP", b"VRMS"))])
    with pytest.raises(WrongInstrument, match="select VPP"):
        attach(Keysight33500B, transcript.address, "pump")
    transcript.done()


def test_an_output_set_to_high_impedance_has_no_load(on_socket, attach):
    transcript = on_socket([IDENTITY, (STATE + SETTINGS, (IS + SET).replace(b"+5.0", b"+9.9").replace(b"+01", b"+37"))])
    device = attach(Keysight33500B, transcript.address, "pump")
    assert math.isnan(device.load.get())


def test_the_other_channel_is_spoken_of_by_its_number(generator_on):
    device, transcript = generator_on((b":SOUR2:FREQ 1000000\n", b""), (b":SOUR2:FREQ?\n", b"+1.0E+06\n"))
    device.channel = 2
    device.frequency.set(1e6).wait(5)
    transcript.done()
    with pytest.raises(ValueError, match="accepted are 1 and 2"):
        Keysight33500B(name="third", link=device.link, channel=3)


@pytest.mark.parametrize(
    "signal, value, accepted",
    [
        ("frequency", 30e6 + 1, "1e-06..3e.07 Hz"),
        ("frequency", 0.0, "1e-06"),
        ("amplitude", 10.1, "0.001..10 V"),
        ("amplitude", math.nan, "0.001..10 V"),
        ("offset", -5.1, "-5..5 V"),
        ("output", 2, "0..1"),
        ("output", 0.5, "0..1"),
        ("shape", "ARB", "SIN, SQU, TRI, RAMP, DC"),
        ("shape", "SIN;:OUTP1 1", "SIN, SQU"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(generator_on, signal: str, value, accepted: str):
    device, transcript = generator_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError, match=accepted):
        getattr(device, signal).set(value)
    assert transcript.n_bytes == before


def test_a_level_is_set_when_the_peaks_stay_within_the_range(generator_on):
    device, transcript = generator_on(levels(0.1, 4.0), (b":SOUR1:VOLT 2\n", b""), (b":SOUR1:VOLT?\n", b"+2.0E+00\n"))
    device.amplitude.set(2.0).wait(5)
    transcript.done()


@pytest.mark.parametrize("signal, value, present", [("amplitude", 2.5, (0.1, 4.0)), ("offset", -4.6, (1.0, 0.0))])
def test_a_level_that_would_change_the_other_one_is_never_sent(generator_on, signal: str, value: float, present):
    device, transcript = generator_on(levels(*present))
    with pytest.raises(LimitError, match="peaks of"):
        getattr(device, signal).set(value).wait(5)
    transcript.done()


def test_a_frequency_that_is_clipped_is_told(generator_on):
    device, _ = generator_on((b":SOUR1:FREQ 25000000\n", b""), (b":SOUR1:FREQ?\n", b"+2.0E+07\n"))
    with pytest.raises(Refused, match=r"2\.5e\+07 Hz was sent, 2e\+07 Hz"):
        device.frequency.set(25e6).wait(5)


def test_a_shape_is_sent_and_read_back(generator_on):
    device, transcript = generator_on((b":SOUR1:FUNC SQU\n", b""), (b":SOUR1:FUNC?\n", b"SQU\n"))
    device.shape.set("SQU").wait(5)
    transcript.done()
    assert device.read_configuration()["pump_shape"]["value"] == "SQU"
    assert device.describe_configuration()["pump_shape"]["dtype"] == "string"


def test_a_shape_that_is_not_taken_is_told(generator_on):
    device, _ = generator_on((b":SOUR1:FUNC DC\n", b""), (b":SOUR1:FUNC?\n", b"SIN\n"))
    with pytest.raises(Refused, match="DC was sent, SIN was read back"):
        device.shape.set("DC").wait(5)


@pytest.mark.parametrize("garbled", [b"+1.0E+03;+1.0E-01;+0.0E+00", b"+1.0E+09;+1.0E-01;+0.0E+00;0", b"?;0;0;0"])
def test_a_garbled_reply_is_asked_for_again_and_never_a_value(generator_on, garbled: bytes):
    again = [IDENTITY] if garbled.count(b";") != 3 else []
    question = STATE + b"\n"
    device, transcript = generator_on((question, garbled + b"\n"), *again, (question, IS + b"\n"))
    device.trigger().wait(5)
    transcript.done()
    assert device.frequency.get() == 1000.0


def test_the_output_is_switched_and_read_back(generator_on):
    device, transcript = generator_on((b":OUTP1 1\n", b""), (b":OUTP1?\n", b"1\n"), *OFF)
    device.output.set(1).wait(5)
    assert device.output.get() == 1
    device.output.set(0).wait(5)
    transcript.done()
    assert device.output.get() == 0


def test_an_output_that_stays_on_is_told(generator_on):
    still = [(b":OUTP1 0\n", b""), (b":OUTP1?\n", b"1\n")]
    device, _ = generator_on(*still * 60)
    with pytest.raises(Refused, match="output is not seen"):
        device.output.set(0).wait(5)


def test_the_safe_state_is_off_whatever_is_answered_to_the_command(generator_on):
    device, transcript = generator_on((b":OUTP1 0\n", b""), (b":OUTP1?\n", b"1\n"), *OFF, device_class=PumpModulator)
    ((name, action, limit_s),) = device.safe_steps()
    assert name == "output off" and limit_s <= 1.5
    action().wait(5)
    transcript.done()


def test_only_what_a_laser_hangs_on_is_a_hazard(generator_on):
    device, _ = generator_on(device_class=PumpModulator)
    assert isinstance(device, Hazardous) and device.hazard == "laser"
    assert Keysight33500B.hazard == ""
    assert device.safe_state is not None


def test_a_pause_switches_a_pump_off_for_good(generator_on):
    device, transcript = generator_on(*OFF, device_class=PumpModulator)
    pause = Pause()
    device.pause_for(pause)
    for _, action, _ in device.pause_steps():
        action().wait(5)
    on = device.output.set(1)
    pause.over = True
    with pytest.raises(Refused, match="new run"):
        on.wait(5)
    transcript.done()


def test_a_silent_generator_is_an_error(generator_on):
    device, _ = generator_on()
    with pytest.raises(LinkError):
        device.trigger().wait(10)


@given(st.text(max_size=5))
def test_other_words_are_no_shapes(text: str):
    try:
        assert parse_shape(text) == text
    except ValueError:
        return
    assert text in ("SIN", "SQU", "TRI", "RAMP", "DC", "PULS", "PRBS", "NOIS", "ARB")


RIG = """
title = "Pump"

[instruments.pump]
device = "megabar.devices.generators.keysight33500b:PumpModulator"
address = "TCPIP::127.0.0.1::5025::SOCKET"
hazardous = true
"""


@pytest.fixture
def port(tmp_path):
    """What a guard is told of a pump."""
    (tmp_path / "pump.toml").write_text(RIG)
    link = MessageLink("pump", "TCPIP::127.0.0.1::5025::SOCKET", None, **PumpModulator.link_options)
    return guarded_ports(load_rig(str(tmp_path / "pump.toml")), {"pump": PumpModulator(name="pump", link=link)})["pump"]


@pytest.mark.parametrize(
    "message",
    [
        STATE + SETTINGS,
        LEVELS,
        b":OUTP1 1\n",
        b":OUTP1 0\n",
        b":SOUR1:FREQ 2500000\n",
        b":SOUR1:VOLT 1.5\n",
        b":SOUR1:VOLT:OFFS -0.2\n",
        b":SOUR1:FUNC SQU\n",
    ],
)
def test_what_the_device_says_passes_a_guard(port, message: bytes):
    assert not Lines(port).judge(message).refused


@pytest.mark.parametrize(
    "message",
    [b":SOUR1:VOLT 11\n", b":SOUR1:FREQ 31E6\n", b":OUTP1 2\n", b":OUTP2 1\n", b":SOUR1:FUNC NOIS\n", b"*RST\n"],
)
def test_what_it_never_says_does_not(port, message: bytes):
    assert Lines(port).judge(message).refused
