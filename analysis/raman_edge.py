"""Pressure from the Raman spectrum of a diamond anvil: the high-wavenumber edge is where dI/dnu is least."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter1d
from scipy.optimize import brentq
from scipy.signal import find_peaks, savgol_filter

from .estimate import Estimate
from .pressure_scales import AKAHAMA_2006, scale_named

Floats = NDArray[np.float64]

WINDOW = 30.0
"""Width in cm^-1 of the local cubic, about that of an edge."""
CALIBRATION_ERROR = 1.0
"""Systematic standard uncertainty of the wavenumbers in cm^-1 (spectrometer and laser line): an assumption."""

_DEGREE = 3
_LEAST_CHANNELS = 9
_SIGNIFICANT = 6.0
_SHARE = 0.02  # of the steepest fall: what falls less beyond the edge is no edge
_CHI2_MEDIAN = 0.4549  # of one degree of freedom


def raman_shift(wavelength_nm: ArrayLike, laser_nm: float) -> Floats:
    """Raman shift in cm^-1 of wavelengths of any shape, both in air or both in vacuum.

    Raises:
        ValueError: the laser's wavelength is not positive or is no number.
    """
    if not 0.0 < laser_nm < np.inf:
        raise ValueError(f"the laser's wavelength is a positive number of nm, not {laser_nm}")
    return np.asarray(1e7 / laser_nm - 1e7 / np.asarray(wavelength_nm, dtype=float))


def fit_edge(
    wavenumber: ArrayLike,
    counts: ArrayLike,
    *,
    saturated: ArrayLike | None = None,
    window: float = WINDOW,
    calibration_error: float = CALIBRATION_ERROR,
) -> Estimate:
    """Find the edge: the inflection of a cubic fitted to the counts in a window that is centred on it.

    Of several falls the one at the highest wavenumber counts, if it stands out by 6 of its errors and is no less than a
    fiftieth of the steepest: the unstressed part of the anvil has a line at 1334 cm^-1. Variance is taken to be
    proportional to the counts, by a factor that follows from the differences of neighbours.

    Args:
        wavenumber: (n,) Raman shift of the channels in cm^-1, rising or falling.
        counts: (n,) a spectrum, rows and frames summed.
        saturated: (n,) channels where a pixel was full; default none.
        window: width in cm^-1 of the cubic.
        calibration_error: systematic standard uncertainty of the wavenumbers in cm^-1.

    Returns:
        `wavenumber` of the edge and `smoothing`, the half distance of the edges that windows wider and narrower by the
        square root of 2 give, in cm^-1: it is in the systematic error of the former.

    Raises:
        ValueError: the arrays do not match, the window holds too few channels, saturated ones, or there is no edge.
    """
    nu, n, full = _spectrum(wavenumber, counts, saturated)
    step = float(nu[-1] - nu[0]) / (len(nu) - 1)
    if not _LEAST_CHANNELS * np.sqrt(2.0) * step <= window <= (nu[-1] - nu[0]) / 3.0:
        raise ValueError(
            f"window {window:g} cm^-1: {_LEAST_CHANNELS * np.sqrt(2.0) * step:.3g} to {(nu[-1] - nu[0]) / 3.0:.3g} "
            "cm^-1 is accepted for these channels"
        )
    noise = _noise(n)
    start = _last_fall(nu, n, noise, window)
    near = full & (np.abs(nu - start) < window)
    if near.any():
        raise ValueError(
            f"{near.sum()} channels at the Raman edge near {start:.0f} cm^-1 are saturated: expose more briefly"
        )
    edge, error, cubic = _inflection(nu, n, noise, start, window)
    beside = [_inflection(nu, n, noise, edge, window * factor)[0] for factor in (2.0**-0.5, 2.0**0.5)]
    smoothing = abs(beside[1] - beside[0]) / 2.0
    return Estimate(
        names=("wavenumber", "smoothing"),
        values=np.array([edge, smoothing]),
        covariance=np.diag([error**2, 0.0]),
        systematic=np.array([np.hypot(smoothing, calibration_error), 0.0]),
        units=("cm^-1", "cm^-1"),
        model=f"inflection of a cubic over {window:g} cm^-1",
        chi2_red=cubic.chi2_red,
        n_points=cubic.points,
    )


def edge_pressure(edge: Estimate, *, scale: str = AKAHAMA_2006.name) -> Estimate:
    """Pressure from the edge, before what `fit_edge` has found; `scale` is named in the result.

    The scales hold at 300 K, for the normal stress at the centre of a culet of 100 orientation (not verified).

    Raises:
        ValueError: no such scale, or the edge is outside its range.
    """
    return scale_named(scale, "raman").estimate(edge, "wavenumber")


def _spectrum(
    wavenumber: ArrayLike, counts: ArrayLike, saturated: ArrayLike | None
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    nu, n = np.asarray(wavenumber, dtype=float), np.asarray(counts, dtype=float)
    full = np.zeros(nu.shape, dtype=bool) if saturated is None else np.asarray(saturated, dtype=bool)
    if nu.ndim != 1 or n.shape != nu.shape or full.shape != nu.shape or not (np.isfinite(nu) & np.isfinite(n)).all():
        raise ValueError(f"a Raman spectrum is two finite arrays of one length: {nu.shape} shifts, {n.shape} counts")
    order = np.argsort(nu)
    nu, n, full = nu[order], n[order], full[order]
    if len(nu) < _LEAST_CHANNELS * 4 or not np.all(np.diff(nu) > 0):
        raise ValueError(
            f"a Raman spectrum has {4 * _LEAST_CHANNELS} or more channels, each at its own shift: {len(nu)}"
        )
    return nu, n, full


def _noise(n: Floats) -> float:
    """Variance of a channel over its counts, 1 for Poisson numbers, from second differences of neighbours."""
    squares = np.diff(n, 2) ** 2 / (6.0 * np.maximum(n[1:-1], 1.0))
    return float(np.median(squares)) / _CHI2_MEDIAN


def _last_fall(nu: Floats, n: Floats, noise: float, window: float) -> float:
    """Where the smoothed spectrum falls most steeply at the highest wavenumber. Raises ValueError."""
    step = float(nu[-1] - nu[0]) / (len(nu) - 1)
    half = int(0.5 * window / step)
    fall = -savgol_filter(n, 2 * half + 1, 2, deriv=1, delta=step, mode="nearest")
    spread = 3.0 / (half * (half + 1) * (2 * half + 1))  # of a slope, for channels of unit variance and distance
    error = np.sqrt(spread * noise * np.maximum(uniform_filter1d(n, 2 * half + 1), 1.0)) / step
    ends = np.arange(len(n))
    fall[(ends < half) | (ends >= len(n) - half)] = 0.0
    least = np.maximum(_SIGNIFICANT * error, _SHARE * float(fall.max()))
    found = find_peaks(fall, height=least, prominence=least)[0]
    if not len(found):
        raise ValueError(
            f"no Raman edge between {nu[0]:.0f} and {nu[-1]:.0f} cm^-1: nothing falls by {_SIGNIFICANT:g} of its errors"
        )
    return float(nu[found[-1]])


class _Cubic:
    """A cubic fitted to the counts about `centre`, weights falling to zero at half the window (tricube)."""

    def __init__(self, nu: Floats, n: Floats, noise: float, centre: float, window: float) -> None:
        u = (nu - centre) / (0.5 * window)
        near = np.abs(u) < 1.0
        self.points = int(near.sum())
        weight = (1.0 - np.abs(u[near]) ** 3) ** 3
        design = np.vander(u[near], _DEGREE + 1, increasing=True)
        solver = np.linalg.solve(design.T @ (weight[:, None] * design), design.T * weight)
        fitted = solver @ n[near]
        mu = design @ fitted
        variance = noise * np.maximum(mu, 1.0)
        self.curvature = float(fitted[2])
        self.curvature_error = float(np.sqrt(np.sum(solver[2] ** 2 * variance)))
        left = np.eye(self.points) - design @ solver
        expected = np.sum(weight / variance * ((left**2) @ variance))
        self.chi2_red = float(np.sum(weight * (n[near] - mu) ** 2 / variance) / expected)


def _inflection(nu: Floats, n: Floats, noise: float, start: float, window: float) -> tuple[float, float, _Cubic]:
    """Where the curvature passes from negative to positive near `start`, with its error and the cubic there."""

    def curvature(centre: float) -> float:
        return _Cubic(nu, n, noise, centre, window).curvature

    reach, small = 0.4 * window, 0.02 * window
    if not (
        nu[0] < start - reach - window / 2
        and start + reach + window / 2 < nu[-1]
        and curvature(start - reach) < 0.0 < curvature(start + reach)
    ):
        raise ValueError(
            f"no Raman edge near {start:.0f} cm^-1: a cubic over {window:.0f} cm^-1 has no inflection there; "
            "take another window or a wider range"
        )
    edge = float(brentq(curvature, start - reach, start + reach, xtol=1e-4))
    at = _Cubic(nu, n, noise, edge, window)
    slope = (curvature(edge + small) - curvature(edge - small)) / (2.0 * small)
    return edge, at.curvature_error / abs(slope), at
