"""Settings of `analyse thermoreflectance`: names with units, text in, values out."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .embedded_samples import FRONT, REAR, EmbeddedSample
from .heat_layers import Interface, Layer, Stack
from .tdtr import RELATIVE_ERRORS as LAYER_ERRORS
from .tdtr import PulsedLaser
from .transients import RELATIVE_ERRORS as SAMPLE_ERRORS

DELAY_SCAN = {
    "layers": "from the heated surface inwards, in SI units, NAME:CONDUCTIVITY:HEAT_CAPACITY:THICKNESS for a layer (no"
    " thickness if it has no end) and NAME:CONDUCTANCE for an interface, Al:237:2.42e6:8e-8,G:1.3e8,Si:140:1.63e6",
    "fit": "what is found, thermal_conductivity_NAME, interface_conductance_NAME, heat_capacity_NAME or thickness_NAME",
    "modulation_hz": "modulation of the pump",
    "repetition_hz": "repetition rate of the laser",
    "pump_radius_um": "1/e2 radius of the pump",
    "probe_radius_um": "1/e2 radius of the probe",
    "delayed_beam": "probe (default) or pump, which one the stage moves",
    "delays_ps": "range of delays to fit, 75-5000 by default",
    "relative_errors": "relative standard uncertainties of what is known, thickness:0.03,heat_capacity_Al:0.02",
}
TRANSIENT = {
    "thickness_um": "thickness of the sample",
    "heat_capacity": "of the sample per volume, J/m3/K",
    "pulse_fwhm_ns": "full width of the pulse and the detector together, 0 if they are fast",
    "film_capacity": "heat capacity of each film per area, J/m2/K, 0 by default",
    "film_conductance": "of the boundary between film and sample, W/m2/K",
    "effusivity_medium": "J/m2/K/s^0.5 where it is known; otherwise it is found",
    "probed": "rear (default) or front",
    "time_unit": "of the first column, s (default), us or ns",
    "relative_errors": "relative standard uncertainties of what is known, thickness:0.05,heat_capacity:0.03",
}


@dataclass(frozen=True)
class DelayScanSettings:
    """What `DELAY_SCAN` describes, as values."""

    layers: dict[str, Layer | Interface]
    fit: list[str]
    laser: PulsedLaser
    delays_s: tuple[float, float]
    relative_errors: dict[str, float]


@dataclass(frozen=True)
class TransientSettings:
    """What `TRANSIENT` describes, as values; `time_unit` in s."""

    sample: EmbeddedSample
    probed: str
    effusivity_medium: float | None
    time_unit: float
    relative_errors: dict[str, float]


def read_delay_scan_settings(settings: Mapping[str, str]) -> DelayScanSettings:
    """Settings for delay scans from text.

    Raises:
        ValueError: a name is not known or missing (the message lists the accepted ones), or a value cannot be read.
    """
    values = _read(settings, DELAY_SCAN, "delay scans", 6)
    low, high = values.get("delays_ps", (75.0, 5000.0))
    return DelayScanSettings(
        layers=values["layers"],
        fit=values["fit"],
        laser=PulsedLaser(
            values["modulation_hz"],
            values["repetition_hz"],
            1e-6 * values["pump_radius_um"],
            1e-6 * values["probe_radius_um"],
            values.get("delayed_beam", "probe"),
        ),
        delays_s=(1e-12 * low, 1e-12 * high),
        relative_errors={**LAYER_ERRORS, **values.get("relative_errors", {})},
    )


def read_transient_settings(settings: Mapping[str, str]) -> TransientSettings:
    """Settings for transients from text.

    Raises:
        ValueError: as `read_delay_scan_settings`.
    """
    values = _read(settings, TRANSIENT, "transients", 3)
    return TransientSettings(
        sample=EmbeddedSample(
            thickness=1e-6 * values["thickness_um"],
            heat_capacity=values["heat_capacity"],
            pulse_fwhm=1e-9 * values["pulse_fwhm_ns"],
            film_capacity=values.get("film_capacity", 0.0),
            film_conductance=values.get("film_conductance", math.inf),
        ),
        probed=values.get("probed", REAR),
        effusivity_medium=values.get("effusivity_medium"),
        time_unit=_TIME_UNITS[values.get("time_unit", "s")],
        relative_errors={**SAMPLE_ERRORS, **values.get("relative_errors", {})},
    )


def _read(settings: Mapping[str, str], accepted: Mapping[str, str], kind: str, needed: int) -> dict[str, Any]:
    for name in settings:
        if name not in accepted:
            raise ValueError(f"unknown setting {name!r} for {kind}: accepted are {', '.join(accepted)}")
    for name in list(accepted)[:needed]:
        if name not in settings:
            raise ValueError(f"setting {name} is missing for {kind}: {accepted[name]}")
    values: dict[str, Any] = {}
    for name, text in settings.items():
        try:
            values[name] = _READERS.get(name, _positive)(str(text).strip())
        except ValueError as problem:
            raise ValueError(f"setting {name}={text!s:.60}: {problem}; expected {accepted[name]}") from None
    return values


def _number(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise ValueError("not a number >= 0")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < math.inf:
        raise ValueError("not a number > 0")
    return value


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", text) if word]


def _range(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    if not dash or not _positive(low) < _positive(high):
        raise ValueError("not LOW-HIGH")
    return _positive(low), _positive(high)


def _layers(text: str) -> dict[str, Layer | Interface]:
    layers: dict[str, Layer | Interface] = {}
    for word in _words(text):
        name, *numbers = word.split(":")
        if not name or name in layers or not 1 <= len(numbers) <= 3:
            raise ValueError(f"{word!r} is not NAME and 1 to 3 numbers, each name once")
        values = [float(number) for number in numbers]
        try:
            layers[name] = Interface(*values) if len(values) == 1 else Layer(*values)
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from None
    Stack(tuple(layers.values()))  # refuses what cannot be stacked
    return layers


def _errors(text: str) -> dict[str, float]:
    pairs = [word.partition(":") for word in _words(text)]
    return {name: _number(error) for name, _, error in pairs}


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError("unknown")
        return text

    return read


_TIME_UNITS = {"s": 1.0, "us": 1e-6, "ns": 1e-9}
_READERS: dict[str, Callable[[str], object]] = {
    "layers": _layers,
    "fit": _words,
    "delayed_beam": _one_of(("probe", "pump")),
    "delays_ps": _range,
    "relative_errors": _errors,
    "pulse_fwhm_ns": _number,
    "film_capacity": _number,
    "probed": _one_of((REAR, FRONT)),
    "time_unit": _one_of(tuple(_TIME_UNITS)),
}
