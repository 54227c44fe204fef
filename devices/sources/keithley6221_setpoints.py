"""The set-points of a Keithley 6221 that are more than a number sent and read back."""

import math
from typing import Any

from ..errors import LimitError, Refused
from ..instrument import Setpoint
from ..safe_state import SafeAction, Seen
from ..status import JobStatus

OFF = SafeAction(
    "output zero, relay open",
    ((":SOUR:SWE:ABOR", None), (":SOUR:CLE", None)),
    (
        Seen("output", ":OUTP:STAT?", 0, 0),
        Seen("delta mode", ":SOUR:DELT:ARM?", 0, 0),
        Seen("current", ":SOUR:CURR?", -1e-9, 1e-9),
    ),
    12.0,
)
"""The end of every current; the time is enough for two lost replies."""


class Level(Setpoint):
    """A current, read back to a thousandth: a range has so many digits only."""

    def apply(self, value: float) -> None:
        """As for every set-point."""
        self.tolerance = 1e-3 * abs(value) + 1e-12
        super().apply(value)


class Current(Level):
    """The steady current; while the output is on it changes by 1 mA/s."""

    _ramp: JobStatus | None = None

    def set(self, value: float) -> JobStatus:
        """Set or ramp to `value`. Raises LimitError at once; the Status fails with Refused or LinkError."""
        self.check_value(value)
        self._ramp = self.instrument.submit(lambda: self.instrument.ramp(value))
        return self._ramp

    def stop(self, *, success: bool = False) -> None:
        """End a ramp where it is."""
        if self._ramp is not None and not self._ramp.done:
            self.instrument.stop_ramp()


class Output(Setpoint):
    """1 lets the steady current flow, which has to begin at next to nothing; 0 ends all current, a series too."""

    def set(self, value: float) -> JobStatus:
        """Switch; the Status fails with Refused or LinkError where the source does not confirm."""
        self.check_value(value)
        source = self.instrument
        return source.submit(source.energise) if value else source.bring_about(OFF, urgent=True)

    def check_value(self, value: float) -> None:
        """Raises LimitError for anything but 0 and 1."""
        super().check_value(value if value in (0, 1) else math.nan)


class Count(Setpoint):
    """How many readings a series has, and so how long the arrays are."""

    def apply(self, value: float) -> None:
        """As for every set-point."""
        super().apply(value)
        self.instrument.resize()

    def check_value(self, value: float) -> None:
        """Raises LimitError for what is no whole number within the limits."""
        low, high = self.limits
        if not (low <= value <= high and value == int(value)):
            raise LimitError(f"{self.name} = {value:g} is refused: accepted are whole numbers of {low:g}..{high:g}")


class Relayed(Setpoint):
    """A setting of the meter behind the relay: `command` sets it, `asked` asks for it, in the meter's words."""

    def __init__(self, *, asked: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query, self.asked = None, asked

    def apply(self, value: float) -> None:
        """Send and read back. Raises LimitError, Refused, LinkError."""
        self.check_value(value)
        source = self.instrument
        source.check_idle()
        self.take(source.ask_meter(f"{self.command.format(value)};{self.asked}"), source.clock.time())
        if abs(self.get() - value) > self.tolerance:
            raise Refused(f"{self.name}: {value:g} {self.unit} was sent, {self.get():g} {self.unit} was read back")
