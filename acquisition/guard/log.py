"""What the guard writes down: events at once, and the last minute of readings around every trip."""

import collections
import contextlib
import json
import os
import time
from typing import Any

AROUND_S = 60.0
"""How much before and after a trip is written down of every reading."""


def now() -> float:
    """Seconds that also count while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Log:
    """A file of JSON lines that is only appended to. No disk ever stops a trip: what cannot be written is lost."""

    def __init__(self, path: str) -> None:
        self._descriptor = -1
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
        self._samples: collections.deque[tuple[float, str, Any]] = collections.deque()
        self._until = 0.0

    def write(self, what: str, **more: Any) -> None:
        """One line: what happened, with both clocks."""
        line = json.dumps({"what": what, "boottime": now(), "wall": time.time(), **more}) + "\n"
        with contextlib.suppress(OSError):
            os.write(self._descriptor, line.encode())

    def close(self) -> None:
        """Give the file back to the system."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def sample(self, name: str, value: Any) -> None:
        """A reading, or a command that has passed: kept for a minute, written where a trip is near."""
        moment = now()
        if moment < self._until:
            self.write("sample", name=name, value=value)
            return
        self._samples.append((moment, name, value))
        while self._samples and self._samples[0][0] < moment - AROUND_S:
            self._samples.popleft()

    def around(self) -> None:
        """A trip: write the last minute, and the next."""
        samples, self._samples = list(self._samples), collections.deque()
        self._until = now() + AROUND_S
        self.write("before the trip", samples=samples)
