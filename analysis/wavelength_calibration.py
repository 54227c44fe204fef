"""Wavelengths of a spectrograph's columns: from its data sheet, corrected by the lines of a pencil lamp."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from .estimate import Floats

MERCURY_NEON_NM = (
    *(435.8335, 546.0750, 576.9610, 579.0670),
    *(585.24878, 588.18950, 594.48340, 597.55343, 602.99968, 607.43376, 609.61630, 614.30627, 616.35937, 621.72812),
    *(626.64952, 630.47893, 633.44276, 638.29914, 640.2248, 650.65277, 653.28824, 659.89528, 667.82766, 671.7043),
    *(692.94672, 702.40500, 703.24128, 717.39380, 724.51665, 743.88981, 748.88712),
)
"""Strong lines of mercury and neon in air, nm: Sansonetti and Martin, doi:10.1063/1.1800011."""
LINE_ERROR_PIXELS = 0.02
"""Standard uncertainty of where a line lies, whatever its counts: an assumption about the shape of lines."""
LEAST_LINES = 3

_SIGNIFICANT = 8.0
_REACH_PIXELS, _STRETCH_PIXELS = 12, 6
_NEAR_PIXELS = 2.5
_APART_PIXELS = 5.0
_ROUNDS = 3


@dataclass(frozen=True)
class Spectrograph:
    """What its data sheet says: focal length, angle between the beams at the grating, pixels of the camera."""

    focal_mm: float
    included_deg: float
    pixel_um: float

    def wavelengths(self, centre_nm: float, grooves_per_mm: float, n: int) -> Floats:
        """nm (n,) of the columns in first order; the centre lies between the two in the middle.

        The grating equation, sin a + sin b = grooves times wavelength: b - a is the included angle at the centre, and b
        changes across the camera.

        Raises:
            ValueError: the grating does not reach so far.
        """
        per_nm, half = 1e-6 * grooves_per_mm, math.radians(0.5 * self.included_deg)
        sine = 0.5 * per_nm * centre_nm / math.cos(half)
        if not 0.0 < sine < 1.0:
            raise ValueError(f"a grating of {grooves_per_mm:g} grooves/mm does not reach {centre_nm:g} nm")
        rotation = math.asin(sine)
        position_mm = 1e-3 * self.pixel_um * (np.arange(n) - 0.5 * (n - 1))
        diffracted = rotation + half + np.arctan(position_mm / self.focal_mm)
        return np.asarray((np.sin(rotation - half) + np.sin(diffracted)) / per_nm)


@dataclass(frozen=True)
class WavelengthScale:
    """Wavelengths (n,) in nm with their standard errors (n,), the lines used, and their scatter about the fit in nm."""

    wavelength_nm: Floats
    error_nm: Floats
    lines_nm: tuple[float, ...]
    scatter_nm: float


def calibrate_wavelengths(
    counts: ArrayLike, nominal_nm: ArrayLike, lines_nm: Sequence[float] = MERCURY_NEON_NM
) -> WavelengthScale:
    """Correct nominal wavelengths (n,) by the lines that a lamp shows in its counts (n,).

    The correction is a polynomial of the column: a shift, a stretch, and with five lines or more a bend. Lines that
    others are near to are left out, and those that do not fit.

    Raises:
        ValueError: the arrays do not match, or fewer than three lines are found within 12 columns of where they should
            be.
    """
    spectrum, nominal = np.asarray(counts, dtype=float), np.asarray(nominal_nm, dtype=float)
    if spectrum.ndim != 1 or spectrum.shape != nominal.shape or not np.all(np.diff(nominal) > 0.0):
        raise ValueError(f"counts {spectrum.shape} and rising wavelengths {nominal.shape} of one length are needed")
    columns = np.arange(len(nominal), dtype=float)
    expected = np.array([line for line in lines_nm if nominal[0] < line < nominal[-1]])
    positions = np.interp(expected, nominal, columns)
    found, errors = _peaks(spectrum)
    if len(found) >= LEAST_LINES and len(expected) >= LEAST_LINES:
        moved = _onto(found, positions, len(nominal))
        alone = _alone(positions)
        positions, moved = positions[alone], moved[alone]
        at, line = _pairs(found, moved)
        use = np.ones(len(at), dtype=bool)
        for _ in range(_ROUNDS):
            if use.sum() < LEAST_LINES:
                break
            scale = _fitted(found[at[use]], errors[at[use]], positions[line[use]], nominal)
            off = np.abs(
                np.interp(found[at], columns, scale.wavelength_nm) - np.interp(positions[line], columns, nominal)
            )
            keep = off < max(5.0 * scale.scatter_nm, 0.1 * float(np.ptp(nominal)) / len(nominal))
            if np.array_equal(keep, use):
                return scale
            use = keep
        else:
            return scale
    raise ValueError(
        f"of {len(expected)} lines from {nominal[0]:.0f} to {nominal[-1]:.0f} nm fewer than {LEAST_LINES} are found: "
        "is the lamp on, and the right one?"
    )


def _peaks(spectrum: Floats) -> tuple[Floats, Floats]:
    """Columns of peaks, to parts of one, and their standard errors."""
    noise = 1.4826 * float(np.median(np.abs(np.diff(spectrum)))) / math.sqrt(2.0) + 1e-9
    top, _ = find_peaks(spectrum, height=_SIGNIFICANT * noise, prominence=_SIGNIFICANT * noise)
    top = top[(top > 0) & (top < len(spectrum) - 1)]
    before, middle, after = (np.log(np.maximum(spectrum[top + i], noise)) for i in (-1, 0, 1))
    curvature = before - 2.0 * middle + after
    column = top + 0.5 * (before - after) / np.where(curvature < 0.0, curvature, -1.0)
    width = 1.0 / np.sqrt(np.maximum(-curvature, 1e-3))
    error = np.hypot(LINE_ERROR_PIXELS, width / np.sqrt(np.maximum(spectrum[top], 1.0)))
    return column, error


def _alone(positions: Floats) -> np.ndarray:
    """Which lines have no other near."""
    distance = np.abs(positions[:, None] - positions[None, :]) + np.diag(np.full(len(positions), np.inf))
    return np.asarray(distance.min(axis=1) > _APART_PIXELS)


def _onto(found: Floats, positions: Floats, n: int) -> Floats:
    """Positions of lines after the shift and the stretch that bring most of them onto a peak."""
    shifts = np.arange(-_REACH_PIXELS, _REACH_PIXELS + 0.25, 0.5)
    u, best, chosen = 2.0 * positions / (n - 1) - 1.0, math.inf, positions
    for stretch in np.arange(-_STRETCH_PIXELS, _STRETCH_PIXELS + 0.25, 0.5):
        moved = positions + stretch * u + shifts[:, None]
        off = np.abs(found[None, None, :] - moved[:, :, None]).min(axis=2)
        misfit = np.minimum(off, _NEAR_PIXELS).sum(axis=1)
        if misfit.min() < best:
            best, chosen = float(misfit.min()), moved[int(misfit.argmin())]
    return chosen


def _pairs(found: Floats, positions: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Peaks and lines that belong together, each at most once."""
    distance = np.abs(found[:, None] - positions[None, :])
    at, line = linear_sum_assignment(np.minimum(distance, 10.0 * _NEAR_PIXELS))
    near = distance[at, line] < _NEAR_PIXELS
    return at[near], line[near]


def _fitted(found: Floats, errors: Floats, positions: Floats, nominal: Floats) -> WavelengthScale:
    columns = np.arange(len(nominal), dtype=float)
    lines = np.interp(positions, columns, nominal)
    step = np.gradient(nominal)
    off, error_nm = lines - np.interp(found, columns, nominal), errors * np.interp(found, columns, step)
    order = 2 if len(found) > 4 else 1

    def powers(column: Floats) -> Floats:
        return np.vander(2.0 * column / (len(nominal) - 1) - 1.0, order + 1, increasing=True)

    weighted = powers(found) / error_nm[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    coefficients = covariance @ weighted.T @ (off / error_nm)
    residual = off - powers(found) @ coefficients
    dof = max(len(found) - order - 1, 1)
    covariance *= max(1.0, float(np.sum((residual / error_nm) ** 2)) / dof)
    basis = powers(columns)
    return WavelengthScale(
        wavelength_nm=nominal + basis @ coefficients,
        error_nm=np.sqrt(np.einsum("ij,jk,ik->i", basis, covariance, basis)),
        lines_nm=tuple(float(line) for line in lines),
        scatter_nm=float(np.sqrt(np.sum(residual**2) / dof)),
    )
