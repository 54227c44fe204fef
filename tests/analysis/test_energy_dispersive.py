import time
from dataclasses import replace

import numpy as np
import pytest

from megabar.analysis.energy_dispersive import (
    HC_KEV_ANGSTROM,
    Elements,
    Line,
    calibrate_two_theta,
    line_energy_kev,
    measure_spacings,
)
from megabar.analysis.phases import choose_lines, hcp_iron_lines, mgo_lines, mgo_standard_lines
from megabar.analysis.readers.med import read_med

AZIMUTH = np.append(22.5 * np.arange(9), 270.0)
CHANNELS = np.tile(np.arange(2048.0), (10, 1))


def ten_elements(**changes) -> Elements:
    n = 10
    fields = {
        "azimuth_deg": AZIMUTH,
        "two_theta_deg": np.full(n, 6.5),
        "offset_kev": np.full(n, 0.1),
        "slope_kev": np.full(n, 0.065),
        "quad_kev": np.full(n, 5e-8),
        "alive": np.ones(n, dtype=bool),
        "two_theta_error_deg": np.zeros(n),
    }
    return Elements(**(fields | changes))


def mean_counts(elements, d, areas, background=8.0):
    """Expected spectra (n_det, n_ch) for spacings d (n_det, n_line)."""
    energy = elements.energy_kev(CHANNELS)
    mean = background * np.exp(-(((energy - 60) / 50) ** 2))
    for k, area in enumerate(areas):
        centre = line_energy_kev(d[:, k], elements.two_theta_deg)[:, None]
        sigma = np.sqrt(0.15**2 + 0.18 / 60 * centre) / 2.3548
        shape = np.exp(-0.5 * ((energy - centre) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        mean = mean + area * 0.065 * shape
    return mean


SEPARATE, _ = choose_lines((*hcp_iron_lines(20.0, 800.0), *mgo_lines(20.0, 800.0)), 6.5)
EIGHT = (*SEPARATE, Line("MgO", (2, 2, 2), 1.178))
SPACING = np.tile([line.d_angstrom for line in EIGHT], (10, 1)) * 1.001


def test_hc_is_that_of_the_si():
    assert pytest.approx(12.398420, abs=1e-6) == HC_KEV_ANGSTROM


def test_channel_and_energy_are_inverse():
    elements = ten_elements(quad_kev=np.linspace(-1e-7, 1e-7, 10))
    channel = np.full((10, 3), [300.0, 900.0, 2000.0])
    assert elements.channel(elements.energy_kev(channel)) == pytest.approx(channel, abs=1e-7)


def test_psi_on_the_axis_is_theta_and_across_it_ninety_degrees():
    psi = np.degrees(ten_elements().psi_rad)
    assert psi[0] == pytest.approx(3.25)
    assert psi[[4, 9]] == pytest.approx(90.0)


@pytest.mark.parametrize("area", [3000.0, 150.0])
def test_spacings_and_intensities_have_honest_errors(area):
    rng = np.random.default_rng(int(area))
    elements = ten_elements()
    mean = mean_counts(elements, SPACING, [area] * 8, background=8.0 if area > 500 else 1.0)
    pulls, intensity = [], []
    for _ in range(25):
        spacings = measure_spacings(rng.poisson(mean), elements, EIGHT)
        pulls.append((spacings.d - SPACING) / spacings.d_error)
        intensity.append((spacings.intensity - area) / spacings.intensity_error)
    for pull in (np.array(pulls), np.array(intensity)):
        assert np.isfinite(pull).mean() > 0.99
        assert abs(np.nanmean(pull)) < 0.15
        assert 0.9 < np.nanstd(pull) < 1.1


def test_overlapping_lines_share_a_window_and_stay_unbiased():
    elements = ten_elements()
    lines = (Line("a", (1, 0, 0), 1.866), Line("b", (1, 0, 0), 1.866 * 1.012))
    d = np.tile([line.d_angstrom for line in lines], (10, 1))
    mean = mean_counts(elements, d, [3000.0, 1500.0])
    rng = np.random.default_rng(6)
    runs = [measure_spacings(rng.poisson(mean), elements, lines) for _ in range(20)]
    pull = np.array([(run.d - d) / run.d_error for run in runs])
    assert np.abs(np.nanmean(pull, axis=(0, 1))) == pytest.approx([0, 0], abs=0.25)
    assert 0.85 < np.nanstd(pull) < 1.15
    assert len(runs[0].windows) == 10


def test_ignoring_the_neighbour_would_be_seen():
    elements = ten_elements()
    lines = (Line("a", (1, 0, 0), 1.866), Line("b", (1, 0, 0), 1.866 * 1.012))
    d = np.tile([line.d_angstrom for line in lines], (10, 1))
    counts = np.random.default_rng(6).poisson(mean_counts(elements, d, [3000.0, 1500.0]))
    alone = measure_spacings(counts, elements, lines[:1])
    assert abs(np.nanmean((alone.d[:, 0] - d[:, 0]) / alone.d_error[:, 0])) > 1.0


def test_lines_that_cannot_be_told_apart_are_left_out_by_name():
    names = [f"{line.phase} {line.name}" for line in SEPARATE]
    assert "hcp-Fe 102" not in names and "MgO 220" not in names and "hcp-Fe 101" in names
    _, left_out = choose_lines((*hcp_iron_lines(20.0, 800.0), *mgo_lines(20.0, 800.0)), 6.5)
    assert left_out == (
        "hcp-Fe 102: within 1 FWHM of MgO 220",
        "MgO 220: within 1 FWHM of hcp-Fe 102",
    )


def test_line_beyond_the_detector_is_left_out_by_name():
    _, left_out = choose_lines([Line("MgO", (6, 6, 6), 0.4)], 6.5)
    assert "outside" in left_out[0] and "MgO 666" in left_out[0]


def test_dead_element_gives_nan_and_does_not_disturb_the_others():
    rng = np.random.default_rng(7)
    counts = rng.poisson(mean_counts(ten_elements(), SPACING, [2000.0] * 8))
    whole = measure_spacings(counts, ten_elements(), EIGHT)
    alive = np.arange(10) != 4
    counts[4] = 0
    part = measure_spacings(counts, ten_elements(alive=alive, slope_kev=np.where(alive, 0.065, 0.0)), EIGHT)
    assert np.isnan(part.d[4]).all()
    assert part.d[alive] == pytest.approx(whole.d[alive], rel=2e-5)


def test_line_that_is_not_there_is_not_found():
    rng = np.random.default_rng(8)
    counts = rng.poisson(mean_counts(ten_elements(), SPACING, [2000.0] * 7 + [0.0]))
    found = measure_spacings(counts, ten_elements(), EIGHT).found
    assert found[:, :7].all()
    assert found[:, 7].sum() <= 1


def test_two_theta_of_each_element_comes_back_within_its_error():
    rng = np.random.default_rng(9)
    true = ten_elements(two_theta_deg=6.5 + rng.normal(0, 0.01, 10))
    lines = mgo_standard_lines()
    d = np.tile([line.d_angstrom for line in lines], (10, 1))
    pulls = []
    for _ in range(20):
        counts = rng.poisson(mean_counts(true, d, [8000.0, 20000.0, 12000.0]))
        found = calibrate_two_theta(counts, ten_elements(two_theta_error_deg=np.full(10, 0.01)), lines)
        pulls.append((found.two_theta_deg - true.two_theta_deg) / found.two_theta_error_deg)
    assert np.max(found.two_theta_error_deg) < 2e-4
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_element_without_the_standard_is_marked_as_not_alive():
    rng = np.random.default_rng(10)
    lines = mgo_standard_lines()
    d = np.tile([line.d_angstrom for line in lines], (10, 1))
    mean = mean_counts(ten_elements(), d, [8000.0] * 3)
    mean[3] = 0.0
    found = calibrate_two_theta(rng.poisson(mean), ten_elements(), lines)
    assert list(found.alive) == [i != 3 for i in range(10)]
    with pytest.raises(ValueError, match="none of the lines 111, 200, 220"):
        calibrate_two_theta(np.zeros((10, 2048)), ten_elements(), lines)


def test_ten_spectra_with_eight_lines_are_fast():
    rng = np.random.default_rng(11)
    counts = rng.poisson(mean_counts(ten_elements(), SPACING, [2000.0] * 8))
    times = []
    for _ in range(5):
        start = time.process_time()
        measure_spacings(counts, ten_elements(), EIGHT)
        times.append(time.process_time() - start)
    assert min(times) < 0.04  # processor time: 8 ms on an idle core, the rest is for loaded machines


def test_curves_are_there_to_plot():
    rng = np.random.default_rng(12)
    spacings = measure_spacings(rng.poisson(mean_counts(ten_elements(), SPACING, [2000.0] * 8)), ten_elements(), EIGHT)
    curves = spacings.curves(3)
    assert len(curves) == 8
    energy, counts, model = curves[0]
    assert energy.shape == counts.shape == model.shape and np.all(np.diff(energy) > 0)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="10 elements"):
        measure_spacings(np.zeros((3, 2048)), ten_elements(), EIGHT)
    with pytest.raises(ValueError, match="one value per detector"):
        ten_elements(alive=np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="no line of phase 'NaCl'"):
        measure_spacings(np.zeros((10, 2048)), ten_elements(), EIGHT).of_phase("NaCl")


def test_corundum_spacings_of_the_measured_standard(data):
    med = read_med(data / "diffraction-ed" / "COSI_021_0001.med")
    expected = np.array([3.4797, 2.5508, 2.0853, 1.6014])
    alive = np.array([i + 1 not in med.dead for i in range(10)])
    elements = Elements(AZIMUTH, med.two_theta_deg, med.offset_kev, med.slope_kev, med.quad_kev, alive, np.zeros(10))
    lines = [Line("corundum", (0, 0, i + 1), d) for i, d in enumerate(expected)]
    found = measure_spacings(med.spectra, elements, lines)
    assert found.found.sum() == 36 and np.isnan(found.d[4]).all()
    deviation = np.abs(found.d[alive] / expected - 1)
    assert np.max(deviation) < 8e-4
    wrong = measure_spacings(med.spectra, replace(elements, two_theta_deg=med.two_theta_deg * 1.002), lines)
    assert np.nanmax(np.abs(wrong.d / expected - 1)) > 1.5e-3
