"""The curves that an experiment declares as its figures, taken from the streams of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .run import Run, Stream


@dataclass(frozen=True)
class Curve:
    """One curve of n points; `x_error` and `y_error` are statistical standard uncertainties, None where not recorded.

    `note` tells how x was brought to the times of y when the two come from different streams.
    """

    title: str
    x_name: str
    y_name: str
    x: np.ndarray
    y: np.ndarray
    x_error: np.ndarray | None
    y_error: np.ndarray | None
    x_unit: str
    y_unit: str
    note: str = ""


def curves(run: Run) -> list[Curve]:
    """Every declared figure that the run has points for; without any, so that there is a plot, its first signal."""
    declared = [_curve(run, figure) for figure in run.start.get("figures", ())]
    found = [curve for curve in declared if curve is not None]
    return found or [curve for stream in run.streams.values() if (curve := _first(run, stream)) is not None][:1]


def first_time(run: Run) -> float:
    """The earliest time stamp (s) of the run's events: the zero of time axes."""
    starts = [stream.time[0] for stream in run.streams.values() if len(stream)]
    return float(min(starts, default=0.0))


def signal_of(stream: Stream) -> str | None:
    """The data key that a stream is about: an image, else the first number with an error, else the first number."""
    numbers = [key for key, column in stream.data.items() if column.dtype.kind in "iuf"]
    images = [key for key in numbers if stream.data[key].ndim == 3 and min(stream.data[key].shape[1:]) > 16]
    measured = [key for key in numbers if f"{key}_error" in stream.data and stream.data[key].ndim == 1]
    return next(iter(images + measured + [key for key in numbers if stream.data[key].ndim == 1] + numbers), None)


def _first(run: Run, stream: Stream) -> Curve | None:
    scalars = [key for key, column in stream.data.items() if column.dtype.kind in "iuf" and column.ndim == 1]
    y = next((key for key in scalars if f"{key}_error" in stream.data), scalars[0] if scalars else None)
    return _curve(run, {"title": stream.name, "stream": stream.name, "x": "time", "y": y}) if y else None


def _curve(run: Run, figure: Mapping[str, str]) -> Curve | None:
    stream = run.streams.get(figure["stream"])
    if stream is None or figure["y"] not in stream.data or stream.data[figure["y"]].ndim != 1:
        return None
    abscissa = _abscissa(run, stream, figure["x"])
    if abscissa is None:
        return None
    x, x_error, x_unit, note = abscissa
    y = np.asarray(stream.data[figure["y"]], dtype=float)
    y_error = stream.data.get(f"{figure['y']}_error")
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any():
        return None
    return Curve(
        figure.get("title", f"{figure['y']} against {figure['x']}"),
        figure["x"],
        figure["y"],
        x[good],
        y[good],
        None if x_error is None else x_error[good],
        None if y_error is None else np.asarray(y_error, dtype=float)[good],
        x_unit,
        stream.units[figure["y"]],
        note,
    )


def _abscissa(run: Run, stream: Stream, key: str) -> tuple[np.ndarray, np.ndarray | None, str, str] | None:
    if key == "time":
        return stream.time - first_time(run), None, "s", ""
    holders = [other for other in run.streams.values() if key in other.data and len(other) and other.name != "results"]
    source = stream if key in stream.data else next(iter(holders), None)
    if source is None or source.data[key].ndim != 1:
        return None
    error = source.data.get(f"{key}_error")
    columns = [np.asarray(column, dtype=float) for column in (source.data[key], error) if column is not None]
    note = ""
    if source is not stream:
        good = np.isfinite(columns[0])
        if not good.any():
            return None
        order = np.argsort(source.time[good], kind="stable")
        columns = [np.interp(stream.time, source.time[good][order], column[good][order]) for column in columns]
        note = f"{key} of stream {source.name}, linear in time between its events"
    return columns[0], columns[1] if error is not None else None, source.units[key], note
