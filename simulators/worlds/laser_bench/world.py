"""The bench as one object: output power of the laser, temperature of the foil, and what was really so."""

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noise import Noise
from .parameters import read_parameters
from .switch import Switch

CASE_C = 26.0


class LaserBench:
    """A laser, its gate and a foil. Times are simulated seconds; reading never changes anything.

    Between two changes the power is constant and the temperature an exponential, so that every answer is in closed
    form. Light comes out while emission is on and, where the modulation input has a say, the gate is closed. Commands
    to one instrument come in the order of their times. Parameters are those of `parameters.Parameters`.
    """

    def __init__(self, seed: int, **parameters: Any) -> None:
        self.seed = seed
        self.p = p = read_parameters(parameters)
        draw = Noise(seed, "laser bench")
        self._slope = p.slope_w_per_percent * (1.0 + p.slope_spread * draw.normal("slope"))
        self._monitor_scale = 1.0 + p.systematic_scale * p.monitor_scale_error * draw.normal("monitor")
        self._emission, self._gate, self._ungated = Switch(), Switch(), Switch()
        self._times, self._currents = [-math.inf], [0.0]
        self._latest = 0.0

    # ---- commands

    def set_current(self, t: float, percent: float) -> None:
        """Diode current in per cent of the rated one. Raises ValueError outside 0..100."""
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"current is {percent!r} %: 0 to 100 % is accepted")
        self._latest = max(self._latest, t)
        self._times.append(t)
        self._currents.append(percent)

    def start_emission(self, t: float, after_s: float) -> None:
        """Emit from `after_s` after `t` on. Raises ValueError for a time that is not positive."""
        if not 0.0 <= after_s < math.inf:
            raise ValueError(f"emission after {after_s!r} s: a finite time not below 0 is accepted")
        self._latest = max(self._latest, t)
        self._emission.on(t + after_s, math.inf)

    def end_emission(self, t: float) -> None:
        """Emit no more, at once."""
        self._latest = max(self._latest, t)
        self._emission.off(t)

    def set_gated(self, t: float, gated: bool) -> None:
        """Whether the gate has a say."""
        if gated:
            self._ungated.off(t)
        else:
            self._ungated.on(t, math.inf)

    def close_gate(self, t: float, until_s: float) -> None:
        """The contact is closed from `t` to `until_s`, whatever was planned before."""
        self._latest = max(self._latest, t)
        self._gate.off(t)
        self._gate.on(t, until_s)

    def open_gate(self, t: float) -> None:
        """The contact is open from `t` on."""
        self._latest = max(self._latest, t)
        self._gate.off(t)

    # ---- what instruments read

    def emitting(self, t: float) -> bool:
        """Whether the laser is allowed to emit; below its threshold it is dark all the same."""
        return self._emission.at(t) and (self._gate.at(t) or self._ungated.at(t))

    def output_power_w(self, t: float) -> float:
        """Power out of the laser."""
        if not self.emitting(t):
            return 0.0
        current = self._currents[bisect_right(self._times, t) - 1]
        return self._slope * max(0.0, current - self.p.threshold_percent)

    def monitor_power_w(self, t: float) -> float:
        """What the laser's own monitor makes of its output power, without noise."""
        return self._monitor_scale * self.output_power_w(t)

    def case_celsius(self, t: float) -> float:
        """Temperature of the laser, which its cooling holds."""
        return CASE_C

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
        time = np.append(np.arange(0.0, self._latest, step_s), self._latest)
        return {
            "time": time,
            "power": np.array([self.output_power_w(float(t)) for t in time]),
            "emitting": np.array([float(self.emitting(float(t))) for t in time]),
            "temperature": self._temperatures(time),
        }

    def systematics(self) -> dict[str, float]:
        """The terms that were drawn for this run."""
        return {"slope_w_per_percent": self._slope, "monitor_scale": self._monitor_scale}

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
        changes = {*self._times, *self._emission.changes(), *self._gate.changes(), *self._ungated.changes()}
        return [start_s, *sorted(t for t in changes if start_s < t < stop_s), stop_s]
