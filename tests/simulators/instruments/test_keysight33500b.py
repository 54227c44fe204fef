"""The simulated function generator 33500B."""

import asyncio
import math

import pytest

from megabar.simulators.instruments.generators.keysight33500b import SimulatedKeysight33500B
from megabar.simulators.noise import Noise


class World:
    def __init__(self) -> None:
        self.driven: list[tuple] = []

    def drive(self, t, channel, shape, frequency_hz, amplitude_v, offset_v) -> None:
        self.driven.append((t, channel, shape, frequency_hz, amplitude_v, offset_v))


class Clock:
    def monotonic(self) -> float:
        return 7.0


def generator(**parameters) -> SimulatedKeysight33500B:
    instrument = SimulatedKeysight33500B(
        name="pump", world=World(), clock=Clock(), noise=Noise(1, "pump"), **parameters
    )
    ask(instrument, "*CLS")
    return instrument


def ask(instrument: SimulatedKeysight33500B, message: str) -> str | None:
    return asyncio.run(instrument.execute(message))


def value(instrument: SimulatedKeysight33500B, message: str) -> float:
    return float(ask(instrument, message))


def test_it_says_who_it_is():
    assert ask(generator(), "*IDN?").startswith("Agilent Technologies,33512B,")
    assert ask(generator(model="33522B"), "*IDN?").startswith("Agilent Technologies,33522B,")
    with pytest.raises(ValueError, match="accepted: 33511B, 33512B"):
        generator(model="33220A")


@pytest.mark.parametrize(
    "header", ["FREQ", ":FREQuency", "SOUR1:FREQ", "source1:frequency:cw", "SOUR:FREQ", ":SOUR1:FREQ"]
)
def test_headers_are_long_or_short_and_the_source_may_be_left_out(header: str):
    instrument = generator()
    assert ask(instrument, f"{header} 2500;{header} ?") == "+2.500000000000000E+03"
    assert ask(instrument, "SYST:ERR?") == '+0,"No error"'


def test_the_channels_are_set_apart():
    instrument = generator()
    ask(instrument, "SOUR1:FREQ 10;:SOUR2:FREQ 20;VOLT 3;:VOLT 1;:OUTP2 ON")
    assert [value(instrument, f"SOUR{n}:FREQ?") for n in (1, 2)] == [10, 20]
    assert [value(instrument, f"SOUR{n}:VOLT?") for n in (1, 2)] == [1, 3]
    assert ask(instrument, "OUTP1?;:OUTP2?;:OUTP?") == "0;1;0"


def test_what_follows_a_header_belongs_to_its_channel():
    instrument = generator()
    assert ask(instrument, ":SOUR2:VOLT:UNIT VRMS;OFFS 0.5;:SOUR2:VOLT:OFFS?;UNIT?") == "+5.000000000000000E-01;VRMS"
    assert ask(instrument, ":SOUR1:VOLT:UNIT?") == "VPP"


def test_nothing_comes_out_until_it_is_switched_on():
    instrument = generator()
    ask(instrument, "FREQ 1000;VOLT 1;VOLT:OFFS 0.5;:FUNC SQU")
    assert instrument.world.driven and all(told[-2:] == (0.0, 0.0) for told in instrument.world.driven)
    ask(instrument, "OUTP ON")
    assert instrument.world.driven[-1] == (7.0, 1, "SQU", 1000.0, 2.0, 1.0)  # behind 50 ohm, unloaded
    ask(instrument, "OUTP OFF")
    assert instrument.world.driven[-1] == (7.0, 1, "SQU", 1000.0, 0.0, 0.0)


def test_the_world_is_told_of_changes_alone():
    instrument = generator()
    ask(instrument, "OUTP1 1")
    n = len(instrument.world.driven)
    ask(instrument, "OUTP1 1;:FREQ?;:VOLT?;:SYST:ERR?")
    assert len(instrument.world.driven) == n
    ask(instrument, "*RST")
    assert len(instrument.world.driven) == n + 1


def test_a_direct_voltage_is_the_offset_alone():
    instrument = generator()
    ask(instrument, "FUNC DC;VOLT:OFFS 2;OUTP 1")
    assert instrument.world.driven[-1][2:] == ("DC", 1000.0, 0.0, 4.0)


