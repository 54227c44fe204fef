"""The flow meter WF100, simulated, and a world of cooling water for it to measure."""

from typing import Any, ClassVar, Protocol

from megabar.simulators.clock import Clock
from megabar.simulators.noise import Noise
from megabar.simulators.wire.scpi import ScpiInstrument, Setting, query
from megabar.simulators.wire.scpi_grammar import Number


class World(Protocol):
    """What the flow meter sees of the world, at a time in simulated seconds."""

    def flow_l_per_min(self, t: float) -> float:
        """Flow of the cooling water."""
        ...


class SimulatedWF100(ScpiInstrument):
    """A WF100 with 0.02 l/min of noise on each reading, which takes it 50 ms."""

    identity: ClassVar[str] = "ACME,WF100,0042,1.3"

    alarm_level = Setting(":ALARm", Number(0.5, 50.0, 2.0), 2.0)

    def __init__(self, *, name: str, world: World, clock: Clock, noise: Noise) -> None:
        super().__init__(name=name, clock=clock, latency_s=0.001, wire="tcp")
        self.world = world
        self.noise = noise

    @query(":FLOW")
    async def _flow(self) -> str:
        await self.clock.sleep(0.05, self.name)
        return f"{self.world.flow_l_per_min(self.clock.monotonic()) + 0.02 * self.noise.normal():.3f}"


class CoolingWater:
    """A world of one pipe, in which the flow drops when a hose is stepped on."""

    def __init__(self, seed: int, *, stepped_on_at_s: float = 3600.0) -> None:
        self.stepped_on_at_s = stepped_on_at_s

    def flow_l_per_min(self, t: float) -> float:
        """Flow of the cooling water."""
        return 8.0 if t < self.stepped_on_at_s else 1.0

    def truth(self, **window: float) -> dict[str, Any]:
        """Nothing is averaged here."""
        return {}
