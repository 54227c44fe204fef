"""The page of a deformation run: stress against strain, pressure-temperature path, a pattern, a radiograph."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from ..energy_dispersive import Elements, Line, measure_spacings
from ..markers import find_markers
from ..phases import HCP_IRON, MGO, choose_lines, hcp_iron_lines, mgo_lines
from .page import BLUE, GREEN, GREY, ORANGE, Floats, RecordedRun, RecordedStream, absent, header
from .pattern import draw_fit, draw_spectrum

PHASE_COLOURS = {HCP_IRON: BLUE, MGO: ORANGE}
_SHARE_WITHOUT_WINDOW = 0.25


@dataclass(frozen=True)
class Window:
    """The steady part of the run in the time of its streams (s), and where strain is zero."""

    start_s: float
    stop_s: float
    zero_s: float

    def of(self, time_s: Floats) -> slice:
        """The rows that lie in the window; all of the last quarter when none do."""
        inside = np.flatnonzero((time_s >= self.start_s) & (time_s <= self.stop_s))
        if inside.size:
            return slice(int(inside[0]), int(inside[-1]) + 1)
        return slice(int((1.0 - _SHARE_WITHOUT_WINDOW) * len(time_s)), len(time_s))


def draw(figure: Figure, run: RecordedRun) -> None:
    """Fill a page; a panel without data says so."""
    header(figure, run, "Deformation")
    grid = GridSpec(2, 2, figure, left=0.06, right=0.955, top=0.815, bottom=0.085, wspace=0.16, hspace=0.32)
    panels = [figure.add_subplot(grid[row, column]) for row in (0, 1) for column in (0, 1)]
    window = steady_window(run)
    draw_stress(panels[0], run, window)
    draw_path(panels[1], run, window)
    draw_pattern(panels[2], run, window)
    draw_radiograph(panels[3], run, window)


def steady_window(run: RecordedRun) -> Window | None:
    """The window that the final results were taken from, or None."""
    stream = run.streams.get("results")
    keys = ("window_start", "window_stop", "window_zero")
    if stream is None or not len(stream.time) or any(key not in stream.data for key in keys):
        return None
    start, stop, zero = (float(stream.data[key][-1]) for key in keys)
    return Window(start, stop, zero) if np.isfinite([start, stop, zero]).all() else None


def draw_stress(axes: Axes, run: RecordedRun, window: Window | None) -> None:
    """Differential stress against strain, statistical error bars, systematic band, and the steady window."""
    axes.set_title("Stress against strain")
    stress, strain = _stream(run, "differential_stress"), _stream(run, "strain")
    if stress is None or strain is None:
        absent(axes, "no stress at a known strain was measured")
        return
    x = _interpolated(stress.time, strain, "strain")
    y, error, systematic = _measured(stress, "differential_stress")
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any():
        absent(axes, "no stress at a known strain was measured")
        return
    order = np.flatnonzero(good)[np.argsort(x[good], kind="stable")]
    axes.fill_between(x[order], (y - systematic)[order], (y + systematic)[order], color=BLUE, alpha=0.12, lw=0)
    axes.errorbar(
        x[good], y[good], error[good], fmt="o", ms=3, lw=0.8, color=BLUE, label="± statistical; band: systematic"
    )
    result = run.results.get("differential_stress")
    if window is not None and result is not None:
        edges = np.interp([window.start_s, window.stop_s], strain.time, np.asarray(strain.data["strain"], dtype=float))
        axes.axvspan(edges[0], edges[1], color=GREEN, alpha=0.10, lw=0, label=_label(run))
        axes.hlines(result["value"], edges[0], edges[1], color=GREEN, lw=1.5)
    axes.set(xlabel="true strain", ylabel="differential stress (GPa)")
    axes.set_xlim(left=min(0.0, float(np.min(x[good], initial=0.0))))
    axes.set_ylim(bottom=min(0.0, float(np.min(y[good], initial=0.0))))
    axes.legend(loc="lower right")


def draw_path(axes: Axes, run: RecordedRun, window: Window | None) -> None:
    """Pressure against temperature, coloured by time, with the mean of the steady window and its whole error."""
    axes.set_title("Path in pressure and temperature")
    pressure, temperature = _stream(run, "pressure"), _stream(run, "temperature")
    if pressure is None or temperature is None:
        absent(axes, "no pressure at a known temperature was measured")
        return
    x = _interpolated(pressure.time, temperature, "temperature")
    y, error, _ = _measured(pressure, "pressure")
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any():
        absent(axes, "no pressure at a known temperature was measured")
        return
    hours = (pressure.time - pressure.time[0]) / 3600.0
    axes.errorbar(x[good], y[good], error[good], fmt="none", lw=0.7, color=GREY, alpha=0.6, zorder=1)
    axes.plot(x[good], y[good], color=GREY, lw=0.6, alpha=0.6, zorder=1)
    points = axes.scatter(x[good], y[good], c=hours[good], s=14, cmap="viridis", zorder=2)
    _figure_of(axes).colorbar(points, ax=axes, label="time (h)", pad=0.02, fraction=0.05)
    mean = [run.results.get(name) for name in ("temperature", "pressure")]
    if mean[0] is not None and mean[1] is not None:
        whole = [float(np.hypot(row["error"], row["systematic"])) for row in mean if row is not None]
        axes.errorbar(
            mean[0]["value"], mean[1]["value"], whole[1], whole[0], fmt="s", ms=6, mfc="none", color=GREEN, capsize=3,
            label=f"{_label(run)} ± statistical and systematic", zorder=3,
        )  # fmt: skip
        axes.legend(loc="best")
    axes.set(xlabel="temperature (K)", ylabel="pressure (GPa)")


def draw_pattern(axes: Axes, run: RecordedRun, window: Window | None) -> None:
    """The sum of one element's spectra over the steady window, with fitted lines and their indices."""
    axes.set_title("Diffraction pattern")
    name = _device(run, "detector")
    stream = _named(run, "diffraction", f"{name}_spectra")
    if stream is None:
        absent(axes, "no diffraction pattern was recorded")
        return
    rows = window.of(stream.time) if window else slice(int(0.75 * len(stream.time)), None)
    spectra = np.asarray(stream.data[f"{name}_spectra"][rows], dtype=float).sum(axis=0)
    elements = _elements(stream, name, len(spectra))
    number = len(stream.time[rows])
    if elements is None:
        axes.plot(spectra[0], color="black", lw=0.6)
        axes.set(xlabel="channel", ylabel=f"counts in {number} patterns")
        return
    detector = int(np.argmin(np.abs(elements.azimuth_deg)))
    draw_spectrum(axes, spectra[detector], elements, detector)
    axes.set_title(f"Diffraction pattern, element at azimuth {elements.azimuth_deg[detector]:g}°")
    axes.set(xlabel="energy (keV)", ylabel=f"counts in {number} patterns")
    try:
        lines = _lines(run)
        fitted = choose_lines(lines, float(np.nanmean(elements.two_theta_deg)))[0]
        spacings = measure_spacings(spectra, elements, fitted)
    except ValueError:
        return  # the pattern itself is shown
    draw_fit(axes, spacings, detector, [line for line in lines if line not in fitted], PHASE_COLOURS)


