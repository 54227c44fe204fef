"""Resistance from the overlapping three-point readings that a current source in delta mode forms itself.

As the Keithley 6221 does: it tells no voltages, so that neighbouring readings have noise in common.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded

from .delta_mode import RESOLUTION_V, DeltaResistance, ResistanceErrors, furthest_off, noise_of_voltage
from .estimate import Estimate, Floats

Positions = NDArray[np.intp]


def resistance_of_delta_readings(
    delta_v: ArrayLike,
    current_a: float,
    *,
    drift: int = 2,
    noise_v: float | None = None,
    step_v: float = RESOLUTION_V,
    errors: ResistanceErrors | None = None,
) -> DeltaResistance:
    """Resistance from (n,) overlapping three-point readings in V, as a current source in delta mode tells them.

    Reading j is (V_j - 2 V_j+1 + V_j+2) / 4, its sign changed where j is odd: current times resistance, `current_a`
    being the amplitude in A, without an offset and its linear drift. Readings share voltages: with noise of variance
    s^2 in each of those, the covariances of reading j with j, j + 1, j + 2 are 6, 4 and 1 times s^2 / 16. The mean is
    the generalised least-squares one with that covariance, beside which `step_v`, the step of the readings, stands as
    independent noise: without it a long series would be weighted as if it were known without rounding. A `drift` of
    order 2 fits what a quadratic one leaves in the readings, which changes its sign from one to the next; higher
    orders likewise; 1 is none. NaN is a reading that there is not, an overflow say. The noise of one voltage comes from
    the residuals unless `noise_v` is given. A voltage that is too far off spoils three readings by 1, 2 and 1 quarters
    of the same: what it did to them is fitted, and it is named in `outliers`.

    Raises:
        ValueError: readings that are infinite, or too few (`drift`, and one more if `noise_v` is not given); a current,
            noise or step that is not positive; a drift below 1; more than a quarter of the voltages too far off.
    """
    readings = np.asarray(delta_v, dtype=float)
    least = max(1, drift) + (noise_v is None)
    if readings.ndim != 1 or np.isinf(readings).any():
        raise ValueError(f"readings of shape {readings.shape}: accepted is one row of finite numbers, or NaN for none")
    at = np.flatnonzero(~np.isnan(readings))
    if drift < 1 or at.size < least:
        raise ValueError(
            f"{at.size} readings: a drift of order {drift} (>= 1) needs {least} at least, to tell its noise too"
        )
    for name, value in (("current", current_a), ("noise of a voltage", noise_v), ("step of the readings", step_v)):
        if value is not None and not 0.0 < value < math.inf:
            raise ValueError(f"the {name} must be positive and finite: {value}")
    values, sign = readings[at], np.where(at % 2 == 0, 1.0, -1.0)
    position = 2.0 * at / max(readings.size - 1, 1) - 1.0
    design = np.column_stack([np.ones(at.size), sign[:, None] * np.vander(position, drift - 1, increasing=True)])
    scatter = math.sqrt(16.0 / 6.0 * float(np.var(values))) if noise_v is None else noise_v
    factor = _correlation(at, step_v**2 / 12.0 / max(scatter, RESOLUTION_V / math.sqrt(12.0)) ** 2)
    spoilt = _Spoilt(at, readings.size, factor)
    left_out: list[int] = []
    while True:
        weighted = cho_solve_banded((factor, True), design)
        inverse = np.linalg.inv(design.T @ weighted)
        found = inverse @ (weighted.T @ values)
        residual = values - design @ found
        pull = cho_solve_banded((factor, True), residual)
        power, dof = max(0.0, float(residual @ pull)), at.size - design.shape[1]
        free = spoilt.free(weighted, inverse)
        free[left_out] = 0.0
        worst = furthest_off(spoilt.of(pull), free, power, dof, noise_v)
        if worst is None:
            break
        left_out.append(worst)
        if 4 * len(left_out) > readings.size + 2:
            raise ValueError(
                f"{len(left_out)} of {readings.size + 2} voltages are too far off for a noise of {scatter:.3g} V and "
                f"readings in steps of {step_v:.3g} V"
            )
        design = np.column_stack([design, spoilt.column(worst)])
    noise, budget = noise_of_voltage(power, dof, noise_v), errors or ResistanceErrors()
    resistance = float(found[0]) / current_a
    estimate = Estimate(
        names=("resistance",),
        values=np.array([resistance]),
        covariance=noise**2 * inverse[:1, :1] / current_a**2,
        systematic=np.array([math.hypot(budget.relative * resistance, budget.additive_ohm(current_a))]),
        units=("ohm",),
        model=f"overlapping three-point readings with their covariance, offset with a drift of order {drift}",
        chi2_red=power / (dof * noise_v**2) if noise_v is not None and dof else math.nan,
        n_points=at.size,
    )
    return DeltaResistance(estimate, noise, tuple(sorted(left_out)))


def _correlation(at: Positions, step: float) -> Floats:
    """Cholesky factor, banded and lower, of the covariance of readings at the positions `at`.

    In units of the variance of a voltage; `step` is the variance of rounding in the same units.
    """
    shared = np.array([6.0, 4.0, 1.0, 0.0]) / 16.0
    band = np.zeros((3, at.size))
    band[0] = shared[0] + step
    for apart in (1, 2):
        band[apart, : at.size - apart] = shared[np.minimum(at[apart:] - at[: at.size - apart], 3)]
    return np.asarray(cholesky_banded(band, lower=True))


class _Spoilt:
    """What an error of 1 V in each of n + 2 voltages does to the m readings at the positions `at` of n.

    Each has a part in three readings at most: `where` they are and the `parts`, both (n + 2, 3).
    """

    def __init__(self, at: Positions, n: int, factor: Floats) -> None:
        number = np.full(n, -1)
        number[at] = np.arange(at.size)
        reading = np.arange(n + 2)[:, None] - np.arange(3)
        found = np.where((reading >= 0) & (reading < n), number[np.clip(reading, 0, n - 1)], -1)
        self.m, self.where = at.size, np.maximum(found, 0)
        self.parts = np.where(found < 0, 0.0, np.array([1.0, -2.0, 1.0]) / 4.0 * np.where(reading % 2 == 0, 1.0, -1.0))
        near = _inverse_band(factor)
        pairs = [(first, second) for first in range(3) for second in range(3)]
        self._alone = np.zeros(n + 2)
        for first, second in pairs:
            low = np.minimum(self.where[:, first], self.where[:, second])
            apart = np.minimum(np.abs(self.where[:, first] - self.where[:, second]), 2)
            self._alone += self.parts[:, first] * self.parts[:, second] * near[apart, low]

    def of(self, values: Floats) -> Floats:
        """Their products with `values` (m,) or (m, k)."""
        return np.asarray(np.einsum("vr,vr...->v...", self.parts, values[self.where]))

    def free(self, weighted: Floats, inverse: Floats) -> Floats:
        """How much of each no fit could hide (n + 2,)."""
        hidden = self.of(weighted)
        return np.asarray(self._alone - np.sum(hidden @ inverse * hidden, axis=1))

    def column(self, voltage: int) -> Floats:
        """What one of them does (m,)."""
        column = np.zeros(self.m)
        np.add.at(column, self.where[voltage], self.parts[voltage])
        return column


def _inverse_band(factor: Floats) -> Floats:
    """What is within two of the diagonal of the inverse of a matrix with the Cholesky factor `factor`: (3, m).

    Row k has the elements (i, i + k). Takahashi et al. 1973, from the last one up.
    """
    diagonal, first, second = factor.tolist()
    m = len(diagonal)
    band = np.zeros((3, m + 2))
    straight, next_to, beyond = (row.tolist() for row in band)
    for i in range(m - 1, -1, -1):
        one = first[i] / diagonal[i] if i + 1 < m else 0.0
        two = second[i] / diagonal[i] if i + 2 < m else 0.0
        next_to[i] = -one * straight[i + 1] - two * next_to[i + 1]
        beyond[i] = -one * next_to[i + 1] - two * straight[i + 2]
        straight[i] = diagonal[i] ** -2 - one * next_to[i] - two * beyond[i]
    return np.array([straight, next_to, beyond])[:, :m]
