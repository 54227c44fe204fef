"""Drivers that nobody here wrote, talking to the simulated lock-ins and the function generator."""

import time
from typing import Any

import pytest

from megabar.simulators.instruments.generators.keysight33500b import SimulatedKeysight33500B
from megabar.simulators.instruments.lockins.sr830 import SimulatedSR830
from megabar.simulators.instruments.lockins.sr860 import SimulatedSR860, SimulatedSR865A

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Parameter ch._databuffer on instrument client"
    ),
]

SIGNAL_V = 3e-4 + 4e-4j
X, Y, R, THETA = 3e-4, 4e-4, 5e-4, 53.13
SETTLING_S = 3.0 / 20
"""Of 100 ms, two poles, twenty times as fast as life."""


class World:
    """A signal, no reference, and a note of what is driven."""

    def __init__(self) -> None:
        self.driven: list[tuple[Any, ...]] = []

    def signal_v(self, t: float, frequency_hz: float, sine_out_v: float) -> complex:
        return SIGNAL_V

    def reference_hz(self, t: float) -> float:
        return 0.0

    def drive(self, t: float, *what: Any) -> None:
        self.driven.append(what)


LINES = [
    {"wire": "serial", "reply_terminator": "\r", "terminator": "\r"},
    {"wire": "tcp", "reply_terminator": "\n", "terminator": "\n"},
]
"""RS-232 as the manual has it, and what a GPIB interface makes of it."""


@pytest.mark.parametrize("line", LINES, ids=["serial", "tcp"])
def test_pymeasure_reads_and_sets_the_sr830(pymeasure, line: dict[str, str]):
    lock_in = pymeasure("srs:SR830", SimulatedSR830, World(), **line)
    assert "SR830" in lock_in.id
    lock_in.sensitivity = 1e-3
    time.sleep(SETTLING_S)
    assert (lock_in.x, lock_in.y) == (pytest.approx(X, rel=0.02), pytest.approx(Y, rel=0.02))
    assert (lock_in.magnitude, lock_in.theta) == (pytest.approx(R, rel=0.02), pytest.approx(THETA, abs=0.5))
    assert lock_in.xy == [pytest.approx(X, rel=0.02), pytest.approx(Y, rel=0.02)]
    assert lock_in.snap("R", "Theta", "Frequency") == [
        pytest.approx(R, rel=0.02),
        pytest.approx(THETA, abs=0.5),
        1000.0,
    ]
    assert lock_in.sensitivity == 1e-3
    lock_in.frequency = 12340.0
    assert lock_in.frequency == 12340.0
    lock_in.time_constant = 0.3
    assert lock_in.time_constant == 0.3
    lock_in.filter_slope = 24
    assert lock_in.filter_slope == 24
    lock_in.phase = 45.0
    assert lock_in.phase == 45.0
    lock_in.sine_voltage = 0.5
    assert lock_in.sine_voltage == 0.5
    lock_in.harmonic = 2
    assert lock_in.harmonic == 2
    assert lock_in.reference_source == "Internal"
    lock_in.reference_source = "External"
    assert lock_in.reference_source == "External"
    assert lock_in.lia_status & 8  # nothing comes to its reference input
    lock_in.reserve = "Normal"
    assert lock_in.reserve == "Normal"
    lock_in.channel1 = "R"
    assert lock_in.input_config == "A"
    assert lock_in.err_status == 0
    lock_in.auto_phase()
    lock_in.reset()
    assert lock_in.frequency == 1000.0


def test_pymeasure_finds_the_scale_of_the_sr830(pymeasure):
    lock_in = pymeasure("srs:SR830", SimulatedSR830, World(), terminator="\n", wire="tcp", reply_terminator="\n")
    lock_in.sensitivity = 1e-5
    time.sleep(SETTLING_S)
    assert lock_in.is_out_of_range()
    lock_in.quick_range()
    assert lock_in.sensitivity == 1e-3
    assert lock_in.x == pytest.approx(X, rel=0.02)


def test_pymeasure_reads_and_sets_the_sr860(pymeasure):
    lock_in = pymeasure("srs:SR860", SimulatedSR860, World())
    time.sleep(SETTLING_S)
    assert (lock_in.x, lock_in.y) == (pytest.approx(X, rel=0.02), pytest.approx(Y, rel=0.02))
    assert (lock_in.magnitude, lock_in.theta) == (pytest.approx(R, rel=0.02), pytest.approx(THETA, abs=0.5))
    lock_in.frequency = 456789.0
    assert lock_in.frequency == 456789.0
    assert lock_in.internalfrequency == 456789.0
    lock_in.sensitivity = 1e-6
    assert lock_in.sensitivity == 1e-6
    lock_in.time_constant = 30e-3
    assert lock_in.time_constant == 30e-3
    lock_in.phase = -12.5
    assert lock_in.phase == -12.5
    lock_in.sine_voltage = 0.25
    assert lock_in.sine_voltage == 0.25
    lock_in.harmonic = 1
    assert lock_in.input_range == "1V"
    lock_in.input_range = "30M"
    assert lock_in.input_range == "30M"
    assert lock_in.reference_source == "INT"
    lock_in.filter_slope = 3
    assert lock_in.filter_slope == 3


