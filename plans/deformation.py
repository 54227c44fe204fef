"""Deform a sample in a D111 or D-DIA press at constant strain rate, with stress, strain and texture in situ.

The sample is compressed, heated, and shortened by two differential rams whose speed follows the strain rate that is
measured in radiographs; radiographs and diffraction patterns alternate. After the strain target, or a steady stress,
it is quenched and decompressed slowly. Loops faster than the polling live in the controllers of press and furnace.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator
from pydantic import Field, model_validator
from scipy.constants import zero_Celsius

from ..devices.detectors import Camera, EnergyDispersiveDetector
from ..devices.furnaces import Furnace
from ..devices.gathered import Gathered
from ..devices.meters import Voltmeter
from ..devices.monitors import RateMonitor, RingCurrent
from ..devices.motion import Stage
from ..devices.presses import Press
from ..devices.shutters import Shutter
from . import parameters as declared
from .beamline import MOVE_LIMIT_S, expose, move, watch, watch_for
from .calibration import calibrate_detector
from .centring import centre_sample
from .parameters import quantity
from .results import NoResult, Result, wait_for_result

RIG = "d111"
HEATING_TOLERANCE_K = 100.0
"""How far the furnace's own reading may be from its target while the sample is held at temperature."""
SPEED_STEP = 0.005
"""A correction of the ram speed smaller than this is not worth a command; corrections add up until they are."""
CYCLE_S = 12.0
"""What a radiograph and the moves of slits and shutter add to the exposure of a pattern."""
PATTERNS_IN_SPAN = 4
"""Fewer stresses than this say nothing of steadiness."""
HOLD_S = 60.0
"""Between the last radiograph and the quench, so that cooling does not look like strain."""


@dataclass(frozen=True)
class Roles:
    """The instruments of the experiment."""

    press: Press
    furnace: Furnace
    thermocouple: Voltmeter
    detector: EnergyDispersiveDetector
    camera: Camera
    shutter: Shutter
    slits: Movable[Any]
    stage: Stage
    ring: RingCurrent
    i0: RateMonitor

    @functools.cached_property
    def conditions(self) -> Gathered:
        """What is read into the stream `conditions`."""
        return Gathered("conditions", (self.press, self.furnace, self.thermocouple, self.ring, self.i0))


