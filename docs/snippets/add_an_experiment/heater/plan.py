"""Measure how hot the sample gets for the output of its furnace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.utils import MsgGenerator
from scipy.constants import zero_Celsius

from megabar.devices.furnaces import Furnace
from megabar.devices.meters import Voltmeter
from megabar.plans import parameters as declared
from megabar.plans.parameters import quantity
from megabar.plans.results import Result

RIG = "d111"
REPLY_S = 60.0


@dataclass(frozen=True)
class Roles:
    """The instruments of the experiment."""

    furnace: Furnace
    thermocouple: Voltmeter


class Parameters(declared.Parameters):
    """Where the curve begins and ends, and how patiently it is measured."""

    lowest_k: float = quantity(400.0, "K", 300.0, 2800.0, "first temperature")
    highest_k: float = quantity(800.0, "K", 300.0, 2800.0, "last temperature")
    steps: int = quantity(5, "", 3, 100, "temperatures, evenly spaced")
    ramp_k_per_min: float = quantity(50.0, "K/min", 1.0, 100.0, "rate of heating")
    settle_s: float = quantity(120.0, "s", 10.0, 3600.0, "wait before each reading")


def heater_curve(
    roles: Roles, *, results: Mapping[str, Result], parameters: Parameters, md: Mapping[str, Any] | None = None
) -> MsgGenerator[None]:
    """Heat in steps and read at each of them. Raises LimitError before anything is heated."""
    targets_c = np.linspace(parameters.lowest_k, parameters.highest_k, parameters.steps) - zero_Celsius
    for target_c in targets_c:
        roles.furnace.setpoint.check_value(target_c)
    roles.furnace.ramp_rate.check_value(parameters.ramp_k_per_min)

    @bpp.run_decorator(md={"plan_name": "heater_curve", **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from bps.mv(roles.furnace.ramp_rate, parameters.ramp_k_per_min, timeout=REPLY_S)
        before_c = 20.0
        for target_c in targets_c:
            yield from bps.mv(roles.furnace.setpoint, float(target_c), timeout=REPLY_S)
            yield from bps.mv(roles.furnace.heating, 1, timeout=REPLY_S)
            yield from bps.sleep(60.0 * (target_c - before_c) / parameters.ramp_k_per_min + parameters.settle_s)
            yield from read((roles.furnace, roles.thermocouple))
            before_c = target_c
        yield from bps.mv(roles.furnace.heating, 0, timeout=REPLY_S)

    return run()


def read(devices: Sequence[Any]) -> MsgGenerator[None]:
    """One event of the stream `step`; every wait has a time limit."""
    for device in devices:
        yield from bps.trigger(device, group="read")
    yield from bps.wait("read", timeout=REPLY_S)
    yield from bps.create("step")
    for device in devices:
        yield from bps.read(device)
    yield from bps.save()


def expected_duration_s(parameters: Parameters) -> float:
    """About how long a run takes, in seconds."""
    return 60.0 * (parameters.highest_k - 300.0) / parameters.ramp_k_per_min + parameters.steps * parameters.settle_s
