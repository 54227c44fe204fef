"""Wavelengths of columns: lamps that are shifted, stretched and bent against the data sheet."""

import numpy as np
import pytest

from megabar.analysis.wavelength_calibration import MERCURY_NEON_NM, Spectrograph, calibrate_wavelengths

SHEET = Spectrograph(focal_mm=300.0, included_deg=30.0, pixel_um=20.0)
WIDTH_PIXELS = 1.0


def lamp(true_nm: np.ndarray, rng: np.random.Generator, *, electrons: float = 2e4, missing: int | None = None):
    """Counts of lines that are integrated over each pixel, on a floor, with the noise of electrons."""
    columns = np.arange(len(true_nm))
    mean = np.full(len(true_nm), 50.0)
    inside = [line for line in MERCURY_NEON_NM if true_nm[0] < line < true_nm[-1]]
    for number, line in enumerate(inside):
        if number != missing:
            at = np.interp(line, true_nm, columns)
            mean += electrons * (0.3 + 0.1 * (number % 7)) * np.exp(-0.5 * ((columns - at) / WIDTH_PIXELS) ** 2)
    return rng.poisson(mean) - 50.0


@pytest.mark.parametrize(("centre_nm", "grooves"), [(715.0, 1200.0), (720.0, 150.0), (640.0, 300.0)])
def test_shift_stretch_and_bend_are_found(centre_nm, grooves) -> None:
    nominal = SHEET.wavelengths(centre_nm, grooves, 1024)
    step, u = np.gradient(nominal).mean(), np.linspace(-1.0, 1.0, 1024)
    rng, pulls = np.random.default_rng(5), []
    for _ in range(30):
        shift, stretch, bend = step * rng.normal(size=3) * (3.0, 1.5, 0.05)
        true = nominal + shift + stretch * u + bend * u**2
        scale = calibrate_wavelengths(lamp(true, rng), nominal)
        lit = (true > scale.lines_nm[0]) & (true < scale.lines_nm[-1])
        assert np.max(np.abs(scale.wavelength_nm - true)[lit]) < 0.15 * step
        pulls.append(((scale.wavelength_nm - true) / scale.error_nm)[lit])
    assert 0.2 < np.sqrt(np.mean(np.concatenate(pulls) ** 2)) < 1.3  # an assumption about the lines' shape is in them


def test_without_the_lines_the_data_sheet_is_off() -> None:
    nominal = SHEET.wavelengths(715.0, 1200.0, 1024)
    assert np.max(np.abs(Spectrograph(300.6, 30.0, 20.0).wavelengths(715.3, 1200.0, 1024) - nominal)) > 0.25


def test_a_line_that_is_missing_and_a_spike_do_no_harm() -> None:
    nominal = SHEET.wavelengths(715.0, 1200.0, 1024)
    true = nominal + 0.11
    counts = lamp(true, np.random.default_rng(2), missing=2)
    counts[371] += 4e4
    scale = calibrate_wavelengths(counts, nominal)
    assert np.max(np.abs(scale.wavelength_nm - true)) < 0.02


def test_the_centre_is_the_centre_and_a_short_focus_spreads_less() -> None:
    nm = SHEET.wavelengths(700.0, 150.0, 1024)
    assert 0.5 * (nm[511] + nm[512]) == pytest.approx(700.0, abs=1e-3)
    assert np.ptp(Spectrograph(500.0, 30.0, 20.0).wavelengths(700.0, 150.0, 1024)) < np.ptp(nm)


@pytest.mark.parametrize(
    ("counts", "nominal", "words"),
    [
        (np.zeros(1024), SHEET.wavelengths(715.0, 1200.0, 1024), "fewer than 3 are found"),
        (np.zeros(10), np.arange(11.0), "of one length"),
        (np.ones(11), np.arange(11.0)[::-1], "rising wavelengths"),
    ],
)
def test_what_is_no_lamp_is_refused(counts, nominal, words) -> None:
    with pytest.raises(ValueError, match=words):
        calibrate_wavelengths(counts, nominal)


def test_a_grating_does_not_reach_everywhere() -> None:
    with pytest.raises(ValueError, match="does not reach"):
        SHEET.wavelengths(2000.0, 1200.0, 16)
