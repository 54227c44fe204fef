"""The clocks that a session hands to links and engine: the real one, and discrete-event time for rehearsals.

Simulated time moves only when nothing can still happen at the present moment:

1. no actor of this process (main thread, engine loop, link threads) holds a token;
2. the simulator's last report of idleness answers the last grant;
3. on every wire, the bytes sent at one end are the bytes received at the other, both ways.

Then exactly one waiter is released, the first by (deadline, name, order), and the question is asked again. Rule 3
makes time-outs simulated too: a reply that was dropped, delayed or split is known to be so, whatever the protocol.
"""

import contextlib
import heapq
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

NEVER = 2**63 - 1
EPOCH_S = 1_767_225_600.0
"""Simulated runs begin on 2026-01-01 at 00:00 UTC."""
SLOWEST, FASTEST = 0.01, 1000.0
"""How fast, times life, simulated instruments can be served."""

MAIN = "main"


class RealClock:
    """Time on hardware; with a `factor`, of simulated instruments that run that many times as fast as life."""

    simulated = False

    def __init__(self, factor: float = 1.0, *, started: float | None = None, epoch: float | None = None) -> None:
        self.factor = factor
        self.started = time.monotonic() if started is None else started
        """When simulated time began, for a simulator that shares it."""
        self.epoch = time.time() if epoch is None else epoch
        """The wall clock at that moment."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time() if self.factor == 1.0 else self.epoch + self.monotonic()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return (time.monotonic() - self.started) * self.factor

    def call_later(self, delay_s: float, name: str, function: Callable[[], None]) -> None:
        """Call `function` after `delay_s`, in a thread of its own."""
        timer = threading.Timer(delay_s / self.factor, function)
        timer.daemon = True
        timer.start()

    def wait_readable(self, descriptor: int, timeout_s: float, actor: str) -> bool:
        """Whether bytes can be read within `timeout_s`."""
        return bool(select.select([descriptor], [], [], max(0.0, timeout_s / self.factor))[0])

    def block(self, event: threading.Event) -> None:
        """Wait for `event`."""
        event.wait()

    def hold(self, actor: str) -> None:
        """Nothing to keep still."""

    def release(self, actor: str) -> None:
        """Nothing to keep still."""

    def connected(self, wire: str) -> None:
        """Nothing to count."""

    def sent(self, wire: str, n_bytes: int) -> None:
        """Nothing to count."""

    def received(self, wire: str, n_bytes: int) -> None:
        """Nothing to count."""


class _Waiter:
    """Someone who waits for a moment."""

    __slots__ = ("dead", "deadline", "fire", "name", "order")

    def __init__(self, deadline: int, name: str, order: int, fire: Callable[[], None]) -> None:
        self.deadline, self.name, self.order, self.fire, self.dead = deadline, name, order, fire, False

    def __lt__(self, other: "_Waiter") -> bool:
        return (self.deadline, self.name, self.order) < (other.deadline, other.name, other.order)


class _Pipe:
    """The pipe that wakes a thread; it is closed when the thread has ended."""

    def __init__(self) -> None:
        self.ends = os.pipe()

    def __del__(self) -> None:
        for end in self.ends:
            os.close(end)


class SimulatedClock:
    """Discrete-event time, in integer nanoseconds, owned by this process and shared with one simulator process.

    `shared` is a file that both map; `wires` name the links whose bytes are counted. The thread that makes the clock
    is the main actor and holds its token until it blocks. The run begins at `epoch_s`.
    """

    simulated = True

    def __init__(self, shared: Path, wires: Sequence[str], *, epoch_s: float = EPOCH_S, stall_s: float = 60.0) -> None:
        descriptor = os.open(shared, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(descriptor, mmap.PAGESIZE)
        self._shared = memoryview(mmap.mmap(descriptor, mmap.PAGESIZE)).cast("q")
        os.close(descriptor)
        self._epoch_s = epoch_s
        self.lock = threading.RLock()
        self._tokens: Counter[str] = Counter({MAIN: 1})
        self._waiters: list[_Waiter] = []
        self._order: Counter[str] = Counter()
        self._index = {wire: i for i, wire in enumerate(wires)}
        n = len(wires)
        self._connections, self._sent, self._received = [0] * n, [0] * n, [0] * n
        self._simulator: _Simulator | None = None
        self._pipes = threading.local()
        self.on_failure: Callable[[str], None] = lambda reason: None
        self.failure: str | None = None
        self._moves = 0
        self._closed = threading.Event()
        threading.Thread(target=self._watch, args=(stall_s,), name="clock watchdog", daemon=True).start()

    @property
    def _now(self) -> int:
        """Nanoseconds since the start; shared, for the simulator moves it on while it has the word."""
        return self._shared[0]

    def time(self) -> float:
        """Simulated seconds since the Unix epoch."""
        return self._epoch_s + self._now * 1e-9

    def monotonic(self) -> float:
        """Simulated seconds since the start."""
        return self._now * 1e-9

    def hold(self, actor: str) -> None:
        """`actor` begins to work: time stands still."""
        with self.lock:
            self._tokens[actor] += 1

    def release(self, actor: str) -> None:
        """`actor` has nothing left to do."""
        with self.lock:
            self._tokens[actor] -= 1
            if self._tokens[actor] < 0:
                raise RuntimeError(f"the token of {actor} was released twice")
            self._advance()

    def call_later(self, delay_s: float, name: str, function: Callable[[], None]) -> None:
        """Call `function` at a moment, under the clock's lock: it may only queue work and hold tokens for it."""
        with self.lock:
            self._wait(self._now + max(0, round(delay_s * 1e9)), name, function)

    def wait_readable(self, descriptor: int, timeout_s: float, actor: str) -> bool:
        """Whether bytes are there before `timeout_s` of simulated time have passed."""
        if select.select([descriptor], [], [], 0)[0]:
            return True
        read_end, write_end = self._pipe()
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self._tokens[actor] += 1
            os.write(write_end, b"x")

        with self.lock:
            waiter = self._wait(self._now + max(0, round(timeout_s * 1e9)), actor, expire)
            self._tokens[actor] -= 1
            self._advance()
        select.select([descriptor, read_end], [], [])
        with self.lock:
            if expired:
                os.read(read_end, 1)
                return False
            waiter.dead = True
            self._tokens[actor] += 1
            return True

    def block(self, event: threading.Event) -> None:
        """Give the main thread's token away until `event` is set; the setter gives it back."""
        plain_set = event.set

        def set_and_hold() -> None:
            with self.lock:
                if not event.is_set():
                    self._tokens[MAIN] += 1
            plain_set()

        with self.lock:
            if event.is_set():
                return
            event.set = set_and_hold  # type: ignore[method-assign]
        self.release(MAIN)
        try:
            event.wait()
        except BaseException:  # an interrupt: this thread goes on, and has its token again
            with self.lock:
                event.set = plain_set  # type: ignore[method-assign]
                if not event.is_set():
                    self._tokens[MAIN] += 1
            raise
        event.set = plain_set  # type: ignore[method-assign]

    def connected(self, wire: str) -> None:
        """Count the bytes of `wire` from zero; time waits until the other end has accepted."""
        with self.lock:
            i = self._index[wire]
            self._connections[i] += 1
            self._sent[i] = self._received[i] = 0

    def sent(self, wire: str, n_bytes: int) -> None:
        """Count bytes that are about to be written."""
        with self.lock:
            self._sent[self._index[wire]] += n_bytes

    def received(self, wire: str, n_bytes: int) -> None:
        """Count bytes that have been read."""
        with self.lock:
            self._received[self._index[wire]] += n_bytes

    def attach(self, control: socket.socket) -> None:
        """Share time with the simulator at the other end of `control`."""
        self._simulator = _Simulator(self, control, len(self._index))

    def close(self) -> None:
        """Stop watching and let go of the simulator; no failure is reported any more."""
        self._closed.set()
        self.on_failure = lambda reason: None
        if self._simulator is not None:
            self._simulator.close()

    def loop_idle(self, name: str, deadline: int, wake: Callable[[], None]) -> _Waiter | None:
        """An asyncio loop is about to wait (lock held): take its token, wake it at `deadline`."""
        waiter = None
        if deadline < NEVER:

            def fire() -> None:
                self._tokens[name] = 1
                wake()

            waiter = self._wait(max(deadline, self._now), name, fire)
        self._tokens[name] = 0
        self._advance()
        return waiter

    def loop_busy(self, name: str) -> None:
        """An asyncio loop has work."""
        with self.lock:
            self._tokens[name] = 1

    def _wait(self, deadline: int, name: str, fire: Callable[[], None]) -> _Waiter:
        self._order[name] += 1
        waiter = _Waiter(deadline, name, self._order[name], fire)
        heapq.heappush(self._waiters, waiter)
        return waiter

    def _pipe(self) -> tuple[int, int]:
        if not hasattr(self._pipes, "own"):
            self._pipes.own = _Pipe()
        return self._pipes.own.ends

    def _quiet(self) -> bool:
        if any(self._tokens.values()):
            return False
        simulator = self._simulator
        return simulator is None or simulator.agrees(self._connections, self._sent, self._received)

    def _advance(self) -> None:
        """Move to the next deadline and release its waiter, if nothing can still happen now (lock held)."""
        while self._quiet():
            while self._waiters and self._waiters[0].dead:
                heapq.heappop(self._waiters)
            own = self._waiters[0].deadline if self._waiters else NEVER
            other = self._simulator.deadline if self._simulator else NEVER
            moment = min(own, other)
            if moment == NEVER:
                self.fail("everything waits and nothing has a deadline")
                return
            self._shared[0] = max(self._now, moment)
            self._moves += 1
            if self._simulator is not None and other <= own:  # of one instant, the world goes first
                self._simulator.grant(own if own < NEVER else other)
                return
            heapq.heappop(self._waiters).fire()

    def fail(self, reason: str) -> None:
        """Time cannot go on: say so once, and let the session end the run."""
        with self.lock:
            self._simulator = None if self._simulator is None or self._simulator.ended else self._simulator
            if self.failure is None and not self._closed.is_set():
                self.failure = reason
                self.on_failure(f"simulated time stands at {self.monotonic():.6f} s: {reason}")

    def _watch(self, stall_s: float) -> None:
        seen = -1
        while not self._closed.wait(stall_s):
            if self._moves == seen and not self._tokens[MAIN]:
                sys.stderr.write(self.describe(f"no progress for {stall_s:g} s of real time"))
            seen = self._moves

    def describe(self, reason: str) -> str:
        """Who holds tokens, who waits, which bytes are under way, where each thread is: for finding a stall."""
        with self.lock:
            lines = [f"simulated time stands at {self.monotonic():.6f} s: {reason}"]
            lines.append(f"  tokens: {[name for name, n in self._tokens.items() if n]}")
            lines += [f"  waits: {w.name} until {w.deadline * 1e-9:.6f} s" for w in sorted(self._waiters) if not w.dead]
            if self._simulator is not None:
                lines.append(f"  simulator: {self._simulator.describe(self._index)}")
                lines.append(f"  here: sent {self._sent}, received {self._received}, connections {self._connections}")
        for thread in threading.enumerate():
            if (frame := sys._current_frames().get(thread.ident or 0)) is not None:
                lines += [f"  {thread.name}:", *("    " + line for line in traceback.format_stack(frame)[-3:])]
        return "\n".join(lines) + "\n"


