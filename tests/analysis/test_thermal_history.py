"""Time at temperature: what counts, what does not, and what is known of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.analysis.thermal_history import ThermalHistory

TARGET_C = 1200.0


def history(readings: list[tuple[float, float]], longest_gap_s: float = 100.0) -> ThermalHistory:
    taken = ThermalHistory(target_c=TARGET_C, tolerance_k=5.0, longest_gap_s=longest_gap_s)
    for time_s, celsius in readings:
        taken.add(time_s, celsius)
    return taken


def test_only_time_within_the_band_counts() -> None:
    ramp = [(0.0, 1100.0), (10.0, 1200.0), (20.0, 1204.9), (30.0, 1195.1), (40.0, 1100.0)]
    taken = history(ramp)
    assert taken.held_s == pytest.approx(0.5 + 20.0 + 10.0 * 0.1 / 95.1)
    assert taken.first_s == pytest.approx(9.5) and taken.last_s == pytest.approx(30.0 + 10.0 * 0.1 / 95.1)
    assert taken.estimate().quantity("hold_time").error == pytest.approx(math.sqrt(2 * 10.0**2 / 12))


def test_an_interval_can_cross_the_whole_band() -> None:
    assert history([(0.0, 1100.0), (10.0, 1300.0)]).held_s == pytest.approx(0.5)


def test_a_gap_does_not_count_and_is_told() -> None:
    taken = history([(0.0, 1200.0), (50.0, 1200.0), (350.0, 1200.0), (400.0, 1200.0)])
    assert taken.held_s == pytest.approx(100.0) and taken.gaps_s == [300.0]
    assert "300 s that nobody knows of" in taken.estimate().model
    assert history([(0.0, 1200.0), (300.0, 1200.0)], longest_gap_s=301.0).held_s == pytest.approx(300.0)


@pytest.mark.parametrize(
    ("reading", "message"), [((1.0, 20.0), "must rise"), ((0.5, 20.0), "must rise"), ((2.0, math.nan), "numbers")]
)
def test_readings_that_are_none_are_refused(reading: tuple[float, float], message: str) -> None:
    taken = history([(1.0, 1200.0)])
    with pytest.raises(ValueError, match=message):
        taken.add(*reading)
    taken.add(11.0, 1200.0)
    assert taken.held_s == pytest.approx(10.0)


@given(st.lists(st.tuples(st.floats(0.1, 99.0), st.floats(1180.0, 1220.0)), min_size=2, max_size=30))
def test_counting_agrees_with_a_fine_grid(steps: list[tuple[float, float]]) -> None:
    times = np.cumsum([step for step, _ in steps])
    celsius = np.array([value for _, value in steps])
    taken = history(list(zip(times.tolist(), celsius.tolist(), strict=True)))
    grid = np.linspace(times[0], times[-1], 20_001)
    inside = np.abs(np.interp(grid, times, celsius) - TARGET_C) <= 5.0
    assert taken.held_s == pytest.approx(float(np.mean(inside)) * (times[-1] - times[0]), abs=0.02 * len(steps) + 0.1)
