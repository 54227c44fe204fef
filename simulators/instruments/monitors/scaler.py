"""A counter of the incident beam: EPICS scaler record (synApps) on an ion chamber.

Fields after the record's documentation and ophyd's EpicsScaler. Modelled is what counting a monitor needs: one-shot
counts (CNT, TP) and, between them, background counting (CONT, TP1) that starts again as soon as it is done.
"""

import math
from typing import Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record, constant

FREQUENCY_HZ = 1.0e7


class World(Protocol):
    """What is counted."""

    def i0_rate(self, t: float) -> float:
        """Counts per second."""
        ...


class SimulatedScaler:
    """`scaler1`: channel 1 counts the clock, channel 2 the ion chamber I0."""

    wire = "channel access"

    def __init__(
        self, *, name: str, world: World, clock: Clock, noise: Noise, preset_s: float = 1.0, background_s: float = 1.0
    ) -> None:
        self.name = name
        self._world, self._noise = world, noise
        self._preset_s, self._background_s = preset_s, background_s
        self._continuous = 1
        self._window = (-background_s, 0.0)  # it has been counting all along

    def records(self) -> dict[str, Record]:
        """The fields of `scaler1`."""
        fields = {
            "CNT": Record(self._counting, self._count, kind="enum", states=("Done", "Count")),
            "CONT": Record(lambda t: self._continuous, self._set_continuous, "enum", states=("OneShot", "AutoCount")),
            "TP": Record(lambda t: self._preset_s, self._set_preset, unit="s"),
            "TP1": Record(lambda t: self._background_s, self._set_background, unit="s"),
            "T": Record(lambda t: self._elapsed(t)[1], unit="s"),
            "S1": Record(lambda t: round(self._elapsed(t)[1] * FREQUENCY_HZ)),
            "S2": Record(lambda t: self._counts(*self._elapsed(t))),
            "FREQ": constant(FREQUENCY_HZ, "Hz"),
            "NM1": constant("clock"),
            "NM2": constant("I0"),
        }
        return {f"scaler1.{field}": record for field, record in fields.items()}

    def _counting(self, t: float) -> int:
        return int(self._window[0] <= t < self._window[1])

    def _elapsed(self, t: float) -> tuple[float, float]:
        """Start and length of the count that the fields show."""
        start, stop = self._window
        if self._counting(t):
            return start, t - start
        if not self._continuous or t < stop + self._background_s:
            return start, stop - start
        done = math.floor((t - stop) / self._background_s)
        return stop + (done - 1) * self._background_s, self._background_s

    def _counts(self, start: float, length: float) -> float:
        mean = max(0.0, self._world.i0_rate(max(0.0, start + 0.5 * length)) * length)
        return float(self._noise.generator(("I0", round(start, 6), round(length, 6))).poisson(mean))

    def _count(self, t: float, go: int) -> None:
        if go:
            self._window = (t, t + self._preset_s)
        elif self._counting(t):
            self._window = (self._window[0], t)

    def _set_continuous(self, t: float, mode: int) -> None:
        self._continuous = mode

    def _set_preset(self, t: float, seconds: float) -> None:
        self._preset_s = _positive("TP", seconds)

    def _set_background(self, t: float, seconds: float) -> None:
        self._background_s = _positive("TP1", seconds)


def _positive(field: str, seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"{field} of scaler1 is {seconds!r} s: a finite number above 0 is accepted")
    return seconds
