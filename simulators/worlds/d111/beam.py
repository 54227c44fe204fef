"""The beam: ring current, shutter, flicker and what the ion chamber counts. All of it a function of time."""

import math
from bisect import bisect_right
from itertools import pairwise

from .parameters import Parameters

REFERENCE_GAP_MM = 0.2
DARK_COUNTS_PER_S = 50.0


class Beam:
    """White beam through one pair of slits and a shutter."""

    def __init__(self, p: Parameters, phases: tuple[float, ...]) -> None:
        self.p = p
        self.phases = phases
        self._switch_times = [0.0]
        self._open = [p.shutter_open_at_start]
        self._losses = sorted((float(t), float(t) + float(duration)) for t, duration in p.beam_losses)

    def set_shutter(self, time_s: float, is_open: bool) -> None:
        """Open or close. Raises ValueError when the time lies before that of the last command."""
        if time_s < self._switch_times[-1]:
            raise ValueError(f"shutter at {time_s!r} s: a time from {self._switch_times[-1]!r} s on is accepted")
        self._switch_times.append(time_s)
        self._open.append(bool(is_open))

    def shutter_open(self, time_s: float) -> bool:
        """Whether the shutter lets the beam through."""
        return self._open[max(bisect_right(self._switch_times, time_s) - 1, 0)]

    def ring_current_ma(self, time_s: float) -> float:
        """Exponential decay since the last injection; zero while the beam is lost, refilled at once after that."""
        filled = 0.0
        for start, stop in self._losses:
            if start <= time_s < stop:
                return 0.0
            if stop <= time_s:
                filled = stop
        age = (time_s - filled) % (self.p.injection_interval_h * 3600.0)
        return self.p.ring_current_ma * math.exp(-age / (self.p.ring_lifetime_h * 3600.0))

    def intensity(self, time_s: float) -> float:
        """Flux before the shutter relative to full current, with its slow flicker."""
        flicker = math.sin(0.071 * time_s + self.phases[0]) + math.sin(0.0113 * time_s + self.phases[1])
        return (1.0 + self.p.intensity_flicker * flicker) * self.ring_current_ma(time_s) / self.p.ring_current_ma

    def on_target(self, start_s: float, stop_s: float) -> tuple[float, float]:
        """Mean relative intensity while the beam reaches the sample, and for how many seconds it does."""
        edges = [start_s, *self._edges(start_s, stop_s), stop_s]
        dose = lit = 0.0
        for a, b in pairwise(edges):
            middle = 0.5 * (a + b)
            if b > a and self.shutter_open(middle) and self.ring_current_ma(middle) > 0:
                inner = a + 1e-9 * (b - a), middle, b - 1e-9 * (b - a)  # a loss or an injection sits on the edge
                dose += (
                    (b - a) * (self.intensity(inner[0]) + 4 * self.intensity(inner[1]) + self.intensity(inner[2])) / 6
                )
                lit += b - a
        return (dose / lit if lit else 0.0), lit

    def _edges(self, start_s: float, stop_s: float) -> list[float]:
        """Times inside a window at which the flux may jump, and enough others to follow the flicker."""
        edges = [t for t in self._switch_times if start_s < t < stop_s]
        edges += [t for loss in self._losses for t in loss if start_s < t < stop_s]
        interval = self.p.injection_interval_h * 3600.0
        for origin in [0.0, *(stop for _, stop in self._losses)]:
            number = math.floor((start_s - origin) / interval) + 1
            while origin + number * interval < stop_s:
                edges.append(origin + number * interval)
                number += 1
        pieces = min(50, 1 + int((stop_s - start_s) / 30.0))
        edges += [start_s + (stop_s - start_s) * i / pieces for i in range(1, pieces)]
        return sorted(edges)

    def i0_rate(self, time_s: float, horizontal_mm: float, vertical_mm: float) -> float:
        """Counts/s of the ion chamber behind slits and shutter."""
        if not self.shutter_open(time_s):
            return DARK_COUNTS_PER_S
        area = max(horizontal_mm, 0.0) * max(vertical_mm, 0.0) / REFERENCE_GAP_MM**2
        return DARK_COUNTS_PER_S + self.p.i0_counts_per_s * area * self.intensity(time_s)

    def drift_um(self, time_s: float) -> tuple[float, float]:
        """Slow wander of the stage across and up, each about `drift_um` rms."""
        a, b, c, d = self.phases[4:8]
        size = self.p.drift_um
        across = math.sin(time_s / 310.0 + a) + math.sin(time_s / 1270.0 + b)
        up = math.sin(time_s / 405.0 + c) + math.sin(time_s / 1610.0 + d)
        return size * across, size * up
