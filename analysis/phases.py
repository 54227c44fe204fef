"""The phases of deformation experiments: lines to expect and elastic constants, at pressure and temperature."""

from collections.abc import Sequence

import numpy as np

from .elasticity import CubicElasticity, HexagonalElasticity
from .energy_dispersive import Line, line_energy_kev, resolution_fwhm_kev
from .equations_of_state import HCP_FE_DEWAELE2006, MGO_TANGE2009

Miller = tuple[int, int, int]

MGO = "MgO"
HCP_IRON = "hcp-Fe"
CORUNDUM = "corundum"

MGO_AMBIENT_ANGSTROM = 4.2117
"""Lattice parameter of MgO at 300 K and 1 bar (as agreed for calibrations; not verified in a source)."""

MGO_HKL: tuple[Miller, ...] = ((1, 1, 1), (2, 0, 0), (2, 2, 0))
HCP_IRON_HKL: tuple[Miller, ...] = ((1, 0, 0), (0, 0, 2), (1, 0, 1), (1, 0, 2), (1, 1, 0), (1, 0, 3))
HCP_IRON_AXIAL_RATIO = 1.605

CORUNDUM_LINES = tuple(
    Line(CORUNDUM, hkl, d)
    for hkl, d in (((0, 1, 2), 3.4797), ((1, 0, 4), 2.5508), ((1, 1, 3), 2.0853), ((1, 1, 6), 1.6014))
)
"""Strong lines of corundum at 1 bar and room temperature, a standard."""


def cubic_lines(phase: str, hkl: Sequence[Miller], lattice_parameter_angstrom: float) -> tuple[Line, ...]:
    """Expected lines of a cubic phase."""
    return tuple(Line(phase, h, lattice_parameter_angstrom / float(np.sqrt(sum(i * i for i in h)))) for h in hkl)


def hexagonal_lines(phase: str, hkl: Sequence[Miller], a_angstrom: float, c_angstrom: float) -> tuple[Line, ...]:
    """Expected lines of a hexagonal phase."""
    lines = []
    for h, k, m in hkl:
        inverse_squared = 4.0 / 3.0 * (h * h + h * k + k * k) / a_angstrom**2 + m * m / c_angstrom**2
        lines.append(Line(phase, (h, k, m), inverse_squared**-0.5))
    return tuple(lines)


def mgo_lines(pressure_gpa: float, temperature_k: float, hkl: Sequence[Miller] = MGO_HKL) -> tuple[Line, ...]:
    """Lines of MgO expected at a pressure and temperature.

    Raises:
        ValueError: the equation of state has no volume there.
    """
    return cubic_lines(MGO, hkl, float(np.cbrt(MGO_TANGE2009.volume(pressure_gpa, temperature_k))))


def mgo_standard_lines(hkl: Sequence[Miller] = MGO_HKL) -> tuple[Line, ...]:
    """Lines of MgO at 300 K and 1 bar, a standard for two theta."""
    return cubic_lines(MGO, hkl, MGO_AMBIENT_ANGSTROM)


def hcp_iron_lines(
    pressure_gpa: float,
    temperature_k: float,
    hkl: Sequence[Miller] = HCP_IRON_HKL,
    *,
    axial_ratio: float = HCP_IRON_AXIAL_RATIO,
) -> tuple[Line, ...]:
    """Lines of hcp iron expected at a pressure and temperature, with a constant axial ratio.

    Raises:
        ValueError: the equation of state has no volume there.
    """
    volume = float(HCP_FE_DEWAELE2006.volume(pressure_gpa, temperature_k))
    a = (2.0 * volume / (np.sqrt(3.0) * axial_ratio)) ** (1.0 / 3.0)
    return hexagonal_lines(HCP_IRON, hkl, float(a), float(a * axial_ratio))


def hcp_iron_elasticity(pressure_gpa: float = 20.0, temperature_k: float = 300.0) -> HexagonalElasticity:
    """Elastic constants of hcp iron: those at 20 GPa, scaled by G(P, T) / G(20 GPa, 300 K).

    G = 116 + 2.0 (P - 20) - 0.025 (T - 300) GPa. Not verified: agreed values, 5 % is the standard uncertainty to carry.

    Raises:
        ValueError: G would not be positive.
    """
    factor = (116.0 + 2.0 * (pressure_gpa - 20.0) - 2.5e-2 * (temperature_k - 300.0)) / 116.0
    if factor <= 0:
        raise ValueError(f"hcp-Fe would have no rigidity at {pressure_gpa} GPa and {temperature_k} K")
    c11, c12, c13, c33, c44 = (factor * c for c in (670.0, 240.0, 230.0, 720.0, 165.0))
    return HexagonalElasticity(c11, c12, c13, c33, c44, HCP_IRON_AXIAL_RATIO, "hcp-Fe, G(20 GPa)=116 GPa")


def mgo_elasticity(pressure_gpa: float = 0.0, temperature_k: float = 300.0) -> CubicElasticity:
    """Elastic constants of MgO, quadratic in pressure and linear in temperature.

    Raises:
        ValueError: the crystal would not be stable.

    Source: temperature from Isaak et al., Phys. Chem. Minerals 16, 704 (1990), pressure from Yoneda, J. Phys. Earth 38,
    19 (1990); digits as compiled by others for the same kind of experiment, not verified there.
    """
    p, dt = pressure_gpa, temperature_k - 300.0
    c11 = 299.43 + 8.76 * p - 0.015 * p * p - 0.06366 * dt
    c12 = 96.42 + 1.81 * p + 0.010 * p * p + 0.00691 * dt
    c44 = 157.33 + 1.31 * p - 0.045 * p * p - 0.01501 * dt
    return CubicElasticity(c11, c12, c44, "MgO, Isaak 1990 and Yoneda 1990")


def choose_lines(
    lines: Sequence[Line],
    two_theta_deg: float,
    *,
    energy_range_kev: tuple[float, float] = (25.0, 120.0),
    separation_fwhm: float = 1.0,
) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """Lines that can be measured apart, and a sentence on each that is left out.

    Lines closer than `separation_fwhm` of the resolution are both left out: their sum does not say whose it is. Lines
    further apart share a window when they overlap (`measure_spacings`).
    """
    energy = line_energy_kev([line.d_angstrom for line in lines], two_theta_deg)
    limit = separation_fwhm * resolution_fwhm_kev(energy)
    kept, left_out = [], []
    for i, line in enumerate(lines):
        near = [j for j in range(len(lines)) if j != i and abs(energy[j] - energy[i]) < limit[i]]
        label = f"{line.phase} {line.name}"
        if not energy_range_kev[0] <= energy[i] <= energy_range_kev[1]:
            left_out.append(
                f"{label}: {energy[i]:.1f} keV is outside {energy_range_kev[0]:g}-{energy_range_kev[1]:g} keV"
            )
        elif near:
            others = ", ".join(f"{lines[j].phase} {lines[j].name}" for j in near)
            left_out.append(f"{label}: within {separation_fwhm:g} FWHM of {others}")
        else:
            kept.append(line)
    return tuple(kept), tuple(left_out)
