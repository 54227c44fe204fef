"""Scale and saturation from a staircase: errors on both axes, what they predict, what all steps have in common."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from megabar.analysis.bloch_grueneisen import ResistivityModel
from megabar.analysis.equations_of_state import HCP_FE_DEWAELE2006
from megabar.analysis.resistivity import TemperatureProfile
from megabar.analysis.resistivity_fit import fit_resistivity

KELVIN = np.array([300.0, 700.0, 1100.0, 1500.0, 1900.0, 2300.0, 2700.0, 3100.0, 3500.0, 3900.0])
SCALE, SATURATION, PRESSURE = 0.85, 1.3e-6, 140.0  # ohm m at V0


def compression(gpa):
    def excess(x):
        y = x ** (1 / 3)
        return 3 * 163.4 * (1 - y) / y**2 * np.exp(1.5 * 4.38 * (1 - y)) - gpa

    return brentq(excess, 0.5, 1.0, xtol=1e-14)


def iron(kelvin, gpa=PRESSURE, scale=SCALE, saturation=SATURATION, x=None, n=5):
    """Resistivity of hcp-Fe (n,) by quadratures: the Debye temperature from the Grueneisen parameter's integral."""
    x = compression(gpa) if x is None else x

    def gamma(v):
        return 1.305 + (1.875 - 1.305) * v**3.289

    theta = 417.0 * np.exp(quad(lambda v: gamma(v) / v, x, 1.0)[0])

    def phonons(t):
        return (t / theta) ** n * quad(lambda z: z**n * np.exp(-z) / (1 - np.exp(-z)) ** 2, 1e-9, theta / t)[0]

    ideal = scale * 5.26e-9 * (1.24 - x) ** -3.21 * np.array([phonons(t) for t in kelvin]) / phonons(300.0)
    shunt = 1 / (saturation * x ** (1 / 3))
    return 1 / (1 / ideal + shunt)


def bound(rho_error, kelvin_error, at_k=3750.0):
    """Cramer-Rao bounds of ln(rho_sat) and of the resistivity at a temperature, by differences of `iron`.

    The unknown temperature of a step takes its share: what is known of it is (error of rho)^2 + (slope error of T)^2.
    """
    step = 1e-4

    def difference(**parts):
        high = {name: value * (1 + step) for name, value in parts.items()}
        low = {name: value * (1 - step) for name, value in parts.items()}
        return lambda kelvin: (iron(kelvin, **high) - iron(kelvin, **low)) / (2 * step)

    by_scale, by_saturation = difference(scale=SCALE), difference(saturation=SATURATION)
    slope = (iron(KELVIN + 1.0) - iron(KELVIN - 1.0)) / 2.0
    both = np.stack([by_scale(KELVIN), by_saturation(KELVIN)])
    covariance = np.linalg.inv(both / (rho_error**2 + (slope * kelvin_error) ** 2) @ both.T)
    towards = np.array([by_scale([at_k])[0], by_saturation([at_k])[0]])
    return np.sqrt(covariance[1, 1]), np.sqrt(towards @ covariance @ towards)


@pytest.fixture(scope="module")
def truth():
    return iron(KELVIN)


@pytest.fixture(scope="module")
def draws(truth):
    """200 fits to 1 % of resistance and 5 % of temperature."""
    rng = np.random.default_rng(1)
    fits = []
    for _ in range(200):
        kelvin = KELVIN + rng.normal(0.0, 0.05 * KELVIN)
        rho = truth + rng.normal(0.0, 0.01 * truth)
        fits.append(fit_resistivity(kelvin, 0.05 * KELVIN, rho, 0.01 * truth, PRESSURE).at(PRESSURE, 3750.0))
    return fits


