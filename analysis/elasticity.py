"""Elastic constants of crystals and the lattice strain of a line per unit of differential stress."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Miller = tuple[int, int, int]

ALPHA = 0.5  # weight of the Reuss bound; nobody knows it for a deforming aggregate


class Elasticity(Protocol):
    """Elastic constants of a crystal, as far as lattice strains need them."""

    @property
    def name(self) -> str:
        """What results say of the elastic constants."""
        ...

    def reuss_compliance(self, hkl: Miller) -> float:
        """1 / (2 G_R(hkl)) per GPa: grains under the same stress."""
        ...

    def voigt_compliance(self) -> float:
        """1 / (2 G_V) per GPa: grains under the same strain."""
        ...


@dataclass(frozen=True)
class CubicElasticity:
    """Stiffnesses of a cubic crystal in GPa.

    Raises:
        ValueError: the crystal would not be stable.

    Source: Singh et al., J. Appl. Phys. 83, 7567 (1998), doi:10.1063/1.367872.
    """

    c11_gpa: float
    c12_gpa: float
    c44_gpa: float
    name: str = "cubic elasticity"

    def __post_init__(self) -> None:
        if self.c11_gpa <= abs(self.c12_gpa) or self.c44_gpa <= 0 or self.c11_gpa + 2 * self.c12_gpa <= 0:
            raise ValueError(
                f"not a stable cubic crystal: C11, C12, C44 = {self.c11_gpa}, {self.c12_gpa}, {self.c44_gpa}"
            )

    @property
    def _s11_minus_s12(self) -> float:
        return 1.0 / (self.c11_gpa - self.c12_gpa)

    def reuss_compliance(self, hkl: Miller) -> float:
        """1 / (2 G_R(hkl)) per GPa."""
        h, k, m = (float(index) ** 2 for index in hkl)
        gamma = (h * k + k * m + m * h) / (h + k + m) ** 2
        difference = self._s11_minus_s12
        return difference - 3.0 * (difference - 0.5 / self.c44_gpa) * gamma

    def voigt_compliance(self) -> float:
        """1 / (2 G_V) per GPa."""
        difference, s44 = self._s11_minus_s12, 1.0 / self.c44_gpa
        return 2.5 * difference * s44 / (3.0 * difference + s44)


@dataclass(frozen=True)
class HexagonalElasticity:
    """Stiffnesses of a hexagonal crystal in GPa and its axial ratio c/a.

    Raises:
        ValueError: the crystal would not be stable.

    Source: Singh & Balasingh, J. Appl. Phys. 75, 4956 (1994), doi:10.1063/1.355786.
    """

    c11_gpa: float
    c12_gpa: float
    c13_gpa: float
    c33_gpa: float
    c44_gpa: float
    c_over_a: float
    name: str = "hexagonal elasticity"

    def __post_init__(self) -> None:
        stable = self.c11_gpa > abs(self.c12_gpa) and self.c44_gpa > 0
        if not stable or (self.c11_gpa + self.c12_gpa) * self.c33_gpa <= 2 * self.c13_gpa**2:
            raise ValueError(f"not a stable hexagonal crystal: {self}")

    def _compliances(self) -> tuple[float, float, float, float, float]:
        c11, c12, c13, c33 = self.c11_gpa, self.c12_gpa, self.c13_gpa, self.c33_gpa
        s11, s12, s13 = np.linalg.inv([[c11, c12, c13], [c12, c11, c13], [c13, c13, c33]])[0]
        s33 = (c11 + c12) / ((c11 + c12) * c33 - 2 * c13**2)
        return float(s11), float(s12), float(s13), s33, 1.0 / self.c44_gpa

    def reuss_compliance(self, hkl: Miller) -> float:
        """1 / (2 G_R(hkl)) per GPa."""
        h, k, m = hkl
        s11, s12, s13, s33, s44 = self._compliances()
        squared = 3.0 * m * m / (4.0 * self.c_over_a**2 * (h * h + h * k + k * k) + 3.0 * m * m)
        linear = -5 * s11 + s12 + 5 * s13 - s33 + 3 * s44
        quadratic = 3 * s11 - 6 * s13 + 3 * s33 - 3 * s44
        return 0.5 * ((2 * s11 - s12 - s13) + squared * linear + squared**2 * quadratic)

    def voigt_compliance(self) -> float:
        """1 / (2 G_V) per GPa."""
        shear = 7 * self.c11_gpa - 5 * self.c12_gpa + 2 * self.c33_gpa - 4 * self.c13_gpa + 12 * self.c44_gpa
        return 15.0 / shear


def strain_per_stress(elasticity: Elasticity, hkl: Sequence[Miller], alpha: float = ALPHA) -> Floats:
    """Q / t per GPa of each line, (n_line,): `alpha` = 1 is the Reuss bound, 0 the Voigt bound."""
    reuss = np.array([elasticity.reuss_compliance(indices) for indices in hkl])
    return np.asarray((alpha * reuss + (1.0 - alpha) * elasticity.voigt_compliance()) / 3.0)
