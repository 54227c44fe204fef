"""A fibre laser and the gate at its modulation input, as worlds have them."""

import math
from bisect import bisect_right
from collections.abc import Callable

from .switch import Switch

CASE_C = 26.0


class FibreLaser:
    """Output power from the diode current: `slope_w_per_percent` above `threshold_percent`.

    Light comes out while emission is on and, where the modulation input has a say, the gate is closed. Commands come
    in the order of their times, the future they plan may be asked for; `changed` is called after each with its time.
    `monitor_scale` is what its own monitor makes of its power.
    """

    def __init__(
        self,
        *,
        threshold_percent: float,
        slope_w_per_percent: float,
        monitor_scale: float,
        changed: Callable[[float], None] = lambda t: None,
    ) -> None:
        self.threshold_percent = threshold_percent
        self.slope_w_per_percent = slope_w_per_percent
        self.monitor_scale = monitor_scale
        self._changed = changed
        self._emission, self._gate, self._ungated = Switch(), Switch(), Switch()
        self._times, self._currents = [-math.inf], [0.0]
        self.latest_s = 0.0
        """When the last command came."""

    # ---- commands

    def set_current(self, t: float, percent: float) -> None:
        """Diode current in per cent of the rated one. Raises ValueError outside 0..100."""
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"current is {percent!r} %: 0 to 100 % is accepted")
        self._times.append(t)
        self._currents.append(percent)
        self._note(t)

    def start_emission(self, t: float, after_s: float) -> None:
        """Emit from `after_s` after `t` on. Raises ValueError for a time that is not positive."""
        if not 0.0 <= after_s < math.inf:
            raise ValueError(f"emission after {after_s!r} s: a finite time not below 0 is accepted")
        self._emission.on(t + after_s, math.inf)
        self._note(t)

    def end_emission(self, t: float) -> None:
        """Emit no more, at once."""
        self._emission.off(t)
        self._note(t)

    def set_gated(self, t: float, gated: bool) -> None:
        """Whether the gate has a say."""
        if gated:
            self._ungated.off(t)
        else:
            self._ungated.on(t, math.inf)
        self._changed(t)

    def close_gate(self, t: float, until_s: float) -> None:
        """The contact is closed from `t` to `until_s`, whatever was planned before."""
        self._gate.off(t)
        self._gate.on(t, until_s)
        self._note(t)

    def open_gate(self, t: float) -> None:
        """The contact is open from `t` on."""
        self._gate.off(t)
        self._note(t)

    def _note(self, t: float) -> None:
        self.latest_s = max(self.latest_s, t)
        self._changed(t)

    # ---- what instruments read

    def emitting(self, t: float) -> bool:
        """Whether the laser is allowed to emit; below its threshold it is dark all the same."""
        return self._emission.at(t) and (self._gate.at(t) or self._ungated.at(t))

    def output_power_w(self, t: float) -> float:
        """Power out of the laser."""
        if not self.emitting(t):
            return 0.0
        current = self._currents[bisect_right(self._times, t) - 1]
        return self.slope_w_per_percent * max(0.0, current - self.threshold_percent)

    def monitor_power_w(self, t: float) -> float:
        """What the laser's own monitor makes of its output power, without noise."""
        return self.monitor_scale * self.output_power_w(t)

    def case_celsius(self, t: float) -> float:
        """Temperature of the laser, which its cooling holds."""
        return CASE_C

    def changes(self, start_s: float, stop_s: float) -> set[float]:
        """Moments between two others at which its power may change."""
        switches = (self._emission, self._gate, self._ungated)
        moments = {*self._times, *(t for switch in switches for t in switch.changes())}
        return {t for t in moments if start_s < t < stop_s}
