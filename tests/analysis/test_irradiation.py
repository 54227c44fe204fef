"""Mean power and energy from readings: exact integrals, honest errors, clear refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.analysis.irradiation import dose
from megabar.analysis.live.irradiation import Dose


def test_a_straight_line_is_integrated_exactly():
    time = np.array([0.0, 1.0, 1.5, 4.0, 10.0])
    found = dose(time, 2.0 + 3.0 * time)
    assert found.quantity("energy").value == pytest.approx(2.0 * 10.0 + 1.5 * 100.0)
    assert found.quantity("power").value == pytest.approx(17.0)
    assert found.units == ("W", "J")


def test_a_drift_is_not_noise():
    time = np.arange(100.0)
    steady, drifting = (dose(time, 20.0 + slope * time).quantity("power").error for slope in (0.0, 0.01))
    assert drifting == pytest.approx(steady, rel=0.01)


def test_readings_without_scatter_are_no_better_than_their_steps():
    error = dose(np.arange(101.0), np.full(101, 20.0)).quantity("power").error
    assert error == pytest.approx(0.1 / 12**0.5 / 10.0, rel=0.01)


def test_readings_that_are_too_low_to_be_told_are_left_out():
    found = dose([0.0, 1.0, 2.0, 3.0, 4.0], [20.0, np.nan, 20.0, 20.0, 20.0])
    assert found.n_points == 4
    assert found.quantity("energy").value == pytest.approx(80.0)


def test_power_and_energy_have_one_error_between_them():
    found = dose([0.0, 1.0, 2.0, 4.0], [20.0, 21.0, 20.5, 20.2], scale_error=0.05)
    covariance = found.covariance
    assert covariance[0, 1] ** 2 == pytest.approx(covariance[0, 0] * covariance[1, 1])
    power, energy = found.quantity("power"), found.quantity("energy")
    assert energy.value / power.value == energy.error / power.error == pytest.approx(4.0)
    assert power.systematic == pytest.approx(0.05 * power.value)


def test_pulls_have_mean_zero_and_width_one():
    rng, time = np.random.default_rng(1), np.arange(40.0)
    pulls = []
    for _ in range(500):
        found = dose(time, 20.0 + 0.005 * time + 0.3 * rng.standard_normal(40)).quantity("power")
        pulls.append((found.value - 20.0 - 0.0975) / found.error)
    assert abs(np.mean(pulls)) < 0.15
    assert 0.9 < np.std(pulls) < 1.15


@pytest.mark.parametrize(
    "time, power, what",
    [
        ([0.0, 1.0], [1.0, 1.0], "2 readings"),
        ([0.0, 1.0, 2.0], [1.0, np.nan, 1.0], "2 readings"),
        ([0.0, 1.0, 1.0], [1.0, 1.0, 1.0], "must rise"),
        ([0.0, 1.0, 2.0], [1.0, 1.0], "one length"),
    ],
)
def test_what_cannot_be_averaged_is_refused(time: list[float], power: list[float], what: str):
    with pytest.raises(ValueError, match=what):
        dose(time, power)


@given(st.lists(st.floats(0.0, 100.0), min_size=3, max_size=30), st.floats(0.01, 10.0))
def test_the_mean_lies_among_the_readings(power: list[float], step_s: float):
    found = dose(step_s * np.arange(len(power)), power)
    assert min(power) - 1e-9 <= found.quantity("power").value <= max(power) + 1e-9
    assert found.quantity("power").error > 0


def test_nothing_after_a_pause_counts() -> None:
    """A pause ends the emission; to join readings across it would make light of darkness."""

    def event(descriptor: str, number: int, time_s: float, **data: float) -> dict[str, Any]:
        return {"descriptor": descriptor, "seq_num": number, "data": data, "timestamps": dict.fromkeys(data, time_s)}

    measured = Dose("laser")
    for stream in ("hold", "pauses"):
        measured("descriptor", {"uid": stream, "name": stream, "configuration": {}})
    for number in range(5):
        measured("event", event("hold", number + 1, float(number), laser_output_power=10.0))
    measured("event", event("pauses", 1, 60.0, pause_began=4.5, pause_went_on=60.0))
    measured("event", event("hold", 6, 61.0, laser_output_power=0.0))
    assert measured.value("energy") == pytest.approx(40.0) and measured.time_s[-1] == 4.0
