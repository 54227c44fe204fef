"""A deformation run on soft devices, through a real RunEngine, into a real journal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd import Signal

from megabar.acquisition.journal import Journal
from megabar.acquisition.rig import load_rig
from megabar.acquisition.simulation import Simulation

from .laser_bench import BENCH, Bench

HC_KEV_ANGSTROM = 12.39842
EPOCH = 1_767_225_600.0
AZIMUTHS = (0.0, 22.5, 45.0, 67.5, 90.0, 112.5, 135.0, 157.5, 180.0, 270.0)
LINES = {  # spacings in angstrom near 18 GPa and 773 K
    "hcp-Fe": (2.134, 1.978, 1.878, 1.451, 1.232, 1.122),
    "MgO": (2.367, 2.050, 1.4495),
}


class SteppedClock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.now = EPOCH

    def monotonic(self) -> float:
        return self.now


class SoftSignal(Signal):
    """A signal with a unit, stamped by the clock of the run."""

    def __init__(self, clock: SteppedClock, *, name: str, value: Any, unit: str = "") -> None:
        super().__init__(name=name, value=value)
        self._clock, self._unit = clock, unit
        self.configured: dict[str, Any] = {}

    def put(self, value: Any, **options: Any) -> None:
        super().put(value, timestamp=self._clock.now, **options)

    def describe(self) -> dict[str, Any]:
        described = super().describe()
        described[self.name] |= {"units": self._unit, "source": "SOFT"}
        return described

    def read_configuration(self) -> dict[str, Any]:
        return {key: {"value": value, "timestamp": self._clock.now} for key, value in self.configured.items()}

    def describe_configuration(self) -> dict[str, Any]:
        return {
            key: {"source": "SOFT", "dtype": "array", "shape": list(np.shape(value))}
            for key, value in self.configured.items()
        }


CONFIGURATION: dict[str, dict[str, Any]] = {
    "detector_spectra": {
        "detector_azimuth": np.array(AZIMUTHS),
        "detector_two_theta": np.full(10, 6.5),
        "detector_offset": np.full(10, 0.2),
        "detector_slope": np.full(10, 0.065),
        "detector_quad": np.zeros(10),
    },
    "camera_image": {"camera_pixel_size": np.array([2.0])},
}


@dataclass
class Rehearsal:
    """Soft instruments around a sample that shortens at 3e-5 per second and hardens to 1.6 GPa."""

    steps: int
    clock: SteppedClock = field(default_factory=SteppedClock)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    step_s: float = 200.0
    signals: dict[str, SoftSignal] = field(default_factory=dict)

    def read(self, stream: str, values: dict[str, tuple[Any, str]]) -> Iterator[Any]:
        group = []
        for name, (value, unit) in values.items():
            if name not in self.signals:
                self.signals[name] = SoftSignal(self.clock, name=name, value=value, unit=unit)
                self.signals[name].configured = CONFIGURATION.get(name, {})
            self.signals[name].put(value)
            group.append(self.signals[name])
        yield from bps.trigger_and_read(group, name=stream)

    def result(self, analysis: str, seq_num: int, **values: tuple[float, float, float, str]) -> Iterator[Any]:
        row: dict[str, tuple[Any, str]] = {}
        for name, (value, error, systematic, unit) in values.items():
            noisy = value + error * self.rng.normal()
            row |= {name: (noisy, unit), f"{name}_error": (error, unit), f"{name}_systematic": (systematic, unit)}
        covariance = np.diag([error**2 for _, error, _, _ in values.values()])
        row |= {f"{analysis}_seq_num": (seq_num, ""), f"{analysis}_covariance": (covariance, "")}
        yield from self.read(analysis, row | {f"{analysis}_model": (f"soft {analysis}, scale of the test", "")})

    def strain(self) -> float:
        return 3e-5 * (self.clock.now - EPOCH)

    def stress(self) -> float:
        return 1.6 * (1.0 - np.exp(-self.strain() / 0.02))

    def spectra(self) -> dict[str, tuple[Any, str]]:
        energy = 0.2 + 0.065 * np.arange(2048)
        theta = np.deg2rad(6.5 / 2)
        rate = np.full((len(AZIMUTHS), 2048), 4.0) + 120.0 * np.exp(-energy / 30.0)
        for row, azimuth in enumerate(AZIMUTHS):
            cos2_psi = (np.cos(theta) * np.cos(np.deg2rad(azimuth))) ** 2
            for spacing in (*LINES["hcp-Fe"], *LINES["MgO"]):
                d = spacing * (1.0 + (1.0 - 3.0 * cos2_psi) * self.stress() / 3.0 / 240.0)
                centre = HC_KEV_ANGSTROM / (2.0 * d * np.sin(theta))
                sigma = np.sqrt(0.15**2 + 2.355**2 * 0.1 * 0.00296 * centre) / 2.355
                rate[row] += 220.0 * np.exp(-0.5 * ((energy - centre) / sigma) ** 2)
        live = np.full(len(AZIMUTHS), 110.0)
        counts = self.rng.poisson(rate).astype(np.int64)
        return {
            "detector_spectra": (counts, ""),
            "detector_live_time": (live, "s"),
            "detector_real_time": (live + 10, "s"),
        }

    def image(self) -> dict[str, tuple[Any, str]]:
        pixels = np.arange(512.0, dtype=np.float32)
        down = np.ones(512, dtype=np.float32)
        for centre in 255.5 + np.array([-103.0, 103.0]) * np.exp(-self.strain()):
            down *= 1.0 - 0.5 * np.exp(-0.5 * ((pixels - centre) / 1.4) ** 2)
        sample = np.outer(np.abs(pixels - 255.5) < 180, np.abs(pixels - 255.5) < 150)
        foils = np.outer(down - 1.0, np.abs(pixels - 255.5) < 130)
        bright = np.float32(20000.0) * (1.0 - np.float32(0.45) * sample) * (1.0 + foils)
        noisy = bright + np.sqrt(bright) * self.rng.standard_normal(bright.shape, dtype=np.float32)
        return {"camera_image": (noisy.astype(np.uint16), ""), "camera_exposure": (2.0, "s")}

    def conditions(self) -> dict[str, tuple[Any, str]]:
        return {
            "press_load": (4.7, "MN"),
            "press_oil_pressure": (31.0, "MPa"),
            "press_stroke": (0.4, "mm"),
            "press_blown_out": (0, ""),
            "press_top_stroke": (0.1 * self.strain(), "mm"),
            "press_bottom_stroke": (0.1 * self.strain(), "mm"),
            "furnace_temperature": (500.0 + self.rng.normal(), "degC"),
            "furnace_output": (42.0, "%"),
            "thermocouple_emf": (0.0095 + 3e-6 * self.rng.normal(), "V"),
            "thermocouple_cold_junction": (24.0, "degC"),
            "ring_current": (448.0, "mA"),
            "i0_rate": (1.2e6, "1/s"),
        }

    def analyses(self, seq_num: int) -> Iterator[Any]:
        yield from self.result("temperature", seq_num, temperature=(773.0, 0.4, 6.2, "K"))
        yield from self.result("pressure", seq_num, pressure=(18.0 + 0.5 * self.strain(), 0.12, 0.25, "GPa"))
        yield from self.result(
            "strain",
            seq_num,
            strain=(self.strain(), 2e-4, 5e-3 * self.strain(), ""),
            strain_rate=(3e-5, 4e-7, 1.5e-7, "1/s"),
        )
        stress = self.stress()
        yield from self.result(
            "stress",
            seq_num,
            differential_stress=(stress, 0.04, 0.13 * stress, "GPa"),
            q_100=(stress / 700, 4e-5, 1e-4, ""),
        )
        yield from self.result("texture", seq_num, texture_index=(1.0 + 2 * self.strain(), 0.02, 0.01, ""))

    def plan(self, md: dict[str, Any]) -> Iterator[Any]:
        yield from bps.open_run(md)
        yield from self.read("standard", self.spectra())
        for step in range(1, self.steps + 1):
            self.clock.now += self.step_s
            yield from bps.checkpoint()
            yield from self.read("conditions", self.conditions())
            yield from self.read("radiograph", self.image())
            if step % 2 == 0:
                yield from self.read("diffraction", self.spectra())
                yield from self.analyses(step // 2)
        yield from self.finals()
        yield from bps.close_run()

    def finals(self) -> Iterator[Any]:
        row: dict[str, tuple[Any, str]] = {}
        finals = {
            "pressure": (18.1, 0.04, 0.25, "GPa"),
            "temperature": (773.0, 0.1, 6.2, "K"),
            "strain": (0.17, 1e-4, 8e-4, ""),
            "strain_rate": (3e-5, 2e-7, 1.5e-7, "1/s"),
            "differential_stress": (1.58, 0.01, 0.2, "GPa"),
            "texture_index": (1.3, 0.01, 0.01, ""),
        }
        for name, (value, error, systematic, unit) in finals.items():
            row |= {name: (value, unit), f"{name}_error": (error, unit), f"{name}_systematic": (systematic, unit)}
        stop = EPOCH + self.steps * self.step_s
        start = EPOCH + 0.6 * self.steps * self.step_s
        row |= {"window_start": (start, "s"), "window_stop": (stop, "s"), "window_zero": (EPOCH, "s")}
        yield from self.read("results", row)


def start_metadata() -> dict[str, Any]:
    return {
        "experiment": "deformation",
        "plan_name": "deformation",
        "sample": {"name": "hcp-Fe and MgO", "chemical_formula": "Fe"},
        "operator": "A. Tester",
        "parameters": {"load": {"value": 4.7, "unit": "MN"}, "temperature": {"value": 500.0, "unit": "degC"}},
        "roles": {"press": "press", "camera": "camera", "detector": "detector"},
        "rig": {"name": "d111", "text": '[instruments.press]\nclass = "soft"\n', "sha256": "0" * 64},
        "seed": 7,
        "simulated": True,
        "versions": {"bluesky": "1.15", "numpy": "2"},
        "definitions": {"differential_stress": "axial minus radial stress, positive in compression"},
        "figures": [
            {"title": "Stress against strain", "stream": "stress", "x": "strain", "y": "differential_stress"},
            {"title": "Pressure and temperature", "stream": "pressure", "x": "temperature", "y": "pressure"},
            {"title": "Strain in time", "stream": "strain", "x": "time", "y": "strain"},
        ],
    }


Record = Callable[..., Path]


@pytest.fixture(scope="session")
def record() -> Record:
    """Record a deformation of so many steps into a folder; gives the folder."""

    def into(folder: Path, steps: int = 4, truth: bool = True, **metadata: Any) -> Path:
        rehearsal = Rehearsal(steps)
        engine = RunEngine({}, during_task=None, context_managers=[])
        with Journal(folder, rehearsal.clock) as journal:
            engine(rehearsal.plan(start_metadata() | metadata), journal)
            journal.note("guard", {"press": "held"})
            if truth:
                journal.append_truth({"values": {"pressure": 18.2}, "series": {"time": np.arange(500.0)}})
        return folder

    return into


@pytest.fixture(scope="session")
def recorded(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of twenty-four steps, shared by all tests that only read."""
    return record(tmp_path_factory.mktemp("runs") / "deformation", steps=24)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("MEGABAR_HOME", str(tmp_path / "home"))
    template = tmp_path / "template.toml"
    template.write_text(BENCH.format(laser="", relay="", hazardous="false"), encoding="utf-8")
    with Simulation(load_rig(str(template)), 0, factor=1.0, trace=tmp_path / "trace") as served:
        bench = Bench(tmp_path, served)
        yield bench
        bench.close()
