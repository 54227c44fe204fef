"""Diffraction images of a deforming sample: spacings by azimuth, lattice parameter, lattice strains, stress.

Sign convention: compression is positive, t = sigma3 - sigma1 > 0 is compression along the axis that the azimuths are
counted from (`axis_azimuth_deg`). Azimuth 0 lies along the image's columns, 90 along its rows (as pyFAI counts).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .estimate import Quantity
from .file_series import answer_of
from .image_settings import LINES, PHASES, ImageSettings, read_image_settings
from .lattice_strain import SinghFit, differential_stress, fit_axis_azimuth
from .readers.images import Calibration, DiffractionImage, check_match, read_calibration, read_image, read_mask
from .ring_spacings import RingTable, expected_deg, fit_table, lattice_parameter, measure_table
from .rings import Pattern, find_rings, without_spots

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Miller = tuple[int, int, int]

_CLEARLY_SHARPER = 1.02
_EOS_ERROR = 0.01
_RECOGNISED = 0.003


def analyse_images(paths: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Reduce several images with the same settings.

    Returns `results`, `history` and `files` as `answer_of` does, one answer of `analyse_image` for each file.

    Raises:
        ValueError: as `analyse_image`.
    """
    return answer_of([analyse_image(path, settings or {}) for path in paths])


def analyse_image(path: str | Path, settings: Mapping[str, str]) -> dict[str, Any]:
    """Lattice parameter, lattice strains and stress of a cubic phase from one image.

    Args:
        path: image in a format that fabio reads.
        settings: names and values as text, see `image_settings.ACCEPTED`.

    Returns:
        `file`, `results` {name: {value, error, systematic, unit}}, `left_out` and `notes` (what was decided and why).

    Raises:
        ValueError: one line that says what is wrong, where, and what is accepted.
        MissingExtra: pyFAI or fabio is not installed.
    """
    chosen = read_image_settings(settings)
    image, notes = read_image(path), list[str]()
    calibration = read_calibration(chosen.calibration or _only_calibration_beside(Path(path), notes))
    check_match(image, calibration)
    pattern = _pattern(image, calibration, chosen, notes)
    found = find_rings(pattern)
    phase, a_expected, lines = _phase(image, pattern, found, calibration, chosen)
    notes.append(f"phase: {phase}, looked for near a = {a_expected:.4f} A")
    left_out: list[str] = []
    table = measure_table(
        pattern,
        found,
        calibration.wavelength_angstrom,
        lines,
        a_expected,
        search=chosen.search,
        n_sectors=chosen.sectors,
        left_out=left_out,
    )
    if table is None:
        reasons = "; ".join([*left_out, *(note for note in notes if note.startswith("warning"))])
        raise ValueError(f"{path}: no ring of {phase} near a = {a_expected:.4f} A can be used: {reasons}")
    results = _reduce(table, calibration, chosen, notes)
    plain = {name: _plain(quantity) for name, quantity in results.items()}
    return {"file": str(path), "results": plain, "left_out": left_out, "notes": notes}


def _only_calibration_beside(path: Path, notes: list[str]) -> Path:
    beside = sorted(path.parent.glob("*.poni"))
    if len(beside) != 1:
        raise ValueError(f"{path}: {len(beside)} .poni files beside the image; set calibration=FILE.poni")
    notes.append(f"calibration: {beside[0].name}, the only .poni beside the image")
    return beside[0]


def _pattern(image: DiffractionImage, calibration: Calibration, settings: ImageSettings, notes: list[str]) -> Pattern:
    """Valid pixels in the orientation of the calibration, without masked pixels and single-crystal spots."""
    two_theta, azimuth = calibration.angles((image.counts.shape[0], image.counts.shape[1]))
    pixel_deg = float(np.median(np.hypot(*np.gradient(two_theta))))

    def oriented(flip: bool) -> Pattern:
        step = -1 if flip else 1
        valid = image.valid[::step].copy()
        if settings.mask is not None:
            valid &= ~_mask(settings.mask, valid)[0]
        return Pattern(image.counts[::step][valid], two_theta[valid], azimuth[valid], pixel_deg)

    flipped = _choose_orientation(oriented, settings, notes)
    if settings.mask is not None:
        notes.append(_mask(settings.mask, image.valid[:: -1 if flipped else 1])[1])
    pattern, spots = without_spots(oriented(flipped), settings.sectors)
    if spots:
        notes.append(f"{spots} pixels far above their surroundings left out (single-crystal spots)")
    return pattern


