"""Mean power and energy of a laser from the readings of its own monitor."""

import numpy as np
from numpy.typing import ArrayLike

from .estimate import Estimate

MONITOR_SCALE_ERROR = 0.03
"""Relative standard uncertainty of the calibration of a laser's power monitor: an assumption, to be replaced by a
calibration against a power meter."""
RESOLUTION_W = 0.1
"""Step of the readings; a scatter that they do not show is taken to be that of the steps."""
LEAST_READINGS = 3


def dose(time_s: ArrayLike, power_w: ArrayLike, scale_error: float = MONITOR_SCALE_ERROR) -> Estimate:
    """Mean power (`power`, W) and energy (`energy`, J) between the first and the last of n readings (n,).

    Readings are joined by straight lines. Their scatter is taken from the differences of neighbours, so that a slow
    drift of the power does not count as noise. Readings that are NaN, too low to be told, are left out.

    Raises:
        ValueError: the arrays differ in length, fewer than three readings are numbers, or time does not rise.
    """
    time, power = np.asarray(time_s, dtype=float), np.asarray(power_w, dtype=float)
    if time.shape != power.shape or time.ndim != 1:
        raise ValueError(f"times {time.shape} and powers {power.shape} must be two arrays of one length")
    known = np.isfinite(power)
    time, power = time[known], power[known]
    n = len(time)
    if n < LEAST_READINGS:
        raise ValueError(f"{n} readings of the power: {LEAST_READINGS} at least are needed")
    steps = np.diff(time)
    if not np.all(steps > 0):
        raise ValueError("the times of the readings must rise")
    span = time[-1] - time[0]
    share = 0.5 * (np.append(steps, 0.0) + np.append(0.0, steps)) / span
    mean = float(share @ power)
    scatter = max(float(np.sum(np.diff(power) ** 2)) / (2 * (n - 1)), RESOLUTION_W**2 / 12)
    variance = scatter * float(np.sum(share**2))
    factors = np.array([1.0, span])  # energy is mean power times a length that is known much better
    return Estimate(
        names=("power", "energy"),
        values=mean * factors,
        covariance=variance * np.outer(factors, factors),
        systematic=scale_error * abs(mean) * factors,
        units=("W", "J"),
        model="readings joined by straight lines, scatter from neighbours",
        chi2_red=float("nan"),
        n_points=n,
        scale=f"the laser's own monitor, calibrated to {scale_error:.0%}",
    )
