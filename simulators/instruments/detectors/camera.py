"""A camera behind EPICS areaDetector: `cam1:` drives it, `image1:` holds the last image.

The array plugin is configured with FTVL=SHORT: the bits of unsigned 16-bit counts are served as signed 16-bit integers,
Channel Access having no unsigned ones, and `cam1:DataType_RBV` says what they are.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record, constant

ROUNDING_S = 1e-7
IDLE, ACQUIRE = 0, 1
STATES = ("Idle", "Acquire", "Readout", "Correct", "Saving", "Aborting", "Error", "Waiting")


class World(Protocol):
    """What the camera sees."""

    def image(self, t_start: float, exposure_s: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        """An image (n_rows, n_columns)."""
        ...


class SimulatedAreaDetector:
    """Single exposures of `AcquireTime`; the image is there when `Acquire` falls back and `ArrayCounter_RBV` rises."""

    wire = "channel access"

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        shape: tuple[int, int] = (512, 512),
        exposure_s: float = 1.0,
    ) -> None:
        self.name = name
        self._world, self._noise = world, noise
        self._shape = (int(shape[0]), int(shape[1]))
        self._exposure_s = exposure_s
        self._start_s = self._stop_s = 0.0
        self._number = self._aborted = 0
        self._image: tuple[int, NDArray[np.uint16]] = (0, np.zeros(self._shape[0] * self._shape[1], np.uint16))

    def records(self) -> dict[str, Record]:
        """The driver's and the image plugin's records."""
        n_rows, n_columns = self._shape
        return {
            "cam1:Acquire": Record(self._acquiring, self._acquire, kind="enum", states=("Done", "Acquire")),
            "cam1:AcquireTime": Record(lambda t: self._exposure_s, self._set_exposure, unit="s"),
            "cam1:AcquireTime_RBV": Record(lambda t: self._exposure_s, unit="s"),
            "cam1:DetectorState_RBV": Record(lambda t: self._acquiring(t) * ACQUIRE, kind="enum", states=STATES),
            "cam1:ArrayCounter_RBV": Record(self._counter, kind="long"),
            "cam1:ArraySizeX_RBV": Record(lambda t: n_columns, kind="long"),
            "cam1:ArraySizeY_RBV": Record(lambda t: n_rows, kind="long"),
            "cam1:DataType_RBV": constant("UInt16"),
            "cam1:ImageMode": Record(lambda t: 0, kind="enum", states=("Single", "Multiple", "Continuous")),
            "image1:ArraySize0_RBV": Record(lambda t: n_columns, kind="long"),
            "image1:ArraySize1_RBV": Record(lambda t: n_rows, kind="long"),
            "image1:UniqueId_RBV": Record(self._counter, kind="long"),
            "image1:ArrayData": Record(self._served, kind="short", count=n_rows * n_columns),
        }

    def _acquiring(self, t: float) -> int:
        return int(self._start_s <= t < self._stop_s - ROUNDING_S)

    def _counter(self, t: float) -> int:
        return self._number - self._acquiring(t) - self._aborted

    def _array(self, t: float) -> NDArray[np.uint16]:
        """The last complete image; the one before is gone when an exposure was aborted."""
        number = self._counter(t)
        if number != self._image[0] and not self._acquiring(t):
            rng = self._noise.generator(("image", number))
            image = self._world.image(self._start_s, self._stop_s - self._start_s, rng)
            if image.shape != self._shape:
                raise ValueError(f"the world's image is {image.shape}, the camera has {self._shape} pixels")
            self._image = number, image.ravel()
        return self._image[1]

    def _served(self, t: float) -> NDArray[np.int16]:
        return self._array(t).view(np.int16)

    def _acquire(self, t: float, go: int) -> None:
        if go and not self._acquiring(t):
            self._array(t)  # a frame that was never read is complete all the same
            self._number += 1
            self._start_s, self._stop_s = t, t + self._exposure_s
        elif not go and self._acquiring(t):
            self._aborted += 1
            self._stop_s = t

    def _set_exposure(self, t: float, seconds: float) -> None:
        if not 0 < seconds < float("inf"):
            raise ValueError(f"AcquireTime is {seconds!r} s: a finite number above 0 is accepted")
        self._exposure_s = seconds
