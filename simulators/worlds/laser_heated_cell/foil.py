"""A foil of hcp iron between four leads in the hot spot: its resistivity, and the voltages of its circuit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq

from .parameters import Parameters

V0_K0_KPRIME = (163.4, 5.38)
"""Of hcp iron (Dewaele et al. 2006, doi:10.1103/PhysRevLett.97.215504), with a Debye temperature that follows
Al'tshuler's form of the Grueneisen parameter."""
THETA0_K, GAMMA0, GAMMA_INF, BETA = 417.0, 1.875, 1.305, 3.289
POINTS = 15

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoilTerms:
    """What is so of this foil and its circuit: factors on the usual resistivity, thickness, length and width."""

    resistivity: float
    thickness: float
    length: float
    width: float
    source: float
    """Current that flows, relative to the one that is set."""


class Foil:
    """Voltage between the inner leads while a current flows. `state(t)` gives temperature at the centre and pressure.

    The temperature falls off along the foil as it does across the spot; thickness scales with compression. Added is
    what the hot junctions of unlike leads give, which follows the temperature and wanders.
    """

    def __init__(
        self, p: Parameters, terms: FoilTerms, state: Callable[[float], tuple[float, float]], phases: Floats
    ) -> None:
        self._p, self.terms, self._state, self._phases = p, terms, state, phases
        self._times, self._currents = [-math.inf], [0.0]
        self._known: tuple[float, float, float] = (math.nan, math.nan, math.nan)

    # ---- what the current source does

    def set_source_current(self, t: float, ampere: float) -> None:
        """From `t` on so much flows."""
        self._times.append(t)
        self._currents.append(ampere)

    # ---- what the voltmeter sees

    def voltage_v(self, t: float) -> float:
        """Between the inner leads, without the meter's noise."""
        kelvin, gpa = self._state(t)
        return float(self.current_a(t) * self.resistance_ohm(kelvin, gpa) + self._thermoelectric_v(t, kelvin))

    def current_a(self, t: float) -> float:
        """What really flows."""
        number = int(np.searchsorted(self._times, t, side="right")) - 1
        return self.terms.source * self._currents[number]

    # ---- what is so

    def resistance_ohm(self, peak_k: float, gpa: float) -> float:
        """Of the foil between its inner leads."""
        p, terms = self._p, self.terms
        length_m = 1e-6 * p.foil_length_um * terms.length
        along = np.linspace(-0.5, 0.5, POINTS) * p.foil_length_um
        kelvin = p.room_temperature_k + (peak_k - p.room_temperature_k) * np.exp(-((along / p.foil_spot_um) ** 2))
        mean = float(np.mean([self.resistivity_ohm_m(float(k), gpa) for k in kelvin]))
        thickness_m = 1e-6 * p.foil_thickness_um * terms.thickness * compression(gpa) ** (1.0 / 3.0)
        return float(mean * length_m / (1e-6 * p.foil_width_um * terms.width * thickness_m))

    def resistivity_ohm_m(self, kelvin: float, gpa: float) -> float:
        """Of iron (Gomi et al. 2013, doi:10.1016/j.pepi.2013.07.010; at second hand), times this sample's factor.

        Bloch and Grueneisen with the volume's Debye temperature, beside a resistivity that nothing exceeds.
        """
        x = compression(gpa)
        theta = THETA0_K * x**-GAMMA_INF * math.exp((GAMMA0 - GAMMA_INF) / BETA * (1.0 - x**BETA))
        cold = 5.26e-9 * (1.24 - x) ** -3.21
        ideal = cold * _bloch(kelvin / theta) / _bloch(300.0 / theta)
        if self._p.alloy_resistivity_ohm_m:
            ideal += self._p.alloy_resistivity_ohm_m
        limit = self._p.saturation_ohm_m * x ** (1.0 / 3.0)
        return float(self.terms.resistivity / (1.0 / ideal + 1.0 / limit))

    def _thermoelectric_v(self, t: float, kelvin: float) -> float:
        p = self._p
        waves: Sequence[float] = [
            math.sin(t / (20.0 * (1.0 + 1.7 * n)) + phase) for n, phase in enumerate(self._phases)
        ]
        drift = 1.0 + p.thermoelectric_wander * sum(waves) / math.sqrt(len(waves))
        return float(p.thermoelectric_v_per_k * (kelvin - p.room_temperature_k) * drift)


def compression(gpa: float) -> float:
    """V/V0 at 300 K by Vinet's equation of state."""
    k0, slope = V0_K0_KPRIME

    def excess(x: float) -> float:
        y = x ** (1.0 / 3.0)
        return float(3.0 * k0 * (1.0 - y) / y**2 * math.exp(1.5 * (slope - 1.0) * (1.0 - y)) - gpa)

    return float(brentq(excess, 0.4, 1.0, xtol=1e-12)) if gpa > 0.0 else 1.0


def _bloch(reduced: float) -> float:
    """(T/theta)^5 times the integral of Bloch and Grueneisen up to theta/T."""
    value, _ = quad(lambda x: x**5 / (math.expm1(x) * -math.expm1(-x)), 0.0, 1.0 / reduced, epsrel=1e-10)
    return float(reduced**5 * value)
