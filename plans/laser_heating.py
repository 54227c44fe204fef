"""Heat a sample in a diamond cell with lasers from both sides, its temperatures measured and held.

The spectrograph is calibrated with two lamps, the membrane is driven until the ruby has the pressure asked for, both
lasers are ramped until both surfaces have the temperature asked for, and the temperature is held until its mean is
known as well as was asked for. Ruby again, cold, at the end. What runs away is cut by the box at the shutter, not here:
this plan only sees it, and ends. After a pause, which ends the emission, the run fails at its next step.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator

from ..devices.detectors import SpectralCamera
from ..devices.gathered import Gathered
from ..devices.lasers import Gate, Laser
from ..devices.pressure_controllers import PressureController
from ..devices.shutters import HeatingShutter, Shutter
from ..devices.spectrometers import Spectrometer
from .diamond_cell import REPLY_S, SETTLING_S, TURN_S, calibrate, check_cell, compress, pressure_gpa, watch
from .frames import Frames
from .results import Result
from .two_sided_heating import HeatingParameters, check_heating, heated

RIG = "diamond_cell"


@dataclass(frozen=True)
class Roles:
    """The instruments of the experiment."""

    upstream: Laser
    downstream: Laser
    upstream_gate: Gate
    downstream_gate: Gate
    shutter: HeatingShutter
    membrane: PressureController
    spectrograph: Spectrometer
    camera: SpectralCamera
    excitation: Shutter
    lamp: Shutter
    pen_lamp: Shutter

    @property
    def lasers(self) -> tuple[Laser, Laser]:
        """Upstream, downstream."""
        return self.upstream, self.downstream

    @property
    def gates(self) -> tuple[Gate, Gate]:
        """Upstream, downstream."""
        return self.upstream_gate, self.downstream_gate

    @functools.cached_property
    def conditions(self) -> Gathered:
        """What is read into the stream `conditions`."""
        return Gathered("conditions", (*self.lasers, *self.gates, self.shutter, self.membrane))


class Parameters(HeatingParameters):
    """What is heated, how hot, at which pressure, and how well that is to be known."""


def laser_heating(
    roles: Roles,
    *,
    results: Mapping[str, Result],
    parameters: Parameters,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[None]:
    """Calibrate, compress, heat, hold, cool: one run. Raises LimitError before anything is sent."""
    check_cell(roles, parameters)
    check_heating(roles, parameters)
    frames = Frames(roles, results)

    @bpp.run_decorator(md={"plan_name": "laser_heating", **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from watch(roles)
        yield from calibrate(roles, parameters, frames)
        yield from compress(roles, results, parameters, frames)
        yield from bpp.rewindable_wrapper(heated(roles, results, parameters, frames), False)
        yield from pressure_gpa(roles, results, parameters, frames)

    return run()


def dwell_s(parameters: Parameters) -> float:
    """How long the plan may go without a message, in seconds; after that it hangs."""
    return TURN_S + REPLY_S


def expected_duration_s(parameters: Parameters) -> float:
    """About how long a run takes, in seconds."""
    steps = parameters.pressure_gpa / parameters.step_bar
    compressing_s = steps * (parameters.step_bar / parameters.slew_bar_per_s + 3.0 * SETTLING_S)
    return 120.0 + compressing_s + 60.0 + parameters.shortest_hold_s
