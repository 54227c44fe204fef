"""Spectral pyrometry: Planck's and Wien's laws and the temperature of a spectrum with its whole budget of errors."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import c, h, k

from .estimate import Estimate, Floats

Bools = NDArray[np.bool_]

C1 = 2.0 * h * c**2
"""First radiation constant for spectral radiance, W m^2 sr^-1."""
C2 = h * c / k
"""Second radiation constant, m K."""
LEAST_PIXELS = 16
RANGE_K = (300.0, 20000.0)
"""Temperatures that a fit may find; what leads outside is not thermal light."""

_STEPS = 60
_CONVERGED = 1e-7
_PASSES = 3
_NAMES, _UNITS = ("temperature", "emissivity"), ("K", "")


@dataclass(frozen=True)
class SystematicTerms:
    """Standard uncertainties of what a spectrum cannot tell: assumptions, to be replaced by those of a set-up.

    `emissivity_slope_per_um` and `window_slope_per_um`: relative change of the emissivity and of the transmission of
    window and diamond per um of wavelength. `gradient`: half of the light comes from parts colder by this share of the
    temperature. `lamp_error_k` of the calibration lamp at `lamp_k`. `nonlinearity`: relative loss of response where
    the detector is full.
    """

    emissivity_slope_per_um: float = 0.25
    window_slope_per_um: float = 0.05
    gradient: float = 0.05
    lamp_k: float = 2900.0
    lamp_error_k: float = 15.0
    nonlinearity: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (0.0 <= value < np.inf):
                raise ValueError(f"systematic term {field.name} is {value}: a number >= 0 is needed")
        if not self.gradient < 1.0 or self.lamp_k <= 0.0:
            raise ValueError(f"gradient is below 1 and lamp_k above 0, not {self.gradient:g} and {self.lamp_k:g}")


@dataclass(frozen=True)
class Spectrum:
    """Radiance of one source, every array (n,).

    `wavelength_m` rising; `radiance` in W m^-3 sr^-1 (in another unit the emissivity is only a factor); its `variance`
    where the noise is known; `saturated` pixels are left out; `filling` counts as a share of the detector's full scale;
    `zero_error` radiance of a standard uncertainty of dark level and stray light; `response_error` relative
    standard error of each pixel's response.

    Raises:
        ValueError: shapes disagree, wavelengths do not rise, values that are no numbers or no errors, or fewer than
            16 pixels that are not saturated.
    """

    wavelength_m: Floats
    radiance: Floats
    variance: Floats | None = None
    saturated: Bools | None = None
    filling: Floats | None = None
    zero_error: Floats | None = None
    response_error: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.wavelength_m)
        for name in ("wavelength_m", "radiance", "variance", "saturated", "filling", "zero_error", "response_error"):
            value = getattr(self, name)
            if value is None:
                continue
            array = np.asarray(value, dtype=bool if name == "saturated" else float)
            if array.shape != (n,):
                raise ValueError(f"spectrum of {n} wavelengths: {name} has shape {array.shape}, ({n},) is needed")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} of a spectrum holds values that are no finite numbers")
            object.__setattr__(self, name, array)
        if not (self.wavelength_m[0] > 0.0 and np.all(self.wavelength_m[1:] > self.wavelength_m[:-1])):
            raise ValueError("wavelengths of a spectrum are positive and rise from pixel to pixel; these do not")
        if self.variance is not None and not np.all(self.variance > 0.0):
            raise ValueError("the variance of every pixel is > 0; this spectrum has others")
        if self.used.sum() < LEAST_PIXELS:
            raise ValueError(f"{self.used.sum()} of {n} pixels are not saturated: {LEAST_PIXELS} at least are needed")

    @property
    def used(self) -> Bools:
        """Pixels (n,) that are not saturated."""
        return np.ones(len(self.wavelength_m), dtype=bool) if self.saturated is None else ~self.saturated


@dataclass(frozen=True)
class SpectralFit:
    """`estimate` of temperature and emissivity; `terms_k` {systematic term: what it does to the temperature, K}."""

    estimate: Estimate
    terms_k: dict[str, float]


def planck(wavelength_m: ArrayLike, temperature_k: ArrayLike, emissivity: ArrayLike = 1.0) -> Floats:
    """Spectral radiance in W m^-3 sr^-1 of a grey body by Planck's law; shapes broadcast.

    Raises:
        ValueError: a wavelength, temperature or emissivity that is not positive.
    """
    wavelength, temperature, grey = _positive(wavelength_m, temperature_k, emissivity)
    exponent = C2 / (wavelength * temperature)
    return np.asarray(grey * C1 * wavelength**-5 * np.exp(-exponent) / -np.expm1(-exponent))


def wien(wavelength_m: ArrayLike, temperature_k: ArrayLike, emissivity: ArrayLike = 1.0) -> Floats:
    """As `planck`, by Wien's approximation: good to 1 % where wavelength times temperature is below 3.1e-3 m K."""
    wavelength, temperature, grey = _positive(wavelength_m, temperature_k, emissivity)
    return np.asarray(grey * C1 * wavelength**-5 * np.exp(-C2 / (wavelength * temperature)))


