"""The filter of the simulated lock-ins, against a numerical integration and against what its noise must be."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from megabar.simulators.instruments.lockins.low_pass import POLES, LowPass
from megabar.simulators.noise import Noise

TAU_S = 0.3


def test_it_follows_a_signal_as_its_equations_have_it():
    """Each pole's output follows the one before it: tau dz/dt = input - z."""
    times = np.array([0.0, 0.05, 0.5, 0.6, 2.0])
    inputs = np.array([1.0, -0.5 + 1j, 2j, 1.0 - 1j, 0.3])

    def slopes(t: float, z: np.ndarray) -> np.ndarray:
        before = np.concatenate(([np.interp(t, times, inputs)], z[:-1]))
        return (before - z) / TAU_S

    exact = solve_ivp(slopes, (0.0, 2.0), np.zeros(POLES, complex), rtol=1e-10, atol=1e-12, max_step=0.01).y[:, -1]
    low_pass = LowPass()
    for k in range(len(times) - 1):
        low_pass.advance(times[k + 1] - times[k], TAU_S, inputs[k], inputs[k + 1])
    assert low_pass.stages == pytest.approx(exact, abs=1e-8)


def test_a_step_takes_longer_with_every_pole():
    low_pass = LowPass()
    low_pass.advance(TAU_S, TAU_S, 1.0, 1.0)
    one, two, three, four = low_pass.stages.real
    assert one == pytest.approx(1 - np.exp(-1))
    assert two == pytest.approx(1 - 2 * np.exp(-1))
    assert one > two > three > four > 0


def test_two_short_times_are_one_long_time():
    short, long = LowPass(), LowPass()
    for _ in range(50):
        short.advance(0.013, TAU_S, 1 + 2j, 1 + 2j)
    long.advance(0.65, TAU_S, 1 + 2j, 1 + 2j)
    assert short.stages == pytest.approx(long.stages, rel=1e-12)


@pytest.mark.parametrize("poles", range(1, POLES + 1))
def test_the_noise_has_the_equivalent_bandwidth_of_the_filter(poles: int):
    density = 5e-9
    bandwidth, _ = quad(lambda f: (1 + (2 * np.pi * f * TAU_S) ** 2) ** -poles, 0, np.inf, limit=500)
    noise, settled = Noise(1, f"{poles} poles"), []
    for _ in range(4000):
        low_pass = LowPass()
        low_pass.add_noise(100 * TAU_S, TAU_S, density, noise)
        settled.append(low_pass.stages[poles - 1])
    expected = density * np.sqrt(bandwidth)
    assert np.std(np.real(settled)) == pytest.approx(expected, rel=0.04)
    assert np.std(np.imag(settled)) == pytest.approx(expected, rel=0.04)
    assert abs(np.mean(settled)) < 4 * expected / np.sqrt(2000)


def test_noise_is_remembered_for_about_a_time_constant():
    noise, low_pass, series = Noise(1, "series"), LowPass(), []
    for _ in range(20000):
        low_pass.advance(0.5 * TAU_S, TAU_S, 0.0, 0.0)
        low_pass.add_noise(0.5 * TAU_S, TAU_S, 1.0, noise)
        series.append(low_pass.stages[0].real)
    assert np.std(series) == pytest.approx(1 / np.sqrt(4 * TAU_S), rel=0.05)
    assert np.corrcoef(series[:-1], series[1:])[0, 1] == pytest.approx(np.exp(-0.5), abs=0.03)
    assert np.corrcoef(series[:-8], series[8:])[0, 1] == pytest.approx(np.exp(-4), abs=0.04)


def test_no_time_changes_nothing():
    low_pass = LowPass()
    low_pass.advance(0.0, TAU_S, 1.0, 1.0)
    low_pass.add_noise(0.0, TAU_S, 1.0, Noise(1, "none"))
    assert not low_pass.stages.any()
