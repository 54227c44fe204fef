"""`analyse deformation` on files that others measured: spacings, lattice strains, stress and pressure.

Energy-dispersive files (`.med`) are reduced here, images by `angle_dispersive`. Sign convention: compression is
positive, t = sigma3 - sigma1 > 0 is compression along the axis at azimuth 0 (after `axis_azimuth_deg` is subtracted).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .deformation_settings import Settings, read_settings
from .energy_dispersive import Elements, Line, Spacings, calibrate_two_theta, measure_spacings
from .equations_of_state import marker_pressure
from .estimate import Estimate, Quantity
from .file_series import answer_of
from .lattice_strain import SinghFit, differential_stress, fit_axis_azimuth, fit_singh
from .phases import CORUNDUM, CORUNDUM_LINES, MGO, cubic_lines, mgo_elasticity
from .readers.med import MedFile, read_med

IMAGE_SUFFIXES = (".tif", ".tiff", ".edf", ".cbf")
CONVENTION = "t > 0: compression along the axis at azimuth 0; compression positive"

_STRAIN_RANGE = 0.007  # a line further than this from where its phase puts it belongs to another phase
_DISAGREEMENT = 0.003  # lattice parameters of one phase's lines agree better than this
_LEAST_DETECTORS = 4


def analyse_files(paths: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Reduce diffraction files of a deformation experiment.

    Args:
        paths: `.med` files or images of one kind, in the order of time; a `.poni` and a `.mask` among them belong to
            all images, as the settings `calibration` (or `poni`) and `mask` do.
        settings: names and values as text; see `deformation_settings` for `.med` files, `angle_dispersive` for images.

    Returns:
        Ready for JSON: `results` {name: {value, error, systematic, unit}} of the whole set (means over the files),
        `history` (names of what is worth following through a series), `files` [{file, results, left_out, notes}].

    Raises:
        ValueError: one line that says what is wrong, where, and what is accepted.
    """
    files, beside = _apart([Path(path) for path in paths], settings or {})
    if not files:
        raise ValueError("no file to analyse: give .med files or images (" + ", ".join(IMAGE_SUFFIXES) + ")")
    kinds = {path.suffix.lower() for path in files}
    if kinds <= set(IMAGE_SUFFIXES):
        from . import angle_dispersive  # its readers are an extra, wanted only here

        return dict(angle_dispersive.analyse_images(files, beside))
    if kinds != {".med"}:
        odd = ", ".join(sorted(kinds - {".med"})) or "no suffix"
        raise ValueError(f"cannot analyse {odd} here: one kind of file at a time, .med or {', '.join(IMAGE_SUFFIXES)}")
    chosen = read_settings(beside)
    return answer_of([_analyse_med(path, chosen) for path in files])


def _apart(paths: Sequence[Path], settings: Mapping[str, str]) -> tuple[list[Path], dict[str, str]]:
    """Files to reduce, and settings with those of the files that only describe them. Raises ValueError."""
    described = {{"poni": "calibration"}.get(name, name): value for name, value in settings.items()}
    files = []
    for path in paths:
        name = {".poni": "calibration", ".mask": "mask"}.get(path.suffix.lower())
        if name is None:
            files.append(path)
        elif name in described:
            raise ValueError(f"{path}: one {name} for all images is accepted, {described[name]} is given already")
        else:
            described[name] = str(path)
    return files, described


def _analyse_med(path: Path, settings: Settings) -> dict[str, Any]:
    med = read_med(path)
    elements, notes = _elements(med, settings)
    left_out = [f"detector {number}: {reason}" for number, reason in med.dead.items()]
    if len(left_out) == len(med.spectra):
        raise ValueError(f"{path}: no detector is alive ({left_out[0]})")
    results: dict[str, Quantity] = {}
    phase = settings.phase if settings.phase != "auto" else _recognise(med, elements, settings)
    notes.append(f"phase: {phase}" + (" (recognised)" if settings.phase == "auto" else ""))
    lines = _expected(phase, settings)
    if settings.cubic(phase):
        _reduce_cubic(med, elements, lines, settings, results, left_out, notes)
    else:
        spacings = measure_spacings(med.spectra, elements, lines).of_phase(phase)
        _report_lines(spacings, results, left_out)
    return {
        "file": str(path),
        "date": med.date,
        "results": {name: _plain(quantity) for name, quantity in results.items()},
        "left_out": left_out,
        "notes": [*med.notes, *notes],
    }


