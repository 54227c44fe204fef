"""The bench as one object: output power of the laser, temperature of the foil, and what was really so."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noise import Noise
from ..fibre_laser import FibreLaser
from .parameters import read_parameters


class LaserBench(FibreLaser):
    """A laser, its gate and a foil. Times are simulated seconds; reading never changes anything.

    Between two changes the power is constant and the temperature an exponential, so that every answer is in closed
    form. Parameters are those of `parameters.Parameters`.
    """

    def __init__(self, seed: int, **parameters: Any) -> None:
        self.seed = seed
        self.p = p = read_parameters(parameters)
        draw = Noise(seed, "laser bench")
        super().__init__(
            threshold_percent=p.threshold_percent,
            slope_w_per_percent=p.slope_w_per_percent * (1.0 + p.slope_spread * draw.normal("slope")),
            monitor_scale=1.0 + p.systematic_scale * p.monitor_scale_error * draw.normal("monitor"),
        )

    # ---- truth

    def temperature_k(self, t: float) -> float:
        """Temperature of the foil."""
        return float(self._temperatures(np.array([t]))[0])

    def truth(self, start_s: float, stop_s: float) -> dict[str, float]:
        """Mean output power (W) and energy (J) over a window. Raises ValueError for an empty one."""
        if not stop_s > start_s:
            raise ValueError(f"window from {start_s!r} to {stop_s!r} s: a stop after the start is accepted")
        edges = self._edges(start_s, stop_s)
        energy = sum(self.output_power_w(a) * (b - a) for a, b in pairwise(edges))
        return {"power": energy / (stop_s - start_s), "energy": energy}

    def truth_series(self, step_s: float) -> dict[str, NDArray[np.float64]]:
        """Time, output power (W), temperature (K) of the foil, and whether the laser emits, every `step_s`.

        The last row is the moment of the last command. Raises ValueError for a step that is not above 0.
        """
        if not step_s > 0:
            raise ValueError(f"step is {step_s!r} s: a number above 0 is accepted")
        time = np.append(np.arange(0.0, self.latest_s, step_s), self.latest_s)
        return {
            "time": time,
            "power": np.array([self.output_power_w(float(t)) for t in time]),
            "emitting": np.array([float(self.emitting(float(t))) for t in time]),
            "temperature": self._temperatures(time),
        }

    def systematics(self) -> dict[str, float]:
        """The terms that were drawn for this run."""
        return {"slope_w_per_percent": self.slope_w_per_percent, "monitor_scale": self.monitor_scale}

    def _temperatures(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Temperatures at times in rising order, one exponential after the other."""
        p = self.p
        tau = p.heat_capacity_j_per_k / p.loss_w_per_k
        rise, found, now = 0.0, [], 0.0
        for t in times:
            edges = self._edges(now, float(t))
            for a, b in pairwise(edges):
                final = p.absorbed_share * self.output_power_w(a) / p.loss_w_per_k
                rise = final + (rise - final) * math.exp((a - b) / tau)
            now = max(now, float(t))
            found.append(p.room_temperature_k + rise)
        return np.array(found)

    def _edges(self, start_s: float, stop_s: float) -> list[float]:
        """Start, every change in between, stop."""
        return [start_s, *sorted(self.changes(start_s, stop_s)), stop_s]
