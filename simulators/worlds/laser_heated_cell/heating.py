"""Two lasers on a sample in a cell: temperatures of both surfaces, and the box that shuts the light off by itself."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fibre_laser import FibreLaser
from .blade import Blade
from .parameters import Parameters

UPSTREAM, DOWNSTREAM = 0, 1
RUNAWAY_STEPS = 20
LOOK_S = 0.0005
"""How often the comparator looks."""
ADVANCE_S = 0.2
"""At most so long is the absorbed share taken for constant."""
COLD_K = 1e-3


@dataclass(frozen=True)
class Trip:
    """What the comparator does not stand: a rise within a time, or a temperature."""

    rise_k: float = math.inf
    window_s: float = 0.05
    highest_k: float = math.inf


class Heating:
    """Rise of temperature at the centre of both surfaces, each an exponential approach to what the light makes of it.

    The absorbed share of each side wanders slowly, and grows on one side while that runs away. The history is kept:
    any time up to the latest may be asked for. Between two looks of the comparator nothing is missed, for after a
    change of the light it looks as often as `LOOK_S`, and before the next the surfaces hardly move.
    """

    def __init__(
        self,
        p: Parameters,
        lasers: Sequence[FibreLaser],
        gains: Sequence[float],
        phases: NDArray[np.float64],
        photodiode: float,
    ) -> None:
        """`gains` (2,) and `phases` (2, n) of the wandering are those of this sample, `photodiode` the box's scale."""
        self._photodiode = photodiode
        self._p, self._lasers, self._gains, self._phases = p, lasers, gains, phases
        self.blade = Blade(self.advance)
        """What stands in both beams."""
        self._times = [0.0]
        self._rises = [np.zeros(2)]
        self.trip = Trip()
        self.tripped_s: float | None = None
        """When the comparator has closed the shutter; until somebody resets it, it stays so."""
        self._reset_s = 0.0

    # ---- the box

    def set_trip(self, t: float, rise_k: float, window_s: float, highest_k: float) -> None:
        """What it does not stand from now on: a rise within a time, and a temperature."""
        self.advance(t)
        self.trip = Trip(rise_k, window_s, highest_k)

    def reset(self, t: float) -> None:
        """Let the shutter be opened again."""
        self.advance(t)
        self.tripped_s, self._reset_s = None, t

    def tripped(self, t: float) -> bool:
        """Whether it has closed the shutter, and keeps it closed."""
        self.advance(t)
        return self.tripped_s is not None and t >= self.tripped_s

    def shutter_open(self, t: float) -> bool:
        """Whether light passes."""
        self.advance(t)
        return self.blade.shutter_open(t)

    def set_shutter(self, t: float, open: bool) -> None:
        """Open or close; it stays closed once the box has closed it."""
        if not (open and self.tripped(t)):
            self.blade.set_shutter(t, open)

    def photodiodes_k(self, t: float) -> NDArray[np.float64]:
        """What the box takes the temperatures (2,) for."""
        return self.temperatures_k(t) * self._photodiode

    # ---- what is so

    def temperatures_k(self, t: float) -> NDArray[np.float64]:
        """At the centres (2,)."""
        self.advance(t)
        return self._at(t)

    def advance(self, t: float) -> None:
        """Follow the light up to a time: commands that come later than it change nothing before."""
        while (now := self._times[-1]) < t:
            after = self._next(now, t)
            risen = self._approach(now, self._rises[-1], after)
            self._times.append(after)
            self._rises.append(risen)
            if self.tripped_s is None and self._trips(after, risen):
                self.tripped_s = after
                self.blade.close(after + self._p.blade_s)

    def _trips(self, t: float, rises: NDArray[np.float64]) -> bool:
        trip, seen = self.trip, self._photodiode * (rises + self._p.room_temperature_k)
        if float(seen.max()) > trip.highest_k:
            return True
        if math.isinf(trip.rise_k):
            return False
        before = self._photodiode * self._at(max(t - trip.window_s, self._reset_s))
        return bool(np.any(seen - before > trip.rise_k))

    def _at(self, t: float) -> NDArray[np.float64]:
        number = bisect_right(self._times, t) - 1
        return self._p.room_temperature_k + self._approach(self._times[number], self._rises[number], t)

    def _next(self, now: float, until: float) -> float:
        """The next moment that matters."""
        step = self._step(now)
        changes = self.blade.changes(now, now + step)
        for laser in self._lasers:
            changes |= laser.changes(now, now + step)
        if (runaway := self._p.runaway_s) is not None and runaway <= now + step:
            if now < runaway:
                changes.add(runaway)
            elif now < runaway + self._p.runaway_rise_s:
                changes.add(now + self._p.runaway_rise_s / RUNAWAY_STEPS)
        return min({now + step, until} | changes)

    def _step(self, now: float) -> float:
        final = self._final(now)
        if not final.any() and float(self._rises[-1].max()) < COLD_K:
            return math.inf
        return ADVANCE_S if float(np.max(np.abs(final - self._rises[-1]))) < 1.0 else LOOK_S

    def _approach(self, start: float, rises: NDArray[np.float64], t: float) -> NDArray[np.float64]:
        if t == start:
            return rises
        final = self._final(start)
        return np.asarray(final + (rises - final) * math.exp((start - t) / self._p.response_s))

    def _final(self, t: float) -> NDArray[np.float64]:
        """Where both rises would end if nothing changed any more."""
        p = self._p
        if not self.blade.shutter_open(t):
            return np.zeros(2)
        own = np.array(
            [
                p.kelvin_per_w * self._gains[side] * self._absorbed(side, t) * self._lasers[side].output_power_w(t)
                for side in (UPSTREAM, DOWNSTREAM)
            ]
        )
        return np.asarray(own + p.shared * own[::-1])

    def _absorbed(self, side: int, t: float) -> float:
        """Relative to the usual share."""
        p = self._p
        waves = self._phases[side]
        wandering = sum(math.sin(t / (p.wander_s * (1.0 + 0.7 * number)) + phase) for number, phase in enumerate(waves))
        share = 1.0 + p.wander * wandering * math.sqrt(2.0 / len(waves))
        if side == UPSTREAM and p.runaway_s is not None and t >= p.runaway_s:
            share *= 1.0 + p.runaway_share * min((t - p.runaway_s) / p.runaway_rise_s, 1.0)
        return share