def test_parameters_behind_perfect_data_are_found(truth):
    found = fit_resistivity(KELVIN, 10.0, truth, 0.01 * truth, PRESSURE).at(PRESSURE, 3750.0)
    assert found.quantity("scale").value == pytest.approx(SCALE, rel=1e-5)
    saturation = SATURATION * compression(PRESSURE) ** (1 / 3)
    assert found.quantity("saturation_resistivity").value == pytest.approx(saturation, rel=1e-5)
    assert found.quantity("resistivity").value == pytest.approx(iron([3750.0])[0], rel=1e-6)
    assert found.chi2_red == pytest.approx(0.0, abs=1e-6)
    assert "Dewaele 2006" in found.scale


def test_one_percent_of_resistance_and_five_of_temperature_give_saturation_to_ten(draws):
    expected, _ = bound(0.01 * iron(KELVIN), 0.05 * KELVIN)
    assert 0.05 < expected < 0.2
    saturation = [found.quantity("saturation_resistivity") for found in draws]
    relative = np.median([q.error / q.value for q in saturation])
    assert relative == pytest.approx(expected, rel=0.15)
    assert abs(np.median([q.value for q in saturation]) / (SATURATION * compression(PRESSURE) ** (1 / 3)) - 1) < 0.03


def test_errors_are_the_cramer_rao_bound(truth):
    """With small errors, where the bound holds exactly."""
    rng, errors = np.random.default_rng(2), []
    for _ in range(40):
        kelvin = KELVIN + rng.normal(0.0, 0.004 * KELVIN)
        rho = truth + rng.normal(0.0, 0.002 * truth)
        found = fit_resistivity(kelvin, 0.004 * KELVIN, rho, 0.002 * truth, PRESSURE).at(PRESSURE, 3750.0)
        saturation, resistivity = found.quantity("saturation_resistivity"), found.quantity("resistivity")
        errors.append((saturation.error / saturation.value, resistivity.error))
    assert np.median(errors, axis=0) == pytest.approx(bound(0.002 * truth, 0.004 * KELVIN), rel=0.05)


def test_pulls_over_200_draws_are_normal(draws):
    saturation = SATURATION * compression(PRESSURE) ** (1 / 3)
    expected = {"resistivity": iron([3750.0])[0], "saturation_resistivity": saturation, "scale": SCALE}
    for name, value in expected.items():
        found = [estimate.quantity(name) for estimate in draws]
        pulls = [(q.value - value) / q.error for q in found]
        assert abs(np.mean(pulls)) < 0.25
        assert 0.85 < np.std(pulls) < 1.15


def test_chi_squared_counts_errors_of_both_axes(draws):
    assert np.mean([found.chi2_red for found in draws]) == pytest.approx(1.0, abs=0.15)


def test_errors_of_temperature_that_are_ignored_bias_nothing_but_understate_the_error(truth):
    rng = np.random.default_rng(3)
    kelvin = KELVIN + rng.normal(0.0, 0.05 * KELVIN)
    both = fit_resistivity(kelvin, 0.05 * KELVIN, truth, 0.01 * truth, PRESSURE)
    ignored = fit_resistivity(kelvin, 0.0, truth, 0.01 * truth, PRESSURE)
    assert ignored.chi2_red > 3.0  # and the errors grow by that
    own = ignored.covariance / ignored.chi2_red
    assert np.all(np.diag(own) < 0.3 * np.diag(both.covariance))


