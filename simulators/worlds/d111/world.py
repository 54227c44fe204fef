"""D111: the whole station as one object that simulated instruments talk to."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .diffraction import Spectrometer
from .motion import Axis
from .parameters import read_parameters
from .press import SETTLED_MN
from .radiograph import Camera
from .sight import Sight
from .state import AUTOMATIC, MANUAL, OFF, State
from .systematics import draw_blow_out, draw_cell, draw_systematics
from .thermocouple import OVER_RANGE_V, emf_mv
from .trajectory import Trajectory
from .truth import Truth

KELVIN = 273.15


class D111:
    """The deformation station. Times are simulated seconds; reading never changes anything.

    Commands to one instrument come in the order of their times, a question may be asked for any time. Both raise
    ValueError that says what would be accepted. One call at a time. Parameters are those of `parameters.Parameters`.
    """

    def __init__(self, seed: int, **parameters: Any) -> None:
        self.seed = seed
        self.p = p = read_parameters(parameters)
        self._errors = draw_systematics(seed, p)
        self._cell = draw_cell(seed, p)
        self._trajectory = Trajectory(p, self._errors, self._cell, draw_blow_out(seed))
        self._press, self._furnace = self._trajectory.press, self._trajectory.furnace
        self._sight = Sight(p, self._cell, self._errors, self._trajectory)
        self._beam, self._stage, self._slits = self._sight.beam, self._sight.stage, self._sight.slits
        self._spectrometer = Spectrometer(p, self._errors, seed)
        self._camera = Camera(p)
        self._truth = Truth(self._trajectory, self._errors, self._cell)

    # ---- commands

    def ramp_load(self, t: float, target_mn: float, rate_mn_per_h: float) -> None:
        """Take the load to a target at a rate, from the present set-point."""
        _within("load", target_mn, 0.0, self.p.rated_load_mn, "MN")
        _positive("load rate", rate_mn_per_h, "MN/h")

        def act(s: State) -> None:
            s.load_target, s.load_rate, s.load_lag = target_mn, rate_mn_per_h / 3600.0, self.p.load_lag_s

        self._trajectory.change(t, act)

    def hold_load(self, t: float) -> None:
        """Close the valves: the load stays where it is."""

        def act(s: State) -> None:
            s.load_target = s.load_setpoint = s.load

        self._trajectory.change(t, act)

    def set_ram_speed(self, t: float, ram: int, um_per_s: float) -> None:
        """Speed of a differential ram (0 top, 1 bottom), advance positive; it stops by itself at its stroke limit."""
        name = _ram(ram)
        limit = self.p.ram_speed_limit_um_per_s
        _within(f"speed of the {name} ram", um_per_s, -limit, limit, "um/s")

        def act(s: State) -> None:
            stroke = getattr(s, f"{name}_stroke")
            stuck = abs(stroke) >= self.p.ram_stroke_limit_mm and stroke * um_per_s > 0
            setattr(s, f"{name}_speed", 0.0 if stuck else float(um_per_s))

        self._trajectory.change(t, act)

    def set_furnace(self, t: float, target_c: float, ramp_k_per_min: float) -> None:
        """Control the temperature: the working set-point runs from the present one, or the reading, to a target."""
        _within("furnace target", target_c, 0.0, 2300.0, "deg C")
        _positive("furnace ramp", ramp_k_per_min, "K/min")

        def act(s: State) -> None:
            if s.mode != AUTOMATIC:
                s.mode, s.integral = AUTOMATIC, s.output
                s.working_c = s.previous_c = self._furnace.reading_c(s)
            s.target_c, s.ramp = float(target_c), ramp_k_per_min / 60.0

        self._trajectory.change(t, act)

    def set_furnace_manual(self, t: float, output_percent: float) -> None:
        """Heat with a constant share of the full power."""
        _within("furnace output", output_percent, 0.0, 100.0, "%")
        self._set_output(t, MANUAL, float(output_percent))

    def heater_off(self, t: float) -> None:
        """Cut the power at once."""
        self._set_output(t, OFF, 0.0)

    def _set_output(self, t: float, mode: float, percent: float) -> None:
        def act(s: State) -> None:
            s.mode, s.output, s.integral = mode, percent, percent
            s.watt = self._furnace.power(s)

        self._trajectory.change(t, act)

    def set_shutter(self, t: float, open: bool) -> None:
        """Open or close the shutter."""
        self._beam.set_shutter(t, open)

    def move_stage(self, t: float, axis: str, target_mm: float, mm_per_s: float) -> None:
        """Move the stage along "x" (across the beam), "y" (up) or "z" (along the beam)."""
        _axis(self._stage, axis).move(t, target_mm, mm_per_s)

    def stop_stage(self, t: float, axis: str) -> None:
        """Stop one axis of the stage where it is."""
        _axis(self._stage, axis).stop(t)

    def move_slits(self, t: float, axis: str, gap_mm: float, mm_per_s: float) -> None:
        """Open or narrow the slits, "h" or "v"."""
        _axis(self._slits, axis).move(t, gap_mm, mm_per_s)

    # ---- what instruments read

    def load_mn(self, t: float) -> float:
        """Load of the main ram."""
        return self._at(t).load

    def oil_pressure_mpa(self, t: float) -> float:
        """Oil pressure of the main ram."""
        return self._at(t).load / self.p.ram_area_m2

    def load_setpoint_mn(self, t: float) -> float:
        """Where the load servo stands at the moment."""
        return self._at(t).load_setpoint

    def stroke_mm(self, t: float) -> float:
        """Stroke of the main ram."""
        return self._press.stroke_mm(self._at(t))

    def load_moving(self, t: float) -> bool:
        """Whether the load is still on its way."""
        s = self._at(t)
        return s.load_setpoint != s.load_target or abs(s.load - s.load_target) > SETTLED_MN

    def ram_stroke_mm(self, t: float, i: int) -> float:
        """Stroke of a differential ram, advance positive."""
        return float(getattr(self._at(t), f"{_ram(i)}_stroke"))

    def ram_load_mn(self, t: float, i: int) -> float:
        """Load of a differential ram."""
        _ram(i)
        return self._press.ram_load_mn(self._at(t), i)

    def ram_speed_um_per_s(self, t: float, i: int) -> float:
        """Speed of a differential ram; 0 once it has met its limit."""
        return float(getattr(self._at(t), f"{_ram(i)}_speed"))

    def blown_out(self, t: float) -> bool:
        """Whether the cell has blown out (the physical event, not somebody's latch)."""
        return bool(self._at(t).blown)

    def controller_celsius(self, t: float) -> float:
        """What the furnace controller's own input reads, without noise."""
        return self._furnace.reading_c(self._at(t))

    def working_setpoint_c(self, t: float) -> float:
        """Set-point of the furnace on its ramp."""
        return self._at(t).working_c

    def heater(self, t: float) -> tuple[float, float, float, float]:
        """Volt, ampere, ohm, watt."""
        return self._furnace.supply(self._at(t))

    def output_percent(self, t: float) -> float:
        """Output of the furnace controller."""
        return self._at(t).output

    def sensor_break(self, t: float) -> bool:
        """Whether the thermocouple is open."""
        return bool(self._at(t).broken)

    def emf_v(self, t: float) -> float:
        """Emf of the thermocouple against its cold junction, without noise."""
        s = self._at(t)
        if s.broken:
            return OVER_RANGE_V
        hot = (s.temperature - KELVIN) * (1.0 + self._errors.emf_scale)
        return 1e-3 * (emf_mv(hot) - emf_mv(self._cold_junction_c(t)))

    def cold_junction_c(self, t: float) -> float:
        """Reading of the sensor at the cold junction."""
        return self._cold_junction_c(t) + self._errors.cold_junction_offset_k

    def _cold_junction_c(self, t: float) -> float:
        return 25.0 + 0.4 * math.sin(2 * math.pi * t / 86400.0 + self._cell.drift_phases[2])

    def shutter_open(self, t: float) -> bool:
        """Whether the shutter is open."""
        return self._beam.shutter_open(t)

    def ring_current_ma(self, t: float) -> float:
        """Current of the storage ring."""
        return self._beam.ring_current_ma(t)

    def i0_rate(self, t: float) -> float:
        """Counts/s of the ion chamber behind slits and shutter."""
        return self._beam.i0_rate(t, self._slits["h"].position(t), self._slits["v"].position(t))

    def stage_mm(self, t: float, axis: str) -> float:
        """Position of the stage."""
        return _axis(self._stage, axis).position(t)

    def slit_gap_mm(self, t: float, axis: str) -> float:
        """Gap of the slits."""
        return _axis(self._slits, axis).position(t)

    # ---- detectors

    def spectra(
        self, t_start: float, t_stop: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        """Counts (10, 2048), live time (10,) and real time (s) of an exposure. Raises ValueError for an empty one."""
        if not t_stop > t_start:
            raise ValueError(f"exposure from {t_start!r} to {t_stop!r} s: a stop after the start is accepted")
        mean = self._truth.mean_temperature(self._at(t_start), self._at(t_stop))
        return self._spectrometer.expose(self._sight.scene(t_start, t_stop, mean), rng)

    def image(self, t_start: float, exposure_s: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Image (512, 512); rows run down along the axis of compression. Raises ValueError for an empty exposure."""
        _positive("exposure", exposure_s, "s")
        flicker = 1.0 + self.p.camera_flicker * float(rng.standard_normal())
        return self._camera.expose(self._sight.view(t_start, exposure_s, flicker), rng)

    def element_calibration(self) -> dict[str, list[float]]:
        """Azimuth and 2theta (deg), offset, slope and quad (keV) of the elements, as the beamline believes."""
        return self._spectrometer.calibration()

    # ---- truth

    def truth(self, start_s: float, stop_s: float, zero_s: float | None = None) -> dict[str, float]:
        """Means over a window, in GPa, K, 1/s, s; strain counts from `zero_s`, or from its start.

        Raises ValueError for an empty window.
        """
        return self._truth.window(start_s, stop_s, start_s if zero_s is None else zero_s)

    def truth_series(self, step_s: float) -> dict[str, NDArray[np.float64]]:
        """Time, length (um), strain since the start, rate, stress, pressure, temperature and load every `step_s`."""
        return self._truth.series(step_s)

    def systematics(self) -> dict[str, float | list[float]]:
        """The terms that were drawn for this run."""
        return self._truth.systematics()

    def _at(self, t: float) -> State:
        return self._trajectory.at(t)


def _within(what: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise ValueError(f"{what} is {value!r} {unit}: {low:g} to {high:g} {unit} is accepted")


def _positive(what: str, value: float, unit: str) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{what} is {value!r} {unit}: a finite number above 0 is accepted")


def _ram(number: int) -> str:
    if number not in (0, 1):
        raise ValueError(f"differential ram {number!r}: 0 (top) and 1 (bottom) are accepted")
    return ("top", "bottom")[number]


def _axis(axes: dict[str, Axis], name: str) -> Axis:
    if name not in axes:
        raise ValueError(f"axis {name!r}: {', '.join(axes)} are accepted")
    return axes[name]
