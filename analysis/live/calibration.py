"""Live analysis of the detector calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from .analysis import LiveAnalysis
from .patterns import DetectorCalibration

FIGURES: tuple[Mapping[str, str], ...] = ()


def analyses(names: Mapping[str, str], parameters: Any) -> Sequence[LiveAnalysis]:
    """Angles of the detector's elements."""
    return (DetectorCalibration(names["detector"], 10),)