class Parameters(declared.Parameters):
    """What a beamline scientist chooses."""

    sample: str = Field("hcp-Fe", pattern=r"^[^\x00-\x1f]{1,200}$", description="name of the sample, for the catalogue")
    load_mn: float = quantity(7.0, "MN", 0.1, 50.0, "press load; 7 MN gives about 25 GPa with the default cell")
    load_rate_mn_per_h: float = quantity(2.0, "MN/h", 0.05, 2.0, "rate of compression")
    unload_rate_mn_per_h: float = quantity(1.0, "MN/h", 0.05, 1.0, "rate of decompression")
    temperature_k: float = quantity(800.0, "K", 300.0, 2800.0, "sample temperature; 300 K leaves the heater off")
    heating_rate_k_per_min: float = quantity(50.0, "K/min", 1.0, 100.0, "rate of heating")
    soak_s: float = quantity(900.0, "s", 0.0, 86400.0, "time at temperature before the rams start")
    strain_rate_per_s: float = quantity(1e-5, "1/s", 1e-7, 1e-3, "true strain rate that is held")
    strain: float = quantity(0.288, "", 0.005, 0.6, "strain at which the deformation ends; 0.288 is 8 h at 1e-5 /s")
    until: Literal["strain", "steady"] = Field(
        "strain", description="end at the strain, or as soon as the stress is steady"
    )
    steady_span: float = quantity(0.03, "", 0.01, 0.2, "strain over which the stress must be steady")
    steady_tolerance: float = quantity(
        0.10, "", 0.01, 0.5, "relative change of stress over steady_span that counts as steady"
    )
    diffraction_exposure_s: float = quantity(105.0, "s", 10.0, 600.0, "exposure of a diffraction pattern")
    diffraction_every: int = quantity(
        2, "", 1, 20, "a pattern in every n-th gap between radiographs; in the others the shutter spares the cell"
    )
    radiograph_exposure_s: float = quantity(2.0, "s", 0.1, 60.0, "exposure of a radiograph")
    reference_radiographs: int = quantity(8, "", 2, 50, "radiographs that define zero strain")
    rate_window_s: float = quantity(
        900.0, "s", 60.0, 7200.0, "time over which the strain rate is measured for steering"
    )
    steer_from_strain: float = quantity(
        0.006, "", 0.0, 0.1, "strain taken up elastically, before which the rams keep their speed"
    )
    loading_diffraction_s: float = quantity(1800.0, "s", 60.0, 36000.0, "time between patterns while loading")
    poll_s: float = quantity(30.0, "s", 1.0, 60.0, "time between readings of the conditions while deforming")
    slow_poll_s: float = quantity(30.0, "s", 5.0, 300.0, "the same while loading and unloading")
    sample_length_um: float = quantity(
        400.0, "um", 50.0, 5000.0, "length of the sample along the rams, for their first speed"
    )
    ram_efficiency: float = quantity(0.4, "", 0.05, 1.0, "share of the rams' travel that shortens it, for the same")
    calibrate: bool = Field(True, description="calibrate the detector on the standard first")
    centre: bool = Field(True, description="centre the sample in the beam before the deformation")
    standard_x_mm: float = quantity(-20.0, "mm", -25.0, 25.0, "stage position of the diffraction standard")
    standard_exposure_s: float = quantity(600.0, "s", 10.0, 3600.0, "exposure of the standard")
    beam_threshold_ma: float = quantity(5.0, "mA", 0.1, 500.0, "ring current below which nothing is exposed")
    beam_timeout_h: float = quantity(12.0, "h", 0.1, 72.0, "how long a lost beam is waited for")

    @model_validator(mode="after")
    def _steadiness_can_be_seen(self) -> Self:
        apart = self.strain_rate_per_s * self.diffraction_every * (self.diffraction_exposure_s + CYCLE_S)
        if self.until == "steady" and self.steady_span < PATTERNS_IN_SPAN * apart:
            raise ValueError(
                f"until = steady needs {PATTERNS_IN_SPAN} patterns within steady_span = {self.steady_span:g}, and they "
                f"would be {apart:.2g} of strain apart; accepted is a larger steady_span, a shorter "
                "diffraction_exposure_s, a lower diffraction_every or strain_rate_per_s, or until = strain"
            )
        return self

    def exposing(self) -> dict[str, float]:
        """How exposures treat the beam."""
        return {
            "threshold_ma": self.beam_threshold_ma,
            "every_s": self.poll_s,
            "beam_timeout_s": self.beam_timeout_h * 3600.0,
        }


