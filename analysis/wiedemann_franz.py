"""Thermal conductivity of a metal from its electrical resistivity: the law of Wiedemann and Franz."""

import math

import numpy as np
from scipy import constants

from .estimate import Estimate

SOMMERFELD = math.pi**2 / 3.0 * (constants.k / constants.e) ** 2
"""Lorenz number of free electrons, W ohm K^-2: 2.4430e-8 from the exact SI constants (often rounded to 2.44e-8)."""
LORENZ_ERROR = 0.05
"""Relative standard uncertainty of the Lorenz number of iron in the core: an assumption; scattering of electrons by
electrons lowers it by more in some calculations."""


def thermal_conductivity(
    state: Estimate, *, lorenz: float = SOMMERFELD, lorenz_error: float = LORENZ_ERROR
) -> Estimate:
    """The estimate `state` of `temperature` (K) and `resistivity` (ohm m) with `thermal_conductivity` (W/m/K) added.

    kappa = L T / rho, electrons only. Statistical errors take the covariance of temperature and resistivity into
    account: they cancel in part where a fit made them rise together. Systematic errors of the two are independent (a
    resistivity predicted at a temperature has those of the measured temperatures in its own); that of `lorenz`
    (W ohm K^-2), relative, adds to them.

    Raises:
        ValueError: temperature, resistivity or Lorenz number is not positive, or the error is negative.
    """
    kelvin, rho = state.quantity("temperature"), state.quantity("resistivity")
    for name, value in (("temperature", kelvin.value), ("resistivity", rho.value), ("Lorenz number", lorenz)):
        if not 0.0 < value < math.inf:
            raise ValueError(f"Wiedemann-Franz: the {name} must be positive: {value:g}")
    if not 0.0 <= lorenz_error < math.inf:
        raise ValueError(f"Wiedemann-Franz: the relative error of the Lorenz number must be >= 0: {lorenz_error:g}")
    kappa = lorenz * kelvin.value / rho.value
    slope = np.zeros(len(state.names))
    slope[state.names.index("temperature")] = kappa / kelvin.value
    slope[state.names.index("resistivity")] = -kappa / rho.value
    transform = np.vstack([np.eye(slope.size), slope])
    return Estimate(
        names=(*state.names, "thermal_conductivity"),
        values=np.append(state.values, kappa),
        covariance=transform @ state.covariance @ transform.T,
        systematic=np.append(
            state.systematic, math.hypot(float(np.linalg.norm(slope * state.systematic)), lorenz_error * kappa)
        ),
        units=(*state.units, "W/m/K"),
        model=f"{state.model}; Wiedemann-Franz with L = {lorenz:.5g} W ohm K^-2",
        chi2_red=state.chi2_red,
        n_points=state.n_points,
        scale=state.scale,
    )
