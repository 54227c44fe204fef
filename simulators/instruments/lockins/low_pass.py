"""The low-pass filter behind a demodulator: poles of one time constant in a row."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb, gammainc

from ...noise import Noise

POLES: Final = 4
_NUMBER = np.arange(1, POLES + 1)
_SUM = _NUMBER[:, None] + _NUMBER[None, :]
_PATHS = comb(_SUM - 2, _NUMBER[:, None] - 1) * 0.5 ** (_SUM - 1)


class LowPass:
    """What the poles hold, after 1, 2, 3 and 4 of them: exact for a signal that is linear in time, and white noise.

    With x = t/tau the step response of n poles is P(n, x), the regularised incomplete gamma function, and that to a
    ramp x P(n, x) - n P(n + 1, x). White noise of density S (one-sided, per hertz) makes stages j and k covary by
    S/(2 tau) C(j + k - 2, j - 1) 2^(1 - j - k) P(j + k - 1, 2x): for one pole that is S/(4 tau) in the end, as its
    equivalent noise bandwidth has it.
    """

    def __init__(self) -> None:
        self.stages: NDArray[np.complex128] = np.zeros(POLES, complex)

    def advance(self, time_s: float, time_constant_s: float, begin: complex, end: complex) -> None:
        """Let time pass, while the input goes straight from `begin` to `end`."""
        x = time_s / time_constant_s
        if x <= 0:
            return
        step = gammainc(_NUMBER, x)
        ramp = step - _NUMBER * gammainc(_NUMBER + 1, x) / x
        decay = [math.exp(-x) * x**lag / math.factorial(lag) for lag in range(POLES)]
        kept = [sum(decay[j - k] * self.stages[k] for k in range(j + 1)) for j in range(POLES)]
        self.stages = np.array(kept) + begin * step + (end - begin) * ramp

    def add_noise(self, time_s: float, time_constant_s: float, density: float, noise: Noise) -> None:
        """What white noise of `density` (per root hertz, in either phase) has added in that time."""
        if time_s <= 0:
            return
        covariance = density**2 / (2 * time_constant_s) * _PATHS * gammainc(_SUM - 1, 2 * time_s / time_constant_s)
        values, vectors = np.linalg.eigh(covariance)
        drawn = np.array([complex(noise.normal(), noise.normal()) for _ in range(POLES)])
        self.stages = self.stages + vectors @ (np.sqrt(np.maximum(values, 0.0)) * drawn)
