"""Strips of a spectrograph's frame: the counts of the rows that the light of one side falls on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .estimate import Floats
from .pyrometry import Bools

FULL_SCALE = 65535
"""Of a camera with 16 bits."""
LEAST_UNLIT_ROWS = 4
_MARGIN_ROWS = 2
LEVEL_ERROR_COUNTS = 0.5
"""Standard uncertainty of the level of a pixel without light, beside that of its mean: an assumption."""


@dataclass(frozen=True)
class Strip:
    """Counts (n,) summed over `n_rows`, less the level of the rows without light; both of a frame of `exposure_s`.

    `full` (n,) where a pixel was full, `filling` (n,) of the fullest pixel as a share of full scale, `level_error`
    standard uncertainty of what was subtracted, in counts.
    """

    counts: Floats
    full: Bools
    filling: Floats
    level_error: float
    n_rows: int
    exposure_s: float


def cut_strips(
    image: ArrayLike, rows: Sequence[tuple[int, int]], exposure_s: float, *, full_scale: float = FULL_SCALE
) -> list[Strip]:
    """One strip for each first and last row of `rows`, from an image (n_rows, n).

    The level is the mean of all rows that are two or more away from every strip.

    Raises:
        ValueError: rows are not in the image, fewer than 4 rows are without light, or an exposure that is not positive.
    """
    frame = np.asarray(image, dtype=float)
    if frame.ndim != 2 or not exposure_s > 0.0:
        raise ValueError(
            f"an image of rows and columns and an exposure > 0 s are needed: {frame.shape}, {exposure_s} s"
        )
    unlit = np.ones(len(frame), dtype=bool)
    for first, last in rows:
        if not 0 <= first <= last < len(frame):
            raise ValueError(f"rows {first}-{last}: the image has rows 0-{len(frame) - 1}")
        unlit[max(0, first - _MARGIN_ROWS) : last + 1 + _MARGIN_ROWS] = False
    if unlit.sum() < LEAST_UNLIT_ROWS:
        raise ValueError(f"{unlit.sum()} rows are without light: {LEAST_UNLIT_ROWS} at least are needed")
    dark = frame[unlit]
    level, scatter = float(dark.mean()), float(dark.std()) / np.sqrt(dark.size)
    strips = []
    for first, last in rows:
        part = frame[first : last + 1]
        highest, n_rows = part.max(axis=0), last + 1 - first
        strips.append(
            Strip(
                counts=part.sum(axis=0) - n_rows * level,
                full=highest >= full_scale,
                filling=highest / full_scale,
                level_error=n_rows * float(np.hypot(scatter, LEVEL_ERROR_COUNTS)),
                n_rows=n_rows,
                exposure_s=exposure_s,
            )
        )
    return strips
