"""A beam shutter behind three EPICS records.

No standard record exists for shutters: the names `Open`, `Close` and `Status` are ours.
"""

from typing import Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record, command


class World(Protocol):
    """What the shutter shuts."""

    def shutter_open(self, t: float) -> bool:
        """Whether the beam passes."""
        ...

    def set_shutter(self, t: float, open: bool) -> None:
        """Open or close."""


class SimulatedBeamShutter:
    """Opens and closes within `travel_s`; the status follows the blade. `stuck` makes it ignore commands."""

    wire = "channel access"

    def __init__(
        self, *, name: str, world: World, clock: Clock, noise: Noise, travel_s: float = 0.3, stuck: bool = False
    ) -> None:
        self.name = name
        self._world = world
        self._travel_s, self._stuck = travel_s, stuck
        self._arrives_s = 0.0
        self._before = world.shutter_open(0.0)

    def records(self) -> dict[str, Record]:
        """The commands and the status."""
        return {
            "Open": command(lambda t: self._go(t, True)),
            "Close": command(lambda t: self._go(t, False)),
            "Status": Record(self._status, kind="enum", states=("Closed", "Open")),
        }

    def _status(self, t: float) -> int:
        # The beam is treated as cut or passing at once; the switch reports when the blade has arrived.
        return int(self._before if t < self._arrives_s else self._world.shutter_open(t))

    def _go(self, t: float, open: bool) -> None:
        if self._stuck or self._world.shutter_open(t) == open:
            return
        self._before = not open
        self._arrives_s = t + self._travel_s
        self._world.set_shutter(t, open)
