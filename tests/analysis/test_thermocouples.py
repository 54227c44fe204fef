"""Thermocouples: the reference functions, their inverse, the cold junction, and the errors of a sample temperature."""

import numpy as np
import pytest

from megabar.analysis import thermocouples as tc


def test_type_c_emf_and_its_inverse_agree_with_the_reference_check():
    # physics.md D 1.3
    reading = float(tc.emf(1600.0) - tc.emf(25.0))
    assert reading == pytest.approx(27.9003e-3, abs=1e-6)
    assert float(tc.temperature_c(reading, 25.0)) == pytest.approx(1600.0, abs=1e-6)
    assert float(tc.temperature_c(reading)) == pytest.approx(1577.02, abs=0.01)  # cold junction forgotten
    assert float(tc.seebeck(1600.0)) == pytest.approx(14.8344e-6, abs=1e-10)


@pytest.mark.parametrize(("kind", "highest"), [("C", 2315.0), ("D", 2320.0)])
def test_inverse_returns_the_temperature_over_the_whole_range(kind, highest):
    t = np.linspace(0.0, highest, 4001)
    assert np.max(np.abs(tc.temperature_c(tc.emf(t, kind), 0.0, kind) - t)) < 5e-3  # the join of type D leaves 44 nV
    away = np.abs(t - tc.KINDS[kind].limits_c[1]) > 0.1
    assert np.max(np.abs(tc.temperature_c(tc.emf(t, kind), 0.0, kind) - t)[away]) < 1e-8


@pytest.mark.parametrize("kind", ["C", "D"])
def test_ranges_of_a_reference_function_meet(kind):
    join = tc.KINDS[kind].limits_c[1]
    below, above = tc.emf([join - 1e-9, join + 1e-9], kind)
    assert abs(above - below) < 5e-8
    assert np.all(np.diff(tc.emf(np.linspace(0.0, 2315.0, 10001), kind)) > 0)


def test_seebeck_is_the_slope_of_the_emf():
    t = np.array([100.0, 500.0, 700.0, 1500.0, 2200.0])
    for kind in "CD":
        slope = (tc.emf(t + 0.01, kind) - tc.emf(t - 0.01, kind)) / 0.02
        np.testing.assert_allclose(tc.seebeck(t, kind), slope, rtol=1e-7)


def test_sample_temperature_carries_noise_and_the_three_common_terms():
    reading = float(tc.emf(700.0) - tc.emf(24.0))
    quantity = tc.sample_temperature(reading, 3e-6, 24.0).quantity("temperature")
    assert quantity.value == pytest.approx(973.15, abs=1e-6)
    assert quantity.unit == "K"
    assert quantity.error == pytest.approx(3e-6 / float(tc.seebeck(700.0)), rel=1e-9)
    cold = 0.5 * float(tc.seebeck(24.0) / tc.seebeck(700.0))
    assert quantity.systematic == pytest.approx(np.sqrt(3.5**2 + 6.7315**2 + cold**2), rel=1e-9)


def test_pulls_of_sample_temperature_over_200_draws_are_normal():
    rng = np.random.default_rng(5)
    truth_k = rng.uniform(500.0, 2200.0, 200)
    pulls = []
    for truth in truth_k:
        scale, gradient, offset = rng.normal(0.0, (0.005, 0.01, 0.5))
        # world: junction differs from the sample, its wire scale is off, and so is the cold-junction sensor
        junction_c = truth - 273.15 + gradient * (truth - 300.0)
        shown_c = junction_c * (1.0 + scale)
        reading = float(tc.emf(shown_c) - tc.emf(25.0)) + rng.normal(0.0, 2e-6)
        estimate = tc.sample_temperature(reading, 2e-6, 25.0 + offset).quantity("temperature")
        pulls.append((estimate.value - truth) / estimate.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


@pytest.mark.parametrize("emf_v", [0.2, -1e-3, float("nan"), float("inf")])
def test_emf_of_a_broken_thermocouple_is_refused(emf_v):
    with pytest.raises(ValueError, match="not on the curve of type C") as failure:
        tc.sample_temperature(emf_v, 1e-6, 25.0)
    assert "\n" not in str(failure.value)


def test_unknown_type_and_impossible_cold_junction_are_named():
    with pytest.raises(ValueError, match="one of C, D"):
        tc.emf(100.0, "K")
    with pytest.raises(ValueError, match=r"0.0 to 2315.0 degC"):
        tc.temperature_c(1e-3, -5.0)
    with pytest.raises(ValueError, match=">= 0"):
        tc.sample_temperature(1e-3, float("nan"), 25.0)
