"""Spectra, radiographs, beam and stage of the world D111."""

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.special import erf

from megabar.simulators.worlds.d111.counting import counts
from megabar.simulators.worlds.d111.diffraction import HC_KEV_A, lit_length, shear_modulus_ratio
from megabar.simulators.worlds.d111.equations_of_state import HCP_IRON, MGO
from megabar.simulators.worlds.d111.world import D111

AZIMUTHS = np.array([*np.arange(0.0, 181.0, 22.5), 270.0])
START = 4000.0


def energies(world: D111) -> np.ndarray:
    c = world.element_calibration()
    offset, slope, quad = (np.array(c[name])[:, None] for name in ("offset_kev", "slope_kev", "quad_kev"))
    channel = np.arange(2048.0)
    return offset + slope * channel + quad * channel**2


def centroids(world: D111, spectra: np.ndarray, near_kev: float, reach: float = 0.75) -> np.ndarray:
    """Centroid of a lone peak above a straight background, per element."""
    found = []
    for energy, row in zip(energies(world), spectra, strict=True):
        inside = np.abs(energy - near_kev) < reach
        beside = (np.abs(energy - near_kev) < 1.3 * reach) & ~inside
        net = row[inside] - np.polyval(np.polyfit(energy[beside], row[beside], 1), energy[inside])
        found.append(np.sum(net * energy[inside]) / np.sum(net))
    return np.array(found)


def spacing(energy_kev: np.ndarray) -> np.ndarray:
    return HC_KEV_A / (2.0 * energy_kev * math.sin(math.radians(3.25)))


def deformed(hot_cell, **parameters) -> D111:
    world = hot_cell(systematic_scale=0.0, misalignment_mm=0.0, settling_mm=(0.0, 0.0), **parameters)
    for ram in (0, 1):
        world.set_ram_speed(START, ram, 0.005)
    return world


def foil_profile(row, middle, level, step, depth, width, slope):
    bright = level + slope * (row - middle) + step * erf((row - middle) / (1.5 * 2**0.5))
    return bright * (1.0 - depth * np.exp(-0.5 * ((row - middle) / width) ** 2))


def rows_of_foils(image: np.ndarray) -> np.ndarray:
    """Rows of the two foils, from a fit of step and dip to the mean of the middle columns."""
    profile = image[:, 216:296].mean(axis=1) - 100.0
    found = []
    for part in (slice(0, 256), slice(256, 512)):
        lowest = part.start + int(np.argmin(profile[part]))
        rows = np.arange(lowest - 15.0, lowest + 16.0)
        above, below = profile[lowest - 12], profile[lowest + 12]
        start = (lowest, 0.5 * (above + below), 0.5 * (below - above), 0.6, 1.7, 0.0)
        found.append(curve_fit(foil_profile, rows, profile[lowest - 15 : lowest + 16], start)[0][0])
    return np.array(found)


def test_marker_line_lies_where_its_equation_of_state_puts_it(hot_cell):
    world = hot_cell(systematic_scale=0.0)
    spectra, _, _ = world.spectra(START, START + 2000.0, np.random.default_rng(1))
    truth = world.truth(START, START + 2000.0, START)
    a = MGO.volume(truth["pressure"], truth["temperature"]) ** (1 / 3)
    found = spacing(centroids(world, spectra, HC_KEV_A / (a * math.sin(math.radians(3.25))), 0.6))
    assert found == pytest.approx(np.full(10, a / 2), rel=1e-4)
    assert found.mean() == pytest.approx(a / 2, rel=3e-5)


