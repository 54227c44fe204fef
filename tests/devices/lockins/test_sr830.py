"""The device of the SR830, against a transcript of what its manual says."""

import math

import pytest
from bluesky.protocols import Readable
from hypothesis import given
from hypothesis import strategies as st

from megabar.devices.errors import GarbledReply, LimitError, LinkError, Refused, WrongInstrument
from megabar.devices.lockins import LockIn
from megabar.devices.lockins.sr830 import SENSITIVITIES_V, SR830, TIME_CONSTANTS_S
from megabar.devices.lockins.stanford import number_of

IDENTITY = (b"*IDN?\r", b"Stanford_Research_Systems,SR830,s/n12345,ver1.07\r")
OUTPUTS = b"SNAP?1,2;SENS?;LIAS?"
CONFIGURATION = b"PHAS?;OFSL?;HARM?;FREQ?;SENS?;OFLT?;SLVL?;RMOD?;FMOD?\r"
SET = b"0.00\r1\r1\r1000\r17\r8\r1\r2\r1\r"
READ = OUTPUTS + b";FREQ?\r"


def outputs(snap: bytes = b"0.000951359,-0.000253297", scale: bytes = b"17", status: bytes = b"0") -> bytes:
    """Each answer ends in a carriage return: the manual, page 5-2."""
    return snap + b"\r" + scale + b"\r" + status + b"\r"


def reading(snap: bytes = b"0.000951359,-0.000253297", scale: bytes = b"17", status: bytes = b"0"):
    return READ, outputs(snap, scale, status) + b"1000\r"


ATTACH = [IDENTITY, (OUTPUTS + b";" + CONFIGURATION, outputs() + SET)]


