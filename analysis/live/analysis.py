"""The base of live analyses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..estimate import Estimate

CLOSE = "close"
"""An analysis that is recorded after this, which is no stream, is read once, before the run closes."""


class LiveAnalysis:
    """A callback and a readable device at once: it reduces events, and reading it records what it found.

    A subclass says which streams it `listens` to, after which stream its results are `recorded_after`, and which
    quantities it gives; `reduce` returns an `Estimate` of them (in that order), or None where there is no new result.
    Each reading holds value, statistical error and systematic error of every quantity, their covariance, the model with
    its scale, and the number of the event that the result derives from.
    """

    parent = None
    name: str
    listens: frozenset[str]
    recorded_after: frozenset[str]
    quantities: Mapping[str, str]
    """Names and units of the quantities."""
    stream: str = ""
    """The stream that its results are recorded in; its own name where it says nothing. Analyses that share one are
    recorded in one event, each with the number of the event that its own result derives from."""

    def __init__(self) -> None:
        self.fresh = False
        self.seq_num = 0
        self.estimate: Estimate | None = None
        self._series: dict[str, list[tuple[float, float, float, float]]] = {}
        self.failures: list[str] = []
        self._timestamp = 0.0
        self._streams: dict[str, str] = {}
        self._configuration: dict[str, Any] = {}

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """The result of one event; `time_s` is its (simulated or real) timestamp. Raises ValueError."""
        raise NotImplementedError

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document of the run."""
        if name == "descriptor":
            self._streams[document["uid"]] = document["name"]
            for entry in document["configuration"].values():
                self._configuration |= entry["data"]
        elif name == "event" and (stream := self._streams[document["descriptor"]]) in self.listens:
            self._take(stream, document)

    def moment(self, event: Mapping[str, Any]) -> float:
        """When what an event tells was so (s): when it was read, unless it was gathered over a longer time."""
        return float(max(event["timestamps"].values()))

    def _take(self, stream: str, event: Mapping[str, Any]) -> None:
        time_s = self.moment(event)
        try:
            estimate = self.reduce(stream, event["data"], time_s)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            # One bad pattern must not end a run of hours; the reason is kept and shown.
            self.failures.append(f"{self.name}, {stream} {event['seq_num']}: {error}")
            return
        if estimate is not None:
            self.estimate, self.seq_num, self._timestamp, self.fresh = estimate, event["seq_num"], time_s, True
            for name, quantity in estimate.quantities().items():
                point = (time_s, quantity.value, quantity.error, quantity.systematic)
                self._series.setdefault(name, []).append(point)

    def interrupted(self) -> None:
        """The documents so far were those of a run that was interrupted: another goes on, and counts its own events."""
        self.seq_num, self.fresh = 0, False

    @property
    def recorded_in(self) -> str:
        """The stream of its results."""
        return self.stream or self.name

    def due(self) -> bool:
        """Whether there is a result that was not read yet."""
        return self.fresh

    def value(self, quantity: str) -> float:
        """The latest value of a quantity; NaN before any."""
        return math.nan if self.estimate is None else self.estimate.quantity(quantity).value

    def error(self, quantity: str) -> float:
        """Its statistical standard uncertainty; NaN before any."""
        return math.nan if self.estimate is None else self.estimate.quantity(quantity).error

    def series(self, quantity: str) -> "Series":
        """All results of one quantity."""
        return Series(*np.array(self._series.get(quantity, ()), dtype=float).reshape(-1, 4).T)

    def read(self) -> dict[str, Any]:
        """The latest result."""
        self.fresh = False
        data: dict[str, Any] = {f"{self.name}_seq_num": self.seq_num, f"{self.name}_model": self._model()}
        for name in self.quantities:
            quantity = None if self.estimate is None else self.estimate.quantity(name)
            data[name] = math.nan if quantity is None else quantity.value
            data[f"{name}_error"] = math.nan if quantity is None else quantity.error
            data[f"{name}_systematic"] = math.nan if quantity is None else quantity.systematic
        n = len(self.quantities)
        covariance = np.full((n, n), math.nan) if self.estimate is None else self.estimate.covariance
        data[f"{self.name}_covariance"] = np.asarray(covariance, dtype=float)
        return {key: {"value": value, "timestamp": self._timestamp} for key, value in data.items()}

    def describe(self) -> dict[str, Any]:
        """The data keys, with units."""
        source = f"analysis:{self.name}"
        keys: dict[str, Any] = {
            f"{self.name}_seq_num": {"source": source, "dtype": "integer", "shape": []},
            f"{self.name}_model": {"source": source, "dtype": "string", "shape": []},
        }
        for name, unit in self.quantities.items():
            for key in (name, f"{name}_error", f"{name}_systematic"):
                keys[key] = {"source": source, "dtype": "number", "shape": [], "units": unit}
        n = len(self.quantities)
        keys[f"{self.name}_covariance"] = {"source": source, "dtype": "array", "shape": [n, n]}
        return keys

    def read_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def _model(self) -> str:
        if self.estimate is None:
            return ""
        return f"{self.estimate.model}; {self.estimate.scale}" if self.estimate.scale else self.estimate.model


