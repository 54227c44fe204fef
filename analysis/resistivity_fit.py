"""Scale and saturation of a metal's resistivity from a staircase of temperatures, and what they predict elsewhere."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.special import chdtrc

from .bloch_grueneisen import ResistivityModel
from .estimate import Estimate, Floats
from .resistivity import TemperatureProfile

LEAST_STEPS = 3

_STEP = 1e-5
_IMPROBABLE = 0.05
_NO_SHUNT = 1e-4
_MOST_STEPS = 50


@dataclass(frozen=True)
class ResistivityFit:
    """What data say of a `ResistivityModel`: `parameters` (2,), scale of the ideal resistivity and shunt.

    `covariance` (2, 2) is statistical; `shifts` (k, 2) is how far each systematic source moves both by one standard
    uncertainty.
    """

    model: ResistivityModel
    parameters: Floats
    covariance: Floats
    shifts: Floats
    chi2_red: float
    n_points: int

    def at(self, pressure_gpa: float, temperature_k: float, temperature_error_k: float = 0.0) -> Estimate:
        """`temperature` (K), `resistivity` and `saturation_resistivity` (ohm m) there, `scale`, with their covariance.

        `temperature_error_k` is how well the temperature asked for is known: the resistivity moves with it.

        Raises:
            ValueError: a temperature that is not positive, an error that is negative, no volume at that pressure.
        """
        if not 0.0 <= temperature_error_k < math.inf:
            raise ValueError(f"the error of a temperature must be >= 0 and finite: {temperature_error_k} K")

        state = np.append(self.parameters, temperature_k)
        steps = np.diag(_STEP * state)
        scale, shunt, kelvin = (state + np.vstack([np.zeros(3), steps, -steps])).T
        x = self.model.compression(pressure_gpa, kelvin)
        rho = self.model.resistivity(x, kelvin, scale, shunt)
        values = np.stack([kelvin, rho, self.model.saturation(x) / shunt, scale])
        slopes = (values[:, 1:4] - values[:, 4:]) / (2.0 * np.diag(steps))
        covariance = np.zeros((3, 3))
        covariance[:2, :2], covariance[2, 2] = self.covariance, temperature_error_k**2
        return Estimate(
            names=("temperature", "resistivity", "saturation_resistivity", "scale"),
            values=values[:, 0],
            covariance=slopes @ covariance @ slopes.T,
            systematic=np.sqrt(np.sum((self.shifts @ slopes[:, :2].T) ** 2, axis=0)),
            units=("K", "ohm m", "ohm m", ""),
            model=f"Bloch-Grueneisen n = {self.model.n}, saturation in parallel",
            chi2_red=self.chi2_red,
            n_points=self.n_points,
            scale=f"V/V0 and Debye temperature: {self.model.eos.scale}",
        )


def fit_resistivity(
    temperature_k: ArrayLike,
    temperature_error_k: ArrayLike,
    resistivity_ohm_m: ArrayLike,
    resistivity_error_ohm_m: ArrayLike,
    pressure_gpa: ArrayLike,
    *,
    model: ResistivityModel | None = None,
    profile: TemperatureProfile | None = None,
    temperature_systematic_k: ArrayLike = 0.0,
    resistivity_systematics_ohm_m: Sequence[ArrayLike] = (),
    pressure_error_gpa: float = 0.0,
) -> ResistivityFit:
    """Scale of the ideal resistivity and its saturation from n resistivities against temperature, both with errors.

    The temperature of each step is a free parameter that its measurement holds (orthogonal distance regression). The
    statistical errors grow where chi squared is improbably large. Each systematic source is one shift that all steps
    have in common.

    Args:
        temperature_k: (n,) measured temperatures.
        temperature_error_k: (n,) or one number, statistical, >= 0.
        resistivity_ohm_m: (n,) measured resistivities.
        resistivity_error_ohm_m: (n,) or one number, statistical, > 0.
        pressure_gpa: (n,) or one number.
        model: default hcp-Fe.
        profile: temperatures along the foil; the measured resistivity is then the mean over them.
        temperature_systematic_k: (n,) or one number.
        resistivity_systematics_ohm_m: (n,) or one number for each independent source.
        pressure_error_gpa: systematic.

    Raises:
        ValueError: fewer than three steps, lengths that differ, a value out of its range, temperatures that cannot tell
            the two parameters apart, or data that show no saturation.
    """
    kelvin, sigma, rho, rho_sigma, gpa, gpa_shift, kelvin_shift, *rho_shifts = _columns(
        temperature_k,
        temperature_error_k,
        resistivity_ohm_m,
        resistivity_error_ohm_m,
        pressure_gpa,
        pressure_error_gpa,
        temperature_systematic_k,
        *resistivity_systematics_ohm_m,
    )
    expected = _Expectation(model or ResistivityModel(), profile, gpa, kelvin)

    def nearest(scale: float, shunt: float) -> tuple[Floats, Floats, Floats]:
        """True temperatures (n,) nearest to the data on the curve, slopes there, variances of the distances."""
        t = kelvin
        for _ in range(_MOST_STEPS):
            slope = expected.by_kelvin(t, scale, shunt)
            variance = rho_sigma**2 + (slope * sigma) ** 2
            distance = rho - expected(t, scale, shunt) + slope * (t - kelvin)
            nearer = np.maximum(kelvin + sigma**2 * slope / variance * distance, 0.1 * kelvin)
            if np.all(np.abs(nearer - t) <= 1e-8 * kelvin):
                break
            t = nearer
        return t, slope, variance

    def residuals(parameters: Floats) -> Floats:
        t, slope, variance = nearest(*parameters)
        return np.asarray((expected(t, *parameters) - rho - slope * (t - kelvin)) / np.sqrt(variance))

    def jacobian(parameters: Floats) -> Floats:
        """Exact: where the temperatures are the nearest ones, their own change does not count."""
        t, _, variance = nearest(*parameters)
        return np.asarray(expected.by_parameters(t, *parameters) / np.sqrt(variance)[:, None])

    ratio = float(np.median(rho / expected(kelvin, 1.0, 1.0)))
    lowest, start = (1e-3 * ratio, 0.0), (ratio, 1.0 / ratio)
    found = least_squares(residuals, start, jacobian, bounds=(lowest, np.inf), x_scale="jac", xtol=1e-10, ftol=1e-10)
    scale, shunt = (float(parameter) for parameter in found.x)
    span = f"{kelvin.min():.0f} to {kelvin.max():.0f} K"
    if not found.success or shunt < _NO_SHUNT / ratio:
        raise ValueError(f"resistivities at {span} show no saturation: hotter steps or smaller errors are needed")
    t, slope, variance = nearest(scale, shunt)
    weighted = expected.by_parameters(t, scale, shunt) / variance[:, None]
    information = expected.by_parameters(t, scale, shunt).T @ weighted
    if np.linalg.cond(information * np.outer(found.x, found.x)) > 1e8:
        raise ValueError(f"steps at {span} cannot tell the scale from the saturation: temperatures further apart do")
    covariance = np.asarray(np.linalg.inv(information))
    by_gpa, gradient = expected.by_pressure(t, scale, shunt), expected.gradient_error(t, scale, shunt)
    sources = np.stack([*rho_shifts, -slope * kelvin_shift, by_gpa * gpa_shift, gradient])
    chi2, dof = 2.0 * float(found.cost), kelvin.size - 2
    enlarged = chi2 / dof if chi2 > dof and chdtrc(dof, chi2) < _IMPROBABLE else 1.0
    return ResistivityFit(
        model=expected.model,
        parameters=np.asarray(found.x),
        covariance=np.asarray(enlarged * covariance),
        shifts=sources @ weighted @ covariance,
        chi2_red=chi2 / dof,
        n_points=kelvin.size,
    )


class _Expectation:
    """Resistivities (n,) that the cell should show at temperatures (n,), and how they change.

    The volume is linear in temperature and pressure about the measured ones: it costs more than all the rest.
    """

    def __init__(
        self, model: ResistivityModel, profile: TemperatureProfile | None, pressure_gpa: Floats, measured_k: Floats
    ) -> None:
        self.model, self.profile, self._measured_k = model, profile, measured_k
        gpa, local = pressure_gpa[:, None], self._local(measured_k)
        higher, hotter = np.array([0.0, 1, -1, 0, 0])[:, None, None], np.array([0.0, 0, 0, 1, -1])[:, None, None]
        x = model.compression(gpa * (1.0 + _STEP * higher), local * (1.0 + _STEP * hotter))
        x = np.broadcast_to(x, (5, *local.shape))
        self._x = x[0]
        self._x_by_gpa = (x[1] - x[2]) / (2.0 * _STEP * gpa)
        self._x_by_kelvin = (x[3] - x[4]) / (2.0 * _STEP * local)

    def __call__(self, t: Floats, scale: float, shunt: float, more_gpa: float = 0.0) -> Floats:
        local = self._local(t)
        x = self._x + self._x_by_kelvin * (local - self._local(self._measured_k)) + self._x_by_gpa * more_gpa
        rho = self.model.resistivity(x, local, scale, shunt)
        return rho[:, 0] if self.profile is None else self.profile.mean(rho)

    def by_parameters(self, t: Floats, scale: float, shunt: float) -> Floats:
        """Slopes (n, 2) with scale and shunt."""
        by_scale = _slope(lambda step: self(t, scale * (1.0 + step), shunt)) / scale
        return np.stack([by_scale, _slope(lambda step: self(t, scale, shunt + step))], axis=1)

    def by_kelvin(self, t: Floats, scale: float, shunt: float) -> Floats:
        """Slopes (n,) with temperature."""
        return _slope(lambda step: self(t * (1.0 + step), scale, shunt)) / t

    def by_pressure(self, t: Floats, scale: float, shunt: float) -> Floats:
        """Slopes (n,) per GPa."""
        return _slope(lambda step: self(t, scale, shunt, step))

    def gradient_error(self, t: Floats, scale: float, shunt: float) -> Floats:
        """Standard uncertainties (n,) of what the profile makes of the resistivity."""
        if self.profile is None:
            return np.zeros(t.shape)
        hottest = self.profile.rise.index(max(self.profile.rise))
        uniform = self.model.resistivity(self._x[:, hottest], t, scale, shunt)
        return np.asarray(self.profile.error * (uniform - self(t, scale, shunt)))

    def _local(self, t: Floats) -> Floats:
        """Temperatures (n, m) along the foil."""
        return t[:, None] if self.profile is None else self.profile.temperatures(t)


def _slope(function: Callable[[float], Floats]) -> Floats:
    return np.asarray((function(_STEP) - function(-_STEP)) / (2.0 * _STEP))


def _columns(temperature: ArrayLike, *others: ArrayLike) -> list[Floats]:
    """Arrays of one length for the fit, checked. Raises ValueError."""
    kelvin = np.asarray(temperature, dtype=float)
    columns = [kelvin]
    for other in others:
        array = np.asarray(other, dtype=float)
        if kelvin.ndim != 1 or array.shape not in ((), kelvin.shape):
            raise ValueError(f"temperatures {kelvin.shape} and an array {array.shape} beside them differ in length")
        columns.append(np.broadcast_to(array, kelvin.shape))
    if kelvin.size < LEAST_STEPS:
        raise ValueError(f"{kelvin.size} steps of temperature: {LEAST_STEPS} at least are needed")
    names = ("temperature", "its error", "resistivity", "its error", "pressure", "systematic error")
    positive = (True, False, True, True, True, False)
    for number, column in enumerate(columns):
        name, above = names[min(number, 5)], positive[min(number, 5)]
        bad = ~(np.isfinite(column) & ((column > 0.0) if above else (column >= 0.0)))
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"step {i + 1}: {name} must be {'positive' if above else '>= 0'}: {column[i]:g}")
    return columns