def test_the_load_changes_what_is_told_and_not_what_comes_out():
    instrument = generator()
    ask(instrument, "VOLT 1;VOLT:OFFS 0.5;OUTP 1")
    before = instrument.world.driven[-1]
    ask(instrument, "OUTP:LOAD INF")
    assert value(instrument, "OUTP:LOAD?") == 9.9e37
    assert (value(instrument, "VOLT?"), value(instrument, "VOLT:OFFS?")) == (2.0, 1.0)
    assert instrument.world.driven[-1] == before
    ask(instrument, "OUTP1:LOAD 50")
    assert (value(instrument, "VOLT?"), value(instrument, "VOLT:OFFS?")) == (1.0, 0.5)


@pytest.mark.parametrize("shape, share", [("SIN", 1 / math.sqrt(8)), ("SQU", 0.5), ("TRI", 1 / math.sqrt(12))])
def test_effective_values_belong_to_a_shape(shape: str, share: float):
    instrument = generator()
    ask(instrument, f"FUNC {shape};VOLT 2;VOLT:UNIT VRMS")
    assert value(instrument, "VOLT?") == pytest.approx(2 * share)
    ask(instrument, "VOLT 0.5;VOLT:UNIT VPP")
    assert value(instrument, "VOLT?") == pytest.approx(0.5 / share)


@pytest.mark.parametrize(
    "message, query, is_set",
    [
        ("FREQ 21E6", "FREQ?", 20e6),
        ("FREQ 0", "FREQ?", 1e-6),
        ("FUNC RAMP;FREQ 1E6", "FREQ?", 200e3),
        ("VOLT 11", "VOLT?", 10.0),
        ("VOLT 0", "VOLT?", 1e-3),
        ("VOLT:OFFS -6", "VOLT:OFFS?", -4.9995),
    ],
)
def test_beyond_a_limit_it_is_the_limit_with_an_error(message: str, query: str, is_set: float):
    instrument = generator()
    ask(instrument, message)
    assert value(instrument, query) == pytest.approx(is_set)
    assert ask(instrument, "SYST:ERR?").startswith("-222,")


def test_the_limits_have_names():
    instrument = generator()
    ask(instrument, "FREQ MAX;VOLT MIN")
    assert (value(instrument, "FREQ?"), value(instrument, "VOLT?")) == (20e6, pytest.approx(1e-3))
    assert ask(instrument, "SYST:ERR?") == '+0,"No error"'


def test_of_amplitude_and_offset_the_other_one_gives_way():
    instrument = generator()
    ask(instrument, "VOLT 4;VOLT:OFFS 4")
    assert (value(instrument, "VOLT?"), value(instrument, "VOLT:OFFS?")) == (2.0, 4.0)
    assert ask(instrument, "SYST:ERR?") == '-221,"Settings conflict"'
    ask(instrument, "VOLT 8")
    assert (value(instrument, "VOLT?"), value(instrument, "VOLT:OFFS?")) == (8.0, 1.0)


def test_a_frequency_too_high_for_a_new_shape_gives_way():
    instrument = generator()
    ask(instrument, "FREQ 1E6;FUNC TRI")
    assert value(instrument, "FREQ?") == 200e3
    assert ask(instrument, "SYST:ERR?").startswith("-221")


@pytest.mark.parametrize(
    "message, code", [("FUNC NOIS", "-224"), ("FREQQ 1", "-113"), ("FREQ a", "-104"), ("OUTP3 1", "-113")]
)
def test_what_it_does_not_know_is_an_error(message: str, code: str):
    instrument = generator()
    assert ask(instrument, message) is None
    assert ask(instrument, "SYST:ERR?").startswith(code)


def test_reset_switches_off():
    instrument = generator()
    ask(instrument, "FREQ 5;VOLT 1;OUTP1 1;:OUTP2 1;*RST")
    assert ask(instrument, "OUTP1?;:OUTP2?") == "0;0"
    assert (value(instrument, "FREQ?"), value(instrument, "VOLT?")) == (1000.0, 0.1)


def test_phase_and_duty_cycle_are_kept():
    instrument = generator()
    ask(instrument, "PHAS 90;:FUNC:SQU:DCYC 20")
    assert (value(instrument, "PHAS?"), value(instrument, "FUNC:SQU:DCYC?")) == (90.0, 20.0)