def _elements(med: MedFile, settings: Settings) -> tuple[Elements, list[str]]:
    """Geometry and calibration from the file and the settings, and what to say about them."""
    n = len(med.spectra)
    azimuth, notes = settings.azimuths_of(n)
    two_theta = np.full(n, settings.two_theta_deg) if settings.two_theta_deg else med.two_theta_deg
    if not np.isfinite(two_theta).any():
        raise ValueError(f"{med.path}: the file has no TWO_THETA: set two_theta_deg=DEGREES")
    elements = Elements(
        azimuth_deg=azimuth - settings.axis_azimuth_deg,
        two_theta_deg=two_theta,
        offset_kev=med.offset_kev,
        slope_kev=med.slope_kev,
        quad_kev=med.quad_kev,
        alive=np.array([number not in med.dead for number in range(1, n + 1)]),
        two_theta_error_deg=np.full(n, settings.two_theta_error_deg),
    )
    if settings.standard is None:
        return elements, notes
    standard = read_med(settings.standard)
    if len(standard.spectra) != n:
        raise ValueError(f"{settings.standard}: the standard has {len(standard.spectra)} detectors, {med.path} has {n}")
    calibrated = calibrate_two_theta(standard.spectra, elements, CORUNDUM_LINES)
    error = np.maximum(calibrated.two_theta_error_deg, 0.0)
    return replace(calibrated, two_theta_error_deg=error), [*notes, f"two theta from corundum in {settings.standard}"]


def _recognise(med: MedFile, elements: Elements, settings: Settings) -> str:
    """The phase whose lines are all there in most live detectors."""
    candidates = {CORUNDUM: (CORUNDUM_LINES, 0.004), MGO: (_expected(MGO, settings), settings.search)}
    for phase, (lines, search) in candidates.items():
        found = measure_spacings(med.spectra, elements, lines, search=search, significance=8.0).of_phase(phase).found
        least = len(CORUNDUM_LINES) if phase == CORUNDUM else 2
        if np.mean(found[elements.alive].sum(1) >= least) > 0.5:
            return phase
    raise ValueError(
        f"{med.path}: neither corundum nor MgO near {settings.lattice_parameter_angstrom:g} A is recognised:"
        " set phase=, lattice_parameter_angstrom= or lines="
    )


def _expected(phase: str, settings: Settings) -> tuple[Line, ...]:
    """Lines to fit: those of the phase, then foreign ones that overlap them."""
    if phase == CORUNDUM and not settings.lines:
        lines = CORUNDUM_LINES
    elif settings.cubic(phase):
        lines = cubic_lines(phase, settings.hkl, settings.lattice_parameter_angstrom)
    else:
        lines = tuple(Line(phase, hkl, d) for hkl, d in settings.spaced_lines())
    windows = settings.windows_kev
    foreign = tuple(Line("other", (0, 0, i + 1), d) for i, d in enumerate(settings.other_lines_angstrom))
    return tuple(replace(line, window_kev=windows.get(line.hkl)) for line in lines) + foreign


def _report_lines(spacings: Spacings, results: dict[str, Quantity], left_out: list[str]) -> None:
    """Spacing of every line in every detector and its mean over detectors, the scatter as its error."""
    for i, line in enumerate(spacings.lines):
        d, error = spacings.d[:, i], spacings.d_error[:, i]
        seen = np.flatnonzero(np.isfinite(d))
        missing = [j + 1 for j in np.flatnonzero(spacings.elements.alive & ~np.isfinite(d))]
        if missing:
            left_out.append(f"{line.phase} {line.name}: not found in detector {', '.join(map(str, missing))}")
        systematic = np.abs(spacings.elements.strain_per_degree) * spacings.elements.two_theta_error_deg
        if len(seen) > 1:
            scatter = float(np.std(d[seen], ddof=1) / np.sqrt(len(seen)))
            common = float(np.sqrt(np.sum((systematic[seen] * d[seen]) ** 2)) / len(seen))
            results[f"d_{line.name}"] = Quantity(float(np.mean(d[seen])), scatter, common, "angstrom")
        for j in seen:
            value = Quantity(float(d[j]), float(error[j]), float(systematic[j] * d[j]), "angstrom")
            results[f"d_{line.name}_detector_{j + 1}"] = value


