"""The page of a laser heating: temperatures against time, both spectra with their fits, ruby, laser powers."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .page import BLUE, GREEN, GREY, ORANGE, RecordedRun, absent, header

MARGIN_S = 10.0
SIDES = {"upstream": BLUE, "downstream": ORANGE}


def draw(figure: Figure, run: RecordedRun) -> None:
    """Fill a page; a panel without data says so."""
    header(figure, run, "Laser heating")
    grid = figure.add_gridspec(2, 2, left=0.06, right=0.965, top=0.815, bottom=0.085, wspace=0.16, hspace=0.32)
    streams = [stream for stream in run.streams.values() if len(stream.time)]
    begun_s = min((float(stream.time[0]) for stream in streams), default=0.0)
    draw_temperatures(figure.add_subplot(grid[0, 0]), run, begun_s)
    draw_spectra(figure.add_subplot(grid[0, 1]), run)
    draw_power(figure.add_subplot(grid[1, 0]), run, begun_s)
    draw_ruby(figure.add_subplot(grid[1, 1]), run)


def draw_temperatures(axes: Axes, run: RecordedRun, begun_s: float) -> None:
    """Both sides with their statistical errors, and the hold with its mean and systematic band."""
    axes.set_title("Temperature of both sides")
    names = [name for name in ("heating", "hold") if name in run.streams]
    if not names:
        absent(axes, "no thermal radiation was seen")
        return
    for side, colour in SIDES.items():
        time_s, kelvin, error = (
            np.concatenate([np.asarray(column(run, name, key), dtype=float) for name in names])
            for key in (None, f"temperature_{side}", f"temperature_{side}_error")
        )
        axes.errorbar(time_s - begun_s, kelvin, error, fmt="o-", ms=2.5, lw=0.8, color=colour, label=side)
    if (mean := run.results.get("temperature")) is not None and "hold" in names:
        time_s = np.asarray(run.streams["hold"].time, dtype=float) - begun_s
        low, high = (mean["value"] + sign * np.hypot(mean["error"], mean["systematic"]) for sign in (-1, 1))
        axes.fill_between(time_s[[0, -1]], low, high, color=GREEN, alpha=0.25, lw=0, label="hold, whole error")
    axes.set(xlabel="time (s)", ylabel="temperature (K)")
    axes.legend(loc="lower right")


def draw_spectra(axes: Axes, run: RecordedRun) -> None:
    """The last spectra of the hold, or of the heating, and what was fitted."""
    axes.set_title("Thermal radiation, last frame")
    name = next((name for name in ("hold", "heating") if f"{name}_radiance" in _data(run, name)), None)
    if name is None:
        absent(axes, "no thermal radiation was seen")
        return
    nm, radiance, fitted = (
        np.asarray(_data(run, name)[f"{name}_{key}"][-1]) for key in ("wavelength", "radiance", "fitted")
    )
    for number, (side, colour) in enumerate(SIDES.items()):
        axes.plot(nm, 1e-9 * radiance[number], ".", ms=1.5, color=colour, label=side)
        axes.plot(nm, 1e-9 * fitted[number], color="crimson", lw=1.0, label="Planck, grey body" if number else "_")
    axes.set(xlabel="wavelength (nm)", ylabel="radiance (GW/m³/sr)")
    axes.legend(loc="upper left")


def draw_power(axes: Axes, run: RecordedRun, begun_s: float) -> None:
    """Power of both lasers by their own monitors."""
    axes.set_title("Laser power by the lasers' own monitors")
    roles, drawn = run.start.get("roles", {}), False
    for side, colour in SIDES.items():
        power = _data(run, "conditions").get(f"{roles.get(side, side)}_output_power")
        if power is not None and np.isfinite(np.asarray(power, dtype=float)).any():
            time_s = np.asarray(run.streams["conditions"].time, dtype=float) - begun_s
            axes.plot(time_s, power, "o-", ms=2.5, lw=0.8, color=colour, label=side)
            drawn = True
    if not drawn:
        absent(axes, "the lasers gave no power")
        return
    if "heating" in run.streams:
        heated_s = np.asarray(run.streams["heating"].time, dtype=float) - begun_s
        axes.set_xlim(left=heated_s[0] - MARGIN_S)
    axes.set(xlabel="time (s)", ylabel="power (W)")
    axes.legend(loc="upper left")


def draw_ruby(axes: Axes, run: RecordedRun) -> None:
    """The last spectrum of the ruby, with R1 and the pressure of each measurement."""
    axes.set_title("Ruby, last frame")
    data = _data(run, "ruby")
    if "ruby_spectrum_counts" not in data:
        absent(axes, "no ruby was measured")
        return
    nm, counts = (np.asarray(data[f"ruby_spectrum_{key}"][-1], dtype=float) for key in ("wavelength", "counts"))
    axes.step(nm, counts, where="mid", color="black", lw=0.7)
    r1_nm, gpa = float(data["ruby_wavelength"][-1]), float(data["ruby_pressure"][-1])
    axes.axvline(r1_nm, color="crimson", lw=0.9, label=f"R1 {r1_nm:.2f} nm: {gpa:.2f} GPa")
    first = float(data["ruby_pressure"][0])
    axes.axvline(float(data["ruby_wavelength"][0]), color=GREY, lw=0.9, ls="--", label=f"at first: {first:.2f} GPa")
    axes.set(xlabel="wavelength (nm)", ylabel="counts")
    axes.legend(loc="upper left")


def column(run: RecordedRun, name: str, key: str | None) -> Any:
    """A column of a stream; its times without a key."""
    return run.streams[name].time if key is None else run.streams[name].data[key]


def _data(run: RecordedRun, name: str) -> Any:
    return run.streams[name].data if name in run.streams else {}