def fit_planck(spectrum: Spectrum, terms: SystematicTerms = SystematicTerms(), *, scale: str = "") -> SpectralFit:
    """Temperature (K) and emissivity of a grey body by least squares in the radiance.

    Weights are the reciprocal variances. Without them all pixels weigh the same, `chi2_red` is NaN, and the errors come
    from each pixel's own residual (White's covariance, doi:10.2307/1912934, which does not assume one noise for all).
    The emissivity is projected out, the reciprocal temperature found by Gauss and Newton. `scale` names the lamp or
    calibration.

    Raises:
        ValueError: no thermal light (the fit finds no positive emissivity, or no temperature in `RANGE_K`), or a
            systematic term without limit.
    """
    used = spectrum.used
    wavelength, radiance = spectrum.wavelength_m[used], spectrum.radiance[used]
    weight = np.ones(len(radiance)) if spectrum.variance is None else 1.0 / spectrum.variance[used]
    exponent, factor = C2 / wavelength, C1 * wavelength**-5
    u = 1.0 / _first_guess(wavelength, radiance)
    for _ in range(_STEPS):
        decay = np.exp(-exponent * u)
        shape = factor * decay / (1.0 - decay)
        slope = exponent / (decay - 1.0)  # of ln shape in 1/T
        weighted = weight * shape
        whole = float(weighted @ shape)
        emissivity = float(weighted @ radiance) / whole
        if not emissivity > 0.0:
            raise ValueError("no thermal light: the best emissivity is not positive")
        arm = slope - float(weighted @ (shape * slope)) / whole
        weighted_arm = weighted * arm
        step = float(weighted_arm @ radiance) / (emissivity * float(weighted_arm @ (shape * arm)))
        u = min(max(u + step, 0.5 * u), 2.0 * u)
        if not RANGE_K[0] <= 1.0 / u <= RANGE_K[1]:
            raise ValueError("no thermal light: the fit leaves {:g} to {:g} K".format(*RANGE_K))
        if abs(step) < _CONVERGED * u:
            break
    else:
        raise ValueError("the fit of Planck's law does not converge: is there light in this range of wavelengths?")
    model = emissivity * shape
    residual = radiance - model
    gains = _Gains(weight * model**2, slope)
    chi2_red = float(weight @ residual**2) / (len(radiance) - 2)
    return _result(spectrum, terms, gains, residual / model, (u, emissivity, chi2_red), "Planck, grey body", scale)


def fit_wien(spectrum: Spectrum, terms: SystematicTerms = SystematicTerms(), *, scale: str = "") -> SpectralFit:
    """As `fit_planck`, by the straight line of ln(radiance wavelength^5 / C1) against C2 / wavelength.

    Without variances all pixels weigh the same in the logarithm; with them weights are those of the fitted radiance.

    Raises:
        ValueError: a radiance that is not positive, which has no logarithm, or a temperature outside `RANGE_K`.
    """
    used = spectrum.used
    wavelength, radiance = spectrum.wavelength_m[used], spectrum.radiance[used]
    if not np.all(radiance > 0.0):
        raise ValueError(f"Wien's fit needs radiance > 0; {np.sum(radiance <= 0.0)} pixels have less: fit Planck's law")
    slope, logarithm = -C2 / wavelength, np.log(radiance * wavelength**5 / C1)
    measured, weight = logarithm, np.ones(len(radiance))
    variance = None if spectrum.variance is None else spectrum.variance[used] / radiance**2
    noise = variance
    for _ in range(1 if variance is None else _PASSES):
        if noise is not None:
            weight, measured = 1.0 / noise, logarithm + 0.5 * noise  # noise lowers the mean of a logarithm by that
        gains = _Gains(weight, slope)
        log_emissivity, u = gains.rows @ measured
        if not RANGE_K[0] <= (1.0 / u if u > 0.0 else np.inf) <= RANGE_K[1]:
            raise ValueError("no thermal light: Wien's fit finds no temperature from {:g} to {:g} K".format(*RANGE_K))
        fitted = log_emissivity + u * slope
        if variance is not None:
            noise = variance * np.exp(2.0 * (logarithm - fitted))
    residual = measured - fitted
    chi2_red = float(weight @ residual**2) / (len(radiance) - 2)
    found = float(u), float(np.exp(log_emissivity)), chi2_red
    return _result(spectrum, terms, gains, residual, found, "Wien, grey body", scale)


