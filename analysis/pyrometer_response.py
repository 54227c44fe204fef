"""The response of a spectrometer from the light of a calibration lamp, and the noise of its pixels."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .estimate import Floats
from .pyrometry import SpectralFit, Spectrum, SystematicTerms, fit_planck, planck
from .readers.spe import SpectrometerFrames

_LEAST_ROWS = 16
_SAME_NM = 1e-3
_PASSES = 3


@dataclass(frozen=True)
class Lamp:
    """Light of known spectrum: the table (m,) of a calibration, or a black body where there is none.

    `temperature_k` is that of the light's spectrum; radiances of a table may have any unit.
    """

    name: str
    temperature_k: float
    table_m: Floats | None = None
    table: Floats | None = None

    def radiance(self, wavelength_m: Floats) -> Floats:
        """Radiance (n,); a table is joined by straight lines.

        Raises:
            ValueError: a wavelength outside the table.
        """
        if self.table_m is None or self.table is None:
            return planck(wavelength_m, self.temperature_k)
        low, high = self.table_m[[0, -1]]
        if wavelength_m.min() < low or wavelength_m.max() > high:
            raise ValueError(
                f"{self.name}: the lamp is known from {1e9 * low:g} to {1e9 * high:g} nm, "
                f"not from {1e9 * wavelength_m.min():.1f} to {1e9 * wavelength_m.max():.1f} nm"
            )
        return np.asarray(np.interp(wavelength_m, self.table_m, self.table))


@dataclass(frozen=True)
class Noise:
    """Poisson noise of the light and noise of the readout: `gain` in electrons per count, `read_noise` in electrons.

    Raises:
        ValueError: a gain that is not positive, or a negative noise.
    """

    gain: float
    read_noise: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 < self.gain < np.inf and 0.0 <= self.read_noise < np.inf):
            raise ValueError(f"gain is > 0 and read noise >= 0 electrons, not {self.gain:g} and {self.read_noise:g}")

    def variance(self, expected_counts: Floats, n_pixels: int = 1) -> Floats:
        """Variance (n,) in counts^2 of sums of `n_pixels`; expected counts below zero have no Poisson noise.

        Take expected counts from a model: those measured are correlated with their noise and bias a fit.

        Raises:
            ValueError: no noise at all is left, so that no pixel could be weighted.
        """
        variance = np.maximum(expected_counts, 0.0) / self.gain + n_pixels * (self.read_noise / self.gain) ** 2
        if not np.all(variance > 0.0):
            raise ValueError("pixels without light have no noise: give the read noise too")
        return np.asarray(variance)


@dataclass(frozen=True)
class Response:
    """Counts per radiance (n,) at `wavelength_m` (n,), its relative error (n,) where the noise is known, its lamp."""

    wavelength_m: Floats
    counts_per_radiance: Floats
    relative_error: Floats | None
    lamp: Lamp


def read_lamp(path: str | Path) -> Lamp:
    """Table of a lamp: wavelength in nm and radiance in each row, `#` begins a comment.

    Its temperature is that of the Planck fit of the table.

    Raises:
        ValueError: fewer than 16 rows, or one that is not of this kind; file and line are named.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: not a table of a lamp: {problem}") from None
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            wavelength, radiance = (float(word) for word in words)
        except ValueError:
            raise ValueError(f"{path}: line {number}: expected wavelength in nm and radiance: {line[:40]!r}") from None
        if not (0.0 < radiance < np.inf and (rows[-1][0] if rows else 0.0) < wavelength < np.inf):
            raise ValueError(f"{path}: line {number}: wavelengths rise and radiances are > 0: {line[:40]!r}")
        rows.append((wavelength, radiance))
    if len(rows) < _LEAST_ROWS:
        raise ValueError(f"{path}: {len(rows)} rows, the table of a lamp has {_LEAST_ROWS} at least")
    wavelength_nm, radiances = np.array(rows).T
    table_m = 1e-9 * wavelength_nm
    terms = SystematicTerms(emissivity_slope_per_um=0.0, window_slope_per_um=0.0, gradient=0.0)
    temperature = fit_planck(Spectrum(table_m, radiances), terms).estimate.quantity("temperature").value
    return Lamp(Path(path).name, temperature, table_m, radiances)


def calibrate(wavelength_m: Floats, lamp_counts: Floats, lamp: Lamp, lamp_variance: Floats | None = None) -> Response:
    """Response (n,) from the counts (n,) that a lamp gave, their background subtracted.

    Raises:
        ValueError: the lamp gave no counts in a pixel, or is not known at a wavelength.
    """
    if not np.all(lamp_counts > 0.0):
        raise ValueError(
            f"the lamp gave no counts in {np.sum(~(lamp_counts > 0.0))} pixels: choose other rows or range"
        )
    error = None if lamp_variance is None else np.sqrt(lamp_variance) / lamp_counts
    return Response(wavelength_m, lamp_counts / lamp.radiance(wavelength_m), error, lamp)


def fit_counts(
    spectrum: Spectrum, response: Response, noise: Noise | None, n_rows: int, terms: SystematicTerms, *, scale: str
) -> tuple[SpectralFit, Spectrum]:
    """The Planck fit of a spectrum that sums `n_rows`; where the noise is known, weights are those of fitted counts.

    Returns the fit, and the spectrum with the variance that it was weighted by.

    Raises:
        ValueError: as `fit_planck` and `Noise.variance`.
    """
    fit = fit_planck(spectrum, terms, scale=scale)
    if noise is None:
        return fit, spectrum
    per_radiance = response.counts_per_radiance
    for _ in range(_PASSES):
        variance = noise.variance(fitted_radiance(spectrum, fit) * per_radiance, n_rows) / per_radiance**2
        spectrum = replace(spectrum, variance=variance)
        fit = fit_planck(spectrum, terms, scale=scale)
    return fit, spectrum


def fitted_radiance(spectrum: Spectrum, fit: SpectralFit) -> Floats:
    """Radiance (n,) of the grey body that was fitted."""
    temperature, emissivity = fit.estimate.values
    return planck(spectrum.wavelength_m, temperature, emissivity)


def check_match(measured: SpectrometerFrames, calibration: SpectrometerFrames) -> None:
    """That two files are of one detector, region, grating and range; what a file does not say is not compared.

    Raises:
        ValueError: they differ; one line with both files.
    """
    pairs = {
        "detector": (measured.detector, calibration.detector),
        "grating": (measured.grating, calibration.grating),
        "centre wavelength in nm": (measured.centre_nm, calibration.centre_nm),
        "detector size": (measured.counts.shape[1:], calibration.counts.shape[1:]),
        "region begins at": (measured.origin, calibration.origin),
        "binning": (measured.binning, calibration.binning),
    }
    for name, (ours, theirs) in pairs.items():
        if ours not in (None, "") and theirs not in (None, "") and ours != theirs:
            raise ValueError(f"{measured.path}: {name} {ours}, but {calibration.path.name} has {theirs}")
    if measured.wavelength_nm is None or calibration.wavelength_nm is None:
        raise ValueError(f"{measured.path} and {calibration.path.name}: one has no calibration of wavelength in nm")
    if not np.allclose(measured.wavelength_nm, calibration.wavelength_nm, rtol=0.0, atol=_SAME_NM):
        raise ValueError(f"{measured.path}: other wavelengths than {calibration.path.name}")
