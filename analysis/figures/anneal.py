"""The page of an anneal: the thermal history over all its runs, with the interruptions, and time at temperature."""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .page import BLUE, GREEN, GREY, ORANGE, RecordedRun, absent, header

HOUR_S = 3600.0


def draw(figure: Figure, run: RecordedRun) -> None:
    """Fill a page; a panel without data says so."""
    header(figure, run, "Anneal")
    grid = figure.add_gridspec(2, 1, left=0.07, right=0.97, top=0.815, bottom=0.085, hspace=0.32)
    draw_history(figure.add_subplot(grid[0, 0]), run)
    draw_hold_time(figure.add_subplot(grid[1, 0]), run)


def draw_history(axes: Axes, run: RecordedRun) -> None:
    """What the furnace read, and who has read it; between two runs nothing else is known."""
    axes.set_title("Thermal history")
    stream = run.streams.get("history")
    if stream is None or not len(stream.time):
        absent(axes, "the run ended before its history was written")
        return
    time_s, celsius, runs, by_guard = (
        np.asarray(stream.data[f"history_{name}"])[-1] for name in ("time", "temperature", "run", "by_guard")
    )
    hours = (time_s - time_s[0]) / HOUR_S
    engine, guard = by_guard == 0, by_guard == 1
    for number in np.unique(runs):
        axes.plot(hours[engine & (runs == number)], celsius[engine & (runs == number)], color=BLUE, lw=1.0)
    axes.plot([], [], color=BLUE, label="read by the run")
    if guard.any():
        axes.plot(hours[guard], celsius[guard], ".", ms=4, color=ORANGE, label="held, read by the guard")
    for before, after in pairwise(np.unique(runs)):
        last, first = hours[runs == before][-1], hours[engine & (runs == after)][0]
        axes.axvspan(last, first, color=GREY, alpha=0.3, lw=0, label="interrupted" if before == runs[0] else None)
    if "window_start" in (results := run.streams["results"].data if "results" in run.streams else {}):
        window = [(float(np.asarray(results[f"window_{end}"])[-1]) - time_s[0]) / HOUR_S for end in ("start", "stop")]
        axes.axvspan(*window, color=GREEN, alpha=0.10, lw=0, label="hold")
    axes.set(xlabel="time (h)", ylabel="temperature (°C)")
    axes.legend(loc="lower center", ncols=4)


def draw_hold_time(axes: Axes, run: RecordedRun) -> None:
    """Time at temperature as it grew in this run."""
    axes.set_title("Time at temperature, with what was counted before this run")
    stream = run.streams.get("hold")
    if stream is None or not len(stream.time):
        absent(axes, "nothing was read")
        return
    time_s = np.asarray(stream.time, dtype=float)
    axes.plot((time_s - time_s[0]) / HOUR_S, np.asarray(stream.data["hold_time"]) / HOUR_S, color=GREEN, lw=1.2)
    axes.set(xlabel="time in this run (h)", ylabel="time at temperature (h)")
    axes.set_ylim(bottom=0.0)