class _Gains:
    """How (ln emissivity, 1/T) of a weighted fit answer to relative changes of the radiance, and their covariance."""

    def __init__(self, weight: Floats, slope: Floats) -> None:
        whole = float(weight.sum())
        centre = float(weight @ slope) / whole
        arm = slope - centre
        moment = float(weight @ arm**2)
        inverse = weight * arm / moment
        self.rows = np.stack((weight / whole - centre * inverse, inverse))
        self.covariance = np.array(
            [[1.0 / whole + centre**2 / moment, -centre / moment], [-centre / moment, 1.0 / moment]]
        )


def _result(
    spectrum: Spectrum,
    terms: SystematicTerms,
    gains: _Gains,
    relative_residual: Floats,
    found: tuple[float, float, float],
    model: str,
    scale: str,
) -> SpectralFit:
    u, emissivity, chi2_red = found
    n = len(relative_residual)
    covariance = gains.covariance
    if spectrum.variance is None:
        scatter = gains.rows * relative_residual
        covariance = scatter @ scatter.T * n / (n - 2)
    temperature = 1.0 / u
    changes = _relative_changes(spectrum, terms, temperature, emissivity)
    shifts = np.stack(list(changes.values())) @ gains.rows.T
    if spectrum.response_error is not None:  # independent from pixel to pixel, but common to all spectra of a run
        changes["response"] = spectrum.response_error
        own = np.linalg.norm(gains.rows * spectrum.response_error[spectrum.used], axis=1)
        shifts = np.vstack((shifts, own))
    moved = u + shifts[:, 1]
    if not np.all(moved > 0.0):
        term = list(changes)[int(moved.argmin())]
        raise ValueError(f"systematic term {term} is larger than what the spectrum tells: no temperature is known")
    in_kelvin = np.abs(1.0 / moved - temperature)
    jacobian = np.array([[0.0, -(temperature**2)], [emissivity, 0.0]])
    estimate = Estimate(
        names=_NAMES,
        values=np.array([temperature, emissivity]),
        covariance=jacobian @ covariance @ jacobian.T,
        systematic=np.array([np.linalg.norm(in_kelvin), emissivity * np.linalg.norm(shifts[:, 0])]),
        units=_UNITS,
        model=model,
        chi2_red=float("nan") if spectrum.variance is None else chi2_red,
        n_points=n,
        scale=scale,
    )
    return SpectralFit(estimate, dict(zip(changes, in_kelvin.tolist(), strict=True)))


def _relative_changes(
    spectrum: Spectrum, terms: SystematicTerms, temperature: float, emissivity: float
) -> dict[str, Floats]:
    """By how much one standard uncertainty of each term changes ln radiance of the used pixels, (n,) each."""
    used = spectrum.used
    wavelength = spectrum.wavelength_m[used]
    exponent = C2 / wavelength
    tilt = 1e6 * (wavelength.mean() - wavelength)
    decay = np.exp(-exponent / temperature)
    cold_decay = np.exp(-exponent / (temperature * (1.0 - terms.gradient)))
    cold_share = cold_decay * (1.0 - decay) / (decay * (1.0 - cold_decay))
    changes = {
        "emissivity": terms.emissivity_slope_per_um * tilt,
        "window": terms.window_slope_per_um * tilt,
        "gradient": np.log1p(0.5 * (cold_share - 1.0)),
        "lamp": exponent / (1.0 - np.exp(-exponent / terms.lamp_k)) * terms.lamp_error_k / terms.lamp_k**2,
    }
    if spectrum.filling is not None:
        changes["saturation"] = -terms.nonlinearity * spectrum.filling[used]
    if spectrum.zero_error is not None:
        expected = emissivity * C1 * wavelength**-5 * decay / (1.0 - decay)
        changes["zero"] = spectrum.zero_error[used] / expected
    return changes


def _first_guess(wavelength: Floats, radiance: Floats) -> float:
    """Two-colour temperature of the two halves of a spectrum by Wien's law; 1500 K where the short one has no light."""
    middle = len(radiance) // 2
    short, long = float(radiance[:middle].mean()), float(radiance[middle:].mean())
    l_short, l_long = float(wavelength[:middle].mean()), float(wavelength[middle:].mean())
    if short <= 0.0 or long <= 0.0:
        return 1500.0
    spread = np.log(short / long) + 5.0 * np.log(l_short / l_long)
    temperature = C2 * (1.0 / l_long - 1.0 / l_short) / spread if spread < 0.0 else 5000.0
    return float(np.clip(temperature, 500.0, 5000.0))


def _positive(*values: ArrayLike) -> list[Floats]:
    arrays = [np.asarray(value, dtype=float) for value in values]
    for name, array in zip(("wavelength", "temperature", "emissivity"), arrays, strict=True):
        if not np.all((array > 0.0) & np.isfinite(array)):
            raise ValueError(f"{name} of thermal radiation is > 0, not {array[~((array > 0.0) & np.isfinite(array))]}")
    return arrays
