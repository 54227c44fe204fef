"""Equations of state of what is in the cell: Vinet at 300 K with Mie-Grueneisen-Debye heat.

One law of the Grueneisen parameter covers the usual ones: gamma = gamma0 (1 + a ((V/V0)^b - 1)), so that a power law
gamma0 (V/V0)^q is a = 1, b = q, and Al'tshuler's gamma_inf + (gamma0 - gamma_inf) (V/V0)^beta is
a = 1 - gamma_inf / gamma0, b = beta.
"""

import dataclasses
import math

import numpy as np
from scipy import constants

R: float = constants.R
AVOGADRO: float = constants.Avogadro
_NODES, _WEIGHTS = (tuple(map(float, values)) for values in np.polynomial.legendre.leggauss(10))
AMBIENT_K = 300.0


def debye_energy(temperature_k: float, debye_k: float) -> float:
    """Thermal energy (J per mole of atoms) of a Debye solid, by Gauss-Legendre quadrature."""
    top = debye_k / temperature_k
    half = 0.5 * top
    total = 0.0
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        x = half * (1.0 + node)
        total += weight * x * x * x / math.expm1(x)
    return 9.0 * R * temperature_k * half * total / top**3


@dataclasses.dataclass(frozen=True, slots=True)
class Solid:
    """Unit cell of `atoms` atoms: V0 in A3, K0 in GPa, Debye temperature in K."""

    v0: float
    k0: float
    k_prime: float
    debye_k: float
    gamma0: float
    a: float
    b: float
    atoms: int

    def cold(self, volume_a3: float) -> float:
        """Pressure (GPa) at 300 K."""
        y = (volume_a3 / self.v0) ** (1.0 / 3.0)
        return float(3.0 * self.k0 * (1.0 - y) / (y * y)) * math.exp(1.5 * (self.k_prime - 1.0) * (1.0 - y))

    def gamma(self, volume_a3: float) -> float:
        """Grueneisen parameter."""
        return float(self.gamma0 * (1.0 + self.a * ((volume_a3 / self.v0) ** self.b - 1.0)))

    def debye(self, volume_a3: float) -> float:
        """Debye temperature (K): gamma integrated over ln V."""
        x = volume_a3 / self.v0
        stiffened = x ** (-(1.0 - self.a) * self.gamma0)
        return float(self.debye_k * stiffened) * math.exp((self.gamma0 - self.gamma(volume_a3)) / self.b)

    def thermal(self, volume_a3: float, temperature_k: float) -> float:
        """Thermal pressure (GPa) above 300 K."""
        theta = self.debye(volume_a3)
        heat = debye_energy(temperature_k, theta) - debye_energy(AMBIENT_K, theta)
        return self.gamma(volume_a3) * self.atoms * heat / (AVOGADRO * volume_a3 * 1e-30) * 1e-9

    def pressure(self, volume_a3: float, temperature_k: float) -> float:
        """Pressure (GPa) at a volume and a temperature."""
        return self.cold(volume_a3) + self.thermal(volume_a3, temperature_k)

    def volume(self, pressure_gpa: float, temperature_k: float) -> float:
        """Volume (A3) at a pressure and a temperature, by the secant method in ln V."""
        old, new = math.log(0.9 * self.v0), math.log(0.88 * self.v0)
        f_old = self.pressure(math.exp(old), temperature_k) - pressure_gpa
        for _ in range(40):
            f_new = self.pressure(math.exp(new), temperature_k) - pressure_gpa
            if abs(f_new) < 1e-9 or f_new == f_old:
                break
            old, new, f_old = new, new - f_new * (new - old) / (f_new - f_old), f_new
        return math.exp(new)


# Tange et al. (2009), doi:10.1029/2008JB005813, Vinet fit (values not verified in the paper)
MGO = Solid(74.698, 160.63, 4.367, 761.0, 1.442, 0.138, 5.4, 8)
# Dewaele et al. (2006), doi:10.1103/PhysRevLett.97.215504, quasi-harmonic part only (values not verified in the paper)
HCP_IRON = Solid(22.428, 163.4, 5.38, 417.0, 1.875, 1.0 - 1.305 / 1.875, 3.289, 2)
# bcc iron, round numbers of the literature [S], good enough for lines that warn of too low a pressure
BCC_IRON = Solid(23.55, 165.0, 5.5, 430.0, 1.7, 1.0, 1.0, 2)
