"""Calibrate the angles of a multi-element detector on a diffraction standard beside the sample."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from ..devices.detectors import EnergyDispersiveDetector
from ..devices.gathered import Gathered
from ..devices.monitors import RingCurrent
from ..devices.motion import Stage
from ..devices.presses import Press
from ..devices.shutters import Shutter
from . import parameters as declared
from .beamline import expose, move
from .parameters import quantity
from .results import Result

RIG = "d111"
MOVE_LIMIT_S = 600.0


@dataclass(frozen=True)
class Roles:
    """The instruments of the calibration."""

    press: Press
    detector: EnergyDispersiveDetector
    shutter: Shutter
    slits: Movable[Any]
    stage: Stage
    ring: RingCurrent

    @functools.cached_property
    def conditions(self) -> Gathered:
        """What is read into the stream `conditions`."""
        return Gathered("conditions", (self.press, self.ring))


class Parameters(declared.Parameters):
    """Where the standard is and how long it is exposed."""

    x_mm: float = quantity(-20.0, "mm", -25.0, 25.0, "stage position of the standard")
    exposure_s: float = quantity(600.0, "s", 10.0, 3600.0, "exposure")
    beam_threshold_ma: float = quantity(5.0, "mA", 0.1, 500.0, "ring current below which nothing is exposed")


def calibration(
    roles: Roles,
    *,
    results: Mapping[str, Result],
    parameters: Parameters,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[None]:
    """One run that calibrates the detector."""
    roles.detector.exposure.check_value(parameters.exposure_s)
    roles.stage.x.check_value(parameters.x_mm)

    @bpp.run_decorator(md={"plan_name": "calibration", **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from calibrate_detector(
            roles,
            x_mm=parameters.x_mm,
            exposure_s=parameters.exposure_s,
            threshold_ma=parameters.beam_threshold_ma,
            every_s=30.0,
            beam_timeout_s=3600.0,
        )

    return run()


def calibrate_detector(roles: Any, *, x_mm: float, exposure_s: float, **exposing: float) -> MsgGenerator[None]:
    """Bring the standard into the beam, expose it into the stream `standard`, and bring the sample back."""
    home_mm = yield from bps.rd(roles.stage.x)
    yield from move((roles.stage.x, x_mm), (roles.detector.exposure, exposure_s), limit_s=MOVE_LIMIT_S)
    yield from expose(roles, roles.detector, exposure_s=exposure_s, slits="narrow", stream="standard", **exposing)
    yield from move((roles.stage.x, home_mm), limit_s=MOVE_LIMIT_S)


def expected_duration_s(parameters: Parameters) -> float:
    """About how long a run takes, in seconds."""
    return parameters.exposure_s + 120.0
