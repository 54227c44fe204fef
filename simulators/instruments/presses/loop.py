"""The set-point of the press's load loop and its ramp, in closed form of time."""

import math


class LoadLoop:
    """Set-point in tons; a ramp adds one `step` per second, from the load at its start, for `duration_s` seconds.

    The ramp counts whole seconds and can be paused: disabled it keeps the set-point, enabled again it goes on.
    """

    def __init__(self, tons: float) -> None:
        self.target = tons
        self.hours = 1.0
        self.step = 0.0
        self.duration_s = 0
        self._value = tons
        self._counted = 0
        self._since_s: float | None = None

    @property
    def final(self) -> float:
        """Where the ramp will end."""
        return self._value + self.step * (self.duration_s - self._counted)

    def counter(self, t: float) -> int:
        """Seconds of the ramp that have been counted."""
        running = 0 if self._since_s is None else math.floor(t - self._since_s + 1e-6)
        return min(self._counted + running, self.duration_s)

    def ramping(self, t: float) -> bool:
        """Whether the ramp is enabled and not at its end."""
        return self._since_s is not None and self.counter(t) < self.duration_s

    def setpoint(self, t: float) -> float:
        """The set-point."""
        return self._value + self.step * (self.counter(t) - self._counted)

    def set_target(self, t: float, tons: float) -> None:
        """Where the next ramp goes. Raises ValueError for no number."""
        self.target = _finite("RampTarget", tons)

    def set_hours(self, t: float, hours: float) -> None:
        """How long the next ramp takes. Raises ValueError unless above 0."""
        if not hours > 0:
            raise ValueError(f"RampTime is {hours!r} h: above 0 is accepted")
        self.hours = _finite("RampTime", hours)

    def set_setpoint(self, t: float, tons: float) -> None:
        """Put the set-point somewhere; a ramp under way goes on from there."""
        ramping = self.ramping(t)
        self._freeze(t)
        self._value = _finite("PID.VAL", tons)
        self._since_s = t if ramping else None

    def start(self, t: float, tons: float) -> None:
        """Begin a ramp at the present load."""
        self._value, self._counted, self._since_s = tons, 0, t
        self.duration_s = max(1, round(self.hours * 3600.0))
        self.step = (self.target - tons) / self.duration_s

    def enable(self, t: float, enable: bool) -> None:
        """Pause the ramp, or go on with it."""
        self._freeze(t)
        self._since_s = t if enable else None

    def _freeze(self, t: float) -> None:
        self._value, self._counted, self._since_s = self.setpoint(t), self.counter(t), None


def _finite(field: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{field} is {value!r}: a finite number is accepted")
    return value
