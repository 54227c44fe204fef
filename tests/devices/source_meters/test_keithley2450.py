"""The device of the source-meter 2450, against a transcript of the manual's commands."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.acquisition.guard.words import Lines
from megabar.acquisition.guarded import guarded_ports
from megabar.acquisition.rig import load_rig
from megabar.devices.errors import LimitError, LinkError, Refused, WrongInstrument
from megabar.devices.pause import Pause
from megabar.devices.source_meters import SourceMeter
from megabar.devices.source_meters.keithley2450 import Keithley2450, parse_measured
from megabar.devices.visa import MessageLink
from megabar.plans.safety import Hazardous

IDENTITY = (b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 2450,01234567,1.0.0i\n")
LANGUAGE = (b"*LANG?\n", b"SCPI\n")
SELECTED = (
    b":SOUR:FUNC?;:SENS:FUNC?;:SENS:VOLT:RSEN?;:SOUR:CURR:READ:BACK?\n",
    b'CURR;"VOLT:DC";1;1\n',
)
SET = (
    b":SOUR:CURR?;:OUTP?;:SOUR:CURR:VLIM?;:SENS:VOLT:NPLC?\n",
    b"1.000000E-02;1;2.000000E+00;1.000000E+00\n",
)
STATE = (b":SOUR:CURR?;:OUTP?\n", b"1.000000E-02;1\n")
MEASURE = b':READ? "defbuffer1",READ,SOUR;:SOUR:CURR:VLIM:TRIP?\n'
MEASURED = (MEASURE, b"1.234567E-03,1.000012E-02;0\n")
ATTACH = [IDENTITY, LANGUAGE, SELECTED, SET, MEASURED]
OFF = [(b":SOUR:CURR 0\n", b""), (b":OUTP:CURR:SMOD HIMP\n", b""), (b":OUTP 0\n", b""), (b":OUTP?\n", b"0\n")]
EVERYTHING = (
    MEASURE[:-1] + b";" + SET[0][:-1] + b";*LANG?;" + SELECTED[0],
    MEASURED[1][:-1] + b";" + SET[1][:-1] + b";SCPI;" + SELECTED[1],
)


@pytest.fixture
def source_on(on_socket, attach):
    """A source-meter attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes]):
        transcript = on_socket([*ATTACH, *exchanges])
        return attach(Keithley2450, transcript.address, "source", timeout_s=0.3), transcript

    return make


def values(device) -> dict[str, float]:
    return {name: entry["value"] for name, entry in device.read().items()}


def test_it_asks_who_answers_in_which_language_and_then_only_reads(source_on):
    device, transcript = source_on()
    transcript.done()
    assert isinstance(device, SourceMeter)
    configuration = {name: entry["value"] for name, entry in device.read_configuration().items()}
    assert configuration == {
        "source_voltage_limit": 2.0,
        "source_integration": 1.0,
        "source_sources_current": 1,
        "source_measures_voltage": 1,
        "source_four_wires": 1,
        "source_reads_back": 1,
    }


def test_one_question_measures_voltage_and_current_together(source_on):
    device, transcript = source_on(STATE, (MEASURE, b"-3.210000E-03,-9.999876E-03;0\n"))
    device.trigger().wait(5)
    transcript.done()
    assert values(device) == {
        "source_voltage": -3.21e-3,
        "source_measured_current": -9.999876e-3,
        "source_tripped": 0,
        "source_current": 0.01,
        "source_output": 1,
    }
    units = {name: key["units"] for name, key in device.describe().items()}
    assert (units["source_voltage"], units["source_measured_current"]) == ("V", "A")


def test_a_tripped_compliance_is_a_reading(source_on):
    device, transcript = source_on(STATE, (MEASURE, b"2.000000E+00,4.000000E-06;1\n"))
    device.trigger().wait(5)
    transcript.done()
    assert (device.voltage.get(), device.measured_current.get(), device.tripped.get()) == (2.0, 4e-6, 1)


def test_nothing_is_measured_while_the_output_is_off(source_on):
    device, transcript = source_on((STATE[0], b"1.000000E-02;0\n"))
    device.trigger().wait(5)
    transcript.done()
    read = values(device)
    assert math.isnan(read["source_voltage"]) and math.isnan(read["source_measured_current"])
    assert (read["source_tripped"], read["source_output"], read["source_current"]) == (0, 0, 0.01)


