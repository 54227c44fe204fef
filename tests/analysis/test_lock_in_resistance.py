"""Resistance from lock-in readings: phase, covariance of resistance and reactance, errors."""

import numpy as np
import pytest

from megabar.analysis.delta_mode import ResistanceErrors
from megabar.analysis.lock_in_resistance import lock_in_resistance

CURRENT, R, X = 5e-3, 0.020, 0.004


def demodulated(resistance, reactance, phase_deg, current=CURRENT):
    """X and Y in rms V of a voltage over whole periods, multiplied by references as a lock-in does it."""
    t = np.arange(4000) / 4000 * 2 * np.pi * 5
    through = np.sqrt(2) * current * np.cos(t + np.radians(phase_deg))  # the source leads the reference
    lag = np.sqrt(2) * current * -np.sin(t + np.radians(phase_deg))
    voltage = resistance * through + reactance * lag
    return np.sqrt(2) * np.mean(voltage * np.cos(t)), np.sqrt(2) * np.mean(voltage * -np.sin(t))


@pytest.mark.parametrize("phase", [0.0, 12.0, -75.0, 180.0])
def test_phase_of_the_source_is_turned_back(phase):
    x, y = demodulated(R, X, phase)
    found = lock_in_resistance([x] * 3, [y] * 3, CURRENT, phase_deg=phase)
    assert found.values == pytest.approx([R, X], rel=1e-9)
    assert found.units == ("ohm", "ohm")


def test_covariance_is_that_of_many_repetitions():
    rng = np.random.default_rng(1)
    x, y = demodulated(R, X, 40.0)
    found, covariance = [], []
    for _ in range(2000):
        noise = rng.normal(0.0, (3e-7, 5e-8), (10, 2))  # the drift of the phase makes one worse
        estimate = lock_in_resistance(x + noise[:, 0], y + noise[:, 1], CURRENT, phase_deg=40.0)
        found.append(estimate.values)
        covariance.append(estimate.covariance)
    expected = np.cov(np.array(found).T)
    assert abs(expected[0, 1]) > 0.5 * expected[1, 1]  # turning by 40 degrees mixes the two
    np.testing.assert_allclose(np.mean(covariance, axis=0), expected, rtol=0.1)


def test_pulls_with_phase_and_scale_drawn():
    rng = np.random.default_rng(2)
    budget, pulls = ResistanceErrors(1e-3, 5e-4, thermoelectric_v=0.0), []
    for _ in range(200):
        phase, source, gain = rng.normal(0.0, (1.0, 1e-3, 5e-4))
        x, y = demodulated(R, X, 12.0 + phase, CURRENT * (1 + source))
        noise = rng.normal(0.0, 2e-7, (20, 2))
        shown = (x + noise[:, 0]) * (1 + gain), (y + noise[:, 1]) * (1 + gain)
        found = lock_in_resistance(*shown, CURRENT, phase_deg=12.0, phase_error_deg=1.0, errors=budget)
        each = found.quantities().values()
        pulls.append([(q.value - truth) / q.combined for q, truth in zip(each, (R, X), strict=True)])
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.25)
    assert np.all((np.std(pulls, axis=0) > 0.85) & (np.std(pulls, axis=0) < 1.15))


def test_phase_error_is_of_first_order_in_the_reactance_and_second_in_the_resistance():
    none = ResistanceErrors(0.0, 0.0, 0.0)
    x, y = demodulated(R, 0.0, 0.0)
    pure = lock_in_resistance([x] * 3, [y] * 3, CURRENT, phase_error_deg=2.0, errors=none)
    lost = R * (1 - np.cos(np.radians(2.0)))
    assert pure.systematic == pytest.approx([lost, R * np.radians(2.0)], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1e-4] * 2, [0.0] * 2, CURRENT), "2 readings of the lock-in: 3 at least"),
        (([1e-4] * 3, [0.0] * 2, CURRENT), "one length"),
        (([1e-4, np.nan, 1e-4], [0.0] * 3, CURRENT), "reading 1 .*no number"),
        (([1e-4] * 3, [0.0] * 3, 0.0), "current > 0"),
        (([1e-4] * 3, [0.0] * 3, np.nan), "current > 0"),
    ],
)
def test_bad_readings_are_refused_in_one_line(arguments, says):
    with pytest.raises(ValueError, match=says) as refused:
        lock_in_resistance(*arguments)
    assert "\n" not in str(refused.value)
