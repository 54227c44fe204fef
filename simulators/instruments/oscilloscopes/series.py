"""A series of acquisitions, counted as triggers come."""

import math
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 0.02


class Series:
    """How many acquisitions there have been since it began; it ends by itself when there are as many as are wanted.

    `triggers_hz(t)` is the rate of triggers, of which not more than `highest_hz` are taken.
    """

    def __init__(self, triggers_hz: Callable[[float], float], highest_hz: float) -> None:
        self._triggers_hz, self._highest_hz = triggers_hz, highest_hz
        self.running = self.endless = False
        self.begun_s = self._looked_s = 0.0
        self._wanted = 0
        self._count = 0.0

    @property
    def count(self) -> int:
        """Acquisitions so far."""
        return int(self._count + 1e-6)

    def begin(self, t: float, wanted: int, *, endless: bool = False) -> None:
        """Take `wanted` acquisitions from `t` on, or go on until it is stopped."""
        self.running, self.endless, self._wanted, self._count = True, endless, wanted, 0.0
        self.begun_s = self._looked_s = t

    def forget(self) -> None:
        """Count from zero."""
        self._count = 0.0

    def look(self, now: float) -> float | None:
        """Count what has come until `now`; the time at which it has ended meanwhile, if it has."""
        step = max(LOOK_S, (now - self._looked_s) / 1000)
        while self.running and self._looked_s < now:
            until = min(now, self._looked_s + step)
            rate = min(self._triggers_hz(0.5 * (self._looked_s + until)), self._highest_hz)
            missing = math.inf if self.endless else self._wanted - self._count
            come, began_s = rate * (until - self._looked_s), self._looked_s
            self._looked_s = until
            if come >= missing - 1e-9:
                self._count, self.running = self._wanted, False
                return min(began_s + missing / rate, now) if rate else began_s
            self._count += come
        return None
