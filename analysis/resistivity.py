"""From resistance to resistivity: a foil between four leads, van der Pauw's disc, a temperature that varies on the way.

Geometry is the largest error in a diamond cell: the thickness under pressure is computed, not measured.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from .estimate import Estimate, Floats

THICKNESS_ERROR = 0.10
"""Relative standard uncertainty of a thickness scaled with compression, for a strain that is not isotropic: an
assumption."""
PICTURE_ERROR = 0.02
"""Relative standard uncertainty of a length read from a picture under the microscope: an assumption."""


def compressed_thickness(thickness_m: float, compression: ArrayLike) -> Floats:
    """Thickness in m at `compression` V/V0 (any shape) of what was `thickness_m` thick before: d0 (V/V0)^(1/3).

    Raises:
        ValueError: a thickness or compression is not positive.
    """
    x = np.asarray(compression, dtype=float)
    if not (0.0 < thickness_m < math.inf and np.all((x > 0.0) & np.isfinite(x))):
        raise ValueError(f"thickness and compression V/V0 must be positive: {thickness_m} m, {np.min(x):g}")
    return np.asarray(thickness_m * np.cbrt(x))


@dataclass(frozen=True)
class Foil:
    """A foil in m: length between the voltage leads and width as they are in the cell, thickness before compression.

    The relative standard uncertainties are systematic.

    Raises:
        ValueError: a dimension is not positive or an error is negative.
    """

    length_m: float
    width_m: float
    thickness_m: float
    length_error: float = PICTURE_ERROR
    width_error: float = PICTURE_ERROR
    thickness_error: float = THICKNESS_ERROR

    def __post_init__(self) -> None:
        sizes, errors = ("length_m", "width_m", "thickness_m"), ("length_error", "width_error", "thickness_error")
        for name in (*sizes, *errors):
            value = getattr(self, name)
            if not (math.isfinite(value) and (value > 0.0 or (name in errors and value == 0.0))):
                raise ValueError(f"Foil.{name} must be {'>= 0' if name in errors else 'positive'}: {value}")

    @property
    def scale_error(self) -> float:
        """Relative standard uncertainty of every resistivity measured on this foil."""
        return math.hypot(self.length_error, self.width_error, self.thickness_error)

    def factor_m(self, compression: ArrayLike) -> Floats:
        """Width times thickness over length, in m, at `compression` V/V0 (any shape): resistivity over resistance."""
        return self.width_m / self.length_m * compressed_thickness(self.thickness_m, compression)


def foil_resistivity(resistance: Estimate, foil: Foil, compression: float) -> Estimate:
    """`resistivity` (ohm m) of a foil from an estimate that has its `resistance` (ohm), rho = R w d / L.

    Raises:
        ValueError: the estimate has no resistance, or the compression V/V0 is not positive.
    """
    measured = resistance.quantity("resistance")
    factor = float(foil.factor_m(compression))
    return Estimate(
        names=("resistivity",),
        values=np.array([factor * measured.value]),
        covariance=np.array([[(factor * measured.error) ** 2]]),
        systematic=np.array([factor * math.hypot(measured.systematic, foil.scale_error * measured.value)]),
        units=("ohm m",),
        model=f"{resistance.model}; foil, thickness scaled with (V/V0)^(1/3)",
        chi2_red=resistance.chi2_red,
        n_points=resistance.n_points,
    )


def van_der_pauw(
    resistances_ohm: ArrayLike,
    covariance_ohm2: ArrayLike,
    thickness_m: float,
    *,
    systematic_ohm: ArrayLike = (0.0, 0.0),
    thickness_error: float = THICKNESS_ERROR,
) -> Estimate:
    """`resistivity` (ohm m) and `correction_factor` f of a thin sheet with four contacts on its edge.

    Args:
        resistances_ohm: (2,) R_A and R_B, the second with current and voltage contacts moved on by one.
        covariance_ohm2: (2, 2) their statistical covariance.
        thickness_m: thickness of the sheet in the cell.
        systematic_ohm: (2,) their systematic standard uncertainties, common to both (source, meter).
        thickness_error: relative standard uncertainty of the thickness, systematic.

    Solves exp(-pi R_A d/rho) + exp(-pi R_B d/rho) = 1 between bounds that always hold the root. With f the result is
    rho = pi d f (R_A + R_B) / (2 ln 2).

    Raises:
        ValueError: a resistance or the thickness is not positive.

    Source: van der Pauw, Philips Res. Rep. 13, 1 (1958).
    """
    r, covariance = np.asarray(resistances_ohm, dtype=float), np.asarray(covariance_ohm2, dtype=float)
    if r.shape != (2,) or covariance.shape != (2, 2) or not np.all((r > 0.0) & np.isfinite(r)):
        raise ValueError(f"van der Pauw needs two positive resistances and their (2, 2) covariance, not {r} ohm")
    thickness = float(compressed_thickness(thickness_m, 1.0))
    low, high = math.pi / math.log(2) * np.array([r.min() * (1 - 1e-9), r.mean() * (1 + 1e-9)])
    sheet = brentq(lambda s: float(np.sum(np.exp(-math.pi * r / s))) - 1.0, low, high, xtol=1e-15 * high, rtol=1e-14)
    weight = np.exp(-math.pi * r / sheet)
    slope = sheet * weight / (weight @ r)
    flat = math.pi * r.mean() / math.log(2)
    correction = sheet / flat
    transform = np.stack([thickness * slope, (slope - 0.5 * sheet / r.mean()) / flat])
    common = np.abs(transform @ np.asarray(systematic_ohm, dtype=float))
    return Estimate(
        names=("resistivity", "correction_factor"),
        values=np.array([thickness * sheet, correction]),
        covariance=transform @ covariance @ transform.T,
        systematic=np.hypot(common, np.array([thickness_error * thickness * sheet, 0.0])),
        units=("ohm m", ""),
        model="van der Pauw",
        chi2_red=math.nan,
        n_points=2,
    )


@dataclass(frozen=True)
class TemperatureProfile:
    """Temperature along the foil between the voltage leads, as resistors in series see it.

    `position_m` (m,) rises, `rise` (m,) is the fraction of the way from `ambient_k` to the hot temperature; `error` is
    the relative standard uncertainty of the difference that the gradient makes (an assumption).

    Raises:
        ValueError: fewer than two positions, or positions that do not rise, or a rise that is no number.
    """

    position_m: tuple[float, ...]
    rise: tuple[float, ...]
    ambient_k: float = 300.0
    error: float = 0.2

    def __post_init__(self) -> None:
        steps = np.diff(self.position_m)
        if len(self.position_m) < 2 or len(self.position_m) != len(self.rise) or not np.all(steps > 0.0):
            raise ValueError("a temperature profile needs two or more rising positions with one rise for each")
        if not (np.isfinite(self.rise).all() and np.isfinite(steps).all() and self.error >= 0.0):
            raise ValueError("a temperature profile needs finite numbers and an error >= 0")

    def temperatures(self, hot_k: ArrayLike) -> Floats:
        """(..., m) temperatures in K where the hot ones are `hot_k` (...)."""
        hot = np.asarray(hot_k, dtype=float)[..., None]
        return np.asarray(self.ambient_k + np.asarray(self.rise) * (hot - self.ambient_k))

    def mean(self, resistivity: Floats) -> Floats:
        """Average (...) over the length of (..., m) resistivities at the positions."""
        x = np.asarray(self.position_m)
        return np.asarray(np.trapezoid(resistivity, x, axis=-1) / (x[-1] - x[0]))

    def correction(self, resistivity_of: Callable[[Floats], Floats], hot_k: ArrayLike) -> Floats:
        """By what the measured average must be multiplied to give the resistivity at `hot_k` (any shape).

        `resistivity_of` maps temperatures in K to resistivities; only its shape matters.
        """
        hot = np.asarray(hot_k, dtype=float)
        return np.asarray(resistivity_of(hot) / self.mean(resistivity_of(self.temperatures(hot))))
