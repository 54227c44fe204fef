"""What becomes of a job: the Status that devices hand to the engine.

ophyd's Status can time out and settle, for which it starts threads and inspects every callback's signature; here a
deadline belongs to the job itself and to the plan's wait, in the clock's time. A run makes thousands of these.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

Callback = Callable[["JobStatus"], None]


class JobStatus:
    """Done once, well or not; callbacks run in the thread that finishes it. As `bluesky.protocols.Status` asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callback] = []
        self._done = False
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self._done

    @property
    def success(self) -> bool:
        """Whether it has ended well."""
        return self._done and self._error is None

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """Why it failed; None when it did not, or has not ended."""
        return self._error

    def __repr__(self) -> str:
        if not self._done:
            return "not done"
        return "done" if self._error is None else str(self._error) or type(self._error).__name__

    def add_callback(self, callback: Callback) -> None:
        """Call `callback` with this status when it is done, at once if it is."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def set_finished(self) -> None:
        """The job has ended well."""
        self._end(None)

    def set_exception(self, error: BaseException) -> None:
        """The job has failed."""
        self._end(error)

    def wait(self, timeout: float | None = None) -> None:
        """Block, in real time, until it is done. Raises TimeoutError, or what the job raised."""
        ended = threading.Event()
        self.add_callback(lambda _: ended.set())
        if not ended.wait(timeout):
            raise TimeoutError(f"not done within {timeout} s")
        if self._error is not None:
            raise self._error

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self._done:
                raise RuntimeError("a status ends once")
            self._error, self._done = error, True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            with contextlib.suppress(RuntimeError):  # the loop of an engine whose run has ended meanwhile is closed
                callback(self)


class AllOf(JobStatus):
    """Done when all of several statuses are; it fails at once with the first that fails."""

    def __init__(self, statuses: Sequence[Any]) -> None:
        super().__init__()
        self._remaining = len(statuses)
        for status in statuses:
            status.add_callback(self._one_done)

    def _one_done(self, status: Any) -> None:
        error = None if status.success else status.exception()
        with self._lock:
            self._remaining -= 1
            if self._done or (error is None and self._remaining):
                return
        self._end(error)