def deformation(
    roles: Roles,
    *,
    results: Mapping[str, Result],
    parameters: Parameters,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[None]:
    """Calibrate, centre, compress, heat, deform, quench, unload: one run. Raises LimitError before anything moves."""
    check_setpoints(roles, parameters)

    @bpp.run_decorator(md={"plan_name": "deformation", **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from watch(roles)
        if parameters.calibrate:
            yield from calibrate_detector(
                roles, x_mm=parameters.standard_x_mm, exposure_s=parameters.standard_exposure_s, **parameters.exposing()
            )
        yield from move(
            (roles.detector.exposure, parameters.diffraction_exposure_s),
            (roles.camera.exposure, parameters.radiograph_exposure_s),
        )
        yield from compress(roles, parameters)
        yield from heat(roles, parameters)
        if parameters.centre:
            exposure_s = parameters.radiograph_exposure_s
            yield from centre_sample(roles, results["position"], exposure_s=exposure_s, **parameters.exposing())
        yield from deform(roles, results, parameters)
        yield from quench(roles, parameters)
        yield from unload(roles, parameters)

    return run()


def check_setpoints(roles: Roles, parameters: Parameters) -> None:
    """Every set-point against the limits of its device. Raises LimitError."""
    roles.press.load_rate.check_value(parameters.load_rate_mn_per_h)
    roles.press.load.check_value(parameters.load_mn)
    roles.furnace.setpoint.check_value(parameters.temperature_k - zero_Celsius)
    roles.furnace.ramp_rate.check_value(parameters.heating_rate_k_per_min)
    for ram in (roles.press.top, roles.press.bottom):
        ram.speed.check_value(first_speed(parameters))
    roles.stage.x.check_value(parameters.standard_x_mm)
    for exposure_s in (parameters.diffraction_exposure_s, parameters.standard_exposure_s):
        roles.detector.exposure.check_value(exposure_s)
    roles.camera.exposure.check_value(parameters.radiograph_exposure_s)


def compress(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    """Ramp the load up, with a pattern now and then."""
    yield from _ramp_load(roles, parameters, parameters.load_mn, parameters.load_rate_mn_per_h, patterns=True)


def heat(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    """Ramp the temperature up and let the cell settle."""
    target_c = parameters.temperature_k - zero_Celsius
    if parameters.temperature_k > 300.0:
        yield from move((roles.furnace.ramp_rate, parameters.heating_rate_k_per_min))
        yield from move((roles.furnace.setpoint, target_c))
        yield from move((roles.furnace.heating, 1))
        minutes = target_c / parameters.heating_rate_k_per_min
        yield from watch_for(roles, 60.0 * minutes, parameters.poll_s)
        # a broken thermocouple, or a heater that has opened, must not go on as an experiment
        near = (target_c - HEATING_TOLERANCE_K, target_c + HEATING_TOLERANCE_K)
        roles.conditions.expected[roles.furnace.temperature.name] = near
    yield from watch_for(roles, parameters.soak_s, parameters.poll_s)
    yield from take_pattern(roles, parameters)


def deform(roles: Roles, results: Mapping[str, Result], parameters: Parameters) -> MsgGenerator[None]:
    """Advance the rams at the speed that holds the measured strain rate, until the declared end."""
    for _ in range(parameters.reference_radiographs):
        yield from take_radiograph(roles, parameters, "reference")
    speed = wanted = first_speed(parameters)
    taken = 0
    yield from set_rams(roles, speed)
    while not finished(results, parameters):
        if taken % parameters.diffraction_every == 0:
            yield from take_pattern(roles, parameters)
        else:
            yield from move((roles.shutter, "closed"))
            yield from watch_for(roles, parameters.diffraction_exposure_s, parameters.poll_s)
        yield from take_radiograph(roles, parameters, "radiograph")
        taken += 1
        if not (yield from wait_for_result(results["strain"], taken, timeout_s=60.0)):
            raise NoResult(f"no strain from radiograph {taken} within 60 s")
        wanted = steered(wanted, parameters, results["strain"])
        if abs(wanted / speed - 1.0) > SPEED_STEP:
            speed = wanted
            yield from set_rams(roles, speed)
    yield from set_rams(roles, 0.0)
    yield from watch_for(roles, HOLD_S, parameters.poll_s)


def quench(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    """Cut the heater, hold, and take the last pattern and radiograph."""
    roles.conditions.expected.clear()
    yield from move((roles.furnace.heating, 0))
    yield from watch_for(roles, 60.0, parameters.poll_s)
    yield from take_pattern(roles, parameters)
    yield from take_radiograph(roles, parameters, "recovered")
    yield from move((roles.shutter, "closed"))


def unload(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    """Ramp the load down slowly."""
    yield from _ramp_load(roles, parameters, 0.0, parameters.unload_rate_mn_per_h, patterns=False)


def take_pattern(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    """One diffraction pattern."""
    yield from expose(
        roles,
        roles.detector,
        exposure_s=parameters.diffraction_exposure_s,
        slits="narrow",
        stream="diffraction",
        **parameters.exposing(),
    )


def take_radiograph(roles: Roles, parameters: Parameters, stream: str) -> MsgGenerator[None]:
    """One radiograph."""
    yield from expose(
        roles,
        roles.camera,
        exposure_s=parameters.radiograph_exposure_s,
        slits="wide",
        stream=stream,
        **parameters.exposing(),
    )


def set_rams(roles: Roles, speed_um_per_s: float) -> MsgGenerator[None]:
    """Both rams at the same speed, or stopped."""
    yield from move((roles.press.top.speed, speed_um_per_s), (roles.press.bottom.speed, speed_um_per_s))


def first_speed(parameters: Parameters) -> float:
    """Speed of each ram (um/s) to begin with; the measured strain rate corrects it soon."""
    return parameters.strain_rate_per_s * parameters.sample_length_um / (2.0 * parameters.ram_efficiency)


def steered(speed_um_per_s: float, parameters: Parameters, strain: Result) -> float:
    """The next ram speed: the ratio of wanted to measured strain rate, in small steps.

    A step corrects 15 % of the (logarithmic) deviation, so that with a measuring window of 900 s and a radiograph
    every 115 s the loop settles within half an hour and does not follow the noise of single radiographs. While the
    assembly is loaded elastically the sample lags behind the rams whatever their speed, and nothing is corrected.
    A rate that is not known to better than a third is not acted upon.
    """
    rate, error = strain.value("strain_rate"), strain.error("strain_rate")
    loading = strain.value("strain") < parameters.steer_from_strain
    if loading or not (math.isfinite(rate) and error < parameters.strain_rate_per_s / 3.0):
        return speed_um_per_s
    ratio = parameters.strain_rate_per_s / max(rate, 0.2 * parameters.strain_rate_per_s)
    return speed_um_per_s * min(max(ratio**0.15, 0.8), 1.25)


def finished(results: Mapping[str, Result], parameters: Parameters) -> bool:
    """Whether the strain target is met or, where asked for, the stress is steady."""
    if results["strain"].value("strain") >= parameters.strain:
        return True
    return parameters.until == "steady" and results["steadiness"].value("steady") > 0.5


def _ramp_load(
    roles: Roles, parameters: Parameters, target_mn: float, rate_mn_per_h: float, *, patterns: bool
) -> MsgGenerator[None]:
    yield from move((roles.press.load_rate, rate_mn_per_h))
    arrived = yield from bps.abs_set(roles.press.load, target_mn, group="load")
    since_pattern_s = 0.0
    while not arrived.done:
        yield from watch_for(roles, parameters.slow_poll_s, parameters.slow_poll_s)
        since_pattern_s += parameters.slow_poll_s
        if patterns and since_pattern_s >= parameters.loading_diffraction_s:
            yield from take_pattern(roles, parameters)
            since_pattern_s = 0.0
    yield from bps.wait("load", timeout=60)


def dwell_s(parameters: Parameters) -> float:
    """How long the plan may go without a message, in seconds; after that it hangs."""
    longest_s = max(parameters.poll_s, parameters.slow_poll_s, parameters.radiograph_exposure_s)
    return longest_s + 2.0 * MOVE_LIMIT_S


def expected_duration_s(parameters: Parameters) -> float:
    """About how long a run takes, in seconds: for progress and for planning a shift."""
    moves_h = parameters.load_mn / parameters.load_rate_mn_per_h + parameters.load_mn / parameters.unload_rate_mn_per_h
    heating_s = 60.0 * (parameters.temperature_k - 300.0) / parameters.heating_rate_k_per_min + parameters.soak_s
    return 3600.0 * moves_h + heating_s + parameters.strain / parameters.strain_rate_per_s + 2000.0
