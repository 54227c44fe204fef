"""Gas on the membrane, friction of the piston, and the pressure in the cell."""

import math
from bisect import bisect_right

from .parameters import Parameters


class Membrane:
    """Pressure in the cold cell (GPa) from that of the gas (bar), whose ramps are its history.

    The piston sticks: it follows the gas only where that exceeds what carries it by the friction, or falls below it.
    """

    def __init__(self, p: Parameters, gain: float) -> None:
        """`gain` is that of this cell, relative to the usual one."""
        self._p, self._gain = p, gain
        self._times, self._ramps, self._carried = [-math.inf], [(0.0, 0.0, 0.0)], [0.0]

    # ---- what the pressure controller does

    def set_membrane(self, t: float, bar: float, target_bar: float, bar_per_s: float) -> None:
        """From `t` on the gas goes from `bar` to `target_bar` at a constant rate, and stays there."""
        carried = self.carried_bar(t)
        self._times.append(t)
        self._ramps.append((bar, target_bar, bar_per_s))
        self._carried.append(carried)

    def membrane_leak_bar_per_s(self, t: float) -> float:
        """How fast the gas leaks away when nothing regulates."""
        return self._p.leak_bar_per_s

    # ---- what is so

    def gas_bar(self, t: float) -> float:
        """Pressure of the gas."""
        return self._gas(bisect_right(self._times, t) - 1, t)

    def carried_bar(self, t: float) -> float:
        """What reaches the piston's end."""
        number = bisect_right(self._times, t) - 1
        gas = self._gas(number, t)
        return min(max(self._carried[number], gas - self._p.friction_bar), max(gas, 0.0))

    def cold_gpa(self, t: float) -> float:
        """Pressure of the sample while nothing heats it."""
        p = self._p
        gained = 1.0 - math.exp(-self.carried_bar(t) / p.gain_decay_bar)
        return p.screwed_gpa + self._gain * p.largest_gain_gpa_per_bar * p.gain_decay_bar * gained

    def _gas(self, number: int, t: float) -> float:
        start, target, rate = self._ramps[number]
        if start == target:
            return target
        gone = rate * (t - self._times[number])
        return min(start + gone, target) if target > start else max(start - gone, target)
