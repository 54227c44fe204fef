"""Preferred orientation from ring intensity against angle: March-Dollase r, pole-figure and orientation indices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from .estimate import Estimate, Floats

_CONE_POINTS = 32
_POLE_NODES, _POLE_WEIGHTS = np.polynomial.legendre.leggauss(120)
_LN_R_LIMIT = 2.4
_STEP = 1e-5
_INDEX_STEP = 1e-3


@dataclass(frozen=True)
class Ring:
    """Intensities of one diffraction ring: `psi_deg`, `intensity`, `error` (n,), and its plane's tilt from the axis.

    psi: angle between diffraction vector and compression axis. `tilt_deg`: angle between the plane normal and the
    crystal's texture axis (0 for a 00l ring of a crystal whose c axis turns). Points that are no number are left out.
    `spurious` (n,): relative change of the intensities that is not texture, one standard uncertainty of it for all
    rings together.
    """

    psi_deg: Floats
    intensity: Floats
    error: Floats
    tilt_deg: float = 0.0
    name: str = ""
    spurious: Floats | None = None


def march_dollase(angle_deg: ArrayLike, r: float) -> Floats:
    """March-Dollase density W (any shape, 1 = random) of texture axes at `angle_deg` from the compression axis.

    W = (r^2 cos^2 a + sin^2 a / r)^(-3/2); r < 1 gathers them along the axis. Source: Dollase, J. Appl. Cryst. 19,
    267 (1986), doi:10.1107/S0021889886089458 (not verified).

    Raises:
        ValueError: r is not positive.
    """
    if not (r > 0.0 and math.isfinite(r)):
        raise ValueError(f"March-Dollase r is positive (1 = random), not {r}")
    return _density(np.cos(np.radians(np.asarray(angle_deg, dtype=float))) ** 2, r)


def ring_density(psi_deg: ArrayLike, tilt_deg: float, r: float) -> Floats:
    """Density (n,) of plane normals at `psi_deg` (n,) for a plane tilted by `tilt_deg` from the texture axis.

    The texture axis lies anywhere on a cone about the diffraction vector; W is averaged over that cone.
    """
    return np.asarray(_density(_cone_cosine2(psi_deg, tilt_deg), r).mean(axis=-1), dtype=float)


def _cone_cosine2(psi_deg: ArrayLike, tilt_deg: float) -> Floats:
    """Squared cosine (n, points) between the compression axis and texture axes on the cone about each normal."""
    psi, tilt = np.radians(np.asarray(psi_deg, dtype=float)), math.radians(tilt_deg)
    phi = (np.arange(_CONE_POINTS) + 0.5) * (math.pi / _CONE_POINTS)
    cosine = np.cos(psi)[..., None] * math.cos(tilt) + np.sin(psi)[..., None] * math.sin(tilt) * np.cos(phi)
    return np.asarray(cosine**2, dtype=float)


def plane_tilt(hkl: tuple[int, int, int], c_over_a: float) -> float:
    """Angle in degrees between the normal of (hkl) and the c axis of a hexagonal crystal.

    Raises:
        ValueError: hkl is 0 0 0, or c/a is not positive.
    """
    h, k, l = hkl  # noqa: E741  (the indices' own names)
    if hkl == (0, 0, 0) or not c_over_a > 0.0:
        raise ValueError(f"no plane normal for hkl {hkl} and c/a {c_over_a}: hkl differs from 0 0 0, c/a is positive")
    return math.degrees(math.atan2(2.0 * c_over_a * math.sqrt((h * h + h * k + k * k) / 3.0), abs(l)))


def texture_index(r: float) -> float:
    """Texture index J (1 = random) of the March-Dollase density: integral of W^2 sin a from 0 to 90 degrees.

    It is the pole-figure index of the texture axis and, as the crystals turn freely about that axis, the index
    of the whole orientation distribution too.
    """
    cosine = 0.5 * (_POLE_NODES + 1.0)
    return float(0.5 * np.sum(_POLE_WEIGHTS * _density(cosine**2, r) ** 2))


def march_strain(r: float) -> float:
    """Axial shortening (true strain) that turns passive plane normals from random to r: -ln r.

    Source: March, Z. Kristallogr. 81, 285 (1932), doi:10.1524/zkri.1932.81.1.285 (not verified).
    """
    if not r > 0.0:
        raise ValueError(f"March-Dollase r is positive, not {r}")
    return -math.log(r)


def misorientation_index(observed: ArrayLike) -> float:
    """M-index (0 random, 1 single crystal) of `observed` (36,): fractions of grain pairs in 5 degree bins, no symmetry.

    Source: Skemer et al., Tectonophysics 411, 157 (2005), doi:10.1016/j.tecto.2005.08.023 (not verified).

    Raises:
        ValueError: not 36 bins that add up to 1.
    """
    fractions = np.asarray(observed, dtype=float)
    if fractions.shape != (36,) or not np.all(fractions >= 0.0) or abs(fractions.sum() - 1.0) > 1e-6:
        raise ValueError(f"misorientations come as 36 bins of 5 degrees adding up to 1, not {fractions.shape}")
    return float(0.5 * np.sum(np.abs(fractions - random_misorientations())))


def random_misorientations() -> Floats:
    """Fractions (36,) of random grain pairs in 5 degree bins of misorientation, for crystals without symmetry."""
    edge = np.radians(np.arange(37) * 5.0)
    return np.asarray(np.diff(edge - np.sin(edge)) / math.pi, dtype=float)


def relative_to(intensity: Floats, error: Floats, reference: Floats, reference_error: Floats) -> tuple[Floats, Floats]:
    """Intensities over those of an untextured reference, with errors: takes out each detector's own efficiency.

    All arrays have one shape. Where the reference is not positive the result is no number and later left out.
    """
    usable = (reference > 0.0) & np.isfinite(reference) & np.isfinite(reference_error)
    safe = np.where(usable, reference, 1.0)
    ratio = np.where(usable, intensity / safe, np.nan)
    return ratio, np.where(usable, np.hypot(error, ratio * reference_error) / safe, np.nan)


def fit_texture(rings: Sequence[Ring]) -> Estimate:
    """March-Dollase r common to all rings, and a scale for each, by weighted least squares.

    Returns names `march_r`, `texture_index`, then `scale_<name or number>` for each ring. Errors are enlarged by the
    square root of the reduced chi squared where that is above 1 (grains make rings spotty beyond counting noise).
    Systematic terms of r and the index: what the rings' `spurious` changes make.

    Raises:
        ValueError: no ring, or too few good points for r and the scales.
    """
    data = [_usable(ring) for ring in rings]
    n_points = sum(ring.psi_deg.size for ring in data)
    dof = n_points - len(data) - 1
    if not data or dof < 1 or any(ring.psi_deg.size == 0 for ring in data):
        raise ValueError(
            f"texture needs more good points than its {len(data)} rings + 1, each ring with some: {n_points}"
        )
    stack = _Stack(data)
    ln_r = stack.best_ln_r()
    r = math.exp(ln_r)
    chi2_red = stack.chi2(ln_r) / dof
    covariance = stack.covariance(ln_r) * max(chi2_red, 1.0)
    spurious = np.zeros_like(covariance)
    spurious[0, 0] = stack.spurious_ln_r(ln_r) ** 2
    return Estimate(
        names=("march_r", "texture_index", *(f"scale_{ring.name or i}" for i, ring in enumerate(data))),
        values=np.array([r, texture_index(r), *stack.scales(ln_r)]),
        covariance=_with_index(covariance, ln_r),
        systematic=np.sqrt(np.diag(_with_index(spurious, ln_r))),
        units=("", "", *("" for _ in data)),
        model="March-Dollase, axial",
        chi2_red=chi2_red,
        n_points=n_points,
    )


def _with_index(covariance: Floats, ln_r: float) -> Floats:
    """Covariance of (r, J, scales) from that of (ln r, scales)."""
    below, here, above = (texture_index(math.exp(ln_r + step)) for step in (-_INDEX_STEP, 0.0, _INDEX_STEP))
    slope, curvature = (above - below) / (2.0 * _INDEX_STEP), (above - 2.0 * here + below) / _INDEX_STEP**2
    size = covariance.shape[0]
    transform = np.zeros((size + 1, size))
    transform[0, 0], transform[1, 0] = math.exp(ln_r), slope
    transform[2:, 1:] = np.eye(size - 1)
    result = transform @ covariance @ transform.T
    # J is flat where the texture is random, so the second order carries its error there
    result[1, 1] += 0.5 * (curvature * covariance[0, 0]) ** 2
    return np.asarray(result, dtype=float)


def _density(cosine2: Floats, r: float) -> Floats:
    inverse = 1.0 / (r * r * cosine2 + (1.0 - cosine2) / r)
    return np.asarray(inverse * np.sqrt(inverse), dtype=float)


def _usable(ring: Ring) -> Ring:
    psi, intensity, error = (np.ravel(np.asarray(a, dtype=float)) for a in (ring.psi_deg, ring.intensity, ring.error))
    if not psi.shape == intensity.shape == error.shape:
        raise ValueError(f"ring {ring.name}: {psi.size} angles, {intensity.size} intensities, {error.size} errors")
    good = np.isfinite(psi) & np.isfinite(intensity) & np.isfinite(error) & (error > 0.0)
    spurious = np.zeros_like(psi) if ring.spurious is None else np.nan_to_num(np.ravel(ring.spurious))
    return Ring(psi[good], intensity[good], error[good], ring.tilt_deg, ring.name, spurious[good])


class _Stack:
    """All rings in one array, so that a trial of r costs one pass; the scales are linear and follow from r."""

    def __init__(self, rings: Sequence[Ring]) -> None:
        self._cosine2 = np.concatenate([_cone_cosine2(ring.psi_deg, ring.tilt_deg) for ring in rings])
        self._error = np.concatenate([ring.error for ring in rings])
        self._weighted = np.concatenate([ring.intensity for ring in rings]) / self._error
        self._spurious = np.concatenate([ring.spurious for ring in rings if ring.spurious is not None])
        self._sizes = [ring.psi_deg.size for ring in rings]
        self._starts = np.cumsum([0, *self._sizes[:-1]])

    def _shape(self, ln_r: float) -> Floats:
        """Density over error, (n_points,)."""
        return np.asarray(_density(self._cosine2, math.exp(ln_r)).mean(axis=-1) / self._error, dtype=float)

    def _sums(self, values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, self._starts), dtype=float)

    def scales(self, ln_r: float) -> Floats:
        """The best scale of each ring, (n_rings,)."""
        shape = self._shape(ln_r)
        return self._sums(shape * self._weighted) / self._sums(shape * shape)

    def chi2(self, ln_r: float) -> float:
        """Chi squared at the best scales."""
        shape = self._shape(ln_r)
        scales = self._sums(shape * self._weighted) / self._sums(shape * shape)
        return float(np.sum((self._weighted - np.repeat(scales, self._sizes) * shape) ** 2))

    def best_ln_r(self) -> float:
        """Where chi squared is least. Raises ValueError where it has no valley."""
        grid = np.linspace(-_LN_R_LIMIT, _LN_R_LIMIT, 25)  # a coarse grid finds the valley
        start = int(np.argmin([self.chi2(g) for g in grid]))
        if start in (0, grid.size - 1):
            raise ValueError(
                f"texture: r runs to {math.exp(grid[start]):.3g}; intensities follow no March-Dollase density"
            )
        bounds = (grid[start - 1], grid[start + 1])
        return float(minimize_scalar(self.chi2, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)

    def covariance(self, ln_r: float) -> Floats:
        """Covariance (1 + n_rings, ...) of (ln r, scales) from the Jacobian. Raises ValueError where it has none."""
        jacobian = self._jacobian(ln_r)
        try:
            return np.asarray(np.linalg.inv(jacobian.T @ jacobian), dtype=float)
        except np.linalg.LinAlgError:
            raise ValueError("texture: the rings do not determine r (all at one angle psi)") from None

    def spurious_ln_r(self, ln_r: float) -> float:
        """How far ln r moves when all intensities change by what is not texture, to first order."""
        if not self._spurious.any():
            return 0.0
        change = np.repeat(self.scales(ln_r), self._sizes) * self._shape(ln_r) * self._spurious
        return float((self.covariance(ln_r) @ (self._jacobian(ln_r).T @ change))[0])

    def _jacobian(self, ln_r: float) -> Floats:
        slope = (self._shape(ln_r + _STEP) - self._shape(ln_r - _STEP)) / (2.0 * _STEP)
        ring = np.repeat(np.arange(len(self._sizes)), self._sizes)
        jacobian = np.zeros((ring.size, 1 + len(self._sizes)))
        jacobian[:, 0] = np.repeat(self.scales(ln_r), self._sizes) * slope
        jacobian[np.arange(ring.size), 1 + ring] = self._shape(ln_r)
        return jacobian
