"""Ruby fluorescence: positions and errors of the doublet, the pressure from it, and spectra that are refused."""

import numpy as np
import pytest
from scipy.special import voigt_profile

from megabar.analysis.pressure_scales import RUBY_2020
from megabar.analysis.readers.spe import read_spe
from megabar.analysis.ruby import fit_lines, ruby_pressure

X = np.linspace(690.0, 699.0, 300)


def expected(r1=694.9, splitting=1.45, light=2000.0, level=50.0, width=0.55, x=X, ratio=0.6):
    """Two lines, each a mixture of the two limits of a Voigt profile, of the same width."""
    gauss = width / np.sqrt(8.0 * np.log(2.0))

    def line(centre):
        one, two = voigt_profile(x - centre, 0.0, width / 2.0), voigt_profile(x - centre, gauss, 0.0)
        return 0.7 * one * np.pi * width / 2.0 + 0.3 * two * gauss * np.sqrt(2.0 * np.pi)

    return light * (line(r1) + ratio * line(r1 - splitting)) + level + 0.05 * level * (x - x[0])


def test_measured_ruby_gives_the_known_wavelengths(data):
    frames = read_spe(data / "ruby" / "Ruby.spe")
    counts, x = frames.counts[0, 11:25, 82:753].sum(axis=0), frames.wavelength_nm[82:753]
    found = fit_lines(x, counts)
    r1, r2 = found.quantity("wavelength"), found.quantity("r2_wavelength")
    assert r1.value == pytest.approx(694.318, abs=0.005)
    assert r2.value == pytest.approx(692.873, abs=0.005)
    assert 0.001 < r1.error < 0.004
    assert found.quantity("width").value == pytest.approx(0.6, abs=0.05)
    backwards = fit_lines(x[::-1], counts[::-1])
    assert backwards.values == pytest.approx(found.values, abs=1e-4)


@pytest.mark.parametrize(("light", "level"), [(2000.0, 50.0), (200.0, 10.0)])
def test_pulls_and_errors_over_200_draws_of_poisson_counts(light, level):
    rng = np.random.default_rng(11)
    mu = expected(light=light, level=level)
    found = [fit_lines(X, rng.poisson(mu)) for _ in range(200)]
    truth = np.array([694.9, 693.45])
    values = np.array([one.values[:2] for one in found])
    errors = np.array([np.sqrt(np.diagonal(one.covariance)[:2]) for one in found])
    pulls = (values - truth) / errors
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.25)
    assert np.all((pulls.std(axis=0) > 0.85) & (pulls.std(axis=0) < 1.15))
    assert np.sqrt(np.mean(errors[:, 0] ** 2)) == pytest.approx(cramer_rao(light, level), rel=0.05)
    assert np.mean([one.chi2_red for one in found]) == pytest.approx(1.0, abs=0.03)


def cramer_rao(light, level):
    """Bound on R1 from the Fisher matrix of Poisson counts, all nine parameters free, derivatives by differences."""

    def model(p):
        r1, r2, width_1, width_2, share, one, two, left, slope = p
        total = left + slope * (X - X[0])
        for centre, width, height in ((r1, width_1, one), (r2, width_2, two)):
            u = 2.0 * (X - centre) / width
            total = total + height * (share / (1.0 + u**2) + (1.0 - share) * 2.0 ** -(u**2))
        return total

    p = np.array([694.9, 693.45, 0.55, 0.55, 0.7, light, 0.6 * light, level, 0.05 * level])
    np.testing.assert_allclose(model(p), expected(light=light, level=level))
    steps = 1e-5 * np.maximum(np.abs(p), 0.1)
    jacobian = np.array([(model(p + step) - model(p - step)) for step in np.diag(steps)]) / (2.0 * steps[:, None])
    return float(np.sqrt(np.linalg.inv(jacobian @ (jacobian / model(p)).T)[0, 0]))


def test_gain_pedestal_and_read_out_noise_of_a_camera_need_not_be_known():
    rng = np.random.default_rng(12)
    pulls = []
    for _ in range(100):
        electrons = rng.poisson(expected(light=3000.0, level=30.0))
        counts = 8000.0 + 0.4 * electrons + rng.normal(0.0, 12.0, X.shape)
        line = fit_lines(X, np.round(counts)).quantity("wavelength")
        pulls.append((line.value - 694.9) / line.error)
    assert abs(np.mean(pulls)) < 0.3
    assert 0.8 < np.std(pulls) < 1.2


@pytest.mark.parametrize("ratio", [0.3, 0.9, 1.4])
def test_r1_is_the_line_at_the_longer_wavelength_even_where_r2_is_stronger(ratio):
    counts = np.random.default_rng(3).poisson(expected(ratio=ratio))
    assert fit_lines(X, counts).values[0] == pytest.approx(694.9, abs=0.02)


