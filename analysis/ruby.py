"""Pressure from the fluorescence of ruby: positions of R1 and R2, widths, and the pressure on a named scale."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares, nnls

from .estimate import Estimate
from .pressure_scales import REFERENCE_K, RUBY_2020, SHIFT_ERROR, SHIFT_RANGE_K, scale_named, temperature_shift_nm

Floats = NDArray[np.float64]

CALIBRATION_ERROR_NM = 0.05
"""Standard uncertainty of R1 against lambda0: an assumption for a spectrometer calibrated with lamps and a lambda0 from
the literature (694.22-694.35 nm are in use); 0.01 nm where the same instrument measured lambda0."""
AMBIENT_WIDTH_NM = 0.6
"""Full width of R1 at half maximum at 300 K without stress, the instrument left out; about, not verified."""

_SPLITTING_NM = 1.44
_SPLITTINGS_NM = (0.7, 2.5)  # non-hydrostatic stress changes it by some tenths
_WIDTHS_NM = (0.05, 6.0)
_SIGNIFICANT = 5.0
_ROUNDS = 2
_CENTRE, _SPLITTING, _WIDTH, _WIDTH_2, _MIXING, _HEIGHT, _HEIGHT_2 = range(7)  # then the background's two ends


def fit_lines(
    wavelength_nm: ArrayLike,
    counts: ArrayLike,
    *,
    saturated: ArrayLike | None = None,
    calibration_error_nm: float = CALIBRATION_ERROR_NM,
) -> Estimate:
    """Fit R1 and R2 of ruby: two pseudo-Voigt lines of one Lorentzian share on a straight background.

    Channels are weighted by a variance that rises linearly with the expected counts. Its two coefficients follow from
    the scatter about the fit, so that gain, pedestal and read-out noise of the camera need not be known. `chi2_red`
    is Pearson's as if counts were bare Poisson numbers.

    Args:
        wavelength_nm: (n,) of the channels, rising or falling.
        counts: (n,) a spectrum, rows and frames summed.
        saturated: (n,) channels where a pixel was full; default none.
        calibration_error_nm: systematic standard uncertainty of the wavelengths.

    Returns:
        `wavelength` (R1), `r2_wavelength`, and full widths at half maximum `width` and `r2_width` in nm; the widths
        hold that of the instrument.

    Raises:
        ValueError: the arrays do not match, a channel is saturated, or there is no doublet in the range.
    """
    x, n = _spectrum(wavelength_nm, counts, saturated)
    variance = np.full(len(n), float(np.var(np.diff(n))) / 2.0 + 1e-12)
    p, mu, covariance, leverage = min(
        (_fit(x, n, start, variance) for start in _starts(x, n)), key=lambda fit: float(np.sum((n - fit[1]) ** 2))
    )
    for _ in range(_ROUNDS):
        variance = _variance(n - mu, mu, leverage, variance)
        p, mu, covariance, leverage = _fit(x, n, p, variance)
    _check(p, covariance, x)
    transform = np.zeros((4, len(p)))
    transform[[0, 1, 1, 2, 3], [_CENTRE, _CENTRE, _SPLITTING, _WIDTH, _WIDTH_2]] = 1.0, 1.0, -1.0, 1.0, 1.0
    return Estimate(
        names=("wavelength", "r2_wavelength", "width", "r2_width"),
        values=transform @ p,
        covariance=transform @ covariance @ transform.T,
        systematic=np.array([calibration_error_nm, calibration_error_nm, 0.0, 0.0]),
        units=("nm",) * 4,
        model="two pseudo-Voigt lines, straight background",
        chi2_red=float(np.sum((n - mu) ** 2 / np.maximum(mu, 1.0)) / (len(n) - len(p))),
        n_points=len(n),
    )


def ruby_pressure(
    lines: Estimate,
    *,
    scale: str = RUBY_2020.name,
    lambda0_nm: float = RUBY_2020.reference,
    temperature_k: float = REFERENCE_K,
    temperature_error_k: float = 0.0,
) -> Estimate:
    """Pressure from R1, before what the fit has found of the lines; `scale` is named in the result.

    Systematic: the wavelength's calibration, the scale, ruby's shift with temperature and the temperature itself.

    Args:
        lines: estimate with a `wavelength`, as `fit_lines` gives.
        scale: name of a ruby scale.
        lambda0_nm: R1 at ambient pressure and 300 K.
        temperature_k: of the ruby.
        temperature_error_k: its standard uncertainty.

    Raises:
        ValueError: no such scale, or the line is outside its range.
    """
    shift, around = temperature_shift_nm(temperature_k), temperature_k + np.array([-0.5, 0.5])
    per_kelvin = float(np.ptp(temperature_shift_nm(np.clip(around, *SHIFT_RANGE_K))))
    return scale_named(scale, "ruby").estimate(
        lines,
        "wavelength",
        shift=float(shift),
        systematic=float(np.hypot(SHIFT_ERROR * shift, per_kelvin * temperature_error_k)),
        reference=lambda0_nm,
    )


def _spectrum(wavelength_nm: ArrayLike, counts: ArrayLike, saturated: ArrayLike | None) -> tuple[Floats, Floats]:
    x, n = np.asarray(wavelength_nm, dtype=float), np.asarray(counts, dtype=float)
    full = np.zeros(x.shape, dtype=bool) if saturated is None else np.asarray(saturated, dtype=bool)
    if x.ndim != 1 or n.shape != x.shape or full.shape != x.shape or not (np.isfinite(x) & np.isfinite(n)).all():
        raise ValueError(f"a ruby spectrum is two finite arrays of one length: {x.shape} wavelengths, {n.shape} counts")
    order = np.argsort(x)
    x, n, full = x[order], n[order], full[order]
    if len(x) < 30 or x[-1] - x[0] < 2.0 * _SPLITTING_NM or not np.all(np.diff(x) > 0):
        raise ValueError(
            f"a ruby spectrum has 30 or more channels over 3 nm or more, each at its own wavelength: {len(x)} given"
        )
    if full.any():
        raise ValueError(
            f"{full.sum()} channels of the ruby spectrum are saturated, {x[full][0]:.2f} to {x[full][-1]:.2f} nm: "
            "expose more briefly or leave them out"
        )
    return x, n


def _fit(x: Floats, n: Floats, start: Floats, variance: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Parameters, expected counts, covariance of the parameters, and share of each channel in its own expectation."""
    ramp, weight = (x - x[0]) / (x[-1] - x[0]), 1.0 / np.sqrt(variance)
    low, high = _bounds(x, n)
    begin = np.clip(start, low, high)
    found = least_squares(
        lambda p: (_model(p, x, ramp) - n) * weight,
        begin,
        jac=lambda p: _jacobian(p, x, ramp) * weight[:, None],
        bounds=(low, high),
        x_scale=np.maximum(np.abs(begin), 0.1),
        ftol=1e-7,
    )
    norm = np.sqrt(np.sum(found.jac**2, axis=0))
    norm[norm == 0.0] = 1.0
    jacobian = found.jac / norm
    inverse = np.linalg.pinv(jacobian.T @ jacobian)
    leverage = np.einsum("ij,jk,ik->i", jacobian, inverse, jacobian)
    return found.x, _model(found.x, x, ramp), inverse / np.outer(norm, norm), leverage


