"""Steady flow: when it is declared, and what the averages over its window are worth."""

import math

import numpy as np
import pytest

from megabar.analysis.steady_state import steady_window, window_average

STRAIN = np.linspace(0.0, 0.12, 61)


def _hardening(scale=0.02, stress=2.0):
    return stress * (1.0 - np.exp(-STRAIN / scale))


def test_flow_is_declared_steady_once_hardening_is_over():
    stress = _hardening()
    declared = [steady_window(STRAIN[:n], stress[:n], np.full(n, 0.005)) for n in range(1, 62)]
    first = next(n for n, window in enumerate(declared, start=1) if window is not None)
    # 2 (1 - exp(-e / 0.02)): the change over the last 0.03 falls below 10 % between strains 0.08 and 0.09
    assert 0.07 < STRAIN[first - 1] < 0.10
    assert all(window is not None for window in declared[first - 1 :])


def test_window_holds_the_points_of_the_last_span():
    window = steady_window(STRAIN, np.full(61, 2.0), np.full(61, 0.01))
    assert window == slice(45, 61)
    assert STRAIN[-1] - STRAIN[window][0] <= 0.03 + 1e-12
    assert steady_window(STRAIN, np.full(61, 2.0), np.full(61, 0.01), span=0.06) == slice(30, 61)


def test_too_little_strain_is_never_steady():
    assert steady_window(STRAIN[:15], np.full(15, 2.0), np.full(15, 0.01)) is None
    assert steady_window([], [], []) is None
    assert steady_window([0.0, 0.1], [1.0, 1.0], [0.01, 0.01]) is None


def test_tolerance_and_trend_decide():
    trend = 2.0 * (1.0 + 2.5 * (STRAIN - STRAIN[-1]))  # 7.5 % over 3 %
    assert steady_window(STRAIN, trend, np.full(61, 0.005)) is not None
    assert steady_window(STRAIN, trend, np.full(61, 0.005), tolerance=0.05) is None
    assert steady_window(STRAIN, trend[::-1], np.full(61, 0.005), tolerance=0.05) is None  # softening counts too


def test_data_too_coarse_to_exclude_a_trend_do_not_pass():
    flat = np.full(61, 2.0)
    assert steady_window(STRAIN, flat, np.full(61, 0.05)) is not None
    assert steady_window(STRAIN, flat, np.full(61, 0.5)) is None
    assert steady_window(STRAIN, flat, np.full(61, 0.5), confidence=0.0) is not None


def test_scatter_beyond_the_stated_errors_counts():
    rng = np.random.default_rng(1)
    rough = 2.0 + rng.normal(0, 0.3, 61)
    assert steady_window(STRAIN, rough, np.full(61, 1e-3), tolerance=0.12, confidence=3.0) is None


def test_steady_flow_is_recognised_in_most_noisy_runs_and_hardening_in_few():
    rng = np.random.default_rng(2)
    error = np.full(61, 0.06)  # 3 %
    steady = [steady_window(STRAIN, 2.0 + rng.normal(0, error), error) for _ in range(200)]
    rising = [steady_window(STRAIN, 2.0 + 10.0 * STRAIN + rng.normal(0, error), error) for _ in range(200)]
    assert np.mean([w is not None for w in steady]) > 0.95
    assert np.mean([w is not None for w in rising]) < 0.25  # 10 % over the span: just not steady


def test_dead_points_and_stress_near_zero():
    stress = np.full(61, 2.0)
    stress[50] = np.nan
    assert steady_window(STRAIN, stress, np.full(61, 0.02)) == slice(45, 61)
    assert steady_window(STRAIN, np.full(61, 0.001), np.full(61, 0.02)) is None
    with pytest.raises(ValueError, match="one length"):
        steady_window(STRAIN, stress[:5], stress)
    with pytest.raises(ValueError, match="positive"):
        steady_window(STRAIN, stress, stress, span=0.0)


def test_average_keeps_the_systematic_term_whole():
    t = np.arange(100.0)
    mean = window_average(t, np.full(100, 5.0), np.full(100, 0.1), 0.3, (0.0, 99.0), "GPa")
    assert (mean.value, mean.unit) == (pytest.approx(5.0), "GPa")
    assert mean.error == pytest.approx(0.01, rel=1e-6)
    assert mean.systematic == pytest.approx(0.3)


def test_average_uses_the_window_and_weights_only():
    t = np.array([0.0, 1.0, 2.0, 3.0])
    mean = window_average(t, [9.0, 1.0, 3.0, 9.0], [1.0, 1.0, 0.5, 1.0], [9.0, 1.0, 2.0, 9.0], (0.5, 2.5), "K")
    assert mean.value == pytest.approx((1.0 + 4 * 3.0) / 5)
    assert mean.systematic == pytest.approx((1.0 + 4 * 2.0) / 5)


def test_drift_with_uneven_points_does_not_bias_the_mean():
    t = np.concatenate([np.linspace(0, 10, 50), np.linspace(10, 100, 10)])
    mean = window_average(t, 2.0 + 0.01 * t, np.full(60, 0.01), 0.0, (0.0, 100.0), "GPa")
    assert mean.value == pytest.approx(2.5, abs=1e-9)
    assert mean.error < 0.004


@pytest.mark.parametrize("given", [True, False])
def test_pulls_of_averages_over_200_draws_are_normal(given):
    rng = np.random.default_rng(3)
    t = np.linspace(0, 1000, 30)
    error = rng.uniform(0.05, 0.1, 30) if given else np.full(30, 0.07)
    pulls = []
    for _ in range(200):
        values = 2.0 + 1e-4 * (t - 500) + rng.normal(0, error)
        mean = window_average(t, values, error if given else None, 0.0, (0, 1000), "GPa")
        pulls.append((mean.value - 2.0) / mean.error)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_pulls_of_averages_of_correlated_points_are_normal():
    rng = np.random.default_rng(4)
    pulls, naive = [], []
    for _ in range(200):
        noise = rng.normal(0, 1, 400)
        for i in range(1, 400):
            noise[i] += 0.7 * noise[i - 1]
        values = noise[100:] * 0.1
        mean = window_average(np.arange(300.0), values, None, 0.0, (0, 299), "K")
        pulls.append(mean.value / mean.error)
        naive.append(mean.value / (np.std(values) / math.sqrt(300)))
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15
    assert np.std(naive) > 2.0


def test_scatter_beyond_the_errors_enlarges_the_error_of_the_mean():
    rng = np.random.default_rng(5)
    values = 2.0 + rng.normal(0, 0.1, 40)
    mean = window_average(np.arange(40.0), values, np.full(40, 0.001), 0.0, (0, 39), "GPa")
    assert mean.error == pytest.approx(0.1 / math.sqrt(40), rel=0.3)


def test_windows_without_points_are_refused():
    with pytest.raises(ValueError, match="0 good points between 5 and 6 s"):
        window_average([0.0, 1.0], [1.0, 1.0], [0.1, 0.1], 0.0, (5, 6), "K")
    with pytest.raises(ValueError, match="1 good points"):
        window_average([0.0], [1.0], None, 0.0, (0, 6), "K")
    with pytest.raises(ValueError, match="one length"):
        window_average([0.0, 1.0], [1.0], [0.1], 0.0, (0, 6), "K")
    one = window_average([1.0], [7.0], [0.1], 0.2, (0, 6), "K")
    assert (one.value, one.error, one.systematic) == (7.0, pytest.approx(0.1), 0.2)