def _choose_orientation(oriented: Any, settings: ImageSettings, notes: list[str]) -> bool:
    """Whether the image is turned upside down; what was decided and why goes into the notes."""
    as_is, turned = oriented(False).sharpness(), oriented(True).sharpness()
    told = f"two theta explains {as_is:.1%} of the variance as it is, {turned:.1%} flipped"
    if settings.orientation != "auto":
        flipped = settings.orientation == "dioptas"
        notes.append(
            f"orientation={settings.orientation}: image {'flipped vertically' if flipped else 'as it is'} ({told})"
        )
        if (as_is if flipped else turned) > _CLEARLY_SHARPER * (turned if flipped else as_is):
            notes.append("warning: the other orientation fits the .poni clearly better")
        return flipped
    if turned > _CLEARLY_SHARPER * as_is:
        notes.append(f"image flipped vertically: the .poni carries the flip of Dioptas ({told})")
        return True
    if as_is > _CLEARLY_SHARPER * turned:
        notes.append(f"image not flipped: the .poni fits it as it is ({told})")
        return False
    notes.append(f"orientation undecided, image taken as it is ({told}); set orientation=dioptas or pyfai")
    return False


def _mask(path: Path, valid: Bools) -> tuple[Bools, str]:
    """The mask the way up that covers the detector's own dead pixels better, and what to say of it."""
    mask = read_mask(path, (valid.shape[0], valid.shape[1]))
    dead = ~valid
    flipped = bool(np.sum(mask[::-1] & dead) > np.sum(mask & dead))
    told = f"mask {path.name}: {mask.mean():.1%} of the pixels" + (
        ", flipped vertically to the image" if flipped else ""
    )
    return (mask[::-1] if flipped else mask), told


def _phase(
    image: DiffractionImage, pattern: Pattern, found: Floats, calibration: Calibration, settings: ImageSettings
) -> tuple[str, float, tuple[Miller, ...]]:
    """Name, lattice parameter to look near, and lines."""
    properties, name = settings.elasticity, settings.phase
    if name == "auto" and properties is not None:
        name = (
            "bcc-Fe"
            if sorted(properties.name.lower().replace("_", "-").split("-")) == ["bcc", "fe"]
            else properties.name
        )
    if name == "auto" and settings.lattice_parameter_angstrom is None:
        name = _recognise(image, pattern, found, calibration)
    known = {key.lower(): (key, *value) for key, value in PHASES.items()}.get(name.lower())
    a = settings.lattice_parameter_angstrom or (properties.lattice_parameter_angstrom if properties else None)
    if known is None and (a is None or not settings.lines):
        raise ValueError(
            f"phase {name!r} is unknown: set phase ({', '.join(PHASES)}), or lattice_parameter_angstrom and lines"
        )
    key, centring, a_ambient = known or (name, "P", a or 0.0)
    return key, a or a_ambient, settings.lines or LINES[centring]


def _recognise(image: DiffractionImage, pattern: Pattern, found: Floats, calibration: Calibration) -> str:
    """The standard whose lines are all there and include the strongest ring."""
    two_theta, mean, _ = pattern.radial()
    heights = np.interp(found, two_theta, mean)
    for name, (centring, a) in PHASES.items():
        expected = [
            expected_deg(a / np.sqrt(h * h + k * k + m * m), calibration.wavelength_angstrom)
            for h, k, m in LINES[centring]
        ]
        inside = np.array([e for e in expected if two_theta.min() < e < two_theta.max()])
        if inside.size < 4 or found.size == 0:
            continue
        near = np.abs(found[:, None] / inside - 1.0) < _RECOGNISED
        if near.any(axis=0).all() and near[int(np.argmax(heights))].any():
            return name
    raise ValueError(
        f"{image.path}: no standard is recognised in these {' x '.join(map(str, image.counts.shape))} pixels: does "
        f"the .poni belong to them? Otherwise set phase= ({', '.join(PHASES)}) or elasticity=FILE"
    )


