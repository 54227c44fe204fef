"""What a converter of eight bits makes of many noisy acquisitions of one waveform."""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

LOWEST: Final = -128
HIGHEST: Final = 127
DRAWN: Final = 32
"""So many acquisitions are drawn one by one; of more, the sum is drawn from its mean and variance."""


class Average(NamedTuple):
    """The mean codes (m,), and whether any acquisition was cut off at the upper and at the lower end."""

    codes: Floats
    above: bool
    below: bool


def average(level: Floats, noise: float, n: int, generator: np.random.Generator) -> Average:
    """The mean of `n` acquisitions.

    Each is rounded to a whole code and cut off at the ends of the converter. So the mean is a multiple of 1/n, and
    where the noise is well below one code, averaging does not bring back what rounding has taken.

    Args:
        level: (m,) without noise, in codes.
        noise: standard deviation in a single acquisition, in codes; 0 or more.
        n: 1 or more.
        generator: of the noise.
    """
    if n <= DRAWN or not noise:
        return _drawn(level, noise, n if noise else 1, generator)
    mean, variance, above, below = _moments(level, noise)
    total = np.rint(n * mean + np.sqrt(n * variance) * generator.standard_normal(len(level)))
    first, second = generator.random(2)
    return Average(
        np.clip(total, n * LOWEST, n * HIGHEST) / n,
        bool(first < -math.expm1(-n * float(np.sum(above)))),
        bool(second < -math.expm1(-n * float(np.sum(below)))),
    )


def _drawn(level: Floats, noise: float, n: int, generator: np.random.Generator) -> Average:
    total, above, below = np.zeros(len(level)), False, False
    for _ in range(n):
        codes = np.rint(level + noise * generator.standard_normal(len(level)))
        total += np.clip(codes, LOWEST, HIGHEST)
        above, below = above or bool(np.any(codes >= HIGHEST)), below or bool(np.any(codes <= LOWEST))
    return Average(total / n, above, below)


def _moments(level: Floats, noise: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Of one acquisition of each sample: mean, variance, probabilities of the upper and of the lower end."""
    width = min(math.ceil(6.0 * noise) + 1, HIGHEST - LOWEST)
    nearest = np.clip(np.rint(level), LOWEST - width, HIGHEST + width)
    codes = nearest[:, None] + np.arange(-width, width + 1)
    upper = ndtr((codes + 0.5 - level[:, None]) / noise)
    upper[:, -1] = 1.0
    probability = np.diff(upper, axis=1, prepend=0.0)
    cut = np.clip(codes, LOWEST, HIGHEST)
    mean = np.sum(probability * cut, axis=1)
    variance = np.sum(probability * (cut - mean[:, None]) ** 2, axis=1)
    above, below = (np.sum(probability * (cut == end), axis=1) for end in (HIGHEST, LOWEST))
    return mean, variance, above, below
