"""Something that is on at times, now and as it is planned."""

import math
from bisect import bisect_right
from collections.abc import Iterator


class Switch:
    """Times at which it is on, as intervals that do not overlap; planned ones may lie ahead."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []

    def on(self, start_s: float, end_s: float) -> None:
        """On from `start_s` to `end_s`; joins the last interval where it touches it."""
        if self._ends and self._ends[-1] >= start_s:
            self._ends[-1] = max(self._ends[-1], end_s)
        else:
            self._starts.append(start_s)
            self._ends.append(end_s)

    def off(self, t: float) -> None:
        """Off from `t` on: what was planned for later is forgotten."""
        while self._starts and self._starts[-1] >= t:
            self._starts.pop()
            self._ends.pop()
        if self._ends:
            self._ends[-1] = min(self._ends[-1], t)

    def at(self, t: float) -> bool:
        """Whether it is on; an interval has its start and not its end."""
        number = bisect_right(self._starts, t) - 1
        return number >= 0 and t < self._ends[number]

    def changes(self) -> Iterator[float]:
        """All moments at which it changes."""
        yield from self._starts
        yield from (end for end in self._ends if end < math.inf)
