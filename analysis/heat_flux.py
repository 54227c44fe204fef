"""Thermal conductivity against temperature, density and composition, and the heat flux through a boundary layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .estimate import Estimate, Floats, Quantity
from .thermal_fits import Free, ThermalFit, Values, fit

CORE_RADIUS_M = 3.480e6
"""Radius of the core-mantle boundary in PREM, doi:10.1016/0031-9201(81)90046-7; not verified there."""
TEMPERATURE_DROP = Quantity(1000.0, 0.0, 300.0, "K", "assumption")
"""Across the lowermost boundary layer of the mantle: a simulation default, not a literature value."""
LAYER_THICKNESS = Quantity(2.0e5, 0.0, 5.0e4, "m", "assumption")
"""Of that layer: a simulation default, not a literature value."""

PARAMETERS = {
    "reference_conductivity": "W/m/K",
    "temperature_exponent": "1",
    "density_exponent": "1",
    "iron_slope": "1",
    "aluminium_slope": "1",
}
"""Of the law, with their units."""

_NAME = "k_ref (T_ref/T)^a (rho/rho_ref)^g (1 + b_Fe x_Fe + b_Al x_Al)"


@dataclass(frozen=True)
class ConductivityLaw:
    """k = k_ref (T_ref/T)^a (rho/rho_ref)^g (1 + b_Fe x_Fe + b_Al x_Al), x mole fractions.

    `found` holds those of `PARAMETERS` that a fit gave, with covariance and systematic terms, `fixed` the others. The
    exponent a is about 0.43 in bridgmanite without iron and 0.2-0.5 with it (Manthilake et al. 2011,
    doi:10.1073/pnas.1110594108; not verified there).
    """

    found: ThermalFit
    fixed: Mapping[str, Quantity]
    reference_temperature_k: float
    reference_density: float

    def conductivity(
        self, temperature_k: float, density: float, *, iron: float = 0.0, aluminium: float = 0.0
    ) -> Quantity:
        """Conductivity at a temperature and density (the unit of `reference_density`) with the errors of the law.

        Raises:
            ValueError: temperature or density is not positive, or a fraction is not within 0 to 1.
        """
        names, values = self.found.estimate.names, self.found.estimate.values
        best = {name: q.value for name, q in self.fixed.items()} | dict(zip(names, values.tolist(), strict=True))
        where = _conditions(temperature_k, density, iron, aluminium)

        def law(changes: Mapping[str, float]) -> float:
            moved = {name: value + changes.get(name, 0.0) for name, value in best.items()}
            return float(_law(moved, where, self.reference_temperature_k, self.reference_density)[0])

        steps = {name: 1e-5 * max(abs(best[name]), 1.0) for name in best}
        slope = {name: (law({name: step}) - law({name: -step})) / (2.0 * step) for name, step in steps.items()}
        found_slope = np.array([slope[name] for name in names])
        variance = float(found_slope @ self.found.estimate.covariance @ found_slope)
        changes = [
            float(found_slope @ term) + (slope[cause] * self.fixed[cause].combined if cause in self.fixed else 0.0)
            for cause, term in self.found.terms.items()
        ]
        return Quantity(law({}), math.sqrt(max(variance, 0.0)), math.hypot(*changes), "W/m/K", _NAME)


def fit_conductivity(
    temperature_k: ArrayLike,
    density: ArrayLike,
    conductivity: ArrayLike,
    error: ArrayLike,
    *,
    reference_temperature_k: float,
    reference_density: float,
    iron: ArrayLike = 0.0,
    aluminium: ArrayLike = 0.0,
    fixed: Mapping[str, Quantity] | None = None,
    scale_error: float = 0.0,
) -> ConductivityLaw:
    """The law of conductivities measured at several temperatures, densities and compositions.

    Args:
        temperature_k: (n,).
        density: (n,) in any unit, from the pressure by an equation of state.
        conductivity: (n,) W/m/K.
        error: (n,) standard uncertainty in W/m/K with all that is independent between the points (thickness too).
        reference_temperature_k: T_ref.
        reference_density: rho_ref, in the unit of `density`.
        iron: mole fraction, (n,) or one for all; its slope is found where it varies.
        aluminium: likewise.
        fixed: those of `PARAMETERS` that are known, such as a density exponent where the pressure was the same. The
            slope of a fraction that does not vary is 0 unless it is given here.
        scale_error: relative standard uncertainty that all conductivities have in common (heat capacity).

    Raises:
        ValueError: arrays that differ in length, values out of range, or parameters that these cannot tell apart.
    """
    where = _conditions(temperature_k, density, iron, aluminium)
    data = np.asarray(conductivity, dtype=float)
    if data.shape != where[0].shape or not np.all(data > 0.0):
        raise ValueError(f"conductivities must be positive and of shape {where[0].shape}, not {data.shape}")
    if not (reference_temperature_k > 0.0 and reference_density > 0.0):
        raise ValueError(f"references must be positive: {reference_temperature_k:g} K, density {reference_density:g}")
    given = dict(fixed or {})
    for name in given:
        if name not in PARAMETERS:
            raise ValueError(f"fixed parameter {name!r} is unknown: accepted are {', '.join(PARAMETERS)}")
    for name, fraction in (("iron_slope", where[2]), ("aluminium_slope", where[3])):
        if np.ptp(fraction) == 0.0:
            given.setdefault(name, Quantity(0.0, 0.0, 0.0, "1", "no variation"))
    starts = {name: Free(name, unit, 0.0, 1.0) for name, unit in PARAMETERS.items()}
    starts["reference_conductivity"] = Free("reference_conductivity", "W/m/K", float(np.median(data)))
    free = [parameter for name, parameter in starts.items() if name not in given]

    def model(values: Values) -> Floats:
        return values["scale"] * _law(values, where, reference_temperature_k, reference_density)

    found = fit(
        model,
        {"scale": 1.0, **{name: q.value for name, q in given.items()}},
        free,
        data,
        error,
        relative_errors={},
        absolute_errors={"scale": scale_error, **{name: q.combined for name, q in given.items()}},
        name=_NAME,
    )
    return ConductivityLaw(found, given, reference_temperature_k, reference_density)


def conductivity_ratio(numerator: Quantity, denominator: Quantity, *, common: float = 0.0) -> Quantity:
    """Ratio of two phases' conductivities; `common` is the relative systematic error that both have alike.

    Raises:
        ValueError: a conductivity is not positive, or `common` is larger than one of the systematic errors.
    """
    for q in (numerator, denominator):
        if not q.value > 0.0:
            raise ValueError(f"a conductivity must be positive, not {q.value:g} {q.unit}")
        if not 0.0 <= common <= q.systematic / q.value * (1.0 + 1e-9):
            raise ValueError(
                f"common error {common:g}: 0 to {q.systematic / q.value:g} of {q.value:g} {q.unit} accepted"
            )
    ratio = numerator.value / denominator.value
    error = math.hypot(numerator.error / numerator.value, denominator.error / denominator.value)
    own = [max((q.systematic / q.value) ** 2 - common**2, 0.0) for q in (numerator, denominator)]
    return Quantity(ratio, ratio * error, ratio * math.sqrt(sum(own)), "1", "ratio of conductivities")


def heat_flux(
    conductivity: Quantity,
    *,
    temperature_drop: Quantity = TEMPERATURE_DROP,
    thickness: Quantity = LAYER_THICKNESS,
    radius_m: float = CORE_RADIUS_M,
) -> Estimate:
    """Conductive heat flux k dT/d out of the core, through a boundary layer of the mantle.

    Args:
        conductivity: of the layer, W/m/K.
        temperature_drop: across it, K.
        thickness: of it, m.
        radius_m: of the sphere whose surface the heat crosses.

    Returns:
        `heat_flux` W/m2, and `heat_flow` W through the whole surface.

    Raises:
        ValueError: one of them is not positive.
    """
    factors = {"conductivity": conductivity, "temperature drop": temperature_drop, "thickness": thickness}
    for name, q in factors.items():
        if not q.value > 0.0:
            raise ValueError(f"heat flux: {name} must be positive, not {q.value:g} {q.unit}")
    if not radius_m > 0.0:
        raise ValueError(f"heat flux: radius must be positive, not {radius_m:g} m")
    flux = conductivity.value * temperature_drop.value / thickness.value
    error, systematic = (
        math.hypot(*(getattr(q, part) / q.value for q in factors.values())) for part in ("error", "systematic")
    )
    values = flux * np.array([1.0, 4.0 * np.pi * radius_m**2])
    return Estimate(
        names=("heat_flux", "heat_flow"),
        values=values,
        covariance=error**2 * np.outer(values, values),
        systematic=systematic * values,
        units=("W/m2", "W"),
        model="conduction through a boundary layer",
        chi2_red=math.nan,
        n_points=1,
        scale=f"{temperature_drop.value:g} K over {thickness.value:g} m",
    )


def _conditions(
    temperature: ArrayLike, density: ArrayLike, iron: ArrayLike, aluminium: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Temperature, density and fractions, (n,) each."""
    arrays = [np.atleast_1d(np.asarray(x, dtype=float)) for x in (temperature, density, iron, aluminium)]
    try:
        t, rho, x_iron, x_aluminium = np.broadcast_arrays(*arrays)
    except ValueError:
        raise ValueError(f"arrays of one length are needed, not {', '.join(str(a.shape) for a in arrays)}") from None
    if not np.all((t > 0.0) & (rho > 0.0)):
        worst = int(np.argmin((t > 0.0) & (rho > 0.0)))
        raise ValueError(f"temperature and density must be positive, not {t[worst]:g} K and {rho[worst]:g}")
    for name, x in (("iron", x_iron), ("aluminium", x_aluminium)):
        if not np.all((x >= 0.0) & (x <= 1.0)):
            raise ValueError(
                f"mole fractions of {name} must be within 0 to 1, not {x[np.argmin((x >= 0) & (x <= 1))]:g}"
            )
    return t, rho, x_iron, x_aluminium


def _law(values: Values, where: tuple[Floats, ...], reference_temperature: float, reference_density: float) -> Floats:
    t, rho, iron, aluminium = where
    power = (reference_temperature / t) ** values["temperature_exponent"]
    power = power * (rho / reference_density) ** values["density_exponent"]
    composition = 1.0 + values["iron_slope"] * iron + values["aluminium_slope"] * aluminium
    return np.asarray(values["reference_conductivity"] * power * composition)
