"""One energy-dispersive pattern of hcp iron with MgO: pressure from the marker, differential stress from the sample."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .energy_dispersive import Elements, Line, Spacings, measure_spacings
from .equations_of_state import marker_pressure
from .estimate import Estimate, Quantity
from .lattice_strain import SinghFit, differential_stress, fit_singh
from .phases import HCP_IRON, MGO, hcp_iron_elasticity, hcp_iron_lines, mgo_lines

IRON_HKL = ((1, 0, 0), (0, 0, 2), (1, 0, 1), (1, 1, 0), (1, 0, 3))
MGO_HKL = ((1, 1, 1), (2, 0, 0))
"""Lines that are fitted. Iron 102 and MgO 220 coincide and are left out: their sum does not say whose it is."""

HCP_GPA = 15.0
"""Below this the sample is still bcc, and its stress is not evaluated."""

_NEAR_GPA = 2.0  # an expectation this good puts every line well inside the search range
_COARSE_K = 20.0


@dataclass(frozen=True)
class Pattern:
    """What one pattern says: spacings of all lines, pressure, and stress where the sample is hcp iron."""

    spacings: Spacings
    pressure: Estimate
    stress: Estimate | None


def reduce_pattern(counts: ArrayLike, elements: Elements, *, pressure_gpa: float, temperature: Quantity) -> Pattern:
    """Reduce a pattern of hcp iron and MgO.

    Args:
        counts: (n_det, n_ch).
        elements: calibrated elements; `two_theta_error_deg` becomes a systematic term of both results.
        pressure_gpa: expected pressure, to within some GPa; lines are predicted again when it was far off.
        temperature: of the gauge volume in K, with its errors.

    Raises:
        ValueError: too few lines are found, or the equation of state has no answer.
    """
    strain_error = np.abs(elements.strain_per_degree) * elements.two_theta_error_deg
    guess = pressure_gpa
    for _ in range(3):
        coarse_k = _COARSE_K * round(temperature.value / _COARSE_K)
        spacings = measure_spacings(counts, elements, expected_lines(float(round(guess)), coarse_k))
        pressure = _pressure(spacings, temperature, strain_error)
        found = pressure.quantity("pressure").value
        if abs(found - guess) < _NEAR_GPA:
            break
        guess = found
    stress = _stress(spacings, found, temperature.value, strain_error) if found > HCP_GPA else None
    return Pattern(spacings, pressure, stress)


@functools.lru_cache(maxsize=64)
def expected_lines(pressure_gpa: float, temperature_k: float) -> tuple[Line, ...]:
    """Where the lines of sample and marker are looked for, sample first; the window around them is much wider."""
    iron = hcp_iron_lines(max(pressure_gpa, HCP_GPA), temperature_k, IRON_HKL)
    return (*iron, *mgo_lines(max(pressure_gpa, 0.0), temperature_k, MGO_HKL))


def _pressure(spacings: Spacings, temperature: Quantity, strain_error: ArrayLike) -> Estimate:
    marker = spacings.of_phase(MGO)
    return marker_pressure(
        _singh(marker),
        [line.hkl for line in marker.lines],
        temperature.value,
        temperature_error_k=temperature.error,
        temperature_systematic_k=temperature.systematic,
        strain_error=strain_error,
    )


def _stress(spacings: Spacings, pressure_gpa: float, temperature_k: float, strain_error: ArrayLike) -> Estimate:
    sample = spacings.of_phase(HCP_IRON)
    elasticity = hcp_iron_elasticity(pressure_gpa, temperature_k)
    return differential_stress(
        _singh(sample), [line.hkl for line in sample.lines], elasticity, strain_error=strain_error
    )


def _singh(part: Spacings) -> SinghFit:
    return fit_singh(part.d, part.d_error, part.elements.psi_rad)