@pytest.mark.parametrize("line", LINES, ids=["serial", "tcp"])
def test_qcodes_reads_and_sets_the_sr830(qcodes, line: dict[str, str]):
    lock_in = qcodes("stanford_research:SR830", SimulatedSR830, World(), **line)
    assert lock_in.get_idn()["model"] == "SR830"
    lock_in.sensitivity(1e-3)
    time.sleep(SETTLING_S)
    assert lock_in.sensitivity() == 1e-3
    assert (lock_in.X(), lock_in.Y()) == (pytest.approx(X, rel=0.02), pytest.approx(Y, rel=0.02))
    assert (lock_in.R(), lock_in.P()) == (pytest.approx(R, rel=0.02), pytest.approx(THETA, abs=0.5))
    assert lock_in.snap("x", "y", "freq") == (pytest.approx(X, rel=0.02), pytest.approx(Y, rel=0.02), 1000.0)
    assert lock_in.complex_voltage() == pytest.approx(SIGNAL_V, rel=0.02)
    lock_in.frequency(99999.0)
    assert lock_in.frequency() == 99999.0
    lock_in.time_constant(1e-3)
    assert lock_in.time_constant() == 1e-3
    lock_in.filter_slope(18)
    assert lock_in.filter_slope() == 18
    assert lock_in.reference_source() == "internal"
    assert lock_in.increment_sensitivity() and lock_in.sensitivity() == 2e-3
    assert lock_in.ch1_display() == "X"
    lock_in.ch1_display("R")
    assert lock_in.ch1_display() == "R" and lock_in.ch1_ratio() == "none"


@pytest.mark.parametrize("instrument_class, name", [(SimulatedSR860, "SR860"), (SimulatedSR865A, "SR865A")])
def test_qcodes_reads_and_sets_the_sr860s(qcodes, instrument_class: type, name: str):
    lock_in = qcodes(f"stanford_research:{name}", instrument_class, World())
    assert lock_in.get_idn()["model"] == name
    time.sleep(SETTLING_S)
    assert (lock_in.X(), lock_in.Y()) == (pytest.approx(X, rel=0.02), pytest.approx(Y, rel=0.02))
    assert lock_in.complex_voltage() == pytest.approx(SIGNAL_V, rel=0.02)
    assert lock_in.get_values("X", "Y", "frequency")[2] == 1000.0
    limit_hz = {"SR860": 500e3, "SR865A": 4e6}[name]
    lock_in.frequency(limit_hz)
    assert lock_in.frequency() == limit_hz
    lock_in.sensitivity(1e-6)
    assert lock_in.sensitivity() == 1e-6
    lock_in.time_constant(1e-6)
    assert lock_in.time_constant() == 1e-6
    lock_in.input_range(0.3)
    assert lock_in.input_range() == 0.3
    lock_in.filter_slope(6)
    assert lock_in.noise_bandwidth() == pytest.approx(0.25 / 1e-6)
    lock_in.reference_source("EXT")
    assert lock_in.reference_source() == "EXT"
    assert lock_in.buffer.capture_rate_max() > 0


def test_pymeasure_drives_the_generator(pymeasure):
    world = World()
    generator = pymeasure("agilent:Agilent33500", SimulatedKeysight33500B, world)
    assert "33512B" in generator.id
    generator.shape = "SQU"
    generator.frequency = 12345.678
    generator.amplitude = 1.5
    generator.offset = 0.25
    assert (generator.shape, generator.frequency) == ("SQU", 12345.678)
    assert (generator.amplitude, generator.offset, generator.amplitude_unit) == (1.5, 0.25, "VPP")
    generator.output = "on"
    assert generator.output is True
    assert world.driven[-1] == (1, "SQU", 12345.678, 3.0, 0.5)
    generator.ch_2.frequency = 1e6
    assert (generator.ch_2.frequency, generator.ch_1.frequency) == (1e6, 12345.678)
    generator.ch_2.output_load = "INF"
    assert generator.ch_2.output_load == 9.9e37
    generator.output = False
    assert generator.output is False
    assert world.driven[-1] == (1, "SQU", 12345.678, 0.0, 0.0)
    assert generator.check_errors() == []
    generator.frequency = 25e6
    assert generator.frequency == 20e6
    assert generator.check_errors()[0][0] == -222


def test_qcodes_drives_the_generator(qcodes):
    world = World()
    generator = qcodes("Keysight:Keysight33512B", SimulatedKeysight33500B, world)
    assert generator.get_idn()["model"] == "33512B"
    generator.ch1.function_type("SIN")
    generator.ch1.frequency(5e6)
    generator.ch1.amplitude(0.5)
    generator.ch1.offset(-0.1)
    generator.ch1.output("ON")
    assert (generator.ch1.frequency(), generator.ch1.amplitude(), generator.ch1.offset()) == (5e6, 0.5, -0.1)
    assert generator.ch1.amplitude_unit() == "VPP"
    assert world.driven[-1] == (1, "SIN", 5e6, 1.0, -0.2)
    generator.ch2.phase(90)
    assert (generator.ch1.phase(), generator.ch2.phase()) == (0.0, 90.0)
    assert (generator.ch1.output(), generator.ch2.output()) == ("ON", "OFF")
    assert (generator.sync.output(), generator.sync.source()) == ("ON", 1)
    assert generator.error() == (0, "No error")
