"""Debye rings in an image: where each one lies in every sector of azimuth, its neighbours fitted along with it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.signal import find_peaks

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LN2 = float(np.log(2.0))
_LEAST_PIXELS_PER_PARAMETER = 12
_WINDOW_WIDTHS = 6.0  # half of a fitted window, in widths of the ring
_PROMINENCE = 8.0  # of a ring, in standard deviations of the radial pattern
_SIGNIFICANCE = 5.0  # of a ring in one sector, in standard deviations of its height
_SPOT = 8.0
_TRIALS = 40
_MOST_NEIGHBOURS = 4


@dataclass(frozen=True)
class Pattern:
    """Counts of valid pixels, each with its two theta and azimuth in degrees: flat arrays (n,) of one length."""

    counts: Floats
    two_theta_deg: Floats
    azimuth_deg: Floats
    pixel_deg: float

    def radial(self) -> tuple[Floats, Floats, Floats]:
        """Two theta, mean counts and their standard error (m,) in bins of half a pixel; empty bins are left out."""
        start = float(self.two_theta_deg.min())
        index = ((self.two_theta_deg - start) / (0.5 * self.pixel_deg)).astype(np.intp)
        number = np.bincount(index)
        total = np.bincount(index, self.counts)
        full = number > 8
        mean = total[full] / number[full]
        centre = start + (np.flatnonzero(full) + 0.5) * 0.5 * self.pixel_deg
        error = np.sqrt(np.maximum(mean, 0.1) / number[full])
        return np.asarray(centre), np.asarray(mean), np.asarray(error)

    def sharpness(self) -> float:
        """Share (0 to 1) of the pixels' variance that two theta alone explains: right geometry makes it large."""
        level = np.log1p(self.counts)
        index = ((self.two_theta_deg - self.two_theta_deg.min()) / self.pixel_deg).astype(np.intp)
        number = np.bincount(index)
        mean = np.bincount(index, level) / np.maximum(number, 1)
        spread = float(level.size * level.var())
        return float(number @ (mean - level.mean()) ** 2) / spread if spread > 0.0 else 0.0


@dataclass(frozen=True)
class RingFits:
    """One ring in n sectors: `two_theta_deg`, `error_deg`, `intensity`, `intensity_error` (n,), NaN where not found.

    `width_deg` full width at half maximum in the whole ring, `neighbours_deg` other rings fitted in the same window.
    """

    two_theta_deg: Floats
    error_deg: Floats
    intensity: Floats
    intensity_error: Floats
    width_deg: float
    neighbours_deg: tuple[float, ...]


def sectors(n: int) -> Floats:
    """Azimuths in degrees (n,) of the middles of n equal sectors from -180 to 180."""
    return np.asarray(-180.0 + (np.arange(n) + 0.5) * 360.0 / n)


