"""Live analyses of the heater curve: a point from every step, and the line through all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from megabar.analysis.estimate import Estimate
from megabar.analysis.live.analysis import LiveAnalysis, independent
from megabar.analysis.thermocouples import sample_temperature

from .curve import OUTPUT_ERROR_PERCENT, fit_curve

FIGURES = ({"title": "heater curve", "stream": "point", "x": "output", "y": "temperature"},)

EMF_ERROR_V = 2e-7


class Point(LiveAnalysis):
    """Output and sample temperature at one step."""

    name = "point"
    listens = frozenset({"step"})
    recorded_after = frozenset({"step"})
    quantities: Mapping[str, str] = {"output": "%", "temperature": "K"}

    def __init__(self, furnace: str, thermocouple: str) -> None:
        super().__init__()
        self.furnace, self.thermocouple = furnace, thermocouple

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate:
        """The point of one event."""
        emf_v, cold_c = event[f"{self.thermocouple}_emf"], event[f"{self.thermocouple}_cold_junction"]
        temperature = sample_temperature(emf_v, EMF_ERROR_V, cold_c).quantity("temperature")
        return independent(
            tuple(self.quantities),
            (event[f"{self.furnace}_output"], temperature.value),
            (OUTPUT_ERROR_PERCENT, temperature.error),
            (0.0, temperature.systematic),
            tuple(self.quantities.values()),
            temperature.model,
        )


class Curve(LiveAnalysis):
    """The line through all points; an analysis named `results` gives the scalar results of a run."""

    name = "results"
    listens = frozenset({"step"})
    recorded_after = frozenset({"close"})
    quantities: Mapping[str, str] = {"gain": "K/%", "temperature_off": "K"}

    def __init__(self, point: Point) -> None:
        super().__init__()
        self.point = point

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """The line, from the third point on."""
        output, temperature = self.point.series("output"), self.point.series("temperature")
        if len(output) < 3:
            return None
        return fit_curve(output.value, temperature.value, temperature.error, temperature.systematic)


def analyses(names: Mapping[str, str], parameters: Any) -> Sequence[LiveAnalysis]:
    """The live analyses in the order in which they take documents; `names` are the devices of the roles."""
    point = Point(names["furnace"], names["thermocouple"])
    return (point, Curve(point))
