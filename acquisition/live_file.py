"""A NeXus file of a run that goes on, for viewers: it follows the journal, and is thrown away for the final one.

It is written in SWMR mode, in which nothing new may be declared. For a new stream, or a new file of frames, the file is
made anew under another name and takes the place of the old one; a viewer that has that open keeps it as it was.
"""

import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .lines import FRAMES
from .nexus import TEXT, field, group, valid_name
from .run import Line

BATCH_EVENTS = 100
BATCH_S = 1.0
"""A batch is written when there are so many new events, or so much time has gone by."""
LARGEST = 4096
"""Keys of more numbers per event are left out, but for those whose arrays are frames."""


class _Live:
    """One stream: its numbers, what of them is not written yet, and where its frames are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.units: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.frames: dict[str, str] = {}
        self.pending: list[dict[str, Any]] = []

    def declare(self, data_keys: dict[str, Any]) -> None:
        for key, said in data_keys.items():
            shape = tuple(said.get("shape") or ())
            numeric = said.get("dtype") in ("number", "integer", "boolean", "array") and not said.get("external")
            new = key not in self.shapes and valid_name(key) not in map(valid_name, (*self.shapes, "time", "seq_num"))
            if new and numeric and all(isinstance(n, int) and n > 0 for n in shape) and np.prod(shape) <= LARGEST:
                self.shapes[key] = shape
                self.units[key] = str(said.get("units") or "")

    def signal(self, figures: list[dict[str, str]]) -> str:
        """The key that a figure shows, or the first one with an error, or the first one."""
        shown = [figure["y"] for figure in figures if figure["stream"] == self.name and figure["y"] in self.shapes]
        measured = [key for key in self.shapes if f"{key}_error" in self.shapes]
        return next(iter(shown + measured + list(self.shapes)), "")


class LiveFile:
    """Takes the lines of a journal in their order and keeps `file` up to date with them.

    Numbers are float64, NaN where an event has none. Frames are linked, not copied.
    """

    def __init__(self, file: Path) -> None:
        self._file = Path(file)
        self._part = self._file.with_name(self._file.name + ".part")
        self._root: h5py.File | None = None
        self._streams: dict[str, _Live] = {}
        self._of_descriptor: dict[str, _Live] = {}
        self._figures: list[dict[str, str]] = []
        self._keys: dict[str, str] = {}
        self._resources: dict[str, str] = {}
        self._zero: float | None = None
        self._outdated = False
        self._written = time.monotonic()

    def take(self, line: Line) -> None:
        """Take one line of the journal."""
        doc = line.doc
        match line.name:
            case "start":
                self._figures = list(doc.get("figures", ()))
            case "descriptor":
                name = doc.get("name") or "primary"
                live = self._of_descriptor[doc["uid"]] = self._streams.setdefault(name, _Live(name))
                live.declare(doc["data_keys"])
                self._outdated = True
            case "event" if doc["descriptor"] in self._of_descriptor:
                stamp = max(doc["timestamps"].values(), default=doc["time"])
                self._zero = stamp if self._zero is None else self._zero
                row = {"time": stamp - self._zero, "seq_num": doc["seq_num"], **doc["data"]}
                self._of_descriptor[doc["descriptor"]].pending.append(row)
            case "stream_resource":
                self._resources[doc["uid"]], self._keys[doc["uid"]] = doc["uri"], doc["data_key"]
            case "stream_datum" if doc["indices"]["start"] == 0 and doc["descriptor"] in self._of_descriptor:
                uid = doc["stream_resource"]
                if self._resources.get(uid, "").startswith(f"{FRAMES}/"):
                    self._of_descriptor[doc["descriptor"]].frames[self._keys[uid]] = self._resources[uid]
                    self._outdated = True

    def write_due(self) -> None:
        """Write what has come, when that is enough, or long ago. Raises OSError."""
        pending = sum(len(live.pending) for live in self._streams.values())
        since = time.monotonic() - self._written
        if pending >= BATCH_EVENTS or (since > BATCH_S and (pending or self._outdated)):
            self.write()

    def write(self) -> None:
        """Write what has come. Raises OSError."""
        if self._outdated or self._root is None:
            self._make_anew()
        assert self._root is not None
        for live in self._streams.values():
            if live.pending:
                _append(self._root[f"entry/streams/{valid_name(live.name)}"], live)
        self._written = time.monotonic()

    def close(self) -> None:
        """Close the file and remove it."""
        if self._root is not None:
            self._root.close()
        self._file.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def _make_anew(self) -> None:
        root = h5py.File(self._part, "w", libver="latest")
        root.attrs.update({"NX_class": "NXroot", "default": "entry", "creator": "megabar"})
        entry = group(root, "entry", "NXentry")
        field(entry, "title", "a run that goes on; the final file follows its end")
        streams = group(entry, "streams", "NXcollection")
        shown = [figure["stream"] for figure in self._figures if figure["stream"] in self._streams]
        for live in self._streams.values():
            old = None if self._root is None else self._root.get(f"entry/streams/{valid_name(live.name)}")
            _lay_out(streams, live, live.signal(self._figures), old)
        if default := next(iter(shown + [name for name, live in self._streams.items() if live.shapes]), None):
            entry.attrs["default"], streams.attrs["default"] = "streams", valid_name(default)
        root.swmr_mode = True
        if self._root is not None:
            self._root.close()
        self._part.replace(self._file)
        self._root, self._outdated = root, False


def _lay_out(parent: h5py.Group, live: _Live, signal: str, old: h5py.Group | None) -> None:
    made = group(parent, live.name, "NXdata" if signal else "NXcollection")
    for key, unit in {"time": "s", "seq_num": "", **live.units}.items():
        name, shape = valid_name(key), live.shapes.get(key, ())
        before = old[name][()] if old is not None and name in old else np.empty((0, *shape))
        n = 0 if old is None else len(old["time"])
        column = made.create_dataset(name, (n, *shape), float, maxshape=(None, *shape), chunks=(256, *shape))
        column[: len(before)] = before
        column[len(before) :] = np.nan
        if unit:
            column.attrs["units"] = unit
    for key, file in live.frames.items():
        made[valid_name(key)] = h5py.ExternalLink(file, "data")
    if signal:
        made.attrs["signal"] = valid_name(signal)
        made.attrs["axes"] = np.array(["time"] + ["."] * len(live.shapes[signal]), dtype=TEXT)


def _append(made: h5py.Group, live: _Live) -> None:
    n = len(live.pending)
    for key in ("seq_num", *live.shapes, "time"):  # the time last: what has one has the others
        shape = live.shapes.get(key, ())
        rows = np.full((n, *shape), np.nan)
        for row, event in zip(rows.reshape(n, -1), live.pending, strict=True):
            value = event.get(key)
            if value is not None and np.shape(value) == shape and np.asarray(value).dtype.kind in "biuf":
                row[:] = np.reshape(value, -1)
        column = made[valid_name(key)]
        column.resize(len(column) + n, axis=0)
        column[-n:] = rows
        column.flush()
    live.pending.clear()
