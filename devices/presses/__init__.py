"""Presses: what plans know of one, whatever its hydraulics and protocol."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status

from ..limits import Limited


@runtime_checkable
class DifferentialRam(Protocol):
    """One of the two rams that deform the sample."""

    name: str
    speed: Limited
    """Speed of advance in um/s; 0 stops, negative retracts. The controller stops at the stroke limit by itself."""


@runtime_checkable
class Press(Readable[Any], Protocol):
    """A press with a load loop, two differential rams and a blow-out latch; `trigger` fetches what `read` tells.

    The ramp, the load loop and the latch live in the controller: they go on when nobody polls.
    """

    name: str
    load: Limited
    """Load in MN: `set` ramps at `load_rate` and is done on arrival; it fails when the latch trips."""
    load_rate: Limited
    """Rate of the next ramp in MN/h; the limit is lower for unloading."""
    top: DifferentialRam
    bottom: DifferentialRam
    blown_out: Readable[Any]
    """1 once a blow-out has been latched; only a person resets it, at the press."""

    def trigger(self) -> Status:
        """Fetch the readings."""
        ...

    def hold(self) -> Status:
        """Stop pumps and rams and close the valves: the safe state of a press. Verified by read-back."""
        ...
