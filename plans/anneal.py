"""Anneal a sample at pressure: compress, heat, hold for hours, quench, unload; it can be gone on with.

Every step brings about a state, and how long the sample was at temperature is asked of the live analysis. So a run that
goes on with an interrupted one does what is still missing: a furnace that was held meanwhile is taken over as it is,
one that has cooled is heated again, and no second is counted twice.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field
from scipy.constants import zero_Celsius

from ..devices.furnaces import Furnace
from ..devices.gathered import Gathered
from ..devices.meters import Voltmeter
from ..devices.presses import Press
from . import parameters as declared
from .beamline import MOVE_LIMIT_S, move, watch
from .parameters import quantity
from .results import Result

RIG = "d111"
RESUMABLE = True
SHORTEST_WAIT_S = 1.0
HEATING_SLACK_S = 1800.0
"""How much longer than its ramp the furnace may take to arrive."""
STRAYED_S = 1800.0
"""How long the furnace may be off its temperature before the hold is given up."""
COOLING_S = 60.0


class NotAtTemperature(RuntimeError):
    """The furnace does not come to its temperature, or does not stay there."""


@dataclass(frozen=True)
class Roles:
    """The instruments of the experiment."""

    press: Press
    furnace: Furnace
    thermocouple: Voltmeter

    @functools.cached_property
    def conditions(self) -> Gathered:
        """What is read into the stream `conditions`."""
        return Gathered("conditions", (self.press, self.furnace, self.thermocouple))


class Parameters(declared.Parameters):
    """What is held, how, and for how long."""

    sample: str = Field("sample", pattern=r"^[^\x00-\x1f]{1,200}$", description="name of the sample, for the catalogue")
    load_mn: float = quantity(7.0, "MN", 0.0, 50.0, "press load; 7 MN gives about 25 GPa with the default cell")
    load_rate_mn_per_h: float = quantity(2.0, "MN/h", 0.05, 2.0, "rate of compression")
    unload_rate_mn_per_h: float = quantity(1.0, "MN/h", 0.05, 1.0, "rate of decompression")
    unload: bool = Field(True, description="unload after the quench; if not, the press is held where it is")
    temperature_k: float = quantity(1500.0, "K", 320.0, 2800.0, "temperature that is held, as the furnace reads it")
    heating_rate_k_per_min: float = quantity(50.0, "K/min", 1.0, 100.0, "rate of heating")
    tolerance_k: float = quantity(5.0, "K", 0.5, 50.0, "how far the furnace may be off while the time counts")
    duration_h: float = quantity(24.0, "h", 0.01, 1000.0, "time at temperature")
    poll_s: float = quantity(30.0, "s", 1.0, 300.0, "time between readings")
    longest_gap_s: float = quantity(
        120.0, "s", 2.0, 3600.0, "readings farther apart say nothing of the time between them, which is not counted"
    )

    @property
    def target_c(self) -> float:
        """The temperature, as the furnace has it."""
        return self.temperature_k - zero_Celsius

    @property
    def heating_s(self) -> float:
        """How long the ramp takes from the cold."""
        return 60.0 * self.target_c / self.heating_rate_k_per_min


def anneal(
    roles: Roles,
    *,
    results: Mapping[str, Result],
    parameters: Parameters,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[None]:
    """Compress, heat, hold, quench, unload: one run. Raises LimitError before anything moves."""
    roles.press.load_rate.check_value(parameters.load_rate_mn_per_h)
    roles.press.load.check_value(parameters.load_mn)
    roles.furnace.setpoint.check_value(parameters.target_c)
    roles.furnace.ramp_rate.check_value(parameters.heating_rate_k_per_min)

    @bpp.run_decorator(md={"plan_name": "anneal", **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from ramp_load(roles, parameters, parameters.load_mn)
        if remaining_s(results, parameters) > 0.0:
            yield from heat(roles, parameters)
            yield from hold(roles, results, parameters)
        yield from quench(roles, parameters)
        if parameters.unload:
            yield from ramp_load(roles, parameters, 0.0)

    return run()


def ramp_load(roles: Roles, parameters: Parameters, target_mn: float) -> MsgGenerator[None]:
    """Take the load to its target, from wherever it is, up or down."""
    readings = yield from watch(roles)
    rises = target_mn >= readings[roles.press.load.name]["value"]
    rate_mn_per_h = parameters.load_rate_mn_per_h if rises else parameters.unload_rate_mn_per_h
    yield from move((roles.press.load_rate, rate_mn_per_h))
    arrived = yield from bps.abs_set(roles.press.load, target_mn, group="load")
    while not arrived.done:
        yield from wait_and_watch(roles, parameters.poll_s)
    yield from bps.wait("load", timeout=MOVE_LIMIT_S)


def heat(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    """Ramp the temperature to its target, from wherever it is. Raises NotAtTemperature."""
    yield from move((roles.furnace.ramp_rate, parameters.heating_rate_k_per_min))
    yield from move((roles.furnace.setpoint, parameters.target_c))
    yield from move((roles.furnace.heating, 1))
    waited_s, off_k = 0.0, math.inf
    while abs(off_k) > parameters.tolerance_k:
        if waited_s > parameters.heating_s + HEATING_SLACK_S:
            raise NotAtTemperature(
                f"after {waited_s / 60:.0f} min the furnace is {abs(off_k):.0f} K off {parameters.target_c:g} degC"
            )
        readings = yield from wait_and_watch(roles, parameters.poll_s)
        off_k = float(readings[roles.furnace.temperature.name]["value"]) - parameters.target_c
        waited_s += parameters.poll_s


def hold(roles: Roles, results: Mapping[str, Result], parameters: Parameters) -> MsgGenerator[None]:
    """Wait, reading, until the sample was at temperature for the time asked for. Raises NotAtTemperature."""
    strayed_s = 0.0
    while (left_s := remaining_s(results, parameters)) > 0.0:
        wait_s = max(SHORTEST_WAIT_S, min(left_s, parameters.poll_s))
        yield from wait_and_watch(roles, wait_s)
        strayed_s = 0.0 if remaining_s(results, parameters) < left_s else strayed_s + wait_s
        if strayed_s > STRAYED_S:
            raise NotAtTemperature(
                f"for {strayed_s / 60:.0f} min the furnace was not within {parameters.tolerance_k:g} K of "
                f"{parameters.target_c:g} degC"
            )


def quench(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    """Cut the heater, and wait until it is cold."""
    yield from move((roles.furnace.heating, 0))
    yield from wait_and_watch(roles, COOLING_S)


def remaining_s(results: Mapping[str, Result], parameters: Parameters) -> float:
    """How much time at temperature is missing."""
    held_s = results["hold"].value("hold_time")
    return 3600.0 * parameters.duration_h - (held_s if held_s > 0.0 else 0.0)


def wait_and_watch(roles: Roles, wait_s: float) -> MsgGenerator[dict[str, Any]]:
    """Wait, then record the conditions; returns the readings. Raises BlowOut."""
    yield Msg("sleep", None, wait_s)
    return (yield from watch(roles))


def dwell_s(parameters: Parameters) -> float:
    """How long the plan may go without a message, in seconds; after that it hangs."""
    return max(parameters.poll_s, COOLING_S) + MOVE_LIMIT_S


def expected_duration_s(parameters: Parameters) -> float:
    """About how long a run takes, in seconds."""
    ramps_h = parameters.load_mn / parameters.load_rate_mn_per_h
    if parameters.unload:
        ramps_h += parameters.load_mn / parameters.unload_rate_mn_per_h
    return 3600.0 * (ramps_h + parameters.duration_h) + parameters.heating_s + 300.0