def test_iron_lines_split_with_azimuth_as_stress_and_elasticity_demand(hot_cell):
    world = deformed(hot_cell)
    start, stop = 9000.0, 10000.0
    spectra, _, _ = world.spectra(start, stop, np.random.default_rng(2))
    truth = world.truth(start, stop, START)
    a = (HCP_IRON.volume(truth["pressure"], truth["temperature"]) / (1.605 * math.sqrt(0.75))) ** (1 / 3)
    d101 = 1.0 / math.sqrt(4.0 / (3.0 * a**2) + 1.0 / (1.605 * a) ** 2)
    found = spacing(centroids(world, spectra, HC_KEV_A / (2.0 * d101 * math.sin(math.radians(3.25))), 0.8))
    psi_term = 1.0 - 3.0 * (math.cos(math.radians(3.25)) * np.cos(np.radians(AZIMUTHS))) ** 2
    slope, middle = np.polyfit(psi_term, found, 1)
    assert middle == pytest.approx(d101, rel=3e-5)
    # Q per 2 GPa: Reuss 0.00179521 (appendix), Voigt t / (6 G) with the average stiffness
    voigt_shear = (670 + 670 + 720 - 240 - 2 * 230 + 3 * (165 + 165 + 215)) / 15.0
    q = 0.5 * truth["differential_stress"] * (0.00179521 / 2.0 + 1.0 / (6.0 * voigt_shear))
    q /= shear_modulus_ratio(truth["pressure"], truth["temperature"])
    assert slope / middle == pytest.approx(q, rel=0.05)
    assert slope > 0  # shorter along the axis of compression


def test_basal_line_strengthens_along_the_axis_as_texture_grows(hot_cell):
    world = deformed(hot_cell)
    energy = energies(world)[0]
    ratios = []
    for start in (START, 24000.0):
        spectra, _, _ = world.spectra(start, start + 1000.0, np.random.default_rng(3))
        peak = np.abs(energy - 55.75) < 0.7
        calm = (energy > 62.0) & (energy < 64.0)
        net = spectra[:, peak].sum(axis=1) - spectra[:, calm].sum(axis=1) * peak.sum() / calm.sum()
        light = spectra[:, calm].sum(axis=1)
        ratios.append((net[0] / light[0]) / (net[4] / light[4]))
    assert ratios[0] == pytest.approx(1.0, abs=0.15)
    assert ratios[1] > 1.5
    assert world.truth(24000.0, 25000.0, START)["texture_index"] > 1.02


def test_standard_is_reached_with_the_stage(hot_cell):
    world = hot_cell(systematic_scale=0.0)
    world.move_stage(START, "x", -20.0, 5.0)
    assert world.stage_mm(START + 2.0, "x") == pytest.approx(-10.0)
    spectra, _, _ = world.spectra(START + 10.0, START + 310.0, np.random.default_rng(1))
    found = spacing(centroids(world, spectra, HC_KEV_A / (4.2117 * math.sin(math.radians(3.25))), 0.8))
    assert found.mean() == pytest.approx(4.2117 / 2, rel=2e-5)


def test_each_element_has_its_own_angle(hot_cell):
    world = hot_cell()
    world.move_stage(START, "x", -20.0, 5.0)
    spectra, _, _ = world.spectra(START + 10.0, START + 1010.0, np.random.default_rng(1))
    found = centroids(world, spectra, HC_KEV_A / (4.2117 * math.sin(math.radians(3.25))), 0.9)
    two_theta = 2.0 * np.degrees(np.arcsin(HC_KEV_A / (4.2117 * found)))
    errors = np.array(world.systematics()["two_theta_error_deg"])
    assert two_theta - 6.5 == pytest.approx(errors, abs=4e-4)
    assert np.abs(errors).max() > 3e-3


def test_bcc_lines_show_below_14_gpa():
    world = D111(1, systematic_scale=0.0, slit_gap_mm=0.2, shutter_open_at_start=True)
    world.ramp_load(0.0, 1.5, 10.0)
    low, _, _ = world.spectra(1000.0, 1300.0, np.random.default_rng(1))
    world.ramp_load(1300.0, 7.0, 10.0)
    high, _, _ = world.spectra(4000.0, 4300.0, np.random.default_rng(1))
    near = np.abs(energies(world)[0] - HC_KEV_A / (2 * 2.866 * 0.98 / 2**0.5 * math.sin(math.radians(3.25)))) < 0.8
    assert low[0, near].sum() > 3 * high[0, near].sum()


def test_off_centre_sample_diffracts_less(hot_cell):
    world = hot_cell(misalignment_mm=0.0, settling_mm=(0.2, 0.2))
    off, _, _ = world.spectra(START, START + 300.0, np.random.default_rng(1))
    up = world.systematics()["settling_mm"]
    for axis, shift in zip("xy", up, strict=True):
        world.move_stage(START + 300.0, axis, -shift * -math.expm1(-7.0 / 3.0), 1.0)
    centred, _, _ = world.spectra(START + 400.0, START + 700.0, np.random.default_rng(1))
    peak = np.abs(energies(world)[0] - 58.7) < 0.8
    assert centred[0, peak].sum() > 1.3 * off[0, peak].sum()


