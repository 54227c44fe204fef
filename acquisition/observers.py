"""Observers of a run: each in a thread of its own. One that fails, lags or blocks costs the run nothing."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

Observer = Callable[[str, Mapping[str, Any]], None]

LONGEST = 1000
LARGEST_BYTES = 64 << 20
"""So many documents, or so much in their arrays, may wait for an observer."""
KEPT = ("start", "descriptor", "stop")
"""What is never left out: without them the rest cannot be understood."""
LOOK_S = 0.05
"""How often an observer looks for documents: to be woken for each would cost the engine more than they do."""
FINISH_S = 2.0
"""How long observers may take, all together, for what waits for them when the run has ended."""


class Observers:
    """Hands documents on to observers. The engine never waits: what one is too slow for is left out, the oldest.

    On leaving, the observers get `FINISH_S` for what waits for them; `warnings` then says what went wrong with each.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observed = [_Observed(observer) for observer in observers]

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Hand one document on."""
        size = sum(getattr(value, "nbytes", 0) for value in document["data"].values()) if name == "event" else 0
        for observed in self._observed:
            observed.put(name, document, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        deadline = time.monotonic() + FINISH_S
        for observed in self._observed:
            observed.over.set()
        for observed in self._observed:
            observed.thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def warnings(self) -> list[str]:
        """A line for each observer that did not get everything."""
        return [warning for observed in self._observed if (warning := observed.warning())]


class _Observed:
    """One observer, its thread, and the documents that wait for it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._name = getattr(observer, "__qualname__", type(observer).__name__)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, Mapping[str, Any], int]] = deque()
        self._size = self._n_lost = 0
        self._failure: Exception | None = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._work, name=f"observer {self._name}", daemon=True)
        self.thread.start()

    def put(self, name: str, document: Mapping[str, Any], size: int) -> None:
        """Queue a document."""
        with self._lock:
            if self._failure is None:
                self._waiting.append((name, document, size))
                self._size += size
                if len(self._waiting) > LONGEST or self._size > LARGEST_BYTES:
                    self._leave_out()

    def warning(self) -> str:
        """What went wrong, in a line; empty where nothing did."""
        if self._failure is not None:
            return f"the observer {self._name} failed and was not called any more: {self._failure}"
        if self._n_lost or self.thread.is_alive():
            late = f" and has not ended {FINISH_S:g} s after the run" if self.thread.is_alive() else ""
            return f"the observer {self._name} was too slow: it did not get {self._n_lost} documents{late}"
        return ""

    def _leave_out(self) -> None:
        """Drop the oldest documents that may be dropped until the rest is short enough."""
        kept: list[tuple[str, Mapping[str, Any], int]] = []
        while self._waiting and (len(kept) + len(self._waiting) > LONGEST or self._size > LARGEST_BYTES):
            oldest = self._waiting.popleft()
            if oldest[0] in KEPT:
                kept.append(oldest)
                continue
            self._size -= oldest[2]
            self._n_lost += 1
            if self._n_lost == 1:  # in another thread: whoever reads standard error may be the one that is slow
                threading.Thread(target=self._say_that_it_is_slow, daemon=True).start()
        self._waiting.extendleft(reversed(kept))

    def _say_that_it_is_slow(self) -> None:
        logging.getLogger("megabar").warning("the observer %s is too slow; it does not get everything", self._name)

    def _next(self) -> tuple[str, Mapping[str, Any]] | None:
        with self._lock:
            if not self._waiting:
                return None
            name, document, size = self._waiting.popleft()
            self._size -= size
            return name, document

    def _work(self) -> None:
        while True:
            over = self.over.wait(LOOK_S)
            while (item := self._next()) is not None:
                try:
                    self._observer(*item)
                except Exception as error:
                    logging.getLogger("megabar").exception("the observer %s failed", self._name)
                    with self._lock:
                        self._failure = error
                        self._waiting.clear()
                    return
            if over:
                return
