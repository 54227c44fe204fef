"""The storage ring's current, as accelerators publish it over EPICS."""

from typing import Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record

NOISE_MA = 0.01


class World(Protocol):
    """What is measured."""

    def ring_current_ma(self, t: float) -> float:
        """Stored current."""
        ...


class SimulatedRing:
    """One record, `SRcurrentAI` (the name at the Advanced Photon Source; that of PF-AR is not published)."""

    wire = "channel access"

    def __init__(self, *, name: str, world: World, clock: Clock, noise: Noise) -> None:
        self.name = name
        self._world, self._noise = world, noise

    def records(self) -> dict[str, Record]:
        """The current."""
        return {"SRcurrentAI": Record(self._current, unit="mA")}

    def _current(self, t: float) -> float:
        # Noise belongs to the moment: whoever else reads changes nothing.
        current = self._world.ring_current_ma(t)
        return max(0.0, current + NOISE_MA * self._noise.normal(round(t, 6))) if current > 0 else 0.0
