"""The nanovoltmeter's device, against a transcript of the manual's commands."""

import math

import pytest
from bluesky.protocols import Readable
from hypothesis import given
from hypothesis import strategies as st

from megabar.devices.errors import GarbledReply, LimitError, WrongInstrument
from megabar.devices.meters import Voltmeter
from megabar.devices.meters.keithley2182a import Keithley2182A, parse_reading

IDENTITY = (b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 2182A,1340129,C02  /A02\n")
CHANNEL = (b":SENS:CHAN?\n", b"1\n")
FUNCTION = (b":SENS:FUNC?\n", b'"VOLT:DC"\n')
CYCLES = (b":SENS:VOLT:NPLC?\n", b"5.00\n")
EMF = (b":READ?\n", b"+1.73864912E-02\n")
INTERNAL = (b":SENS:TEMP:RTEM?\n", b"+2.41500000E+01\n")


def chain(*exchanges: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Several questions in one message, as IEEE 488.2 joins them and their answers."""
    questions, answers = zip(*exchanges, strict=True)
    return tuple(b";".join(part[:-1] for part in parts) + b"\n" for parts in (questions, answers))


ATTACH = [IDENTITY, chain(CHANNEL, FUNCTION), chain(EMF, INTERNAL, CHANNEL, FUNCTION, CYCLES)]


def values(device) -> dict[str, float]:
    return {name: entry["value"] for name, entry in device.read().items()}


def test_it_asks_who_answers_and_then_only_reads(on_socket, attach):
    transcript = on_socket(ATTACH)
    device = attach(Keithley2182A, transcript.address, "thermocouple")
    transcript.done()
    assert isinstance(device, Voltmeter) and isinstance(device, Readable)


def test_trigger_measures_and_read_tells(on_socket, attach):
    transcript = on_socket([*ATTACH, chain((b":READ?\n", b"-3.20000000E-05\n"), INTERNAL)])
    device = attach(Keithley2182A, transcript.address, "thermocouple")
    device.trigger().wait(5)
    transcript.done()
    assert values(device) == {"thermocouple_emf": -3.2e-5, "thermocouple_cold_junction": 24.15}
    units = {name: key["units"] for name, key in device.describe().items()}
    assert units == {"thermocouple_emf": "V", "thermocouple_cold_junction": "degC"}


def test_another_instrument_at_the_address_is_refused_after_one_question(on_socket, attach):
    transcript = on_socket([(b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 2000,1,A\n")])
    with pytest.raises(WrongInstrument, match="MODEL 2000"):
        attach(Keithley2182A, transcript.address, "thermocouple")
    transcript.done()


@pytest.mark.parametrize(
    "channel, function", [((b":SENS:CHAN?\n", b"2\n"), FUNCTION), (CHANNEL, (b":SENS:FUNC?\n", b'"TEMP"\n'))]
)
def test_a_meter_that_is_set_to_something_else_is_refused_not_changed(on_socket, attach, channel, function):
    transcript = on_socket([IDENTITY, chain(channel, function)])
    with pytest.raises(WrongInstrument, match="select channel 1"):
        attach(Keithley2182A, transcript.address, "thermocouple")
    transcript.done()


def test_an_overflow_is_no_value(on_socket, attach):
    transcript = on_socket([*ATTACH, chain((b":READ?\n", b"+9.9E37\n"), INTERNAL)])
    device = attach(Keithley2182A, transcript.address, "thermocouple")
    device.trigger().wait(5)
    assert math.isnan(values(device)["thermocouple_emf"])


@pytest.mark.parametrize("garbled", [b"+1.7386\xb112E-02\n", b"+1.73864912\n", b"ERROR\n", b"+1.73864912E+12\n"])
def test_a_garbled_reply_is_asked_for_again_and_never_a_value(on_socket, attach, garbled: bytes):
    again = [IDENTITY] if max(garbled) > 0x7F else []
    transcript = on_socket([*ATTACH, chain((b":READ?\n", garbled), INTERNAL), *again, chain(EMF, INTERNAL)])
    device = attach(Keithley2182A, transcript.address, "thermocouple", timeout_s=0.2)
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["thermocouple_emf"] == 1.73864912e-2


def test_an_answer_too_few_is_asked_for_again_after_draining(on_socket, attach):
    question, answer = chain(EMF, INTERNAL)
    transcript = on_socket([*ATTACH, (question, EMF[1]), IDENTITY, (question, answer)])
    device = attach(Keithley2182A, transcript.address, "thermocouple", timeout_s=0.2)
    device.trigger().wait(5)
    transcript.done()
    assert values(device)["thermocouple_emf"] == 1.73864912e-2


def test_garbage_without_end_fails_the_reading(on_socket, attach):
    transcript = on_socket([*ATTACH, *[chain((b":READ?\n", b"?\n"), INTERNAL)] * 3])
    device = attach(Keithley2182A, transcript.address, "thermocouple")
    status = device.trigger()
    with pytest.raises(GarbledReply):
        status.wait(5)
    transcript.done()


def test_the_integration_time_is_set_and_read_back(on_socket, attach):
    transcript = on_socket([*ATTACH, (b":SENS:VOLT:NPLC 1\n", b""), (b":SENS:VOLT:NPLC?\n", b"+1.00\n")])
    device = attach(Keithley2182A, transcript.address, "thermocouple")
    device.integration.set(1).wait(5)
    transcript.done()
    sent = transcript.n_bytes
    with pytest.raises(LimitError):
        device.integration.set(51)
    assert transcript.n_bytes == sent


@given(st.floats(-0.12, 0.12))
def test_readings_in_the_instrument_s_form_are_numbers(value: float):
    assert parse_reading(f"{value:+.8E}") == pytest.approx(value, rel=1e-8, abs=1e-300)


@given(st.text(max_size=20))
def test_other_text_is_refused_or_a_number_that_was_written(text: str):
    try:
        value = parse_reading(text)
    except ValueError:
        return
    assert math.isnan(value) or value == float(text)
