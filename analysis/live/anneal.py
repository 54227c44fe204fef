"""Live analyses of the anneal: time at temperature as it grows, over interruptions, and the mean temperature of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.constants import zero_Celsius

from ..estimate import Estimate
from ..thermal_history import ThermalHistory
from ..thermocouples import EMF_NOISE_V, sample_temperature
from .analysis import CLOSE, LiveAnalysis, RunResults, independent

FIGURES = (
    {"title": "temperature of the sample", "stream": "hold", "x": "time", "y": "temperature"},
    {"title": "time at temperature", "stream": "hold", "x": "time", "y": "hold_time"},
)


class Hold(LiveAnalysis):
    """Time at temperature by the furnace's own reading, which the guard goes on taking when the engine is lost.

    With it the temperature of the sample, from its thermocouple: the latest, and averaged over the hold.
    """

    name = "hold"
    listens = frozenset({"conditions", "held"})
    recorded_after = frozenset({"conditions"})
    quantities: Mapping[str, str] = {"hold_time": "s", "temperature": "K"}

    def __init__(self, furnace: str, thermocouple: str, history: ThermalHistory) -> None:
        super().__init__()
        self.history = history
        self.interruptions = 0
        self.sources: list[tuple[int, bool]] = []
        """Of each reading: in which of the runs it was taken, and whether by the guard, before that run."""
        self.sample: list[Estimate] = []
        self._furnace, self._thermocouple = furnace, thermocouple

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """What one reading adds."""
        if stream == "held":
            if event["held_reading"] == f"{self._furnace}.temperature":
                self._add(time_s, float(event["held_value"]), by_guard=True)
            return None
        self._add(time_s, float(event[f"{self._furnace}_temperature"]), by_guard=False)
        emf_v, cold_c = (float(event[f"{self._thermocouple}_{name}"]) for name in ("emf", "cold_junction"))
        sample = sample_temperature(emf_v, EMF_NOISE_V, cold_c)
        if self.history.at_temperature:
            self.sample.append(sample)
        held, temperature = self.history.estimate().quantity("hold_time"), sample.quantity("temperature")
        return independent(
            tuple(self.quantities),
            (held.value, temperature.value),
            (held.error, temperature.error),
            (held.systematic, temperature.systematic),
            tuple(self.quantities.values()),
            self._told(sample.model),
        )

    def interrupted(self) -> None:
        """What follows is of another run."""
        super().interrupted()
        self.interruptions += 1

    def mean(self) -> Estimate | None:
        """Time at temperature and mean temperature of the sample meanwhile; None before there was any."""
        if not self.sample:
            return None
        held = self.history.estimate().quantity("hold_time")
        kelvin = np.array([estimate.values[0] for estimate in self.sample])
        systematic = np.array([estimate.systematic[0] for estimate in self.sample])
        scatter = float(np.std(kelvin, ddof=1)) if len(kelvin) > 1 else math.sqrt(self.sample[0].covariance[0, 0])
        return independent(
            tuple(self.quantities),
            (held.value, float(np.mean(kelvin))),
            (held.error, scatter / math.sqrt(len(kelvin))),
            (held.systematic, float(np.mean(systematic))),
            tuple(self.quantities.values()),
            self._told(f"mean of {len(kelvin)} readings; {self.sample[0].model}"),
        )

    def _add(self, time_s: float, temperature_c: float, *, by_guard: bool) -> None:
        self.history.add(time_s, temperature_c)
        self.sources.append((self.interruptions, by_guard))

    def _told(self, model: str) -> str:
        runs = f", over {self.interruptions + 1} runs" if self.interruptions else ""
        return f"{self.history.estimate().model}{runs}; {model}"


class Results(RunResults):
    """The whole hold, with the window that it lies in."""

    quantities = Hold.quantities

    def __init__(self, hold: Hold) -> None:
        super().__init__()
        self.hold = hold

    def conclude(self) -> None:
        """Where the sample was at temperature."""
        self.estimate, self.seq_num = self.hold.mean(), self.hold.seq_num
        self.window = (self.hold.history.first_s, self.hold.history.last_s)


class History(LiveAnalysis):
    """The thermal history of the sample over all runs, once at the end: n readings of the furnace in their order."""

    name = "history"
    listens = frozenset()
    recorded_after = frozenset({CLOSE})
    quantities: Mapping[str, str] = {}
    UNITS: Mapping[str, str] = {
        "history_time": "s",
        "history_temperature": "degC",
        "history_run": "",
        "history_by_guard": "",
    }

    def __init__(self, hold: Hold) -> None:
        super().__init__()
        self.hold = hold

    def due(self) -> bool:
        """Once, if anything was read."""
        return bool(self.hold.sources)

    def read(self) -> dict[str, Any]:
        """When (s since the epoch), temperature, number of the run, and whether the guard has read it between runs."""
        history = self.hold.history
        runs, by_guard = np.array(self.hold.sources, dtype=np.int64).T
        columns = (np.array(history.time_s), np.array(history.temperature_c), runs, by_guard)
        timestamp = history.time_s[-1]
        return {key: {"value": c, "timestamp": timestamp} for key, c in zip(self.UNITS, columns, strict=True)}

    def describe(self) -> dict[str, Any]:
        """The data keys."""
        entry = {"source": f"analysis:{self.name}", "dtype": "array", "shape": [len(self.hold.sources)]}
        return {key: {**entry, "units": unit} for key, unit in self.UNITS.items()}


def analyses(names: Mapping[str, str], parameters: Any) -> Sequence[LiveAnalysis]:
    """The live analyses in the order in which they take documents; `names` are the devices of the roles."""
    history = ThermalHistory(
        target_c=parameters.temperature_k - zero_Celsius,
        tolerance_k=parameters.tolerance_k,
        longest_gap_s=parameters.longest_gap_s,
    )
    hold = Hold(names["furnace"], names["thermocouple"], history)
    return (hold, History(hold), Results(hold))
