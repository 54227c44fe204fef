"""A link: one connection to one instrument, one owner thread, one transaction at a time."""

import collections
import functools
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import Any

from .clock import Clock
from .errors import LinkError
from .status import JobStatus

Steps = Generator[float, None, None]
"""A long operation in steps: it yields the seconds until its next transaction and leaves the link free meanwhile."""

Job = Callable[[], Steps | None]
_Queued = tuple[Job | Steps, JobStatus, bool]


class Link(ABC):
    """Runs jobs in its own thread, in order, and reports each through a Status.

    Nobody else touches the connection, so a reply can only belong to the question asked, and the engine's loop
    never waits for an instrument.
    """

    def __init__(self, name: str, address: str, clock: Clock, *, timeout_s: float = 2.0) -> None:
        self.name = name
        self.address = address
        self.known_as = address
        """The address that people know it by, also where a guard stands in the line."""
        self.clock = clock
        self.timeout_s = timeout_s
        self.exclusive = True
        """Whether nobody else may open the same line. Behind a guard, which sees to that itself, a child of a dead
        engine would go on keeping it."""
        self._jobs: collections.deque[_Queued] = collections.deque()
        self._urgent: collections.deque[_Queued] = collections.deque()
        self._hurrying = self._active = self._over = False
        self._lock = threading.Lock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.permit: Callable[[str], None] = lambda command: None
        """Asked before anything is sent, for EPICS before a put. Raises NotPermitted once a guard has taken over."""
        threading.Thread(target=self._work, name=f"link {name}", daemon=True).start()

    @classmethod
    def key(cls, address: str, name: str) -> str:
        """What a connection is shared by: one per instrument, unless the protocol carries several."""
        return name

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether there is a connection."""

    @abstractmethod
    def open(self) -> None:
        """Connect; called in the owner thread. Raises LinkError."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; changes nothing in the instrument."""

    @abstractmethod
    def fetch(self, queries: Sequence[Any]) -> list[Any]:
        """The answers to `queries`, in their order; called in the owner thread. Raises LinkError."""

    @abstractmethod
    def assign(self, command: Any, value: Any) -> None:
        """Send one value; called in the owner thread. Raises LinkError."""

    def tell(self, command: Any, value: Any) -> None:
        """As `assign`, without waiting for what the command sets going; called in the owner thread."""
        self.assign(command, value)

    def port(self) -> dict[str, Any]:
        """What a guard must know of the line to stand in it: see `acquisition.guard.specification`.

        Raises NotImplementedError where a guard cannot.
        """
        raise NotImplementedError(f"{self.name}: no guard can stand in a line of this kind")

    def command_words(self, command: Any, value: Any) -> Any:
        """What `assign` sends, as a guard takes it."""
        raise NotImplementedError

    def query_words(self, query: Any) -> Any:
        """What `fetch` sends for one query, as a guard takes it."""
        raise NotImplementedError

    def setpoint_words(self, command: Any) -> dict[str, Any]:
        """How a guard knows the commands of a set-point, and finds the value in them; empty where they have none."""
        raise NotImplementedError

    def submit(self, job: Job, *, urgent: bool = False) -> JobStatus:
        """Queue `job` for the owner thread; the Status is done when it has run, failed if it raised.

        An urgent one goes first. Those that are queued fail, and so does the one under way when it wants to send more:
        what they would have set going must not come after it.
        """
        status = JobStatus()
        self._enqueue(job, status, urgent)
        return status

    def give_way(self) -> None:
        """Before anything is sent. Raises LinkError where an urgent job waits for one that is not."""
        if self._urgent and not self._hurrying:
            self._break_off()

    def _break_off(self) -> None:
        raise LinkError(f"{self.name}: broken off for something urgent")

    def call(self, job: Job) -> None:
        """Run `job` and wait for it: for connecting and for the shell, never inside a plan. Raises what it raised."""
        finished = threading.Event()
        status = JobStatus()
        status.add_callback(lambda _: finished.set())
        self._enqueue(job, status)
        self.clock.block(finished)
        if (error := status.exception()) is not None:
            raise error

    def _enqueue(self, job: Job | Steps, status: JobStatus, urgent: bool = False) -> None:
        with self._lock:
            (self._urgent if urgent else self._jobs).append((job, status, urgent))
            if urgent:
                self._jobs = collections.deque((self._break_off, status, False) for _, status, _ in self._jobs)
            was_active, self._active = self._active, True
        if not was_active:
            self.clock.hold(self.name)
            self._wake.put(None)

    def end(self) -> None:
        """Close the connection and end the owner thread; nothing is done any more."""
        if not self._over:
            self.call(self.close)
            self._over = True
            self._wake.put(None)

    def _work(self) -> None:
        while self._wake.get() is None and not self._over:
            while (item := self._next()) is not None:
                self._run(*item)
            self.clock.release(self.name)

    def _next(self) -> _Queued | None:
        with self._lock:
            if queued := self._urgent or self._jobs:
                self._hurrying = queued is self._urgent
                return queued.popleft()
            self._active = False
            return None

    def _run(self, job: Job | Steps, status: JobStatus, urgent: bool) -> None:
        try:
            steps = job() if callable(job) else job
            pause = None if steps is None else next(steps, None)
        except Exception as error:
            status.set_exception(error)
            return
        if steps is None or pause is None:
            status.set_finished()
        else:
            self.clock.call_later(pause, f"{self.name} step", functools.partial(self._enqueue, steps, status, urgent))
