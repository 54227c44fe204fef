"""Resistance from the overlapping three-point readings of a source in delta mode."""

import numpy as np
import pytest

from megabar.analysis.delta_mode import (
    CURRENT_ERROR,
    METER_GAIN_ERROR,
    RESOLUTION_V,
    THERMOELECTRIC_V,
    ResistanceErrors,
    delta_resistance,
)
from megabar.analysis.delta_readings import resistance_of_delta_readings

R, CURRENT, NOISE = 0.012, 0.01, 4e-8
EXACT_V = 1e-13
"""Step of readings that are not rounded."""


def voltages(n, *, resistance=R, offset=4e-6, drift=5e-7, quadratic=0.0, noise=0.0, rng=None):
    """One by one, with the current high first; n + 2 of them make n readings."""
    found = []
    for k in range(n + 2):
        kick = rng.normal(0.0, noise) if rng is not None else 0.0
        found.append((-1) ** k * CURRENT * resistance + offset + drift * k + quadratic * k * k + kick)
    return np.array(found)


def readings_of(voltage):
    """As the reference manual has it: X - 2 Y + Z over 4, its sign changed for every other one."""
    three = zip(voltage, voltage[1:], voltage[2:], strict=False)
    return np.array([(-1) ** j * (x - 2 * y + z) / 4 for j, (x, y, z) in enumerate(three)])


def covariance(n, noise=NOISE, step=0.0):
    """Of n readings: of voltages with independent noise, through the operator that makes the readings."""
    operator = np.array([readings_of(unit) for unit in np.eye(n + 2)]).T
    return noise**2 * operator @ operator.T + step**2 / 12 * np.eye(n)


def bound(n, order, noise=NOISE, step=0.0):
    """Cramer-Rao bound of R in ohm: Fisher matrix of the mean and of what the drift leaves in readings."""
    j = np.arange(n)
    slopes = np.stack([np.full(n, CURRENT), *((-1.0) ** j * ((j - n / 2) / n) ** p for p in range(order - 1))])
    fisher = slopes @ np.linalg.solve(covariance(n, noise, step), slopes.T)
    return np.sqrt(np.linalg.inv(fisher)[0, 0])


def test_the_covariances_of_neighbours_are_6_4_and_1_sixteenths():
    first = covariance(6, noise=1.0)[0]
    assert first == pytest.approx(np.array([6, 4, 1, 0, 0, 0]) / 16)


def test_it_agrees_with_the_reference_check():
    # physics.md D 3.4
    voltage = voltages(4)
    assert voltage * 1e6 == pytest.approx([124, -115.5, 125, -114.5, 126, -113.5], rel=1e-9)
    readings = readings_of(voltage)
    assert readings == pytest.approx([0.012 * 0.01] * 4, rel=1e-9)
    found = resistance_of_delta_readings(readings, CURRENT).estimate.quantity("resistance")
    assert found.value == pytest.approx(0.012, rel=1e-9) and found.unit == "ohm"
    one = resistance_of_delta_readings(readings[:1], CURRENT, drift=1, noise_v=NOISE).estimate
    assert one.values[0] == pytest.approx(0.012, rel=1e-9)


