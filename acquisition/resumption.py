"""Going on with a run that was interrupted: a new run, whose live analyses know what was recorded before.

A plan that can be resumed brings about states and asks its live analyses how far it is. So nothing but documents is
carried over: the analyses take those of the interrupted run, and of the runs that it went on with itself, once each.
"""

import contextlib
import fcntl
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.live.analysis import LiveAnalysis
from .errors import InputError
from .index import find_runs
from .recovery import recover
from .run import Run, Stream, has_begun, read_run

SHORTEST_UID = 6
WENT_ON = "went_on.json"
"""Beside the journal of an interrupted run: which folder keeps the run that has gone on with it."""


@dataclass(frozen=True)
class Resumption:
    """The runs that are gone on with, oldest first; the last one is the one that was interrupted."""

    runs: tuple[Run, ...]

    @property
    def lost(self) -> Run:
        """The run that was interrupted."""
        return self.runs[-1]

    @property
    def settings(self) -> dict[str, Any]:
        """Its parameters by name."""
        return {name: entry["value"] for name, entry in self.lost.start["parameters"].items()}

    @property
    def ended_s(self) -> float:
        """When the last of its readings was taken (s since the epoch)."""
        return max((float(stream.time[-1]) for stream in self.lost.streams.values() if len(stream)), default=0.0)

    def described(self) -> dict[str, Any]:
        """For the start document of the run that goes on."""
        return {
            "run": self.lost.uid,
            "journal": str(self.lost.journal.absolute()),
            "exit_status": self.lost.exit_status,
            "last_reading": self.ended_s,
        }

    @contextlib.contextmanager
    def claimed(self, folder: Path) -> Iterator[None]:
        """The run in `folder` goes on with it: nobody else does meanwhile, nor later. Raises InputError where one has.

        That is written down beside its journal, for the other run may be kept anywhere.
        """
        with self.lost.journal.open("rb") as journal:
            try:
                fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = self.lost.journal.parent
                raise InputError(f"{where}: somebody goes on with it just now; accepted is one at a time") from None
            _check_that_nobody_has(self.lost)
            kept = self.lost.journal.with_name(WENT_ON)
            try:
                kept.write_text(json.dumps({"folder": str(folder.absolute())}) + "\n", encoding="utf-8")
            except OSError as error:
                raise InputError(f"{kept}: who goes on with it cannot be written down ({error.strerror})") from error
            try:
                yield
            finally:
                if not has_begun(folder):
                    kept.unlink(missing_ok=True)

    def replay(self, analyses: Sequence[LiveAnalysis]) -> None:
        """Hand to each analysis what it listens to, in the order in which it was recorded."""
        listened = {name for analysis in analyses for name in analysis.listens}
        for run in self.runs:
            for name, document in _documents(run, listened):
                for analysis in analyses:
                    analysis(name, document)
            for analysis in analyses:
                analysis.interrupted()


def find_interrupted(name: str, data: Path) -> Resumption:
    """The run of that identifier (its beginning will do) below `data`, or in that folder; its journal is mended first.

    Raises InputError where there is no such run, or nothing to go on with.
    """
    run = _ended(_folder_of(name, data))
    if run.exit_status == "success":
        raise InputError(f"{run.journal.parent}: the run has ended well; accepted is one that was interrupted")
    parent = run.journal.parent.parent
    _check_that_nobody_has(run)
    runs = [run]
    while before := runs[0].start.get("resumes"):
        journal = Path(before["journal"])
        runs.insert(0, _ended(journal.parent if journal.exists() else _folder_of(before["run"], parent)))
        if runs[0].uid != before["run"]:
            raise InputError(f"{journal}: run {runs[0].uid} is kept there; accepted is {before['run']}")
    return Resumption(tuple(runs))


def _check_that_nobody_has(run: Run) -> None:
    """Raises InputError where another run has gone on with it."""
    others = find_runs(run.journal.parent.parent, verify=False)
    followers = [other.folder for other in others if other.resumes == run.uid]
    kept = run.journal.with_name(WENT_ON)
    if kept.exists():
        folder = _told_in(kept)
        if not folder.exists():
            raise InputError(
                f"{run.journal.parent}: the run in {folder} has gone on with it, and is there no more; accepted is "
                f"--resume of that one where it is kept now, or of this one without {kept} where it is gone for good"
            )
        followers += [folder] if has_begun(folder) else []
    for follower in followers:
        raise InputError(f"{run.journal.parent}: {follower} has gone on with it; accepted is --resume {follower}")


def _told_in(kept: Path) -> Path:
    try:
        return Path(json.loads(kept.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{kept}: which run has gone on with this one cannot be read ({error})") from error


def _ended(folder: Path) -> Run:
    """The run in a folder, closed if need be. Raises InputError where it goes on."""
    run = read_run(folder)
    if run.stop is None or run.torn:
        recover(folder)
        run = read_run(folder)
    return run


def _folder_of(name: str, data: Path) -> Path:
    with contextlib.suppress(OSError):  # no file can have that name
        if name and Path(name).exists():
            return Path(name)
    runs = find_runs(data) if data.is_dir() and len(name) >= SHORTEST_UID else []
    found = [run for run in runs if run.uid.startswith(name)]
    if len(found) != 1:
        there = f"{len(found)} runs" if found else "no run"
        raise InputError(
            f"--resume {name}: {there} of that name in {data}; accepted is the folder of a run, or the first "
            f"{SHORTEST_UID} letters or more of its identifier"
        )
    return found[0].folder


def _documents(run: Run, listened: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Descriptors and events of streams, the events in the order in which they were written down."""
    events = []
    for name in sorted(listened & run.streams.keys()):
        stream = run.streams[name]
        yield "descriptor", stream.descriptor
        events += [(float(stream.wall[i]), _event(stream, i)) for i in range(len(stream))]
    for _, event in sorted(events, key=operator.itemgetter(0)):
        yield "event", event


def _event(stream: Stream, i: int) -> dict[str, Any]:
    return {
        "descriptor": stream.descriptor["uid"],
        "seq_num": int(stream.seq_num[i]),
        "data": {key: column[i] for key, column in stream.data.items()},
        "timestamps": {key: float(column[i]) for key, column in stream.timestamps.items()},
    }
