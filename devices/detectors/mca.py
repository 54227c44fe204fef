"""Multi-element energy-dispersive detectors behind multichannel-analyser records."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ophyd import Component as Cpt
from ophyd import Kind

from ..epics import EpicsInstrument
from ..errors import LimitError, LinkTimeout
from ..instrument import Reading, Setpoint
from ..link import Steps

N_ELEMENTS: Final = 10
N_CHANNELS: Final = 2048
POLL_S: Final = 0.1
MARGIN_S: Final = 30.0


def _each(field: str) -> tuple[str, ...]:
    """A field of every element's record."""
    return tuple(f"mca{i}.{field}" for i in range(1, N_ELEMENTS + 1))


def _counts(spectra: Sequence[Any]) -> np.ndarray:
    counts = np.stack(spectra)
    if counts.shape != (N_ELEMENTS, N_CHANNELS):
        raise ValueError(f"spectra of shape {counts.shape}, expected {(N_ELEMENTS, N_CHANNELS)}")
    return counts


def _calibration(field: str, unit: str) -> Any:
    zeros = np.zeros(N_ELEMENTS)
    return Cpt(Reading, query=_each(field), parse=np.array, unit=unit, value=zeros, kind=Kind.config)


class MultiElementDetector(EpicsInstrument):
    """Ten elements of 2048 channels: `EraseStart`, `StopAll`, `PresetReal`, `Acquiring` and records `mca1` to `mca10`.

    Names and fields are those of the synApps modules mca and dxp, as GSECARS uses them. `azimuths_deg` (n_elements,)
    belongs to the geometry and no record: 0 along the axis of compression.

    `trigger` erases, counts for `exposure` seconds of real time and fetches spectra, live and real times in one
    pipelined request. Reads `<name>_spectra` (n_elements, n_channels), `<name>_live_time` and `<name>_real_time`
    (n_elements,) s; the calibration stands in its configuration.

    Raises:
        ValueError: the number of azimuths is not that of the elements.
    """

    spectra = Cpt(
        Reading,
        query=_each("VAL"),
        parse=_counts,
        plausible=(0, 2**31),
        unit="counts",
        value=np.zeros((N_ELEMENTS, N_CHANNELS), np.int32),
    )
    live_time = Cpt(
        Reading, query=_each("ELTM"), parse=np.array, plausible=(0, 1e6), unit="s", value=np.zeros(N_ELEMENTS)
    )
    real_time = Cpt(
        Reading, query=_each("ERTM"), parse=np.array, plausible=(0, 1e6), unit="s", value=np.zeros(N_ELEMENTS)
    )
    exposure = Cpt(Setpoint, command="PresetReal", unit="s", limits=(0.1, 3600.0), tolerance=1e-6, kind=Kind.config)
    offset = _calibration("CALO", "keV")
    slope = _calibration("CALS", "keV")
    quad = _calibration("CALQ", "keV")
    two_theta = _calibration("TTH", "deg")
    azimuth = Cpt(Reading, query=None, unit="deg", value=np.zeros(N_ELEMENTS), kind=Kind.config)

    def __init__(self, *, azimuths_deg: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(azimuths_deg) != N_ELEMENTS:
            raise ValueError(f"azimuths_deg has {len(azimuths_deg)} values; accepted is one for each of {N_ELEMENTS}")
        azimuths = np.array(azimuths_deg, dtype=float)
        if not np.all(np.isfinite(azimuths)):
            raise ValueError(f"azimuths_deg = {list(azimuths_deg)}; accepted are finite numbers")
        self.azimuth.put(azimuths, timestamp=self.clock.time())

    def acquire(self) -> Steps:
        """The job of `trigger`."""
        self.fetch(self.exposure)
        exposure = self.exposure.get()
        if not exposure > 0:
            raise LimitError(f"{self.exposure.name} = {exposure:g} would count for ever; set it first")
        self.start("EraseStart", 1)
        deadline = self.clock.monotonic() + exposure + MARGIN_S
        pause = exposure
        while True:
            yield pause
            (acquiring,) = self.ask("Acquiring")
            if not acquiring:
                break
            if self.clock.monotonic() > deadline:
                self.start("StopAll", 1)
                raise LinkTimeout(f"{self.name}: still acquiring {MARGIN_S:g} s after an exposure of {exposure:g} s")
            pause = POLL_S
        self.fetch(*self._read_readings())
