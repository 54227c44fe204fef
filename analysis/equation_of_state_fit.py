"""Parameters of a P-V-T equation of state with their covariance, from points with errors in all three.

Orthogonal distance regression. Taking the weights for fixed while the parameters move looks alike but is not: it makes
an ordinary regression of it, which flattens the dependence on a temperature known to 10 % (for MgO of Dewaele et al.
it puts the Grueneisen parameter at 1.56 in place of 1.90).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from .equations_of_state import EOS_ERROR, REFERENCE_K, MieGrueneisenDebye
from .estimate import Estimate
from .readers.pvt import PVT

Floats = NDArray[np.float64]

PARAMETERS: Mapping[str, tuple[str, str]] = {
    "v0": ("v0_a3", "angstrom^3"),
    "k0": ("k0_gpa", "GPa"),
    "k0_prime": ("k0_prime", ""),
    "gamma0": ("gamma0", ""),
    "q": ("b", ""),
    "theta0": ("theta0_k", "K"),
}
"""What can be fitted: names in the result, with the fields of the equation of state and units."""
FREE = ("v0", "k0", "k0_prime", "gamma0", "q")

_PROJECTIONS = 3
_UNDETERMINED = 10.0


class BirchMurnaghan(MieGrueneisenDebye):
    """Third-order Birch-Murnaghan isotherm in place of Vinet's, the thermal pressure unchanged.

    Source: Birch, J. Geophys. Res. 83, 1257 (1978), doi:10.1029/JB083iB03p01257.
    """

    def cold_pressure(self, volume_a3: ArrayLike) -> Floats:
        """Pressure in GPa at 300 K."""
        f = self.strain(volume_a3)
        return np.asarray(3.0 * self.k0_gpa * f * (1.0 + 2.0 * f) ** 2.5 * (1.0 + 1.5 * (self.k0_prime - 4.0) * f))

    def strain(self, volume_a3: ArrayLike) -> Floats:
        """Eulerian finite strain, positive in compression."""
        return np.asarray(0.5 * ((self.v0_a3 / np.asarray(volume_a3, dtype=float)) ** (2.0 / 3.0) - 1.0))


class StixrudeLithgowBertelloni(BirchMurnaghan):
    """Birch-Murnaghan isotherm and a Debye temperature whose square is quadratic in the finite strain.

    theta = theta0 (1 + a1 f + a2 f^2 / 2)^(1/2) with a1 = 6 gamma0, a2 = -12 gamma0 + 36 gamma0^2 - 18 q gamma0, and
    gamma = -d ln theta / d ln V; `b` is q at V0, `a` has to be 1.

    Source: Stixrude and Lithgow-Bertelloni, Geophys. J. Int. 162, 610 (2005), doi:10.1111/j.1365-246X.2005.02642.x;
    not verified there, the parameters of MgO as others fit them agree (tests).
    """

    def grueneisen(self, volume_a3: ArrayLike) -> Floats:
        """Grueneisen parameter at a volume."""
        f = self.strain(volume_a3)
        a1, a2 = self._expansion
        return np.asarray((1.0 + 2.0 * f) * (a1 + a2 * f) / (6.0 * self._square(f)))

    def debye_temperature_k(self, volume_a3: ArrayLike) -> Floats:
        """Debye temperature in K at a volume.

        Raises:
            ValueError: the expansion has no real root there.
        """
        square = self._square(self.strain(volume_a3))
        if np.any(square <= 0.0):
            raise ValueError(f"{self.scale}: no real Debye temperature at {np.asarray(volume_a3)[square <= 0.0]} A3")
        return np.asarray(self.theta0_k * np.sqrt(square))

    @property
    def _expansion(self) -> tuple[float, float]:
        return 6.0 * self.gamma0, self.gamma0 * (36.0 * self.gamma0 - 12.0 - 18.0 * self.b)

    def _square(self, f: Floats) -> Floats:
        a1, a2 = self._expansion
        return np.asarray(1.0 + f * (a1 + 0.5 * a2 * f))


@dataclass(frozen=True)
class EquationOfStateFit:
    """The fitted `eos`, the `estimate` of its free parameters, and `residuals` (n,), each in its own errors."""

    eos: MieGrueneisenDebye
    estimate: Estimate
    residuals: Floats


def fit_equation_of_state(
    points: PVT,
    start: MieGrueneisenDebye,
    *,
    pressure_scale: str,
    free: Sequence[str] = FREE,
    pressure_scale_error: float = EOS_ERROR,
    temperature_scale_error: float = 0.0,
    held_errors: Mapping[str, float] | None = None,
) -> EquationOfStateFit:
    """Fit an equation of state to points with errors in pressure, volume and temperature.

    The sum of squares of the distances is least, each distance taken from the measured point to the surface P(V, T) in
    units of the errors; it is found by projections on tangent planes. Errors are multiplied by the root of `chi2_red`
    where that is above 1 by more than chance (3 standard deviations).

    Args:
        points: the points and their errors, which are taken as independent.
        start: isotherm and thermal model by its class (`MieGrueneisenDebye` has Vinet's isotherm), gamma = gamma0 x^q
            (a = 1); its values start the fit, and those not in `free` are held.
        pressure_scale: name of the scale that the pressures rest on; results carry it.
        free: names from `PARAMETERS`.
        pressure_scale_error: relative standard uncertainty of all pressures together.
        temperature_scale_error: the same of all rises above 300 K.
        held_errors: standard uncertainties of parameters that are held.

    Returns:
        Values with statistical covariance; systematic errors are the shifts that the three last arguments make.

    Raises:
        ValueError: a name is not known or both free and held, there are too few points, or they do not determine a
            parameter.
    """
    held = dict(held_errors or {})
    _check_names(points, start, free, held)
    values, residuals, jacobian = _fit(points, start, free)
    degrees = len(residuals) - len(free)
    chi2_red = float(residuals @ residuals) / degrees
    excess = chi2_red if chi2_red > 1.0 + 3.0 * np.sqrt(2.0 / degrees) else 1.0
    covariance = np.asarray(excess * np.linalg.pinv(jacobian.T @ jacobian), dtype=float)
    for name, value, error in zip(free, values, np.sqrt(np.diagonal(covariance)), strict=True):
        if not error < _UNDETERMINED * max(abs(value), 1.0):
            raise ValueError(f"the points do not determine {name} ({value:.3g} with an error of {error:.2g}): hold it")
    eos = _with(start, free, values)
    rise = points.temperature - REFERENCE_K
    changed = [(points, _with(eos, [name], [_value(eos, name) + error])) for name, error in held.items()]
    if pressure_scale_error:
        changed.append((replace(points, pressure=points.pressure * (1.0 + pressure_scale_error)), eos))
    if temperature_scale_error:
        changed.append((replace(points, temperature=points.temperature + temperature_scale_error * rise), eos))
    shifts = [np.zeros(len(free)), *(_fit(*pair, free)[0] - values for pair in changed)]
    return EquationOfStateFit(
        eos,
        Estimate(
            names=tuple(free),
            values=values,
            covariance=covariance,
            systematic=np.hypot.reduce(shifts, axis=0),
            units=tuple(PARAMETERS[name][1] for name in free),
            model=f"{type(start).__name__}, orthogonal distances",
            chi2_red=chi2_red,
            n_points=len(residuals),
            scale=pressure_scale,
        ),
        residuals,
    )


def _check_names(points: PVT, start: MieGrueneisenDebye, free: Sequence[str], held: Mapping[str, float]) -> None:
    for name in (*free, *held):
        if name not in PARAMETERS:
            raise ValueError(f"no parameter {name!r} in an equation of state: there are {', '.join(PARAMETERS)}")
    if len(set(free)) != len(free) or set(free) & set(held) or not free:
        raise ValueError(f"parameters are free once or held, not both: free {', '.join(free)}; held {', '.join(held)}")
    if start.a != 1.0:
        raise ValueError(f"{start.scale}: gamma = gamma0 x^q is fitted, with a = 1, not {start.a:g}")
    if len(points.pressure) <= len(free):
        raise ValueError(f"{len(points.pressure)} points do not determine {len(free)} parameters")


def _value(eos: MieGrueneisenDebye, name: str) -> float:
    return float(getattr(eos, PARAMETERS[name][0]))


def _with(eos: MieGrueneisenDebye, names: Sequence[str], values: ArrayLike) -> MieGrueneisenDebye:
    fields = [PARAMETERS[name][0] for name in names]
    return replace(eos, **dict(zip(fields, np.asarray(values, dtype=float).tolist(), strict=True)))


def _fit(points: PVT, start: MieGrueneisenDebye, free: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """Values of the free parameters, residuals, and their derivatives (n, n_free)."""

    def distances(values: Floats) -> Floats:
        eos = _with(start, free, values)
        try:
            if min(eos.v0_a3, eos.k0_gpa, eos.theta0_k) > 0.0:
                with np.errstate(all="ignore"):
                    return _distances(points, eos)
        except ValueError:
            pass
        return np.full(len(points.pressure), np.nan)  # no such solid: the solver takes a shorter step

    first = np.array([_value(start, name) for name in free])
    if not np.isfinite(distances(first)).all():
        raise ValueError(f"{start.scale}: the starting values give no pressure at all points")
    found = least_squares(distances, first, x_scale=np.maximum(0.1 * np.abs(first), 1e-3), max_nfev=60)
    if not found.success:
        raise ValueError(f"{start.scale}: the fit does not converge on {', '.join(free)}: hold one, or start elsewhere")
    return found.x, found.fun, found.jac


def _distances(points: PVT, eos: MieGrueneisenDebye) -> Floats:
    """Distance of each point (n,) from the surface in its errors, positive where the model's pressure is higher."""
    volume, temperature = points.volume, points.temperature
    for _ in range(_PROJECTIONS):
        per_volume = -eos.bulk_modulus(volume, temperature) / volume
        per_kelvin = (eos.pressure(volume, temperature + 1.0) - eos.pressure(volume, temperature - 1.0)) / 2.0
        plane = (
            eos.pressure(volume, temperature)
            + per_volume * (points.volume - volume)
            + per_kelvin * (points.temperature - temperature)
        )
        to_volume, to_kelvin = per_volume * points.volume_error**2, per_kelvin * points.temperature_error**2
        variance = points.pressure_error**2 + to_volume * per_volume + to_kelvin * per_kelvin
        share = (plane - points.pressure) / variance
        volume, temperature = points.volume - to_volume * share, points.temperature - to_kelvin * share
    return np.asarray(share * np.sqrt(variance))
