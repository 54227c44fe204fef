"""Resistance from alternating current: pairs, triplets, the best estimate, outliers, systematic errors."""

import numpy as np
import pytest

from megabar.analysis.delta_mode import (
    CURRENT_ERROR,
    METER_GAIN_ERROR,
    THERMOELECTRIC_V,
    ResistanceErrors,
    delta_resistance,
    reversal_pairs,
    triplets,
)

R, CURRENT, NOISE = 0.012, 0.01, 4e-8


def readings(n, *, resistance=R, current=CURRENT, offset=4e-6, drift=5e-7, quadratic=0.0, noise=0.0, rng=None):
    """Voltages and currents from the model of the readings, one by one."""
    voltage, currents = [], []
    for k in range(n):
        sign = 1 if k % 2 == 0 else -1
        kick = rng.normal(0.0, noise) if rng is not None else 0.0
        voltage.append(sign * current * resistance + offset + drift * k + quadratic * k * k + kick)
        currents.append(sign * current)
    return np.array(voltage), np.array(currents)


def bound(n, order, noise=NOISE):
    """Cramer-Rao bound of R in ohm: Fisher matrix of R and the drift, with exact derivatives, R last."""
    k = np.arange(n)
    slopes = np.stack([*(((k - n / 2) / n) ** p for p in range(order + 1)), (-1.0) ** k * CURRENT])
    fisher = slopes @ slopes.T / noise**2
    known = fisher[:-1, -1] @ np.linalg.solve(fisher[:-1, :-1], fisher[:-1, -1])
    return (fisher[-1, -1] - known) ** -0.5


def test_three_point_delta_and_reversal_pairs_agree_with_the_reference_check():
    # physics.md D 3.4
    voltage, current = readings(6)
    assert voltage * 1e6 == pytest.approx([124, -115.5, 125, -114.5, 126, -113.5], rel=1e-9)
    assert np.mean(triplets(voltage, current)) == pytest.approx(0.012, rel=1e-9)
    assert triplets(voltage, current)[0] == pytest.approx(0.012, rel=1e-9)
    assert np.mean(reversal_pairs(voltage, current)) == pytest.approx(0.011995, rel=1e-9)
    assert reversal_pairs(voltage, current)[0] == pytest.approx(0.011975, rel=1e-9)


def test_quadratic_drift_leaves_half_of_it_in_each_triplet_with_alternating_sign():
    q = 2e-8
    voltage, current = readings(8, quadratic=q)
    left = (triplets(voltage, current) - R) * CURRENT
    assert left == pytest.approx([q / 2, -q / 2] * 3, rel=1e-6)
    assert np.mean(triplets(voltage, current)) == pytest.approx(R, rel=1e-9)  # an even number of them
    assert delta_resistance(voltage[:7], current[:7]).estimate.values[0] == pytest.approx(R, rel=1e-9)