def without_spots(pattern: Pattern, n_sectors: int) -> tuple[Pattern, int]:
    """The pattern without pixels far above the median of their sector and two theta (single crystals), and how many."""
    radial = ((pattern.two_theta_deg - pattern.two_theta_deg.min()) / pattern.pixel_deg).astype(np.intp)
    sector = ((pattern.azimuth_deg + 180.0) * n_sectors / 360.0).astype(np.intp) % n_sectors
    cell = radial * n_sectors + sector
    order = np.lexsort((pattern.counts, cell))
    start = np.searchsorted(cell[order], np.arange(cell.max() + 2))
    number = np.diff(start)
    middle = pattern.counts[order][np.minimum(start[:-1] + number // 2, cell.size - 1)]
    # a ring's own slope within a cell reaches a few times its median, a crystal's spot hundreds of times
    keep = pattern.counts <= _SPOT * (middle[cell] + 3.0)
    cleaned = Pattern(pattern.counts[keep], pattern.two_theta_deg[keep], pattern.azimuth_deg[keep], pattern.pixel_deg)
    return cleaned, int(np.sum(~keep))


def find_rings(pattern: Pattern) -> Floats:
    """Two theta in degrees of all rings that stand out of the radial pattern."""
    two_theta, mean, error = pattern.radial()
    peaks, _ = find_peaks(mean, prominence=_PROMINENCE * error, width=(1, 40))
    return np.asarray(two_theta[peaks], dtype=float)


def fit_ring(pattern: Pattern, expected_deg: float, tolerance_deg: float, n_sectors: int, found: Floats) -> RingFits:
    """Fit the ring nearest to `expected_deg`, and those of `found` that overlap with it, in every sector.

    Pixels are gathered in bins of a quarter of one and fitted with Poisson weights: pseudo-Voigts on a straight line;
    errors are enlarged by the scatter. Shape and relative widths come from the whole ring, positions and heights from
    each sector.

    Raises:
        ValueError: no ring stands out within `tolerance_deg`.
    """
    near = found[np.abs(found - expected_deg) < tolerance_deg]
    if near.size == 0:
        raise ValueError(f"no ring within {tolerance_deg:.2f} deg of {expected_deg:.3f}")
    centre = float(near[np.argmin(np.abs(near - expected_deg))])
    width = _width(pattern, centre)
    half = max(_WINDOW_WIDTHS * width, 6.0 * pattern.pixel_deg)
    others = found[(np.abs(found - centre) < half + width) & (found != centre)]
    others = np.sort(others[np.argsort(np.abs(others - centre))[:_MOST_NEIGHBOURS]])
    low, high = min(centre - half, *(others - 2 * width), centre), max(centre + half, *(others + 2 * width), centre)
    inside = (pattern.two_theta_deg > low) & (pattern.two_theta_deg < high)
    x, y, azimuth = (a[inside] for a in (pattern.two_theta_deg, pattern.counts, pattern.azimuth_deg))
    model = _Rings(centre, np.array([centre, *others]), width, shape_free=True)
    bin_deg = 0.25 * pattern.pixel_deg
    whole = model.fit(x, y, bin_deg)
    if whole is None:
        raise ValueError(f"the ring near {centre:.3f} deg cannot be fitted")
    local = _Rings(centre, whole.centres, whole.width, shape_free=False, eta=whole.eta)
    opening = 180.0 / n_sectors
    chosen = [np.abs(azimuth - middle) <= opening for middle in sectors(n_sectors)]
    rows = [_sector(local, x[within], y[within], bin_deg) for within in chosen]
    position, error, intensity, intensity_error = np.array(rows).T
    neighbours = tuple(float(c) for c in whole.centres[1:])
    return RingFits(position, error, intensity, intensity_error, whole.width, neighbours)


@dataclass(frozen=True)
class _Fit:
    values: Floats
    errors: Floats
    centres: Floats
    width: float
    eta: float


@dataclass(frozen=True)
class _Rings:
    """Model of overlapping rings: background, slope, (height, position) of each, ln of the common width (and shape)."""

    middle: float
    centres: Floats
    width: float
    shape_free: bool
    eta: float = 0.3

    def start(self, x: Floats, y: Floats) -> Floats:
        background = float(np.percentile(y, 20)) + 0.1
        heights = []
        for centre in self.centres:
            top = y[np.abs(x - centre) < 0.5 * self.width]
            heights.append(max(float(top.mean()) - background, 0.5) if top.size else 0.5)
        pairs = np.stack([heights, self.centres], axis=1).ravel()
        return np.array([background, 0.0, *pairs, 0.0, *([self.eta] if self.shape_free else [])])

    def __call__(self, values: Floats, x: Floats) -> tuple[Floats, Floats]:
        """Counts (m,) and their derivatives (m, parameters)."""
        n = self.centres.size
        eta = float(values[3 + 2 * n]) if self.shape_free else self.eta
        width = math.exp(min(max(float(values[2 + 2 * n]), -3.0), 3.0))
        jacobian = np.zeros((x.size, values.size))
        jacobian[:, 0], jacobian[:, 1] = 1.0, x - self.middle
        model = values[0] + values[1] * (x - self.middle)
        for i, (height, centre) in enumerate(values[2 : 2 + 2 * n].reshape(n, 2)):
            # a ring that a sector does not show may run away; it is refused later
            z = np.clip((x - centre) * (2.0 / (self.width * width)), -1e3, 1e3)
            lorentz, gauss = 1.0 / (1.0 + z * z), np.exp(-_LN2 * z * z)
            shape = eta * lorentz + (1.0 - eta) * gauss
            slope = -2.0 * height * z * (eta * lorentz * lorentz + (1.0 - eta) * _LN2 * gauss)  # by z
            model = model + height * shape
            jacobian[:, 2 + 2 * i] = shape
            jacobian[:, 3 + 2 * i] = slope * (-2.0 / (self.width * width))
            jacobian[:, 2 + 2 * n] += slope * -z
            if self.shape_free:
                jacobian[:, 3 + 2 * n] += height * (lorentz - gauss)
        return np.asarray(model), jacobian

    def fit(self, x: Floats, y: Floats, bin_deg: float) -> _Fit | None:
        """Two passes, the second weighted by the model of the first; None where there are too few pixels."""
        values = self.start(x, y)
        if x.size < _LEAST_PIXELS_PER_PARAMETER * values.size:
            return None
        x, y, number = _binned(x, y, bin_deg)
        if x.size < values.size + 3:
            return None
        sigma = np.sqrt(np.maximum(self(values, x)[0], 1.0) / number)
        for _ in range(2):
            found = least_squares(
                lambda v, s=sigma: (self(v, x)[0] - y) / s,
                values,
                jac=lambda v, s=sigma: self(v, x)[1] / s[:, None],
                method="lm",
                x_scale="jac",
                max_nfev=_TRIALS,
            )
            values = found.x
            sigma = np.sqrt(np.maximum(self(values, x)[0], 0.3) / number)
        covariance = np.linalg.pinv(found.jac.T @ found.jac)  # a purely Gaussian ring leaves its shape undetermined
        chi2_red = 2.0 * found.cost / (x.size - values.size)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0) * max(chi2_red, 1.0))
        n = self.centres.size
        eta = float(np.clip(values[3 + 2 * n], 0.0, 1.0)) if self.shape_free else self.eta
        return _Fit(
            values,
            errors,
            values[3 : 3 + 2 * n : 2],
            math.exp(float(np.clip(values[2 + 2 * n], -3.0, 3.0))) * self.width,
            eta,
        )