def test_a_newer_firmware_and_an_overflow_are_known(on_socket, attach):
    identity = (b"*IDN?\n", b"KEITHLEY INSTRUMENTS,MODEL 2450,04400000,1.7.12b\n")
    transcript = on_socket([identity, LANGUAGE, SELECTED, SET, (MEASURE, b"9.900000E+37,1.000000E-02;0\n")])
    device = attach(Keithley2450, transcript.address, "source")
    transcript.done()
    assert math.isnan(device.voltage.get())


@pytest.mark.parametrize(
    "identity", [b"KEITHLEY INSTRUMENTS INC.,MODEL 2400,1,C34", b"KEITHLEY INSTRUMENTS,MODEL 2470,1,1"]
)
def test_another_source_meter_is_refused_after_one_question(on_socket, attach, identity: bytes):
    transcript = on_socket([(b"*IDN?\n", identity + b"\n")])
    with pytest.raises(WrongInstrument, match="answers at"):
        attach(Keithley2450, transcript.address, "source")
    transcript.done()


@pytest.mark.parametrize("language", [b"TSP\n", b"SCPI2400\n"])
def test_another_language_is_refused_after_two_questions(on_socket, attach, language: bytes):
    transcript = on_socket([IDENTITY, (b"*LANG?\n", language)])
    with pytest.raises(WrongInstrument, match="select the command set SCPI"):
        attach(Keithley2450, transcript.address, "source")
    transcript.done()


@pytest.mark.parametrize(
    "selected, told",
    [
        (b'VOLT;"VOLT:DC";1;1\n', "select source of current on"),
        (b'CURR;"CURR:DC";1;1\n', "select measurement of voltage on"),
        (b'CURR;"VOLT:DC";0;1\n', "select 4-wire sense on"),
        (b'VOLT;"RES";0;0\n', "source of current, measurement of voltage, 4-wire sense, source readback on"),
    ],
)
def test_one_that_is_set_to_something_else_is_refused_not_changed(on_socket, attach, selected: bytes, told: str):
    transcript = on_socket([IDENTITY, LANGUAGE, (SELECTED[0], selected)])
    with pytest.raises(WrongInstrument, match=told):
        attach(Keithley2450, transcript.address, "source")
    transcript.done()


