"""Mends the journal of a run that ended without saying so: what can be believed stays, the rest is put aside.

Nothing is thrown away. What follows the last good line is first kept in a file of its own, flushed, and only then cut
off; a stop document is added, which says that it is not the engine's. Doing it twice changes nothing more.
"""

import fcntl
import os
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError
from .index import RunSummary, find_runs
from .lines import JOURNAL, seal
from .run import Line, journal_of, lines_and_ends

RECOVERED = "recovered"
"""How the reason of a stop document begins that was written here."""


@dataclass(frozen=True)
class Recovery:
    """What was done to a journal: `aside` is the file that holds what was cut off, `stop` the document that was added.

    Both are None for a journal that was whole.
    """

    journal: Path
    n_frames: int
    aside: Path | None
    stop: dict[str, Any] | None


def recover(path: Path) -> Recovery:
    """Mend the journal of the run in a folder, or the journal itself.

    Raises InputError where there is no journal, its run goes on, or not even its first document can be believed.
    """
    journal = journal_of(path)
    with journal.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{journal}: its run goes on; accepted is a run whose engine has ended") from None
        return _mended(journal, file.fileno())


def unfinished(data: Path, *, verify: bool = True) -> list[Path]:
    """Folders of the runs below a directory that ended without saying so, newest first; `verify` as in `find_runs`.

    Raises InputError.
    """
    runs = find_runs(data, verify=verify)
    return [run.folder for run in runs if run.exit_status in ("unfinished", "damaged") and _is_left(run)]


def _is_left(run: RunSummary) -> bool:
    """Whether nobody writes a run any more."""
    with (run.folder / JOURNAL).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _mended(journal: Path, descriptor: int) -> Recovery:
    trouble: list[str] = []
    told = _Told()
    for line, end in lines_and_ends(journal, trouble.append):
        told.take(line, end)
    if told.last is None or told.run_uid is None:
        raise InputError(f"{journal}: no run begins here: {trouble[0] if trouble else 'it has no start document'}")
    aside = _put_aside(journal, descriptor, told.end) if trouble else None
    stop = None
    if not told.stopped:
        stop = told.stop_document(trouble[0] if trouble else "")
        last = {"seq": told.last.seq + 1, "wall": time.time(), "clock": told.last.clock, "name": "stop", "doc": stop}
        _write(descriptor, told.end, seal(last))
    return Recovery(journal, told.last.seq + 1, aside, stop)


class _Told:
    """What the good lines of a journal tell of its run."""

    def __init__(self) -> None:
        self.last: Line | None = None
        self.end = 0
        self.run_uid: str | None = None
        self.stopped = False
        self._streams: dict[str, str] = {}
        self._n_events: Counter[str] = Counter()

    def take(self, line: Line, end: int) -> None:
        if self.run_uid is None and line.name != "start":
            return
        self.last, self.end = line, end
        match line.name:
            case "start":
                self.run_uid = line.doc["uid"]
            case "descriptor":
                self._streams[line.doc["uid"]] = name = line.doc.get("name") or "primary"
                self._n_events.setdefault(name, 0)
            case "event":
                self._n_events[self._streams.get(line.doc["descriptor"], "")] += 1
            case "stop":
                self.stopped = True

    def stop_document(self, trouble: str) -> dict[str, Any]:
        """The stop that the engine did not write; its time is that of the last line."""
        assert self.last is not None
        return {
            "uid": str(uuid.uuid4()),
            "run_start": self.run_uid,
            "time": self.last.wall,
            "exit_status": "fail",
            "reason": f"{RECOVERED}: the engine ended without a stop document{f'; {trouble}' if trouble else ''}",
            "num_events": dict(self._n_events),
        }


def _put_aside(journal: Path, descriptor: int, end: int) -> Path:
    """Keep what follows `end` in a new file, on the disk, then cut it off."""
    tail = os.pread(descriptor, os.fstat(descriptor).st_size - end, end)
    number = 1
    while True:
        aside = journal.with_name(f"{journal.name}.tail-{number}")
        try:
            kept = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            break
        except FileExistsError:
            if aside.read_bytes() == tail:  # of a recovery that was itself cut short
                kept = os.open(aside, os.O_WRONLY)
                break
            number += 1
    try:
        _write(kept, 0, tail)
    finally:
        os.close(kept)
    folder = os.open(journal.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    return aside


def _write(descriptor: int, offset: int, data: bytes) -> None:
    """Write all of `data` and wait until it is on the disk."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
    os.fsync(descriptor)
