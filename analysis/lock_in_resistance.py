"""Resistance from the readings of a lock-in amplifier that follows an alternating current through the sample."""

import math

import numpy as np
from numpy.typing import ArrayLike

from .delta_mode import ResistanceErrors
from .estimate import Estimate

PHASE_ERROR_DEG = 0.5
"""Standard uncertainty of the phase between current and reference: an assumption; a known resistor in place of the
sample measures it."""
LEAST_READINGS = 3


def lock_in_resistance(
    x_v: ArrayLike,
    y_v: ArrayLike,
    current_rms_a: float,
    *,
    phase_deg: float = 0.0,
    phase_error_deg: float = PHASE_ERROR_DEG,
    errors: ResistanceErrors | None = None,
) -> Estimate:
    """`resistance` and `reactance` (ohm), with their covariance, from n in-phase and quadrature voltages (n,), rms V.

    `phase_deg` is what the lock-in shows for a pure resistance. The statistical covariance is that of the mean of the
    readings, which must be several time constants apart. An error of the phase turns reactance into resistance, and
    lowers the resistance in second order: both are systematic, as are current, gain and series resistance.

    Raises:
        ValueError: arrays of different length, fewer than three readings, one that is no number, a current that is not
            positive, or a phase error that is negative.
    """
    x, y = np.asarray(x_v, dtype=float), np.asarray(y_v, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"X {x.shape} and Y {y.shape} of the lock-in must be two arrays of one length")
    if x.size < LEAST_READINGS:
        raise ValueError(f"{x.size} readings of the lock-in: {LEAST_READINGS} at least are needed")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        bad = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))[0]
        raise ValueError(f"reading {bad} (from 0) of the lock-in is no number: X {x[bad]} V, Y {y[bad]} V")
    if not (0.0 < current_rms_a < math.inf and phase_error_deg >= 0.0 and math.isfinite(phase_deg)):
        raise ValueError(
            f"current > 0, phase and phase error >= 0 are needed: {current_rms_a} A, {phase_deg}, {phase_error_deg} deg"
        )
    phase, phase_error = math.radians(phase_deg), math.radians(phase_error_deg)
    turn = np.array([[math.cos(phase), math.sin(phase)], [-math.sin(phase), math.cos(phase)]]) / current_rms_a
    resistance, reactance = (float(value) for value in turn @ np.array([x.mean(), y.mean()]))
    budget = errors or ResistanceErrors()
    second_order = 0.5 * phase_error**2 * resistance
    common = math.hypot(budget.relative * resistance, budget.additive_ohm(current_rms_a), second_order)
    return Estimate(
        names=("resistance", "reactance"),
        values=np.array([resistance, reactance]),
        covariance=turn @ np.cov(x, y) @ turn.T / x.size,
        systematic=np.array(
            [
                math.hypot(common, reactance * phase_error),
                math.hypot(budget.relative * reactance, resistance * phase_error),
            ]
        ),
        units=("ohm", "ohm"),
        model="lock-in at one frequency, mean of the readings",
        chi2_red=math.nan,
        n_points=x.size,
    )
