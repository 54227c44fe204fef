"""Main ram, pressure in the cell and the two differential rams."""

import math

from .parameters import Parameters
from .state import State
from .systematics import BlowOut, Cell

SETTLED_MN = 1e-3


def loading_pressure(load_mn: float, pressure_scale_gpa: float = 32.0, load_scale_mn: float = 4.6) -> float:
    """Pressure (GPa) on the cold loading curve P = Ps (1 - exp(-L / Ls)); [S], like a press of 1000 t."""
    return pressure_scale_gpa * -math.expm1(-load_mn / load_scale_mn)


class Press:
    """Load follows its set-point with a lag; pressure follows load with hysteresis, heat and relaxation."""

    def __init__(self, p: Parameters, cell: Cell, blow_out: BlowOut) -> None:
        self.p = p
        self.cell = cell
        self.blow_out = blow_out

    def advance(self, s: State, h: float) -> None:
        """Move load, rams and the pressure lost on heating on by `h` seconds."""
        if s.load != s.load_target or s.load_setpoint != s.load_target:
            self._follow(s, h)
        if s.top_speed:
            s.top_stroke, s.top_speed = self._move_ram(s.top_stroke, s.top_speed, h)
        if s.bottom_speed:
            s.bottom_stroke, s.bottom_speed = self._move_ram(s.bottom_stroke, s.bottom_speed, h)
        excess = s.temperature - self.p.room_temperature_k
        if excess > 1.0:
            self._relax(s, excess, h)

    def _follow(self, s: State, h: float) -> None:
        """First-order lag behind a set-point that moves at a constant rate, solved exactly."""
        old, step = s.load_setpoint, s.load_rate * h
        gap = s.load_target - old
        s.load_setpoint = new = s.load_target if abs(gap) <= step else old + math.copysign(step, gap)
        slope = (new - old) / h
        tau = s.load_lag
        s.load = new - slope * tau + (s.load - old + slope * tau) * math.exp(-h / tau)
        if new == s.load_target and abs(s.load - new) < 1e-9:
            s.load = new
        s.load_max = max(s.load_max, s.load)

    def _move_ram(self, stroke: float, speed: float, h: float) -> tuple[float, float]:
        limit = self.p.ram_stroke_limit_mm
        stroke += speed * h * 1e-3
        if abs(stroke) < limit:
            return stroke, speed
        return math.copysign(limit, stroke), 0.0

    def _relax(self, s: State, excess: float, h: float) -> None:
        """First heating costs pressure, for good: the loss only grows."""
        p = self.p
        reached = loading_pressure(s.load_max, p.pressure_scale_gpa, p.load_scale_mn) / 25.0
        final = p.first_heating_loss_gpa * min(1.0, excess / p.first_heating_full_k) * reached
        if final > s.relaxed:
            s.relaxed -= (final - s.relaxed) * math.expm1(-h / p.first_heating_time_s)

    def pressure(self, s: State) -> float:
        """Pressure of the sample, GPa."""
        p = self.p
        value = loading_pressure(s.load_max, p.pressure_scale_gpa, p.load_scale_mn) - s.relaxed
        if s.load < s.load_max:
            value *= (max(s.load, 0.0) / s.load_max) ** p.unloading_exponent
        confinement = -math.expm1(-2.0 * s.load)
        warm = p.thermal_pressure_gpa_per_k * (s.temperature - p.room_temperature_k)
        value += confinement * (warm + p.pressure_per_strain_gpa * s.plastic)
        return value * 0.3 if s.blown else value

    def efficiency(self, s: State) -> float:
        """Share of the differential stroke that shortens the column of the sample; grows as gaskets harden."""
        return self.cell.ram_efficiency * (1.0 + self.cell.ram_efficiency_growth * s.plastic / 0.20)

    def closing_speed(self, s: State) -> float:
        """Speed (um/s) at which the two pistons approach each other; nothing drives a cell that has blown out."""
        return 0.0 if s.blown else self.efficiency(s) * (s.top_speed + s.bottom_speed)

    def stroke_mm(self, s: State) -> float:
        """Stroke of the main ram: gaskets flow early, frame stretches; precursors and the jump of a blow-out on top."""
        value = 1.5 * -math.expm1(-s.load_max / 3.0) + 0.02 * s.load
        if s.time > s.onset:
            lead = max(s.blow_out - s.onset, 1e-3)
            value += 0.02 * min(1.0, (s.time - s.onset) / lead) ** 2
        if s.blown:
            value += self.blow_out.stroke_jump_mm * -math.expm1(-(s.time - s.blow_out) / 0.02)
        return value

    def ram_load_mn(self, s: State, ram: int) -> float:
        """Load of a differential ram: share of the main load, stress of the sample, friction against its motion."""
        speed = s.top_speed if ram == 0 else s.bottom_speed
        friction = math.copysign(0.005, speed) if speed else 0.0
        return 0.05 * s.load + 0.015 * s.stress + friction * min(1.0, s.load)

    def sample_position_mm(self, s: State) -> tuple[float, float, float]:
        """Where the sample sits with the stage at zero: x across the beam, y up, z along the beam.

        Settles with load and follows a differential ram that runs ahead of the other.
        """
        x, y, z = self.cell.misalignment_mm
        settled = -math.expm1(-s.load_max / 3.0)
        lead = 0.5 * self.efficiency(s) * (s.bottom_stroke - s.top_stroke)
        return x + self.cell.settling_mm[0] * settled, y + self.cell.settling_mm[1] * settled + lead, z
