"""Flow law of the sample and its loading in series with the assembly."""

import math

from scipy.constants import R as GAS

from .parameters import Parameters
from .press import Press
from .state import State

ATHERMAL_EXPONENT = 30.0
HYDROSTATIC_GPA = (
    163.0  # stiffness, its pressure derivative and linear expansion of the column: 412 um shorten by 3.7 %
)
HYDROSTATIC_SLOPE = 5.4  # on the way to 25 GPa and lengthen by 0.5 % on heating to 800 K [S]
LINEAR_EXPANSION_PER_K = 1.0e-5
CLOSED_UM = 60.0


class FlowLaw:
    """Plastic strain rate of two mechanisms in parallel, sum of A sigma^n exp(-(E + P V) / R T).

    At the crossover (temperature, stress, rate at the reference pressure) each gives half. A third term without
    temperature caps the stress in the cold (about 6 GPa at 1e-5 /s) and is nothing below half of that.
    """

    def __init__(self, p: Parameters) -> None:
        self.low_exponent, self.high_exponent = p.low_exponent, p.high_exponent
        self.low_k = p.low_energy_kj_per_mol * 1e3 / GAS
        self.high_k = p.high_energy_kj_per_mol * 1e3 / GAS
        self.volume_k = p.activation_volume_cm3_per_mol * 1e3 / GAS
        self.reference_gpa = p.reference_pressure_gpa
        self.inverse_crossover = 1.0 / p.crossover_k
        self.inverse_stress = 1.0 / p.crossover_gpa
        self.half_rate = 0.5 * p.crossover_rate_per_s
        self.athermal_gpa = p.athermal_stress_gpa
        self.athermal_rate = p.crossover_rate_per_s

    def factors(self, temperature_k: float, pressure_gpa: float) -> tuple[float, float]:
        """Rates (1/s) of the low- and the high-temperature mechanism at the crossover stress."""
        warmth = self.inverse_crossover - 1.0 / temperature_k
        work = self.volume_k * (pressure_gpa - self.reference_gpa) / temperature_k
        return (
            self.half_rate * math.exp(self.low_k * warmth - work),
            self.half_rate * math.exp(self.high_k * warmth - work),
        )

    def rate(self, stress_gpa: float, factors: tuple[float, float], hardness: float = 1.0) -> tuple[float, float]:
        """Strain rate (1/s), and its derivative by stress (1/s/GPa)."""
        size = abs(stress_gpa)
        if size < 1e-12:
            return 0.0, 0.0
        relative = size * self.inverse_stress / hardness
        low = factors[0] * relative**self.low_exponent
        high = factors[1] * relative**self.high_exponent
        total, slope = low + high, (self.low_exponent * low + self.high_exponent * high) / size
        if size > 0.5 * self.athermal_gpa:
            cap = self.athermal_rate * (size / self.athermal_gpa) ** ATHERMAL_EXPONENT
            total, slope = total + cap, slope + ATHERMAL_EXPONENT * cap / size
        return math.copysign(total, stress_gpa), slope


def steady_stress(law: FlowLaw, rate_per_s: float, temperature_k: float, pressure_gpa: float = 20.0) -> float:
    """Stress (GPa) at which the flow law gives a strain rate, by bisection of the logarithm."""
    factors = law.factors(temperature_k, pressure_gpa)
    low, high = math.log(1e-6), math.log(100.0)
    for _ in range(80):
        middle = 0.5 * (low + high)
        if law.rate(math.exp(middle), factors)[0] < rate_per_s:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def hydrostatic_strain(pressure_gpa: float, temperature_k: float) -> float:
    """Shortening of the column by pressure (Murnaghan) less its thermal expansion, as a strain."""
    squeeze = math.log1p(HYDROSTATIC_SLOPE * max(pressure_gpa, 0.0) / HYDROSTATIC_GPA) / (3.0 * HYDROSTATIC_SLOPE)
    return squeeze - LINEAR_EXPANSION_PER_K * (temperature_k - 300.0)


class Column:
    """Sample and assembly in series between the pistons: d sigma/dt = M (piston rate - plastic rate)."""

    def __init__(self, p: Parameters, press: Press) -> None:
        self.p = p
        self.press = press
        self.law = FlowLaw(p)
        self.modulus = 1.0 / (1.0 / p.sample_young_gpa + 1.0 / p.assembly_stiffness_gpa)

    def advance(self, s: State, h: float, sample_k: float) -> None:
        """Stress, plastic strain and hardness after `h` seconds."""
        drive = self._drive(s) if s.top_speed or s.bottom_speed else 0.0
        if drive == 0.0 and abs(s.stress) < 1e-12:
            return
        factors = self.law.factors(sample_k, s.pressure)
        new = self._stress(s.stress, drive, factors, s.hardness, h)
        grown = drive * h - (new - s.stress) / self.modulus
        s.stress = new
        s.plastic += grown
        s.hardness += (1.0 - s.hardness) * -math.expm1(-abs(grown) / self.p.hardening_strain)

    def _drive(self, s: State) -> float:
        """Strain rate (1/s) that the pistons impose; none once they have met."""
        length = self.length_um(s)
        return self.press.closing_speed(s) / length if length > CLOSED_UM else 0.0

    def _stress(self, old: float, drive: float, factors: tuple[float, float], hardness: float, h: float) -> float:
        """Exponential step; where the law is stiff (a loaded sample being heated), an implicit one instead."""
        rate, slope = self.law.rate(old, factors, hardness)
        decay = -self.modulus * slope * h
        if decay > -0.5:
            growth = math.expm1(decay) / decay if decay < -1e-9 else 1.0
            return old + self.modulus * (drive - rate) * h * growth
        return self._implicit(old, drive, factors, hardness, h)

    def _implicit(self, old: float, drive: float, factors: tuple[float, float], hardness: float, h: float) -> float:
        new = old
        for _ in range(60):
            rate, slope = self.law.rate(new, factors, hardness)
            step = (old + self.modulus * h * (drive - rate) - new) / (1.0 + self.modulus * h * slope)
            new += step
            if abs(step) < 1e-13:
                break
        return new

    def strain(self, s: State) -> float:
        """Shortening ln(L_start / L) of the sample: plastic, elastic and hydrostatic."""
        return s.plastic + s.stress / self.p.sample_young_gpa + hydrostatic_strain(s.pressure, s.temperature)

    def length_um(self, s: State) -> float:
        """Distance of the foils."""
        return self.p.foil_separation_um * math.exp(-self.strain(s))
