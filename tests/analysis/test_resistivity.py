"""Geometry of foil and disc, and temperatures that vary along the foil."""

import numpy as np
import pytest
from scipy.integrate import quad

from megabar.analysis.estimate import Estimate
from megabar.analysis.resistivity import (
    Foil,
    TemperatureProfile,
    compressed_thickness,
    foil_resistivity,
    van_der_pauw,
)

FOIL = Foil(40e-6, 15e-6, 6e-6)


def resistance(value, error=0.0, systematic=0.0):
    return Estimate(("resistance",), [value], [[error**2]], [systematic], ("ohm",), "test", 1.0, 9)


def test_resistivity_of_a_foil_is_that_of_the_resistor_with_its_dimensions():
    x = 0.7
    thickness = 6e-6 * x ** (1 / 3)
    found = foil_resistivity(resistance(4e-7 * 40e-6 / (15e-6 * thickness), 1e-5), FOIL, x).quantity("resistivity")
    assert found.value == pytest.approx(4e-7, rel=1e-12)
    assert found.error == pytest.approx(1e-5 * 15e-6 * thickness / 40e-6, rel=1e-12)
    assert found.unit == "ohm m"


def test_thickness_of_a_cube_follows_its_volume():
    assert compressed_thickness(5e-6, [1.0, 0.512]) == pytest.approx([5e-6, 4e-6])


def test_geometry_is_the_systematic_error():
    exact = {"length_error": 0.0, "width_error": 0.0}
    only = Foil(40e-6, 15e-6, 6e-6, **exact)
    assert foil_resistivity(resistance(0.1), only, 1.0).systematic[0] == pytest.approx(0.1 * 0.1 * 15 / 40 * 6e-6)
    assert FOIL.scale_error == pytest.approx(np.sqrt(0.10**2 + 2 * 0.02**2))
    own = foil_resistivity(resistance(0.1, systematic=0.01), Foil(40e-6, 15e-6, 6e-6, 0.0, 0.0, 0.0), 1.0)
    assert own.systematic[0] == pytest.approx(0.1 * own.values[0])


