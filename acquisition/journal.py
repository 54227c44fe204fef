"""The journal: every document of a run goes to disk, in order, before anyone else sees it.

The folder of a run holds `run.journal`, one sealed line per document (`lines`), and in files beside it the large
arrays (`frame_streams`). All are only ever appended to; everything else about a run can be made again from them (`run`
reads them). What is promised: the death of the process loses no document that the engine has seen accepted; loss of
power loses at most the last 0.1 s of scalar events and the frames that the writer has not confirmed (none of either
with `durability="event"`), on a disk that honours a flush; a disk that is full keeps no run from saying how it ended.
"""

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import event_model
import numpy as np
from jsonschema import ValidationError

from .disk import RESERVE_BYTES, Reserve, check_disk, free_bytes
from .errors import InputError
from .frame_counters import FrameCounters
from .frame_streams import FrameStreams
from .lines import JOURNAL, Unwritable, encode, seal

COMMIT_S = 0.1
"""Scalar events wait at most this long for their flush to disk."""
FLUSHED_AT_ONCE = frozenset(("start", "descriptor", "stop", "truth", "note"))
BETWEEN = frozenset(("note", "stream_resource", "stream_datum"))
"""Lines that say nothing of how far a run has come."""
ENDING = "safety"
"""The stream that says how a run was made safe: when it is declared, the run is ending."""
FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class Clock(Protocol):
    """Whatever says the run's own time; in simulation that is simulated time."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class JournalError(RuntimeError):
    """The run must stop: its journal cannot be written, or something that belongs into it is missing."""


class DiskFull(OSError):
    """There is no room for what should be appended; the file is as it was before."""


class AppendOnlyFile:
    """A new file that is only ever appended to, without a buffer of its own."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.name = path.name
        self._descriptor = os.open(path, flags, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # for as long as somebody writes it: recovery keeps off
        self.size = 0

    def fileno(self) -> int:
        """The descriptor, which holds the lock."""
        return self._descriptor

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end.

        Raises DiskFull where there is no room for it: what was written of it is cut off again, so that it hides nothing
        that follows. Raises OSError for every other reason, after which the file may end in a part of it.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            if error.errno not in FULL:
                raise
            os.ftruncate(self._descriptor, self.size)
            raise DiskFull(error.errno, error.strerror) from error
        self.size += len(data)

    def flush(self) -> None:
        """Wait until everything appended so far is on the disk. Raises OSError."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the file back to the system."""
        os.close(self._descriptor)


class Journal:
    """Records the documents of one run; subscribe it to the RunEngine before anything else.

    Parameters: `folder` of the run, made when it is not there; `clock`, stamped into every line beside the wall time;
    `durability`, "group" (flush at most 0.1 s later) or "event" (flush before the engine goes on).

    Raises FileExistsError when the folder has a journal already, InputError for a folder on the network or a disk with
    too little room. Called with a document it raises ValueError, naming the key, for one that could not be read back,
    and JournalError when the disk refuses it, then and ever after.

    Other troubles leave a journal that can be written. The document is recorded and JournalError raised once, so that
    the run stops; what its end has to say follows: when the disk is full (the reserve is freed then), when a counter of
    frames shows a gap, when the process that writes frames has failed. When the run is ending anyway, with the stream
    `safety` or its stop document, a full disk raises nothing. After a trouble no stop says success: it is recorded as
    `fail` with the reason, and JournalError raised.
    """

    def __init__(self, folder: Path, clock: Clock, *, durability: Literal["group", "event"] = "group") -> None:
        folder = Path(folder)
        check_disk(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / JOURNAL
        self._clock = clock
        self._each_event = durability == "event"
        self._lines = AppendOnlyFile(self.path)
        self._frames = FrameStreams(folder, self._refer, self._complain, self._lines.fileno())
        self._counters = FrameCounters()
        _flush_folder(folder)
        self._reserve = Reserve(folder)
        self._recording = threading.Lock()
        self._next = 0
        self._last = ""
        self._closed = self._ending = False
        self._failure: BaseException | None = None
        self._trouble = self._untold = ""
        self._unflushed = self._low = False
        self._closing = threading.Event()
        self._committer: threading.Thread | None = None

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Record one document."""
        self._require_usable()
        if self._last in ("", "stop", "truth") and (name != "start" or self._last):
            raise ValueError(
                f"{self.path}: a {name} document cannot follow {self._last or 'nothing'}; one run per journal"
            )
        spoilt = False
        frames: dict[str, np.ndarray] = {}
        match name:
            case "event_page":
                for event in event_model.unpack_event_page(cast(event_model.EventPage, doc)):
                    self("event", cast(dict[str, Any], event))
                return
            case "descriptor":
                self._counters.declared(doc)
                doc = self._frames.declared(doc)
            case "event":
                if gap := self._counters.gap(doc):
                    self._complain(gap)
                doc, frames = self._frames.split(doc)
            case "stop":
                self._frames.finish()
                if spoilt := bool(self._trouble) and doc["exit_status"] == "success":
                    doc = {**doc, "exit_status": "fail", "reason": self._trouble}
        self._record(name, doc)
        if name == "start":
            self._committer = threading.Thread(target=self._commit, name=f"journal {self.path}", daemon=True)
            self._committer.start()
        elif name == "stop":
            self._end_committer()
            if spoilt:
                raise JournalError(f"{self.path}: {self._trouble}; the run is no success")
        if frames:
            self._frames.hand_over(doc, frames)
            if self._each_event:
                self._frames.settle()
        self._tell()

    def append_truth(self, truth: Mapping[str, Any]) -> None:
        """Add what a simulated world knows to be true. Raises ValueError before the stop document."""
        self._require_usable()
        if self._last != "stop":
            raise ValueError(f"{self.path}: truth follows the stop document, not {self._last or 'nothing'}")
        self._record("truth", truth)
        self._tell()

    def note(self, kind: str, content: Mapping[str, Any]) -> None:
        """Add what is no document of Bluesky, such as the change of a hazard; it is on the disk when this returns.

        Raises ValueError before the start document and after the stop, where only the kind "guard" is accepted; what
        calling with a document raises, too.
        """
        self._require_usable()
        if not self._last or (self._last in ("stop", "truth") and kind != "guard"):
            raise ValueError(f"{self.path}: a {kind} note belongs between start and stop; only guard notes may follow")
        self._record("note", {"kind": kind, "content": content})
        self._tell()

    def close(self) -> None:
        """Let the last frames be written, close the file and free the reserve; harmless when it is closed."""
        if self._closed:
            return
        self._frames.finish()
        self._closed = True
        self._end_committer()
        self._lines.close()
        self._reserve.free()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_usable(self) -> None:
        if self._failure is not None or self._closed:
            raise JournalError(f"{self.path} takes no more documents: {self._failure or 'it is closed'}")

    def _record(self, name: str, doc: Mapping[str, Any]) -> None:
        with self._recording:
            try:
                full = self._append_or_make_room(name, doc)
            except Unwritable as error:
                error.keys.append(name)
                raise
            except BaseException as error:  # an interrupt in the middle of a line spoils the file as a broken disk does
                self._failure = error
                raise JournalError(f"{self.path}: {name} document not recorded: {error}; the run must stop") from error
            if name not in BETWEEN:
                self._last = name
            self._ending = self._ending or name == "stop" or (name == "descriptor" and doc.get("name") == ENDING)
        if full is not None and not self._ending:
            self._complain(f"{full}; the reserve is in use")

    def _refer(self, name: str, doc: Mapping[str, Any]) -> None:
        """Record where a frame is; in the thread that hears of it."""
        if self._failure is None:
            with contextlib.suppress(JournalError):  # the next document raises it
                self._record(name, doc)

    def _complain(self, trouble: str) -> None:
        """Remember why the run may not go on; the first trouble is the reason."""
        self._trouble = self._trouble or trouble
        self._untold = self._untold or trouble

    def _tell(self) -> None:
        """Raise what has not been told."""
        if self._untold and not self._ending:
            trouble, self._untold = self._untold, ""
            raise JournalError(f"{self.path}: {trouble}; the run must stop")

    def _append_or_make_room(self, name: str, doc: Mapping[str, Any]) -> DiskFull | None:
        """Append a document; returns why the reserve had to be freed for it."""
        try:
            if self._low and not self._reserve.freed:
                raise DiskFull(errno.ENOSPC, f"less than {RESERVE_BYTES >> 20} MiB are free")
            self._append(name, doc)
        except DiskFull as full:
            if not self._reserve.free():
                raise
            self._each_event = True
            self._append(name, doc)
            return full
        return None

    def _append(self, name: str, doc: Mapping[str, Any]) -> None:
        encoded = encode(doc)
        line = {"seq": self._next, "wall": time.time(), "clock": self._clock.monotonic(), "name": name, "doc": encoded}
        self._lines.append(seal(line))
        self._next += 1
        if self._each_event or name in FLUSHED_AT_ONCE:
            self._lines.flush()
        else:
            self._unflushed = True

    def _commit(self) -> None:
        while not self._closing.wait(COMMIT_S):
            try:
                if self._unflushed:
                    self._unflushed = False
                    self._lines.flush()
                self._low = self._low or free_bytes(self.path.parent) < RESERVE_BYTES
            except OSError as error:
                self._failure = error  # the next document raises
                return

    def _end_committer(self) -> None:
        self._closing.set()
        if self._committer is not None:
            self._committer.join()


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata that journal or engine could not hold, before the run begins and anything is switched on.

    Raises InputError, one line that names the path of keys, for sets, objects, keys that are no text, arrays above 1
    kB, numbers that are not finite, text that is no Unicode, and whatever a start document may not contain.
    """
    try:
        encoded = encode(metadata)
        for keys, reason in _blemishes(encoded, ()):
            raise Unwritable(reason, keys)
        document = {**metadata, "uid": "", "time": 0.0}
        event_model.schema_validators[event_model.DocumentNames.start].validate(document)
    except Unwritable as error:
        error.keys.append("metadata")
        raise InputError(str(error)) from None
    except ValidationError as error:
        path = ".".join(str(key) for key in ("metadata", *error.absolute_path))
        raise InputError(f"{path} does not fit a start document: {error.message:.200}") from None


def _blemishes(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str) and not _is_unicode(value):
        yield keys, f"is {value!a:.40}; text must be valid Unicode"
    elif isinstance(value, dict):
        if set(value) == {"$float"}:
            yield keys, f"is {value['$float']}; a finite number is needed"
            return
        if "$base64" in value:
            yield keys, f"is an array of shape {value['shape']} ({value['dtype']}); at most 1 kB fits into metadata"
            return
        for name, item in value.items():
            if not name or set(name) & set("./") or not _is_unicode(name):
                yield keys, f"has the key {name!a:.40}; keys must be Unicode text without '.' and '/'"
            elif not keys and name in ("uid", "time"):
                yield keys, f"has the key {name!a}, which the engine sets itself"
            yield from _blemishes(item, keys if name == "$array" else (*keys, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _blemishes(item, (*keys, str(index)))


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
