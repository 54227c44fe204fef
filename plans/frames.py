"""Frames of a spectrograph's camera whose exposure suits the light."""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from bluesky.utils import Msg, MsgGenerator, short_uid

from ..devices.detectors import SpectralCamera
from ..devices.spectrometers import Spectrometer
from .beamline import move, record
from .results import NoResult, Result, wait_for_result

REPLY_S = 10.0
RESULT_S = 60.0
"""A frame has been reduced."""
WELL_FILLED = (0.1, 0.75)
"""What the fullest pixel of a frame may have of full scale."""
FULL = 0.98
ATTEMPTS = 8
FIRST_S = 0.1


class Spectroscopy(Protocol):
    """The roles that frames need."""

    @property
    def spectrograph(self) -> Spectrometer:
        """Whose setting is read with each frame."""
        ...

    @property
    def camera(self) -> SpectralCamera:
        """What takes it."""
        ...


class Frames:
    """Takes frames into streams, and remembers how many, and which exposure suited each."""

    def __init__(self, roles: Spectroscopy, results: Mapping[str, Result]) -> None:
        self._roles, self._results = roles, results
        self._taken: Counter[str] = Counter()
        self._exposure_s: dict[str, float] = {}

    def take(self, what: str, longest_s: float) -> MsgGenerator[bool]:
        """One frame into its stream, reduced as far as `filling`; whether it is well filled.

        The exposure of the next is chosen by it. Raises NoResult.
        """
        exposure_s = min(self._exposure_s.get(what, FIRST_S), longest_s)
        yield from move((self._roles.camera.exposure, exposure_s), limit_s=REPLY_S)
        group = short_uid("frame")
        yield Msg("trigger", self._roles.camera, group=group)
        yield Msg("trigger", self._roles.spectrograph, group=group)
        yield Msg("wait", None, group=group, timeout=exposure_s + REPLY_S)
        yield from record(f"{what}_frames", (self._roles.camera, self._roles.spectrograph))
        self._taken[what] += 1
        filling = self._results[f"{what}_filling"]
        yield from self.reduced(filling, what)
        full, (low, high) = filling.value(filling.name), WELL_FILLED
        aim = 0.2 if full >= FULL else min(max(0.5 * (low + high) / max(full, 1e-3), 0.25), 8.0)
        well = low <= full <= high or (full < low and exposure_s >= longest_s)
        if not low <= full <= high:
            self._exposure_s[what] = min(max(exposure_s * aim, 1e-3), longest_s)
        return well

    def take_well(self, what: str, longest_s: float) -> MsgGenerator[None]:
        """Frames until one is well filled. Raises NoResult."""
        for _ in range(ATTEMPTS):
            if (yield from self.take(what, longest_s)):
                return
        raise NoResult(f"no frame of {what} was well filled in {ATTEMPTS} attempts; is its light on, and steady?")

    def reduced(self, result: Result, what: str) -> MsgGenerator[None]:
        """Wait for a result that derives from the latest frame. Raises NoResult."""
        if not (yield from wait_for_result(result, self._taken[what], timeout_s=RESULT_S, poll_s=0.05)):
            raise NoResult(f"frame {self._taken[what]} of {what} gave no {result.name} within {RESULT_S:g} s")