def test_one_reading_has_the_error_of_its_three_voltages():
    found = resistance_of_delta_readings([1.2e-4], CURRENT, drift=1, noise_v=NOISE, step_v=EXACT_V)
    assert found.estimate.quantity("resistance").error == pytest.approx(NOISE * np.sqrt(6) / (4 * CURRENT), rel=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_it_is_the_generalised_mean_and_no_worse_than_the_voltages_themselves(order):
    voltage = voltages(9, quadratic=1e-8 * (order > 1), noise=NOISE, rng=np.random.default_rng(1))
    readings, j = readings_of(voltage), np.arange(9)
    design = np.column_stack([np.ones(9), *((-1.0) ** j * j**p for p in range(order - 1))])
    inverse = np.linalg.inv(covariance(9))
    normal = design.T @ inverse @ design
    expected = np.linalg.solve(normal, design.T @ inverse @ readings)[0] / CURRENT
    found = resistance_of_delta_readings(readings, CURRENT, drift=order, noise_v=NOISE, step_v=EXACT_V).estimate
    assert found.values[0] == pytest.approx(expected, rel=1e-7)
    assert found.covariance[0, 0] == pytest.approx(np.linalg.inv(normal)[0, 0] / CURRENT**2, rel=1e-6)
    currents = CURRENT * (-1.0) ** np.arange(11)
    whole = delta_resistance(voltage, currents, drift=order, noise_v=NOISE).estimate
    assert found.values[0] == pytest.approx(whole.values[0], rel=1e-7)
    assert found.covariance[0, 0] == pytest.approx(whole.covariance[0, 0], rel=1e-5)


@pytest.mark.parametrize("n", [8, 30, 200])
def test_error_is_the_cramer_rao_bound_and_pulls_are_of_unit_width(n):
    rng = np.random.default_rng(n)
    errors, pulls = [], []
    for _ in range(400):
        readings = readings_of(voltages(n, quadratic=1e-9, noise=NOISE, rng=rng))
        found = resistance_of_delta_readings(readings, CURRENT).estimate.quantity("resistance")
        errors.append(found.error)
        pulls.append((found.value - R) / found.error)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(bound(n, 2, step=RESOLUTION_V), rel=0.06)
    assert abs(np.mean(pulls)) < 0.2
    width = np.sqrt((n - 2) / (n - 4))  # of Student's distribution, as the noise is known from n - 2 residuals
    assert np.std(pulls) == pytest.approx(width, rel=0.12)


def test_readings_counted_as_independent_would_be_told_too_well_and_the_mean_would_be_worse():
    """The control: what the covariance is for."""
    rng, n = np.random.default_rng(2), 6
    best, plain, told = [], [], []
    for _ in range(2000):
        readings = readings_of(voltages(n, noise=NOISE, rng=rng))
        best.append(resistance_of_delta_readings(readings, CURRENT, drift=1, noise_v=NOISE).estimate.values[0])
        plain.append(np.mean(readings) / CURRENT)
        told.append(np.std(readings, ddof=1) / np.sqrt(n) / CURRENT)
    assert np.std(best) == pytest.approx(bound(n, 1), rel=0.05)
    assert np.std(plain) > 1.04 * np.std(best)
    assert np.mean(told) < 0.6 * np.std(plain)


def test_rounded_readings_of_a_long_series_are_not_weighted_as_if_they_were_exact():
    """Where the covariance of the noise alone would do so, rounding makes the mean many times worse."""
    rng, n, step = np.random.default_rng(3), 1000, 2e-9
    naive = np.linalg.solve(covariance(n), np.ones(n))
    found, naively = [], []
    for _ in range(40):
        readings = np.round(readings_of(voltages(n, drift=0.0, noise=NOISE, rng=rng)) / step) * step
        estimate = resistance_of_delta_readings(readings, CURRENT, drift=1, noise_v=NOISE, step_v=step).estimate
        found.append(estimate.values[0])
        naively.append(naive @ readings / np.sum(naive) / CURRENT)
    assert np.std(found) == pytest.approx(bound(n, 1, step=step), rel=0.25)
    assert np.std(naively) > 1.5 * np.std(found)


def test_a_series_that_is_nothing_but_outliers_is_refused():
    readings = readings_of(voltages(100, noise=NOISE, rng=np.random.default_rng(9)))
    with pytest.raises(ValueError, match="26 of 102 voltages are too far off for a noise of 4e-09 V"):
        resistance_of_delta_readings(readings, CURRENT, noise_v=NOISE / 10)


def test_quadratic_drift_biases_an_odd_number_of_readings_unless_it_is_fitted():
    readings = readings_of(voltages(7, quadratic=2e-7))
    assert readings - CURRENT * R == pytest.approx(1e-7 * (-1.0) ** np.arange(7), rel=1e-4)
    assert resistance_of_delta_readings(readings, CURRENT).estimate.values[0] == pytest.approx(R, rel=1e-9)
    assert abs(resistance_of_delta_readings(readings, CURRENT, drift=1).estimate.values[0] - R) > 1e-7


def test_a_spike_in_one_voltage_is_found_in_the_three_readings_that_share_it():
    rng = np.random.default_rng(4)
    voltage = voltages(30, noise=NOISE, rng=rng)
    clean = resistance_of_delta_readings(readings_of(voltage), CURRENT)
    assert clean.outliers == () and clean.noise_v == pytest.approx(NOISE, rel=0.3)
    voltage[[8, 0, 23]] += 3e-6, -1.5e-6, -1e-6
    spiked = resistance_of_delta_readings(readings_of(voltage), CURRENT)
    assert spiked.outliers == (0, 8, 23)
    assert spiked.noise_v == pytest.approx(NOISE, rel=0.35)
    assert spiked.estimate.values[0] == pytest.approx(clean.estimate.values[0], abs=2 * bound(30, 2))
    assert resistance_of_delta_readings(readings_of(voltage), CURRENT, noise_v=NOISE).outliers == (0, 8, 23)
    currents = CURRENT * (-1.0) ** np.arange(32)
    whole = delta_resistance(voltage, currents)
    assert whole.outliers == spiked.outliers
    assert spiked.estimate.values[0] == pytest.approx(whole.estimate.values[0], abs=0.1 * bound(30, 2))


def test_readings_without_a_spike_are_all_used():
    rng = np.random.default_rng(5)
    series = (readings_of(voltages(25, noise=NOISE, rng=rng)) for _ in range(500))
    assert sum(bool(resistance_of_delta_readings(readings, CURRENT).outliers) for readings in series) <= 4


def test_readings_that_overflowed_are_left_out_with_the_covariance_of_the_rest():
    rng, n = np.random.default_rng(6), 20
    gone = [4, 5, 6, 13]
    kept = np.setdiff1d(np.arange(n), gone)
    readings = readings_of(voltages(n, noise=NOISE, rng=rng))
    holed = readings.copy()
    holed[gone] = np.nan
    inverse = np.linalg.inv(covariance(n, step=RESOLUTION_V)[np.ix_(kept, kept)])
    expected = np.sum(inverse @ readings[kept]) / np.sum(inverse) / CURRENT
    found = resistance_of_delta_readings(holed, CURRENT, drift=1, noise_v=NOISE).estimate
    assert found.values[0] == pytest.approx(expected, rel=1e-9) and found.n_points == 16
    assert found.covariance[0, 0] == pytest.approx(1 / np.sum(inverse) / CURRENT**2, rel=1e-9)


def test_noise_is_at_least_that_of_the_steps_of_a_meter():
    found = resistance_of_delta_readings(readings_of(voltages(10)), CURRENT)
    assert found.noise_v == pytest.approx(RESOLUTION_V / np.sqrt(12)) and found.outliers == ()


def test_known_noise_gives_chi_squared():
    readings = readings_of(voltages(300, noise=NOISE, rng=np.random.default_rng(7)))
    known = resistance_of_delta_readings(readings, CURRENT, noise_v=NOISE).estimate
    assert known.chi2_red == pytest.approx(1.0, abs=0.3)
    doubled = resistance_of_delta_readings(readings, CURRENT, noise_v=2 * NOISE).estimate
    assert doubled.chi2_red == pytest.approx(0.25, abs=0.1)


def test_systematic_error_is_that_of_the_budget():
    readings = readings_of(voltages(10))
    four = resistance_of_delta_readings(readings, CURRENT).estimate.quantity("resistance").systematic
    scale = np.hypot(CURRENT_ERROR, METER_GAIN_ERROR) * R
    assert four == pytest.approx(np.hypot(scale, THERMOELECTRIC_V / CURRENT), rel=1e-6)
    two = ResistanceErrors(current=0.0, meter_gain=0.0, thermoelectric_v=0.0, series_ohm=1e-3)
    assert resistance_of_delta_readings(readings, CURRENT, errors=two).estimate.systematic[0] == pytest.approx(1e-3)


def test_a_series_of_ten_thousand_readings_is_reduced():
    rng = np.random.default_rng(8)
    voltage = (-1.0) ** np.arange(10_002) * CURRENT * R + rng.normal(0.0, NOISE, 10_002)
    readings = (-1.0) ** np.arange(10_000) * np.diff(voltage, 2) / 4
    found = resistance_of_delta_readings(readings, CURRENT).estimate.quantity("resistance")
    assert abs(found.value - R) < 4 * found.error
    assert found.error == pytest.approx(NOISE / CURRENT / 100, rel=0.05)


@pytest.mark.parametrize(
    ("readings", "options", "says"),
    [
        ([1e-4, 1e-4], {}, "2 readings.* needs 3 at least"),
        ([1e-4, np.nan, 1e-4, np.nan], {}, "2 readings.* needs 3 at least"),
        ([], {"drift": 1, "noise_v": NOISE}, "0 readings.* needs 1 at least"),
        ([1e-4] * 5, {"drift": 0}, "drift of order 0"),
        ([1e-4, np.inf, 1e-4, 1e-4], {}, "one row of finite numbers"),
        ([[1e-4] * 4] * 2, {}, "one row of finite numbers"),
        ([1e-4] * 5, {"noise_v": 0.0}, "noise of a voltage must be positive"),
        ([1e-4] * 5, {"step_v": float("nan")}, "step of the readings must be positive"),
        ([1e-4] * 5, {"current_a": 0.0}, "current must be positive"),
        ([1e-4] * 5, {"current_a": -0.01}, "current must be positive"),
    ],
)
def test_bad_input_is_refused_in_one_line(readings, options, says):
    with pytest.raises(ValueError, match=says) as refused:
        resistance_of_delta_readings(readings, **{"current_a": CURRENT, **options})
    assert "\n" not in str(refused.value)
