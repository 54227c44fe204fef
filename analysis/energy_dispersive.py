"""Energy-dispersive diffraction: spacings, intensities and diffraction angles from spectra of several Ge elements."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from .line_windows import Expected, FittedLines, Window, fit_lines
from .peaks import FWHM_PER_SIGMA

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

HC_KEV_ANGSTROM = constants.h * constants.c / constants.e * 1e7
_PAIR_ENERGY_KEV = 2.96e-3  # mean energy of an electron-hole pair in Ge at 77 K
_FANO = 0.13  # effective: the spread of angles adds to charge statistics; a starting value, widths are fitted
_NOISE_FWHM_KEV = 0.25


@dataclass(frozen=True)
class Elements:
    """The elements of a detector: where they stand and how channel becomes energy.

    All (n,): `azimuth_deg` of the diffraction vector about the beam, 0 along the compression axis; `two_theta_deg`
    with its standard uncertainty `two_theta_error_deg`; energy in keV = offset + slope ch + quad ch^2; `alive`.

    Raises:
        ValueError: lengths differ.
    """

    azimuth_deg: Floats
    two_theta_deg: Floats
    offset_kev: Floats
    slope_kev: Floats
    quad_kev: Floats
    alive: Bools
    two_theta_error_deg: Floats

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            kind = bool if name == "alive" else float
            object.__setattr__(self, name, np.atleast_1d(np.asarray(getattr(self, name), dtype=kind)))
        lengths = {len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(lengths) != 1:
            raise ValueError(f"Elements: every array needs one value per detector, found lengths {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.alive)

    def energy_kev(self, channel: ArrayLike) -> Floats:
        """Energy at `channel` (n,) or (n, m), one row per detector."""
        x = np.asarray(channel, dtype=float)
        a, b, c = (self._column(v, x) for v in (self.offset_kev, self.slope_kev, self.quad_kev))
        return np.asarray(a + b * x + c * x * x)

    def kev_per_channel(self, channel: ArrayLike) -> Floats:
        """Derivative of `energy_kev`."""
        x = np.asarray(channel, dtype=float)
        return np.asarray(self._column(self.slope_kev, x) + 2.0 * self._column(self.quad_kev, x) * x)

    def channel(self, energy_kev: ArrayLike) -> Floats:
        """Channel, a real number, of `energy_kev` (n,) or (n, m)."""
        energy = np.asarray(energy_kev, dtype=float)
        a, b, c = (self._column(v, energy) for v in (self.offset_kev, self.slope_kev, self.quad_kev))
        # the root that stays finite as the quadratic term vanishes
        return np.asarray(2.0 * (energy - a) / (b + np.sqrt(b * b + 4.0 * c * (energy - a))))

    @property
    def psi_rad(self) -> Floats:
        """Angle (n,) between compression axis and diffraction vector: cos psi = cos theta cos azimuth."""
        theta = np.radians(self.two_theta_deg) / 2.0
        return np.asarray(np.arccos(np.cos(theta) * np.cos(np.radians(self.azimuth_deg))))

    @property
    def strain_per_degree(self) -> Floats:
        """Relative change (n,) of a measured spacing per degree of error in two theta."""
        return np.asarray(-0.5 * np.radians(1.0) / np.tan(np.radians(self.two_theta_deg) / 2.0))

    @staticmethod
    def _column(values: Floats, like: Floats) -> Floats:
        return values[:, None] if like.ndim == 2 else values


@dataclass(frozen=True)
class Line:
    """A diffraction line: phase, Miller indices, expected spacing; `window_kev` overrides the window chosen for it."""

    phase: str
    hkl: tuple[int, int, int]
    d_angstrom: float
    window_kev: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """Indices as in `111`; negative or two-figure indices are set apart by commas."""
        separator = "" if all(0 <= index <= 9 for index in self.hkl) else ","
        return separator.join(str(index) for index in self.hkl)


@dataclass(frozen=True)
class Spacings:
    """What `measure_spacings` found, arrays (n_det, n_line), NaN where a detector is dead or a line was not found.

    `d` in angstrom with statistical error `d_error`, `intensity` and `intensity_error` in counts, `energy_kev`,
    `sigma_kev` (Gaussian width), `chi2_red` of the window. Where a window's chi squared is beyond three standard
    deviations of its expectation, its errors are scaled by the root of it.
    """

    lines: tuple[Line, ...]
    elements: Elements
    d: Floats
    d_error: Floats
    intensity: Floats
    intensity_error: Floats
    energy_kev: Floats
    energy_error_kev: Floats
    sigma_kev: Floats
    chi2_red: Floats
    windows: tuple[Window, ...] = field(default=(), repr=False)

    @property
    def found(self) -> Bools:
        """Where a line was found, (n_det, n_line)."""
        return np.isfinite(self.d)

    def columns(self, pick: Sequence[int]) -> "Spacings":
        """The chosen lines alone (indices), without the curves of their windows."""
        chosen = {name: getattr(self, name)[:, list(pick)] for name in _COLUMNS}
        return replace(self, lines=tuple(self.lines[i] for i in pick), windows=(), **chosen)

    def of_phase(self, phase: str) -> "Spacings":
        """The lines of one phase.

        Raises:
            ValueError: none of the lines is of that phase.
        """
        pick = [i for i, line in enumerate(self.lines) if line.phase == phase]
        if not pick:
            raise ValueError(f"no line of phase {phase!r}: there are {sorted({line.phase for line in self.lines})}")
        return self.columns(pick)

    def curves(self, detector: int) -> list[tuple[Floats, Floats, Floats]]:
        """For plotting: (energy in keV, counts, fitted counts) of each fitted window of a detector (index from 0)."""
        one = pick_elements(self.elements, [detector])
        return [
            (one.energy_kev(w.channels[None, :])[0], w.counts, w.model) for w in self.windows if w.detector == detector
        ]


_COLUMNS = ("d", "d_error", "intensity", "intensity_error", "energy_kev", "energy_error_kev", "sigma_kev", "chi2_red")


def pick_elements(elements: Elements, rows: Sequence[int] | NDArray[np.integer]) -> Elements:
    """The chosen detectors alone (indices from 0), in the given order."""
    return Elements(**{name: getattr(elements, name)[list(rows)] for name in elements.__dataclass_fields__})


def line_energy_kev(d_angstrom: ArrayLike, two_theta_deg: ArrayLike) -> Floats:
    """Energy at which a spacing diffracts: hc / (2 d sin theta), broadcast."""
    theta = np.radians(np.asarray(two_theta_deg, dtype=float)) / 2.0
    return np.asarray(HC_KEV_ANGSTROM / (2.0 * np.asarray(d_angstrom, dtype=float) * np.sin(theta)))


def resolution_fwhm_kev(energy_kev: ArrayLike) -> Floats:
    """Expected width of a line of a Ge element: electronic noise and charge statistics (starting value of fits)."""
    energy = np.asarray(energy_kev, dtype=float)
    return np.asarray(np.sqrt(_NOISE_FWHM_KEV**2 + FWHM_PER_SIGMA**2 * _FANO * _PAIR_ENERGY_KEV * energy))


def measure_spacings(
    counts: ArrayLike,
    elements: Elements,
    lines: Sequence[Line],
    *,
    search: float = 0.012,
    significance: float = 3.0,
) -> Spacings:
    """Fit the given lines in the spectra of all live elements.

    Each phase is first shifted, element by element, to where its lines rise above the background (up to a relative
    `search`); lines that overlap are then fitted in a common window with a common width (relative to the resolution).
    Weak lines borrow their width from the strong lines of the same spectrum. A line is found when its fit converged
    within the search range with an area above `significance` errors.

    Args:
        counts: (n_det, n_ch).
        elements: calibration of the n_det elements.
        lines: expected lines; those beyond the last channel are simply not found.
        search: largest relative deviation from the expected spacing.
        significance: least area in units of its error.

    Raises:
        ValueError: counts and elements do not belong together, or there is no line.
    """
    spectra = np.asarray(counts, dtype=float)
    if spectra.ndim != 2 or len(spectra) != len(elements):
        raise ValueError(f"measure_spacings needs counts (n_det, n_ch) for {len(elements)} elements: {spectra.shape}")
    if not lines:
        raise ValueError("measure_spacings needs at least one line")
    live = np.flatnonzero(elements.alive & np.isfinite(elements.two_theta_deg))
    some = pick_elements(elements, live)
    d = np.array([line.d_angstrom for line in lines])
    energy = line_energy_kev(d[None, :], some.two_theta_deg[:, None])
    expected = Expected(
        channel=some.channel(energy),
        sigma=resolution_fwhm_kev(energy) / FWHM_PER_SIGMA / some.kev_per_channel(some.channel(energy)),
        group_of_phase=np.unique([line.phase for line in lines], return_inverse=True)[1],
        limits=_window_limits(some, lines),
    )
    fitted = fit_lines(spectra[live], expected, search)
    return _spacings(tuple(lines), elements, live, some, fitted, d * np.ones((len(live), 1)), search, significance)


def _window_limits(elements: Elements, lines: Sequence[Line]) -> Floats:
    """Window asked for by each line in channels, (n_det, n_line, 2), NaN where it may be chosen."""
    kev = np.array([line.window_kev or (np.nan, np.nan) for line in lines])
    return np.stack([elements.channel(np.tile(kev[:, end], (len(elements), 1))) for end in (0, 1)], axis=2)


def _spacings(
    lines: tuple[Line, ...],
    elements: Elements,
    live: NDArray[np.int64],
    some: Elements,
    fitted: FittedLines,
    expected_d: Floats,
    search: float,
    significance: float,
) -> Spacings:
    energy = some.energy_kev(fitted.channel)
    slope = some.kev_per_channel(fitted.channel)
    d = line_energy_kev(energy, some.two_theta_deg[:, None])  # Bragg's law is symmetric in energy and spacing
    excess = np.where(fitted.chi2_red > 1.0 + 3.0 * fitted.chi2_red_sd, np.sqrt(fitted.chi2_red), 1.0)
    good = fitted.converged & (fitted.area > significance * fitted.area_error)
    good &= np.abs(d / expected_d - 1.0) < search
    energy_error = fitted.channel_error * slope * excess

    def full(values: Floats) -> Floats:
        table = np.full((len(elements), len(lines)), np.nan)
        table[live] = np.where(good, values, np.nan)
        return table

    return Spacings(
        lines=lines,
        elements=elements,
        d=full(d),
        d_error=full(d * energy_error / energy),
        intensity=full(fitted.area),
        intensity_error=full(fitted.area_error * excess),
        energy_kev=full(energy),
        energy_error_kev=full(energy_error),
        sigma_kev=full(fitted.sigma * slope),
        chi2_red=full(fitted.chi2_red),
        windows=tuple(replace(w, detector=int(live[w.detector])) for w in fitted.windows),
    )


def calibrate_two_theta(counts: ArrayLike, elements: Elements, lines: Sequence[Line]) -> Elements:
    """Two theta of each element from the lines of a standard, with its error; energies are taken as calibrated.

    An element that shows none of the lines keeps its angle and is marked as not alive. Errors are scaled where the
    standard's lines disagree (energy calibration, grains).

    Raises:
        ValueError: no element shows any of the lines, or the shapes disagree.
    """
    spacings = measure_spacings(counts, elements, lines)
    usable = spacings.found.any(axis=1)
    if not usable.any():
        raise ValueError(f"none of the lines {', '.join(line.name for line in lines)} was found in any element")
    d = np.array([line.d_angstrom for line in lines])
    sine = HC_KEV_ANGSTROM / (2.0 * d * spacings.energy_kev)
    weight = np.nan_to_num((spacings.energy_kev / (spacings.energy_error_kev * sine)) ** 2)
    total = np.where(usable, weight.sum(1), 1.0)
    mean = np.nansum(weight * sine, axis=1) / total
    degrees = spacings.found.sum(1) - 1
    chi2_red = np.nansum(weight * (sine - mean[:, None]) ** 2, axis=1) / np.maximum(degrees, 1)
    excess = np.where(chi2_red > 1.0 + 3.0 * np.sqrt(2.0 / np.maximum(degrees, 1)), np.sqrt(chi2_red), 1.0)
    theta = np.arcsin(np.where(usable, mean, 0.0))
    error = np.degrees(2.0 * excess / np.sqrt(total) / np.cos(theta))
    return replace(
        elements,
        two_theta_deg=np.where(usable, np.degrees(2.0 * theta), elements.two_theta_deg),
        two_theta_error_deg=np.where(usable, error, elements.two_theta_error_deg),
        alive=elements.alive & usable,
    )
