"""Temperature against heater output: a straight line with errors in both."""

import numpy as np
from numpy.typing import ArrayLike

from megabar.analysis.estimate import Estimate

OUTPUT_ERROR_PERCENT = 0.1 / np.sqrt(12.0)
"""The controller tells its output to 0.1 %."""


def fit_curve(
    output_percent: ArrayLike,
    temperature_k: ArrayLike,
    temperature_error_k: ArrayLike,
    temperature_systematic_k: ArrayLike,
    output_error_percent: float = OUTPUT_ERROR_PERCENT,
) -> Estimate:
    """Rise of the temperature per output (`gain`, K/%) and temperature without any (`temperature_off`, K).

    All arrays (n,). Statistical errors are independent, systematic ones common to all points.

    Raises:
        ValueError: fewer than three points, or all at one output.
    """
    x, y, error, systematic = (
        np.asarray(a, float) for a in (output_percent, temperature_k, temperature_error_k, temperature_systematic_k)
    )
    if len(x) < 3 or np.ptp(x) == 0.0:
        raise ValueError(f"a heater curve needs three points at different outputs: {len(x)} given, {np.unique(x)} %")
    gain = np.ptp(y) / np.ptp(x)
    for _ in range(3):  # the error of the output counts as one of the temperature, through the slope
        total = np.hypot(error, gain * output_error_percent)
        design = np.stack([x, np.ones_like(x)], axis=1) / total[:, None]
        covariance = np.linalg.inv(design.T @ design)
        solve = covariance @ design.T / total
        gain, off = solve @ y
    chi2 = float(np.sum(((y - gain * x - off) / total) ** 2))
    return Estimate(
        names=("gain", "temperature_off"),
        values=np.array([gain, off]),
        covariance=covariance,
        systematic=np.abs(solve @ systematic),
        units=("K/%", "K"),
        model="straight line, errors in output and temperature",
        chi2_red=chi2 / max(len(x) - 2, 1),
        n_points=len(x),
    )
