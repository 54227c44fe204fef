"""Settings of `analyse dac_conductivity`: the cell, and what to predict for. Names with units, text in, values out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .bloch_grueneisen import ResistivityModel
from .delta_mode import ResistanceErrors
from .readers.columns import read_columns
from .resistivity import Foil, TemperatureProfile
from .wiedemann_franz import LORENZ_ERROR, SOMMERFELD

TEMPERATURE_SCALE_ERROR = 0.03
"""Systematic standard uncertainty of temperatures by radiometry, fraction of the rise above 300 K: an assumption."""

ACCEPTED = {
    "length_um": "length between the voltage leads, needed",
    "width_um": "width of the foil, needed",
    "thickness_um": "thickness of the foil before compression, needed",
    "pressure_gpa": "pressure of the cell, needed",
    "pressure_error_gpa": "its standard uncertainty",
    "length_error": "relative standard uncertainty of the length",
    "width_error": "relative standard uncertainty of the width",
    "thickness_error": "relative standard uncertainty of the thickness under pressure",
    "target_pressure_gpa": "pressure to predict for, that of the cell by default",
    "target_temperature_k": "temperature to predict for",
    "target_temperature_error_k": "its standard uncertainty",
    "temperature_scale_error": "systematic uncertainty of all temperatures, as a fraction of the rise above 300 K",
    "profile": "FILE with columns position_um and rise (0 to 1) of the temperature along the foil",
    "thermal_expansion": "yes (volume at pressure and temperature) or no (volume before heating)",
    "exponent": "3 or 5, of the Bloch-Grueneisen integral",
    "solutes_ohm_m": "ideal resistivity that solutes add",
    "current_error": "relative standard uncertainty of the current",
    "meter_gain_error": "relative standard uncertainty of the voltmeter's gain",
    "thermoelectric_v": "standard uncertainty of voltages that follow the sign of the current",
    "series_ohm": "standard uncertainty of the resistance measured with the sample, without four leads",
    "lorenz": "Lorenz number in W ohm K^-2",
    "lorenz_error": "its relative standard uncertainty",
}

_NEEDED = ("length_um", "width_um", "thickness_um", "pressure_gpa")
_TARGET = ("target_pressure_gpa", "target_temperature_k", "target_temperature_error_k")


@dataclass(frozen=True)
class Cell:
    """The sample in its cell, and what all steps of a run have in common.

    `pressure_gpa` with its systematic standard uncertainty is that before heating; with `model.thermal_expansion` that
    at temperature. `temperature_scale_error` is the systematic one of the temperatures as a fraction of their rise
    above 300 K.
    """

    foil: Foil
    pressure_gpa: float
    pressure_error_gpa: float = 0.0
    model: ResistivityModel = field(default_factory=ResistivityModel)
    profile: TemperatureProfile | None = None
    errors: ResistanceErrors = field(default_factory=ResistanceErrors)
    temperature_scale_error: float = TEMPERATURE_SCALE_ERROR
    lorenz: float = SOMMERFELD
    lorenz_error: float = LORENZ_ERROR


def read_settings(settings: Mapping[str, str]) -> tuple[Cell, dict[str, float]]:
    """The cell, and `pressure_gpa`, `temperature_k`, `temperature_error_k` to predict for as far as they are given.

    Raises:
        ValueError: a name is not known (the message lists the accepted ones) or missing, or a value cannot be read.
    """
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in ACCEPTED:
            raise ValueError(f"unknown setting {name!r} for a diamond cell: accepted are {', '.join(ACCEPTED)}")
        try:
            values[name] = _READERS.get(name, _number)(text.strip())
        except (ValueError, OSError) as problem:
            raise ValueError(f"setting {name}={text:.60}: {problem}; expected {ACCEPTED[name]}") from None
    for name in _NEEDED:
        if name not in values:
            raise ValueError(f"setting {name} is missing: {ACCEPTED[name]}")

    def given(*names: str, **renamed: str) -> dict[str, Any]:
        renamed |= {name: name for name in names}
        return {argument: values[name] for argument, name in renamed.items() if name in values}

    length, width, thickness, pressure = (values[name] for name in _NEEDED)
    cell = Cell(
        Foil(length * 1e-6, width * 1e-6, thickness * 1e-6, **given("length_error", "width_error", "thickness_error")),
        pressure,
        model=ResistivityModel(**given("solutes_ohm_m", "thermal_expansion", n="exponent")),
        errors=ResistanceErrors(
            **given("thermoelectric_v", "series_ohm", current="current_error", meter_gain="meter_gain_error")
        ),
        **given("pressure_error_gpa", "profile", "temperature_scale_error", "lorenz", "lorenz_error"),
    )
    return cell, given(**{name.removeprefix("target_"): name for name in _TARGET})


def _number(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0.0):
        raise ValueError("not a finite number >= 0")
    return value


def _exponent(text: str) -> int:
    if text not in ("3", "5"):
        raise ValueError("neither 3 nor 5")
    return int(text)


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("neither yes nor no")
    return text == "yes"


def _profile(text: str) -> TemperatureProfile:
    position_um, rise = read_columns(Path(text), ("position_um", "rise")).T
    return TemperatureProfile(tuple(1e-6 * position_um), tuple(rise))


_READERS = {"profile": _profile, "thermal_expansion": _yes_or_no, "exponent": _exponent}
