"""`analyse pressure_gauge` on spectra that others measured: ruby fluorescence or the Raman edge of the anvil."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import raman_edge, ruby
from .estimate import Estimate
from .file_series import answer_of
from .pressure_scales import AKAHAMA_2006, REFERENCE_K, RUBY_2020, SCALES
from .readers.spe import SpectrometerFrames, read_spe

_BOTH = {
    "gauge": "ruby or raman",
    "scale": f"a scale of the gauge: {', '.join(f'{scale.name} ({scale.gauge})' for scale in SCALES.values())}",
    "rows": "rows of the sensor to sum, 11-24, both ends included, counted from 0",
    "columns": "columns to use, 82-752, both ends included, counted from 0",
    "region": "region of the sensor, counted from 0, where a file has several",
}
ACCEPTED: Mapping[str, Mapping[str, str]] = {
    "ruby": _BOTH
    | {
        "lambda0_nm": "R1 at ambient pressure and 300 K",
        "temperature_k": "temperature of the ruby",
        "temperature_error_k": "its standard uncertainty",
        "calibration_error_nm": "standard uncertainty of the wavelength of R1 against lambda0_nm",
    },
    "raman": _BOTH
    | {
        "laser_nm": "wavelength of the exciting laser; needed",
        "window": "width in cm^-1 over which the edge is smoothed",
        "calibration_error": "standard uncertainty of the wavenumbers in cm^-1",
    },
}


@dataclass(frozen=True)
class Settings:
    """What `ACCEPTED` describes, as values."""

    gauge: str = "ruby"
    scale: str = ""
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    region: int | None = None
    lambda0_nm: float = RUBY_2020.reference
    temperature_k: float = REFERENCE_K
    temperature_error_k: float = 0.0
    calibration_error_nm: float = ruby.CALIBRATION_ERROR_NM
    laser_nm: float | None = None
    window: float = raman_edge.WINDOW
    calibration_error: float = raman_edge.CALIBRATION_ERROR


def analyse_files(paths: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Pressure from spectra of one gauge, the frames of a file summed.

    Args:
        paths: `.spe` files of WinSpec or LightField, in the order of time.
        settings: names and values as text, see `ACCEPTED`; without any, ruby on Ruby2020 over all rows and columns.

    Returns:
        Ready for JSON: `results` {name: {value, error, systematic, unit}} of the whole set (means over the files),
        `history` (names of what is worth following through a series), `files` [{file, results, left_out, notes}]; the
        scale is in the notes.

    Raises:
        ValueError: one line that says what is wrong, where, and what is accepted.
    """
    chosen = read_settings(settings or {})
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("no file to analyse: give .spe files")
    odd = sorted({path.suffix or "no suffix" for path in files if path.suffix.lower() != ".spe"})
    if odd:
        raise ValueError(f"cannot analyse {', '.join(odd)} here: .spe files are accepted")
    return answer_of([_analyse(path, chosen) for path in files])


def read_settings(settings: Mapping[str, str]) -> Settings:
    """Settings from text.

    Raises:
        ValueError: a name does not belong to the gauge (the message lists those that do) or a value cannot be read.
    """
    gauge = str(settings.get("gauge", "ruby"))
    if gauge not in ACCEPTED:
        raise ValueError(f"setting gauge={gauge:.60}: expected {_BOTH['gauge']}")
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in ACCEPTED[gauge]:
            raise ValueError(f"unknown setting {name!r} for gauge {gauge}: accepted are {', '.join(ACCEPTED[gauge])}")
        try:
            values[name] = _READERS.get(name, _number)(str(text).strip())
        except ValueError as problem:
            raise ValueError(f"setting {name}={text!s:.60}: {problem}; expected {ACCEPTED[gauge][name]}") from None
    if gauge == "raman" and "laser_nm" not in values:
        raise ValueError("set laser_nm=NANOMETRES: the Raman shift counts from the laser")
    return Settings(**values)


def _number(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < np.inf:
        raise ValueError("not a finite number from 0")
    return value


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise ValueError("not FIRST-LAST")
    return int(first), int(last)


_READERS: dict[str, Callable[[str], Any]] = {
    "gauge": str,
    "scale": str,
    "rows": _range,
    "columns": _range,
    "region": int,
}


def _analyse(path: Path, settings: Settings) -> dict[str, Any]:
    frames = read_spe(path, region=settings.region)
    try:
        estimate, notes = (_ruby if settings.gauge == "ruby" else _raman)(*_spectrum(frames, settings), settings)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    notes.insert(0, f"pressure scale: {estimate.scale}")
    if len(frames.counts) > 1:
        notes.append(f"{len(frames.counts)} frames summed")
    plain = {name: asdict(quantity) for name, quantity in estimate.quantities().items()}
    for quantity in plain.values():
        del quantity["model"]
    return {"file": str(path), "results": plain, "left_out": [], "notes": notes}


def _spectrum(frames: SpectrometerFrames, settings: Settings) -> tuple[Any, Any, Any]:
    """Wavelengths, summed counts and saturated channels of the chosen pixels."""
    if frames.wavelength_nm is None:
        raise ValueError("the file has no calibration of the wavelength")
    _, n_rows, n_columns = frames.counts.shape
    rows = _slice("rows", settings.rows, n_rows)
    columns = _slice("columns", settings.columns, n_columns)
    pixels = frames.counts[:, rows, columns]
    return frames.wavelength_nm[columns], pixels.sum(axis=(0, 1)), (pixels >= frames.saturation).any(axis=(0, 1))


def _slice(name: str, chosen: tuple[int, int] | None, n: int) -> slice:
    if chosen is None:
        return slice(None)
    if chosen[1] >= n:
        raise ValueError(f"setting {name}={chosen[0]}-{chosen[1]}: the file has 0-{n - 1}")
    return slice(chosen[0], chosen[1] + 1)


def _ruby(wavelength_nm: Any, counts: Any, saturated: Any, settings: Settings) -> tuple[Estimate, list[str]]:
    lines = ruby.fit_lines(
        wavelength_nm, counts, saturated=saturated, calibration_error_nm=settings.calibration_error_nm
    )
    estimate = ruby.ruby_pressure(
        lines,
        scale=settings.scale or RUBY_2020.name,
        lambda0_nm=settings.lambda0_nm,
        temperature_k=settings.temperature_k,
        temperature_error_k=settings.temperature_error_k,
    )
    notes = [f"lambda0 {settings.lambda0_nm:g} nm, ruby at {settings.temperature_k:g} K"]
    width = estimate.quantity("width").value
    if width > 2.0 * ruby.AMBIENT_WIDTH_NM:
        notes.append(f"R1 is {width:.1f} nm wide, twice {ruby.AMBIENT_WIDTH_NM:g} or more: pressure is not hydrostatic")
    return estimate, notes


def _raman(wavelength_nm: Any, counts: Any, saturated: Any, settings: Settings) -> tuple[Estimate, list[str]]:
    assert settings.laser_nm is not None
    shift = raman_edge.raman_shift(wavelength_nm, settings.laser_nm)
    edge = raman_edge.fit_edge(
        shift, counts, saturated=saturated, window=settings.window, calibration_error=settings.calibration_error
    )
    estimate = raman_edge.edge_pressure(edge, scale=settings.scale or AKAHAMA_2006.name)
    return estimate, [f"Raman shift from {settings.laser_nm:g} nm"]