class RunResults(LiveAnalysis):
    """The results of a whole run, recorded once before it closes, with the window that they belong to.

    A subclass says its quantities, and `conclude` sets the estimate and the moments (s since the epoch) of the window.
    """

    name = "results"
    listens = frozenset()
    recorded_after = frozenset({CLOSE})
    WINDOW: Sequence[str] = ("window_start", "window_stop")

    def __init__(self) -> None:
        super().__init__()
        self.window: Sequence[float] = ()

    def conclude(self) -> None:
        """All streams are recorded: set estimate and window, where there was anything to conclude from."""
        raise NotImplementedError

    def due(self) -> bool:
        """Once, at the end, if they belong to a window that has a length."""
        self.conclude()
        return self.estimate is not None and len(self.window) > 1 and self.window[0] < self.window[1]

    def read(self) -> dict[str, Any]:
        """The results and the window (s since the epoch), as of its end."""
        self._timestamp = self.window[1]
        readings = super().read()
        for key, value in zip(self.WINDOW, self.window, strict=True):
            readings[key] = {"value": value, "timestamp": self._timestamp}
        return readings

    def describe(self) -> dict[str, Any]:
        """The data keys."""
        window = {"source": f"analysis:{self.name}", "dtype": "number", "shape": [], "units": "s"}
        return {**super().describe(), **dict.fromkeys(self.WINDOW, window)}


class Series:
    """Results of one quantity in the order of time: arrays of equal length."""

    def __init__(self, time_s: np.ndarray, value: np.ndarray, error: np.ndarray, systematic: np.ndarray) -> None:
        self.time_s, self.value, self.error, self.systematic = time_s, value, error, systematic

    def __len__(self) -> int:
        return len(self.time_s)

    def within(self, start_s: float, stop_s: float) -> "Series":
        """The part from `start_s` to `stop_s`, both included."""
        inside = (self.time_s >= start_s) & (self.time_s <= stop_s)
        return Series(self.time_s[inside], self.value[inside], self.error[inside], self.systematic[inside])


def independent(
    names: Sequence[str],
    values: ArrayLike,
    errors: ArrayLike,
    systematic: ArrayLike,
    units: Sequence[str],
    model: str,
) -> Estimate:
    """An estimate of quantities whose statistical errors are independent."""
    return Estimate(
        names=tuple(names),
        values=np.asarray(values, dtype=float),
        covariance=np.diag(np.square(np.asarray(errors, dtype=float))),
        systematic=np.asarray(systematic, dtype=float),
        units=tuple(units),
        model=model,
        chi2_red=math.nan,
        n_points=1,
    )
