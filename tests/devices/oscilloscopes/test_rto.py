"""The device of the oscilloscopes RTO, against a transcript of their commands."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.devices.errors import GarbledReply, LimitError, LinkError, Refused, WrongInstrument
from megabar.devices.oscilloscopes import Oscilloscope
from megabar.devices.oscilloscopes.rto import RTO, parse_axis

IDENTITY = (b"*IDN?\n", b"Rohde&Schwarz,RTO,1329.7002k44/300157,3.60.1.0\n")
SETTINGS = (
    b":ACQ:COUN?;:CHAN1:RANG?;:CHAN1:OFFS?;:CHAN1:POS?;:TIM:RANG?;:TIM:HOR:POS?;:ACQ:SRAT?;:TRIG1:MODE?",
    b"4;0.5;0.1;0;4E-09;1.5E-09;1E+09;NORM",
)
ATTACH = [IDENTITY, (b":ACQ:CURR?;:STAT:QUES:ADCS:COND?;" + SETTINGS[0] + b";*STB?\n", b"0;0;" + SETTINGS[1] + b";0\n")]
READY = (b":TRIG1:MODE?;:ACQ:COUN?\n", b"NORM;4\n")
START = (
    b"*CLS;*ESE 1;:STOP;:FORM REAL,32;:EXP:WAV:INCX OFF;:EXP:WAV:MULT OFF;:CHAN1:ARIT AVER;:ACQ:ARES:IMM;:SING;*OPC\n",
    b"",
)
LOOK = b"*STB?;:ACQ:CURR?\n"
STOPPED = [(b":STOP\n", b""), (b":ACQ:CURR?\n", b"1\n")]
DONE = (LOOK, b"32;4\n")
ERRORS = (b":SYST:ERR?\n", b'0,"No error"\n')
HEADER = b":ACQ:CURR?;:STAT:QUES:ADCS:COND?;:CHAN1:DATA:HEAD?;" + SETTINGS[0]
TOLD = (HEADER + b"\n", b"4;0;-5E-10,2.5E-09,4,1;" + SETTINGS[1] + b"\n")
BYTES = b"\n\n\n>" + b"#18>" + struct.pack("<2f", -0.02, 0.1)
VOLTS = [*struct.unpack("<f", b"\n\n\n>"), *struct.unpack("<f", b"#18>"), -0.02, 0.1]
"""The first has three line feeds, the second looks like the head of a block."""
DATA = (b":CHAN1:DATA?\n", b"#216" + BYTES + b"\n")
EVERYTHING = [(HEADER + b";*STB?;:SYST:ERR?\n", b"4;0;-5E-10,2.5E-09,4,1;" + SETTINGS[1] + b';32;0,"No error"\n'), DATA]


@pytest.fixture
def scope_on(on_socket, attach):
    """An oscilloscope attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes]):
        transcript = on_socket([*ATTACH, *exchanges])
        return attach(RTO, transcript.address, "scope", timeout_s=0.3), transcript

    return make


def test_it_asks_who_answers_and_then_only_reads(scope_on):
    device, transcript = scope_on()
    transcript.done()
    assert isinstance(device, Oscilloscope)
    configuration = {name: entry["value"] for name, entry in device.read_configuration().items()}
    assert configuration == {
        "scope_averages": 4,
        "scope_vertical_range": 0.5,
        "scope_vertical_offset": 0.1,
        "scope_vertical_position": 0.0,
        "scope_acquisition_time": 4e-9,
        "scope_horizontal_position": 1.5e-9,
        "scope_sample_rate": 1e9,
        "scope_normal": 1,
    }


def test_a_trigger_takes_one_averaged_waveform_whatever_its_bytes(scope_on):
    device, transcript = scope_on(READY, START, ERRORS, (LOOK, b"0;1\n"), (LOOK, b"0;3\n"), DONE, TOLD, DATA)
    device.trigger().wait(5)
    transcript.done()
    read = {name: entry["value"] for name, entry in device.read().items()}
    np.testing.assert_allclose(read.pop("scope_waveform"), VOLTS, rtol=1e-6)
    assert read == {
        "scope_acquired": 4,
        "scope_clipped": 0,
        "scope_start": -5e-10,
        "scope_step": pytest.approx(1e-9),
        "scope_points": 4,
    }
    described = device.describe()["scope_waveform"]
    assert (described["dtype"], described["shape"], described["units"]) == ("array", [4], "V")


