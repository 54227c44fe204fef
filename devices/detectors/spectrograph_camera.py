"""The camera of a spectrograph behind EPICS areaDetector: light of the two sides of a diamond cell in two strips."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ophyd import Component as Cpt
from ophyd import Kind

from ..instrument import Reading
from .camera import AreaDetectorCamera


class SpectrographCamera(AreaDetectorCamera):
    """Frames whose columns are wavelengths. What cannot be asked of it stands in its options, and in its configuration.

    Options: `pixel_um` (on the chip), `focal_mm` and `included_deg` (of the spectrograph, from its data sheet: the
    lines of a lamp correct them), `upstream_rows` and `downstream_rows` (first and last row of each strip),
    `gain_electrons` (per count) and `read_noise_electrons`.

    Raises:
        ValueError: an option is out of its range.
    """

    focal_length = Cpt(Reading, query=None, unit="mm", kind=Kind.config)
    included_angle = Cpt(Reading, query=None, unit="deg", kind=Kind.config)
    gain = Cpt(Reading, query=None, unit="electrons", kind=Kind.config)
    read_noise = Cpt(Reading, query=None, unit="electrons", kind=Kind.config)
    upstream_rows = Cpt(Reading, query=None, unit="", value=np.zeros(2, int), kind=Kind.config)
    downstream_rows = Cpt(Reading, query=None, unit="", value=np.zeros(2, int), kind=Kind.config)

    def __init__(
        self,
        *,
        focal_mm: float,
        included_deg: float,
        upstream_rows: Sequence[int],
        downstream_rows: Sequence[int],
        gain_electrons: float,
        read_noise_electrons: float,
        shape: tuple[int, int] = (48, 1024),
        **kwargs: Any,
    ) -> None:
        super().__init__(shape=shape, **kwargs)
        stamp = self.clock.time()
        for signal, name, value, low, high in (
            (self.focal_length, "focal_mm", focal_mm, 10.0, 5000.0),
            (self.included_angle, "included_deg", included_deg, 0.0, 90.0),
            (self.gain, "gain_electrons", gain_electrons, 1e-3, 1e3),
            (self.read_noise, "read_noise_electrons", read_noise_electrons, 0.0, 1e3),
        ):
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not (number and low <= value <= high):
                raise ValueError(f"options.{name} = {value!r}: accepted is a number of {low:g}..{high:g} {signal.unit}")
            signal.put(float(value), timestamp=stamp)
        strips = {"upstream_rows": upstream_rows, "downstream_rows": downstream_rows}
        for name, rows in strips.items():
            if not (len(rows) == 2 and all(type(row) is int for row in rows) and 0 <= rows[0] < rows[1] < shape[0]):
                raise ValueError(
                    f"options.{name} = {rows!r}: accepted are first and last row, from 0 to {shape[0] - 1}"
                )
            getattr(self, name).put(np.array(rows), timestamp=stamp)
        (first, last), (other_first, other_last) = sorted(tuple(rows) for rows in strips.values())
        if last >= other_first:
            raise ValueError(f"options: the strips overlap, rows {first}..{last} and {other_first}..{other_last}")
