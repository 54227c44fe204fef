"""Thermal from electrical conductivity: the Lorenz number, covariance of temperature and resistivity, errors."""

import numpy as np
import pytest

from megabar.analysis.estimate import Estimate
from megabar.analysis.wiedemann_franz import SOMMERFELD, thermal_conductivity


def state(temperature=3750.0, resistivity=4.04e-7, covariance=((0.0, 0.0), (0.0, 0.0)), systematic=(0.0, 0.0)):
    names, units = ("temperature", "resistivity"), ("K", "ohm m")
    return Estimate(names, [temperature, resistivity], covariance, systematic, units, "test", 1.0, 9, "scale")


def test_conductivity_of_iron_agrees_with_the_reference_check():
    # physics.md D 3.1, with the Lorenz number rounded to 2.44e-8
    found = thermal_conductivity(state(), lorenz=2.44e-8).quantity("thermal_conductivity")
    assert found.value == pytest.approx(226.485, rel=1e-5)
    assert found.unit == "W/m/K"


@pytest.mark.parametrize(
    ("rho", "kelvin", "kappa"),
    [(6.52809e-7, 3000.0, 112.131), (4.64391e-7, 3750.0, 197.032), (7.2813e-7, 4000.0, 134.042)],
)
def test_other_reference_checks(rho, kelvin, kappa):
    # physics.md D 3.2, D 3.6, D 3.7
    found = thermal_conductivity(state(kelvin, rho), lorenz=2.44e-8).quantity("thermal_conductivity")
    assert found.value == pytest.approx(kappa, rel=1e-5)


def test_lorenz_number_is_that_of_free_electrons():
    assert pytest.approx(2.44300e-8, rel=1e-5) == SOMMERFELD
    assert thermal_conductivity(state()).quantity("thermal_conductivity").value == pytest.approx(
        226.485 * 2.443 / 2.44, 1e-4
    )


def test_errors_of_temperature_and_resistivity_that_rise_together_cancel_in_part():
    apart = thermal_conductivity(state(covariance=np.diag([100.0**2, 2e-8**2])), lorenz_error=0.0)
    relative = np.hypot(100 / 3750, 2e-8 / 4.04e-7)
    kappa = apart.quantity("thermal_conductivity")
    assert kappa.error == pytest.approx(relative * kappa.value, rel=1e-9)
    together = thermal_conductivity(state(covariance=[[1e4, 100 * 1e-8], [100 * 1e-8, 1e-16]]), lorenz_error=0.0)
    expected = abs(100 / 3750 - 1e-8 / 4.04e-7)
    assert together.quantity("thermal_conductivity").error == pytest.approx(expected * kappa.value, rel=1e-6)


def test_covariance_is_that_of_many_repetitions():
    covariance = np.array([[100.0**2, 0.7 * 100 * 8e-9], [0.7 * 100 * 8e-9, 8e-9**2]])
    drawn = np.random.default_rng(1).multivariate_normal([3750.0, 4.04e-7], covariance, 20000)
    found = thermal_conductivity(state(covariance=covariance)).covariance
    sample = np.cov(np.column_stack([drawn, SOMMERFELD * drawn[:, 0] / drawn[:, 1]]).T)
    scale = np.sqrt(np.outer(np.diag(found), np.diag(found)))
    assert np.max(np.abs(sample - found) / scale) < 0.03


def test_pulls_with_the_lorenz_number_drawn():
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(200):
        kelvin, rho, thickness, lorenz = rng.normal((3750.0, 4.04e-7, 1.0, 1.0), (80.0, 6e-9, 0.08, 0.05))
        measured = state(kelvin, rho * thickness, np.diag([80.0**2, 6e-9**2]), (0.0, 0.08 * 4.04e-7))
        found = thermal_conductivity(measured).quantity("thermal_conductivity")
        pulls.append((found.value - SOMMERFELD * lorenz * 3750.0 / 4.04e-7) / found.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_everything_else_of_the_estimate_stays():
    found = thermal_conductivity(state(systematic=(50.0, 1e-8)), lorenz_error=0.1)
    assert found.names == ("temperature", "resistivity", "thermal_conductivity")
    assert found.scale == "scale"
    expected = np.sqrt((50 / 3750) ** 2 + (1e-8 / 4.04e-7) ** 2 + 0.1**2) * found.values[2]
    assert found.systematic == pytest.approx([50.0, 1e-8, expected])


@pytest.mark.parametrize(
    ("measured", "options", "says"),
    [
        (state(temperature=0.0), {}, "temperature must be positive"),
        (state(resistivity=-1e-7), {}, "resistivity must be positive"),
        (state(resistivity=float("nan")), {}, "resistivity must be positive"),
        (state(), {"lorenz": 0.0}, "Lorenz number must be positive"),
        (state(), {"lorenz_error": -0.1}, "must be >= 0"),
        (state().pick(["resistivity"]), {}, "no quantity 'temperature'"),
    ],
)
def test_impossible_input_is_refused_in_one_line(measured, options, says):
    with pytest.raises(ValueError, match=says) as refused:
        thermal_conductivity(measured, **options)
    assert "\n" not in str(refused.value)