def _reduce_cubic(
    med: MedFile,
    elements: Elements,
    lines: tuple[Line, ...],
    settings: Settings,
    results: dict[str, Quantity],
    left_out: list[str],
    notes: list[str],
) -> None:
    """Lattice parameters, lattice strains, stress and pressure of a cubic phase."""
    phase = lines[0].phase
    rough = measure_spacings(med.spectra, elements, lines, search=settings.search).of_phase(phase)
    a = float(np.nanmedian(rough.d * _roots(rough))) if rough.found.any() else np.nan
    if not np.isfinite(a):
        raise ValueError(f"{med.path}: no line of {phase} near a = {settings.lattice_parameter_angstrom:g} A was found")
    expected = tuple(
        replace(line, d_angstrom=a / root) if line.phase == phase else line
        for line, root in zip(lines, np.append(_roots(rough), np.ones(len(lines) - len(rough.lines))), strict=True)
    )
    spacings = measure_spacings(med.spectra, elements, expected, search=_STRAIN_RANGE).of_phase(phase)
    known = bool(np.isfinite(elements.azimuth_deg).any())
    spacings = _consistent(spacings, left_out, _LEAST_DETECTORS if known else 1)
    _report_detectors(spacings, results)
    if not known:
        _report_lines(spacings, results, [])
        notes.append("no stress and no pressure without the azimuths of the detectors")
        return
    fit = fit_singh(spacings.d, spacings.d_error, elements.psi_rad)
    strain_error = np.abs(elements.strain_per_degree) * elements.two_theta_error_deg
    temperature = settings.temperature(med)
    hkl = [line.hkl for line in spacings.lines]
    pressure = _pressure(fit, hkl, phase, temperature, strain_error, settings, notes)
    if temperature is not None:
        results["temperature"] = temperature
    results.update(pressure.quantities())
    elasticity = settings.elasticity
    if elasticity is None and phase == MGO:
        elasticity = mgo_elasticity(
            pressure.quantity("pressure").value if "pressure" in pressure.names else 0.0,
            temperature.value if temperature is not None else 300.0,
        )
    if elasticity is None:
        notes.append("no stress: set elastic_constants_gpa=C11,C12,C44 of the phase")
    else:
        stress = differential_stress(fit, hkl, elasticity, strain_error=strain_error, **settings.stress_errors)
        results.update(stress.quantities())
        notes.append(f"{CONVENTION}; {stress.model.partition(';')[0]}; elastic constants: {stress.scale}")
    axis, axis_error = fit_axis_azimuth(spacings.d, np.hypot(spacings.d_error, 1e-4 * spacings.d), elements.azimuth_deg)
    if np.isfinite(axis):
        results["axis_azimuth"] = Quantity(axis, axis_error, 0.0, "deg", "azimuth of the smallest spacings")
        if abs(axis) > max(3.0 * axis_error, 5.0):
            notes.append(f"spacings are smallest at {axis:.0f} deg from the assumed axis: check axis_azimuth_deg")


def _roots(spacings: Spacings) -> Any:
    return np.sqrt([sum(index * index for index in line.hkl) for line in spacings.lines])


def _consistent(spacings: Spacings, left_out: list[str], least: int) -> Spacings:
    """Without the lines that too few detectors show or that another phase's lines have drawn away."""
    a = spacings.d * _roots(spacings)
    each = np.array([np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in a.T])
    middle = float(np.nanmedian(each)) if np.isfinite(each).any() else np.nan
    kept = []
    for i, line in enumerate(spacings.lines):
        label, seen = f"{line.phase} {line.name}", int(np.isfinite(a[:, i]).sum())
        missing = np.flatnonzero(spacings.elements.alive & ~np.isfinite(a[:, i])) + 1
        if seen < least:
            left_out.append(f"{label}: found in {seen} detectors, {least} are needed")
        elif abs(each[i] / middle - 1.0) > _DISAGREEMENT:
            left_out.append(
                f"{label}: gives a = {each[i]:.4f} A where the others give {middle:.4f}: another phase's line"
            )
        else:
            kept.append(i)
            if len(missing):
                left_out.append(f"{label}: not found in detector {', '.join(map(str, missing))}")
    if not kept:
        raise ValueError(f"no line of {spacings.lines[0].phase} can be used: {'; '.join(left_out)}")
    return spacings.columns(kept)


def _pressure(
    fit: SinghFit,
    hkl: list[tuple[int, int, int]],
    phase: str,
    temperature: Quantity | None,
    strain_error: Any,
    settings: Settings,
    notes: list[str],
) -> Estimate:
    """Pressure, volume and lattice parameter; without the pressure where it cannot be known."""
    kelvin = temperature or Quantity(300.0, 0.0, 0.0, "K")
    estimate = marker_pressure(
        fit,
        hkl,
        kelvin.value,
        temperature_error_k=kelvin.error,
        temperature_systematic_k=kelvin.systematic,
        strain_error=strain_error,
        d_scale_error=settings.d_scale_error,
        eos_error=settings.eos_error,
    )
    if phase == MGO and temperature is not None:
        notes.append(f"pressure scale: {estimate.scale}")
        return estimate
    notes.append("no pressure: " + ("set temperature_k" if phase == MGO else f"no equation of state of {phase}"))
    return replace(estimate.pick(("volume", "lattice_parameter")), scale="")


def _report_detectors(spacings: Spacings, results: dict[str, Quantity]) -> None:
    """Lattice parameter in each detector, lines weighted by counting errors: its spread over azimuth is the stress."""
    a, error = spacings.d * _roots(spacings), spacings.d_error * _roots(spacings)
    systematic = np.abs(spacings.elements.strain_per_degree) * spacings.elements.two_theta_error_deg
    for j in np.flatnonzero(np.isfinite(a).any(axis=1)):
        seen = np.isfinite(a[j])
        weight = 1.0 / error[j, seen] ** 2
        mean = float(weight @ a[j, seen] / weight.sum())
        value = Quantity(mean, float(weight.sum() ** -0.5), float(systematic[j] * mean), "angstrom")
        results[f"lattice_parameter_detector_{j + 1}"] = value


def _plain(quantity: Quantity) -> dict[str, Any]:
    return {
        "value": quantity.value,
        "error": quantity.error,
        "systematic": quantity.systematic,
        "unit": quantity.unit,
    }
