"""Steady flow: the declared criterion, and averages over the steady window with honest errors."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from .estimate import Floats, Quantity

_LEAST_POINTS = 4
_IMPROBABLE = 0.05
_LEAST_FOR_CORRELATION = 8


def steady_window(
    strain: ArrayLike,
    stress: ArrayLike,
    stress_error: ArrayLike,
    span: float = 0.03,
    tolerance: float = 0.10,
    *,
    confidence: float = 1.0,
) -> slice | None:
    """The points of the last `span` of strain, if the stress is steady over them; None otherwise.

    Declared criterion: |d ln stress / d strain| * span, with `confidence` times its standard error added, is below
    `tolerance`. So neither a trend nor data too coarse to exclude one passes. The slope is that of a weighted straight
    line through (n,) stresses; its error counts the scatter where that is beyond the stated errors.

    Raises:
        ValueError: the arrays differ in length, or span or tolerance is not positive.
    """
    e, s, s_error = (np.asarray(a, dtype=float) for a in (strain, stress, stress_error))
    if not (e.ndim == 1 and e.shape == s.shape == s_error.shape):
        raise ValueError(f"strain, stress and its error have one length, not {e.shape}, {s.shape}, {s_error.shape}")
    if not (span > 0.0 and tolerance > 0.0):
        raise ValueError(f"span of strain and tolerance are positive, not {span} and {tolerance}")
    start = _start_of_last(e, span)
    if start is None:
        return None
    window = slice(start, e.size)
    change = _relative_change(e[window], s[window], s_error[window], span)
    if change is None or abs(change[0]) + confidence * change[1] >= tolerance:
        return None
    return window


def window_average(
    time_s: ArrayLike,
    values: ArrayLike,
    errors: ArrayLike | None,
    systematic: ArrayLike,
    window_s: tuple[float, float],
    unit: str,
    *,
    model: str = "mean over a window",
) -> Quantity:
    """Mean over `window_s` (first and last time) of a quantity measured at (n,) times, with its two errors.

    A weighted straight line gives the mean at the window's middle, so a drift neither biases the mean (where points
    are unevenly spread) nor counts as scatter. `errors` None: the scatter gives the error. The statistical error grows
    where the scatter is improbably large, and where neighbouring points agree too well to be independent. The
    systematic term (one number or one for each point) is common to all points: it is averaged as it is, never
    divided by a number of points.

    Raises:
        ValueError: no good point in the window, lengths that differ, or one point without an error.
    """
    t, y = np.atleast_1d(np.asarray(time_s, dtype=float)), np.atleast_1d(np.asarray(values, dtype=float))
    sigma = np.ones(y.shape) if errors is None else np.atleast_1d(np.asarray(errors, dtype=float))
    if not t.shape == y.shape == sigma.shape:
        raise ValueError(f"times, values and errors have one length, not {t.shape}, {y.shape}, {sigma.shape}")
    common = np.broadcast_to(np.asarray(systematic, dtype=float), y.shape)
    good = (t >= window_s[0]) & (t <= window_s[1]) & np.isfinite(y) & np.isfinite(sigma) & (sigma > 0.0)
    n = int(good.sum())
    if n == 0 or (n < 2 and errors is None):
        raise ValueError(f"{n} good points between {window_s[0]:g} and {window_s[1]:g} s of {y.size} give no mean")
    mean, variance, weight = _at_middle(t[good], y[good], sigma[good], window_s, scatter_only=errors is None)
    return Quantity(mean, math.sqrt(variance), float(weight @ common[good]), unit, model)


def _start_of_last(strain: Floats, span: float) -> int | None:
    """First index after which no strain is more than `span` below the last; None where the data reach back less far."""
    if strain.size < _LEAST_POINTS or not math.isfinite(strain[-1]):
        return None
    earlier = np.flatnonzero(strain < strain[-1] - span)
    return int(earlier[-1]) + 1 if earlier.size else None


def _relative_change(strain: Floats, stress: Floats, error: Floats, span: float) -> tuple[float, float] | None:
    """Change of ln(stress) over `span` and its standard error; None where it is not determined."""
    good = np.isfinite(strain) & np.isfinite(stress) & np.isfinite(error) & (error > 0.0)
    if good.sum() < _LEAST_POINTS or np.ptp(strain[good]) < 0.5 * span:
        return None
    e, s, weight = strain[good], stress[good], error[good] ** -2.0
    mean, centre = float(weight @ s / weight.sum()), float(weight @ e / weight.sum())
    moment = float(weight @ (e - centre) ** 2)
    slope = float(weight @ ((e - centre) * s)) / moment
    if mean <= 2.0 * float(weight.sum()) ** -0.5:
        return None
    chi2 = float(weight @ (s - mean - slope * (e - centre)) ** 2)
    scale = _enlargement(chi2, e.size - 2)
    return slope * span / mean, math.sqrt(scale / moment) * span / mean


def _enlargement(chi2: float, dof: int) -> float:
    return chi2 / dof if dof > 0 and chi2 > dof and chdtrc(dof, chi2) < _IMPROBABLE else 1.0


def _at_middle(
    t: Floats, y: Floats, sigma: Floats, window_s: tuple[float, float], *, scatter_only: bool
) -> tuple[float, float, Floats]:
    """Weighted line at the window's middle, its variance, and the weight of each point in the mean."""
    columns = [np.ones(t.size)]
    if t.size >= _LEAST_POINTS and np.ptp(t) > 0.0:
        columns.append((t - 0.5 * (window_s[0] + window_s[1])) / np.ptp(t))
    design = np.stack(columns, axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    coefficients = covariance @ design.T @ (y / sigma)
    residual = y / sigma - design @ coefficients
    chi2, dof = float(residual @ residual), t.size - len(columns)
    likeness = _correlation_time(residual[np.argsort(t)])
    if scatter_only:
        scale = chi2 / dof * likeness
    elif likeness > 1.0:
        scale = max(chi2 / dof * likeness, 1.0)
    else:
        scale = _enlargement(chi2, dof)
    weight = sigma**-2.0 / np.sum(sigma**-2.0)
    return float(coefficients[0]), float(covariance[0, 0]) * scale, weight


def _correlation_time(residual: Floats) -> float:
    """By what the likeness of neighbouring residuals enlarges the variance of a mean (1 for independent ones)."""
    n = residual.size
    power = float(residual @ residual)
    if n < _LEAST_FOR_CORRELATION or power == 0.0:
        return 1.0
    lag = float(residual[1:] @ residual[:-1]) / power
    if lag < 2.0 / math.sqrt(n):
        return 1.0
    lag = min(lag + (1.0 + 4.0 * lag) / n, 0.95)  # a fitted line takes some of the correlation away
    return (1.0 + lag) / (1.0 - lag)
