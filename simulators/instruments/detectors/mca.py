"""A multi-element energy-dispersive detector: the multichannel-analyser records of synApps.

Names after the `mca` and `dxp` modules as they are used at GSECARS: `EraseStart`, `StopAll`, `EraseAll`, `PresetReal`,
`ElapsedReal`, `Acquiring`, and one mca record per element with VAL, ELTM, ERTM, CALO, CALS, CALQ, TTH, NUSE.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record, command, constant

ROUNDING_S = 1e-7


class World(Protocol):
    """What falls on the detector."""

    def spectra(
        self, t_start: float, t_stop: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        """Counts (n_elements, n_channels), live times (n_elements,) and real time of an exposure."""
        ...

    def element_calibration(self) -> Mapping[str, Sequence[float]]:
        """Offset, slope and quad (keV) and 2theta (deg) of the elements as the beamline believes."""
        ...


class SimulatedMultiElementDetector:
    """The elements count together; an exposure ends by itself after `PresetReal`, or goes on for ever with 0."""

    wire = "channel access"

    def __init__(
        self, *, name: str, world: World, clock: Clock, noise: Noise, n_channels: int = 2048, preset_s: float = 1.0
    ) -> None:
        self.name = name
        self._world, self._noise = world, noise
        self._calibration = world.element_calibration()
        self._n_elements, self._n_channels = len(self._calibration["offset_kev"]), n_channels
        self._preset_s = preset_s
        self._start_s = self._stop_s = 0.0
        self._number = 0
        self._memory: tuple[tuple[int, float], tuple[Any, Any, float]] | None = None

    def records(self) -> dict[str, Record]:
        """The detector's and the elements' records."""
        records = {
            "EraseStart": command(self._erase_start),
            "EraseAll": command(self._erase),
            "StopAll": command(self._stop),
            "PresetReal": Record(lambda t: self._preset_s, self._set_preset, unit="s"),
            "ElapsedReal": Record(lambda t: self._counts(t)[2], unit="s"),
            "Acquiring": Record(lambda t: int(self._acquiring(t)), kind="enum", states=("Done", "Acquiring")),
        }
        for i in range(self._n_elements):
            records |= {f"mca{i + 1}.{field}": record for field, record in self._element(i).items()}
        return records

    def _element(self, i: int) -> dict[str, Record]:
        calibrated = {"CALO": "offset_kev", "CALS": "slope_kev", "CALQ": "quad_kev", "TTH": "two_theta_deg"}
        fields = {field: constant(float(self._calibration[key][i])) for field, key in calibrated.items()}
        return fields | {
            "VAL": Record(self._spectrum(i), kind="long", count=self._n_channels),
            "ELTM": Record(lambda t: float(self._counts(t)[1][i]), unit="s"),
            "ERTM": Record(lambda t: self._counts(t)[2], unit="s"),
            "NUSE": Record(lambda t: self._n_channels, kind="long"),
            "EGU": constant("keV"),
        }

    def _spectrum(self, i: int) -> Callable[[float], NDArray[np.int64]]:
        return lambda t: self._counts(t)[0][i]

    def _acquiring(self, t: float) -> bool:
        return self._start_s <= t < self._stop_s - ROUNDING_S

    def _counts(self, t: float) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        """Spectra, live times and real time as they stand; the same every time one exposure is read."""
        stop = min(t, self._stop_s)
        if not stop > self._start_s:
            n = self._n_elements
            return np.zeros((n, self._n_channels), np.int64), np.zeros(n), 0.0
        key = (self._number, stop)
        if self._memory is None or self._memory[0] != key:
            rng = self._noise.generator(("exposure", self._number, round(stop - self._start_s, 6)))
            counts, live, real = self._world.spectra(self._start_s, stop, rng)
            self._memory = key, (counts, live, float(real))
        return self._memory[1]

    def _erase_start(self, t: float) -> None:
        self._number += 1
        self._start_s = t
        self._stop_s = t + self._preset_s if self._preset_s > 0 else float("inf")

    def _erase(self, t: float) -> None:
        self._number += 1
        if self._acquiring(t):
            self._start_s = t
        else:
            self._start_s = self._stop_s = t

    def _stop(self, t: float) -> None:
        if self._acquiring(t):
            self._stop_s = t

    def _set_preset(self, t: float, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"PresetReal is {seconds!r} s: 0 or more is accepted")
        self._preset_s = seconds