def test_dead_time_shortens_the_live_time(hot_cell):
    still = hot_cell(slits_mm=2.0, dead_time_s=0.0)
    dead = hot_cell(slits_mm=2.0, dead_time_s=2e-5)
    full, live, real = still.spectra(START, START + 100.0, np.random.default_rng(1))
    less, less_live, _ = dead.spectra(START, START + 100.0, np.random.default_rng(1))
    assert live == pytest.approx(np.full(10, 100.0)) and real == 100.0
    rate = full.sum(axis=1) / 100.0
    assert less_live == pytest.approx(100.0 * np.exp(-rate * 2e-5), rel=0.005)
    assert less.sum(axis=1) / less_live == pytest.approx(rate, rel=0.01)


def test_pile_up_puts_counts_above_the_lines(hot_cell):
    above = {}
    for time in (0.0, 2e-5):
        world = hot_cell(slits_mm=2.0, dead_time_s=0.0, pile_up_time_s=time)
        spectra, _, _ = world.spectra(START, START + 1000.0, np.random.default_rng(1))
        above[time] = spectra[:, 1760:1860].sum(), spectra.sum()
    assert above[2e-5][0] > 1.2 * above[0.0][0]
    assert above[2e-5][1] < above[0.0][1]  # two photons, one count


def test_dead_element_counts_nothing(hot_cell):
    spectra, live, _ = hot_cell(dead_elements=[4]).spectra(START, START + 10.0, np.random.default_rng(1))
    assert spectra[4].sum() == 0 and spectra[3].sum() > 0 and live[4] == 10.0


def test_closed_shutter_and_lost_beam_give_nothing(hot_cell):
    world = hot_cell(beam_losses=[[6000.0, 100.0]])
    rng = np.random.default_rng(1)
    assert world.ring_current_ma(6050.0) == 0.0
    assert world.ring_current_ma(6100.0) == pytest.approx(60.0)
    assert world.spectra(6000.0, 6100.0, rng)[0].sum() == 0
    whole, half = (world.spectra(start, start + 100.0, rng)[0].sum() for start in (5900.0, 5950.0))
    assert half == pytest.approx(0.5 * whole, rel=0.03)
    world.set_shutter(7000.0, False)
    assert not world.shutter_open(7000.0) and world.shutter_open(6999.9)
    assert world.spectra(7000.0, 7100.0, rng)[0].sum() == 0
    assert world.i0_rate(7001.0) < 100.0 < world.i0_rate(6999.0)
    dark = world.image(7001.0, 1.0, rng).astype(float)
    assert dark.mean() == pytest.approx(100.0, abs=0.2) and dark.std() == pytest.approx(6.0, rel=0.02)


def test_ring_current_decays_between_injections():
    world = D111(1)
    assert world.ring_current_ma(3600.0 * 11.99) == pytest.approx(60.0 * math.exp(-11.99 / 40.0))
    assert world.ring_current_ma(3600.0 * 12.0) == pytest.approx(60.0)


def test_foils_lie_where_strain_puts_them(hot_cell):
    world = deformed(hot_cell, slits_mm=2.0)
    rng = np.random.default_rng(4)
    separations = []
    for time in (START, 14000.0, 24000.0):
        top, bottom = rows_of_foils(world.image(time, 1.0, rng))
        separations.append(bottom - top)
    logs = np.log(separations[0] / np.array(separations))
    truth = [world.truth(t, t + 1.0, START + 0.5)["strain"] for t in (START, 14000.0, 24000.0)]
    assert logs == pytest.approx(truth, abs=1e-3)
    assert truth[2] > 0.2
    length = np.interp(START, *(world.truth_series(100.0)[name] for name in ("time", "length")))
    assert 2.0 * separations[0] == pytest.approx(length, abs=0.5)


