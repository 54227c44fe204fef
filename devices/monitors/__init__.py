"""Beam monitors: what plans know of them."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status


@runtime_checkable
class RingCurrent(Readable[Any], Protocol):
    """The storage ring: `current` in mA is 0 when the beam is lost."""

    name: str
    current: Readable[Any]

    def trigger(self) -> Status:
        """Fetch the current."""
        ...


@runtime_checkable
class RateMonitor(Readable[Any], Protocol):
    """A monitor of the incident beam: reads `<name>_rate` in counts/s."""

    name: str
    rate: Readable[Any]

    def trigger(self) -> Status:
        """Fetch the rate."""
        ...
