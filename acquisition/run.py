"""Reads a run back from its journal: the longest prefix whose every bit is right, and what was left out, by name."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .columns import ArrayStack, Events
from .errors import InputError
from .frame_files import FrameFiles
from .lines import FRAMES, JOURNAL, Stored, decode, unseal

TAIL_BYTES = 1 << 20
"""So much of a journal is read at once while it is followed."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a journal: number, wall time (s since 1970), the run's own clock (s), name and document."""

    seq: int
    wall: float
    clock: float
    name: str
    doc: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """What a journal holds beside documents: its kind, wall time (s since 1970), the run's own clock (s), content."""

    kind: str
    wall: float
    clock: float
    content: dict[str, Any]


@dataclass(frozen=True)
class Stream:
    """One stream of a run, n events in the order of their sequence numbers.

    `time` (n,) s is the time stamp of each event's newest reading, simulated time in a simulated run; `wall` (n,) s
    the wall time of the document. `data` maps a data key to an ndarray (n, ...) or, for large arrays, an `ArrayStack`
    that reads them on demand. `timestamps` maps it to (n,) s, `units` to its unit ("" when none was declared).
    """

    name: str
    descriptor: dict[str, Any]
    seq_num: np.ndarray
    time: np.ndarray
    wall: np.ndarray
    data: Mapping[str, np.ndarray | ArrayStack]
    timestamps: Mapping[str, np.ndarray]
    units: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.seq_num)

    @property
    def configuration(self) -> dict[str, Any]:
        """What the devices of the stream said once, when it was declared: {key: value}."""
        devices = self.descriptor.get("configuration", {}).values()
        return {key: value for device in devices for key, value in device["data"].items()}


@dataclass(frozen=True)
class Run:
    """A run as its journal tells it. `stop` is None for one that was cut short, `truth` for one that was not simulated.

    `torn` says what of the journal's end could not be believed ("" when everything could), `damaged` which events are
    left out because their arrays are not there or not what was written. `notes` are in the order of the journal.
    """

    journal: Path
    start: dict[str, Any]
    stop: dict[str, Any] | None
    truth: dict[str, Any] | None
    streams: Mapping[str, Stream]
    torn: str = ""
    damaged: tuple[str, ...] = field(default=())
    notes: tuple[Note, ...] = field(default=())

    @property
    def uid(self) -> str:
        """The run's identifier."""
        return str(self.start.get("uid", ""))

    @property
    def experiment(self) -> str:
        """The experiment's name, or the plan's when none was given."""
        return str(self.start.get("experiment") or self.start.get("plan_name", ""))

    @property
    def exit_status(self) -> str:
        """`success`, `abort`, `fail`, or `unfinished` when the journal ends without saying."""
        return str(self.stop["exit_status"]) if self.stop else "unfinished"

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """The final results: {name: {value, error, systematic, unit}}; empty when the run did not get that far."""
        stream = self.streams.get("results")
        if stream is None or not len(stream):
            return {}
        last = {key: column[-1] for key, column in stream.data.items()}
        return {
            name: {
                "value": float(value),
                "error": float(last[f"{name}_error"]),
                "systematic": float(last.get(f"{name}_systematic", np.nan)),
                "unit": stream.units[name],
            }
            for name, value in last.items()
            if f"{name}_error" in last
        }


def read_run(path: Path, *, verify: bool = True) -> Run:
    """The run in a folder, or whose journal (or any file beside it) is `path`.

    `verify` compares every large array with its checksum and leaves out the events whose arrays fail; without it they
    are believed, if they are there at all. A torn journal opens up to its last good line.

    Raises InputError when there is no journal or not even its first document can be read.
    """
    journal = journal_of(path)
    files = FrameFiles(journal.parent)
    reader = _Reader(files, verify)
    trouble: list[str] = []
    for line in lines(journal, trouble.append):
        reader.take(line)
    if reader.start is None:
        raise InputError(f"{journal}: no run begins here: {trouble[0] if trouble else 'the file is empty'}")
    reader.finish()
    streams = {name: events.stream_fields(files) for name, events in reader.streams.items()}
    return Run(
        journal,
        reader.start,
        reader.stop,
        reader.truth,
        {name: Stream(name, **fields) for name, fields in streams.items()},
        "; ".join(trouble),
        tuple(reader.damaged),
        tuple(reader.notes),
    )


def journal_of(path: Path) -> Path:
    """The journal that a folder, a journal or a file beside one stands for. Raises InputError."""
    path = Path(path)
    journal = path / JOURNAL if path.is_dir() else path if path.name == JOURNAL else path.with_name(JOURNAL)
    if journal.is_symlink():
        raise InputError(f"{journal} is a link; accepted is the journal itself, in the folder of its run")
    if not journal.is_file():
        raise InputError(f"{path}: no journal ({JOURNAL}) is here")
    return journal


def has_begun(folder: Path) -> bool:
    """Whether anything was recorded in the folder of a run."""
    journal = folder / JOURNAL
    return journal.exists() and journal.stat().st_size > 0


def lines(journal: Path, trouble: Callable[[str], None] = lambda _: None) -> Iterator[Line]:
    """Lines of a journal up to the first that is damaged or out of order.

    `trouble` is told in one line what is left out.
    """
    for line, _ in lines_and_ends(journal, trouble):
        yield line