def test_bent_foils_change_the_apparent_strain(hot_cell):
    world = hot_cell(slits_mm=2.0, seed=5)
    for ram in (0, 1):
        world.set_ram_speed(START, ram, 0.005)
    sight = world._sight
    apparent = -math.log(sight.seen_length_um(world._at(20000.0)) / sight.seen_length_um(world._at(START)))
    true = world.truth(20000.0, 20000.001, START)["strain"]
    assert apparent / true - 1.0 == pytest.approx(world.systematics()["foil_bending"], rel=1e-3)


def test_stage_moves_the_image_right_and_up(hot_cell):
    world = hot_cell(slits_mm=2.0, drift_um=0.0)
    rng = np.random.default_rng(4)
    before = world.image(START, 1.0, rng)
    world.move_stage(START + 10.0, "y", 0.05, 1.0)
    world.move_stage(START + 10.0, "x", 0.06, 1.0)
    after = world.image(START + 20.0, 1.0, rng)
    assert rows_of_foils(after) - rows_of_foils(before) == pytest.approx([-25.0, -25.0], abs=0.1)

    def middle(image: np.ndarray) -> float:
        row = int(rows_of_foils(image)[0])
        dark = np.flatnonzero(image[row] < 0.7 * np.median(image[row + 40]))
        return 0.5 * (dark[0] + dark[-1])

    assert middle(after) - middle(before) == pytest.approx(30.0, abs=2.0)


def test_image_noise_is_that_of_counting(hot_cell):
    world = hot_cell(slits_mm=2.0, camera_flicker=0.0)
    rng = np.random.default_rng(5)
    pair = [world.image(START, 1.0, rng).astype(float)[:100, :100] for _ in range(2)]
    mean, spread = 0.5 * (pair[0] + pair[1]) - 100.0, pair[0] - pair[1]
    assert 15000 < mean.mean() < 25000
    assert np.var(spread / np.sqrt(2.0 * (mean + 36.0))) == pytest.approx(1.0, abs=0.06)


def test_long_exposure_saturates(hot_cell):
    image = hot_cell(slits_mm=2.0).image(START, 10.0, np.random.default_rng(1))
    assert image.dtype == np.uint16 and image.max() == 65535


def test_narrow_slits_leave_a_lit_square(hot_cell):
    image = hot_cell(slits_mm=0.2).image(START, 1.0, np.random.default_rng(1)).astype(float)
    assert image[:150].mean() < 110.0
    assert image[246:266, 246:266].mean() > 5000.0


def test_slits_move_at_their_speed():
    world = D111(1)
    world.move_slits(10.0, "h", 0.2, 0.9)
    assert world.slit_gap_mm(11.0, "h") == pytest.approx(1.1)
    assert world.slit_gap_mm(12.5, "h") == 0.2 and world.slit_gap_mm(12.5, "v") == 2.0


def test_stage_stops_where_it_is():
    world = D111(1)
    world.move_stage(0.0, "z", 5.0, 1.0)
    world.stop_stage(2.5, "z")
    assert world.stage_mm(100.0, "z") == 2.5


@pytest.mark.parametrize(("offset", "lit"), [(0.0, 0.2), (0.1, 0.2), (0.3, 0.1), (-0.3, 0.1), (0.6, 0.0)])
def test_lit_length_is_the_overlap_of_beam_and_body(offset, lit):
    assert lit_length(offset, 0.2, 0.6) == pytest.approx(lit, abs=2e-3)


@pytest.mark.parametrize("mean", [0.3, 5.0, 16.0, 40.0, 900.0])
def test_counts_have_the_moments_of_poisson(mean):
    drawn = counts(np.full(400_000, mean), np.random.default_rng(3)).astype(float)
    n = drawn.size
    assert drawn.mean() == pytest.approx(mean, abs=4.0 * math.sqrt(mean / n))
    assert drawn.var() == pytest.approx(mean, rel=4.0 * math.sqrt((2.0 + 1.0 / mean) / n))
    skew = np.mean((drawn - mean) ** 3)
    assert skew == pytest.approx(mean, abs=4.0 * math.sqrt((15.0 * mean**3 + 25.0 * mean**2 + mean) / n) + 0.01 * mean)
    assert drawn.min() >= 0 and np.all(drawn == np.rint(drawn))
