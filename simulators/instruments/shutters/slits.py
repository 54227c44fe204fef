"""Slits: two pairs of blades behind EPICS motor records."""

from typing import Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record
from ..motion.motor import MotorRecord, joined_records


class World(Protocol):
    """What the slits are."""

    def slit_gap_mm(self, t: float, axis: str) -> float:
        """Gap of the slits."""
        ...

    def move_slits(self, t: float, axis: str, gap_mm: float, mm_per_s: float) -> None:
        """Start the slits towards a gap."""


class SimulatedSlits:
    """Two pairs of slit blades as pseudo-motors: H and V are the gaps, in mm."""

    wire = "channel access"

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        velocity: float = 0.5,
        travel: tuple[float, float] = (0.0, 5.0),
    ) -> None:
        self.name = name
        self._motors = {axis.upper(): _slit_motor(world, axis, velocity, travel) for axis in "hv"}

    def records(self) -> dict[str, Record]:
        """H and V with the fields of a motor record."""
        return joined_records(self._motors)


def _slit_motor(world: World, axis: str, velocity: float, travel: tuple[float, float]) -> MotorRecord:
    return MotorRecord(
        f"slits {axis}",
        lambda t: world.slit_gap_mm(t, axis),
        lambda t, target, speed: world.move_slits(t, axis, target, speed),
        lambda t: world.move_slits(t, axis, world.slit_gap_mm(t, axis), velocity),
        velocity=velocity,
        travel=travel,
    )
