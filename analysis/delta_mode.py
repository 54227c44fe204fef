"""Resistance from voltages read while the current changes its sign: reversal pairs, three-point delta mode, its errors.

The readings are V_k = I_k R + V_o + d k + q k^2 + white noise: a thermoelectric voltage that drifts. Pairs remove V_o,
triplets V1 - 2 V2 + V3 the linear drift d too; what q leaves in triplets changes its sign from one to the next. What a
source tells that forms them itself is for `delta_readings`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from .estimate import Estimate, Floats

CURRENT_ERROR = 1e-3
"""Relative standard uncertainty of a current source: an assumption; the data sheet has that of the range."""
METER_GAIN_ERROR = 5e-5
"""Relative standard uncertainty of the gain of a nanovoltmeter: an assumption like that of the current."""
THERMOELECTRIC_V = 1e-8
"""Standard uncertainty of voltages that follow the current's sign (Peltier heat at the contacts): an assumption."""
RESOLUTION_V = 1e-9
"""Step of a nanovoltmeter's readings; a scatter that they do not show is taken to be that of the steps."""

_FALSE_ALARM = 1e-3  # probability that a series without outliers has one flagged


@dataclass(frozen=True)
class ResistanceErrors:
    """What a series of readings has in common: relative errors of current and meter, voltages that follow the current.

    `series_ohm` is the standard uncertainty of the resistance of leads and contacts that is measured with the sample:
    none with four leads.
    """

    current: float = CURRENT_ERROR
    meter_gain: float = METER_GAIN_ERROR
    thermoelectric_v: float = THERMOELECTRIC_V
    series_ohm: float = 0.0

    @property
    def relative(self) -> float:
        """Relative standard uncertainty of every resistance."""
        return math.hypot(self.current, self.meter_gain)

    def additive_ohm(self, current_a: float) -> float:
        """Standard uncertainty in ohm that does not depend on the resistance, measured with `current_a`."""
        return math.hypot(self.thermoelectric_v / current_a, self.series_ohm)


@dataclass(frozen=True)
class DeltaResistance:
    """`resistance` (ohm); of voltages also `offset` (V, at the middle of the series), noise of a voltage (V), outliers.

    `outliers` are positions in the series of voltages, counted from 0, of those that were left out: so far off that
    less than one series in a thousand has such a one by chance.
    """

    estimate: Estimate
    noise_v: float
    outliers: tuple[int, ...]


def reversal_pairs(voltage_v: ArrayLike, current_a: ArrayLike) -> Floats:
    """Resistance in ohm from each two neighbours (n - 1,): free of a constant offset, not of its drift.

    Raises:
        ValueError: as `delta_resistance`, but two readings are enough.
    """
    voltage, current = _alternating(voltage_v, current_a)
    return np.asarray(np.diff(voltage) / np.diff(current))


def triplets(voltage_v: ArrayLike, current_a: ArrayLike) -> Floats:
    """Resistance in ohm from each three neighbours (n - 2,): free of an offset with linear drift.

    Overlapping triplets share readings: with equal currents and noise of variance s^2 the covariances of R_j with R_j,
    R_j+1, R_j+2 are 6, 4 and 1 times s^2 / (16 I^2) (signs of the currents included).

    Raises:
        ValueError: as `delta_resistance`.
    """
    voltage, current = _alternating(voltage_v, current_a)
    return np.asarray(np.diff(voltage, 2) / np.diff(current, 2))


