"""Bloch-Grueneisen, saturation, solutes, and the chain of iron from pressure to resistivity."""

import numpy as np
import pytest
from scipy.integrate import quad

from megabar.analysis.bloch_grueneisen import (
    ResistivityModel,
    bloch_grueneisen,
    in_parallel,
    matthiessen,
    room_resistivity_gomi2013,
    saturation_gomi2013,
)

IRON = ResistivityModel()


def brute_force(temperature, theta, n):
    """Sum of a million rectangles."""
    width = theta / temperature / 1_000_000
    x = (np.arange(1_000_000) + 0.5) * width
    return (temperature / theta) ** n * np.sum(x**n / (np.expm1(x) * -np.expm1(-x))) * width


def test_resistivity_with_saturation_agrees_with_the_reference_check():
    # physics.md D 3.2: normalised to the total resistivity at 300 K
    ratio = float(bloch_grueneisen(3000.0, 430.0) / bloch_grueneisen(300.0, 430.0))
    ideal = ratio / (1 / 1e-7 - 1 / 1.43e-6)
    assert ratio == pytest.approx(11.1715, rel=1e-5)
    assert ideal == pytest.approx(1.20114e-6, rel=1e-5)
    assert float(in_parallel(ideal, 1.43e-6)) == pytest.approx(6.52809e-7, rel=1e-5)


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("temperature", [12.0, 100.0, 430.0, 4000.0])
def test_integral_is_that_of_brute_force_and_of_adaptive_quadrature(n, temperature):
    found = float(bloch_grueneisen(temperature, 430.0, n))
    assert found == pytest.approx(brute_force(temperature, 430.0, n), rel=1e-8)
    adaptive = quad(lambda x: x**n / (np.expm1(x) * -np.expm1(-x)), 1e-12, 430.0 / temperature, epsabs=0, limit=200)[0]
    assert found == pytest.approx(adaptive * (temperature / 430.0) ** n, rel=1e-8)


@pytest.mark.parametrize(("n", "limit"), [(3, 7.212341), (5, 124.431331)])
def test_cold_resistivity_is_a_power_and_hot_resistivity_a_straight_line(n, limit):
    cold = np.array([2.0, 5.0])  # n! zeta(n) (T/Theta)^n
    np.testing.assert_allclose(bloch_grueneisen(cold, 600.0, n), limit * (cold / 600.0) ** n, rtol=1e-6)
    assert bloch_grueneisen(60000.0, 600.0, n) == pytest.approx(100.0 / (n - 1), rel=1e-5)


def test_shapes_broadcast():
    assert bloch_grueneisen(np.ones((4, 1)) * 300.0, [400.0, 500.0]).shape == (4, 2)


def test_saturation_limits_the_resistivity_and_vanishes_when_the_metal_is_good():
    assert in_parallel(1e3, 1.5e-6) == pytest.approx(1.5e-6)
    assert in_parallel(1e-12, 1.5e-6) == pytest.approx(1e-12, rel=1e-5)


def test_chain_of_iron_agrees_with_the_reference_check():
    # physics.md D 3.6
    x = float(IRON.compression(140.0, 3750.0))
    assert x == pytest.approx(0.70519, rel=1e-4)
    assert float(IRON.eos.debye_temperature_k(x * IRON.eos.v0_a3)) == pytest.approx(740.461, rel=1e-4)
    assert float(room_resistivity_gomi2013(x)) == pytest.approx(3.92161e-8, rel=1e-4)
    assert float(saturation_gomi2013(x)) == pytest.approx(1.49536e-6, rel=1e-4)
    assert float(IRON.ideal(x, 3750.0)) == pytest.approx(6.73572e-7, rel=1e-4)
    assert float(IRON.resistivity(x, 3750.0)) == pytest.approx(4.64391e-7, rel=1e-4)


def test_chain_of_iron_is_within_the_error_of_the_measurement():
    """Ohta 2016: 40.4 (+6.5 -9.7) e-8 ohm m at 140 GPa and 3750 K."""
    assert 30.7e-8 < float(IRON.resistivity(IRON.compression(140.0, 3750.0), 3750.0)) < 46.9e-8


def test_solutes_add_before_saturation_as_in_the_reference_check():
    # physics.md D 3.7, illustrative resistivities
    ideal = matthiessen(5.3e-7, {"Ni": (10.0, 1.2e-8), "Si": (22.5, 3.4e-8)})
    assert ideal == pytest.approx(1.415e-6, rel=1e-9)
    assert float(in_parallel(ideal, 1.5e-6)) == pytest.approx(7.2813e-7, rel=1e-5)
    alloy = ResistivityModel(solutes_ohm_m=8.85e-7)
    x = 0.7
    assert alloy.ideal(x, 4000.0) - IRON.ideal(x, 4000.0) == pytest.approx(8.85e-7)
    assert alloy.resistivity(x, 4000.0) - IRON.resistivity(x, 4000.0) < 0.5 * 8.85e-7


def test_compression_lowers_and_heat_raises_the_resistivity():
    x = IRON.compression([40.0, 100.0, 160.0], 300.0)
    assert np.all(np.diff(x) < 0) and np.all(np.diff(IRON.resistivity(x, 2000.0)) < 0)
    assert np.all(np.diff(IRON.resistivity(0.7, np.linspace(300, 5000, 40))) > 0)


def test_thermal_expansion_belongs_to_a_pressure_that_was_measured_hot():
    hot = ResistivityModel(thermal_expansion=True)
    x = float(hot.compression(140.0, 3750.0))
    assert float(hot.eos.pressure(x * hot.eos.v0_a3, 3750.0)) == pytest.approx(140.0, abs=1e-6)
    assert x > float(IRON.compression(140.0, 3750.0))
    assert hot.compression(140.0, 300.0) == pytest.approx(IRON.compression(140.0, 3750.0))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bloch_grueneisen(0.0, 400.0), "positive temperatures"),
        (lambda: bloch_grueneisen(np.full(500, -1.0), 400.0), "positive temperatures"),
        (lambda: bloch_grueneisen(300.0, np.nan), "positive temperatures"),
        (lambda: bloch_grueneisen(300.0, 400.0, 1), "n >= 2"),
        (lambda: room_resistivity_gomi2013(1.3), "between 0 and 1.24"),
        (lambda: matthiessen(5e-7, {"Si": (-1.0, 3e-8)}), "solute Si"),
        (lambda: matthiessen(5e-7, {"Si": (1.0, np.nan)}), "solute Si"),
        (lambda: matthiessen(5e-7, {"Si": (60.0, 3e-8), "O": (50.0, 3e-8)}), "more than 100"),
    ],
)
def test_impossible_input_is_refused_in_one_line(call, says):
    with pytest.raises(ValueError, match=says) as refused:
        call()
    assert "\n" not in str(refused.value)
