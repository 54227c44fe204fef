"""`analyse laser_heating` on spectra that others measured: temperatures of laser-heated samples in a diamond cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .estimate import Floats, Quantity
from .file_series import answer_of
from .laser_heating_settings import Settings, read_settings
from .pyrometer_response import calibrate, check_match, fit_counts, fitted_radiance
from .pyrometry import Bools, SpectralFit, Spectrum
from .readers.spe import SpectrometerFrames, read_spe
from .two_colour import SlidingTwoColour, sliding_two_colour

BACKGROUND_SHARE = 0.05
"""A pixel of a file whose background is subtracted counts as full from this share below full scale."""
_PIXELS_TOGETHER = 16


@dataclass(frozen=True)
class HeatedSpectrum:
    """One spectrum with its fit, and its sliding two-colour temperatures where there is enough light for them."""

    spectrum: Spectrum
    fit: SpectralFit
    sliding: SlidingTwoColour | None


def analyse_files(paths: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Temperatures from spectra (`.spe`) of a heated sample; every frame of a file is a spectrum.

    Args:
        paths: measured files in the order of time.
        settings: names and values as text, see `laser_heating_settings`; `calibration` and a lamp are needed.

    Returns:
        Ready for JSON: `results` {name: {value, error, systematic, unit}} of the whole set, `history` (names of what is
        worth following), `files` [{file, results, left_out, notes}], one for each frame.

    Raises:
        ValueError: one line that says what is wrong, where, and what is accepted.
    """
    if not paths:
        raise ValueError("no file to analyse: give spectra (.spe)")
    chosen = read_settings(settings or {})
    calibration = read_spe(chosen.calibration, region=chosen.region)
    files = []
    for path in paths:
        frames = read_spe(path, region=chosen.region)
        check_match(frames, calibration)
        files += [_analyse_frame(frames, number, calibration, chosen) for number in range(len(frames.counts))]
    return answer_of(files)


def reduce_frame(
    frames: SpectrometerFrames, number: int, calibration: SpectrometerFrames, settings: Settings
) -> HeatedSpectrum:
    """Fit one frame of a measurement, the response from a calibration that matches it.

    Raises:
        ValueError: rows or range are not on the detector, too many pixels are saturated, or there is no thermal light.
    """
    rows, columns = _window(frames, settings)
    wavelength_m = 1e-9 * np.asarray(frames.wavelength_nm)[columns]
    lamp_counts, lamp_full, _ = _summed(calibration, slice(None), rows, columns, settings.calibration_dark, settings)
    counts, full, filling = _summed(frames, slice(number, number + 1), rows, columns, settings.dark, settings)
    n_rows, noise = rows.stop - rows.start, settings.noise
    lamp_variance = None if noise is None else noise.variance(lamp_counts, n_rows) / len(calibration.counts)
    response = calibrate(wavelength_m, lamp_counts, settings.lamp, lamp_variance)
    per_radiance = response.counts_per_radiance
    spectrum = Spectrum(
        wavelength_m,
        counts / per_radiance,
        saturated=full | lamp_full,
        filling=filling,
        zero_error=settings.zero_counts * n_rows / per_radiance,
        response_error=response.relative_error,
    )
    terms = replace(settings.terms, lamp_k=settings.lamp.temperature_k)
    scale = f"{settings.calibration.name}, lamp {settings.lamp.name}"
    fit, spectrum = fit_counts(spectrum, response, settings.noise, n_rows, terms, scale=scale)
    return HeatedSpectrum(spectrum, fit, _sliding(spectrum, fit))


def _sliding(spectrum: Spectrum, fit: SpectralFit) -> SlidingTwoColour | None:
    """Half of the range apart; without known noise that of the scatter about the fit."""
    if spectrum.variance is None:
        scatter = float(np.var((spectrum.radiance - fitted_radiance(spectrum, fit))[spectrum.used], ddof=2))
        spectrum = replace(spectrum, variance=np.full(len(spectrum.radiance), scatter))
    separation = 0.5 * float(np.ptp(spectrum.wavelength_m))
    try:
        return sliding_two_colour(spectrum, separation_m=separation, pixels=_PIXELS_TOGETHER)
    except ValueError:
        return None


