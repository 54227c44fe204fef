"""Settings of `analyse laser_heating`: names with units, text in, values out."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .pyrometer_response import Lamp, Noise, read_lamp
from .pyrometry import SystematicTerms

ACCEPTED = {
    "calibration": "FILE (.spe) with the spectrum of the lamp, taken as the measurement was",
    "lamp": "FILE with wavelength (nm) and radiance of the lamp in rows",
    "lamp_k": "temperature of the lamp, where it has no table and shines as a black body",
    "rows": "rows of the detector to sum, from 0, both ends included, 152-163",
    "range_nm": "wavelengths to fit, to the nearest pixels, both ends included, 666-836",
    "region": "which region of the detector, from 0, where a file has several",
    "dark": "FILE (.spe) without light or counts per pixel, to subtract from the measurement",
    "calibration_dark": "the same for the calibration",
    "gain": "electrons per count; without it all pixels weigh the same, and their scatter gives the errors",
    "read_noise": "noise of the readout of a pixel in electrons",
    "saturation": "counts from which a pixel is full, where the file does not say",
    "zero_counts": "standard uncertainty of the dark level of a pixel in counts",
    "emissivity_slope_per_um": "standard uncertainty of the relative change of emissivity with wavelength",
    "window_slope_per_um": "the same for the transmission of window and diamond",
    "gradient": "half of the light is colder by this share of the temperature",
    "lamp_error_k": "standard uncertainty of the lamp's temperature",
    "nonlinearity": "relative loss of response where the detector is full",
}

_TERMS = {field.name for field in fields(SystematicTerms)} - {"lamp_k"}


@dataclass(frozen=True)
class Settings:
    """What `ACCEPTED` describes, as values."""

    calibration: Path
    lamp: Lamp
    rows: tuple[int, int] | None
    range_nm: tuple[float, float] | None
    region: int | None
    dark: Path | float | None
    calibration_dark: Path | float | None
    noise: Noise | None
    saturation: float | None
    zero_counts: float
    terms: SystematicTerms


def read_settings(settings: Mapping[str, str]) -> Settings:
    """Settings from text.

    Raises:
        ValueError: a name is not known (the message lists the accepted ones), a value cannot be read or is missing.
    """
    for name in settings:
        if name not in ACCEPTED:
            raise ValueError(f"unknown setting {name!r} for spectra: accepted are {', '.join(ACCEPTED)}")
    values: dict[str, Any] = {}
    for name, text in settings.items():
        try:
            values[name] = _READERS.get(name, _number)(str(text).strip())
        except ValueError as problem:
            raise ValueError(f"setting {name}={text!s:.60}: {problem}; expected {ACCEPTED[name]}") from None
    if "calibration" not in values or ("lamp" in values) == ("lamp_k" in values):
        raise ValueError("calibration=FILE and either lamp=FILE or lamp_k=KELVIN are needed")
    if "read_noise" in values and "gain" not in values:
        raise ValueError("setting read_noise is in electrons and needs gain= too")
    return Settings(
        calibration=values["calibration"],
        lamp=values["lamp"] if "lamp" in values else Lamp(f"{values['lamp_k']:g} K", values["lamp_k"]),
        rows=values.get("rows"),
        range_nm=values.get("range_nm"),
        region=values.get("region"),
        dark=values.get("dark"),
        calibration_dark=values.get("calibration_dark"),
        noise=Noise(values["gain"], values.get("read_noise", 0.0)) if "gain" in values else None,
        saturation=values.get("saturation"),
        zero_counts=values.get("zero_counts", 0.5),
        terms=SystematicTerms(**{name: value for name, value in values.items() if name in _TERMS}),
    )


def _number(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < np.inf:
        raise ValueError("not a number >= 0")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value == 0.0:
        raise ValueError("not a number > 0")
    return value


def _pair(text: str) -> tuple[float, float]:
    match = re.fullmatch(r"(\d+\.?\d*)\s*-\s*(\d+\.?\d*)", text)
    if not match or float(match[1]) > float(match[2]):
        raise ValueError("not LOW-HIGH")
    return float(match[1]), float(match[2])


def _rows(text: str) -> tuple[int, int]:
    low, high = _pair(text)
    if "." in text:
        raise ValueError("not whole numbers")
    return int(low), int(high)


def _dark(text: str) -> Path | float:
    try:
        return _number(text)
    except ValueError:
        return Path(text)


_READERS: dict[str, Callable[[str], object]] = {
    "calibration": Path,
    "lamp": read_lamp,
    "lamp_k": _positive,
    "rows": _rows,
    "range_nm": _pair,
    "region": int,
    "dark": _dark,
    "calibration_dark": _dark,
    "gain": _positive,
    "saturation": _positive,
}