def test_the_other_channel_is_spoken_of_by_its_number(scope_on):
    device, transcript = scope_on((b":CHAN3:RANG 0.2\n", b""), (b":CHAN3:RANG?\n", b"0.2\n"))
    device.channel = 3
    device.vertical_range.set(0.2).wait(5)
    transcript.done()
    assert type(device.locate(device.waveform.query)) is type(device.waveform.query)
    assert device.clipped.parse(str(0b010000)) == 1 and device.clipped.parse(str(0b001111)) == 0


@pytest.mark.parametrize(
    "option", [{"channel": 5}, {"patience_s": 0.0}, {"patience_s": "long"}, {"patience_s": math.inf}]
)
def test_options_are_checked(scope_on, option):
    device, _ = scope_on()
    with pytest.raises(ValueError, match=f"options.{next(iter(option))} = .*accepted are"):
        RTO(name="other", link=device.link, **option)


@pytest.mark.parametrize("identity", [b"Rohde&Schwarz,RTB2004,1,2", b"KEYSIGHT TECHNOLOGIES,DSO-X 3054T,MY1,7.20"])
def test_another_oscilloscope_is_refused_after_one_question(on_socket, attach, identity: bytes):
    transcript = on_socket([(b"*IDN?\n", identity + b"\n")])
    with pytest.raises(WrongInstrument, match="answers at"):
        attach(RTO, transcript.address, "scope")
    transcript.done()


@pytest.mark.parametrize("mode", [b"AUTO", b"FRE"])
def test_a_trigger_mode_that_needs_no_pulse_is_refused_before_it_begins(scope_on, mode: bytes):
    device, transcript = scope_on((READY[0], mode + b";4\n"))
    with pytest.raises(Refused, match="not Normal"):
        device.trigger().wait(5)
    transcript.done()


def test_a_series_that_was_stopped_is_no_waveform(scope_on):
    told = (TOLD[0], TOLD[1].replace(b"4;0;", b"2;0;", 1))
    device, transcript = scope_on(READY, START, ERRORS, (LOOK, b"32;2\n"), told, DATA)
    with pytest.raises(Refused, match="2 of 4 acquisitions were averaged: somebody has stopped"):
        device.trigger().wait(5)
    transcript.done()


def test_without_triggers_it_ends_in_a_clear_error_and_stops_the_series(scope_on):
    device, transcript = scope_on(READY, START, ERRORS, *[(LOOK, b"0;1\n")] * 2, *STOPPED)
    device.patience_s = 0.0
    with pytest.raises(Refused, match=r"scope: 1 of 4 acquisitions came, and no trigger for 0 s"):
        device.trigger().wait(5)
    transcript.done()


def test_what_the_instrument_did_not_take_is_told(scope_on):
    device, transcript = scope_on(READY, START, (ERRORS[0], b'-113,"Undefined header;:ACQ:ARES:IMM"\n'))
    with pytest.raises(Refused, match=r'is not begun, it says .-113,"Undefined header;:ACQ:ARES:IMM"'):
        device.trigger().wait(5)
    transcript.done()


@pytest.mark.parametrize(
    "state, mean_v, clipped", [(b"1", 0.1, 1), (b"2", 0.1, 1), (b"12", 0.1, 0), (b"0", 0.348, 1), (b"0", 0.34, 0)]
)
def test_clipping_is_flagged_by_the_converter_and_by_a_mean_at_the_edge(scope_on, state, mean_v: float, clipped: int):
    told = (TOLD[0], TOLD[1].replace(b"4;0;", b"4;" + state + b";", 1))
    data = (DATA[0], b"#216" + struct.pack("<4f", 0.1, mean_v, 0.0, 0.1) + b"\n")
    device, _ = scope_on(READY, START, ERRORS, DONE, told, data)
    device.trigger().wait(5)
    assert device.clipped.get() == clipped


NAN, FAR = struct.pack("<4f", 0.1, math.nan, 0.0, 0.1), struct.pack("<4f", 0.1, 0.36, 0.0, 0.1)


@pytest.mark.parametrize("data", [b"#216" + NAN + b"\n", b"#216" + FAR + b"\n", b"#212" + BYTES[:12] + b"\n"])
def test_a_garbled_waveform_is_asked_for_again_and_never_a_value(scope_on, data: bytes):
    device, transcript = scope_on(READY, START, ERRORS, DONE, TOLD, (DATA[0], data), TOLD, DATA)
    device.trigger().wait(5)
    transcript.done()
    np.testing.assert_allclose(device.waveform.get(), VOLTS, rtol=1e-6)


