"""Lock-ins, generator and a sample together, in discrete-event time: the pump's frequency goes through the world."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.devices.errors import LimitError, Refused
from megabar.devices.generators.keysight33500b import PumpModulator
from megabar.devices.lockins.sr830 import SR830
from megabar.devices.lockins.sr860 import SR860, SR865A
from megabar.simulators.clock import GrantedClock
from megabar.simulators.instruments.generators.keysight33500b import SimulatedKeysight33500B
from megabar.simulators.instruments.lockins.sr830 import SimulatedSR830
from megabar.simulators.instruments.lockins.sr860 import SimulatedSR860, SimulatedSR865A
from megabar.simulators.noise import Noise
from megabar.simulators.wire.faults import Faults
from megabar.simulators.wire.pty_serial import PtyServer
from megabar.simulators.wire.tcp import TcpServer

from ..test_on_simulators import Rehearsal

PAIRS = {
    "pump": (PumpModulator, SimulatedKeysight33500B),
    "sr830": (SR830, SimulatedSR830),
    "sr860": (SR860, SimulatedSR860),
    "sr865a": (SR865A, SimulatedSR865A),
}
CORNER_HZ = 2000.0
VOLT_PER_VOLT = 1e-3


class Sample:
    """Its temperature lags behind the pump as one pole; the pump is the generator's first output."""

    def __init__(self) -> None:
        self.times, self.drives = [-math.inf], [(0.0, 0.0)]

    def drive(
        self, t: float, channel: int, shape: str, frequency_hz: float, amplitude_v: float, offset_v: float
    ) -> None:
        if channel == 1:
            self.times.append(t)
            self.drives.append((frequency_hz, amplitude_v))

    def _drive(self, t: float) -> tuple[float, float]:
        return self.drives[bisect_right(self.times, t) - 1]

    def reference_hz(self, t: float) -> float:
        frequency_hz, amplitude_v = self._drive(t)
        return frequency_hz if amplitude_v else 0.0

    def signal_v(self, t: float, frequency_hz: float, sine_out_v: float) -> complex:
        driven_hz, amplitude_v = self._drive(t)
        if driven_hz != frequency_hz:
            return 1e-3 * sine_out_v
        return VOLT_PER_VOLT * amplitude_v / (1 + 1j * frequency_hz / CORNER_HZ)


class Bench(Rehearsal):
    """Pump and lock-ins at one sample; the lock-ins' references come from outside where they are set to."""

    def __init__(self, folder: Path, names: list[str], faults: dict[str, list[dict[str, Any]]], seed: int) -> None:
        self.sample, self.instruments = Sample(), {}
        super().__init__(folder, names, faults, seed)

    def _server(self, name: str, world: object, clock: GrantedClock, rules: list[dict[str, Any]], seed: int) -> Any:
        instrument = PAIRS[name][1](name=name, world=self.sample, clock=clock, noise=Noise(seed, name))
        self.instruments[name] = instrument
        faults = Faults(rules, Noise(seed, f"faults of {name}"))
        return (TcpServer if instrument.wire == "tcp" else PtyServer)(instrument, clock, faults)

    def _device(self, name: str, address: str) -> Any:
        device_class = PAIRS[name][0]
        link = device_class.link_type(name, address, self.clock, **device_class.link_options)
        link.call(link.open)
        device = device_class(name=name, link=link)
        link.call(device.connect)
        return device

    def read(self, name: str) -> dict[str, float]:
        """One reading."""
        device = self.devices[name]
        self.wait(device.trigger())
        return {key.removeprefix(f"{name}_"): entry["value"] for key, entry in device.read().items()}

    def follow_the_pump(self, name: str) -> None:
        """As somebody does at the front panel."""
        self.instruments[name].source = 0.0 if name == "sr830" else 1.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*names: str, seed: int = 1, **faults: list[dict[str, Any]]) -> Bench:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Bench(folder, list(names), faults, seed))
        return made[-1]

    yield make
    for each in made:
        each.close()


def pumped(bench: Callable[..., Bench], name: str, frequency_hz: float, **faults: list[dict[str, Any]]) -> Bench:
    made = bench("pump", name, **faults)
    made.follow_the_pump(name)
    made.wait(made.devices["pump"].amplitude.set(1.0))
    made.wait(made.devices["pump"].frequency.set(frequency_hz))
    made.wait(made.devices["pump"].output.set(1))
    return made


@pytest.mark.parametrize(
    "name, frequency_hz", [("sr830", 300.0), ("sr830", 100e3), ("sr860", 450e3), ("sr865a", 3.5e6)]
)
def test_phase_and_amplitude_are_those_of_the_sample(bench, name: str, frequency_hz: float):
    made = pumped(bench, name, frequency_hz)
    made.pause(3.0)
    read = made.read(name)
    expected = 2 * VOLT_PER_VOLT / math.hypot(1.0, frequency_hz / CORNER_HZ)  # 1 V into 50 ohm are 2 V unloaded
    assert read["r"] == pytest.approx(expected, rel=0.01)
    assert read["theta"] == pytest.approx(-math.degrees(math.atan(frequency_hz / CORNER_HZ)), abs=0.5)
    assert (read["overload"], read["unlocked"], read["frequency"]) == (0, 0, pytest.approx(frequency_hz, rel=1e-5))


