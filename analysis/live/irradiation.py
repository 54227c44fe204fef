"""Live analyses of the irradiation: mean power and energy of the hold, as it grows and at its end."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..estimate import Estimate
from ..irradiation import LEAST_READINGS, dose
from .analysis import LiveAnalysis, RunResults

FIGURES = (
    {"title": "energy", "stream": "dose", "x": "time", "y": "energy"},
    {"title": "mean power", "stream": "dose", "x": "time", "y": "power"},
)

QUANTITIES: Mapping[str, str] = {"power": "W", "energy": "J"}


class Dose(LiveAnalysis):
    """Mean power and energy since the beginning of the hold, up to the first pause: that ends the emission."""

    name = "dose"
    listens = frozenset({"hold", "pauses"})
    recorded_after = frozenset({"hold"})
    quantities = QUANTITIES

    def __init__(self, laser: str) -> None:
        super().__init__()
        self.power_key = f"{laser}_output_power"
        self.time_s: list[float] = []
        self._power_w: list[float] = []
        self._paused = False

    def moment(self, event: Mapping[str, Any]) -> float:
        """When the power was read."""
        stamps = event["timestamps"]
        return float(stamps[self.power_key]) if self.power_key in stamps else super().moment(event)

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """The dose up to this reading; none before the third."""
        if stream == "pauses" or self._paused:
            self._paused = True
            return None
        self.time_s.append(time_s)
        self._power_w.append(float(event[self.power_key]))
        return dose(self.time_s, self._power_w) if len(self.time_s) >= LEAST_READINGS else None


class Results(RunResults):
    """The dose of the whole hold, with the window that it belongs to."""

    quantities = QUANTITIES

    def __init__(self, dose_: Dose) -> None:
        super().__init__()
        self.dose = dose_

    def conclude(self) -> None:
        """What was measured up to the end."""
        self.estimate, self.seq_num = self.dose.estimate, self.dose.seq_num
        self.window = (*self.dose.time_s[:1], *self.dose.time_s[-1:])


def analyses(names: Mapping[str, str], parameters: Any) -> Sequence[LiveAnalysis]:
    """The live analyses in the order in which they take documents; `names` are the devices of the roles."""
    measured = Dose(names["laser"])
    return (measured, Results(measured))
