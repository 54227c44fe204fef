"""The laser bench: when there is light, how hot the foil gets, and what is told as the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from megabar.simulators.worlds.laser_bench.world import LaserBench
from megabar.simulators.worlds.switch import Switch


def bench(**parameters) -> LaserBench:
    """At 30 % from 13 s to 40 s, the gate closed from 5 s to 50 s."""
    world = LaserBench(1, **parameters)
    world.set_gated(0.0, True)
    world.close_gate(5.0, 50.0)
    world.set_current(8.0, 30.0)
    world.start_emission(10.0, 3.0)
    world.end_emission(40.0)
    return world


def test_there_is_light_only_with_emission_and_a_closed_gate():
    world = bench()
    assert [world.emitting(t) for t in (4.0, 9.0, 12.99, 13.0, 39.9, 40.0, 49.0, 51.0)] == [0, 0, 0, 1, 1, 0, 0, 0]
    world.start_emission(42.0, 3.0)
    assert [world.emitting(t) for t in (44.0, 45.0, 49.9, 50.0, 60.0)] == [0, 1, 1, 0, 0]
    world.close_gate(60.0, 61.0)
    assert [world.emitting(t) for t in (59.0, 60.0, 61.0)] == [0, 1, 0]


def test_a_pulse_replaces_the_one_before():
    world = LaserBench(1)
    world.start_emission(0.0, 0.0)
    world.close_gate(1.0, 10.0)
    world.close_gate(2.0, 3.0)
    assert [world.emitting(t) for t in (1.5, 2.5, 3.5, 9.0)] == [1, 1, 0, 0]
    world.open_gate(2.9)
    assert not world.emitting(2.95)


def test_power_has_a_threshold_and_a_slope():
    world = bench(slope_spread=0.0)
    assert world.output_power_w(20.0) == pytest.approx(1.1 * 20.0)
    world.set_current(41.0, 9.0)
    world.start_emission(41.0, 0.0)
    assert world.emitting(42.0) and world.output_power_w(42.0) == 0.0
    assert world.output_power_w(45.0) <= 9.0


@given(st.floats(0.0, 40.0))
def test_it_never_gives_more_than_in_proportion_to_its_current(percent: float):
    world = LaserBench(1, slope_spread=0.0)
    world.set_gated(0.0, False)
    world.set_current(0.0, percent)
    world.start_emission(0.0, 0.0)
    assert world.output_power_w(1.0) <= percent


def test_temperature_is_the_solution_of_its_equation():
    world = bench()
    p = world.p

    def slope(t: float, y: np.ndarray) -> list[float]:
        absorbed = p.absorbed_share * world.output_power_w(t)
        return [(absorbed - p.loss_w_per_k * (y[0] - p.room_temperature_k)) / p.heat_capacity_j_per_k]

    solved = solve_ivp(slope, (0.0, 45.0), [300.0], t_eval=[12.0, 14.0, 20.0, 39.0, 41.0, 45.0], max_step=0.01)
    found = [world.temperature_k(t) for t in solved.t]
    np.testing.assert_allclose(found, solved.y[0], atol=1.0)
    series = world.truth_series(1.0)
    np.testing.assert_allclose(series["temperature"], [world.temperature_k(t) for t in series["time"]])


def test_truth_is_the_integral_of_the_power():
    world = bench()
    power = world.output_power_w(20.0)
    assert world.truth(10.0, 20.0) == {"power": pytest.approx(0.7 * power), "energy": pytest.approx(7.0 * power)}
    assert world.truth(20.0, 30.0)["power"] == pytest.approx(power)
    with pytest.raises(ValueError, match="after the start"):
        world.truth(3.0, 3.0)
    with pytest.raises(ValueError, match="step"):
        world.truth_series(0.0)


def test_systematic_terms_are_drawn_once_per_run_and_can_be_switched_off():
    scales = [LaserBench(seed).systematics()["monitor_scale"] for seed in range(300)]
    assert np.std(scales) == pytest.approx(0.03, rel=0.15)
    assert np.mean(scales) == pytest.approx(1.0, abs=0.006)
    assert LaserBench(3).systematics() == LaserBench(3).systematics()
    assert LaserBench(3, systematic_scale=0.0).systematics()["monitor_scale"] == 1.0
    world = bench()
    assert world.monitor_power_w(20.0) / world.output_power_w(20.0) == world.systematics()["monitor_scale"]


@pytest.mark.parametrize("name, value", [("nonsense", 1.0), ("absorbed_share", 1.5), ("loss_w_per_k", 0.0)])
def test_parameters_that_cannot_be_are_refused(name: str, value: float):
    with pytest.raises(ValueError, match=name):
        LaserBench(1, **{name: value})


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan])
def test_currents_that_cannot_be_are_refused(percent: float):
    with pytest.raises(ValueError, match="100 %"):
        LaserBench(1).set_current(0.0, percent)
    with pytest.raises(ValueError, match="finite"):
        LaserBench(1).start_emission(0.0, math.inf)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 3.0), st.floats(0.0, 5.0)), max_size=12))
def test_a_switch_is_what_was_asked_for_last(commands: list[tuple[bool, float, float]]):
    """Against a plain account: at any time after a command, the last `on` that still reaches there, unless ended."""
    switch, now, until = Switch(), 0.0, -1.0
    for on, wait, length in commands:
        now += wait
        if on:
            switch.off(now)
            switch.on(now, now + length)
            until = now + length
        else:
            switch.off(now)
            until = now
        for t in (now, now + 0.5, now + 2.5):
            assert switch.at(t) == (now <= t < until)
