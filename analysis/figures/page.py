"""What the one-page pictures of all experiments share: header, errors, and what a picture may ask of a run."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PAGE_INCH = (11.69, 8.27)
"""A4, landscape."""
BLUE, ORANGE, GREEN, GREY = "#1f5f99", "#d1731a", "#2e8b57", "#8a8a8a"
STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.direction": "out",
    "ytick.direction": "out",
}
"""Settings of matplotlib for every page."""


class RecordedStream(Protocol):
    """A stream of a run: arrays with one row per event, by data key."""

    @property
    def time(self) -> Floats:
        """Time stamps (n,) in s."""
        ...

    @property
    def data(self) -> Mapping[str, Any]:
        """Columns (n, ...)."""
        ...

    @property
    def configuration(self) -> Mapping[str, Any]:
        """What the devices said once."""
        ...


class RecordedRun(Protocol):
    """A run as a picture sees it: never its simulated truth."""

    @property
    def start(self) -> Mapping[str, Any]:
        """The start document."""
        ...

    @property
    def streams(self) -> Mapping[str, RecordedStream]:
        """Streams by name."""
        ...

    @property
    def results(self) -> Mapping[str, Mapping[str, Any]]:
        """Final results: value, error, systematic, unit."""
        ...

    @property
    def uid(self) -> str:
        """The run's identifier."""
        ...

    @property
    def exit_status(self) -> str:
        """How it ended."""
        ...


def header(figure: Figure, run: RecordedRun, title: str) -> None:
    """Title, date, identity and the final results with their errors, at the top of the page."""
    start = run.start
    sample = start.get("sample", "")
    name = sample.get("name", "") if isinstance(sample, Mapping) else sample
    figure.text(0.06, 0.965, ": ".join(part for part in (title, str(name)) if part), size=15, weight="bold", va="top")
    when = f"{datetime.fromtimestamp(float(start['time']), UTC):%Y-%m-%d %H:%M} UTC"
    seed = start.get("seed")
    origin = "simulated" + (f", seed {seed}" if seed is not None else "") if _is_rehearsal(start) else ""
    identity = " · ".join(part for part in (when, f"run {run.uid[:8]}", run.exit_status, origin) if part)
    figure.text(0.97, 0.962, identity, size=9, va="top", ha="right", color=GREY)
    rows = [f"{quantity_name(key)}  {quantity_text(row)}" for key, row in run.results.items()]
    text = rows or ["no final results: the run ended before there were any"]
    for column in range(3):
        lines = text[column::3]
        figure.text(0.06 + 0.31 * column, 0.918, "\n".join(lines), size=9.5, va="top", linespacing=1.5)
    if rows:
        figure.text(0.97, 0.862, "value ± statistical ± systematic", size=7.5, va="top", ha="right", color=GREY)


def quantity_name(key: str) -> str:
    """A data key as words."""
    return key.replace("_", " ")


def quantity_text(row: Mapping[str, Any]) -> str:
    """A result with both its errors; digits beyond a tenth of the whole error say nothing and are left out."""
    value, error, systematic = (float(row[part]) for part in ("value", "error", "systematic"))
    unit = f" {row['unit']}" if row["unit"] else ""
    whole = math.hypot(*(size for size in (error, systematic) if math.isfinite(size)))
    if not math.isfinite(value) or whole == 0.0:
        return f"{value:.4g}{unit}"
    power = math.floor(math.log10(abs(value))) if value and not 1e-2 <= abs(value) < 1e4 else 0
    scale = 10.0**power
    digits = max(0, 1 - math.floor(math.log10(whole / scale)))
    text = f"{value / scale:.{digits}f} ± {_part(error / scale, digits)} ± {systematic / scale:.{digits}f}"
    return f"({text})·10$^{{{power}}}${unit}" if power else f"{text}{unit}"


def _part(error: float, digits: int) -> str:
    """A partial error with the digits of the whole one; one that is smaller than they show is said to be so."""
    least = 10.0**-digits
    return f"<{least:.{digits}f}" if 0.0 < error < 0.5 * least else f"{error:.{digits}f}"


def _is_rehearsal(start: Mapping[str, Any]) -> bool:
    return bool(start.get("simulated") or start.get("rehearsal"))


def absent(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, wrap=True)


def label(name: str, unit: str) -> str:
    """An axis label."""
    return f"{quantity_name(name)} ({unit})" if unit else quantity_name(name)
