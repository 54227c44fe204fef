"""Pressure controllers: what plans know of the gas on the membrane of a diamond cell."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable, Status

from ..limits import Limited


@runtime_checkable
class PressureController(Readable[Any], Protocol):
    """A controller that takes a gas pressure to its set-point by its own ramp; `trigger` fetches what `read` tells.

    How large a step may be while the sample is hot (5 bar) is for the plan to see to: only that knows of the laser.
    """

    name: str
    pressure: Readable[Any]
    """What the controller itself measures, in bar."""
    setpoint: Limited
    """Target in bar: `set` ramps at `slew_rate`, is done once the pressure stands there, and fails on a vent."""
    slew_rate: Limited
    """bar/s, up and down."""
    control: Movable[int]
    """1 regulates, from the pressure that there is; 0 closes the valves."""

    def trigger(self) -> Status:
        """Fetch the readings."""
        ...

    def hold(self) -> Status:
        """End a ramp where the pressure is: the safe state. It never vents."""
        ...