@pytest.mark.parametrize("name", ["sr830", "sr860"])
def test_a_new_frequency_settles_in_simulated_time(bench, name: str):
    made = pumped(bench, name, 200.0)
    made.wait(made.devices[name].time_constant.set(0.3))
    made.pause(5.0)
    before = made.read(name)["r"]
    made.wait(made.devices["pump"].frequency.set(5000.0))
    made.pause(0.3)
    between = made.read(name)["r"]
    made.pause(5.0)
    after = made.read(name)["r"]
    assert before == pytest.approx(2e-3, rel=0.02)
    assert after == pytest.approx(2e-3 / math.hypot(1, 2.5), rel=0.02)
    assert 1.05 * after < between < 0.95 * before


@pytest.mark.parametrize("name", ["sr830", "sr860"])
def test_a_pump_that_goes_off_is_a_lost_reference_and_no_value(bench, name: str):
    made = pumped(bench, name, 1000.0)
    made.pause(3.0)
    assert made.read(name)["unlocked"] == 0
    made.wait(made.devices["pump"].output.set(0))
    made.pause(1.0)
    read = made.read(name)
    assert read["unlocked"] == 1 and math.isnan(read["x"]) and math.isnan(read["theta"])
    made.wait(made.devices["pump"].output.set(1))
    made.pause(3.0)
    read = made.read(name)
    assert read["unlocked"] == 0 and read["r"] == pytest.approx(2e-3 / math.hypot(1, 0.5), rel=0.02)


def test_an_overload_of_the_scale_is_nan_until_the_scale_is_larger(bench):
    made = pumped(bench, "sr830", 300.0)
    lock_in = made.devices["sr830"]
    made.wait(lock_in.sensitivity.set(1e-3))
    made.pause(3.0)
    read = made.read("sr830")
    assert read["overload"] == 1 and math.isnan(read["r"])
    made.wait(lock_in.sensitivity.set(5e-3))
    made.pause(0.2)
    read = made.read("sr830")
    assert read["overload"] == 0 and read["r"] == pytest.approx(2e-3, rel=0.02)


def test_an_overload_of_the_input_range_is_nan_and_of_the_scale_is_not(bench):
    made = pumped(bench, "sr860", 300.0)
    made.wait(made.devices["pump"].amplitude.set(5.0))
    made.wait(made.devices["sr860"].sensitivity.set(1e-3))
    made.pause(3.0)
    assert made.read("sr860")["r"] == pytest.approx(10e-3, rel=0.02)
    made.wait(made.devices["sr860"].input_range.set(0.01))
    made.pause(3.0)
    read = made.read("sr860")
    assert read["overload"] == 1 and math.isnan(read["x"])


def test_a_frequency_is_set_where_the_reference_is_internal_and_refused_where_it_is_not(bench):
    made = bench("pump", "sr830", "sr865a")
    lock_in, fast = made.devices["sr830"], made.devices["sr865a"]
    made.wait(lock_in.frequency.set(12345.0))
    assert made.read("sr830")["frequency"] == 12345.0
    made.wait(fast.frequency.set(2.5e6))
    with pytest.raises(LimitError):
        lock_in.frequency.set(2.5e6)
    made.follow_the_pump("sr830")
    with pytest.raises(Refused):
        made.wait(lock_in.frequency.set(777.0))


def test_a_reading_of_the_sr830_takes_the_time_of_its_line(bench):
    made = bench("pump", "sr830")
    before = made.clock.monotonic()
    made.wait(made.devices["sr830"].trigger())
    question = len("SNAP?1,2;SENS?;LIAS?;FREQ?\r")
    taken = made.clock.monotonic() - before
    assert (question + 16) * 10 / 9600 + 0.005 <= taken < (question + 50) * 10 / 9600 + 0.005


def series(made: Bench, n: int) -> list[tuple[float, ...]]:
    rows = []
    for _ in range(n):
        made.pause(0.1)
        rows.append(tuple(value for name in ("sr830", "sr860") for value in made.read(name).values()))
    return rows


FAULTS = {
    "sr830": [{"kind": "drop", "at": [9]}, {"kind": "truncate", "at": [14]}, {"kind": "split", "every": 5}],
    "sr860": [
        {"kind": "delay", "at": [9], "seconds": 4.0},
        {"kind": "truncate", "at": [15]},
        {"kind": "garble", "at": [20]},
    ],
}


def test_on_a_faulty_line_no_reading_is_wrong_and_the_same_seed_gives_the_same_run(bench):
    def run(seed: int, **faults) -> list[tuple[float, ...]]:
        made = bench("pump", "sr830", "sr860", seed=seed, **faults)
        made.wait(made.devices["sr860"].sine_out.set(1.0))
        made.pause(3.0)
        return series(made, 20)

    first = run(1, **FAULTS)
    for row in first:
        assert row[0] == pytest.approx(1e-3, rel=0.02)  # X of the SR830, on its own sine
        assert row[7] == pytest.approx(1e-3, rel=0.02)
    assert run(1, **FAULTS) == first
    assert run(2, **FAULTS) != first