def draw_radiograph(axes: Axes, run: RecordedRun, window: Window | None) -> None:
    """The last radiograph of the steady window, its foils as found, and where they were at zero strain."""
    axes.set_title("Radiograph and marker foils")
    axes.grid(visible=False)
    key = f"{_device(run, 'camera')}_image"
    stream = _named(run, "radiograph", key)
    if stream is None:
        absent(axes, "no radiograph was recorded")
        return
    last = (window.of(stream.time).stop if window else len(stream.time)) - 1
    image = np.asarray(stream.data[key][last])
    reference = _named(run, "reference", key) or stream
    size = stream.configuration.get(f"{_device(run, 'camera')}_pixel_size")
    unit, pixel = ("pixel", 1.0) if size is None else ("µm", float(np.mean(size)))
    height, width = image.shape
    low, high = np.percentile(image[::4, ::4], (0.5, 99.5))
    extent = (0.0, width * pixel, height * pixel, 0.0)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="none")
    axes.set_anchor("W")
    lengths = [
        _draw_foils(axes, np.asarray(reference.data[key][0]), pixel, GREEN, ":"),
        _draw_foils(axes, image, pixel, ORANGE, "-"),
    ]
    moments = (
        "in the first image" if reference is stream else "at zero strain",
        f"{(stream.time[last] - reference.time[0]) / 3600.0:.2f} h later",
    )
    for length, moment, colour, dashes in zip(lengths, moments, (GREEN, ORANGE), (":", "-"), strict=True):
        if length is not None:
            axes.plot([], [], dashes, color=colour, label=f"foils {moment},\n{length:.0f} {unit} apart")
    axes.set(xlabel=unit, ylabel=unit)
    if any(length is not None for length in lengths):
        axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0), borderaxespad=0.0)


