"""EPICS multi-element detector files (`.med`): header, environment lines, one row of counts per channel."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENVIRONMENT = re.compile(r'^\s*(?P<pv>\S+?)="(?P<value>.*)"\s*\((?P<description>.*)\)\s*$')
_PER_DETECTOR = ("REAL_TIME", "LIVE_TIME", "CAL_OFFSET", "CAL_SLOPE", "CAL_QUAD", "TWO_THETA")
_REQUIRED = ("CAL_OFFSET", "CAL_SLOPE")


@dataclass(frozen=True)
class MedFile:
    """One file as it was written; nothing is corrected.

    `spectra` (n_det, n_ch) counts; `offset_kev`, `slope_kev`, `quad_kev`, `two_theta_deg`, `live_time_s`, `real_time_s`
    (n_det,), NaN where the file does not say; `environment` {process variable: (value, description)}; `dead`
    {detector number from 1: why}; `notes` what was missing or odd.
    """

    path: Path
    date: str
    spectra: NDArray[np.int64]
    offset_kev: Floats
    slope_kev: Floats
    quad_kev: Floats
    two_theta_deg: Floats
    live_time_s: Floats
    real_time_s: Floats
    environment: dict[str, tuple[str, str]]
    dead: dict[int, str]
    notes: tuple[str, ...] = field(default=())


def read_med(path: str | Path) -> MedFile:
    """Read a multi-element detector file of any number of detectors and channels, with Unix or DOS line ends.

    Raises:
        ValueError: the file is cut short or not of this kind; the message names file and line.
        OSError: the file cannot be opened.

    Source: the layout is that written by the EPICS MCA tools (Rivers, MCA application, version 3.1 files).
    """
    path = Path(path)
    raw = path.read_bytes()
    if b"\0" in raw:
        raise ValueError(f"{path}: line 1: binary content, expected the text header of a multi-element detector file")
    lines = raw.decode("latin-1").splitlines()
    header, environment, first, notes = _read_header(path, lines)
    n_det = _count_of_detectors(path, header)
    columns, missing = _columns(path, header, n_det)
    notes += [f"{key} is missing" for key in missing]
    n_channels = _integer(path, header, "CHANNELS")
    if n_channels is None:
        notes.append("CHANNELS is missing: a file cut at a line end cannot be told from a whole one")
    spectra = _read_counts(path, lines, first, n_det, n_channels)
    return MedFile(
        path=path,
        date=header.get("DATE", (0, ""))[1],
        spectra=spectra,
        offset_kev=columns["CAL_OFFSET"],
        slope_kev=columns["CAL_SLOPE"],
        quad_kev=np.nan_to_num(columns["CAL_QUAD"]),
        two_theta_deg=columns["TWO_THETA"],
        live_time_s=columns["LIVE_TIME"],
        real_time_s=columns["REAL_TIME"],
        environment=environment,
        dead=_dead(spectra, columns),
        notes=tuple(notes),
    )


def _read_header(
    path: Path, lines: Sequence[str]
) -> tuple[dict[str, tuple[int, str]], dict[str, tuple[str, str]], int, list[str]]:
    """Header keys with their line numbers, environment, index of the first line of counts, notes."""
    header: dict[str, tuple[int, str]] = {}
    environment: dict[str, tuple[str, str]] = {}
    notes: list[str] = []
    for number, line in enumerate(lines, start=1):
        key, colon, rest = line.partition(":")
        if not line.strip():
            continue
        if not colon or not re.fullmatch(r"[A-Z][A-Z0-9_]*", key):
            raise ValueError(f"{path}: line {number}: expected 'KEY: values', found {line[:40]!r}")
        if key == "DATA":
            return header, environment, number, notes
        if key != "ENVIRONMENT":
            header[key] = (number, rest.strip())
        elif match := _ENVIRONMENT.match(rest):
            environment[match["pv"]] = (match["value"], match["description"].strip())
        else:
            notes.append(f"line {number}: environment entry not understood")
    raise ValueError(f"{path}: line {len(lines)}: the file ends before its DATA")


def _integer(path: Path, header: dict[str, tuple[int, str]], key: str) -> int | None:
    if key not in header:
        return None
    number, text = header[key]
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{path}: line {number}: {key} is {text[:20]!r}, expected a positive whole number")
    return int(text)


def _count_of_detectors(path: Path, header: dict[str, tuple[int, str]]) -> int:
    for key in _REQUIRED:
        if key not in header:
            line = max((number for number, _ in header.values()), default=1)
            raise ValueError(f"{path}: line {line}: header ends without {key}, the energy calibration is needed")
    return _integer(path, header, "ELEMENTS") or len(header["CAL_OFFSET"][1].split())


def _columns(path: Path, header: dict[str, tuple[int, str]], n_det: int) -> tuple[dict[str, Floats], list[str]]:
    """Values per detector, NaN for keys the file does not have, and the names of those keys."""
    columns: dict[str, Floats] = {}
    missing: list[str] = []
    for key in _PER_DETECTOR:
        if key not in header:
            missing.append(key)
            columns[key] = np.full(n_det, np.nan)
            continue
        number, text = header[key]
        try:
            values = np.array([float(word) for word in text.split()])
        except ValueError:
            raise ValueError(
                f"{path}: line {number}: {key} holds something that is not a number: {text[:40]!r}"
            ) from None
        if len(values) != n_det:
            raise ValueError(f"{path}: line {number}: {key} has {len(values)} values, expected one for each of {n_det}")
        columns[key] = values
    return columns, missing


def _read_counts(path: Path, lines: Sequence[str], first: int, n_det: int, n_channels: int | None) -> NDArray[np.int64]:
    rows = list(lines[first:])
    while rows and not rows[-1].strip():
        rows.pop()
    if n_channels is not None and len(rows) > n_channels:
        raise ValueError(f"{path}: line {first + n_channels + 1}: more rows of counts than the {n_channels} CHANNELS")
    for number, row in enumerate(rows, start=first + 1):
        words = row.split()
        if len(words) != n_det or not all(word.isdigit() for word in words):
            raise ValueError(f"{path}: line {number}: expected {n_det} counts, found {row.strip()[:40]!r}")
    if not rows or (n_channels is not None and len(rows) < n_channels):
        wanted = n_channels or "some"
        raise ValueError(f"{path}: line {first + len(rows)}: the file ends after {len(rows)} of {wanted} channels")
    return np.array([row.split() for row in rows], dtype=np.int64).T


def _dead(spectra: NDArray[np.int64], columns: dict[str, Floats]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for i, spectrum in enumerate(spectra):
        if not columns["CAL_SLOPE"][i] > 0 or not np.isfinite(columns["CAL_OFFSET"][i]):
            reasons[i + 1] = "no energy calibration"
        elif not spectrum.any():
            reasons[i + 1] = "no counts"
    return reasons
