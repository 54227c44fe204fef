"""Spacings of a cubic phase's rings by azimuth: lines measured, beam shift taken out, lattice strains, parameter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .estimate import Quantity
from .lattice_strain import SinghFit, fit_singh
from .rings import Pattern, RingFits, fit_ring, sectors

Floats = NDArray[np.float64]
Miller = tuple[int, int, int]

_LEAST_SECTORS = 8
_FLOOR_PX = 0.05  # rings wander by this much where modules of the detector are not quite where they are believed


@dataclass(frozen=True)
class RingTable:
    """Rings of one cubic phase: `hkl`, fits, spacings `d` and errors (n_sector, n_ring) in angstrom, NaN if not seen.

    `azimuth_deg` (n_sector,) of the sectors' middles; `centre_shift_px` of the beam against the calibration, taken out.
    """

    hkl: tuple[Miller, ...]
    fits: tuple[RingFits, ...]
    azimuth_deg: Floats
    d: Floats
    d_error: Floats
    centre_shift_px: tuple[float, float]

    @property
    def roots(self) -> Floats:
        """Lattice parameter over spacing (n_ring,)."""
        return np.array([np.sqrt(sum(i * i for i in hkl)) for hkl in self.hkl])


def spacing(two_theta_deg: Floats, wavelength_angstrom: float) -> Floats:
    """Bragg's law: spacing in angstrom at an angle in degrees."""
    return np.asarray(0.5 * wavelength_angstrom / np.sin(np.radians(0.5 * two_theta_deg)))


def expected_deg(d_angstrom: float, wavelength_angstrom: float) -> float:
    """Two theta in degrees at which a spacing (angstrom) reflects; NaN where it cannot."""
    sine = 0.5 * wavelength_angstrom / d_angstrom
    return float(np.degrees(2.0 * np.arcsin(sine))) if sine < 1.0 else float("nan")


def measure_table(
    pattern: Pattern,
    found: Floats,
    wavelength_angstrom: float,
    lines: Sequence[Miller],
    a_angstrom: float,
    *,
    search: float,
    n_sectors: int,
    left_out: list[str],
) -> RingTable | None:
    """Every line in every sector; None where no line can be used."""
    kept: dict[Miller, RingFits] = {}
    for hkl in lines:
        label = "".join(map(str, hkl))
        expected = expected_deg(a_angstrom / float(np.sqrt(sum(i * i for i in hkl))), wavelength_angstrom)
        tolerance = 2.0 * np.degrees(np.tan(np.radians(0.5 * expected))) * search
        try:
            fit = fit_ring(pattern, expected, float(tolerance), n_sectors, found)
        except ValueError as problem:
            left_out.append(f"ring {label}: {problem}")
            continue
        seen = int(np.isfinite(fit.two_theta_deg).sum())
        if seen < _LEAST_SECTORS:
            left_out.append(f"ring {label}: seen in {seen} of {n_sectors} sectors, {_LEAST_SECTORS} are needed")
            continue
        kept[hkl] = fit
        if seen < n_sectors:
            left_out.append(f"ring {label}: not seen in {n_sectors - seen} of {n_sectors} sectors")
    if not kept:
        return None
    return _table(tuple(kept), tuple(kept.values()), pattern.pixel_deg, wavelength_angstrom, n_sectors)


def _table(
    hkl: tuple[Miller, ...], fits: tuple[RingFits, ...], pixel_deg: float, wavelength_angstrom: float, n_sectors: int
) -> RingTable:
    """Spacings, after the beam's shift against the calibration (one period around the ring) is taken out."""
    azimuth = sectors(n_sectors)
    angle = np.stack([fit.two_theta_deg for fit in fits], axis=1)
    error = np.hypot(np.stack([fit.error_deg for fit in fits], axis=1), _FLOOR_PX * pixel_deg)
    shift = _beam_shift(angle, error, np.radians(azimuth))
    turned = np.stack([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))], axis=1) @ shift
    corrected = angle - turned[:, None]
    d = spacing(corrected, wavelength_angstrom)
    d_error = d * np.radians(error) / (2.0 * np.tan(np.radians(0.5 * corrected)))
    return RingTable(hkl, fits, azimuth, d, d_error, (float(shift[0] / pixel_deg), float(shift[1] / pixel_deg)))


def _beam_shift(angle: Floats, error: Floats, azimuth: Floats) -> Floats:
    """Amplitudes (2,) of cos and sin of the azimuth common to all rings, each ring with its own mean and strain."""
    n = angle.shape[1]
    design = np.zeros((*angle.shape, 2 + 3 * n))
    design[:, :, 0], design[:, :, 1] = np.cos(azimuth)[:, None], np.sin(azimuth)[:, None]
    for i in range(n):
        own = np.stack([np.ones_like(azimuth), np.cos(2.0 * azimuth), np.sin(2.0 * azimuth)], axis=1)
        design[:, i, 2 + 3 * i : 5 + 3 * i] = own
    seen = np.isfinite(angle) & np.isfinite(error)
    weighted = design[seen] / error[seen][:, None]
    return np.asarray(np.linalg.lstsq(weighted, angle[seen] / error[seen], rcond=None)[0][:2])


def fit_table(table: RingTable, wavelength_angstrom: float, axis_deg: float) -> SinghFit:
    """Lattice strains of all rings; the angle to the axis differs a little from ring to ring."""
    fits = []
    for i in range(len(table.hkl)):
        theta = np.arcsin(0.5 * wavelength_angstrom / float(np.nanmean(table.d[:, i])))
        psi = np.arccos(np.cos(theta) * np.cos(np.radians(table.azimuth_deg - axis_deg)))
        fits.append(fit_singh(table.d[:, i : i + 1], table.d_error[:, i : i + 1], psi))
    names = ("d_p", "q", "covariance", "chi2_red", "n_points", "sensitivity")
    return SinghFit(*(np.concatenate([getattr(fit, name) for fit in fits]) for name in names))


def lattice_parameter(table: RingTable, fit: SinghFit, d_scale_error: float) -> Quantity:
    """Mean over the rings, weighted; its error counts how the rings disagree."""
    a, error = fit.d_p * table.roots, fit.d_p_error * table.roots
    weight = error**-2.0 / np.sum(error**-2.0)
    mean = float(weight @ a)
    chi2_red = float(np.sum(((a - mean) / error) ** 2)) / max(a.size - 1, 1)
    statistical = float(np.sum(error**-2.0) ** -0.5) * np.sqrt(max(chi2_red, 1.0))
    return Quantity(mean, float(statistical), d_scale_error * mean, "angstrom")
