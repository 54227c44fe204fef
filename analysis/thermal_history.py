"""Time at temperature: how long a sample was held, from readings that may have gaps."""

import math
from dataclasses import dataclass, field

import numpy as np

from .estimate import Estimate


@dataclass
class ThermalHistory:
    """Readings of a temperature (degC) in the order of their times (s), and how long it was within `tolerance_k` of
    `target_c`.

    Between two neighbours the temperature is taken to run straight, so that an interval that leaves the band counts in
    part; one longer than `longest_gap_s` counts for nothing, since nobody knows what happened in it. `gaps_s` are the
    lengths of those.
    """

    target_c: float
    tolerance_k: float
    longest_gap_s: float
    time_s: list[float] = field(default_factory=list)
    temperature_c: list[float] = field(default_factory=list)
    held_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)
    first_s: float = math.nan
    """When the hold began."""
    last_s: float = math.nan
    """The end of what has been counted."""
    _crossings_s2: float = 0.0

    def add(self, time_s: float, temperature_c: float) -> None:
        """Take the next reading. Raises ValueError for one that is no number, or not later than the last."""
        if not (math.isfinite(time_s) and math.isfinite(temperature_c)):
            raise ValueError(f"temperature {temperature_c} degC at {time_s} s: numbers are needed")
        if self.time_s and not time_s > self.time_s[-1]:
            raise ValueError(f"a reading at {time_s:.3f} s follows one at {self.time_s[-1]:.3f} s: times must rise")
        if self.time_s:
            self._count(time_s, temperature_c)
        self.time_s.append(time_s)
        self.temperature_c.append(temperature_c)

    @property
    def at_temperature(self) -> bool:
        """Whether the last reading is within the band."""
        return bool(self.time_s) and abs(self.temperature_c[-1] - self.target_c) <= self.tolerance_k

    def estimate(self) -> Estimate:
        """Time at temperature (name `hold_time`, s).

        Its statistical error is that of the moments at which the band was entered and left, each known to a part of
        the interval in which it lies.
        """
        gaps = f", without {sum(self.gaps_s):.0f} s that nobody knows of" if self.gaps_s else ""
        return Estimate(
            names=("hold_time",),
            values=np.array([self.held_s]),
            covariance=np.array([[self._crossings_s2 / 12.0]]),
            systematic=np.zeros(1),
            units=("s",),
            model=f"time within {self.tolerance_k:g} K of {self.target_c:g} degC{gaps}",
            chi2_red=math.nan,
            n_points=len(self.time_s),
        )

    def _count(self, time_s: float, temperature_c: float) -> None:
        begin_s, length_s = self.time_s[-1], time_s - self.time_s[-1]
        if length_s > self.longest_gap_s:
            self.gaps_s.append(length_s)
            return
        inside = _part_within(self.temperature_c[-1] - self.target_c, temperature_c - self.target_c, self.tolerance_k)
        if inside is None:
            return
        enters, leaves = inside
        self.held_s += (leaves - enters) * length_s
        self._crossings_s2 += length_s**2 * ((enters > 0.0) + (leaves < 1.0))
        if math.isnan(self.first_s):
            self.first_s = begin_s + enters * length_s
        self.last_s = begin_s + leaves * length_s


def _part_within(a: float, b: float, band: float) -> tuple[float, float] | None:
    """Where the straight line from `a` (at 0) to `b` (at 1) lies within -band..band: from, to; None for nowhere."""
    if a == b:
        return (0.0, 1.0) if abs(a) <= band else None
    edges = sorted(((-band - a) / (b - a), (band - a) / (b - a)))
    enters, leaves = max(0.0, edges[0]), min(1.0, edges[1])
    return (enters, leaves) if enters < leaves else None
