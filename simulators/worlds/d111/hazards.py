"""Blow-out: a rare event with precursors, and what it leaves behind."""

import math

from .parameters import Parameters
from .state import OPEN, SHORT, State
from .systematics import BlowOut

BLOW_OUT_LAG_S = 0.02


class Hazards:
    """Hazard grows exponentially with load; when its integral passes the run's threshold, precursors begin."""

    def __init__(self, p: Parameters, blow_out: BlowOut) -> None:
        self.p = p
        self.blow_out = blow_out
        self.unload_rate = p.blow_out_rate_per_s * p.blow_out_unloading_factor

    def plan(self, s: State) -> None:
        """Enter a blow-out that was asked for."""
        if self.p.blow_out_at_s is not None:
            s.blow_out = self.p.blow_out_at_s
            s.onset = s.blow_out - self.p.blow_out_precursor_s

    def accumulate(self, s: State, h: float) -> None:
        """Add the hazard of `h` seconds under load."""
        if s.load < 1.0 or s.onset < math.inf:
            return
        p = self.p
        unloading = s.load_target < s.load and s.load > 0.4 * s.load_max
        rate = self.unload_rate if unloading else p.blow_out_rate_per_s
        s.hazard += h * rate * math.exp((s.load - p.blow_out_load_mn) / p.blow_out_e_folding_mn)
        if s.hazard > self.blow_out.threshold:
            s.onset = s.time
            s.blow_out = s.time + p.blow_out_precursor_s

    def blow(self, s: State) -> None:
        """The instant itself: load and stress go, the heater opens or shorts, the thermocouple sees an excursion."""
        b = self.blow_out
        s.blown = 1.0
        s.load_lag = BLOW_OUT_LAG_S
        s.load_target = s.load_setpoint = s.load * (1.0 - b.load_loss)
        s.heater = OPEN if b.heater_opens else SHORT
        s.temperature = max(300.0, s.temperature + b.excursion_k)
        s.broken = 1.0 if b.breaks_sensor else s.broken
        s.stress = 0.0