@pytest.fixture
def lock_in_on(on_serial_line, attach):
    """A lock-in attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes], timeout_s: float = 0.3):
        transcript = on_serial_line([*ATTACH, *exchanges])
        return attach(SR830, transcript.address, "lock_in", timeout_s=timeout_s), transcript

    return make


def values(device) -> dict[str, float]:
    return {name.removeprefix("lock_in_"): entry["value"] for name, entry in device.read().items()}


def test_it_asks_who_answers_and_then_only_reads(lock_in_on):
    device, transcript = lock_in_on()
    transcript.done()
    assert isinstance(device, LockIn) and isinstance(device, Readable)
    configuration = {name: entry["value"] for name, entry in device.read_configuration().items()}
    assert configuration == {
        "lock_in_phase": 0.0,
        "lock_in_poles": 2,
        "lock_in_harmonic": 1,
        "lock_in_sensitivity": 1e-3,
        "lock_in_time_constant": 0.1,
        "lock_in_sine_out": 1.0,
        "lock_in_reserve": 2,
        "lock_in_external": 0,
    }


def test_one_message_fetches_all_of_one_instant(lock_in_on):
    device, transcript = lock_in_on(reading(b"3e-05,-4e-05"))
    device.trigger().wait(5)
    transcript.done()
    assert values(device) == {
        "x": 3e-5,
        "y": -4e-5,
        "r": pytest.approx(5e-5),
        "theta": pytest.approx(-53.130102),
        "overload": 0,
        "unlocked": 0,
        "frequency": 1000.0,
    }
    units = {name.removeprefix("lock_in_"): key["units"] for name, key in device.describe().items()}
    assert units == {"x": "V", "y": "V", "r": "V", "theta": "deg", "overload": "", "unlocked": "", "frequency": "Hz"}


@pytest.mark.parametrize("status, overload, unlocked", [(b"1", 1, 0), (b"2", 1, 0), (b"4", 1, 0), (b"8", 0, 1)])
def test_what_is_still_overloaded_or_unlocked_is_no_value(lock_in_on, status: bytes, overload: int, unlocked: int):
    device, transcript = lock_in_on(reading(status=status), reading(status=status))
    device.trigger().wait(5)
    transcript.done()
    read = values(device)
    assert all(math.isnan(read[name]) for name in ("x", "y", "r", "theta"))
    assert (read["overload"], read["unlocked"], read["frequency"]) == (overload, unlocked, 1000.0)


def test_an_overload_that_is_over_is_forgotten_by_asking_again(lock_in_on):
    device, transcript = lock_in_on(reading(b"0.00109,0.00109", status=b"4"), reading())
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["x"] == 0.000951359
    assert values(device)["overload"] == 0


@pytest.mark.parametrize("status", [b"16", b"32", b"64"])
def test_other_bits_of_the_status_leave_the_value(lock_in_on, status: bytes):
    device, transcript = lock_in_on(reading(status=status))
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["x"] == 0.000951359


@pytest.mark.parametrize(
    "garbled",
    [
        outputs(b"0.000951359;-0.000253297"),
        outputs(b"0.000951359"),
        outputs(b"9.51359,-0.000253297"),  # it has lost its exponent
        outputs(scale=b"27"),
        outputs(status=b""),
        outputs(b"0.0009\x8a359,-0.000253297"),
        outputs(b"nan,0"),
    ],
)
def test_a_garbled_reply_is_asked_for_again_and_never_a_value(lock_in_on, garbled: bytes):
    again = [IDENTITY] if max(garbled) > 0x7F else []
    device, transcript = lock_in_on((READ, garbled + b"1000\r"), *again, reading())
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["x"] == 0.000951359


def test_an_answer_too_few_is_late_and_asked_for_again_after_draining(lock_in_on):
    device, transcript = lock_in_on((READ, b"0.1,0.1\r26\r0\r"), IDENTITY, reading())
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["x"] == 0.000951359


def test_an_answer_too_many_is_drained_before_the_next_question(lock_in_on):
    question, answer = reading()
    device, transcript = lock_in_on((question, answer + b"7\r"), IDENTITY, reading(b"1e-06,2e-06"))
    device.trigger().wait(5)
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["y"] == 2e-6


def test_garbage_without_end_fails_the_reading(lock_in_on):
    device, transcript = lock_in_on(*[(READ, outputs(b"?") + b"1000\r")] * 3)
    with pytest.raises(GarbledReply):
        device.trigger().wait(5)
    transcript.done()


def test_another_lock_in_is_refused_after_one_question(on_serial_line, attach):
    transcript = on_serial_line([(b"*IDN?\r", b"Stanford_Research_Systems,SR810,s/n1,ver1.0\r")])
    with pytest.raises(WrongInstrument, match="SR810"):
        attach(SR830, transcript.address, "lock_in")
    transcript.done()


@pytest.mark.parametrize("frequency_hz", [0.0, 9e-4, 102001.0, 500e3, -1.0, math.nan, math.inf])
def test_a_frequency_beyond_the_limits_is_refused_before_a_byte_is_sent(lock_in_on, frequency_hz: float):
    device, transcript = lock_in_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError, match=r"accepted are 0\.001\.\.102000 Hz"):
        device.frequency.set(frequency_hz)
    assert transcript.n_bytes == before


def test_a_frequency_is_read_back_as_it_is_rounded(lock_in_on):
    device, transcript = lock_in_on((b"FREQ 12345.67\r", b""), (b"FREQ?\r", b"12346\r"))
    device.frequency.set(12345.67).wait(5)
    transcript.done()
    assert device.frequency.get() == 12346


def test_a_frequency_that_the_reference_overrules_is_told(lock_in_on):
    device, _ = lock_in_on((b"FREQ 12000\r", b""), (b"FREQ?\r", b"997.2\r"))
    with pytest.raises(Refused, match=r"12000 Hz was sent, 997\.2 Hz"):
        device.frequency.set(12000.0).wait(5)


@pytest.mark.parametrize(
    "signal, value, number", [("sensitivity", 2e-9, 0), ("sensitivity", 5e-4, 16), ("time_constant", 30e3, 19)]
)
def test_steps_are_sent_by_their_number(lock_in_on, signal: str, value: float, number: int):
    word = {"sensitivity": b"SENS", "time_constant": b"OFLT"}[signal]
    sent = (word + b" %d\r" % number, b""), (word + b"?\r", b"%d\r" % number)
    device, transcript = lock_in_on(*sent)
    getattr(device, signal).set(value).wait(5)
    transcript.done()
    assert getattr(device, signal).get() == value


def test_between_two_steps_there_is_none(lock_in_on):
    device, transcript = lock_in_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError, match=r"nearest accepted are 0\.0002 and 0\.0005 V"):
        device.sensitivity.set(3e-4)
    with pytest.raises(LimitError):
        device.poles.set(5)
    assert transcript.n_bytes == before
    assert device.sensitivity.values == SENSITIVITIES_V


def test_a_step_that_is_not_taken_is_told(lock_in_on):
    device, _ = lock_in_on((b"OFLT 15\r", b""), (b"OFLT?\r", b"13\r"))
    with pytest.raises(Refused, match="300 s was sent, 30 s was read back"):
        device.time_constant.set(300.0).wait(5)


def test_a_phase_comes_back_within_half_a_turn(lock_in_on):
    device, transcript = lock_in_on((b"PHAS 270.000\r", b""), (b"PHAS?\r", b"-90.00\r"))
    device.phase.set(270.0).wait(5)
    transcript.done()
    assert device.phase.get() == -90.0


def test_a_phase_that_is_not_taken_is_told(lock_in_on):
    device, _ = lock_in_on((b"PHAS 90.000\r", b""), (b"PHAS?\r", b"0.00\r"))
    with pytest.raises(Refused, match="90 deg was sent, 0 deg was read back"):
        device.phase.set(90.0).wait(5)


def test_the_tables_are_those_of_the_instrument():
    assert len(SENSITIVITIES_V) == 27 and len(TIME_CONSTANTS_S) == 20
    assert (SENSITIVITIES_V[0], SENSITIVITIES_V[17], SENSITIVITIES_V[26]) == (2e-9, 1e-3, 1.0)
    assert (TIME_CONSTANTS_S[0], TIME_CONSTANTS_S[8], TIME_CONSTANTS_S[19]) == (10e-6, 0.1, 30e3)


@given(st.text(max_size=12))
def test_other_text_numbers_nothing(text: str):
    try:
        value = number_of(SENSITIVITIES_V, text)
    except ValueError:
        return
    assert SENSITIVITIES_V[int(text)] == value


def test_a_lost_line_is_an_error(lock_in_on):
    device, _ = lock_in_on(timeout_s=0.1)
    with pytest.raises(LinkError):
        device.trigger().wait(10)