def lines_and_ends(journal: Path, trouble: Callable[[str], None]) -> Iterator[tuple[Line, int]]:
    """As `lines`, each with the byte at which it ends."""
    size = journal.stat().st_size
    end = 0
    with journal.open("rb") as file:
        for expected, text in enumerate(file):
            try:
                line = _line(text, expected)
            except (ValueError, KeyError, TypeError) as error:
                trouble(f"line {expected + 1} at byte {end} {error}; the last {size - end} bytes are left out")
                return
            end += len(text)
            yield line, end


class Tail:
    """Reads a journal while it is being written; a line that is not whole yet, or replaced, is read again."""

    def __init__(self, journal: Path) -> None:
        self._journal = Path(journal)
        self._end = self._next = 0
        self._at_once = TAIL_BYTES

    def lines(self) -> Iterator[Line]:
        """Lines that have come since they were asked for last, not all where there are many."""
        if not self._journal.exists():
            return
        with self._journal.open("rb") as file:
            file.seek(self._end)
            come = file.read(self._at_once)
        longer = len(come) == self._at_once and b"\n" not in come
        self._at_once = 2 * self._at_once if longer else TAIL_BYTES
        for text in come.splitlines(keepends=True):
            try:
                line = _line(text, self._next)
            except (ValueError, KeyError, TypeError):
                return
            self._end += len(text)
            self._next += 1
            yield line


def _line(text: bytes, expected: int) -> Line:
    if not text.endswith(b"\n"):
        raise ValueError("is cut off")
    unsealed = unseal(text[:-1])
    if unsealed is None:
        raise ValueError("does not match its checksum")
    content = decode(unsealed)
    if content["seq"] != expected:
        raise ValueError(f"has number {content['seq']} where {expected} should follow")
    return Line(content["seq"], content["wall"], content["clock"], content["name"], content["doc"])


class _Reader:
    """Sorts documents into start, stop, truth, notes and streams.

    An event whose frames are in a file waits, with those that follow it in its stream, until the end: only then is it
    known where all frames are.
    """

    def __init__(self, files: FrameFiles, verify: bool) -> None:
        self.start: dict[str, Any] | None = None
        self.stop: dict[str, Any] | None = None
        self.truth: dict[str, Any] | None = None
        self.streams: dict[str, Events] = {}
        self.damaged: list[str] = []
        self.notes: list[Note] = []
        self._files = files
        self._verify = verify
        self._of_descriptor: dict[str, Events] = {}
        self._delayed: dict[str, list[dict[str, Any]]] = {}
        self._waiting: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        self._resources: dict[str, dict[str, Any]] = {}
        self._referenced: dict[str, int] = {}

    def take(self, line: Line) -> None:
        doc = line.doc
        match line.name:
            case "event":
                self._event(doc)
            case "descriptor":
                name = doc.get("name") or "primary"
                events = self.streams.setdefault(name, Events(doc))
                events.declare(doc)
                self._of_descriptor[doc["uid"]] = events
            case "stream_resource" if doc["uri"].startswith(f"{FRAMES}/"):
                self._resources[doc["uid"]] = doc
            case "stream_datum" if doc["stream_resource"] in self._resources:
                self._datum(doc)
            case "start" | "stop" | "truth":
                setattr(self, line.name, doc)
            case "note":
                self.notes.append(Note(doc["kind"], line.wall, line.clock, doc["content"]))

    def finish(self) -> None:
        """Put the events that waited into their streams, or name them."""
        for (descriptor, key), waiting in self._waiting.items():
            if waiting:
                for seq_num, stored in self._files.left(descriptor, key, self._referenced):
                    _give(waiting, key, seq_num, stored)
        for name, delayed in self._delayed.items():
            for doc in delayed:
                if faults := self._faults(doc):
                    self.damaged.append(f"{name} event {doc['seq_num']}: {', '.join(faults)}")
                else:
                    self.streams[name].append(doc)

    def _event(self, doc: dict[str, Any]) -> None:
        events = self._of_descriptor.get(doc["descriptor"])
        if events is None:
            self.damaged.append(f"event {doc['uid']} belongs to no stream of this journal")
            return
        # a key that has a time stamp and no value is one of ours whose values are frames
        frames = doc["timestamps"].keys() - doc["data"].keys()
        for key in frames:
            self._waiting.setdefault((doc["descriptor"], key), deque()).append(doc)
        if frames or events.name in self._delayed:
            self._delayed.setdefault(events.name, []).append(doc)
        else:
            events.append(doc)

    def _datum(self, doc: dict[str, Any]) -> None:
        resource, index = self._resources[doc["stream_resource"]], doc["indices"]["start"]
        form = resource["parameters"]
        stored = Stored(resource["uri"], index, form["dtype_numpy"], tuple(form["shape"]), doc["crc32"])
        self._referenced[resource["uri"]] = index + 1
        waiting = self._waiting.get((doc["descriptor"], resource["data_key"]), deque())
        _give(waiting, resource["data_key"], doc["seq_nums"]["start"], stored)

    def _faults(self, doc: dict[str, Any]) -> list[str]:
        missing = sorted(doc["timestamps"].keys() - doc["data"].keys())
        stored = ((key, value) for key, value in doc["data"].items() if isinstance(value, Stored))
        faults = ((key, self._files.fault(value, verify=self._verify)) for key, value in stored)
        return [*(f"{key} was not written" for key in missing), *(f"{key} {fault}" for key, fault in faults if fault)]


def _give(waiting: deque[dict[str, Any]], key: str, seq_num: int, stored: Stored) -> None:
    """Give a frame to the first event of its number; frames come in the order of their events."""
    if any(doc["seq_num"] == seq_num for doc in waiting):
        while (doc := waiting.popleft())["seq_num"] != seq_num:
            pass
        doc["data"][key] = stored
