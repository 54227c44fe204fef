"""A disc between metal films in its medium, heated by pulses on one side and looked at from the other.

One-dimensional conduction on a mesh of finite volumes; its modes are found once for each state of the cell, so that
the response at any time is a sum of exponentials. Nothing is shared with any analysis.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.special import erfcx

from .parameters import Parameters

Floats = NDArray[np.float64]

MESH_PER_LAYER = 60
MEDIUM_REACH = 6.0
"""Thickness of the medium on the mesh, in lengths that heat goes in the time that is looked at."""
LOOKED_AT_S = 5e-6
SHARPENING = 1.06
"""Ratio of neighbouring cells in the medium."""


@dataclass(frozen=True)
class Mineral:
    """Conductivity at 135 GPa and 4000 K and how it depends on temperature and density, density, compression, heat."""

    conductivity: float
    temperature_exponent: float
    density_exponent: float
    density: float  # kg/m^3 at 1 bar
    k0_gpa: float
    k0_prime: float
    heat_capacity: float  # J/kg/K


MINERALS: Mapping[str, Mineral] = MappingProxyType(
    {
        "bridgmanite": Mineral(9.0, 0.43, 4.7, 4105.0, 261.0, 4.0, 1242.0),
        "post-perovskite": Mineral(9.1, 0.43, 4.7, 4170.0, 231.0, 4.0, 1242.0),
        "iron": Mineral(150.0, -0.1, 1.0, 8270.0, 165.0, 5.3, 700.0),
    }
)
"""About what is known of them; all are the simulator's truth, not measured values. Composition: `dissolved`."""


@dataclass(frozen=True)
class DiscTerms:
    """What is so of this disc: factors on the usual conductivity and on its thickness."""

    conductivity: float
    thickness: float


class Disc:
    """`state(t)` gives temperature (K) and pressure (GPa); `pump(t)` energy (J/m^2) and rate (Hz) of the pulses."""

    def __init__(
        self,
        p: Parameters,
        terms: DiscTerms,
        state: Callable[[float], tuple[float, float]],
        pump: Callable[[float], tuple[float, float]],
    ) -> None:
        self._p, self.terms, self._state, self._pump = p, terms, state, pump
        self.mineral = MINERALS[p.disc]

    def trigger_rate_hz(self, t: float) -> float:
        """How often the pulsed laser fires."""
        return self._pump(t)[1]

    def waveform_v(self, t: float, times_s: Floats) -> Floats:
        """Voltage of the probe's detector at times (n,) after the trigger, without noise."""
        energy, _ = self._pump(t)
        risen = energy * self.response(times_s - self._p.pulse_delay_s, *self._state(t))
        return np.asarray(self._p.probe_v * (1.0 + self._p.reflectance_per_k * risen))

    def conductivity_w_per_m_k(self, kelvin: float, gpa: float) -> float:
        """Of the disc."""
        m, p = self.mineral, self._p
        denser = self.density_kg_per_m3(gpa) / self.density_kg_per_m3(135.0)
        dissolved = 1.0 - p.dissolved_slope * p.dissolved
        hotter, denser_by = (4000.0 / kelvin) ** m.temperature_exponent, denser**m.density_exponent
        return float(self.terms.conductivity * dissolved * m.conductivity * hotter * denser_by)

    def density_kg_per_m3(self, gpa: float) -> float:
        """By Murnaghan's equation of state."""
        m = self.mineral
        return float(m.density * (1.0 + m.k0_prime * gpa / m.k0_gpa) ** (1.0 / m.k0_prime))

    def thickness_m(self, gpa: float) -> float:
        """As the disc is in the cell."""
        squeezed = (self.mineral.density / self.density_kg_per_m3(gpa)) ** (1.0 / 3.0)
        return float(1e-6 * self._p.disc_um * self.terms.thickness * squeezed)

    def response(self, times_s: Floats, kelvin: float, gpa: float) -> Floats:
        """Rise (K m^2/J) of the film on the far side at times (n,) after the middle of the pulse."""
        size, capacity, conductivity, source, probe = self._mesh(kelvin, gpa)
        half = 0.5 * size / conductivity
        between = 1.0 / (half[:-1] + half[1:])  # W/m^2/K from one cell to the next
        heat = capacity * size  # J/m^2/K
        diagonal = np.zeros(len(size))
        diagonal[:-1] += between
        diagonal[1:] += between
        rates, modes = eigh_tridiagonal(diagonal / heat, -between / np.sqrt(heat[:-1] * heat[1:]))
        rates = np.maximum(rates, 0.0)
        share = heat[source] / heat[source].sum()
        excited = (modes[source] * (share / np.sqrt(heat[source]))[:, None]).sum(axis=0)
        seen = (modes[probe] * (heat[probe] / heat[probe].sum() / np.sqrt(heat[probe]))[:, None]).sum(axis=0)
        return np.asarray(_after_pulse(times_s, rates, self._p.pulse_s / 2.355) @ (excited * seen))

    def _mesh(self, kelvin: float, gpa: float) -> tuple[Floats, Floats, Floats, slice, slice]:
        """Sizes (m), heat capacities (J/m^3/K), conductivities (W/m/K) of the cells; those heated, those looked at."""
        p, n = self._p, MESH_PER_LAYER
        disc = np.full(n, self.thickness_m(gpa) / n)
        film = np.full(n // 6, 1e-9 * p.film_nm / (n // 6))
        medium_diffusivity = p.medium_effusivity**2 / p.medium_heat_capacity**2
        reach = MEDIUM_REACH * math.sqrt(medium_diffusivity * LOOKED_AT_S)
        first = min(disc[0], 0.02e-6)
        count = math.ceil(math.log(1.0 + reach * (SHARPENING - 1.0) / first) / math.log(SHARPENING))
        medium = first * SHARPENING ** np.arange(count)
        size = np.concatenate([medium[::-1], film, disc, film, medium])
        medium_conductivity = p.medium_effusivity**2 / p.medium_heat_capacity
        heat_of_disc = self.density_kg_per_m3(gpa) * self.mineral.heat_capacity
        layers = (
            (count, p.medium_heat_capacity, medium_conductivity),
            (len(film), p.film_heat_capacity, p.film_conductivity),
            (n, heat_of_disc, self.conductivity_w_per_m_k(kelvin, gpa)),
            (len(film), p.film_heat_capacity, p.film_conductivity),
            (count, p.medium_heat_capacity, medium_conductivity),
        )
        capacity = np.concatenate([np.full(cells, value) for cells, value, _ in layers])
        conductivity = np.concatenate([np.full(cells, value) for cells, _, value in layers])
        near, far = count, count + len(film) + n
        return size, capacity, conductivity, slice(near, near + len(film)), slice(far, far + len(film))


def _after_pulse(times_s: Floats, rates: Floats, sigma_s: float) -> Floats:
    """Exponentials (n, m) of each rate, begun by a pulse of Gaussian shape and unit area."""
    t, rate = np.asarray(times_s)[:, None], rates[None, :]
    late = (rate * sigma_s - t / sigma_s) / math.sqrt(2.0)
    gauss = np.exp(-0.5 * (t / sigma_s) ** 2)
    with np.errstate(over="ignore", invalid="ignore"):
        early = 0.5 * gauss * erfcx(late)
    settled = np.exp(np.minimum(0.5 * (rate * sigma_s) ** 2 - rate * t, 0.0))
    return np.asarray(np.where(late > -20.0, early, settled))
