"""Lasers and their gates: what plans know of them."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable, Status

from ..limits import Limited


class Switch(Movable[int], Protocol):
    """Something that is 1 or 0."""

    name: str


@runtime_checkable
class Laser(Readable[Any], Protocol):
    """A laser whose diode current is set and whose output power it measures itself; `trigger` fetches both.

    What it gives for a current has a threshold and is not linear: the power is what was read, never what was set.
    """

    name: str
    current: Limited
    """Diode current in per cent of the rated one."""
    output_power: Readable[Any]
    """W, by the laser's own monitor; NaN where it is too low to be told."""
    emission: Switch
    """1 starts the emission, 0 ends it at once; reads 1 while it is on or starting."""
    fault: Readable[Any]
    """0 while all is well."""

    def trigger(self) -> Status:
        """Fetch the readings."""
        ...

    def pause(self) -> Any:
        """End the emission, because the run is paused."""
        ...

    def resume(self) -> Any:
        """Nothing: a laser that was switched off by a pause stays off."""
        ...


@runtime_checkable
class Gate(Readable[Any], Protocol):
    """A contact that lets a laser emit. It closes for a pulse only, and opens unless it is pulsed again."""

    name: str
    closed: Switch
    """1 lets the laser emit; only 0 can be set."""
    pulse: Limited
    """Close for so many seconds, counted from now."""

    def trigger(self) -> Status:
        """Fetch the reading."""
        ...

    def pause(self) -> Any:
        """Open, because the run is paused."""
        ...

    def resume(self) -> Any:
        """Nothing: a gate that was opened by a pause stays open."""
        ...
