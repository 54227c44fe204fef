"""Irradiate a sample with a laser of known power for a while.

The current is ramped up with the gate closed and the emission on, held, and ramped down. The gate closes for pulses
that the plan renews with each reading; whoever else renews them does no harm. After a pause, which ends the emission,
the run goes on to its next reading and fails. Nothing that was sent to the laser is ever sent again, by Bluesky's own
pause neither: the plan has checkpoints, and is not rewound.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
from bluesky.utils import Msg, MsgGenerator, short_uid
from pydantic import Field

from ..devices.lasers import Gate, Laser
from . import parameters as declared
from .beamline import move, record
from .parameters import quantity
from .results import Result

RIG = "laser_bench"
REPLY_S = 5.0
"""Laser and gate have answered, or failed, within this."""
START_S = 10.0
"""Emission has started, or failed, within this; so long is the gate closed meanwhile, at no current."""
PULSES = 2.5
"""Length of a pulse of the gate, in times between readings: one that is late does not yet cut the light."""
SHORTEST_PULSE_S = 0.5
RAMP_STEP_S = 0.5
LEAST_READINGS = 4


class NoLight(RuntimeError):
    """The laser does not emit although it should."""


@dataclass(frozen=True)
class Roles:
    """The instruments of the experiment."""

    laser: Laser
    gate: Gate


class Parameters(declared.Parameters):
    """How strongly, and for how long."""

    sample: str = Field("foil", pattern=r"^[^\x00-\x1f]{1,200}$", description="name of the sample, for the catalogue")
    current_percent: float = quantity(30.0, "%", 0.0, 100.0, "diode current that is held, of the rated one")
    ramp_percent_per_s: float = quantity(2.0, "%/s", 0.1, 4.0, "rate at which the current rises and falls")
    settle_s: float = quantity(5.0, "s", 0.0, 600.0, "time at the current before the hold counts")
    duration_s: float = quantity(60.0, "s", 1.0, 36000.0, "length of the hold")
    poll_s: float = quantity(1.0, "s", 0.2, 10.0, "time between readings")

    @property
    def pulse_s(self) -> float:
        """How long the gate is closed by one pulse."""
        return max(PULSES * self.poll_s, SHORTEST_PULSE_S)


def irradiation(
    roles: Roles,
    *,
    results: Mapping[str, Result],
    parameters: Parameters,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[None]:
    """Arm, ramp up, hold, ramp down, disarm: one run. Raises LimitError before anything is sent."""
    roles.laser.current.check_value(parameters.current_percent)
    for pulse_s in (parameters.pulse_s, START_S):
        roles.gate.pulse.check_value(pulse_s)

    @bpp.run_decorator(md={"plan_name": "irradiation", **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from bpp.rewindable_wrapper(_irradiate(roles, parameters), False)

    return run()


def _irradiate(roles: Roles, parameters: Parameters) -> MsgGenerator[None]:
    yield from read(roles, "conditions")
    yield from arm(roles)
    yield from ramp(roles, parameters, 0.0, parameters.current_percent)
    yield from hold(roles, parameters, parameters.settle_s, "conditions")
    yield from hold(roles, parameters, parameters.duration_s, "hold")
    yield from ramp(roles, parameters, parameters.current_percent, 0.0)
    yield from disarm(roles)
    yield from read(roles, "conditions")


def arm(roles: Roles) -> MsgGenerator[None]:
    """Start the emission, at no current, with the gate closed."""
    yield from move((roles.laser.current, 0.0), limit_s=REPLY_S)
    yield from move((roles.gate.pulse, START_S), limit_s=REPLY_S)
    yield from move((roles.laser.emission, 1), limit_s=START_S)


def disarm(roles: Roles) -> MsgGenerator[None]:
    """End the emission and open the gate, each verified by its device."""
    yield from move((roles.laser.emission, 0), limit_s=REPLY_S)
    yield from move((roles.gate.closed, 0), limit_s=REPLY_S)


def ramp(roles: Roles, parameters: Parameters, start_percent: float, stop_percent: float) -> MsgGenerator[None]:
    """Take the current from one value to another in small steps, with a reading at each of them."""
    step_s = min(RAMP_STEP_S, parameters.poll_s)
    steps = math.ceil(abs(stop_percent - start_percent) / (parameters.ramp_percent_per_s * step_s))
    for percent in np.linspace(start_percent, stop_percent, steps + 1)[1:]:
        yield Msg("sleep", None, step_s)
        yield from move((roles.laser.current, float(percent)), limit_s=REPLY_S)
        yield from poll(roles, parameters, "conditions")


def hold(roles: Roles, parameters: Parameters, duration_s: float, stream: str) -> MsgGenerator[None]:
    """Read at the beginning and then every `poll_s`, for at least `duration_s`."""
    times = max(math.ceil(duration_s / parameters.poll_s), LEAST_READINGS) if duration_s else 0
    for number in range(times + 1):
        if number:
            yield Msg("sleep", None, duration_s / times)
        yield from poll(roles, parameters, stream)


def poll(roles: Roles, parameters: Parameters, stream: str) -> MsgGenerator[None]:
    """Read once, see that there is light, and renew the pulse of the gate. Raises NoLight."""
    readings = yield from read(roles, stream)
    for name, right, otherwise in (
        (roles.laser.fault.name, 0, "the laser reports a fault"),
        (roles.laser.emission.name, 1, "the emission went off; nothing switches it on again but a new run"),
        (roles.gate.closed.name, 1, "the gate has opened; nothing closes it again but a new run"),
    ):
        if (value := readings[name]["value"]) != right:
            raise NoLight(f"{name} = {value:g}: {otherwise}")
    yield from move((roles.gate.pulse, parameters.pulse_s), limit_s=REPLY_S)


def read(roles: Roles, stream: str) -> MsgGenerator[dict[str, Any]]:
    """One event with what laser and gate read; a run can be paused before it."""
    yield Msg("checkpoint")
    group = short_uid("trigger")
    for device in (roles.laser, roles.gate):
        yield Msg("trigger", device, group=group)
    yield Msg("wait", None, group=group, timeout=REPLY_S)
    return (yield from record(stream, (roles.laser, roles.gate)))


def dwell_s(parameters: Parameters) -> float:
    """How long the plan may go without a message, in seconds; after that it hangs."""
    return max(START_S, parameters.poll_s) + REPLY_S


def expected_duration_s(parameters: Parameters) -> float:
    """About how long a run takes, in seconds."""
    ramps_s = 2.0 * parameters.current_percent / parameters.ramp_percent_per_s
    return parameters.settle_s + parameters.duration_s + 1.2 * ramps_s + 5.0
