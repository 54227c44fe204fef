"""Heater, lumped temperature of the cell, and the controller that steers it."""

import math

from .parameters import Parameters
from .state import AUTOMATIC, OFF, OPEN, SHORT, State
from .systematics import Systematics

KELVIN = 273.15
UP_SCALE_C = 2315.0  # reading of the controller when its sensor breaks
LARGEST_STEP_K = 20.0


class Furnace:
    """C dT/dt = W - (T - T0)/R - S (T^4 - T0^4), and a PID controller that acts once a second."""

    def __init__(self, p: Parameters, errors: Systematics) -> None:
        self.p = p
        self.errors = errors
        self.room = p.room_temperature_k
        self.conductance = 1.0 / p.thermal_resistance_k_per_w
        self.capacity = p.thermal_time_constant_s / p.thermal_resistance_k_per_w
        self.radiative = p.radiative_loss_w_per_k4
        self.room4 = self.room**4

    def advance(self, s: State, h: float) -> None:
        """Move set-point and temperature on by `h` seconds at constant power."""
        if s.working_c != s.target_c and s.mode == AUTOMATIC:
            step, gap = s.ramp * h, s.target_c - s.working_c
            s.working_c = s.target_c if abs(gap) <= step else s.working_c + math.copysign(step, gap)
        s.temperature = self._warm(s.temperature, s.watt, h)

    def _warm(self, t: float, watt: float, h: float) -> float:
        """Exponential (Rosenbrock) steps, short ones while the temperature falls fast."""
        cube = t * t * t
        slope = -(self.conductance + 4.0 * self.radiative * cube) / self.capacity
        rate = (watt - self.conductance * (t - self.room) - self.radiative * (cube * t - self.room4)) / self.capacity
        if abs(rate * h) > LARGEST_STEP_K and self.radiative:
            half = self._warm_short(t, slope, rate, 0.125 * h)
            return self._warm_on(half, watt, 0.125 * h, 7)
        return self._warm_short(t, slope, rate, h)

    def _warm_on(self, t: float, watt: float, h: float, steps: int) -> float:
        for _ in range(steps):
            slope = -(self.conductance + 4.0 * self.radiative * t**3) / self.capacity
            loss = self.conductance * (t - self.room) + self.radiative * (t**4 - self.room4)
            t = self._warm_short(t, slope, (watt - loss) / self.capacity, h)
        return t

    @staticmethod
    def _warm_short(t: float, slope: float, rate: float, h: float) -> float:
        return t + rate * math.expm1(slope * h) / slope

    def reading_c(self, s: State) -> float:
        """What the controller takes for the temperature, deg C; its input goes up-scale when the sensor breaks."""
        if s.broken:
            return UP_SCALE_C
        return (s.temperature - KELVIN) * (1.0 + self.errors.emf_scale) + self.errors.controller_offset_k

    def tick(self, s: State) -> None:
        """One act of the controller, each full second."""
        if s.mode == OFF:
            return
        if s.mode == AUTOMATIC:
            self._control(s)
        s.watt = self.power(s)

    def _control(self, s: State) -> None:
        if s.broken:  # no measurement, no power
            s.output = s.integral = 0.0
            return
        p, measured = self.p, self.reading_c(s)
        error = s.working_c - measured
        change = p.proportional_percent_per_k * (error - p.derivative_time_s * (measured - s.previous_c))
        integral = s.integral + p.proportional_percent_per_k * error / p.integral_time_s
        total = integral + change
        winds_up = (total > 100.0 and error > 0) or (total < 0.0 and error < 0)
        if not winds_up:
            s.integral = integral
        s.output = min(100.0, max(0.0, total))
        s.previous_c = measured

    def power(self, s: State) -> float:
        """Heating power (W) that the supply delivers for the present output, within its voltage and current."""
        if s.heater == OPEN:
            return 0.0
        ohm = self.resistance(s)
        limit = min(self.p.current_limit_a**2 * ohm, self.p.voltage_limit_v**2 / ohm)
        return min(0.01 * s.output * self.p.power_limit_w, limit)

    def resistance(self, s: State) -> float:
        """Resistance of the heater, ohm: a short is a fifth of it, a break 1 Mohm."""
        if s.heater == OPEN:
            return 1e6
        ohm = self.p.heater_ohm * (1.0 + self.p.heater_ohm_per_k * (s.temperature - self.room))
        return 0.2 * ohm if s.heater == SHORT else ohm

    def supply(self, s: State) -> tuple[float, float, float, float]:
        """Volt, ampere, ohm, watt at the heater; a break shows the full voltage when power is asked for."""
        ohm = self.resistance(s)
        if s.heater == OPEN:
            return (self.p.voltage_limit_v if s.output > 0 else 0.0), 0.0, ohm, 0.0
        ampere = math.sqrt(max(s.watt, 0.0) / ohm)
        return ampere * ohm, ampere, ohm, s.watt

    def sample_temperature(self, junction_k: float) -> float:
        """Temperature of the sample (K), which sits off the junction along the axial gradient."""
        return self.room + (junction_k - self.room) * (1.0 + self.errors.axial_gradient)