def _reduce(
    table: RingTable, calibration: Calibration, settings: ImageSettings, notes: list[str]
) -> dict[str, Quantity]:
    results: dict[str, Quantity] = {}
    notes.append(
        "beam against calibration: {:+.2f} px along columns, {:+.2f} along rows".format(*table.centre_shift_px)
    )
    for hkl, ring in zip(table.hkl, table.fits, strict=True):
        if ring.neighbours_deg:
            others = ", ".join(f"{x:.2f}" for x in ring.neighbours_deg)
            notes.append(f"ring {''.join(map(str, hkl))} fitted together with rings at {others} deg")
    axis, axis_error = fit_axis_azimuth(table.d, table.d_error, table.azimuth_deg)
    results["axis_azimuth"] = Quantity(axis, axis_error, 0.0, "deg")
    if settings.axis_azimuth_deg is None:
        notes.append(
            f"compression axis taken where spacings are smallest, at azimuth {axis:.0f} deg: t > 0 by this choice"
        )
    fit = fit_table(
        table, calibration.wavelength_angstrom, axis if settings.axis_azimuth_deg is None else settings.axis_azimuth_deg
    )
    a = lattice_parameter(table, fit, settings.d_scale_error)
    results["lattice_parameter"] = a
    geometry = _geometry_error(table, calibration, settings)
    _report_rings(table, fit, geometry, settings, results)
    _report_stress(table, fit, a, geometry, settings, results, notes)
    _report_sectors(table, settings, results)
    return results


def _geometry_error(table: RingTable, calibration: Calibration, settings: ImageSettings) -> Floats:
    """Relative spacing (n_sector,) that an error of the geometry leaves; it turns slowly, so that sectors share it."""
    theta = np.arcsin(0.5 * calibration.wavelength_angstrom / np.nanmean(table.d))
    each = np.radians(settings.two_theta_error_deg) / (2.0 * np.tan(theta))
    return np.full(table.azimuth_deg.size, float(each * np.sqrt(table.azimuth_deg.size / 4.0)))


def _report_rings(
    table: RingTable, fit: SinghFit, geometry: Floats, settings: ImageSettings, results: dict[str, Quantity]
) -> None:
    for i, hkl in enumerate(table.hkl):
        label, root = "".join(map(str, hkl)), float(table.roots[i])
        a, error = float(fit.d_p[i]) * root, float(fit.d_p_error[i]) * root
        results[f"a_{label}"] = Quantity(a, error, settings.d_scale_error * a, "angstrom")
        q_systematic = float(np.sqrt(np.sum((fit.sensitivity[i, 1] * geometry) ** 2)))
        results[f"q_{label}"] = Quantity(float(fit.q[i]), float(fit.q_error[i]), q_systematic, "")


def _report_stress(
    table: RingTable,
    fit: SinghFit,
    a: Quantity,
    geometry: Floats,
    settings: ImageSettings,
    results: dict[str, Quantity],
    notes: list[str],
) -> None:
    properties = settings.elasticity
    if properties is None:
        notes.append("no stress: set elasticity=FILE with the elastic constants of the phase")
        return
    pressure = properties.pressure(a.value)
    slope = (properties.pressure(a.value * 1.0001) - pressure) / (1e-4 * a.value)
    systematic = float(np.hypot(slope * a.systematic, _EOS_ERROR * pressure))
    results["pressure"] = Quantity(pressure, abs(slope) * a.error, systematic, "GPa")
    notes.append(f"pressure from the equation of state of {properties.name} at 300 K (Birch-Murnaghan)")
    elasticity = properties.elasticity(pressure if settings.pressure_gpa is None else settings.pressure_gpa)
    stress = differential_stress(fit, table.hkl, elasticity, strain_error=geometry, **settings.stress_errors)
    results.update(stress.quantities())
    notes.append(f"{stress.model}; elastic constants: {stress.scale}")


def _report_sectors(table: RingTable, settings: ImageSettings, results: dict[str, Quantity]) -> None:
    """Lattice parameter in each sector, rings weighted by their errors: its swing around the ring is the stress."""
    a, error = table.d * table.roots, table.d_error * table.roots
    for j, azimuth in enumerate(table.azimuth_deg):
        seen = np.isfinite(a[j])
        if not seen.any():
            continue
        weight = error[j, seen] ** -2.0
        mean = float(weight @ a[j, seen] / weight.sum())
        systematic = settings.d_scale_error * mean
        name = f"lattice_parameter_azimuth_{azimuth:g}"
        results[name] = Quantity(mean, float(weight.sum() ** -0.5), systematic, "angstrom")


def _plain(quantity: Quantity) -> dict[str, Any]:
    return {name: getattr(quantity, name) for name in ("value", "error", "systematic", "unit")}