def _binned(x: Floats, y: Floats, step: float) -> tuple[Floats, Floats, Floats]:
    """Mean place, mean counts and number of pixels in bins of `step`, far narrower than a ring."""
    index = ((x - x.min()) / step).astype(np.intp)
    number = np.bincount(index).astype(float)
    full = number > 0.0
    number = number[full]
    return np.bincount(index, x)[full] / number, np.bincount(index, y)[full] / number, number


def _sector(model: _Rings, x: Floats, y: Floats, bin_deg: float) -> tuple[float, float, float, float]:
    """Position, its error, intensity and its error of the first ring; NaN where it is not clearly there."""
    nothing = (np.nan,) * 4
    fit = model.fit(x, y, bin_deg) if x.size else None
    if fit is None:
        return nothing
    height, height_error = float(fit.values[2]), float(fit.errors[2])
    position, error = float(fit.values[3]), float(fit.errors[3])
    strange = abs(position - model.centres[0]) > model.width or not 0.4 < fit.width / model.width < 2.5
    if strange or not height > _SIGNIFICANCE * height_error or not 0.0 < error < model.width:
        return nothing
    return position, error, height * fit.width, height_error * fit.width


def _width(pattern: Pattern, centre: float) -> float:
    """Full width at half maximum of the ring at `centre` in the radial pattern, at least 1.2 pixels."""
    two_theta, mean, _ = pattern.radial()
    near = np.abs(two_theta - centre) < 8.0 * pattern.pixel_deg
    x, y = two_theta[near], mean[near]
    above = y > 0.5 * (y.max() + np.percentile(y, 20)) if y.size else np.zeros(0, dtype=bool)
    top = int(np.argmin(np.abs(x - centre)))
    left = top - int(np.argmin(above[top::-1])) if not above[: top + 1].all() else 0
    right = top + int(np.argmin(above[top:])) if not above[top:].all() else x.size - 1
    return max(float(x[right] - x[left]) - 0.5 * pattern.pixel_deg, 1.2 * pattern.pixel_deg)