@pytest.mark.parametrize(("order", "drift"), [(0, 0.0), (1, 5e-7), (2, 5e-7)])
def test_estimate_is_the_generalised_mean_of_overlapping_differences(order, drift):
    voltage, nominal = readings(9, drift=drift, quadratic=order // 2 * 1e-8, noise=NOISE, rng=np.random.default_rng(1))
    current = nominal * np.linspace(1.0, 1.2, 9)
    voltage += R * (current - nominal)
    times = 1 if order == 0 else 2
    operator = np.diff(np.eye(9), times, axis=0)
    design = (operator @ current)[:, None]
    if order == 2:
        design = np.column_stack([design, np.ones(len(design))])  # second difference of k^2
    inverse = np.linalg.inv(operator @ operator.T)
    normal = design.T @ inverse @ design
    expected = np.linalg.solve(normal, design.T @ inverse @ operator @ voltage)[0]
    found = delta_resistance(voltage, current, drift=order, noise_v=NOISE).estimate
    assert found.values[0] == pytest.approx(expected, rel=1e-9)
    assert found.covariance[0, 0] == pytest.approx(NOISE**2 * np.linalg.inv(normal)[0, 0], rel=1e-8)


def test_one_triplet_has_the_error_of_its_three_readings():
    found = delta_resistance(*readings(3), drift=1, noise_v=NOISE).estimate.quantity("resistance")
    assert found.value == pytest.approx(R, rel=1e-9)
    assert found.error == pytest.approx(NOISE * np.sqrt(6) / (4 * CURRENT), rel=1e-9)


def test_triplets_counted_as_independent_understate_the_error_of_their_mean():
    """Neighbours share readings, so their mean varies by more; the estimate from the same readings varies less."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(400):
        voltage, current = readings(12, noise=NOISE, rng=rng)
        best = delta_resistance(voltage, current, drift=1).estimate.values[0]
        found.append((np.mean(triplets(voltage, current)), best))
    of_mean, of_best = np.std(found, axis=0)
    independent = NOISE * np.sqrt(6) / (4 * CURRENT) / np.sqrt(10)
    assert of_mean > 1.4 * independent
    assert of_best < 0.97 * of_mean


@pytest.mark.parametrize("n", [20, 41, 200])
def test_error_is_the_cramer_rao_bound_and_pulls_are_normal(n):
    rng = np.random.default_rng(n)
    errors, pulls = [], []
    for _ in range(200):
        voltage, current = readings(n, quadratic=1e-9, noise=NOISE, rng=rng)
        found = delta_resistance(voltage, current).estimate.quantity("resistance")
        errors.append(found.error)
        pulls.append((found.value - R) / found.error)
    assert np.mean(errors) == pytest.approx(bound(n, 2), rel=0.05)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_drift_of_higher_order_than_the_readings_have_costs_little_and_a_lower_one_biases():
    voltage, current = readings(7, drift=2e-7, quadratic=1e-6)
    assert delta_resistance(voltage, current, drift=3).estimate.values[0] == pytest.approx(R, rel=1e-9)
    assert abs(delta_resistance(voltage, current, drift=1, noise_v=NOISE).estimate.values[0] - R) > 1e-6
    assert bound(200, 2) < 1.001 * bound(200, 0)


def test_offset_is_that_at_the_middle_of_the_series():
    found = delta_resistance(*readings(21)).estimate.quantity("offset")
    assert found.value == pytest.approx(4e-6 + 5e-7 * 10, rel=1e-9)
    assert found.unit == "V"


def test_spike_is_left_out_and_named():
    rng = np.random.default_rng(3)
    voltage, current = readings(30, noise=NOISE, rng=rng)
    clean = delta_resistance(voltage, current)
    assert clean.outliers == ()
    voltage[[7, 22]] += 3e-6, -1e-6
    spiked = delta_resistance(voltage, current)
    assert spiked.outliers == (7, 22)
    assert spiked.estimate.n_points == 28
    kept = np.setdiff1d(np.arange(30), [7, 22])
    assert spiked.noise_v == pytest.approx(NOISE, rel=0.3)
    assert spiked.estimate.values[0] == pytest.approx(clean.estimate.values[0], abs=2 * bound(len(kept), 2))
    assert delta_resistance(voltage, current, noise_v=NOISE).outliers == (7, 22)


def test_readings_without_a_spike_are_all_used():
    rng = np.random.default_rng(4)
    flagged = sum(bool(delta_resistance(*readings(25, noise=NOISE, rng=rng)).outliers) for _ in range(500))
    assert flagged <= 4  # one in a thousand is expected


def test_noise_is_at_least_that_of_the_steps_of_the_readings():
    found = delta_resistance(*readings(10))
    assert found.noise_v == pytest.approx(1e-9 / np.sqrt(12))
    assert found.outliers == ()


def test_known_noise_gives_chi_squared():
    rng = np.random.default_rng(5)
    voltage, current = readings(300, noise=NOISE, rng=rng)
    assert delta_resistance(voltage, current, noise_v=NOISE).estimate.chi2_red == pytest.approx(1.0, abs=0.3)
    assert delta_resistance(voltage, current, noise_v=2 * NOISE).estimate.chi2_red == pytest.approx(0.25, abs=0.1)


def test_systematic_error_is_that_of_the_budget():
    voltage, current = readings(10)
    four = delta_resistance(voltage, current).estimate.quantity("resistance").systematic
    scale = np.hypot(CURRENT_ERROR, METER_GAIN_ERROR) * R
    assert four == pytest.approx(np.hypot(scale, THERMOELECTRIC_V / CURRENT), rel=1e-6)
    two = ResistanceErrors(current=0.0, meter_gain=0.0, thermoelectric_v=0.0, series_ohm=1e-3)
    assert delta_resistance(voltage, current, errors=two).estimate.systematic[0] == pytest.approx(1e-3)


def test_pulls_with_every_systematic_drawn():
    rng = np.random.default_rng(6)
    budget = ResistanceErrors(current=2e-3, meter_gain=1e-3, thermoelectric_v=3e-7, series_ohm=2e-5)
    pulls = []
    for _ in range(200):
        gain, source, follows, series = rng.normal(0.0, (1e-3, 2e-3, 3e-7, 2e-5))
        voltage, current = readings(30, resistance=R + series + follows / CURRENT, noise=NOISE, rng=rng)
        shown = voltage * (1 + gain), current / (1 + source)
        found = delta_resistance(*shown, errors=budget).estimate.quantity("resistance")
        pulls.append((found.value - R) / found.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


@pytest.mark.parametrize(
    ("voltage", "current", "says"),
    [
        ([1e-4, -1e-4], [CURRENT, -CURRENT], "2 readings.* needs 5 at least"),
        ([1e-4, -1e-4, 1e-4, -1e-4], [CURRENT, -CURRENT, CURRENT, -CURRENT], "4 readings.* needs 5 at least"),
        ([1e-4] * 6, [CURRENT] * 6, "readings 0 and 1 .*one sign"),
        ([1e-4] * 6, [CURRENT, -CURRENT, CURRENT, -CURRENT, CURRENT, 0.0], "readings 4 and 5 .*one sign"),
        ([1e-4, np.nan, 1e-4, -1e-4, 1e-4], [CURRENT, -CURRENT, CURRENT, -CURRENT, CURRENT], "reading 1 .*no number"),
        ([1e-4, -1e-4, 1e-4, -1e-4, 1e-4], [CURRENT, -CURRENT, CURRENT, np.inf, CURRENT], "reading 3 .*no number"),
        ([1e-4] * 5, [CURRENT, -CURRENT], "one length"),
    ],
)
def test_bad_readings_are_refused_in_one_line(voltage, current, says):
    with pytest.raises(ValueError, match=says) as refused:
        delta_resistance(voltage, current)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("options", [{"noise_v": 0.0}, {"noise_v": float("nan")}, {"drift": -1}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=r"noise of a reading|drift of order -1"):
        delta_resistance(*readings(8), **options)
