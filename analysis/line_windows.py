"""From expected line positions to fitted ones: search, windows for lines that overlap, one batched fit of them all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .peaks import FWHM_PER_SIGMA, Peaks, fit_peaks

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_REACH_FWHM = 1.75  # how far a window goes beyond its outermost lines: Ge lines have tails that no Gaussian follows
_OVERLAP_FWHM = 3.0  # lines closer than this share a window
_STRONG = 12.0  # area over its error above which a line's own width is trusted
_WIDTH_SPREAD = 0.1  # how alike the widths of a spectrum's lines are, relative to the resolution


@dataclass(frozen=True)
class Expected:
    """Where lines should be: channel and Gaussian width (n_det, n_line); lines of one phase shift together.

    `group_of_phase` (n_line,) number of the phase; `limits` (n_det, n_line, 2) channels of a window asked for, or NaN.
    """

    channel: Floats
    sigma: Floats
    group_of_phase: Ints
    limits: Floats


@dataclass(frozen=True)
class Window:
    """A fitted stretch of one detector's spectrum: channels, counts and fitted counts, all (m,)."""

    detector: int
    channels: Ints
    counts: Floats
    model: Floats


@dataclass(frozen=True)
class FittedLines:
    """Fitted positions, areas and widths in channels, (n_det, n_line), and the windows they come from."""

    channel: Floats
    channel_error: Floats
    area: Floats
    area_error: Floats
    sigma: Floats
    chi2_red: Floats
    chi2_red_sd: Floats
    converged: Bools
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class _Layout:
    """Rows of the batched fit: detector, first channel, used channels and the lines (-1 for none) in each."""

    detector: Ints
    first: Ints
    used: Bools
    lines: Ints


def fit_lines(spectra: Floats, expected: Expected, search: float) -> FittedLines:
    """Find and fit all lines of all spectra (n_det, n_ch); `search` is the largest relative shift."""
    start = _locate(spectra, expected, search)
    layout = _lay_out(spectra.shape[1], start, expected)
    channels = layout.first[:, None] + np.arange(layout.used.shape[1])
    counts = spectra[layout.detector[:, None], np.minimum(channels, spectra.shape[1] - 1)]
    present = layout.lines >= 0
    rows = layout.detector[:, None]
    centre = np.where(present, start[rows, layout.lines] - layout.first[:, None], np.nan)
    width = expected.sigma[rows, layout.lines]
    ratio = np.where(present, width / width[:, :1], 1.0)
    peaks = _fit_twice(counts, centre, width[:, 0], layout, ratio)
    return _collect(spectra.shape[0], expected, layout, peaks, ratio, counts, channels)


def _locate(spectra: Floats, expected: Expected, search: float) -> Floats:
    """Start positions (n_det, n_line): a common relative shift of each phase, then a small one of each line.

    The curvature of the smoothed spectrum marks peaks and does not see a straight background.
    """
    typical = float(np.median(expected.sigma))
    curvature = -gaussian_filter1d(spectra, typical, axis=1, order=2, mode="nearest")
    noise = np.sqrt(gaussian_filter1d(spectra, 3.0 * typical, axis=1, mode="nearest") + 0.5)
    signal = np.clip(curvature / noise, -1.0, None)
    start = _locate_phases(np.sqrt(np.maximum(signal, 0.0)), expected, search)
    return start * _best_shift(signal, start, min(0.004, search), together=False)[0]


def _locate_phases(signal: Floats, expected: Expected, search: float) -> Floats:
    """Shift each phase as a whole, the clearest first; what a phase has claimed is no longer there for the next."""
    start = expected.channel.copy()
    left = list(np.unique(expected.group_of_phase))
    reach = max(int(np.ceil(0.6 * FWHM_PER_SIGMA * float(np.median(expected.sigma)))), 1)
    while left:
        picks = [expected.group_of_phase == phase for phase in left]
        trials = [_best_shift(signal, expected.channel[:, pick], search, together=True) for pick in picks]
        # a phase that stays where it was expected goes before one that is drawn as far as another's line
        merit = [float(np.median(score)) - 0.2 * abs(float(np.median(f)) - 1.0) / search for f, score in trials]
        best = int(np.argmax(merit))
        start[:, picks[best]] *= trials[best][0]
        claimed = np.rint(start[:, picks[best]]).astype(int)[:, :, None] + np.arange(-reach, reach + 1)
        signal[np.arange(len(signal))[:, None, None], np.clip(claimed, 0, signal.shape[1] - 1)] = 0.0
        left.pop(best)
    return start


def _best_shift(signal: Floats, channel: Floats, reach: float, *, together: bool) -> tuple[Floats, Floats]:
    """Factor on the channels that puts lines where the signal is greatest, and the mean signal there.

    Both (n_det, 1) when the lines shift together, else (n_det, n_line).
    """
    largest = float(channel.max()) * reach
    shifts = np.linspace(-reach, reach, 2 * max(round(largest / 0.7), 1) + 1)
    at = np.rint(channel[:, :, None] * (1.0 + shifts)).astype(int)
    inside = (at >= 0) & (at < signal.shape[1])
    rows = np.arange(len(signal))[:, None, None]
    score = np.where(inside, signal[rows, np.clip(at, 0, signal.shape[1] - 1)], -1.0)
    score -= 1e-6 * np.abs(shifts)  # nothing there: stay
    if together:
        score = score.mean(axis=1, keepdims=True)
    return np.asarray(1.0 + shifts[np.argmax(score, axis=2)]), score.max(axis=2)


