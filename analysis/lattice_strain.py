"""Lattice strains under a differential stress: spacings against angle, and the stress that elasticity makes of them.

Sign convention: compression is positive and t = sigma3 - sigma1 > 0 is compression along the axis at psi = 0, which
makes spacings measured along the axis smaller: d(psi) = d_p [1 + (1 - 3 cos^2 psi) Q] with Q > 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .elasticity import ALPHA, Elasticity, strain_per_stress
from .estimate import Estimate

Floats = NDArray[np.float64]
Miller = tuple[int, int, int]

ALPHA_ERROR = 0.115  # standard deviation of a uniform 0.3 to 0.7
ELASTIC_ERROR = 0.05
HKL_ERROR = 0.05  # plastic anisotropy: each line's strain departs from elasticity by about this, independently


@dataclass(frozen=True, kw_only=True)
class StressSettings:
    """How stress is made of lattice strains: the arguments of `differential_stress` that a person may choose."""

    alpha: float = ALPHA
    alpha_error: float = ALPHA_ERROR
    elastic_error: float = ELASTIC_ERROR
    hkl_error: float = HKL_ERROR

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"setting alpha: {self.alpha:g} is not accepted; the weight of the Reuss bound is 0 to 1")

    @property
    def stress_errors(self) -> dict[str, float]:
        """They, by name."""
        return {name: getattr(self, name) for name in StressSettings.__dataclass_fields__}


@dataclass(frozen=True)
class SinghFit:
    """Lattice strains of n_line lines in n_det detectors.

    `d_p` (n_line,) spacing under the mean stress, `q` (n_line,) lattice strain, `covariance` (n_line, 2, 2) of the two,
    `chi2_red` and `n_points` (n_line,); `sensitivity` (n_line, 2, n_det): change of d_p and Q per relative change of
    the spacing that a detector measures. NaN where a line has too few points. Errors include the scatter where chi
    squared is beyond three standard deviations of its expectation.
    """

    d_p: Floats
    q: Floats
    covariance: Floats
    chi2_red: Floats
    n_points: NDArray[np.int64]
    sensitivity: Floats

    @property
    def d_p_error(self) -> Floats:
        """Statistical standard uncertainty of `d_p`."""
        return np.asarray(np.sqrt(self.covariance[:, 0, 0]))

    @property
    def q_error(self) -> Floats:
        """Statistical standard uncertainty of `q`."""
        return np.asarray(np.sqrt(self.covariance[:, 1, 1]))


def fit_singh(d: ArrayLike, d_error: ArrayLike, psi_rad: ArrayLike) -> SinghFit:
    """Weighted straight line of spacing against 1 - 3 cos^2 psi, for all lines at once.

    Args:
        d: (n_det, n_line) spacings; entries that are not finite are left out.
        d_error: (n_det, n_line) statistical errors.
        psi_rad: (n_det,) angle between compression axis and diffraction vector.

    Raises:
        ValueError: the shapes disagree.

    Source: Singh et al., J. Appl. Phys. 83, 7567 (1998), doi:10.1063/1.367872.
    """
    spacing, error, psi = (np.asarray(array, dtype=float) for array in (d, d_error, psi_rad))
    if spacing.ndim != 2 or error.shape != spacing.shape or psi.shape != spacing.shape[:1]:
        raise ValueError(
            f"fit_singh needs (n_det, n_line) twice and (n_det,): {spacing.shape}, {error.shape}, {psi.shape}"
        )
    usable = np.isfinite(spacing) & np.isfinite(error) & (error > 0) & np.isfinite(psi)[:, None]
    value = np.where(usable, spacing, 0.0)
    weight = np.where(usable, 1.0 / np.where(usable, error, 1.0) ** 2, 0.0)
    u = np.broadcast_to(np.nan_to_num(1.0 - 3.0 * np.cos(psi) ** 2)[:, None], value.shape)
    moments = np.array([np.sum(weight * u**k, axis=0) for k in range(3)])
    determinant = moments[0] * moments[2] - moments[1] ** 2
    points = usable.sum(0)
    solvable = (points >= 3) & (determinant > 1e-12 * moments[0] * moments[2])
    determinant = np.where(solvable, determinant, np.nan)
    to_intercept = weight * (moments[2] - moments[1] * u) / determinant  # the fit is linear: d_p = sum(to_intercept d)
    to_slope = weight * (moments[0] * u - moments[1]) / determinant
    intercept, slope = np.sum(to_intercept * value, axis=0), np.sum(to_slope * value, axis=0)
    q = slope / intercept
    chi2_red = np.sum(weight * (value - intercept - slope * u) ** 2, axis=0) / np.maximum(points - 2, 1)
    excess = np.where(chi2_red > 1.0 + 3.0 * np.sqrt(2.0 / np.maximum(points - 2, 1)), chi2_red, 1.0)
    to_q = (to_slope - q * to_intercept) / intercept
    weights = np.stack([to_intercept, to_q])  # (2, n_det, n_line)
    variance = np.where(usable, error, 0.0) ** 2
    covariance = np.einsum("adl,dl,bdl->lab", weights, variance, weights) * excess[:, None, None]
    sensitivity = np.einsum("adl,dl->lad", weights, value)
    return SinghFit(intercept, q, covariance, chi2_red, points, sensitivity)


def differential_stress(
    fit: SinghFit,
    hkl: Sequence[Miller],
    elasticity: Elasticity,
    *,
    strain_error: ArrayLike | None = None,
    alpha: float = ALPHA,
    alpha_error: float = ALPHA_ERROR,
    elastic_error: float = ELASTIC_ERROR,
    hkl_error: float = HKL_ERROR,
) -> Estimate:
    """Differential stress t in GPa from the lattice strains of several lines of one phase.

    The mean weighs each line by its counting error and by `hkl_error` of the common stress, so that one strong line
    does not stand for all. Systematic terms: `elastic_error` (one factor for all lines), `alpha_error` by finite
    difference, `hkl_error` per line (more where the lines disagree by more), and `strain_error`.

    Args:
        fit: lattice strains of the lines.
        hkl: Miller indices of the same lines.
        elasticity: elastic constants at the pressure and temperature of the sample.
        strain_error: (n_det,) standard uncertainty of the relative spacing that each detector reads for reasons that
            stay the same through a run (two theta), independent between detectors.
        alpha: weight of the Reuss bound; alpha_error its standard uncertainty.
        elastic_error: relative standard uncertainty common to the elastic constants.
        hkl_error: relative standard uncertainty of each line's lattice strain.

    Returns:
        `differential_stress`, then `t_<hkl>` and `q_<hkl>` of each usable line. `scale` names the elastic constants.

    Raises:
        ValueError: no line could be fitted, or the number of indices does not match the fit.
    """
    if len(hkl) != len(fit.q):
        raise ValueError(f"differential_stress needs one hkl for each of {len(fit.q)} lines, got {len(hkl)}")
    use = np.flatnonzero(np.isfinite(fit.q)).tolist()
    if not use:
        raise ValueError("no line was found in three or more detectors at different angles: no stress")
    chosen = [hkl[i] for i in use]
    per_stress = strain_per_stress(elasticity, chosen, alpha)
    stress, error = fit.q[use] / per_stress, fit.q_error[use] / per_stress
    weight = _mean_weights(stress, error, hkl_error)
    mean = float(weight @ stress)
    from_alpha = fit.q[use] * _alpha_slope(elasticity, chosen, alpha) * alpha_error
    spread = hkl_error * abs(mean)  # the common stress: a line that scatters does not set its own systematic
    degrees = max(len(use) - 1, 1)
    chi2_red = float(np.sum((stress - mean) ** 2 / (error**2 + spread**2))) / degrees
    if chi2_red > 1.0 + 3.0 * np.sqrt(2.0 / degrees):
        spread *= np.sqrt(chi2_red)  # the lines disagree by more than was allowed for
    drift = np.zeros(fit.sensitivity.shape[2]) if strain_error is None else np.nan_to_num(np.asarray(strain_error))
    from_angle = fit.sensitivity[use, 1] * drift / per_stress[:, None]
    transform = np.vstack([weight, np.eye(len(use)), np.diag(per_stress)])
    systematic = np.sqrt(
        (transform @ stress * elastic_error) ** 2
        + (transform @ from_alpha) ** 2
        + transform**2 @ np.full(len(use), spread**2)
        + np.sum((transform @ from_angle) ** 2, axis=1)
    )
    systematic[1 + len(use) :] = np.sqrt(np.sum((np.diag(per_stress) @ from_angle) ** 2, axis=1))  # Q is as measured
    names = [_label(indices) for indices in chosen]
    return Estimate(
        names=("differential_stress", *(f"t_{n}" for n in names), *(f"q_{n}" for n in names)),
        values=transform @ stress,
        covariance=transform @ np.diag(error**2) @ transform.T,
        systematic=systematic,
        units=("GPa",) * (1 + len(use)) + ("",) * len(use),
        model=f"Singh lattice strain, alpha={alpha:g}; t > 0: compression along the axis at azimuth 0",
        chi2_red=chi2_red,
        n_points=int(fit.n_points[use].sum()),
        scale=elasticity.name,
    )


def fit_axis_azimuth(d: ArrayLike, d_error: ArrayLike, azimuth_deg: ArrayLike) -> tuple[float, float]:
    """Azimuth in degrees at which spacings are smallest, and its error: the compression axis as the sample shows it.

    d = A - B cos 2(azimuth - axis), lines combined; between -90 and 90, NaN where less than four detectors see a line.
    Errors include the scatter. An axis that extends instead appears 90 degrees away.
    """
    spacing, error = np.asarray(d, dtype=float), np.asarray(d_error, dtype=float)
    double = 2.0 * np.radians(np.asarray(azimuth_deg, dtype=float))
    vectors, weights = [], []
    for column, sigma in zip(spacing.T, error.T, strict=True):
        use = np.isfinite(column) & np.isfinite(sigma) & np.isfinite(double)
        if use.sum() < 4:
            continue
        design = np.column_stack([np.ones(use.sum()), np.cos(double[use]), np.sin(double[use])]) / sigma[use, None]
        inverse = np.linalg.pinv(design.T @ design)
        values = inverse @ design.T @ (column[use] / sigma[use])
        residual = column[use] / sigma[use] - design @ values
        covariance = inverse * max(1.0, float(residual @ residual) / (use.sum() - 3))
        vectors.append(-values[1:] / values[0])
        weights.append(np.linalg.inv(covariance[1:, 1:]) * values[0] ** 2)
    if not vectors:
        return float("nan"), float("nan")
    covariance = np.linalg.inv(sum(weights))
    x, y = covariance @ sum(w @ v for w, v in zip(weights, vectors, strict=True))
    gradient = np.array([-y, x]) / (x * x + y * y)
    return float(np.degrees(0.5 * np.arctan2(y, x))), float(np.degrees(0.5 * np.sqrt(gradient @ covariance @ gradient)))


def _label(hkl: Miller) -> str:
    return ("" if all(0 <= index <= 9 for index in hkl) else ",").join(str(index) for index in hkl)


def _mean_weights(stress: Floats, error: Floats, hkl_error: float) -> Floats:
    """Weights of the lines; the spread allowed to them is taken of their mean, so that no line weighs itself."""
    weight = 1.0 / error**2
    for _ in range(3):
        mean = float(weight @ stress / weight.sum())
        weight = 1.0 / (error**2 + (hkl_error * mean) ** 2)
    return np.asarray(weight / weight.sum())


def _alpha_slope(elasticity: Elasticity, hkl: Sequence[Miller], alpha: float) -> Floats:
    """Derivative of t / Q with respect to alpha by central difference."""
    step = 0.02
    low, high = (1.0 / strain_per_stress(elasticity, hkl, alpha + side * step) for side in (-1.0, 1.0))
    return np.asarray((high - low) / (2.0 * step))
