"""The device of the current source 6221, against a transcript of its commands."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.acquisition.errors import InputError
from megabar.acquisition.guarded import guarded_ports
from megabar.acquisition.rig import load_rig
from megabar.devices.errors import GarbledReply, LimitError, LinkError, Refused, WrongInstrument
from megabar.devices.sources import ReversingSource
from megabar.devices.sources.delta_series import SET_UP
from megabar.devices.sources.keithley6221 import Keithley6221
from megabar.devices.sources.keithley6221_replies import parse_count, parse_series
from megabar.devices.sources.keithley6221_setpoints import OFF as ALL_OFF
from megabar.devices.visa import MessageLink
from megabar.plans.safety import Hazardous

Exchange = tuple[bytes, bytes]

IDENTITY = (b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 6221,4559777,D04  /700x \n")
STATE = {
    b":STAT:MEAS:COND?": b"0",
    b":SOUR:DELT:HIGH?": b"+1.000000E-02",
    b":SOUR:CURR?": b"+0.000000E+00",
    b":OUTP:STAT?": b"0",
    b":SOUR:CURR:COMP?": b"+2.000000E+00",
    b":SOUR:DELT:DEL?": b"+2.000000E-03",
    b":SOUR:DELT:COUN?": b"3",
    b":SOUR:DELT:LOW?": b"-1.000000E-02",
    b":SOUR:DELT:CAB?": b"1",
    b":UNIT:VOLT:DC?": b"V",
    b":SENS:AVER:STAT?": b"0",
    b":SOUR:DELT:NVPR?": b"1",
    b":SOUR:DELT:ARM?": b"0",
    b":TRAC:POIN?": b"3",
    b":TRAC:POIN:ACT?": b"0",
}
SEND = (b':SYST:COMM:SER:SEND "*IDN?;:SENS:VOLT:NPLC?"\n', b"")
METER = b"KEITHLEY INSTRUMENTS INC.,MODEL 2182A,1340129,C02  /A02;+1.00"


def asked(*questions: bytes, **changed: bytes) -> Exchange:
    """One message with several questions, and what is answered; `changed` by the last word of a question."""
    state = STATE | {word: changed[key] for word in STATE for key in changed if word.endswith(f":{key}?".encode())}
    return b";".join(questions) + b"\n", b";".join(state[question] for question in questions) + b"\n"


def said(*lines: bytes) -> list[Exchange]:
    """Lines that are not answered."""
    return [(line + b"\n", b"") for line in lines]


def entered(answer: bytes) -> Exchange:
    return b":SYST:COMM:SER:ENT?\n", answer + b"\r\n"


ATTACH = [IDENTITY, asked(*STATE), SEND, entered(METER)]
IDLE = asked(b":OUTP:STAT?", b":SOUR:DELT:ARM?")
LEVELS = (b":SOUR:CURR:COMP?", b":SOUR:DELT:HIGH?", b":SOUR:DELT:DEL?", b":SOUR:DELT:COUN?")
CHECK = (
    b":SOUR:DELT:CAB?",
    b":UNIT:VOLT:DC?",
    b":SENS:AVER:STAT?",
    b":TRAC:POIN?",
    b":SOUR:DELT:HIGH?",
    b":SOUR:DELT:LOW?",
)
LOOK = (b":OUTP:STAT?", b":STAT:MEAS:COND?", b":TRAC:POIN:ACT?")
SET = said(*(line.encode() for line in SET_UP), b":TRAC:POIN 3", b":TRAC:FEED:CONT NEXT")
ARMED = [*said(b":SOUR:DELT:ARM"), asked(b":SOUR:DELT:ARM?", ARM=b"1")]
STARTED = [(b":STAT:MEAS?\n", b"544\n"), *said(b":INIT:IMM")]
DONE = asked(*LOOK, STAT=b"1", ACT=b"3")
DATA = (b":TRAC:DATA?\n", b"+1.20010000E-04,+0.000E+00,+9.9E37,+4.1E-02,-1.19990000E-04,+8.2E-02\n")
NOTHING = (b":STAT:MEAS?\n", b"545\n")
OFF = [*said(b":SOUR:SWE:ABOR", b":SOUR:CLE"), asked(b":OUTP:STAT?", b":SOUR:DELT:ARM?", b":SOUR:CURR?")]
SERIES = [IDLE, asked(*LEVELS), *SET, asked(*CHECK), *ARMED, *STARTED, DONE, DATA, NOTHING, *OFF]


@pytest.fixture
def source_on(on_socket, attach):
    """A source attached to a transcript that begins as every attachment does."""

    def make(*exchanges: Exchange):
        transcript = on_socket([*ATTACH, *exchanges])
        return attach(Keithley6221, transcript.address, "source", timeout_s=0.3), transcript

    return make


def values(device) -> dict:
    return {name: entry["value"] for name, entry in device.read().items()}


# ---- attaching


def test_it_asks_who_answers_here_and_behind_the_relay_and_then_only_reads(source_on):
    device, transcript = source_on()
    transcript.done()
    assert isinstance(device, ReversingSource)
    configuration = {name: entry["value"] for name, entry in device.read_configuration().items()}
    assert configuration == {
        "source_compliance": 2.0,
        "source_delta_delay": 0.002,
        "source_delta_count": 3.0,
        "source_integration": 1.0,
        "source_delta_low": -0.01,
        "source_compliance_abort": 1,
    }
    described = device.describe()
    assert described["source_delta"]["shape"] == [3] and described["source_delta"]["units"] == "V"
    assert described["source_delta_time"]["units"] == "s"


def test_another_source_is_refused_after_one_question(on_socket, attach):
    transcript = on_socket([(b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 6220,1,D03\n")])
    with pytest.raises(WrongInstrument, match="MODEL 6220"):
        attach(Keithley6221, transcript.address, "source")
    transcript.done()


@pytest.mark.parametrize(
    "exchanges, says",
    [
        ([asked(*STATE, ARM=b"1")], "armed, or runs; end it on the instrument"),
        ([asked(*STATE, NVPR=b"0")], "no nanovoltmeter on its serial line"),
        ([asked(*STATE), SEND, entered(b"KEITHLEY INSTRUMENTS INC.,MODEL 2000,1,A;+1.00")], "expected a MODEL 2182A"),
        ([asked(*STATE), SEND, *[entered(b"")] * 3], "answers nothing"),
        ([asked(*STATE), SEND, (b":SYST:COMM:SER:ENT?\n", b"")], "does not answer"),
    ],
)
def test_without_a_2182a_at_rest_behind_it_it_is_refused_not_changed(on_socket, attach, exchanges, says: str):
    transcript = on_socket([IDENTITY, *exchanges])
    with pytest.raises(WrongInstrument, match=says):
        attach(Keithley6221, transcript.address, "source", timeout_s=0.3)
    transcript.done()


def test_an_empty_line_after_the_meters_answer_is_no_answer_to_the_next_question(on_socket, attach):
    torn = (b":SYST:COMM:SER:ENT?\n", METER + b"\r\n\n")
    transcript = on_socket([*ATTACH[:-1], torn, IDENTITY, *SERIES])
    device = attach(Keithley6221, transcript.address, "source", timeout_s=0.3)
    device.trigger().wait(10)
    transcript.done()


def test_an_endless_series_is_no_number_and_is_not_begun(on_socket, attach):
    transcript = on_socket([IDENTITY, asked(*STATE, COUN=b"+9.9E37"), *ATTACH[2:], IDLE, asked(*LEVELS, COUN=b"INF")])
    device = attach(Keithley6221, transcript.address, "source")
    assert math.isnan(device.delta_count.get()) and device.describe()["source_delta"]["shape"] == [0]
    with pytest.raises(LimitError, match=r"accepted are whole numbers of 1\.\.1000"):
        device.trigger().wait(5)
    transcript.done()


# ---- a series


def test_a_series_is_set_up_armed_started_fetched_and_ended(source_on):
    device, transcript = source_on(*SERIES)
    device.trigger().wait(10)
    transcript.done()
    read = values(device)
    np.testing.assert_array_equal(read.pop("source_delta"), [1.2001e-4, math.nan, -1.1999e-4])
    np.testing.assert_array_equal(read.pop("source_delta_time"), [0.0, 0.041, 0.082])
    assert read == {
        "source_overflows": 1,
        "source_in_compliance": 0,
        "source_delta_current": 0.01,
        "source_current": 0.0,
        "source_output": 0,
    }


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"CAB": b"0"}, "not armed: compliance abort stays off"),
        ({"DC": b"OHMS"}, "not in V"),
        ({"POIN": b"100"}, "room for 100 readings"),
        ({"LOW": b"-5.0E-03"}, r"would reverse from 0\.01 to -0\.005 A"),
    ],
)
def test_what_does_not_read_back_is_never_armed(source_on, changed: dict, says: str):
    device, transcript = source_on(IDLE, asked(*LEVELS), *SET, asked(*CHECK, **changed), *OFF)
    with pytest.raises(Refused, match=says):
        device.trigger().wait(10)
    transcript.done()


def test_an_averaging_filter_that_stays_on_would_spoil_the_covariance(source_on):
    filtered = (b";".join(CHECK) + b"\n", b"1;V;1;3;+1.0E-02;-1.0E-02\n")
    device, transcript = source_on(IDLE, asked(*LEVELS), *SET, filtered, *OFF)
    with pytest.raises(Refused, match="averaging filter stays on"):
        device.trigger().wait(10)
    transcript.done()


@pytest.mark.parametrize(
    "changed, says",
    [({"COMP": b"+1.0E+01"}, r"compliance = 10 .* 0\.1\.\.2 V"), ({"HIGH": b"+1.0E-01"}, r"delta_current = 0\.1")],
)
def test_limits_hold_for_what_somebody_has_set_on_the_instrument(source_on, changed: dict, says: str):
    device, transcript = source_on(IDLE, asked(*LEVELS, **changed))
    with pytest.raises(LimitError, match=says):
        device.trigger().wait(5)
    transcript.done()


@pytest.mark.parametrize("changed, says", [({"STAT": b"1"}, "output is on"), ({"ARM": b"1"}, "a series is armed")])
def test_a_series_does_not_break_into_what_goes_on(source_on, changed: dict, says: str):
    device, transcript = source_on(asked(b":OUTP:STAT?", b":SOUR:DELT:ARM?", **changed))
    with pytest.raises(Refused, match=says):
        device.trigger().wait(5)
    transcript.done()


def test_a_series_that_stops_says_why_and_is_switched_off(source_on):
    begun = [IDLE, asked(*LEVELS), *SET, asked(*CHECK), *ARMED, *STARTED]
    dark = asked(*LOOK, STAT=b"0", ACT=b"1")
    events, error = (b":STAT:MEAS?\n", b"8\n"), (b":SYST:ERR?\n", b'+0,"No error"\n')
    device, transcript = source_on(*begun, dark, dark, events, error, *OFF)
    with pytest.raises(Refused, match=r"has stopped at 1 of 3 readings: the source was in compliance at 2 V$"):
        device.trigger().wait(10)
    transcript.done()


def test_a_compliance_in_a_series_that_ends_all_the_same_is_told(source_on):
    reached = (b":STAT:MEAS?\n", b"552\n")
    device, transcript = source_on(*(reached if exchange is NOTHING else exchange for exchange in SERIES))
    device.trigger().wait(10)
    transcript.done()
    assert values(device)["source_in_compliance"] == 1


@pytest.mark.parametrize(
    "garbled",
    [
        b"+1.2001E-04,+0.0E+00,+9.9E37,+4.1E-02",
        b"+1.2001,+0.0E+00,+9.9E37,+4.1E-02,-1.2E-04,+8.2E-02",
        b"+1.2001E-04,+0.0E+00,+9.9E37,+4.1E-02,-1.2E-04,+1.0E-02",
        b"+1.2001E-04,+0.0E+00,+9.9E37,+4.1E-02,-1.2E+04,+8.2E-02",
    ],
)
def test_a_garbled_series_is_asked_for_again_and_never_a_value(source_on, garbled: bytes):
    at = SERIES.index(DATA)
    device, transcript = source_on(*SERIES[:at], (DATA[0], garbled + b"\n"), *SERIES[at:])
    device.trigger().wait(10)
    transcript.done()
    assert device.delta.get()[0] == 1.2001e-4


def test_garbage_without_end_fails_the_series_and_switches_off(source_on):
    at = SERIES.index(DATA)
    device, transcript = source_on(*SERIES[:at], *[(DATA[0], b"?\n")] * 3, *OFF)
    with pytest.raises(GarbledReply, match="no series of 3 readings"):
        device.trigger().wait(10)
    transcript.done()


def test_an_output_that_stays_on_after_a_series_is_told(source_on, monkeypatch):
    monkeypatch.setattr("megabar.devices.sources.keithley6221.OFF", replace(ALL_OFF, within_s=0.5))
    still = [*said(b":SOUR:SWE:ABOR", b":SOUR:CLE"), asked(*OFF[-1][0][:-1].split(b";"), STAT=b"1")]
    device, _ = source_on(*SERIES[: -len(OFF)], *still * 60)
    with pytest.raises(Refused, match="output is not seen"):
        device.trigger().wait(20)


# ---- set-points


@pytest.mark.parametrize(
    "signal, value, accepted",
    [
        ("current", 0.0501, r"-0\.05\.\.0\.05 A"),
        ("current", math.nan, r"-0\.05\.\.0\.05 A"),
        ("compliance", 2.1, r"0\.1\.\.2 V"),
        ("compliance", 0.0, r"0\.1\.\.2 V"),
        ("delta_current", -0.01, r"1e-09\.\.0\.05 A"),
        ("delta_current", 0.051, r"1e-09\.\.0\.05 A"),
        ("delta_delay", 0.0, r"0\.001\.\.9999 s"),
        ("delta_count", 2.5, r"whole numbers of 1\.\.1000"),
        ("delta_count", 1001, r"whole numbers of 1\.\.1000"),
        ("delta_count", math.inf, r"whole numbers of 1\.\.1000"),
        ("integration", 51, r"0\.01\.\.50"),
        ("output", 2, r"0\.\.1"),
        ("output", 0.5, r"0\.\.1"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(source_on, signal: str, value: float, accepted: str):
    device, transcript = source_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError, match=accepted):
        getattr(device, signal).set(value)
    assert transcript.n_bytes == before


@pytest.mark.parametrize(
    "signal, value, line, question, answer",
    [
        ("delta_current", 0.02, b":SOUR:DELT:HIGH 0.02", b":SOUR:DELT:HIGH?", b"+2.000000E-02"),
        ("delta_current", 1.25e-6, b":SOUR:DELT:HIGH 1.25e-06", b":SOUR:DELT:HIGH?", b"+1.250000E-06"),
        ("compliance", 0.5, b":SOUR:CURR:COMP 0.5", b":SOUR:CURR:COMP?", b"+5.000000E-01"),
        ("delta_delay", 0.1, b":SOUR:DELT:DEL 0.1", b":SOUR:DELT:DEL?", b"1.000000E-01"),
        ("delta_count", 7, b":SOUR:DELT:COUN 7", b":SOUR:DELT:COUN?", b"7"),
    ],
)
def test_a_set_point_is_sent_and_read_back(source_on, signal: str, value: float, line, question, answer):
    device, transcript = source_on(*said(line), (question + b"\n", answer + b"\n"))
    getattr(device, signal).set(value).wait(5)
    transcript.done()
    assert getattr(device, signal).get() == value


def test_the_arrays_are_as_long_as_the_next_series(source_on):
    device, _ = source_on(*said(b":SOUR:DELT:COUN 7"), (b":SOUR:DELT:COUN?\n", b"7\n"))
    device.delta_count.set(7).wait(5)
    assert device.describe()["source_delta"]["shape"] == device.describe()["source_delta_time"]["shape"] == [7]


def test_a_current_that_is_not_taken_is_told(source_on):
    device, _ = source_on(*said(b":SOUR:DELT:HIGH 0.02"), asked(b":SOUR:DELT:HIGH?"))
    with pytest.raises(Refused, match=r"0\.02 A was sent, 0\.01 A was read back"):
        device.delta_current.set(0.02).wait(5)


def test_the_integration_time_goes_through_the_relay(source_on):
    sent = said(b':SYST:COMM:SER:SEND ":SENS:VOLT:NPLC 5;:SENS:VOLT:NPLC?"')
    device, transcript = source_on(IDLE, *sent, entered(b"+5.00"))
    device.integration.set(5).wait(5)
    transcript.done()
    assert device.integration.get() == 5.0


def test_an_integration_time_that_the_meter_does_not_take_is_told(source_on):
    sent = said(b':SYST:COMM:SER:SEND ":SENS:VOLT:NPLC 5;:SENS:VOLT:NPLC?"')
    device, _ = source_on(IDLE, *sent, entered(b"+1.00"))
    with pytest.raises(Refused, match="5 power line cycles was sent, 1 power line cycles was read back"):
        device.integration.set(5).wait(5)


# ---- a steady current

STEADY = (b":OUTP:STAT?", b":SOUR:CURR?", b":SOUR:DELT:ARM?")
READY = (b":SOUR:DELT:ARM?", b":SOUR:CURR?", b":SOUR:CURR:COMP?")


def test_while_the_output_is_off_a_current_is_set_at_once(source_on):
    taken = asked(b":SOUR:CURR?", CURR=b"+1.0E-02")
    device, transcript = source_on(asked(*STEADY), *said(b":SOUR:CURR 0.01"), taken)
    device.current.set(0.01).wait(5)
    transcript.done()


def test_while_it_is_on_the_current_changes_by_a_tenth_of_a_milliampere_in_a_tenth_of_a_second(source_on):
    now = asked(*STEADY, STAT=b"1")
    thirds = [f"{value:.6g}".encode() for value in (2.5e-4 / 3, 5e-4 / 3, 2.5e-4)]
    steps = []
    for value in thirds:
        steps += [*said(b":SOUR:CURR " + value), asked(b":SOUR:CURR?", CURR=value.upper())]
        steps += [asked(b":OUTP:STAT?", b":SOUR:CURR?", STAT=b"1", CURR=value.upper())]
    device, transcript = source_on(now, *steps[:-1])
    device.current.set(2.5e-4).wait(5)
    transcript.done()


def test_a_current_that_is_high_already_is_not_switched_on(source_on):
    device, transcript = source_on(asked(*READY, CURR=b"+1.0E-02"))
    with pytest.raises(Refused, match=r"set to 0\.01 A; accepted are 0\.0001 A at most"):
        device.output.set(1).wait(5)
    transcript.done()


def test_the_output_is_switched_on_from_next_to_nothing_and_off_with_all_there_is(source_on):
    on = [asked(*READY), *said(b":OUTP:STAT 1"), asked(b":OUTP:STAT?", STAT=b"1")]
    device, transcript = source_on(*on, *OFF)
    device.output.set(1).wait(5)
    assert device.output.get() == 1
    device.output.set(0).wait(5)
    transcript.done()
    assert device.output.get() == 0


def test_a_compliance_that_is_too_high_is_not_switched_on(source_on):
    device, transcript = source_on(asked(*READY, COMP=b"+1.0E+01"))
    with pytest.raises(LimitError, match="compliance = 10"):
        device.output.set(1).wait(5)
    transcript.done()


def test_unstaging_ends_what_flows_and_asks_nothing_of_what_is_off(source_on):
    on = [asked(*READY), *said(b":OUTP:STAT 1"), asked(b":OUTP:STAT?", STAT=b"1")]
    device, transcript = source_on(*on, *OFF)
    device.stage()
    device.unstage()
    device.output.set(1).wait(5)
    device.stage()
    device.unstage()
    device.link.call(lambda: None)
    transcript.done()


# ---- what it is to others


def test_it_is_no_hazard_and_no_guard_takes_it(source_on, tmp_path):
    device, _ = source_on()
    assert device.hazard == "" and device.safe_state is None and not list(device.safe_steps())
    assert isinstance(device, Hazardous)  # by its form, as every instrument
    address = "TCPIP::127.0.0.1::1394::SOCKET"
    (tmp_path / "source.toml").write_text(
        'title = "Source"\n[instruments.source]\nhazardous = true\n'
        f'device = "megabar.devices.sources.keithley6221:Keithley6221"\naddress = "{address}"\n'
    )
    unopened = Keithley6221(name="source", link=MessageLink("source", address, None, **Keithley6221.link_options))
    with pytest.raises(InputError, match="declares no safe state"):
        guarded_ports(load_rig(str(tmp_path / "source.toml")), {"source": unopened})


def test_a_silent_source_is_an_error(source_on):
    device, _ = source_on()
    with pytest.raises(LinkError):
        device.trigger().wait(30)


# ---- replies

VOLTS = st.floats(-2, 2).map(lambda value: round(value, 12))
NUMBERS = st.lists(st.tuples(VOLTS, st.floats(0, 1e5).map(lambda value: round(value, 3))), min_size=1, max_size=5)


@given(NUMBERS)
def test_readings_in_the_instrument_s_form_are_numbers(pairs):
    pairs = sorted(pairs, key=lambda pair: pair[1])
    reply = ",".join(f"{reading:+.8E},{time:+.3E}" for reading, time in pairs)
    delta_v, time_s = parse_series(reply, len(pairs))
    np.testing.assert_allclose(delta_v, [reading for reading, _ in pairs], rtol=1e-8, atol=1e-300)
    np.testing.assert_allclose(time_s, [time for _, time in pairs], rtol=1e-3)


@given(NUMBERS, st.integers(0, 80), st.sampled_from(["", ",", "E", ";", "+", "x"]))
def test_a_series_with_a_changed_end_is_refused_or_what_was_written(pairs, at: int, put: str):
    reply = ",".join(f"{reading:+.8E},{index:+.3E}" for index, (reading, _) in enumerate(pairs))
    changed = reply[:at] + put + reply[at + 1 :]
    try:
        delta_v, time_s = parse_series(changed, len(pairs))
    except ValueError:
        return
    words = changed.split(",")
    assert [float(word) for word in words] == [value for pair in zip(delta_v, time_s, strict=True) for value in pair]


@pytest.mark.parametrize("reply, count", [("20", 20.0), ("+2.000000E+01", 20.0)])
def test_a_count_may_be_written_as_any_number(reply: str, count: float):
    assert parse_count(reply) == count


@pytest.mark.parametrize("reply", ["2.5", "", "20 ", "1,2", "nan"])
def test_what_is_no_count_is_refused(reply: str):
    with pytest.raises(ValueError):
        parse_count(reply)
