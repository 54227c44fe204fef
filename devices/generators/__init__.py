"""Function generators: what plans know of them."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable, Status

from ..lasers import Switch
from ..limits import Limited


@runtime_checkable
class FunctionGenerator(Readable[Any], Protocol):
    """One output of a generator; `trigger` fetches what is set."""

    name: str
    frequency: Limited
    """Hz."""
    amplitude: Limited
    """V from peak to peak, into the load that the generator is set to."""
    offset: Limited
    """V, into the same load."""
    shape: Movable[str]
    """`SIN`, `SQU`, `TRI`, `RAMP` or `DC`."""
    output: Switch
    """1 connects the output, 0 disconnects it at once."""

    def trigger(self) -> Status:
        """Fetch the readings."""
        ...
