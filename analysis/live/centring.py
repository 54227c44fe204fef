"""Live analysis of the centring of a sample."""

from collections.abc import Mapping, Sequence
from typing import Any

from .analysis import LiveAnalysis
from .deformation import Foils, Position

FIGURES: tuple[Mapping[str, str], ...] = ()


def analyses(names: Mapping[str, str], parameters: Any) -> Sequence[LiveAnalysis]:
    """Offset of the sample."""
    return (Position(names["camera"], Foils()),)
