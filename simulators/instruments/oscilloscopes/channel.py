"""One input of an oscilloscope: its settings, and the waveform that was taken last."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .averaging import average

Floats = NDArray[np.float64]

DIVISIONS: Final = 10
CODES: Final = 253  # of the converter's 256, over ten divisions
ABOVE, BELOW = 1, 2


@dataclass
class Channel:
    """`codes` are those of the last waveform (n,), or none; `adc_state` tells at which end it was cut off."""

    number: int
    on: bool = False
    scale_v: float = 0.05
    offset_v: float = 0.0
    position: float = 0.0
    coupling: str = "DCL"
    arithmetics: str = "OFF"
    codes: Floats = field(default_factory=lambda: np.zeros(0))
    code_v: float = 0.0
    middle_v: float = 0.0
    adc_state: int = 0

    @property
    def range_v(self) -> float:
        """From the lower edge of the screen to the upper one."""
        return DIVISIONS * self.scale_v

    @property
    def volts(self) -> Floats:
        """Of the last waveform."""
        return self.codes * self.code_v + self.middle_v

    def take(self, volts: Floats, noise_v: float, n: int, generator: np.random.Generator) -> None:
        """Acquire `volts` (m,) `n` times; the average is kept, or where none is made the last acquisition."""
        self.code_v, self.middle_v = self.range_v / CODES, self.offset_v - self.position * self.scale_v
        level, noise = (volts - self.middle_v) / self.code_v, noise_v / self.code_v
        self.codes, above, below = average(level, noise, n if self.arithmetics == "AVER" else 1, generator)
        self.adc_state = (ABOVE if above else 0) | (BELOW if below else 0)

    def noise_v(self, least_v: float, share: float) -> float:
        """Of one sample: what does not depend on the range, and what does."""
        return math.hypot(least_v, share * self.range_v)