def test_pulls_with_every_systematic_drawn(truth):
    rng = np.random.default_rng(4)
    by_gpa = (iron(KELVIN, PRESSURE + 4.0) - iron(KELVIN, PRESSURE - 4.0)) / 8.0
    rise, expected, pulls = KELVIN - 300.0, iron([3750.0])[0], []
    for _ in range(200):
        thickness, radiometry, gpa = rng.normal(0.0, (0.10, 0.03, 3.0))
        kelvin = KELVIN + radiometry * rise + rng.normal(0.0, 0.01 * KELVIN)
        rho = (truth + by_gpa * gpa) / (1 + thickness) + rng.normal(0.0, 0.005 * truth)
        found = fit_resistivity(
            kelvin,
            0.01 * KELVIN,
            rho,
            0.005 * truth,
            PRESSURE,
            temperature_systematic_k=0.03 * rise,
            resistivity_systematics_ohm_m=[0.10 * rho],
            pressure_error_gpa=3.0,
        )
        quantity = found.at(PRESSURE, 3750.0).quantity("resistivity")
        pulls.append((quantity.value - expected) / quantity.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_thickness_moves_resistivity_and_scale_together(truth):
    fit = fit_resistivity(KELVIN, 5.0, truth, 0.01 * truth, PRESSURE, resistivity_systematics_ohm_m=[0.1 * truth])
    found = fit.at(PRESSURE, 3750.0)
    assert found.systematic[1:] / found.values[1:] == pytest.approx([0.1, 0.1, 0.1], rel=1e-3)


def test_temperature_asked_for_moves_the_resistivity_with_it(truth):
    fit = fit_resistivity(KELVIN, 5.0, truth, 1e-4 * truth, PRESSURE)
    exact, wide = fit.at(PRESSURE, 3750.0), fit.at(PRESSURE, 3750.0, 200.0)
    slope = (iron([3751.0])[0] - iron([3749.0])[0]) / 2.0
    assert wide.covariance[0, 1] == pytest.approx(200.0**2 * slope, rel=1e-3)
    assert wide.covariance[1, 1] - exact.covariance[1, 1] == pytest.approx((200.0 * slope) ** 2, rel=1e-3)
    assert exact.covariance[0, 0] == 0.0


def test_another_pressure_is_predicted(truth):
    fit = fit_resistivity(KELVIN, 5.0, truth, 0.01 * truth, PRESSURE)
    assert fit.at(100.0, 3000.0).quantity("resistivity").value == pytest.approx(iron([3000.0], 100.0)[0], rel=1e-4)


def test_steps_at_several_pressures_are_fitted_together():
    gpa = np.linspace(60.0, 150.0, len(KELVIN))
    rho = np.array([iron([t], p)[0] for t, p in zip(KELVIN, gpa, strict=True)])
    found = fit_resistivity(KELVIN, 5.0, rho, 0.01 * rho, gpa).at(PRESSURE, 3750.0)
    assert found.quantity("resistivity").value == pytest.approx(iron([3750.0])[0], rel=1e-4)


def test_cold_ends_of_the_foil_are_accounted_for():
    """Resistors in series, 41 of them, in a hot spot as wide as the foil is long."""
    position = np.linspace(-1.0, 1.0, 41)
    rise = np.exp(-(position**2) / 1.5)
    rho = np.array([np.trapezoid(iron(300 + rise * (t - 300.0)), position) / 2.0 for t in KELVIN])
    profile = TemperatureProfile(tuple(position), tuple(rise))
    fit = fit_resistivity(KELVIN, 5.0, rho, 0.01 * rho, PRESSURE, profile=profile)
    expected = iron([3750.0])[0]
    found = fit.at(PRESSURE, 3750.0).quantity("resistivity")
    assert found.value == pytest.approx(expected, rel=1e-4)
    ignored = fit_resistivity(KELVIN, 5.0, rho, 0.01 * rho, PRESSURE).at(PRESSURE, 3750.0).quantity("resistivity")
    assert ignored.value < 0.9 * expected
    assert found.systematic == pytest.approx(0.2 * (expected - ignored.value), rel=0.3)


@pytest.mark.parametrize("profile", [None, TemperatureProfile((0.0, 1.0, 2.0), (0.7, 1.0, 0.7))])
def test_thermal_expansion_is_followed(profile):
    model = ResistivityModel(thermal_expansion=True)

    def hot(t):
        eos = HCP_FE_DEWAELE2006
        x = brentq(lambda v: float(eos.pressure(v * eos.v0_a3, t)) - PRESSURE, 0.5, 1.0)
        return iron([t], x=x)[0]

    if profile is None:
        rho = np.array([hot(t) for t in KELVIN])
    else:
        rho = np.array([(hot(t) + hot(300 + 0.7 * (t - 300))) / 2 for t in KELVIN])
    rng = np.random.default_rng(5)
    kelvin = KELVIN + rng.normal(0.0, 20.0, len(KELVIN))
    fit = fit_resistivity(KELVIN, 20.0, rho, 0.01 * rho, PRESSURE, model=model, profile=profile)
    assert fit.at(PRESSURE, 3750.0).quantity("resistivity").value == pytest.approx(hot(3750.0), rel=1e-4)
    moved = fit_resistivity(kelvin, 20.0, rho, 0.002 * rho, PRESSURE, model=model, profile=profile)
    quantity = moved.at(PRESSURE, 3750.0).quantity("resistivity")
    assert abs(quantity.value - hot(3750.0)) < 3 * quantity.error


def test_alloy_and_other_exponent_are_fitted_with_their_model():
    model = ResistivityModel(n=3, solutes_ohm_m=4e-7)
    pure = 1 / (1 / iron(KELVIN, n=3) - 1 / (SATURATION * compression(PRESSURE) ** (1 / 3)))
    rho = 1 / (1 / (pure + 4e-7) + 1 / (SATURATION * compression(PRESSURE) ** (1 / 3)))
    found = fit_resistivity(KELVIN, 5.0, rho, 0.01 * rho, PRESSURE, model=model).at(PRESSURE, 300.0)
    assert found.quantity("scale").value == pytest.approx(SCALE, rel=1e-4)
    assert "n = 3" in found.model


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"temperature_k": [300.0, 900.0], "resistivity_ohm_m": [1e-7, 2e-7]}, "2 steps of temperature: 3 at least"),
        ({"temperature_k": [300.0, np.nan, 2000.0]}, "step 2: temperature must be positive: nan"),
        ({"temperature_k": [300.0, -5.0, 2000.0]}, "step 2: temperature must be positive"),
        ({"temperature_error_k": -1.0}, "step 1: its error must be >= 0"),
        ({"resistivity_ohm_m": [4e-8, 0.0, 3e-7]}, "step 2: resistivity must be positive"),
        ({"resistivity_error_ohm_m": 0.0}, "step 1: its error must be positive"),
        ({"pressure_gpa": 0.0}, "pressure must be positive"),
        ({"pressure_error_gpa": np.nan}, "systematic error must be >= 0"),
        ({"resistivity_systematics_ohm_m": [1e-8, [1e-8, -1e-8, 0.0]]}, "step 2: systematic error must be >= 0"),
        ({"resistivity_ohm_m": [1e-7] * 4}, "differ in length"),
        ({"temperature_k": [1000.0, 1000.0, 1000.0], "resistivity_ohm_m": 2e-7}, "cannot tell the scale"),
        ({"resistivity_ohm_m": [4e-8, 1e-6, 9e-6]}, "300 to 3000 K show no saturation"),
        ({"pressure_gpa": 1e6}, "no volume"),
    ],
)
def test_bad_input_is_refused_in_one_line(changes, says):
    arguments = {
        "temperature_k": [300.0, 1500.0, 3000.0],
        "temperature_error_k": 10.0,
        "resistivity_ohm_m": [3e-8, 2e-7, 3.5e-7],
        "resistivity_error_ohm_m": 1e-9,
        "pressure_gpa": 140.0,
    }
    with pytest.raises(ValueError, match=says) as refused:
        fit_resistivity(**(arguments | changes))
    assert "\n" not in str(refused.value)


def test_error_of_the_temperature_asked_for_must_be_a_number(truth):
    fit = fit_resistivity(KELVIN, 5.0, truth, 0.01 * truth, PRESSURE)
    with pytest.raises(ValueError, match=">= 0 and finite"):
        fit.at(PRESSURE, 3750.0, float("nan"))
