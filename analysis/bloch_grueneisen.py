"""Resistivity of iron against temperature and volume: Bloch-Grueneisen, saturation in parallel, solutes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .equations_of_state import HCP_FE_DEWAELE2006, REFERENCE_K, MieGrueneisenDebye
from .estimate import Floats

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)
_CUT = 60.0  # the integrand is below 1e-17 beyond


def bloch_grueneisen(temperature_k: ArrayLike, debye_temperature_k: ArrayLike, n: int = 5) -> Floats:
    """(T/Theta)^n times the integral of x^n / [(e^x - 1)(1 - e^-x)] from 0 to Theta/T; arrays broadcast.

    n = 5 is scattering of electrons by phonons, n = 3 that of s electrons into d bands.

    Raises:
        ValueError: a temperature is not positive, or n is below 2.

    Source: Grueneisen, Ann. Phys. 408, 530 (1933), doi:10.1002/andp.19334080504 (not re-read).
    """
    temperature, theta = np.asarray(temperature_k, dtype=float), np.asarray(debye_temperature_k, dtype=float)
    if n < 2 or not (np.all(temperature > 0.0) and np.all(theta > 0.0)):
        lowest = f"{np.min(temperature):g} K, Debye {np.min(theta):g} K"
        raise ValueError(f"Bloch-Grueneisen needs positive temperatures and n >= 2: {lowest}, n = {n}")
    ratio = np.asarray(theta / temperature)
    end = np.minimum(ratio, _CUT)[..., None]
    x = 0.5 * end * (_NODES + 1.0)
    integral = np.sum(_NODE_WEIGHTS * x**n / (4.0 * np.sinh(0.5 * x) ** 2), axis=-1) * 0.5 * end[..., 0]
    return np.asarray(integral / ratio**n)


def in_parallel(ideal_ohm_m: ArrayLike, saturation_ohm_m: ArrayLike) -> Floats:
    """Resistivity with saturation as a shunt: 1/rho = 1/rho_ideal + 1/rho_sat.

    Source: Wiesmann et al., Phys. Rev. Lett. 38, 782 (1977), doi:10.1103/PhysRevLett.38.782 (not re-read).
    """
    return np.asarray(1.0 / (1.0 / np.asarray(ideal_ohm_m, dtype=float) + 1.0 / np.asarray(saturation_ohm_m)))


def matthiessen(pure_ohm_m: float, solutes: Mapping[str, tuple[float, float]]) -> float:
    """Ideal resistivity of an alloy in ohm m: that of the metal, plus content (at%) times resistivity (ohm m per at%).

    `solutes` maps a name to the two. Saturation comes after: `in_parallel`.

    Raises:
        ValueError: a content or resistivity is negative or no number, or the contents exceed 100 at%.
    """
    for name, pair in solutes.items():
        if not all(0.0 <= value < math.inf for value in pair):
            raise ValueError(f"solute {name}: content in at% and ohm m per at% must be >= 0: {pair}")
    if sum(content for content, _ in solutes.values()) > 100.0:
        raise ValueError(f"solutes make more than 100 at%: {dict(solutes)}")
    return pure_ohm_m + sum(content * each for content, each in solutes.values())


def room_resistivity_gomi2013(compression: ArrayLike) -> Floats:
    """Resistivity of hcp-Fe in ohm m at 300 K and V/V0 (any shape): 5.26e-9 (1.24 - V/V0)^-3.21.

    Raises:
        ValueError: V/V0 is not between 0 and 1.24.

    Source: Gomi et al., Phys. Earth Planet. Inter. 224, 88 (2013), doi:10.1016/j.pepi.2013.07.010; digits not verified.
    """
    x = np.asarray(compression, dtype=float)
    if not np.all((x > 0.0) & (x < 1.24)):
        raise ValueError(f"resistivity of iron: V/V0 must be between 0 and 1.24: {np.min(x):g} to {np.max(x):g}")
    return np.asarray(5.26e-9 * (1.24 - x) ** -3.21)


def saturation_gomi2013(compression: ArrayLike) -> Floats:
    """Resistivity of saturation of iron in ohm m at V/V0 (any shape): 1.68e-6 (V/V0)^(1/3).

    Source: as `room_resistivity_gomi2013`; digits not verified.
    """
    return np.asarray(1.68e-6 * np.cbrt(np.asarray(compression, dtype=float)))


@dataclass(frozen=True)
class ResistivityModel:
    """A metal's resistivity: Bloch-Grueneisen scaled to 300 K, solutes added, saturation in parallel.

    `room` and `saturation` give resistivities in ohm m at V/V0, `solutes_ohm_m` is what `matthiessen` adds. The volume
    is that at the pressure and 300 K (heated at constant volume), or with `thermal_expansion` that at pressure and
    temperature. The Debye temperature follows the volume. The defaults give 46.4e-8 ohm m for hcp-Fe at 140 GPa and
    3750 K, where Ohta et al., Nature 534, 95 (2016), doi:10.1038/nature17957, have 40.4 (+6.5 -9.7) e-8 (not verified).
    """

    eos: MieGrueneisenDebye = HCP_FE_DEWAELE2006
    room: Callable[[ArrayLike], Floats] = room_resistivity_gomi2013
    saturation: Callable[[ArrayLike], Floats] = saturation_gomi2013
    n: int = 5
    solutes_ohm_m: float = 0.0
    thermal_expansion: bool = False

    def compression(self, pressure_gpa: ArrayLike, temperature_k: ArrayLike) -> Floats:
        """V/V0, arrays broadcast.

        Raises:
            ValueError: the equation of state has no such volume.
        """
        temperature = temperature_k if self.thermal_expansion else REFERENCE_K
        try:
            return np.asarray(self.eos.volume(pressure_gpa, temperature) / self.eos.v0_a3)
        except ValueError:
            gpa, kelvin = (f"{np.min(a):g} to {np.max(a):g}" for a in (pressure_gpa, temperature))
            raise ValueError(f"{self.eos.scale}: no volume within 0.4-1.15 V0 at {gpa} GPa and {kelvin} K") from None

    def ideal(self, compression: ArrayLike, temperature_k: ArrayLike, scale: ArrayLike = 1.0) -> Floats:
        """Resistivity in ohm m without saturation, arrays broadcast; `scale` multiplies the metal's own part."""
        theta = self.eos.debye_temperature_k(np.asarray(compression) * self.eos.v0_a3)
        ratio = bloch_grueneisen(temperature_k, theta, self.n) / bloch_grueneisen(REFERENCE_K, theta, self.n)
        return np.asarray(np.asarray(scale) * self.room(compression) * ratio + self.solutes_ohm_m)

    def resistivity(
        self, compression: ArrayLike, temperature_k: ArrayLike, scale: ArrayLike = 1.0, shunt: ArrayLike = 1.0
    ) -> Floats:
        """Resistivity in ohm m, arrays broadcast; `shunt` multiplies the conductivity of saturation."""
        ideal = self.ideal(compression, temperature_k, scale)
        return np.asarray(1.0 / (1.0 / ideal + np.asarray(shunt) / self.saturation(compression)))
