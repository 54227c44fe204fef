"""The clock that links and devices take time from; `acquisition` hands one in."""

import threading
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What a link or a device asks of time: real on hardware, discrete-event in simulation.

    An *actor* is a thread that does work (a link's owner thread). While it holds a token, simulated time stands
    still; a real clock ignores tokens. A *wire* is the name of a link whose bytes both ends count.
    """

    simulated: bool

    def time(self) -> float:
        """Seconds since the Unix epoch, for timestamps of data."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, for deadlines."""
        ...

    def call_later(self, delay_s: float, name: str, function: Callable[[], None]) -> None:
        """Call `function` after `delay_s`; it may only queue work. `name` orders calls of one instant."""
        ...

    def wait_readable(self, descriptor: int, timeout_s: float, actor: str) -> bool:
        """Whether bytes can be read from the file descriptor within `timeout_s`; called by `actor`."""
        ...

    def block(self, event: threading.Event) -> None:
        """Wait on the main thread until another actor sets `event`."""
        ...

    def hold(self, actor: str) -> None:
        """`actor` begins to work."""
        ...

    def release(self, actor: str) -> None:
        """`actor` has nothing left to do."""
        ...

    def connected(self, wire: str) -> None:
        """A new connection of `wire` is about to be made: both ends count its bytes from zero."""
        ...

    def sent(self, wire: str, n_bytes: int) -> None:
        """`n_bytes` are about to be written."""
        ...

    def received(self, wire: str, n_bytes: int) -> None:
        """`n_bytes` have been read."""
        ...
