"""Which runs are in a data directory: read from both ends of their journals; what lies between is only checked."""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import InputError
from .lines import JOURNAL, decode, unseal


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs; `date` in local time, None when the journal cannot be read.

    `exit_status` is `success`, `abort` or `fail`; `unfinished` without a stop document; `damaged` when not even the
    start document can be read, or a line that others follow cannot be believed.
    """

    uid: str
    date: datetime | None
    experiment: str
    sample: str
    exit_status: str
    folder: Path
    resumes: str = ""
    """The run that it goes on with."""

    @property
    def begun(self) -> str:
        """Date and time to the minute, local; empty when the journal cannot be read."""
        return f"{self.date:%Y-%m-%d %H:%M}" if self.date else ""

    def matches(self, query: str) -> bool:
        """Whether every word of the query occurs in this line, in capitals or not."""
        line = " ".join(
            (self.uid, self.begun, self.experiment, self.sample, self.exit_status, self.folder.name)
        ).casefold()
        return all(word in line for word in query.casefold().split())


def find_runs(data: Path, query: str = "", *, verify: bool = True) -> list[RunSummary]:
    """The runs anywhere below `data`, newest first, that match `query`.

    `verify` compares every line with its checksum, 2 s per GB; without it damage between the ends is not seen.

    Raises InputError when `data` is no directory.
    """
    if not Path(data).is_dir():
        raise InputError(f"{data} is not a directory; the directory that holds the folders of runs is needed")
    journals = [journal for journal in Path(data).rglob(JOURNAL) if not journal.is_symlink()]
    summaries = [summarise(journal, verify=verify) for journal in journals]
    found = [summary for summary in summaries if summary.matches(query)]
    return sorted(found, key=lambda run: (run.date.timestamp() if run.date else 0.0, run.uid), reverse=True)


def summarise(journal: Path, *, verify: bool = True) -> RunSummary:
    """The line of one journal."""
    if not journal.stat().st_size:
        return _damaged(journal)
    with journal.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start = _line(text, 0)
        stop = _last(text, "stop")
        damaged = verify and _damaged_between(text)
    if start is None or start.get("name") != "start":
        return _damaged(journal)
    doc = start["doc"]
    return RunSummary(
        uid=str(doc.get("uid", "")),
        date=datetime.fromtimestamp(doc["time"]).astimezone(),
        experiment=str(doc.get("experiment") or doc.get("plan_name", "")),
        sample=sample_name(doc),
        exit_status="damaged" if damaged else str(stop["doc"].get("exit_status", "")) if stop else "unfinished",
        folder=journal.parent,
        resumes=str(doc.get("resumes", {}).get("run", "")),
    )


def sample_name(start: Mapping[str, Any]) -> str:
    """The name of the sample in a start document, where `sample` is text or a mapping with a `name`."""
    sample = start.get("sample", "")
    return str(sample.get("name", "")) if isinstance(sample, Mapping) else str(sample)


def _damaged(journal: Path) -> RunSummary:
    return RunSummary("", None, "", "", "damaged", journal.parent)


def _damaged_between(text: mmap.mmap) -> bool:
    """Whether a line that others follow is not what was written, or not the one that should be there."""
    size = len(text)
    for number, line in enumerate(iter(text.readline, b"")):
        if text.tell() == size and not line.endswith(b"\n"):
            return False  # it is cut off, or being written
        unsealed = unseal(line[:-1])
        if unsealed is None or not unsealed.startswith(b'{"seq":%d,' % number):
            return text.tell() < size
    return False


def _line(text: mmap.mmap, begin: int) -> dict[str, Any] | None:
    end = text.find(b"\n", begin)
    unsealed = unseal(text[begin:end]) if end >= 0 else None
    content = decode(unsealed) if unsealed is not None else None
    return content if isinstance(content, dict) else None


def _last(text: mmap.mmap, name: str) -> dict[str, Any] | None:
    # A document may contain the same words, so what is found must also be a whole line of that name.
    mark = f'"name":"{name}"'.encode()
    found = text.rfind(mark)
    while found >= 0:
        begin = text.rfind(b"\n", 0, found) + 1
        line = _line(text, begin)
        if line is not None and line.get("name") == name:
            return line
        found = text.rfind(mark, 0, begin) if begin else -1
    return None
