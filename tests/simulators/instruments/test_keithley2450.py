"""The simulated source-meter 2450."""

import asyncio
import math

import numpy as np
import pytest

from megabar.simulators.instruments.source_meters.keithley2450 import SimulatedKeithley2450
from megabar.simulators.noise import Noise


class World:
    """A resistor between four leads, and a thermoelectric voltage."""

    def __init__(self, ohm: float = 0.05, emf_v: float = 0.0) -> None:
        self.ohm, self.emf_v, self.ampere = ohm, emf_v, 0.0
        self.told: list[tuple[float, float]] = []

    def set_source_current(self, t: float, ampere: float) -> None:
        self.told.append((t, ampere))
        self.ampere = ampere

    def voltage_v(self, t: float) -> float:
        return (self.ampere * self.ohm if self.ampere else 0.0) + self.emf_v


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float, name: str) -> None:
        self.now += delay_s


def source(world: World | None = None, **parameters) -> SimulatedKeithley2450:
    exact = {"offset_v": 0.0, "gain": 0.0, **parameters}
    made = SimulatedKeithley2450(
        name="source", world=world or World(), clock=Clock(), noise=Noise(1, "source"), **exact
    )
    ask(made, "*CLS")
    return made


def ask(instrument: SimulatedKeithley2450, message: str) -> str | None:
    return asyncio.run(instrument.execute(message))


def value(instrument: SimulatedKeithley2450, message: str) -> float:
    return float(ask(instrument, message))


def test_it_says_who_it_is_and_which_language_it_speaks():
    assert ask(source(), "*IDN?;*LANG?").startswith("KEITHLEY INSTRUMENTS,MODEL 2450,")
    assert ask(source(), "*LANG?") == "SCPI"


def test_somebody_has_set_it_up_and_a_reset_undoes_that():
    made = source()
    asked = ":SOUR:FUNC?;:SENS:FUNC?;:SENS:VOLT:RSEN?;:SOUR:CURR:VLIM?;:OUTP?"
    assert ask(made, asked) == 'CURR;"VOLT:DC";1;2.100000E+01;0'
    ask(made, "*RST")
    assert ask(made, asked) == 'VOLT;"CURR:DC";0;2.100000E+01;0'


@pytest.mark.parametrize("header", [":SOUR:CURR", "source1:current", "SOUR:CURR:LEV:IMM:AMPL", ":SOURce:CURRent:LEVel"])
def test_headers_are_long_or_short(header: str):
    made = source()
    assert ask(made, f"{header} 0.02;:SOUR:CURR?") == "2.000000E-02"


def test_the_world_is_driven_while_the_output_is_on_and_only_then():
    world = World()
    made = source(world)
    ask(made, "SOUR:CURR 0.01")
    assert world.ampere == 0.0 and not world.told
    ask(made, "OUTP ON")
    assert world.ampere == 0.01
    ask(made, "SOUR:CURR -0.02")
    assert world.ampere == -0.02
    ask(made, "OUTP OFF;OUTP OFF")
    assert [ampere for _, ampere in world.told] == [0.01, -0.02, 0.0]


def test_a_reading_is_the_voltage_and_takes_its_line_cycles():
    made = source(World(ohm=0.05))
    ask(made, "SOUR:CURR 0.01;:SENS:VOLT:NPLC 10;:OUTP 1")
    before = made.clock.now
    assert value(made, ":READ?") == pytest.approx(5e-4, abs=3e-6)
    assert made.clock.now - before == pytest.approx(2 * 10 / 50 + 0.005)
    volt, ampere = ask(made, ':READ? "defbuffer1", READ, SOUR').split(",")
    assert float(volt) == pytest.approx(5e-4, abs=3e-6) and float(ampere) == pytest.approx(0.01)
    assert ask(made, "FETC? 'defbuffer1',SOURce") == ampere


def test_reversing_the_current_cancels_what_does_not_reverse():
    made = source(World(ohm=0.05, emf_v=200e-6), offset_v=1e-4)
    ask(made, "SOUR:CURR 0.05;:OUTP 1")
    forward = value(made, "READ?")
    ask(made, "SOUR:CURR -0.05")
    assert (forward - value(made, "READ?")) / 0.1 == pytest.approx(0.05, abs=1e-4)
    assert abs(forward - 2.5e-3) > 1e-4


def test_noise_falls_with_line_cycles():
    made = source(World(ohm=0.0))
    ask(made, "OUTP 1;:SENS:VOLT:RANG 0.2;:SENS:VOLT:NPLC 0.1")
    fast = np.std([value(made, "READ?") for _ in range(300)])
    ask(made, "SENS:VOLT:NPLC 10")
    slow = np.std([value(made, "READ?") for _ in range(300)])
    assert fast / slow == pytest.approx(10.0, rel=0.15) and slow == pytest.approx(1e-6 / math.sqrt(10), rel=0.15)


