"""What is safe for a class of devices, and how it is brought about, as data in the words of the device's link.

The engine plays it when a run ends, and the guard when the engine is lost: the guard knows no device, so everything
it may need to do, see, or let pass is declared.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NUMBER = r"([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*$"
"""The number that a text reply ends with."""


@dataclass(frozen=True)
class Seen:
    """What shows that something is so: the reply to `query`, as the link understands it, lies within `low..high`.

    Of a text reply the group of `pattern` is the number; with `mask` only these bits of a whole number count.
    """

    name: str
    query: Any
    low: float
    high: float
    mask: int = 0
    pattern: str = NUMBER

    def number(self, reply: Any) -> float:
        """The number that a reply stands for. Raises ValueError."""
        if isinstance(reply, str):
            found = re.search(self.pattern, reply)
            if found is None:
                raise ValueError(f"{reply[:60]!r} does not answer {self.name}")
            reply = found[1]
        return int(float(reply)) & self.mask if self.mask else float(reply)

    def holds(self, reply: Any) -> bool:
        """Whether a reply shows it. Raises ValueError."""
        return self.low <= self.number(reply) <= self.high


@dataclass(frozen=True)
class Watched:
    """A reading that must be as it should be, and fresh, while an engine drives the device; else that is a trip.

    With `while_on` only while the device itself is not in its safe state.
    """

    seen: Seen
    every_s: float = 0.25
    stale_s: float = 2.0
    while_on: bool = False


@dataclass(frozen=True)
class SafeAction:
    """One action: `commands` as the link assigns them, in order, and what is `seen` within `within_s` of them.

    Every command may be sent again, after `again_s`: none toggles, none adds up.
    """

    name: str
    commands: Sequence[tuple[Any, Any]]
    seen: Sequence[Seen]
    within_s: float
    again_s: float = 0.25


@dataclass(frozen=True)
class Way:
    """Actions in their order; where one is not seen in its time, the way `otherwise` is gone.

    With a grace they only show that the device may be left as it is for so long; `otherwise` comes after that too.
    """

    actions: Sequence[SafeAction]
    otherwise: str = ""
    grace_s: float = 0.0


@dataclass(frozen=True)
class Beat:
    """What keeps a watchdog in the instrument from dropping out: a command, sent every `every_s` of real time.

    A `timed` one says in seconds how long the watchdog waits for the next.
    """

    command: Any
    value: float
    every_s: float
    timed: bool = False


@dataclass(frozen=True)
class SafeState:
    """The ways of a device to safety by name (`off`, `hold`, `ramp`), the one that ends a run first.

    `on_loss` is the way that is gone when the engine is lost, unless the rig says otherwise.
    """

    ways: Mapping[str, Way]
    on_loss: str
    watched: Sequence[Watched] = ()
    beat: Beat | None = None
    commands: Sequence[tuple[Any, Any]] = field(default=())
    """Commands beside the declared set-points and safe actions that the engine needs, each with its one value."""