def _lay_out(n_channels: int, start: Floats, expected: Expected) -> _Layout:
    """Windows around groups of overlapping lines, the same grouping in every detector."""
    order = np.argsort(np.median(start, axis=0))
    fwhm = FWHM_PER_SIGMA * expected.sigma
    gap = np.median(np.diff(start[:, order], axis=1) / fwhm[:, order[1:]], axis=0)
    groups = np.split(order, np.flatnonzero(gap > _OVERLAP_FWHM) + 1)
    edges = [_edges(start, fwhm, groups, i, expected.limits) for i in range(len(groups))]
    first = np.concatenate([np.ceil(low) for low, _ in edges]).astype(int)
    last = np.concatenate([np.floor(high) for _, high in edges]).astype(int)
    first, last = np.clip(first, 0, n_channels - 1), np.clip(last, 0, n_channels - 1)
    length = max(int((last - first).max()) + 1, 4)
    used = np.arange(length) <= (last - first)[:, None]
    most = max(len(group) for group in groups)
    table = np.array([np.pad(group, (0, most - len(group)), constant_values=-1) for group in groups])
    detector = np.tile(np.arange(len(start)), len(groups))
    return _Layout(detector, first, used, np.repeat(table, len(start), axis=0))


def _edges(start: Floats, fwhm: Floats, groups: list[Ints], i: int, limits: Floats) -> tuple[Floats, Floats]:
    """Ends of the window of group `i` in every detector: its reach, the middle to a neighbour, or what was asked."""
    group = groups[i]
    low = (start - _REACH_FWHM * fwhm)[:, group[0]]
    high = (start + _REACH_FWHM * fwhm)[:, group[-1]]
    if i > 0:
        low = np.maximum(low, 0.5 * (start[:, groups[i - 1][-1]] + start[:, group[0]]))
    if i + 1 < len(groups):
        high = np.minimum(high, 0.5 * (start[:, group[-1]] + start[:, groups[i + 1][0]]))
    asked = limits[:, group]
    if np.isfinite(asked).any():
        low, high = np.nanmin(asked[:, :, 0], axis=1), np.nanmax(asked[:, :, 1], axis=1)
    return low, high


def _fit_twice(counts: Floats, centre: Floats, sigma: Floats, layout: _Layout, ratio: Floats) -> Peaks:
    """Fit with free widths; then again, with the width of the strong lines, those windows that hold a weak line."""
    peaks = fit_peaks(counts, centre, sigma, used=layout.used, width_ratio=ratio, max_iterations=15)
    strength = np.nanmin(peaks.area / peaks.area_error, axis=1)
    strong = peaks.converged & (strength > _STRONG)
    weak = np.flatnonzero(~strong)
    if not len(weak):
        return peaks
    factor = _width_factor(peaks.sigma / sigma, strong, layout.detector)[weak]
    spread = _WIDTH_SPREAD if strong.any() else 3.0 * _WIDTH_SPREAD
    again = fit_peaks(
        counts[weak],
        centre[weak],
        factor * sigma[weak],
        used=layout.used[weak],
        width_ratio=ratio[weak],
        sigma_error=spread * factor * sigma[weak],
    )
    for name in Peaks.__dataclass_fields__:
        getattr(peaks, name)[weak] = getattr(again, name)
    return peaks


def _width_factor(factor: Floats, strong: Bools, detector: Ints) -> Floats:
    """Width over resolution that the strong lines of the same detector show, else of all detectors, else 1."""
    overall = float(np.median(factor[strong])) if strong.any() else 1.0
    result = np.full(len(factor), overall)
    for i in np.unique(detector[strong]):
        result[detector == i] = np.median(factor[strong & (detector == i)])
    return result


def _collect(
    n_det: int, expected: Expected, layout: _Layout, peaks: Peaks, ratio: Floats, counts: Floats, channels: Ints
) -> FittedLines:
    shape = expected.channel.shape
    row, slot = np.nonzero(layout.lines >= 0)
    where = (layout.detector[row], layout.lines[row, slot])

    def table(values: Floats) -> Floats:
        result = np.full(shape, np.nan)
        result[where] = values
        return result

    windows = tuple(
        Window(int(layout.detector[i]), channels[i, use], counts[i, use], peaks.model[i, use])
        for i, use in enumerate(layout.used)
    )
    return FittedLines(
        channel=table(peaks.centre[row, slot] + layout.first[row]),
        channel_error=table(peaks.centre_error[row, slot]),
        area=table(peaks.area[row, slot]),
        area_error=table(peaks.area_error[row, slot]),
        sigma=table((peaks.sigma[:, None] * ratio)[row, slot]),
        chi2_red=table(peaks.chi2_red[row]),
        chi2_red_sd=table(peaks.chi2_red_sd[row]),
        converged=table(peaks.converged[row].astype(float)) == 1.0,
        windows=windows,
    )