@pytest.mark.parametrize("ampere", [0.01, -0.01])
def test_beyond_the_voltage_limit_less_current_flows_and_it_is_told(ampere: float):
    world = World(ohm=1000.0)
    made = source(world)
    ask(made, f"SOUR:CURR {ampere};:SOUR:CURR:VLIM 2;:OUTP 1")
    assert ask(made, "SOUR:CURR:VLIM:TRIP?") == "1"
    assert world.ampere == pytest.approx(math.copysign(2e-3, ampere))
    volt, flowing = map(float, ask(made, 'READ? "defbuffer1",READ,SOUR').split(","))
    assert volt == pytest.approx(math.copysign(2.0, ampere), rel=1e-3) and flowing == pytest.approx(world.ampere)
    assert value(made, "SOUR:CURR?") == ampere
    world.ohm = 10.0
    assert ask(made, "SOUR:CURR:VLIM:TRIP?") == "0" and world.ampere == ampere


def test_a_broken_lead_trips_and_a_mended_one_does_not():
    world = World(ohm=math.inf)
    made = source(world)
    ask(made, "SOUR:CURR 0.01;:SOUR:CURR:VLIM 2;:OUTP 1")
    assert ask(made, "SOUR:CURR:VLIM:TRIP?") == "1" and world.ampere == 0.0
    world.ohm = 1.0
    assert ask(made, "SOUR:CURR:VLIM:TRIP?") == "0" and world.ampere == 0.01


def test_the_world_is_not_told_the_same_again_and_again():
    world = World(ohm=1000.0)
    made = source(world)
    ask(made, "SOUR:CURR 0.01;:SOUR:CURR:VLIM 2;:OUTP 1")
    n = len(world.told)
    for _ in range(20):
        ask(made, "READ?;:SOUR:CURR:VLIM:TRIP?")
    assert len(world.told) == n


def test_two_wires_see_the_leads():
    made = source(World(ohm=0.05), lead_ohm=2.0)
    ask(made, "SOUR:CURR 0.01;:OUTP 1;:SENS:VOLT:RSEN OFF")
    assert value(made, "READ?") == pytest.approx(0.0205, rel=1e-3)


def test_a_voltage_beyond_a_fixed_range_overflows():
    made = source(World(ohm=10.0))
    ask(made, "SOUR:CURR 0.01;:OUTP 1;:SENS:VOLT:RANG 0.02")
    assert ask(made, "READ?;:SENS:VOLT:RANG?") == "9.900000E+37;2.000000E-02"
    ask(made, "SENS:VOLT:RANG:AUTO 1")
    assert value(made, "READ?") == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("message", ["READ?", "SOUR:FUNC VOLT;:OUTP 1;:OUTP?"])
def test_what_it_cannot_do_is_an_error_and_no_value(message: str):
    made = source()
    assert ask(made, message) in (None, "0")
    assert ask(made, "SYST:ERR?").startswith("-221,")


@pytest.mark.parametrize(
    "message",
    ["SOUR:CURR 1.1", "SOUR:CURR:VLIM 0.001", "SOUR:CURR:VLIM 211", "READ? 'mine'", "READ? 'defbuffer1',DATE"],
)
def test_what_is_wrong_changes_nothing(message: str):
    made = source()
    ask(made, "OUTP 1")
    assert ask(made, message) is None
    assert ask(made, "SYST:ERR?")[:4] in ("-222", "-224")
    assert ask(made, "SOUR:CURR?;:SOUR:CURR:VLIM?") == "0.000000E+00;2.100000E+01"


def test_the_source_may_be_told_in_place_of_what_flows():
    world = World(ohm=1000.0)
    made = source(world)
    ask(made, "SOUR:CURR 0.01;:SOUR:CURR:VLIM 2;:OUTP 1;:SOUR:CURR:READ:BACK 0")
    assert ask(made, 'READ? "defbuffer1",SOUR') == "1.000000E-02"


def test_resistance_and_current_are_measured_too():
    made = source(World(ohm=5.0))
    ask(made, "SOUR:CURR 0.01;:OUTP 1;:SENS:FUNC 'RES'")
    assert value(made, "READ?") == pytest.approx(5.0, rel=1e-2)
    assert value(made, ":MEAS:CURR?") == pytest.approx(0.01)
    assert ask(made, ":SENS:FUNC?") == '"CURR:DC"'