class _Simulator:
    """The owner's picture of the simulator process: its last report against the last grant."""

    def __init__(self, clock: SimulatedClock, control: socket.socket, n_wires: int) -> None:
        self._clock, self._control, self._n = clock, control, n_wires
        self._report = struct.Struct(f"<qq{3 * n_wires}q")
        self._granted, self._answered = 0, -1
        self.deadline = NEVER
        self.ended = False
        self._connections: list[int] = []
        self._received: list[int] = []
        self._sent: list[int] = []
        self._listener = threading.Thread(target=self._listen, name="clock reports", daemon=True)
        self._listener.start()

    def agrees(self, connections: list[int], sent: list[int], received: list[int]) -> bool:
        """Whether it is idle, and every byte that one end sent has reached the other."""
        return (
            self._answered == self._granted
            and self._received == sent
            and self._sent == received
            and self._connections == connections
        )

    def grant(self, until: int) -> None:
        """Let it act at the present moment, and go on by itself up to `until` as long as it sends nothing."""
        self._granted += 1
        with contextlib.suppress(OSError):  # it has ended: the listener is about to say so
            self._control.send(struct.pack("<qq", self._granted, until))

    def describe(self, index: dict[str, int]) -> str:
        """Its last report, for finding a stall."""
        return (
            f"grant {self._answered}/{self._granted}, next {self.deadline * 1e-9:.6f} s, wires {list(index)}, "
            f"sent {self._sent}, received {self._received}, connections {self._connections}"
        )

    def close(self) -> None:
        """End the conversation."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._listener.join(5.0)

    def _listen(self) -> None:
        buffer, size, n = b"", self._report.size, self._n
        while True:
            try:
                data = self._control.recv(65536)
            except OSError:
                data = b""
            if not data:
                with self._clock.lock:
                    self.ended = True
                    self._control.close()
                    self._clock.fail("the simulator has ended")
                return
            buffer += data
            whole = len(buffer) // size * size
            if not whole:
                continue
            fields = self._report.unpack(buffer[whole - size : whole])
            buffer = buffer[whole:]
            with self._clock.lock:
                self._answered, self.deadline = fields[:2]
                self._connections = list(fields[2 : 2 + n])
                self._received = list(fields[2 + n : 2 + 2 * n])
                self._sent = list(fields[2 + 2 * n :])
                self._clock._advance()
