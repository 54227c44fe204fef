"""The simulators' clocks: one that is granted time by the engine's process, and one that follows the wall.

The engine's process owns discrete-event time. This side reads `now` from shared memory, reports whenever it has
nothing left to do (with its next deadline and the bytes it has counted on every wire), and acts when it is granted a
moment. A grant reaches to the moment at which the owner itself has something to do: until then, and until it has
sent a byte, this side moves time on by itself. The owner has its own copy of the frames of both messages.
"""

import asyncio
import contextlib
import heapq
import mmap
import os
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

GRANT = struct.Struct("<qq")
"""Owner to simulator: the number of the grant, and until when nobody but the simulator has anything to do."""

NEVER = 2**63 - 1
"""A deadline that never comes, in nanoseconds."""


class Clock(Protocol):
    """What simulated instruments ask of time."""

    factor: float
    """Simulated seconds in a real one, where both run."""

    def monotonic(self) -> float:
        """Seconds of simulated time since the start."""
        ...

    async def sleep(self, delay_s: float, name: str) -> None:
        """Wait; sleepers of one instant wake one by one, in the order of `name`."""
        ...

    def connected(self, wire: str) -> None:
        """A new connection of `wire` was accepted: its bytes count from zero."""
        ...

    def sent(self, wire: str, n_bytes: int) -> None:
        """`n_bytes` are about to be written."""
        ...

    def received(self, wire: str, n_bytes: int) -> None:
        """`n_bytes` have arrived, served or not."""
        ...


class WallClock:
    """Simulated time that runs with the wall clock, `factor` times as fast: for other people's clients."""

    def __init__(self, factor: float = 1.0, start: float | None = None) -> None:
        self.factor = factor
        self._start = time.monotonic() if start is None else start

    def monotonic(self) -> float:
        """Seconds of simulated time since the start."""
        return (time.monotonic() - self._start) * self.factor

    async def sleep(self, delay_s: float, name: str) -> None:
        """Wait `delay_s` of simulated time."""
        await asyncio.sleep(delay_s / self.factor)

    def connected(self, wire: str) -> None:
        """Nothing to count."""

    def sent(self, wire: str, n_bytes: int) -> None:
        """Nothing to count."""

    def received(self, wire: str, n_bytes: int) -> None:
        """Nothing to count."""


class GrantedClock:
    """Simulated time that the engine's process owns: integer nanoseconds in shared memory."""

    factor = 1.0

    def __init__(self, shared: Path, control: socket.socket, wires: Sequence[str]) -> None:
        descriptor = os.open(shared, os.O_RDWR)
        self._now = memoryview(mmap.mmap(descriptor, mmap.PAGESIZE)).cast("q")
        os.close(descriptor)
        control.setblocking(False)
        self._control = control
        self._index = {wire: i for i, wire in enumerate(wires)}
        n = len(wires)
        self._connections, self._received, self._sent = [0] * n, [0] * n, [0] * n
        self._report = struct.Struct(f"<qq{3 * n}q")
        self._grant = 0
        self._until = -1
        self._n_sent = 0
        self._sleepers: list[tuple[int, str, int, asyncio.Future[None]]] = []
        self._order: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None

    def monotonic(self) -> float:
        """Seconds of simulated time since the start."""
        return self._now[0] * 1e-9

    async def sleep(self, delay_s: float, name: str) -> None:
        """Wait until the owner grants the moment `delay_s` from now."""
        future = asyncio.get_running_loop().create_future()
        self._order[name] += 1
        deadline = self._now[0] + max(0, round(delay_s * 1e9))
        heapq.heappush(self._sleepers, (deadline, name, self._order[name], future))
        await future

    def connected(self, wire: str) -> None:
        """Count the bytes of `wire` from zero."""
        i = self._index[wire]
        self._connections[i] += 1
        self._received[i] = self._sent[i] = 0

    def sent(self, wire: str, n_bytes: int) -> None:
        """Count bytes that are about to be written."""
        self._sent[self._index[wire]] += n_bytes

    def received(self, wire: str, n_bytes: int) -> None:
        """Count bytes that have arrived."""
        self._received[self._index[wire]] += n_bytes

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Obey grants from now on, and report idleness; `loop` is a `GrantedLoop` of this clock."""
        self._loop = loop
        loop.add_reader(self._control.fileno(), self._obey)

    def go_on(self) -> bool:
        """Nothing is left to do now: act at the next deadline if it was granted, or report and wait.

        What the owner would do in between is nothing, as long as no byte has left.
        """
        if self._sleepers and self._sleepers[0][0] <= self._until and sum(self._sent) == self._n_sent:
            self._now[0] = max(self._now[0], self._sleepers[0][0])
            self._wake()
            return True
        self._until = -1
        self._report_idle()
        return False

    def _report_idle(self) -> None:
        if self._loop is None:
            return
        deadline = self._sleepers[0][0] if self._sleepers else NEVER
        counts = (*self._connections, *self._received, *self._sent)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the owner has ended; so does this process
            self._control.send(self._report.pack(self._grant, deadline, *counts))

    def _obey(self) -> None:
        try:
            grants = self._control.recv(4096)
        except ConnectionResetError:
            grants = b""
        if not grants:
            assert self._loop is not None
            self._loop.stop()
            return
        self._grant, self._until = GRANT.unpack(grants[-GRANT.size :])
        self._n_sent = sum(self._sent)
        if self._sleepers and self._sleepers[0][0] <= self._now[0]:
            self._wake()

    def _wake(self) -> None:
        """Wake one sleeper: ties are broken by (deadline, name, order), never by the order of arrival."""
        future = heapq.heappop(self._sleepers)[-1]
        if not future.done():
            future.set_result(None)


class _IdleSelector(selectors.DefaultSelector):
    """Reports to the clock whenever the loop is about to wait."""

    def __init__(self, clock: GrantedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        return [] if self._clock.go_on() else super().select(None)


class GrantedLoop(asyncio.SelectorEventLoop):
    """The asyncio loop of a `GrantedClock`: instruments wait with `clock.sleep`, never with asyncio's timers."""

    def __init__(self, clock: GrantedClock) -> None:
        super().__init__(_IdleSelector(clock))
