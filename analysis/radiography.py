"""Radiographs of a deforming sample: strain and strain rate from its marker foils, offset of the sample."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from .estimate import Estimate, Floats
from .markers import Markers, measure_markers

FOIL_BENDING = 0.005
"""Standard uncertainty of a strain as a fraction of it: foils bend, and their mean distance is not the length."""

_IMPROBABLE = 0.01
_CLEAR_ROWS = 10
_EDGE_SCALE_PX = 3
_EDGE_SIGNIFICANCE = 6.0
_EDGE_STEEPNESS = 3.0
_EDGE_INSIDE_PX = 24
_EDGE_MEANING_PX = 0.5


def strain(
    reference_px: float,
    reference_error_px: float,
    separation_px: float,
    separation_error_px: float,
    *,
    template_error_px: float = 0.0,
    foil_bending: float = FOIL_BENDING,
) -> Estimate:
    """True strain ln(L0/L), positive in compression (name `strain`), from two separations in the same unit.

    Statistical error: that of the separation. Systematic, common to all strains of a run: the error of the reference,
    that of the foils' templates (in both separations alike) and the foils' bending.

    Raises:
        ValueError: a separation is not positive, or an error is negative or no number.
    """
    if not (reference_px > 0.0 and separation_px > 0.0 and reference_error_px >= 0.0 and separation_error_px >= 0.0):
        raise ValueError(
            f"strain needs positive separations with errors >= 0, not {reference_px} +- {reference_error_px} "
            f"and {separation_px} +- {separation_error_px}"
        )
    value = float(np.log(reference_px / separation_px))
    template = template_error_px * (1.0 / separation_px - 1.0 / reference_px)
    common = (reference_error_px / reference_px, template, foil_bending * value)
    return Estimate(
        names=("strain",),
        values=np.array([value]),
        covariance=np.array([[(separation_error_px / separation_px) ** 2]]),
        systematic=np.array([np.hypot.reduce(common)]),
        units=("",),
        model="true strain ln(L0/L) of foil separation",
        chi2_red=float("nan"),
        n_points=1,
    )


def strain_rate(
    time_s: ArrayLike,
    strains: ArrayLike,
    errors: ArrayLike,
    window_s: float | None = None,
    *,
    foil_bending: float = FOIL_BENDING,
) -> Estimate:
    """Strain rate in 1/s over the last `window_s` (all points without it): weighted straight line through (n,) strains.

    Returns names `strain_rate` and `strain` (the line at the last time), with their covariance; errors are enlarged by
    the square root of the reduced chi squared where that is improbably large.

    Raises:
        ValueError: fewer than two points at different times, or errors that are not positive.
    """
    t, y, e = (np.asarray(a, dtype=float) for a in (time_s, strains, errors))
    if not (t.ndim == 1 and t.shape == y.shape == e.shape):
        raise ValueError(f"times, strains and errors have one length, not {t.shape}, {y.shape}, {e.shape}")
    good = np.isfinite(t) & np.isfinite(y) & np.isfinite(e)
    if window_s is not None and np.any(good):
        good &= t >= t[good].max() - window_s
    t, y, e = t[good], y[good], e[good]
    if t.size < 2 or np.ptp(t) <= 0.0 or not np.all(e > 0.0):
        raise ValueError(f"strain rate needs two points at different times with errors > 0: {t.size} given")
    design = np.stack([t - t.max(), np.ones(t.size)], axis=1) / e[:, None]
    covariance = np.linalg.inv(design.T @ design)
    values = covariance @ design.T @ (y / e)
    chi2 = float(np.sum((y / e - design @ values) ** 2))
    dof = t.size - 2
    return Estimate(
        names=("strain_rate", "strain"),
        values=values,
        covariance=covariance * _enlargement(chi2, dof),
        systematic=foil_bending * np.abs(values),
        units=("1/s", ""),
        model="weighted straight line",
        chi2_red=chi2 / dof if dof else float("nan"),
        n_points=t.size,
    )


def _enlargement(chi2: float, dof: int) -> float:
    return chi2 / dof if dof > 0 and chi2 > dof and chdtrc(dof, chi2) < _IMPROBABLE else 1.0


def sample_offset(image: NDArray[np.uint16], pixel_um: float, markers: Markers | None = None) -> Estimate:
    """Offset of the sample from the image's middle in um: `offset_x` to higher columns, `offset_y` to lower rows (up).

    x: middle between the lateral edges of the sample, or where they do not show, middle of the foils (as `model` says).
    y: middle between the foils. `markers` saves finding the foils again. Systematic: what an edge means, half a pixel.

    Raises:
        ValueError: as `measure_markers`, or a pixel size that is not positive.
    """
    if not pixel_um > 0.0:
        raise ValueError(f"pixel size is positive, not {pixel_um} um")
    seen = markers or measure_markers(image)
    row = 0.5 * float(seen.rows.sum())
    row_variance = 0.25 * float(seen.row_errors @ seen.row_errors)
    edges = _lateral_edges(image, seen)
    column, column_variance = edges or (0.5 * (sum(seen.columns) - 1), (seen.columns[1] - seen.columns[0]) ** 2 / 16.0)
    middle = (np.array(image.shape)[::-1] - 1) / 2.0
    return Estimate(
        names=("offset_x", "offset_y"),
        values=pixel_um * np.array([column - middle[0], middle[1] - row]),
        covariance=pixel_um**2 * np.diag([column_variance, row_variance]),
        systematic=pixel_um * np.array([_EDGE_MEANING_PX, _EDGE_MEANING_PX]),
        units=("um", "um"),
        model="lateral edges and foils" if edges else "foils alone",
        chi2_red=float("nan"),
        n_points=2 if edges else 1,
    )


def _lateral_edges(image: NDArray[np.uint16], seen: Markers) -> tuple[float, float] | None:
    """Column midway between the sample's two steepest opposite edges, with its variance; None if they do not show."""
    inside = slice(int(seen.rows[0]) + _CLEAR_ROWS, int(seen.rows[1]) - _CLEAR_ROWS)
    band = np.asarray(image[inside], dtype=np.float32)
    profile = band.mean(axis=0, dtype=np.float64)
    noise = np.sqrt(seen.counts_per_quantum * np.maximum(profile, 1.0) / band.shape[0])
    u = np.arange(-4 * _EDGE_SCALE_PX, 4 * _EDGE_SCALE_PX + 1)
    kernel = np.asarray(u * np.exp(-0.5 * (u / _EDGE_SCALE_PX) ** 2), dtype=float)
    slope = np.convolve(np.pad(profile, u[-1], mode="edge"), -kernel, mode="valid")
    # the foils reach nearly to the sample's edges, so these lie at the foils' ends or beyond
    left, first = slope[: seen.columns[0] + _EDGE_INSIDE_PX], max(seen.columns[1] - _EDGE_INSIDE_PX, 0)
    right = slope[first:]
    # darker inside (falling, then rising) or brighter inside, whichever is stronger
    dark = (int(np.argmin(left)), first + int(np.argmax(right)))
    light = (int(np.argmax(left)), first + int(np.argmin(right)))
    pair = max(dark, light, key=lambda p: min(abs(slope[p[0]]), abs(slope[p[1]])))
    found = [_peak(np.abs(slope), noise, column, kernel) for column in pair]
    if found[0] is None or found[1] is None:
        return None
    return 0.5 * (found[0][0] + found[1][0]), 0.25 * (found[0][1] + found[1][1])


def _peak(slope: Floats, noise: Floats, column: int, kernel: Floats) -> tuple[float, float] | None:
    """Sub-pixel column of the slope's maximum and its variance; None where noise or uneven light could make it."""
    least = _EDGE_SIGNIFICANCE * float(noise[column]) * float(np.sqrt(kernel @ kernel))
    least = max(least, _EDGE_STEEPNESS * float(np.median(slope)))
    rim = slope[0] if column < slope.size // 2 else slope[-1]
    if not 0 < column < slope.size - 1 or slope[column] < max(least, _EDGE_STEEPNESS * float(rim)):
        return None  # where it is still steep at the rim, the edge itself is out of the field
    before, here, after = slope[column - 1 : column + 2]
    if not before <= here >= after:
        return None
    curvature = before - 2.0 * here + after
    derivative = np.gradient(kernel)
    variance = noise[column] ** 2 * (derivative @ derivative) / curvature**2
    return float(column + 0.5 * (before - after) / curvature), float(variance)
