"""The page of an irradiation: power against time with the hold, and the energy as it grew."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .page import BLUE, GREEN, GREY, ORANGE, RecordedRun, absent, header


def draw(figure: Figure, run: RecordedRun) -> None:
    """Fill a page; a panel without data says so."""
    header(figure, run, "Irradiation")
    grid = figure.add_gridspec(2, 1, left=0.07, right=0.97, top=0.815, bottom=0.085, hspace=0.32)
    laser = str(run.start.get("roles", {}).get("laser", "laser"))
    streams = [run.streams[name] for name in ("conditions", "hold") if name in run.streams]
    begun_s = min((float(stream.time[0]) for stream in streams if len(stream.time)), default=0.0)
    draw_power(figure.add_subplot(grid[0, 0]), run, laser, begun_s)
    draw_energy(figure.add_subplot(grid[1, 0]), run, begun_s)


def draw_power(axes: Axes, run: RecordedRun, laser: str, begun_s: float) -> None:
    """Every reading of the power, the set current, and the hold with its mean."""
    axes.set_title("Output power by the laser's own monitor")
    power = columns(run, ("conditions", "hold"), f"{laser}_output_power")
    if not np.isfinite(power[1]).any():
        absent(axes, "no power was read")
        return
    axes.plot(power[0] - begun_s, power[1], "o-", ms=3, lw=0.8, color=BLUE, label="power")
    current = columns(run, ("conditions", "hold"), f"{laser}_current")
    axes.plot(current[0] - begun_s, current[1], drawstyle="steps-post", lw=0.8, color=GREY, label="set current (%)")
    time_s = columns(run, ("hold",), f"{laser}_output_power")[0]
    if time_s.size:
        axes.axvspan(time_s[0] - begun_s, time_s[-1] - begun_s, color=GREEN, alpha=0.10, lw=0, label="hold")
    if (mean := run.results.get("power")) is not None:
        error = float(np.hypot(mean["error"], mean["systematic"]))
        edges = (time_s[0] - begun_s, time_s[-1] - begun_s)
        axes.fill_between(edges, mean["value"] - error, mean["value"] + error, color=GREEN, alpha=0.25, lw=0)
    axes.set(xlabel="time (s)", ylabel="power (W), current (%)")
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="upper right")


def draw_energy(axes: Axes, run: RecordedRun, begun_s: float) -> None:
    """Energy since the beginning of the hold, with its systematic band."""
    axes.set_title("Energy since the beginning of the hold")
    stream = run.streams.get("dose")
    if stream is None or not len(stream.time):
        absent(axes, "the laser was not held long enough")
        return
    time_s = np.asarray(stream.time, dtype=float) - begun_s
    energy, systematic = (np.asarray(stream.data[key], dtype=float) for key in ("energy", "energy_systematic"))
    axes.fill_between(time_s, energy - systematic, energy + systematic, color=ORANGE, alpha=0.2, lw=0)
    axes.plot(time_s, energy, color=ORANGE, lw=1.2, label="energy; band: systematic")
    axes.set(xlabel="time (s)", ylabel="energy (J)")
    axes.legend(loc="upper left")


def columns(run: RecordedRun, names: tuple[str, ...], key: str) -> tuple[Any, Any]:
    """Times (n,) and values (n,) of a key in several streams, in the order of time."""
    streams = [run.streams[name] for name in names if name in run.streams and key in run.streams[name].data]
    time_s = np.concatenate([np.asarray(stream.time, dtype=float) for stream in streams] or [np.empty(0)])
    values = np.concatenate([np.asarray(stream.data[key], dtype=float) for stream in streams] or [np.empty(0)])
    order = np.argsort(time_s, kind="stable")
    return time_s[order], values[order]
