"""What goes where in the NeXus file of a run.

Below `/entry`: one NXdata per declared figure, the first of them the default; `streams` with one group per stream;
`results`, `journal_notes` and, for a simulated run, `truth`; sample, user, instrument, parameters, versions,
definitions, the rig's text, and the documents themselves in JSON.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import h5py
import numpy as np

from .columns import ArrayStack
from .curves import Curve, curves, first_time, signal_of
from .index import sample_name
from .nexus import TEXT, clean, field, group, stack, tree, valid_name
from .run import Run, Stream


def lay_out(root: h5py.File, run: Run) -> dict[str, np.ndarray | ArrayStack]:
    """Fill a file; returns path and content of every numeric column, for whoever wants to compare."""
    entry = group(root, "entry", "NXentry")
    _about(entry, run)
    _provenance(entry, run)
    _results(entry, run)
    _truth(entry, run)
    _notes(entry, run)
    streams = group(entry, "streams", "NXcollection")
    zero = first_time(run)
    written: dict[str, np.ndarray | ArrayStack] = {}
    for stream in run.streams.values():
        written |= _stream(streams, stream, zero)
    figures = [_figure(entry, curve) for curve in curves(run)]
    plottable = [name for name, item in streams.items() if "signal" in item.attrs]
    if figures:
        entry.attrs["default"] = figures[0]
    elif plottable:
        entry.attrs["default"], streams.attrs["default"] = "streams", plottable[0]
    return written


def _about(entry: h5py.Group, run: Run) -> None:
    start, stop = run.start, run.stop or {}
    sample = start.get("sample")
    field(entry, "title", start.get("title") or f"{run.experiment}: {sample_name(start)}".rstrip(": "))
    field(entry, "entry_identifier_uuid", run.uid)
    field(entry, "experiment_description", run.experiment)
    field(entry, "start_time", iso(start["time"]))
    if stop:
        field(entry, "end_time", iso(stop["time"]))
    ends = [stream.time[-1] for stream in run.streams.values() if len(stream)]
    field(entry, "duration", round(max(ends, default=0.0) - first_time(run)), "s")
    field(entry, "program_name", "megabar", version=version("megabar"))
    if start.get("operator"):
        field(group(entry, "user", "NXuser"), "name", start["operator"])
    if sample:
        described = group(entry, "sample", "NXsample")
        for name, value in sample.items() if isinstance(sample, Mapping) else [("name", sample)]:
            field(described, name, value if isinstance(value, str | int | float) else _json(value))
    rig = start.get("rig")
    instrument = group(entry, "instrument", "NXinstrument")
    field(instrument, "name", rig.get("name", "") if isinstance(rig, Mapping) else rig)
    if start.get("roles"):
        tree(instrument, "roles", start["roles"], {})


def _provenance(entry: h5py.Group, run: Run) -> None:
    outcome = {"exit_status": run.exit_status, "reason": (run.stop or {}).get("reason", "")}
    status = {**outcome, "torn": run.torn, "damaged": "; ".join(run.damaged)}
    tree(entry, "status", {**status, "simulated": run.start.get("simulated"), "seed": run.start.get("seed")}, {})
    for name in ("versions", "definitions"):
        if run.start.get(name):
            tree(entry, name, run.start[name], {})
    if run.start.get("parameters"):
        _parameters(entry, run.start["parameters"])
    rig = run.start.get("rig")
    if isinstance(rig, Mapping) and "text" in rig:
        _note(entry, "rig", rig["text"], "application/toml", rig.get("sha256"))
    descriptors = {name: stream.descriptor for name, stream in run.streams.items()}
    documents = {"start": run.start, "descriptors": descriptors, "stop": run.stop}
    for name, document in documents.items():
        _note(entry, f"document_{name}", _json(document), "application/json", None)


def _parameters(entry: h5py.Group, parameters: Mapping[str, Any]) -> None:
    listed = group(entry, "parameters", "NXparameters")
    for name, given in parameters.items():
        has_unit = isinstance(given, Mapping) and "value" in given
        value, unit = (given["value"], given.get("unit", "")) if has_unit else (given, "")
        field(listed, name, value if isinstance(value, str | int | float) else _json(value), unit)


def _note(entry: h5py.Group, name: str, text: str, media_type: str, sha256: str | None) -> None:
    note = group(entry, name, "NXnote")
    field(note, "type", media_type)
    field(note, "data", text)
    if sha256:
        field(note, "checksum", sha256)
        field(note, "algorithm", "sha256")


def _results(entry: h5py.Group, run: Run) -> None:
    results = run.results
    if not results:
        return
    made = group(entry, "results", "NXcollection")
    stream = run.streams["results"]
    for key, column in stream.data.items():
        field(made, key, column[-1], stream.units[key])
    table = group(made, "table", "NXcollection")
    field(table, "name", list(results))
    for part in ("value", "error", "systematic", "unit"):
        field(table, part, [row[part] for row in results.values()])


def _truth(entry: h5py.Group, run: Run) -> None:
    if run.truth is None:
        return
    units = {key: unit for stream in run.streams.values() for key, unit in stream.units.items()}
    values = run.truth.get("values", {})
    rest = {name: value for name, value in run.truth.items() if name != "values"}
    tree(entry, "truth", {**values, **rest}, units)


def _notes(entry: h5py.Group, run: Run) -> None:
    if not run.notes:
        return
    table = group(entry, "journal_notes", "NXcollection")  # `notes` is a single note in NeXus
    field(table, "kind", [note.kind for note in run.notes])
    field(table, "wall_time", [note.wall for note in run.notes], "s")
    field(table, "clock", [note.clock for note in run.notes], "s")
    field(table, "content", [_json(note.content) for note in run.notes])


def _stream(parent: h5py.Group, stream: Stream, zero: float) -> dict[str, np.ndarray | ArrayStack]:
    signal = signal_of(stream) if len(stream) else None
    made = group(parent, stream.name, "NXdata" if signal else "NXcollection")
    field(made, "time", stream.time - zero, "s", long_name="time since the first event", epoch=zero)
    field(made, "seq_num", stream.seq_num)
    field(made, "wall_time", stream.wall, "s")
    written = {key: _column(made, key, column, stream.units[key]) for key, column in stream.data.items()}
    for key in stream.data:
        if f"{key}_error" in written:
            written[key].attrs["uncertainties"] = _last(written[f"{key}_error"])
    if signal:
        made.attrs["signal"] = _last(written[signal])
        made.attrs["axes"] = np.array(["time"] + ["."] * (stream.data[signal].ndim - 1), dtype=TEXT)
    if stream.configuration:
        _note(made, "configuration", _json(stream.configuration), "application/json", None)
    return {written[key].name: column for key, column in stream.data.items() if column.dtype.kind in "iuf"}


def _column(parent: h5py.Group, key: str, column: np.ndarray | ArrayStack, unit: str) -> Any:
    if isinstance(column, ArrayStack):
        return stack(parent, key, column, unit)
    if column.dtype.kind != "O":
        return field(parent, key, column, unit)
    if not all(isinstance(value, np.ndarray) for value in column):
        return field(parent, key, [_json(value) for value in column])
    rows = group(parent, key, "NXcollection")  # arrays of different shapes
    for number, value in enumerate(column):
        field(rows, f"event_{number:06d}", value, unit)
    return rows


def _figure(entry: h5py.Group, curve: Curve) -> str:
    x, y = valid_name(curve.x_name), valid_name(curve.y_name)
    made = group(entry, curve.title.lower(), "NXdata", signal=y, axes=np.array([x], dtype=TEXT))
    made.attrs.pop("recorded_as", None)
    field(made, "title", curve.title)
    for name, values, error, unit, said in (
        (x, curve.x, curve.x_error, curve.x_unit, curve.x_name),
        (y, curve.y, curve.y_error, curve.y_unit, curve.y_name),
    ):
        label = said.replace("_", " ") + (f" ({unit})" if unit else "")
        field(made, name, values, unit, long_name=clean(label), note=curve.note or None if name == x else None)
        field(made, f"{name}_errors", error, unit)
    return _last(made)


def _last(made: h5py.Group | h5py.Dataset) -> str:
    return str(made.name).rsplit("/", 1)[-1]


def iso(seconds: float) -> str:
    """A moment (s since 1970) in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda item: item.tolist() if hasattr(item, "tolist") else str(item))
