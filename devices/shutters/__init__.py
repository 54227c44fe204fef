"""Shutters and slits are Movables of words: `set("open")`, `set("closed")`; `set("wide")`, `set("narrow")`."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable, Status

from ..limits import Limited


@runtime_checkable
class Shutter(Movable[Any], Readable[Any], Protocol):
    """A shutter of the beam: set to `open` and `closed`; `trigger` asks its switches."""

    name: str
    is_open: Readable[Any]
    """1 while the switches say so. A pause of the run, an interlock or a person may have closed it at any time."""

    def trigger(self) -> Status:
        """Fetch the reading."""
        ...


@runtime_checkable
class HeatingShutter(Shutter, Protocol):
    """A shutter of heating lasers, which a box beside the cell closes by itself when a surface runs away."""

    tripped: Readable[Any]
    """1 while the box keeps it closed."""
    highest: Limited
    """Temperature in K that the box does not stand."""
