"""Cameras behind EPICS areaDetector."""

from typing import Any, Final

import numpy as np
from ophyd import Component as Cpt
from ophyd import Kind

from ..channel_access import AsText
from ..epics import EpicsInstrument
from ..errors import GarbledReply, LinkTimeout
from ..instrument import Reading, Setpoint
from ..link import Steps

POLL_S: Final = 0.1
MARGIN_S: Final = 30.0
FULL_SCALE: Final = np.iinfo(np.uint16).max


def _image(fields: tuple[np.ndarray, int, int, str]) -> np.ndarray:
    """Unsigned 16-bit counts, a type that Channel Access lacks: as int16 of the same bits (FTVL=SHORT) or int32."""
    counts, n_rows, n_columns, data_type = fields
    if counts.dtype == np.int16 and data_type == "UInt16":
        counts = counts.view(np.uint16)
    image = counts[: n_rows * n_columns].reshape(n_rows, n_columns)
    if image.min() < 0 or image.max() > FULL_SCALE:
        raise ValueError(f"counts outside 0..{FULL_SCALE}")
    return image.astype(np.uint16, copy=False)


class AreaDetectorCamera(EpicsInstrument):
    """Single frames through areaDetector's driver (`cam1:`) and array plugin (`image1:`).

    Attaching changes nothing: ImageMode is expected to be Single, and array callbacks on. `shape` is (n_rows,
    n_columns) and `pixel_um` the size of a pixel at the sample. Reads `<name>_image` (uint16) and `<name>_exposure`.
    """

    image = Cpt(
        Reading,
        query=("image1:ArrayData", "image1:ArraySize1_RBV", "image1:ArraySize0_RBV", AsText("cam1:DataType_RBV")),
        parse=_image,
        plausible=(0, FULL_SCALE),
        unit="counts",
    )
    exposure = Cpt(
        Setpoint,
        command="cam1:AcquireTime",
        query="cam1:AcquireTime_RBV",
        unit="s",
        limits=(1e-3, 600.0),
        tolerance=1e-4,
    )
    pixel_size = Cpt(Reading, query=None, unit="um", kind=Kind.config)

    def __init__(self, *, pixel_um: float, shape: tuple[int, int] = (512, 512), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not (isinstance(pixel_um, int | float) and 0.0 < pixel_um < np.inf):
            raise ValueError(f"pixel_um = {pixel_um!r}; accepted is a size above 0")
        self.image.put(np.zeros(shape, np.uint16))
        self.pixel_size.put(float(pixel_um), timestamp=self.clock.time())

    def acquire(self) -> Steps:
        """The job of `trigger`: one frame."""
        exposure, before = self.ask("cam1:AcquireTime_RBV", "cam1:ArrayCounter_RBV")
        self.start("cam1:Acquire", 1)
        deadline = self.clock.monotonic() + exposure + MARGIN_S
        pause = exposure
        while True:
            yield pause
            state, counter = self.ask("cam1:DetectorState_RBV", "cam1:ArrayCounter_RBV")
            if not state:
                break
            if self.clock.monotonic() > deadline:
                self.start("cam1:Acquire", 0)
                raise LinkTimeout(f"{self.name}: no frame {MARGIN_S:g} s after an exposure of {exposure:g} s")
            pause = POLL_S
        if counter == before:
            raise GarbledReply(f"{self.name}: the exposure ended without a frame")
        self.fetch(*self._read_readings())
