"""`analyse thermoreflectance` on files that others measured: scans of the delay (`.mat`), transients as text."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .estimate import Floats, Quantity
from .file_series import answer_of
from .readers.tdtr import read_tdtr
from .tdtr import fit_ratio, reference_phase
from .thermal_fits import ThermalFit
from .thermoreflectance_settings import (
    DelayScanSettings,
    TransientSettings,
    read_delay_scan_settings,
    read_transient_settings,
)
from .transients import fit_transient

TEXT_SUFFIXES = (".txt", ".dat", ".csv", ".xy")

_TERMS_TOLD = 3


def analyse_files(paths: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Thermal conductivities from thermoreflectance.

    Args:
        paths: scans of the delay (`.mat`, see `readers.tdtr`), or text files with a time and a signal in each row; one
            kind at a time.
        settings: names and values as text, see `thermoreflectance_settings`.

    Returns:
        Ready for JSON: `results` {name: {value, error, systematic, unit}} of the whole set, `history` (names of what is
        worth following), `files` [{file, results, left_out, notes}].

    Raises:
        ValueError: one line that says what is wrong, where, and what is accepted.
        OSError: a file cannot be opened.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError(f"no file to analyse: give .mat or {', '.join(TEXT_SUFFIXES)}")
    kinds = {path.suffix.lower() for path in files}
    if kinds == {".mat"}:
        scan_settings = read_delay_scan_settings(settings or {})
        reduced = [_analyse_scan(path, scan_settings) for path in files]
    elif kinds <= set(TEXT_SUFFIXES):
        transient_settings = read_transient_settings(settings or {})
        reduced = [_analyse_transient(path, transient_settings) for path in files]
    else:
        odd = ", ".join(sorted(kind or "no suffix" for kind in kinds))
        raise ValueError(f"cannot analyse {odd} here: one kind at a time, .mat or {', '.join(TEXT_SUFFIXES)}")
    answer = answer_of(reduced)
    return {**answer, "history": list(answer["results"])}


def read_transient(path: Path) -> tuple[Floats, Floats]:
    """Time and signal, (n,) each, from two columns of text; `#` begins a comment, a first line of names is passed over.

    Raises:
        ValueError: a row has not two finite numbers, or there is none; file and line are named.
        OSError: the file cannot be opened.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        words = [word for word in re.split(r"[,;\s]+", line.partition("#")[0]) if word]
        if not words or (number == 1 and words[0][0].isalpha()):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != 2 or not np.isfinite(row).all():
            raise ValueError(f"{path}: line {number}: expected a time and a signal, found {line.strip()[:40]!r}")
        rows.append(row)
    if not rows:
        raise ValueError(f"{path}: no row with a time and a signal")
    time, signal = np.array(rows).T
    return time, signal


def _analyse_scan(path: Path, settings: DelayScanSettings) -> dict[str, Any]:
    scan = read_tdtr(path)
    try:
        phase = reference_phase(scan)
        found = fit_ratio(
            scan.turned(phase.value),
            settings.layers,
            settings.fit,
            settings.laser,
            delays_s=settings.delays_s,
            phase_error_rad=phase.error,
            relative_errors=settings.relative_errors,
        )
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    degrees = Quantity(math.degrees(phase.value), math.degrees(phase.error), 0.0, "deg", phase.model)
    notes = [f"reduced chi squared {found.estimate.chi2_red:.2f}"]
    return _told(path, found, {"reference_phase": degrees}, notes)


def _analyse_transient(path: Path, settings: TransientSettings) -> dict[str, Any]:
    time, signal = read_transient(path)
    try:
        found = fit_transient(
            settings.time_unit * time,
            signal,
            settings.sample,
            probed=settings.probed,
            effusivity_medium=settings.effusivity_medium,
            relative_errors=settings.relative_errors,
        )
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return _told(path, found, {}, [])


def _told(path: Path, found: ThermalFit, more: Mapping[str, Quantity], notes: list[str]) -> dict[str, Any]:
    first = found.estimate.names[0]
    size = {name: abs(float(term[0] / found.estimate.values[0])) for name, term in found.terms.items()}
    largest = sorted(size, key=lambda name: -size[name])[:_TERMS_TOLD]
    if largest:
        notes.append(f"largest systematic terms of {first}: {', '.join(f'{n} {size[n]:.1%}' for n in largest)}")
    results = {**found.estimate.quantities(), **more}
    return {
        "file": str(path),
        "results": {
            name: {"value": q.value, "error": q.error, "systematic": q.systematic, "unit": q.unit}
            for name, q in results.items()
        },
        "left_out": [],
        "notes": notes,
    }