def test_a_block_that_lies_about_its_length_is_asked_for_again_after_draining(scope_on):
    lies = (DATA[0], b"#214" + BYTES + b"\n")
    device, transcript = scope_on(READY, START, ERRORS, DONE, TOLD, lies, IDENTITY, TOLD, DATA)
    device.trigger().wait(5)
    transcript.done()
    np.testing.assert_allclose(device.waveform.get(), VOLTS, rtol=1e-6)


def test_garbage_without_end_fails_the_trigger(scope_on):
    device, _ = scope_on(READY, START, ERRORS, DONE, *[TOLD, (DATA[0], b"#216" + NAN + b"\n")] * 3)
    with pytest.raises(GarbledReply, match="does not reach"):
        device.trigger().wait(5)


def test_an_answer_that_is_lost_does_not_end_the_series(scope_on):
    device, transcript = scope_on(READY, START, ERRORS, (LOOK, b""), IDENTITY, DONE, TOLD, DATA)
    device.trigger().wait(5)
    transcript.done()


def test_a_silent_oscilloscope_is_an_error(scope_on):
    device, _ = scope_on()
    with pytest.raises(LinkError):
        device.trigger().wait(10)


@pytest.mark.parametrize(
    "signal, value, accepted",
    [
        ("averages", 0, r"1\.\.1e\+06"),
        ("averages", 2.5, "whole numbers"),
        ("averages", math.nan, r"1\.\.1e\+06"),
        ("vertical_range", 11.0, r"0\.01\.\.10 V"),
        ("vertical_offset", -10.1, r"-10\.\.10 V"),
        ("acquisition_time", 1e-10, "1e-09..0.01 s"),
        ("sample_rate", 1e5, r"1e\+06\.\.2e\+10 1/s"),
        ("horizontal_position", 0.1, "-0.01..0.01 s"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(scope_on, signal: str, value: float, accepted: str):
    device, transcript = scope_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError, match=accepted):
        getattr(device, signal).set(value)
    assert transcript.n_bytes == before


@pytest.mark.parametrize(
    "signal, value, sent, asked, back",
    [
        ("averages", 10000, b":ACQ:COUN 10000\n", b":ACQ:COUN?\n", b"10000\n"),
        ("vertical_range", 0.05, b":CHAN1:RANG 0.05\n", b":CHAN1:RANG?\n", b"0.05\n"),
        ("vertical_offset", -0.02, b":CHAN1:OFFS -0.02\n", b":CHAN1:OFFS?\n", b"-0.02\n"),
        ("acquisition_time", 2e-6, b":TIM:RANG 2e-06\n", b":TIM:RANG?\n", b"2E-06\n"),
        ("horizontal_position", 8e-7, b":TIM:HOR:POS 8e-07\n", b":TIM:HOR:POS?\n", b"8E-07\n"),
        ("sample_rate", 1e9, b":ACQ:SRAT 1e+09\n", b":ACQ:SRAT?\n", b"999999999\n"),
    ],
)
def test_a_setting_is_sent_and_read_back(scope_on, signal: str, value: float, sent: bytes, asked: bytes, back: bytes):
    device, transcript = scope_on((sent, b""), (asked, back))
    getattr(device, signal).set(value).wait(5)
    transcript.done()


def test_a_setting_that_is_not_taken_is_told(scope_on):
    device, _ = scope_on((b":ACQ:SRAT 2e+10\n", b""), (b":ACQ:SRAT?\n", b"1E+10\n"))
    with pytest.raises(Refused, match=r"2e\+10 1/s was sent, 1e\+10"):
        device.sample_rate.set(2e10).wait(5)


@pytest.mark.parametrize(
    "reply", ["0,0,0,1", "1E-9,1E-9,2,1", "0,1E-6,1000,2", "0,1E-6,1000", "0,1E-6,-5,1", "nan,nan,2,1"]
)
def test_a_header_without_a_waveform_is_refused(reply: str):
    with pytest.raises(ValueError):
        parse_axis(reply)


@given(st.floats(-1e-6, 1e-6), st.floats(1e-11, 1e-8), st.integers(2, 10**6))
def test_the_last_time_of_a_header_is_that_of_the_last_sample(first: float, step: float, points: int):
    axis = parse_axis(f"{first:.15g},{first + (points - 1) * step:.15g},{points},1")
    assert axis.points == points and axis.start == pytest.approx(first, abs=1e-18)
    assert axis.step == pytest.approx(step, rel=1e-3)
