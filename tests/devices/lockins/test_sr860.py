"""The devices of SR860 and SR865A, against a transcript of what their manuals say."""

import math
import re

import pytest

from megabar.devices.errors import LimitError, Refused, WrongInstrument
from megabar.devices.lockins import LockIn
from megabar.devices.lockins.sr860 import SENSITIVITIES_V, SR860, SR865A, TIME_CONSTANTS_S

IDENTITY = (b"*IDN?\n", b"Stanford_Research_Systems,SR860,002725,v1.34\n")
OUTPUTS = b"SNAP? 0,1;IRNG?;CUROVLDSTAT?"
QUESTIONS = OUTPUTS + b";PHAS?;OFSL?;HARM?;FREQ?;SCAL?;IRNG?;OFLT?;SLVL?;RSRC?\n"
SET = b"0;1;1;99999.99956;9;0;10;1e-09;1"
READ = OUTPUTS + b";FREQ?\n"
SNAP = b"2.3346669042e-09,4.3821726803e-10"


def outputs(snap: bytes = SNAP, input_range: bytes = b"0", status: bytes = b"0") -> bytes:
    return b";".join((snap, input_range, status))


def reading(snap: bytes = SNAP, input_range: bytes = b"0", status: bytes = b"0") -> tuple[bytes, bytes]:
    return READ, outputs(snap, input_range, status) + b";99999.99956\n"


ATTACH = [IDENTITY, (QUESTIONS, outputs() + b";" + SET + b"\n")]


@pytest.fixture
def lock_in_on(on_socket, attach):
    """A lock-in attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes]):
        transcript = on_socket([*ATTACH, *exchanges])
        return attach(SR860, transcript.address, "lock_in", timeout_s=0.3), transcript

    return make


def values(device) -> dict[str, float]:
    return {name.removeprefix("lock_in_"): entry["value"] for name, entry in device.read().items()}


def test_it_asks_who_answers_and_then_only_reads(lock_in_on):
    device, transcript = lock_in_on()
    transcript.done()
    assert isinstance(device, LockIn)
    configuration = {name: entry["value"] for name, entry in device.read_configuration().items()}
    assert configuration["lock_in_sensitivity"] == 1e-3
    assert configuration["lock_in_time_constant"] == 0.1
    assert (configuration["lock_in_external"], configuration["lock_in_poles"]) == (1, 2)


def test_one_message_fetches_all_of_one_instant(lock_in_on):
    device, transcript = lock_in_on(reading())
    device.trigger().wait(5)
    transcript.done()
    read = values(device)
    assert (read["x"], read["y"], read["frequency"]) == (2.3346669042e-09, 4.3821726803e-10, 99999.99956)
    assert read["r"] == pytest.approx(2.375437e-9, rel=1e-6)
    assert read["theta"] == pytest.approx(10.63073, rel=1e-6)


@pytest.mark.parametrize("status, overload, unlocked", [(b"16", 1, 0), (b"8", 0, 1), (b"24", 1, 1)])
def test_an_overloaded_input_or_a_lost_reference_is_no_value(lock_in_on, status: bytes, overload: int, unlocked: int):
    device, transcript = lock_in_on(reading(status=status))
    device.trigger().wait(5)
    transcript.done()
    read = values(device)
    assert all(math.isnan(read[name]) for name in ("x", "y", "r", "theta"))
    assert (read["overload"], read["unlocked"]) == (overload, unlocked)


@pytest.mark.parametrize("status", [b"1", b"2", b"256", b"3843"])
def test_what_is_beyond_the_scale_of_an_output_is_read_all_the_same(lock_in_on, status: bytes):
    device, _ = lock_in_on(reading(status=status))
    device.trigger().wait(5)
    assert values(device)["x"] == 2.3346669042e-09


@pytest.mark.parametrize(
    "garbled",
    [
        outputs(b"2.3346669042e-09"),
        outputs(b"0.26,0", b"4"),  # ten times the input range
        outputs(input_range=b"5"),
        outputs(status=b"-1"),
        outputs() + b";0",
        outputs(b"2.33\xe66669042e-09,0"),
    ],
)
def test_a_garbled_reply_is_asked_for_again_and_never_a_value(lock_in_on, garbled: bytes):
    n = garbled.count(b";")
    again = [IDENTITY] if max(garbled) > 0x7F or n != 2 else []
    device, transcript = lock_in_on((READ, garbled + b";99999.99956\n"), *again, reading())
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["x"] == 2.3346669042e-09


@pytest.mark.parametrize("device_class, limit_hz", [(SR860, 500e3), (SR865A, 4e6)])
def test_each_model_has_its_own_limit(on_socket, attach, device_class: type[SR860], limit_hz: float):
    identity = (IDENTITY[0], IDENTITY[1].replace(b"SR860", device_class.__name__.encode()))
    sent = (b"FREQ %d\n" % limit_hz, b""), (b"FREQ?\n", b"%d\n" % limit_hz)
    transcript = on_socket([identity, ATTACH[1], *sent])
    device = attach(device_class, transcript.address, "lock_in")
    device.frequency.set(limit_hz).wait(5)
    before = transcript.n_bytes
    with pytest.raises(LimitError, match=re.escape(f"accepted are 0.001..{limit_hz:g} Hz")):
        device.frequency.set(limit_hz * (1 + 1e-9))
    assert transcript.n_bytes == before
    transcript.done()


@pytest.mark.parametrize("device_class, other", [(SR860, b"SR865A"), (SR865A, b"SR860"), (SR860, b"SR830")])
def test_another_model_is_refused_after_one_question(on_socket, attach, device_class: type[SR860], other: bytes):
    transcript = on_socket([(b"*IDN?\n", b"Stanford_Research_Systems,%s,1,v1\n" % other)])
    with pytest.raises(WrongInstrument, match=other.decode()):
        attach(device_class, transcript.address, "lock_in")
    transcript.done()


def test_the_input_range_is_sent_by_its_number(lock_in_on):
    device, transcript = lock_in_on((b"IRNG 3\n", b""), (b"IRNG?\n", b"3\n"))
    device.input_range.set(0.03).wait(5)
    transcript.done()
    assert device.input_range.values == (0.01, 0.03, 0.1, 0.3, 1.0)


def test_a_scale_that_is_not_taken_is_told(lock_in_on):
    device, _ = lock_in_on((b"SCAL 27\n", b""), (b"SCAL?\n", b"0\n"))
    with pytest.raises(Refused, match="1e-09 V was sent, 1 V was read back"):
        device.sensitivity.set(1e-9).wait(5)


def test_the_tables_are_those_of_the_instrument():
    assert len(SENSITIVITIES_V) == 28 and len(TIME_CONSTANTS_S) == 22
    assert (SENSITIVITIES_V[0], SENSITIVITIES_V[9], SENSITIVITIES_V[27]) == (1.0, 1e-3, 1e-9)
    assert (TIME_CONSTANTS_S[0], TIME_CONSTANTS_S[10], TIME_CONSTANTS_S[21]) == (1e-6, 0.1, 30e3)