def test_broad_lines_that_overlap_are_told_apart():
    counts = np.random.default_rng(4).poisson(expected(width=1.8, light=20000.0, x=np.linspace(685.0, 705.0, 600)))
    found = fit_lines(np.linspace(685.0, 705.0, 600), counts)
    line = found.quantity("wavelength")
    assert abs(line.value - 694.9) < 4.0 * line.error < 0.1
    assert found.quantity("width").value == pytest.approx(1.8, abs=0.1)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.full(300, 50.0) + np.tile([3.0, -3.0, 1.0], 100), "no ruby lines between 690.00 and 699.00 nm"),
        (expected(ratio=0.0), "no ruby lines"),
        (expected(r1=698.9), "cut off|no ruby lines"),
        (np.where(np.arange(300) == 150, 1e5, 50.0), "no ruby lines"),
        (np.full(300, np.nan), "two finite arrays of one length"),
    ],
    ids=["noise", "one line", "at the end", "a spike", "no numbers"],
)
def test_spectra_without_a_doublet_are_refused_in_one_line(counts, message):
    with pytest.raises(ValueError, match=message) as failure:
        fit_lines(X, counts)
    assert "\n" not in str(failure.value)


def test_saturated_channels_and_too_short_spectra_are_refused():
    with pytest.raises(ValueError, match=r"7 channels .* are saturated, 694\.\d+ to 69\d\.\d+ nm: expose more briefly"):
        fit_lines(X, expected(), saturated=np.abs(np.arange(300) - 163) < 4)
    with pytest.raises(ValueError, match="30 or more channels over 3 nm"):
        fit_lines(X[:20], expected()[:20])
    with pytest.raises(ValueError, match="each at its own wavelength"):
        fit_lines(np.round(X, 1), expected())


def lines(r1=694.9):
    return fit_lines(X, np.random.default_rng(6).poisson(expected(r1=r1)))


def test_pressure_carries_scale_calibration_and_temperature():
    found = ruby_pressure(lines())
    line, pressure = found.quantity("wavelength"), found.quantity("pressure")
    assert found.scale == "Ruby2020"
    assert pressure.value == pytest.approx(float(RUBY_2020.pressure(line.value)))
    slope = RUBY_2020.per_unit(line.value)
    assert pressure.error == pytest.approx(slope * line.error)
    assert pressure.systematic == pytest.approx(np.hypot(0.05 * slope, 0.01 * pressure.value))
    assert ruby_pressure(lines(), scale="Mao1986").scale == "Mao1986"


def test_shift_with_temperature_is_removed_and_its_uncertainty_stated():
    cool, hot = ruby_pressure(lines()), ruby_pressure(lines(), temperature_k=400.0, temperature_error_k=5.0)
    fall = cool.quantity("pressure").value - hot.quantity("pressure").value
    assert fall == pytest.approx(0.72 * 2.7, rel=0.03)  # 0.72 nm at 2.7 GPa per nm
    added = np.sqrt(hot.quantity("pressure").systematic ** 2 - cool.quantity("pressure").systematic ** 2)
    assert added == pytest.approx(2.7 * np.hypot(0.072, 5.0 * 0.0073), rel=0.05)
    assert hot.quantity("wavelength") == cool.quantity("wavelength")


def test_pulls_of_the_pressure_with_every_systematic_drawn():
    rng = np.random.default_rng(13)
    pulls = []
    for _ in range(200):
        truth, temperature = rng.uniform(5.0, 60.0), 320.0
        shift = 0.147635 * (1.0 + 0.1 * rng.normal())
        x = truth / (1.0 + 0.01 * rng.normal()) / 1870.0
        position = 694.25 * (1.0 + (np.sqrt(1.0 + 4.0 * 5.63 * x) - 1.0) / (2.0 * 5.63)) + shift
        grid = position + np.linspace(-5.0, 4.0, 150)
        spectrum = rng.poisson(expected(r1=position, x=grid))
        shown = fit_lines(grid + 0.05 * rng.normal(), spectrum)
        pressure = ruby_pressure(shown, temperature_k=temperature).quantity("pressure")
        pulls.append((pressure.value - truth) / pressure.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_unknown_scale_and_line_beyond_the_scale_are_refused():
    with pytest.raises(ValueError, match="no pressure scale 'Akahama2006' for ruby: there are Ruby2020, Mao1986"):
        ruby_pressure(lines(), scale="Akahama2006")
    with pytest.raises(ValueError, match="Ruby2020 is a scale from -1 to 150 GPa"):
        ruby_pressure(lines(693.5))
