"""Stage and slits: axes that move at a constant speed, known as functions of time."""

import math
from bisect import bisect_right


class Axis:
    """Position (mm) of one axis at any time, from the list of its moves."""

    def __init__(self, name: str, start_mm: float, low_mm: float, high_mm: float) -> None:
        self.name = name
        self.low, self.high = low_mm, high_mm
        self._times = [0.0]
        self._moves = [(start_mm, start_mm, 0.0)]  # position at that time, target, speed

    def move(self, time_s: float, target_mm: float, mm_per_s: float) -> None:
        """Start towards a target. Raises ValueError outside the travel, or before the last move."""
        if not self.low <= target_mm <= self.high:
            raise ValueError(f"{self.name} to {target_mm!r} mm: {self.low} to {self.high} mm is accepted")
        if not 0 < mm_per_s < math.inf:
            raise ValueError(f"speed of {self.name} is {mm_per_s!r} mm/s: a finite number above 0 is accepted")
        if time_s < self._times[-1]:
            raise ValueError(f"move of {self.name} at {time_s!r} s: a time from {self._times[-1]!r} s on is accepted")
        self._moves.append((self.position(time_s), target_mm, mm_per_s))
        self._times.append(time_s)

    def stop(self, time_s: float) -> None:
        """Stop where it is."""
        self.move(time_s, self.position(time_s), 1.0)

    def position(self, time_s: float) -> float:
        """Position at a time."""
        number = bisect_right(self._times, time_s) - 1
        start, target, speed = self._moves[max(number, 0)]
        travelled = speed * (time_s - self._times[max(number, 0)])
        if travelled >= abs(target - start):
            return target
        return start + math.copysign(travelled, target - start)
