"""The engine's asyncio loop and its main thread in simulated time."""

import asyncio
import selectors
import threading
from collections.abc import Callable
from typing import Any

from bluesky.utils import DuringTask

from .clock import NEVER, RealClock, SimulatedClock

ENGINE = "engine"


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the clock's and whose waiting lets time move: for the RunEngine."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        super().__init__(_TokenSelector(self))

    def time(self) -> float:
        """Simulated seconds."""
        return self.clock.monotonic()

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """As asyncio's; the loop's token is taken while the caller still has its own."""
        with self.clock.lock:
            handle = super().call_soon_threadsafe(callback, *args, context=context)
            self.clock.loop_busy(ENGINE)
            return handle

    def next_deadline(self) -> int:
        """When the first timer is due, in nanoseconds."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        # Rounded up: a timer must be due when the clock arrives at it.
        return -int(-scheduled[0]._when * 1e9 // 1) if scheduled else NEVER

    def close(self) -> None:
        """As asyncio's; a loop that has ended keeps time from moving no more."""
        super().close()
        with self.clock.lock:
            self.clock.loop_idle(ENGINE, NEVER, lambda: None)

    def wake(self) -> None:
        """Leave the wait."""
        self._write_to_self()  # type: ignore[attr-defined]


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose time runs `factor` times as fast as the wall clock, as the instruments of its clock do."""

    def __init__(self, clock: RealClock) -> None:
        self.clock, self.factor = clock, clock.factor
        super().__init__(_FastSelector(clock.factor))

    def time(self) -> float:
        """Seconds of the clock."""
        return self.clock.monotonic()


class _FastSelector(selectors.DefaultSelector):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._factor)


class _TokenSelector(selectors.DefaultSelector):
    """Gives the loop's token away while the loop waits."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        clock = self._loop.clock
        with clock.lock:  # looked at under the lock: no wake-up is lost
            if events := super().select(0):
                return events
            waiter = clock.loop_idle(ENGINE, self._loop.next_deadline(), self._loop.wake)
        events = super().select(None)
        clock.loop_busy(ENGINE)
        if waiter is not None:
            waiter.dead = True
        return events


class SimulatedDuringTask(DuringTask):
    """How the RunEngine's main thread waits for a run: it lets simulated time move meanwhile."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock

    def block(self, blocking_event: threading.Event) -> None:
        """Wait for the end of the run, or its pause."""
        self.clock.block(blocking_event)