def _analyse_frame(
    frames: SpectrometerFrames, number: int, calibration: SpectrometerFrames, settings: Settings
) -> dict[str, Any]:
    name = f"{frames.path}" if len(frames.counts) == 1 else f"{frames.path} frame {number}"
    try:
        reduced = reduce_frame(frames, number, calibration, settings)
    except ValueError as problem:
        raise ValueError(f"{problem}" if str(frames.path) in str(problem) else f"{name}: {problem}") from None
    temperature = reduced.fit.estimate.quantity("temperature")
    results = {"temperature": temperature}
    notes = [
        f"calibration: {reduced.fit.estimate.scale}",
        "systematic terms: " + ", ".join(f"{term} {kelvin:.2g} K" for term, kelvin in reduced.fit.terms_k.items()),
    ]
    if settings.rows is None:
        notes.append("all rows of the detector are summed: set rows=")
    if settings.noise is None:
        notes.append("equal weights, errors from the scatter: set gain= and read_noise=")
    if not np.isfinite(settings.saturation or frames.saturation):
        notes.append("saturated pixels cannot be told: set saturation=")
    full = int(np.sum(~reduced.spectrum.used))
    left_out = [f"{full} pixels are saturated"] if full else []
    if (sliding := reduced.sliding) is None:
        notes.append("no sliding two-colour temperatures: too little light")
    else:
        two_colour = sliding.estimate.quantity("temperature")
        results["two_colour_temperature"] = replace(two_colour, systematic=temperature.systematic)
        results["temperature_slope"] = sliding.estimate.quantity("slope")
        if not sliding.flat:
            notes.append("temperature changes with wavelength: a gradient, or an emissivity that is not grey")
    return {
        "file": name,
        "results": {key: _plain(quantity) for key, quantity in results.items()},
        "left_out": left_out,
        "notes": notes,
    }


def _window(frames: SpectrometerFrames, settings: Settings) -> tuple[slice, slice]:
    """Rows and columns to use. Raises ValueError where they are not on the detector."""
    n_rows, wavelength = frames.counts.shape[1], np.asarray(frames.wavelength_nm)
    first, last = settings.rows or (0, n_rows - 1)
    if last >= n_rows:
        raise ValueError(f"rows {first}-{last}: the detector has rows 0-{n_rows - 1}")
    low, high = settings.range_nm or (float(wavelength.min()), float(wavelength.max()))
    if low < wavelength.min() or high > wavelength.max():
        raise ValueError(f"range {low:g}-{high:g} nm: it has {wavelength.min():.1f}-{wavelength.max():.1f} nm")
    begin, end = sorted(int(np.abs(wavelength - edge).argmin()) for edge in (low, high))
    return slice(first, last + 1), slice(begin, end + 1)


def _summed(
    frames: SpectrometerFrames,
    numbers: slice,
    rows: slice,
    columns: slice,
    dark: Path | float | None,
    settings: Settings,
) -> tuple[Floats, Bools, Floats]:
    """Sum over rows of the mean frame, columns with a full pixel, and how full the fullest pixel of a column is."""
    counts = frames.counts[numbers, rows, columns]
    level = settings.saturation or frames.saturation
    threshold = level * (1.0 - BACKGROUND_SHARE if frames.background_subtracted else 1.0)
    highest = counts.max(axis=(0, 1))
    return _less_dark(frames, counts, rows, columns, dark).sum(axis=0), highest >= threshold, highest / level


def _less_dark(
    frames: SpectrometerFrames, counts: Floats, rows: slice, columns: slice, dark: Path | float | None
) -> Floats:
    if (dark is None) != frames.background_subtracted:
        state = "is" if frames.background_subtracted else "is not"
        accepted = "no dark is accepted" if frames.background_subtracted else "set dark (of 0 counts if there is none)"
        raise ValueError(f"{frames.path}: the background {state} subtracted in the file: {accepted}")
    level: Floats | float = 0.0
    if isinstance(dark, Path):
        without_light = read_spe(dark, region=frames.region)
        check_match(frames, without_light)
        if without_light.exposure_s != frames.exposure_s:
            raise ValueError(f"{frames.path}: {frames.exposure_s} s, but {dark.name} {without_light.exposure_s} s")
        level = without_light.counts[:, rows, columns].mean(axis=0)
    elif dark is not None:
        level = dark
    return np.asarray(counts.mean(axis=0) - level)


def _plain(quantity: Quantity) -> dict[str, Any]:
    return {name: getattr(quantity, name) for name in ("value", "error", "systematic", "unit")}