def test_pulls_of_a_foil_with_geometry_drawn():
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(200):
        length, width, strain = 1 + rng.normal(0.0, (0.02, 0.02, 0.10))
        measured = 4e-7 * 40e-6 * length / (15e-6 * width * 6e-6 * 0.89 * strain) + rng.normal(0.0, 2e-4)
        found = foil_resistivity(resistance(measured, 2e-4), FOIL, 0.89**3).quantity("resistivity")
        pulls.append((found.value - 4e-7) / found.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_van_der_pauw_agrees_with_the_reference_check():
    # physics.md D 3.3
    found = van_der_pauw([0.012, 0.0085], np.zeros((2, 2)), 4e-6)
    assert found.quantity("resistivity").value == pytest.approx(1.83935e-7, rel=1e-5)
    assert found.quantity("correction_factor").value == pytest.approx(0.989818, rel=1e-5)
    assert found.quantity("resistivity").systematic == pytest.approx(0.1 * 1.83935e-7, rel=1e-5)


@pytest.mark.parametrize("gaps", [(1.0, 1.0, 1.0), (1.0, 3.0, 0.2), (0.01, 5.0, 2.0)])
def test_contacts_on_the_edge_of_a_half_plane_give_its_resistivity(gaps):
    """Potentials of point electrodes, -rho I ln(r) / (pi d), superposed: no equation of van der Pauw."""
    rho, d = 3e-7, 5e-6
    p = np.concatenate([[0.0], np.cumsum(gaps)])

    def measured(source, sink, plus, minus):
        def potential(at):
            return rho / (np.pi * d) * (np.log(abs(p[at] - p[sink])) - np.log(abs(p[at] - p[source])))

        return potential(plus) - potential(minus)

    pair = [abs(measured(0, 1, 2, 3)), abs(measured(1, 2, 3, 0))]
    assert van_der_pauw(pair, np.zeros((2, 2)), d).values[0] == pytest.approx(rho, rel=1e-9)


def test_equal_resistances_need_no_correction():
    assert van_der_pauw([0.01, 0.01], np.eye(2) * 1e-10, 1e-6).values[1] == pytest.approx(1.0, abs=1e-9)
    assert van_der_pauw([1e-6, 1.0], np.zeros((2, 2)), 1e-6).values[1] < 0.5


def test_covariance_of_van_der_pauw_is_that_of_many_repetitions():
    rng = np.random.default_rng(2)
    covariance = np.array([[1.0, 0.5], [0.5, 2.0]]) * 1e-10
    drawn = rng.multivariate_normal([0.012, 0.004], covariance, 3000)
    found = np.array([van_der_pauw(pair, covariance, 4e-6).values for pair in drawn])
    expected = van_der_pauw([0.012, 0.004], covariance, 4e-6).covariance
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.max(np.abs(np.cov(found.T) - expected) / scale) < 0.1


def test_common_error_of_both_resistances_moves_resistivity_by_as_much():
    found = van_der_pauw([0.012, 0.004], np.zeros((2, 2)), 4e-6, systematic_ohm=[1.2e-4, 4e-5], thickness_error=0.0)
    assert found.systematic == pytest.approx([0.01 * found.values[0], 0.0], abs=1e-12)


def shape(temperature):
    return 1e-7 + 1.4e-10 * temperature - 8e-15 * temperature**2


def test_foil_that_is_hot_in_the_middle_is_resistors_in_series():
    x = np.linspace(-20e-6, 20e-6, 401)
    profile = TemperatureProfile(tuple(x), tuple(np.exp(-((x / 12e-6) ** 2))))

    def slice_(position):
        return shape(300.0 + 3200.0 * np.exp(-((position / 12e-6) ** 2)))

    mean = quad(slice_, -20e-6, 20e-6)[0] / 40e-6
    factor = float(profile.correction(shape, 3500.0))
    assert factor == pytest.approx(shape(3500.0) / mean, rel=1e-5)
    assert factor > 1.3


def test_uniform_foil_needs_no_correction():
    profile = TemperatureProfile((0.0, 1e-5), (1.0, 1.0))
    assert profile.correction(shape, [500.0, 3500.0]) == pytest.approx([1.0, 1.0])
    assert profile.temperatures([500.0, 600.0]).shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Foil(40e-6, 15e-6, 0.0), "Foil.thickness_m must be positive"),
        (lambda: Foil(-40e-6, 15e-6, 6e-6), "Foil.length_m must be positive"),
        (lambda: Foil(40e-6, float("nan"), 6e-6), "Foil.width_m must be positive"),
        (lambda: Foil(40e-6, 15e-6, 6e-6, thickness_error=-0.1), "Foil.thickness_error must be >= 0"),
        (lambda: foil_resistivity(resistance(0.1), FOIL, 0.0), "must be positive"),
        (lambda: van_der_pauw([0.01, 0.01], np.zeros((2, 2)), -1e-6), "must be positive"),
        (lambda: van_der_pauw([0.01, -0.01], np.zeros((2, 2)), 1e-6), "two positive resistances"),
        (lambda: van_der_pauw([0.01, np.nan], np.zeros((2, 2)), 1e-6), "two positive resistances"),
        (lambda: TemperatureProfile((0.0,), (1.0,)), "two or more"),
        (lambda: TemperatureProfile((0.0, 0.0), (1.0, 1.0)), "rising positions"),
        (lambda: TemperatureProfile((0.0, 1.0), (1.0, float("nan"))), "finite numbers"),
    ],
)
def test_impossible_geometry_is_refused_in_one_line(call, says):
    with pytest.raises(ValueError, match=says) as refused:
        call()
    assert "\n" not in str(refused.value)
