"""The shutter of heating lasers behind EPICS records, with a box that closes it by itself.

The box stands beside the cell: photodiodes look at both surfaces, a comparator drives the shutter, and no program is
between them. All names of records are ours.
"""

from collections.abc import Sequence
from typing import Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record, command

PHOTODIODE_NOISE_K = 5.0
LONGEST_WINDOW_S = 1.0
HIGHEST_K = 6000.0


class World(Protocol):
    """What the shutter and its box do, at a time in simulated seconds."""

    def shutter_open(self, t: float) -> bool:
        """Whether light passes."""
        ...

    def set_shutter(self, t: float, open: bool) -> None:
        """Open or close; it stays closed once the box has closed it."""

    def set_trip(self, t: float, rise_k: float, window_s: float, highest_k: float) -> None:
        """What the box does not stand from now on: a rise within a time, and a temperature."""

    def reset(self, t: float) -> None:
        """Let the shutter be opened again."""

    def tripped(self, t: float) -> bool:
        """Whether the box has closed the shutter, and keeps it closed."""
        ...

    def photodiodes_k(self, t: float) -> Sequence[float]:
        """What the box takes the temperatures of the two surfaces for."""
        ...


class SimulatedHeatingShutter:
    """`Open`, `Close`, `Status`; `Rise`, `Window` and `Highest` of the comparator; `Upstream`, `Downstream`, `Tripped`.

    While `Tripped` is 1 the shutter does not open; `Reset` ends that. `stuck` makes it ignore commands, not the box.
    """

    wire = "channel access"

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        rise_k: float = 500.0,
        window_s: float = 0.05,
        highest_k: float = 4500.0,
        stuck: bool = False,
    ) -> None:
        self.name = name
        self._world, self._noise, self._stuck = world, noise, stuck
        self._trip = {"Rise": rise_k, "Window": window_s, "Highest": highest_k}
        self._arm(0.0)

    def records(self) -> dict[str, Record]:
        """The commands, the comparator and what it sees."""
        return {
            "Open": command(lambda t: self._go(t, True)),
            "Close": command(lambda t: self._go(t, False)),
            "Status": Record(lambda t: int(self._world.shutter_open(t)), kind="enum", states=("Closed", "Open")),
            "Rise": self._setting("Rise", "K", HIGHEST_K),
            "Window": self._setting("Window", "s", LONGEST_WINDOW_S),
            "Highest": self._setting("Highest", "K", HIGHEST_K),
            "Upstream": Record(lambda t: self._photodiode(t, 0), unit="K"),
            "Downstream": Record(lambda t: self._photodiode(t, 1), unit="K"),
            "Tripped": Record(lambda t: int(self._world.tripped(t)), kind="enum", states=("No", "Yes")),
            "Reset": command(self._world.reset),
        }

    def _setting(self, name: str, unit: str, highest: float) -> Record:
        def write(t: float, value: float) -> None:
            if not 0.0 < value <= highest:
                raise ValueError(f"{name} is {value!r} {unit}: above 0 and up to {highest:g} is accepted")
            self._trip[name] = value
            self._arm(t)

        return Record(lambda t: self._trip[name], write, unit=unit)

    def _arm(self, t: float) -> None:
        self._world.set_trip(t, self._trip["Rise"], self._trip["Window"], self._trip["Highest"])

    def _photodiode(self, t: float, side: int) -> float:
        return float(self._world.photodiodes_k(t)[side]) + PHOTODIODE_NOISE_K * self._noise.normal((side, t))

    def _go(self, t: float, open: bool) -> None:
        if not self._stuck:
            self._world.set_shutter(t, open)
