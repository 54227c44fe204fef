"""The cell as one object: its parts for the instruments, and what was really so."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noise import Noise
from ..fibre_laser import FibreLaser
from .blade import Blade
from .disc import Disc, DiscTerms
from .foil import Foil, FoilTerms
from .heating import DOWNSTREAM, UPSTREAM, Heating
from .light import Light, Terms
from .membrane import Membrane
from .parameters import Parameters, read_parameters
from .spectrograph import Spectrograph

Floats = NDArray[np.float64]

PARTS = (
    *("upstream", "downstream", "heating", "membrane", "spectrograph"),
    *("excitation", "lamp", "pen_lamp", "pump", "foil", "disc"),
)
WAVES = 3
GLOWS_K = 700.0
"""Below this a surface is dark."""
STEPS = 40
"""Moments of a window at which the truth is looked at."""


class LaserHeatedCell:
    """A sample between two diamonds, lasers on both sides. Times are simulated seconds; reading changes nothing.

    Instruments talk to `parts`: `upstream` and `downstream` (lasers with their gates), `heating` (shutter of both and
    the box that closes it), `membrane`, `spectrograph` (with its camera), `excitation` (a laser for ruby and diamond),
    `lamp` and `pen_lamp` (one of known temperature, and one of known lines, that can be put in the sample's place),
    `foil` (iron between four leads), `pump` and `disc` (shutter of a pulsed laser, and the probe of what it heats).
    Commands to one part come in the order of their times. Parameters are those of `parameters.Parameters`.
    """

    def __init__(self, seed: int, **parameters: Any) -> None:
        self.seed = seed
        self.p = p = read_parameters(parameters)
        draw = Noise(seed, "laser-heated cell")
        self._gains = [1.0 + p.kelvin_spread * draw.normal(f"heating {side}") for side in (UPSTREAM, DOWNSTREAM)]
        self._terms = _terms(p, draw)
        self._thermal_gpa_per_k = p.thermal_gpa_per_k * (1.0 + p.thermal_spread * _clipped(draw.normal("thermal")))
        self.upstream, self.downstream = (_laser(p, draw, side, self._advance) for side in ("upstream", "downstream"))
        phases = 2.0 * math.pi * draw.generator("wandering").random((2, WAVES))
        photodiode = 1.0 + p.systematic_scale * p.photodiode_error * draw.normal("photodiode")
        self.heating = Heating(p, (self.upstream, self.downstream), self._gains, phases, photodiode)
        self.membrane = Membrane(p, 1.0 + p.gain_spread * draw.normal("membrane"))
        focal_mm = p.focal_mm * (1.0 + p.systematic_scale * p.focal_error * draw.normal("focal length"))
        self.spectrograph = Spectrograph(p, self._lit, focal_mm)
        self.excitation, self.lamp, self.pen_lamp = Blade(), Blade(), Blade()
        self.pump = Blade()
        self._light = Light(p, self._terms)
        self.foil = Foil(
            p, _foil_terms(p, draw), self._state, 2.0 * math.pi * draw.generator("thermoelectric").random(2)
        )
        self.disc = Disc(p, _disc_terms(p, draw), self._state, self._pulses)

    @property
    def parts(self) -> Mapping[str, object]:
        """What instruments talk to, by name."""
        return {name: getattr(self, name) for name in PARTS}

    def _advance(self, t: float) -> None:
        self.heating.advance(t)

    def _lit(self, nm: Floats, t: float) -> Floats:
        """What comes into both fibres."""
        sides = (UPSTREAM, DOWNSTREAM)
        if self.lamp.shutter_open(t):
            return np.array([self._light.lamp(nm, side) for side in sides])
        if self.pen_lamp.shutter_open(t):
            return np.array([self._light.pen_lamp(nm)] * 2)
        kelvin = self.heating.temperatures_k(t)
        lit = np.zeros((2, len(nm)))
        for side in sides:
            if kelvin[side] > GLOWS_K:
                lit[side] = self._light.thermal(nm, float(kelvin[side]), side)
        if self.excitation.shutter_open(t):
            gpa = self.membrane.cold_gpa(t)
            lit[UPSTREAM] += self._light.ruby(nm, gpa) + self._light.anvil(nm, gpa)
        return lit

    def _state(self, t: float) -> tuple[float, float]:
        """Temperature at the centre (K), mean of both sides, and pressure of the hot sample (GPa)."""
        kelvin = float(self.heating.temperatures_k(t).mean())
        return kelvin, self.membrane.cold_gpa(t) + self._thermal_gpa_per_k * (kelvin - self.p.room_temperature_k)

    def _pulses(self, t: float) -> tuple[float, float]:
        """Energy (J/m^2) and rate (Hz) of the pulsed laser."""
        return (self.p.pulse_j_per_m2 if self.pump.shutter_open(t) else 0.0), self.p.pulse_rate_hz

    # ---- truth

    def truth(self, start_s: float, stop_s: float) -> dict[str, float]:
        """Means over a window: temperatures of what the spectrograph sees (K), pressure of the sample, hot and cold.

        Raises ValueError for an empty window.
        """
        if not stop_s > start_s:
            raise ValueError(f"window from {start_s!r} to {stop_s!r} s: a stop after the start is accepted")
        times = start_s + (np.arange(STEPS) + 0.5) * (stop_s - start_s) / STEPS
        seen = np.array([self._seen_k(float(t)) for t in times]).mean(axis=0)
        cold = float(np.mean([self.membrane.cold_gpa(float(t)) for t in times]))
        return {
            "temperature": float(seen.mean()),
            "temperature_upstream": float(seen[UPSTREAM]),
            "temperature_downstream": float(seen[DOWNSTREAM]),
            "pressure": cold + self._thermal_gpa_per_k * float(seen.mean() - self.p.room_temperature_k),
            "cold_pressure": cold,
        }

    def truth_series(self, step_s: float) -> dict[str, Floats]:
        """Time, power of both lasers (W), temperatures (K), pressure (GPa), gas (bar) every `step_s`.

        The last row is the moment of the last command to a laser. Raises ValueError for a step that is not above 0.
        """
        if not step_s > 0:
            raise ValueError(f"step is {step_s!r} s: a number above 0 is accepted")
        latest = max(self.upstream.latest_s, self.downstream.latest_s)
        time = np.append(np.arange(0.0, latest, step_s), latest)
        seen = np.array([self._seen_k(float(t)) for t in time])
        return {
            "time": time,
            "power_upstream": np.array([self.upstream.output_power_w(float(t)) for t in time]),
            "power_downstream": np.array([self.downstream.output_power_w(float(t)) for t in time]),
            "temperature_upstream": seen[:, UPSTREAM],
            "temperature_downstream": seen[:, DOWNSTREAM],
            "cold_pressure": np.array([self.membrane.cold_gpa(float(t)) for t in time]),
            "membrane": np.array([self.membrane.gas_bar(float(t)) for t in time]),
        }

    def systematics(self) -> dict[str, float]:
        """The terms that were drawn for this run."""
        return {
            "kelvin_upstream": self._gains[UPSTREAM],
            "kelvin_downstream": self._gains[DOWNSTREAM],
            "emissivity_slope_per_um": self._terms.emissivity_slope_per_um,
            "lamp_k": self._terms.lamp_k,
            "gauge_scale": self._terms.gauge_scale,
            "thermal_gpa_per_k": self._thermal_gpa_per_k,
        }

    def _seen_k(self, t: float) -> Floats:
        return np.asarray(self._light.seen_k(self.heating.temperatures_k(t)).mean(axis=-1))


def _laser(p: Parameters, draw: Noise, side: str, advance: Any) -> FibreLaser:
    return FibreLaser(
        threshold_percent=p.threshold_percent,
        slope_w_per_percent=p.slope_w_per_percent * (1.0 + p.slope_spread * draw.normal(f"slope {side}")),
        monitor_scale=1.0 + p.systematic_scale * p.monitor_scale_error * draw.normal(f"monitor {side}"),
        changed=advance,
    )


def _terms(p: Parameters, draw: Noise) -> Terms:
    scale = p.systematic_scale
    return Terms(
        p.emissivity_slope_per_um + scale * p.emissivity_slope_spread_per_um * draw.normal("emissivity"),
        p.lamp_k + scale * p.lamp_spread_k * draw.normal("lamp"),
        1.0 + scale * p.gauge_gradient * draw.normal("gauge"),
    )


def _foil_terms(p: Parameters, draw: Noise) -> FoilTerms:
    scale = p.systematic_scale
    return FoilTerms(
        resistivity=1.0 + p.resistivity_spread * _clipped(draw.normal("resistivity")),
        thickness=1.0 + scale * p.thickness_error * _clipped(draw.normal("foil thickness")),
        length=1.0 + scale * p.picture_error * draw.normal("foil length"),
        width=1.0 + scale * p.picture_error * draw.normal("foil width"),
        source=1.0 + scale * p.source_error * draw.normal("source"),
    )


def _disc_terms(p: Parameters, draw: Noise) -> DiscTerms:
    return DiscTerms(
        conductivity=1.0 + p.disc_conductivity_spread * _clipped(draw.normal("disc conductivity")),
        thickness=1.0 + p.systematic_scale * p.disc_thickness_error * _clipped(draw.normal("disc thickness")),
    )


def _clipped(sigmas: float) -> float:
    """No more than three."""
    return max(-3.0, min(3.0, sigmas))
