"""Counting noise at a few nanoseconds per number."""

import numpy as np
from numpy.typing import NDArray

EXACT_BELOW = 16.0
SHEPPARD = 1.0 / 12.0  # variance that rounding to whole counts adds


def counts(expected: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
    """Poisson counts, as whole float32 numbers, for an array of expectations.

    Above 16 counts a normal number is bent to the third and fourth cumulant of Poisson's distribution (Cornish and
    Fisher) and rounded; below, it is Poisson's own.
    """
    mean = expected.astype(np.float32)
    z = rng.standard_normal(mean.shape, dtype=np.float32)
    width = np.sqrt(np.maximum(mean, np.float32(1.0)) - np.float32(SHEPPARD))
    square = z * z
    z *= width + (1.0 - square) / (np.float32(72.0) * width)
    square -= 1.0
    square /= 6.0
    z += square
    z += mean
    np.rint(z, out=z)
    few = mean < EXACT_BELOW
    if few.any():
        z[few] = rng.poisson(expected[few])
    return z