def delta_resistance(
    voltage_v: ArrayLike,
    current_a: ArrayLike,
    *,
    drift: int = 2,
    noise_v: float | None = None,
    errors: ResistanceErrors | None = None,
) -> DeltaResistance:
    """Resistance from (n,) voltages in V, read at equal intervals with (n,) currents in A of alternating sign.

    `drift` is the order of the polynomial that the offset may follow. The fit of resistance and polynomial to the
    readings is the generalised least-squares mean of all overlapping differences with their full covariance: of pairs
    for 0, of triplets for 1, of triplets without what a quadratic drift leaves in them for 2. It has the least
    variance that white noise allows. The noise comes from the residuals unless `noise_v`, that of one reading, is
    given. Readings that are too far off, by the residual each has from a fit to the others, are left out and named.

    Raises:
        ValueError: readings that are no numbers, currents that do not change their sign each time, or too few readings:
            three at least, `drift` + 2 if `noise_v` is given, `drift` + 3 if not.
    """
    voltage, current = _alternating(voltage_v, current_a)
    n, least = voltage.size, max(3, drift + 2 + (noise_v is None))
    if drift < 0 or n < least:
        raise ValueError(f"{n} readings: a drift of order {drift} (>= 0) needs {least} at least, to tell its noise too")
    if noise_v is not None and not 0.0 < noise_v < math.inf:
        raise ValueError(f"the noise of a reading must be positive and finite: {noise_v} V")
    amplitude = math.sqrt(float(np.mean(current**2)))
    position = np.linspace(-1.0, 1.0, n)
    design = np.column_stack([current / amplitude, np.vander(position, drift + 1, increasing=True)])
    use = np.ones(n, dtype=bool)
    while True:
        orthogonal, triangle = np.linalg.qr(design[use])
        projection = orthogonal.T @ voltage[use]
        residual, free = voltage[use] - orthogonal @ projection, 1.0 - np.sum(orthogonal**2, axis=1)
        power = float(residual @ residual)
        worst = furthest_off(residual, free, power, int(use.sum()) - design.shape[1], noise_v)
        if worst is None:
            break
        use[np.flatnonzero(use)[worst]] = False
    dof = int(use.sum()) - design.shape[1]
    noise = noise_of_voltage(power, dof, noise_v)
    inverse = np.linalg.inv(triangle)[:2] / np.array([[amplitude], [1.0]])
    resistance, offset = inverse @ projection
    budget = errors or ResistanceErrors()
    estimate = Estimate(
        names=("resistance", "offset"),
        values=np.array([resistance, offset]),
        covariance=noise**2 * inverse @ inverse.T,
        systematic=np.array(
            [
                math.hypot(budget.relative * resistance, budget.additive_ohm(amplitude)),
                budget.meter_gain * abs(float(offset)),
            ]
        ),
        units=("ohm", "V"),
        model=f"readings of alternating current, offset with a drift of order {drift}",
        chi2_red=power / (dof * noise_v**2) if noise_v is not None and dof else math.nan,
        n_points=int(use.sum()),
    )
    return DeltaResistance(estimate, noise, tuple(int(i) for i in np.flatnonzero(~use)))


def noise_of_voltage(power: float, dof: int, noise_v: float | None) -> float:
    """Noise of one voltage, at least that of the steps of a meter."""
    return max(math.sqrt(power / dof), RESOLUTION_V / math.sqrt(12)) if noise_v is None else noise_v


def furthest_off(residual: Floats, free: Floats, power: float, dof: int, noise_v: float | None) -> int | None:
    """The reading that is furthest off, if that is no chance; its own residual does not count in the noise.

    Where one of them is left out, `power`, the sum of squares, falls by its residual squared over what is `free`.
    """
    if dof < 2:
        return None
    free = np.maximum(free, 1e-9)
    chance = 1.0 - _FALSE_ALARM / (2 * residual.size)
    if noise_v is None:
        others = (power - residual**2 / free) / (dof - 1)
        variance, limit = np.maximum(others, RESOLUTION_V**2 / 12), float(stdtrit(dof - 1, chance))
    else:
        variance, limit = np.full(residual.size, noise_v**2), float(ndtri(chance))
    off = np.abs(residual) / np.sqrt(variance * free)
    worst = int(np.argmax(off))
    return worst if off[worst] > limit else None


def _alternating(voltage_v: ArrayLike, current_a: ArrayLike) -> tuple[Floats, Floats]:
    voltage, current = np.asarray(voltage_v, dtype=float), np.asarray(current_a, dtype=float)
    if voltage.ndim != 1 or voltage.shape != current.shape:
        raise ValueError(f"voltages {voltage.shape} and currents {current.shape} must be two arrays of one length")
    if not (np.isfinite(voltage).all() and np.isfinite(current).all()):
        bad = np.flatnonzero(~(np.isfinite(voltage) & np.isfinite(current)))[0]
        raise ValueError(f"reading {bad} (from 0) is no number: {voltage[bad]} V at {current[bad]} A")
    same = np.flatnonzero(current[1:] * current[:-1] >= 0.0)
    if same.size:
        raise ValueError(
            f"readings {same[0]} and {same[0] + 1} (from 0) have currents of one sign, {current[same[0]]} and "
            f"{current[same[0] + 1]} A: currents that change their sign with each reading are needed"
        )
    return voltage, current