def _bounds(x: Floats, n: Floats) -> tuple[Floats, Floats]:
    span = 100.0 * (float(np.ptp(n)) + 1.0)
    least, most = float(n.min()) - span, float(n.max()) + span
    low = [x[0] - 1.0, _SPLITTINGS_NM[0], _WIDTHS_NM[0], _WIDTHS_NM[0], 0.0, -span, -span, least, least]
    high = [x[-1] + 1.0, _SPLITTINGS_NM[1], _WIDTHS_NM[1], _WIDTHS_NM[1], 1.0, span, span, most, most]
    return np.array(low), np.array(high)


def _starts(x: Floats, n: Floats) -> list[Floats]:
    """The strongest maximum taken for R1, and for R2."""
    step = (x[-1] - x[0]) / (len(x) - 1)
    smooth = gaussian_filter1d(n, 0.2 / step)
    level = float(np.percentile(smooth, 20))
    top, height = float(x[np.argmax(smooth)]), float(smooth.max()) - level
    common = [_SPLITTING_NM, 0.6, 0.6, 0.7]
    return [
        np.array([top, *common, height, 0.5 * height, level, level]),
        np.array([top + _SPLITTING_NM, *common, 0.8 * height, height, level, level]),
    ]


def _line(x: Floats, centre: float, width: float, mixing: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Pseudo-Voigt line of unit height and its derivatives by centre, width and Lorentzian share."""
    u = 2.0 * (x - centre) / width
    lorentz, gauss = 1.0 / (1.0 + u * u), np.exp(-np.log(2.0) * u * u)
    by_u = -2.0 * u * (mixing * lorentz**2 + (1.0 - mixing) * np.log(2.0) * gauss)
    return mixing * lorentz + (1.0 - mixing) * gauss, by_u * (-2.0 / width), by_u * (-u / width), lorentz - gauss


def _model(p: Floats, x: Floats, ramp: Floats) -> Floats:
    one = _line(x, p[_CENTRE], p[_WIDTH], p[_MIXING])[0]
    two = _line(x, p[_CENTRE] - p[_SPLITTING], p[_WIDTH_2], p[_MIXING])[0]
    return np.asarray(p[_HEIGHT] * one + p[_HEIGHT_2] * two + p[-2] * (1.0 - ramp) + p[-1] * ramp)


def _jacobian(p: Floats, x: Floats, ramp: Floats) -> Floats:
    one, centre, width, mixing = _line(x, p[_CENTRE], p[_WIDTH], p[_MIXING])
    two, centre_2, width_2, mixing_2 = _line(x, p[_CENTRE] - p[_SPLITTING], p[_WIDTH_2], p[_MIXING])
    a, b = p[_HEIGHT], p[_HEIGHT_2]
    columns = [a * centre + b * centre_2, -b * centre_2, a * width, b * width_2, a * mixing + b * mixing_2, one, two]
    return np.column_stack([*columns, 1.0 - ramp, ramp])


def _variance(residual: Floats, mu: Floats, leverage: Floats, variance: Floats) -> Floats:
    """Variance of the channels, a + b (mu - least mu) with a, b >= 0, from the squares of the residuals."""
    squares = residual**2 / np.clip(1.0 - leverage, 0.1, 1.0)
    terms = np.column_stack([np.ones(len(mu)), mu - mu.min()])
    fitted = variance
    for _ in range(3):
        weight = 1.0 / fitted
        fitted = terms @ nnls(terms * weight[:, None], squares * weight)[0]
        fitted = np.maximum(fitted, 1e-3 * float(squares.mean()) + 1e-12)
    return np.asarray(fitted)


def _check(p: Floats, covariance: Floats, x: Floats) -> None:
    """Raise ValueError where what was fitted is no ruby doublet within the range."""
    where = f"between {x[0]:.2f} and {x[-1]:.2f} nm"
    error = np.sqrt(np.diagonal(covariance))
    for name, row in (("R1", _HEIGHT), ("R2", _HEIGHT_2)):
        if not p[row] >= _SIGNIFICANT * error[row]:
            raise ValueError(f"no ruby lines {where}: {name} stands out by less than {_SIGNIFICANT:g} of its errors")
    for name, row, (low, high) in (
        ("the distance of R1 and R2", _SPLITTING, _SPLITTINGS_NM),
        ("the width of R1", _WIDTH, _WIDTHS_NM),
        ("the width of R2", _WIDTH_2, _WIDTHS_NM),
    ):
        if not low * 1.01 < p[row] < high * 0.99:
            raise ValueError(f"no ruby lines {where}: {name} would be {p[row]:.2f} nm, {low:g} to {high:g} is accepted")
    if not x[0] + p[_WIDTH_2] / 2 < p[_CENTRE] - p[_SPLITTING] < p[_CENTRE] < x[-1] - p[_WIDTH] / 2:
        raise ValueError(f"ruby lines are cut off {where}: R1 would be at {p[_CENTRE]:.2f} nm; widen the range")
