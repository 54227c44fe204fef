"""Temperatures from spectra: numbers of the reference checks, physical limits, honest errors, clear refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.constants import Stefan_Boltzmann
from scipy.integrate import quad

from megabar.analysis.pyrometer_response import Lamp, Noise, calibrate, read_lamp
from megabar.analysis.pyrometry import C1, C2, Spectrum, SystematicTerms, fit_planck, fit_wien, planck, wien
from megabar.analysis.two_colour import sliding_two_colour, two_colour

NONE = SystematicTerms(*[0.0] * 3, 2900.0, 0.0, 0.0)
WAVELENGTH = np.linspace(600e-9, 800e-9, 512)


def brute(wavelength_m, temperature_k, emissivity):
    """Planck's law by the sum over the photons of each mode, from the constants' decimal values."""
    x = 1.438776877e-2 / (wavelength_m * temperature_k)
    modes = sum(np.exp(-n * x) for n in range(1, 60))
    return emissivity * 1.1910429724e-16 / wavelength_m**5 * modes


def alone(spectrum, **term):
    """Shift of the temperature by one systematic term."""
    terms = {**dict.fromkeys(NONE.__dataclass_fields__, 0.0), "lamp_k": 2900.0, **term}
    return fit_planck(spectrum, SystematicTerms(**terms)).estimate.quantity("temperature").systematic


def test_radiance_and_two_colour_temperatures_agree_with_the_reference_check():
    # physics.md D 4.5
    short, long = 600e-9, 800e-9
    first, second = planck(short, 3000.0, 0.35), planck(long, 3000.0, 0.35)
    assert float(first) == pytest.approx(1.81126e11, rel=1e-4)
    assert float(second) == pytest.approx(3.17743e11, rel=1e-4)
    assert float(first / second) == pytest.approx(0.570041, rel=1e-4)
    assert float(two_colour(short, long, first, second, law="wien")) == pytest.approx(2996.77, abs=0.005)
    assert float(two_colour(short, long, first, second)) == pytest.approx(3000.0, abs=1e-6)
    assert float(two_colour(short, long, 1.05 * first, second)) == pytest.approx(3075.59, abs=0.005)
    assert C2 / long / np.log1p(C1 / long**5 / float(second)) == pytest.approx(2553.52, abs=0.005)  # brightness


def test_biases_at_4200_k_agree_with_the_reference():
    # physics.md 4(b)
    short, long = 640e-9, 850e-9
    blue, red = planck(short, 4200.0), planck(long, 4200.0)
    assert float(two_colour(short, long, blue, red, law="wien")) == pytest.approx(4200.0 - 41.0, abs=0.5)
    assert float(two_colour(short, long, 1.05 * blue, red)) == pytest.approx(4200.0 + 168.0, abs=0.5)


def test_a_gradient_lowers_the_temperature_as_in_the_reference_check():
    # physics.md D 4.6
    wavelength = np.linspace(600e-9, 800e-9, 201)
    mixed = 0.5 * (brute(wavelength, 3500.0, 1.0) + brute(wavelength, 2500.0, 1.0))
    found = fit_wien(Spectrum(wavelength, mixed), NONE).estimate
    assert found.quantity("temperature").value == pytest.approx(3376.73, rel=1e-5)
    assert found.quantity("emissivity").value == pytest.approx(0.68168, rel=1e-4)
    pairs = [(0, 100), (100, 200)]
    by_wien = [two_colour(*wavelength[[i, j]], *mixed[[i, j]], law="wien").item() for i, j in pairs]
    assert np.array(by_wien) == pytest.approx([3395.12, 3353.75], rel=1e-5)
    assert np.diff(by_wien)[0] == pytest.approx(-41.3703, rel=1e-4)
    spectrum = Spectrum(wavelength, mixed, (1e-4 * mixed) ** 2)
    sliding = sliding_two_colour(spectrum, separation_m=100e-9)
    by_planck = [two_colour(*wavelength[[i, j]], *mixed[[i, j]]).item() for i, j in pairs]
    assert sliding.temperature_k[[0, -1]] == pytest.approx(by_planck)
    assert sliding.estimate.quantity("slope").value == pytest.approx(np.diff(by_planck)[0] / 100.0, rel=0.01)
    assert not sliding.flat


def test_planck_s_law_is_that_of_photons_and_adds_up_to_stefan_and_boltzmann():
    wavelength, temperature = np.array([400e-9, 800e-9, 3e-6]), np.array([[1000.0], [5000.0]])
    np.testing.assert_allclose(planck(wavelength, temperature, 0.3), brute(wavelength, temperature, 0.3), rtol=1e-7)
    whole, _ = quad(lambda um: float(planck(um * 1e-6, 3000.0)) * 1e-6, 0.05, 2000.0, limit=400, points=[1.0, 10.0])
    assert np.pi * whole == pytest.approx(Stefan_Boltzmann * 3000.0**4, rel=1e-5)
    assert float(planck(1.0, 1e4) / (2 * 299792458.0 * 1.380649e-23 * 1e4)) == pytest.approx(1.0, rel=1e-5)
    assert float(wien(600e-9, 1000.0) / planck(600e-9, 1000.0)) == pytest.approx(1.0, abs=1e-10)


@given(st.floats(900.0, 8000.0), st.floats(1e-9, 1e9))
def test_a_spectrum_without_noise_is_found_again(temperature, emissivity):
    found = fit_planck(Spectrum(WAVELENGTH, brute(WAVELENGTH, temperature, emissivity)), NONE).estimate
    assert found.values == pytest.approx([temperature, emissivity], rel=1e-5)


@pytest.mark.parametrize(("truth", "error"), [(2000.0, 1.0), (3000.0, 2.3), (4000.0, 4.2)])
def test_statistical_error_is_the_bound_of_cramer_and_rao(truth, error):
    # physics.md A.2: 1 % noise, 512 pixels
    radiance = brute(WAVELENGTH, truth, 0.35)
    found = fit_planck(Spectrum(WAVELENGTH, radiance, (0.01 * radiance) ** 2), NONE).estimate
    steps = np.array([1e-3 * truth, 1e-5])
    derivatives = [
        (brute(WAVELENGTH, truth + a, 0.35 + e) - brute(WAVELENGTH, truth - a, 0.35 - e)) / (2 * size)
        for size, a, e in ((steps[0], steps[0], 0.0), (steps[1], 0.0, steps[1]))
    ]
    information = np.array([[np.sum(a * b / (0.01 * radiance) ** 2) for a in derivatives] for b in derivatives])
    np.testing.assert_allclose(found.covariance, np.linalg.inv(information), rtol=0.01)
    assert found.quantity("temperature").error == pytest.approx(error, rel=0.05)


@pytest.mark.parametrize("fit", [fit_planck, fit_wien])
@pytest.mark.parametrize("known", [True, False])
def test_pulls_over_200_draws_are_normal(fit, known):
    if fit is fit_wien and not known:
        sigma = 0.02 * wien(WAVELENGTH, 2500.0, 0.3)  # equal weights in the logarithm
    else:
        sigma = np.full(512, 0.02 * float(brute(700e-9, 2500.0, 0.3)))
    law = wien if fit is fit_wien else brute
    rng, pulls = np.random.default_rng(3), []
    for _ in range(200):
        drawn = law(WAVELENGTH, 2500.0, 0.3) + sigma * rng.standard_normal(512)
        found = fit(Spectrum(WAVELENGTH, drawn, sigma**2 if known else None), NONE).estimate
        pulls.append((found.values - [2500.0, 0.3]) / np.sqrt(np.diag(found.covariance)))
        assert np.isfinite(found.chi2_red) == known
    assert np.all(np.abs(np.mean(pulls, axis=0)) <= 0.25)
    assert np.all((np.std(pulls, axis=0) > 0.85) & (np.std(pulls, axis=0) < 1.15))


def test_light_so_weak_that_pixels_are_negative_is_fitted_without_bias():
    sigma = 0.5 * float(brute(800e-9, 1200.0, 1.0))
    rng, pulls = np.random.default_rng(5), []
    for _ in range(200):
        drawn = brute(WAVELENGTH, 1200.0, 1.0) + sigma * rng.standard_normal(512)
        found = fit_planck(Spectrum(WAVELENGTH, drawn, np.full(512, sigma**2)), NONE).estimate
        pulls.append(
            (1.0 / found.values[0] - 1.0 / 1200.0) * found.values[0] ** 2 / found.quantity("temperature").error
        )
    assert abs(np.mean(pulls)) <= 0.25 and 0.85 < np.std(pulls) < 1.15


def test_systematic_terms_shift_the_temperature_as_spectra_changed_that_way_do():
    radiance = brute(WAVELENGTH, 3000.0, 0.5)
    spectrum = Spectrum(
        WAVELENGTH,
        radiance,
        radiance**2,
        filling=radiance / radiance.max(),
        zero_error=0.001 * radiance[0] + 0 * radiance,
    )

    def found(changed):
        return fit_planck(Spectrum(WAVELENGTH, changed, radiance**2), NONE).estimate.values[0]

    tilted = np.exp(0.25 * 1e6 * (700e-9 - WAVELENGTH))
    assert alone(spectrum, emissivity_slope_per_um=0.25) == pytest.approx(found(radiance * tilted) - 3000.0, rel=0.02)
    assert alone(spectrum, emissivity_slope_per_um=0.25) == pytest.approx(76.0, rel=0.06)  # 5 % in 200 nm
    assert alone(spectrum, window_slope_per_um=0.25) == alone(spectrum, emissivity_slope_per_um=0.25)
    cooler = 0.5 * (radiance + brute(WAVELENGTH, 2550.0, 0.5))
    assert alone(spectrum, gradient=0.15) == pytest.approx(3000.0 - found(cooler), rel=0.03)
    wrong_lamp = brute(WAVELENGTH, 2920.0, 1.0) / brute(WAVELENGTH, 2900.0, 1.0)
    assert alone(spectrum, lamp_error_k=20.0) == pytest.approx(found(radiance * wrong_lamp) - 3000.0, rel=0.02)
    bent = radiance * (1.0 - 0.02 * spectrum.filling)
    assert alone(spectrum, nonlinearity=0.02) == pytest.approx(abs(found(bent) - 3000.0), rel=0.02)
    assert alone(spectrum) == pytest.approx(3000.0 - found(radiance - spectrum.zero_error), rel=0.02)


def test_systematic_terms_add_in_quadrature_and_leave_the_statistical_error_alone():
    radiance = brute(WAVELENGTH, 3000.0, 0.5)
    spectrum = Spectrum(WAVELENGTH, radiance, (0.01 * radiance) ** 2)
    fit, bare = fit_planck(spectrum), fit_planck(spectrum, NONE)
    assert fit.estimate.systematic[0] == pytest.approx(np.hypot.reduce(list(fit.terms_k.values())))
    assert 50.0 < fit.estimate.systematic[0] < 150.0  # physics.md 4(c)
    assert np.array_equal(fit.estimate.covariance, bare.estimate.covariance)
    assert np.all(bare.estimate.systematic == 0.0)


def test_noise_of_the_response_is_an_error_of_the_run():
    radiance = brute(WAVELENGTH, 3000.0, 0.5)
    response_error = np.full(512, 0.01)
    spectrum = Spectrum(WAVELENGTH, radiance, (0.01 * radiance) ** 2, response_error=response_error)
    fit = fit_planck(spectrum, NONE)
    assert fit.terms_k["response"] == pytest.approx(fit.estimate.quantity("temperature").error, rel=1e-2)


def test_a_dark_level_that_is_not_known_better_than_the_light_is_refused():
    radiance = brute(WAVELENGTH, 1500.0, 0.5)
    with pytest.raises(ValueError, match="systematic term zero is larger than what the spectrum tells"):
        fit_planck(Spectrum(WAVELENGTH, radiance, np.ones(512), zero_error=100.0 * radiance[::-1]))


def test_saturated_pixels_do_not_count_and_too_many_are_refused():
    radiance = brute(WAVELENGTH, 3000.0, 0.5)
    full = radiance > 0.9 * radiance.max()
    cut = np.minimum(radiance, 0.9 * radiance.max())
    found = fit_planck(Spectrum(WAVELENGTH, cut, saturated=full), NONE).estimate
    assert found.values == pytest.approx([3000.0, 0.5], rel=1e-6) and found.n_points == np.sum(~full) < 512
    assert fit_planck(Spectrum(WAVELENGTH, cut), NONE).estimate.values[0] > 3010.0
    with pytest.raises(ValueError, match="15 of 512 pixels are not saturated: 16 at least"):
        Spectrum(WAVELENGTH, cut, saturated=np.arange(512) >= 15)


def test_sliding_two_colour_is_flat_for_a_grey_body_with_honest_errors():
    radiance = brute(WAVELENGTH, 2800.0, 0.4)
    sigma = 0.01 * radiance
    rng, pulls, flat = np.random.default_rng(4), [], 0
    for _ in range(200):
        drawn = radiance + sigma * rng.standard_normal(512)
        found = sliding_two_colour(Spectrum(WAVELENGTH, drawn, sigma**2), separation_m=80e-9, pixels=8)
        pulls.append((found.estimate.values - [2800.0, 0.0]) / np.sqrt(np.diag(found.estimate.covariance)))
        flat += found.flat
    assert np.all(np.abs(np.mean(pulls, axis=0)) <= 0.25)
    assert np.all((np.std(pulls, axis=0) > 0.85) & (np.std(pulls, axis=0) < 1.15))
    assert flat >= 196


def test_sliding_two_colour_leaves_out_what_has_no_light_and_refuses_what_has_none():
    radiance = brute(WAVELENGTH, 2800.0, 0.4)
    dark = np.where(np.arange(512) < 64, -1.0, radiance)
    found = sliding_two_colour(Spectrum(WAVELENGTH, dark, radiance**2), separation_m=100e-9, pixels=8)
    assert found.left_out == 8
    assert found.temperature_k == pytest.approx(np.full(len(found.temperature_k), 2800.0), abs=1.0)
    with pytest.raises(ValueError, match="0 pairs of thermal light lie 100 nm apart"):
        sliding_two_colour(Spectrum(WAVELENGTH, -radiance, radiance**2), separation_m=100e-9)
    with pytest.raises(ValueError, match="need the variance"):
        sliding_two_colour(Spectrum(WAVELENGTH, radiance), separation_m=100e-9)
    with pytest.raises(ValueError, match="both are > 0"):
        sliding_two_colour(Spectrum(WAVELENGTH, radiance, radiance**2), separation_m=100e-9, pixels=0)


@given(st.floats(100.0, 1e5), st.floats(300e-9, 900e-9), st.floats(20e-9, 500e-9))
def test_two_colours_of_a_black_body_give_its_temperature(temperature, short, gap):
    found = two_colour(short, short + gap, planck(short, temperature), planck(short + gap, temperature))
    assert float(found) == pytest.approx(temperature, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wavelength_m": WAVELENGTH[::-1]}, "rise from pixel to pixel"),
        ({"wavelength_m": np.r_[WAVELENGTH[:1], WAVELENGTH[:-1]]}, "rise"),
        ({"wavelength_m": WAVELENGTH - 700e-9}, "positive"),
        ({"radiance": np.full(512, np.nan)}, "finite"),
        ({"radiance": np.ones(511)}, r"radiance has shape \(511,\)"),
        ({"variance": np.zeros(512)}, "variance of every pixel"),
        ({"saturated": np.ones(512, dtype=bool)}, "0 of 512"),
    ],
)
def test_a_spectrum_that_cannot_be_is_refused(change, why):
    with pytest.raises(ValueError, match=why) as failure:
        Spectrum(**{"wavelength_m": WAVELENGTH, "radiance": np.ones(512), **change})
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "radiance", [-np.ones(512), np.zeros(512), np.exp(-1e8 * WAVELENGTH), np.exp(1e9 * (WAVELENGTH - 8e-7))]
)
def test_what_is_no_thermal_light_is_refused(radiance):
    for fit in (fit_planck, fit_wien):
        with pytest.raises(ValueError, match=r"no thermal light|does not converge|needs radiance"):
            fit(Spectrum(WAVELENGTH, radiance))


@pytest.mark.parametrize("law", [planck, wien])
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((0.0, 3000.0), "wavelength"),
        ((7e-7, -1.0), "temperature"),
        ((7e-7, 3e3, 0.0), "emissivity"),
        ((7e-7, np.nan), "temp"),
    ],
)
def test_thermal_radiation_of_impossible_bodies_is_refused(law, arguments, why):
    with pytest.raises(ValueError, match=f"{why}.* > 0"):
        law(*arguments)


@pytest.mark.parametrize(
    ("arguments", "law", "why"),
    [
        ((8e-7, 6e-7, 1.0, 1.0), "planck", "short wavelength < long"),
        ((6e-7, 8e-7, 0.0, 1.0), "planck", "radiances > 0"),
        ((6e-7, 8e-7, 5.0, 1.0), "planck", "bluer"),
        ((6e-7, 8e-7, 5.0, 1.0), "wien", "bluer"),
        ((6e-7, 8e-7, 1.0, 1.0), "grey", "planck or wien"),
    ],
)
def test_impossible_pairs_are_refused(arguments, law, why):
    with pytest.raises(ValueError, match=why):
        two_colour(*arguments, law=law)


@pytest.mark.parametrize(
    "terms", [{"gradient": 1.0}, {"lamp_k": 0.0}, {"nonlinearity": -0.1}, {"lamp_error_k": np.nan}]
)
def test_impossible_systematic_terms_are_refused(terms):
    with pytest.raises(ValueError, match=next(iter(terms))):
        SystematicTerms(**terms)


def test_response_of_a_lamp_makes_radiance_of_counts(tmp_path):
    wavelength_nm = np.linspace(590.0, 810.0, 23)
    rows = np.column_stack((wavelength_nm, 1e-6 * brute(wavelength_nm * 1e-9, 2850.0, 0.4)))
    path = tmp_path / "lamp.txt"
    path.write_text("# nm radiance\n" + "\n".join(f"{nm} {value}" for nm, value in rows))
    lamp = read_lamp(path)
    assert lamp.temperature_k == pytest.approx(2850.0, abs=0.1) and lamp.name == "lamp.txt"
    sensitivity = 1e-6 * np.exp(-(((WAVELENGTH - 720e-9) / 60e-9) ** 2))
    light = sensitivity * brute(WAVELENGTH, 2200.0, 0.3)
    for source in (lamp, Lamp("ideal", 2850.0)):
        response = calibrate(WAVELENGTH, sensitivity * source.radiance(WAVELENGTH), source)
        found = fit_planck(Spectrum(WAVELENGTH, light / response.counts_per_radiance), NONE).estimate
        assert found.values[0] == pytest.approx(2200.0, abs=0.2)  # straight lines between the rows of the table
    with pytest.raises(ValueError, match=r"known from 590 to 810 nm, not from 600.0 to 900.0 nm"):
        lamp.radiance(np.linspace(600e-9, 900e-9, 5))
    with pytest.raises(ValueError, match="no counts in 512 pixels"):
        calibrate(WAVELENGTH, np.zeros(512), lamp)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("600 1\n610 x\n", "line 2"),
        ("600 1\n600 2\n", "line 2"),
        ("600 -1\n", "line 1"),
        ("600 1\n", "1 rows"),
        ("", "0 rows"),
    ],
)
def test_a_table_of_a_lamp_that_is_none_is_refused(tmp_path, text, why):
    path = tmp_path / "lamp.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=why) as failure:
        read_lamp(path)
    assert str(path) in str(failure.value) and "\n" not in str(failure.value)
    with pytest.raises(ValueError, match="not a table of a lamp"):
        read_lamp(tmp_path / "absent.txt")


def test_noise_of_pixels_is_that_of_electrons():
    rng = np.random.default_rng(2)
    electrons = rng.poisson(300.0, (20000, 3)) + rng.normal(0.0, 8.0, (20000, 3))
    counts = np.rint(electrons / 2.5).sum(axis=1)
    variance = Noise(2.5, 8.0).variance(np.array([900.0 / 2.5]), 3)
    assert float(variance[0]) == pytest.approx(counts.var(), rel=0.03)
    assert Noise(2.5, 8.0).variance(np.array([-5.0])) == pytest.approx((8.0 / 2.5) ** 2)
    with pytest.raises(ValueError, match="no noise"):
        Noise(1.0).variance(np.zeros(3))
    for bad in ((0.0, 1.0), (1.0, -1.0), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="gain is > 0"):
            Noise(*bad)