@pytest.mark.parametrize(
    "signal, value, accepted",
    [
        ("current", 0.0501, r"-0\.05\.\.0\.05 A"),
        ("current", -0.0501, r"-0\.05\.\.0\.05 A"),
        ("current", math.nan, r"-0\.05\.\.0\.05 A"),
        ("voltage_limit", 2.01, r"0\.02\.\.2 V"),
        ("voltage_limit", 0.0, r"0\.02\.\.2 V"),
        ("output", 2, "0..1"),
        ("output", 0.5, "0..1"),
        ("integration", 11, "0.01..10"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(source_on, signal: str, value: float, accepted: str):
    device, transcript = source_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError, match=accepted):
        getattr(device, signal).set(value)
    assert transcript.n_bytes == before


@pytest.mark.parametrize("told, sent, back", [(0.02, b"0.02", b"2.000000E-02"), (-1e-5, b"-1e-05", b"-1.000500E-05")])
def test_a_current_is_sent_and_read_back_as_the_range_resolves_it(source_on, told: float, sent: bytes, back: bytes):
    device, transcript = source_on((b":SOUR:CURR " + sent + b"\n", b""), (b":SOUR:CURR?\n", back + b"\n"))
    device.current.set(told).wait(5)
    transcript.done()


@pytest.mark.parametrize("back", [b"1.000000E-02\n", b"-2.000000E-02\n", b"2.010000E-02\n"])
def test_a_current_that_is_not_taken_is_told(source_on, back: bytes):
    device, _ = source_on((b":SOUR:CURR 0.02\n", b""), (b":SOUR:CURR?\n", back))
    with pytest.raises(Refused, match=r"0\.02 A was sent"):
        device.current.set(0.02).wait(5)


LIMITS = b":SOUR:CURR?;:SOUR:CURR:VLIM?\n"


def test_the_output_is_switched_on_and_read_back(source_on):
    device, transcript = source_on(
        (LIMITS, b"5.000000E-02;2.000000E+00\n"), (b":OUTP 1\n", b""), (b":OUTP?\n", b"1\n"), *OFF
    )
    device.output.set(1).wait(5)
    assert device.output.get() == 1
    device.output.set(0).wait(5)
    transcript.done()
    assert device.output.get() == 0


@pytest.mark.parametrize(
    "in_force, told",
    [
        (b"1.000000E-02;2.100000E+01\n", r"voltage_limit is 21 V; set one of 0\.02\.\.2 V"),
        (b"6E-02;2E+00\n", "current is 0.06 A"),
    ],
)
def test_limits_in_force_beyond_ours_keep_the_output_off(source_on, in_force: bytes, told: str):
    device, transcript = source_on((LIMITS, in_force))
    with pytest.raises(Refused, match=told):
        device.output.set(1).wait(5)
    transcript.done()


def test_an_output_that_stays_off_is_told(source_on):
    device, _ = source_on((LIMITS, b"1E-02;2E+00\n"), (b":OUTP 1\n", b""), (b":OUTP?\n", b"0\n"))
    with pytest.raises(Refused, match="stays off"):
        device.output.set(1).wait(5)


@pytest.mark.parametrize(
    "garbled",
    [
        b"1.234567E-03,1.0000\xb12E-02;0\n",
        b"1.234567E-03;0\n",
        b"1.234567E+12,1.000012E-02;0\n",
        b"1.234567E-03,1.000012E;0\n",
    ],
)
def test_a_garbled_reply_is_asked_for_again_and_never_a_value(source_on, garbled: bytes):
    again = [IDENTITY] if max(garbled) > 0x7F else []
    device, transcript = source_on(STATE, (MEASURE, garbled), *again, MEASURED)
    device.trigger().wait(5)
    transcript.done()
    assert device.voltage.get() == 1.234567e-3


def test_a_silent_source_is_an_error(source_on):
    device, _ = source_on()
    with pytest.raises(LinkError):
        device.trigger().wait(10)


def test_the_safe_state_is_current_zero_output_off_relay_open(source_on):
    still_on = [*OFF[:-1], (b":OUTP?\n", b"1\n")]
    device, transcript = source_on(*still_on, *OFF)
    assert isinstance(device, Hazardous) and device.hazard == "thermal"
    ((name, action, limit_s),) = device.safe_steps()
    assert name == "output off" and limit_s <= 5.0
    action().wait(5)
    transcript.done()


def test_a_pause_leaves_the_current_as_it_is(source_on):
    device, transcript = source_on()
    before = transcript.n_bytes
    device.pause_for(Pause())
    assert device.pause_steps() == [] and device.go_on_steps() == []
    assert transcript.n_bytes == before


@given(st.floats(-0.9, 0.9), st.floats(-0.05, 0.05))
def test_readings_in_the_instrument_s_form_are_numbers(volt: float, ampere: float):
    reply = f"{volt:.6E},{ampere:.6E}"
    assume_two_digits = all(len(number.rpartition("E")[2]) == 3 for number in reply.split(","))
    if assume_two_digits:
        assert parse_measured(0)(reply) == pytest.approx(volt, rel=1e-6, abs=1e-99)
        assert parse_measured(1)(reply) == pytest.approx(ampere, rel=1e-6, abs=1e-99)


RIG = """
title = "Source"

[instruments.source]
device = "megabar.devices.source_meters.keithley2450:Keithley2450"
address = "TCPIP::127.0.0.1::5025::SOCKET"
hazardous = true

[instruments.source.limits]
voltage_limit = [0.02, 0.5]
"""


@pytest.fixture
def port(tmp_path):
    """What a guard is told of a source whose limits the rig narrows."""
    (tmp_path / "source.toml").write_text(RIG)
    link = MessageLink("source", "TCPIP::127.0.0.1::5025::SOCKET", None, **Keithley2450.link_options)
    device = Keithley2450(name="source", link=link)
    device.tighten({"voltage_limit": (0.02, 0.5)})
    return guarded_ports(load_rig(str(tmp_path / "source.toml")), {"source": device})["source"]


@pytest.mark.parametrize(
    "message",
    [question for question, _ in (*ATTACH, STATE, EVERYTHING)]
    + [LIMITS, b":SOUR:CURR -0.05\n", b":SOUR:CURR 1e-05\n", b":SOUR:CURR:VLIM 0.5\n", b":OUTP 1\n"]
    + [question for question, _ in OFF],
)
def test_what_the_device_says_passes_a_guard(port, message: bytes):
    assert not Lines(port).judge(message).refused


@pytest.mark.parametrize(
    "message",
    [b":SOUR:CURR 0.051\n", b":SOUR:CURR:VLIM 2\n", b":SOUR:FUNC VOLT\n", b":SOUR:VOLT 5\n", b"*RST\n", b"*LANG TSP\n"],
)
def test_what_it_never_says_does_not(port, message: bytes):
    assert Lines(port).judge(message).refused


def test_a_guard_watches_the_voltage_limit_while_the_current_flows(port):
    (limit,) = [watch for watch in port["watch"] if watch["name"] == "voltage limit"]
    assert limit["high"] == pytest.approx(0.5) and limit["while_on"] == ["source"]
