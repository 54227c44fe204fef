"""Centre the sample in the beam on its radiograph."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from ..devices.detectors import Camera
from ..devices.gathered import Gathered
from ..devices.monitors import RingCurrent
from ..devices.motion import Stage
from ..devices.presses import Press
from ..devices.shutters import Shutter
from . import parameters as declared
from .beamline import expose, move
from .parameters import quantity
from .results import NoResult, Result, wait_for_result

RIG = "d111"
ATTEMPTS = 4
MOVE_LIMIT_S = 120.0


class NotCentred(RuntimeError):
    """The sample does not come to the centre."""


@dataclass(frozen=True)
class Roles:
    """The instruments of the centring."""

    press: Press
    camera: Camera
    shutter: Shutter
    slits: Movable[Any]
    stage: Stage
    ring: RingCurrent

    @functools.cached_property
    def conditions(self) -> Gathered:
        """What is read into the stream `conditions`."""
        return Gathered("conditions", (self.press, self.ring))


class Parameters(declared.Parameters):
    """How well the sample is centred."""

    exposure_s: float = quantity(2.0, "s", 0.1, 60.0, "exposure of a radiograph")
    tolerance_um: float = quantity(10.0, "um", 1.0, 200.0, "offset that is accepted")
    beam_threshold_ma: float = quantity(5.0, "mA", 0.1, 500.0, "ring current below which nothing is exposed")


def centring(
    roles: Roles,
    *,
    results: Mapping[str, Result],
    parameters: Parameters,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[None]:
    """One run that centres the sample."""
    roles.camera.exposure.check_value(parameters.exposure_s)

    @bpp.run_decorator(md={"plan_name": "centring", **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from centre_sample(
            roles,
            results["position"],
            exposure_s=parameters.exposure_s,
            tolerance_um=parameters.tolerance_um,
            threshold_ma=parameters.beam_threshold_ma,
            every_s=30.0,
            beam_timeout_s=3600.0,
        )

    return run()


def centre_sample(
    roles: Any, position: Result, *, exposure_s: float = 2.0, tolerance_um: float = 10.0, **exposing: float
) -> MsgGenerator[None]:
    """Move the stage by the offset seen in the radiograph until it is within tolerance. Raises NotCentred."""
    yield from move((roles.camera.exposure, exposure_s))
    for attempt in range(1, ATTEMPTS + 1):
        yield from expose(roles, roles.camera, exposure_s=exposure_s, slits="wide", stream="centring", **exposing)
        if not (yield from wait_for_result(position, attempt, timeout_s=60.0)):
            raise NoResult(f"no sample position from radiograph {attempt} of the centring within 60 s")
        offset_x_um, offset_y_um = position.value("offset_x"), position.value("offset_y")
        if max(abs(offset_x_um), abs(offset_y_um)) <= tolerance_um:
            return
        x_mm = yield from bps.rd(roles.stage.x)
        y_mm = yield from bps.rd(roles.stage.y)
        yield from move((roles.stage.x, x_mm - 1e-3 * offset_x_um), (roles.stage.y, y_mm - 1e-3 * offset_y_um))
    raise NotCentred(
        f"the sample is still {offset_x_um:.0f}, {offset_y_um:.0f} um from the centre after {ATTEMPTS} moves"
    )


def expected_duration_s(parameters: Parameters) -> float:
    """About how long a run takes, in seconds."""
    return parameters.exposure_s + 120.0
