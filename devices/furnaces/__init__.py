"""Furnace controllers: what plans know of one."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable, Status

from ..limits import Limited


@runtime_checkable
class Furnace(Readable[Any], Protocol):
    """A controller that ramps its set-point and regulates by itself; `trigger` fetches what `read` tells."""

    name: str
    temperature: Readable[Any]
    """What the controller itself reads, in degrees Celsius."""
    setpoint: Limited
    """Target in degrees Celsius, approached at `ramp_rate`."""
    ramp_rate: Limited
    """K/min."""
    heating: Movable[int]
    """1 regulates, 0 cuts the heater at once."""

    def trigger(self) -> Status:
        """Fetch the readings."""
        ...
