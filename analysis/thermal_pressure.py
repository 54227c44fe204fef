"""Pressure of a sample that is hot between cold gauges."""

import math
from collections.abc import Sequence

from .estimate import Quantity

GPA_PER_K = 2e-3
"""How much the pressure of a laser-heated spot rises: between none, where the medium gives way, and some 5 MPa/K of a
metal that cannot expand. An assumption; diffraction of the hot sample tells it."""
GPA_PER_K_ERROR = 1e-3
GAUGE_GRADIENT = 0.015
"""Standard uncertainty of the pressure at the sample against that at the gauge, relative: an assumption."""
ROOM_K = 300.0


def sample_pressure(cold: Sequence[Quantity], temperature: Quantity) -> tuple[Quantity, Quantity]:
    """Pressure (GPa) of the hot sample, and of the cold cell, from what a gauge said before and after.

    Where it said something twice, the mean counts, and half of the difference is a systematic error.

    Raises:
        ValueError: the gauge has said nothing.
    """
    if not cold:
        raise ValueError("no pressure was measured while the cell was cold")
    value = sum(quantity.value for quantity in cold) / len(cold)
    error = math.sqrt(sum(quantity.error**2 for quantity in cold)) / len(cold)
    systematic = math.hypot(
        sum(quantity.systematic for quantity in cold) / len(cold),
        0.5 * (cold[-1].value - cold[0].value),
        GAUGE_GRADIENT * value,
    )
    rise_k = temperature.value - ROOM_K
    hot = Quantity(
        value + GPA_PER_K * rise_k,
        math.hypot(error, GPA_PER_K * temperature.error),
        math.hypot(systematic, GPA_PER_K_ERROR * rise_k, GPA_PER_K * temperature.systematic),
        "GPa",
        f"thermal pressure {1e3 * GPA_PER_K:g} MPa/K",
    )
    return hot, Quantity(value, error, systematic, "GPa")