def _draw_foils(axes: Axes, image: NDArray[np.uint16], pixel: float, colour: str, dashes: str) -> float | None:
    """Mark the foils of an image; returns how far apart they are."""
    try:
        rows = find_markers(image)
    except ValueError:
        return None  # a radiograph without foils is still worth seeing
    for row in rows:  # drawn beside the sample, so that the foil itself stays in sight
        for edges in ((0.0, 0.2), (0.8, 1.0)):
            axes.axhline((row + 0.5) * pixel, *edges, ls=dashes, color=colour, lw=1.5)
    return float(rows[-1] - rows[0]) * pixel


def _lines(run: RecordedRun) -> tuple[Line, ...]:
    """Lines of sample and marker expected where the run ended up. Raises ValueError when that is not known."""
    pressure_gpa, temperature_k = (_typical(run, name) for name in ("pressure", "temperature"))
    return (*hcp_iron_lines(pressure_gpa, temperature_k), *mgo_lines(pressure_gpa, temperature_k))


def _typical(run: RecordedRun, name: str) -> float:
    if name in run.results:
        return float(run.results[name]["value"])
    stream = _stream(run, name)
    if stream is None or not np.isfinite(np.asarray(stream.data[name], dtype=float)).any():
        raise ValueError(f"no {name} was measured")
    return float(np.nanmedian(np.asarray(stream.data[name], dtype=float)))


def _elements(stream: RecordedStream, name: str, count: int) -> Elements | None:
    keys = [f"{name}_{part}" for part in ("azimuth", "two_theta", "offset", "slope", "quad")]
    if any(key not in stream.configuration for key in keys):
        return None
    azimuth, two_theta, offset, slope, quad = (np.asarray(stream.configuration[key], dtype=float) for key in keys)
    return Elements(azimuth, two_theta, offset, slope, quad, np.ones(count, dtype=bool), np.zeros(count))


def _device(run: RecordedRun, role: str) -> str:
    return str(run.start.get("roles", {}).get(role, role))


def _label(run: RecordedRun) -> str:
    """What the window is called: a mean over a stress that still changes must not be taken for a steady one."""
    stream = _named(run, "results", "results_model")
    unsteady = stream is not None and "NOT steady" in str(stream.data["results_model"][-1])
    return "last span, NOT steady" if unsteady else "steady window"


def _named(run: RecordedRun, name: str, key: str) -> RecordedStream | None:
    """One stream by its name, if it records `key`."""
    stream = run.streams.get(name)
    return stream if stream is not None and key in stream.data and len(stream.time) else None


def _stream(run: RecordedRun, key: str) -> RecordedStream | None:
    """The stream that records a quantity as it develops; the scalars of the whole run are another matter."""
    streams = (stream for name, stream in run.streams.items() if name != "results" and key in stream.data)
    return next((stream for stream in streams if len(stream.time)), None)


def _measured(stream: RecordedStream, key: str) -> tuple[Floats, Floats, Floats]:
    value = np.asarray(stream.data[key], dtype=float)
    error, systematic = (
        np.asarray(stream.data.get(f"{key}_{part}", np.zeros(value.shape)), dtype=float)
        for part in ("error", "systematic")
    )
    return value, error, systematic


def _interpolated(time_s: Floats, stream: RecordedStream, key: str) -> Floats:
    values = np.asarray(stream.data[key], dtype=float)
    good = np.isfinite(values)
    if not good.any():
        return np.full(time_s.shape, np.nan)
    return np.asarray(np.interp(time_s, stream.time[good], values[good], left=np.nan))


def _figure_of(axes: Axes) -> Figure:
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure
