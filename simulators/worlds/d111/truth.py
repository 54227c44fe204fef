"""What really happened: for tests and for the record of a simulated run, never for an analysis."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .state import State
from .systematics import Cell, Systematics
from .texture import Texture
from .trajectory import Trajectory

HOLD_BAND_K = 5.0
HOLD_STEP_S = 5.0


class Truth:
    """Means over windows, series over the run, and the terms that were drawn."""

    def __init__(self, trajectory: Trajectory, errors: Systematics, cell: Cell) -> None:
        self.trajectory, self.errors, self.cell = trajectory, errors, cell

    def mean_temperature(self, a: State, b: State) -> float:
        """Mean temperature (K) of the sample between two states."""
        junction = (b.sum_temperature - a.sum_temperature) / (b.time - a.time)
        return self.trajectory.furnace.sample_temperature(junction)

    def window(self, start_s: float, stop_s: float, zero_s: float) -> dict[str, float]:
        """GPa, K, 1/s; strain counts from `zero_s`. Raises ValueError for an empty window."""
        if not stop_s > start_s:
            raise ValueError(f"window from {start_s!r} to {stop_s!r} s: a stop after the start is accepted")
        a, b, zero = (self.trajectory.at(t) for t in (start_s, stop_s, zero_s))
        span, strain = stop_s - start_s, self.trajectory.strain
        return {
            "pressure": (b.sum_pressure - a.sum_pressure) / span,
            "temperature": self.mean_temperature(a, b),
            "strain": self.trajectory.mean_strain(a, b) - strain(zero),
            "strain_rate": (strain(b) - strain(a)) / span,
            "differential_stress": (b.sum_stress - a.sum_stress) / span,
            "hold_time": self.hold_time(start_s, stop_s),
            "texture_index": Texture(self.trajectory.p.texture_strength * 0.5 * (a.plastic + b.plastic)).index(),
        }

    def hold_time(self, start_s: float, stop_s: float) -> float:
        """How long (s) the sample was within 5 K of the median of its temperature in a window."""
        n = max(1, round((stop_s - start_s) / HOLD_STEP_S))
        step_s = (stop_s - start_s) / n
        kelvin = np.array([self.trajectory.at(start_s + (i + 0.5) * step_s).temperature for i in range(n)])
        return step_s * int(np.sum(np.abs(kelvin - np.median(kelvin)) <= HOLD_BAND_K))

    def series(self, step_s: float) -> dict[str, NDArray[np.float64]]:
        """Every `step_s` from the start to the latest time that was reached. Raises ValueError for a step <= 0."""
        if not step_s > 0:
            raise ValueError(f"step is {step_s!r} s: a number above 0 is accepted")
        last = self.trajectory.history.times[-1]
        states = [self.trajectory.at(float(t)) for t in np.arange(0.0, last + 1e-9, step_s)]
        time = np.array([s.time for s in states])
        strain = np.array([self.trajectory.strain(s) for s in states])
        heat = self.trajectory.furnace.sample_temperature
        return {
            "time": time,
            "length": self.trajectory.p.foil_separation_um * np.exp(-strain),
            "strain": strain,
            "strain_rate": np.gradient(strain, time) if len(time) > 1 else np.zeros(len(time)),
            "differential_stress": np.array([s.stress for s in states]),
            "pressure": np.array([s.pressure for s in states]),
            "temperature": np.array([heat(s.temperature) for s in states]),
            "load": np.array([s.load for s in states]),
        }

    def systematics(self) -> dict[str, float | list[float]]:
        """The drawn terms by name, ready for JSON."""
        drawn = dataclasses.asdict(self.errors) | dataclasses.asdict(self.cell)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in drawn.items()}
