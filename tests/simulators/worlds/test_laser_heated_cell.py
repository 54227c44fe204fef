"""The laser-heated cell: temperatures of both sides, the box that closes the shutter, membrane, and light."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from megabar.simulators.worlds.laser_heated_cell.light import PEN_LAMP
from megabar.simulators.worlds.laser_heated_cell.spectrograph import STRIPS
from megabar.simulators.worlds.laser_heated_cell.world import LaserHeatedCell

STEADY = {"wander": 0.0, "systematic_scale": 0.0}


def heated(percent=(30.0, 30.0), *, at_s=10.0, **parameters) -> LaserHeatedCell:
    """Both lasers on from 5 s, their currents set at `at_s`, the shutter open from 6 s."""
    world = LaserHeatedCell(3, **parameters)
    for laser, current in zip((world.upstream, world.downstream), percent, strict=True):
        laser.set_gated(0.0, True)
        laser.close_gate(1.0, 1e6)
        laser.start_emission(2.0, 3.0)
        world.heating.set_shutter(6.0, True)
        laser.set_current(at_s, current)
    return world


def test_temperatures_are_those_of_the_rate_equation() -> None:
    world = heated((30.0, 20.0), **STEADY)
    p = world.p
    power = np.array([world.upstream.output_power_w(12.0), world.downstream.output_power_w(12.0)])
    own = p.kelvin_per_w * np.array(world._gains) * power

    def slope(t, rise):
        return (own + p.shared * own[::-1] - rise) / p.response_s

    times = np.linspace(10.0, 10.05, 30)
    expected = solve_ivp(slope, (10.0, 10.05), np.zeros(2), t_eval=times, rtol=1e-9, atol=1e-6).y.T
    found = np.array([world.heating.temperatures_k(float(t)) for t in times])
    assert np.allclose(found, 300.0 + expected, atol=0.05)


def test_a_question_changes_no_answer() -> None:
    asked, quiet = heated(), heated()
    for t in np.linspace(0.0, 40.0, 777):
        asked.heating.temperatures_k(float(t))
    for t in (9.99, 10.004, 13.0, 39.0):
        assert np.allclose(asked.heating.temperatures_k(t), quiet.heating.temperatures_k(t), atol=0.5)


def test_without_light_everything_is_cold_and_costs_nothing() -> None:
    world = LaserHeatedCell(1)
    assert np.allclose(world.heating.temperatures_k(1e6), 300.0)
    assert len(world.heating._times) < 10


@pytest.mark.parametrize("trip", [(500.0, 0.05, 6000.0), (5999.0, 0.05, 3300.0)])
def test_what_runs_away_is_cut_within_ten_milliseconds(trip) -> None:
    world = heated((26.0, 26.0), runaway_s=20.0, runaway_rise_s=0.05, runaway_share=1.5, at_s=8.0, **STEADY)
    rampless = heated((26.0, 26.0), runaway_s=20.0, runaway_rise_s=0.05, runaway_share=1.5, at_s=8.0, **STEADY)
    world.heating.set_trip(9.0, *trip)
    times = np.arange(19.9, 20.5, 2.5e-4)
    free = np.array([rampless.heating.temperatures_k(float(t)).max() for t in times])
    rise_k, window_s, highest_k = trip
    before = np.interp(times - window_s, times, free, left=free[0])
    crossed = times[np.flatnonzero((free - before > rise_k) | (free > highest_k))[0]]
    dark = next(t for t in times if t > 20.0 and not world.heating.shutter_open(float(t)))
    assert 0.0 <= dark - crossed <= 0.010, dark - crossed
    assert world.heating.tripped(float(dark))
    assert np.allclose(world.heating.temperatures_k(dark + 0.2), 300.0, atol=1.0)
    assert free[-1] > 3500.0 and rampless.heating.shutter_open(20.5)  # the control: nothing cuts it


def test_the_box_keeps_the_shutter_closed_until_somebody_resets_it() -> None:
    world = heated((38.0, 38.0), **STEADY)
    world.heating.set_trip(7.0, 500.0, 0.05, 6000.0)  # the step of the currents is too much for it
    assert world.heating.tripped(10.1) and not world.heating.shutter_open(10.1)
    world.heating.set_shutter(11.0, True)
    assert not world.heating.shutter_open(11.5)
    for laser in (world.upstream, world.downstream):
        laser.set_current(12.0, 0.0)
    world.heating.reset(13.0)
    world.heating.set_shutter(13.5, True)
    assert world.heating.shutter_open(14.0) and not world.heating.tripped(14.0)


def test_a_slow_ramp_is_no_runaway() -> None:
    world = heated((0.0, 0.0), at_s=7.0, **STEADY)
    world.heating.set_trip(7.0, 500.0, 0.05, 6000.0)
    for number in range(70):
        for laser in (world.upstream, world.downstream):
            laser.set_current(8.0 + 0.5 * number, 0.5 * number)
    assert not world.heating.tripped(60.0)
    assert world.heating.temperatures_k(60.0).min() > 3000.0


def test_the_piston_sticks_when_the_gas_turns_back() -> None:
    world = LaserHeatedCell(2)
    friction = world.p.friction_bar
    world.membrane.set_membrane(10.0, 0.0, 40.0, 1.0)
    up = world.membrane.cold_gpa(60.0)
    assert world.membrane.carried_bar(60.0) == pytest.approx(40.0 - friction)
    world.membrane.set_membrane(60.0, 40.0, 38.0, 1.0)
    assert world.membrane.cold_gpa(70.0) == up
    world.membrane.set_membrane(70.0, 38.0, 20.0, 1.0)
    assert world.membrane.carried_bar(100.0) == pytest.approx(20.0)
    assert world.membrane.cold_gpa(100.0) < up
    assert world.membrane.cold_gpa(35.0) == pytest.approx(world.membrane.cold_gpa(35.0))
    assert world.membrane.cold_gpa(30.0) < world.membrane.cold_gpa(35.0) < up


def test_lines_of_the_pen_lamp_lie_where_the_grating_puts_them() -> None:
    world = LaserHeatedCell(4)
    world.pen_lamp.set_shutter(1.0, True)
    world.spectrograph.set_spectrograph(0.0, 715.0, 715.0, 0.0, 1200.0)
    image = world.spectrograph.image(2.0, 1.0, np.random.default_rng(1)).astype(float)
    (first, after), _ = STRIPS
    counts = image[first:after].sum(axis=0) - (after - first) * np.median(image[:4])
    nm = world.spectrograph.wavelengths(715.0, 1200.0)
    inside = [line for line in PEN_LAMP if nm[5] < line < nm[-6]]
    assert len(inside) >= 4
    for line in inside:
        near = np.abs(nm - line) < 0.4
        assert np.average(nm[near], weights=counts[near].clip(0)) == pytest.approx(line, abs=0.03)


def test_the_thermal_light_follows_plancks_law() -> None:
    world = heated((30.0, 30.0), spot_um=1e6, emissivity_slope_spread_per_um=0.0, **STEADY)
    kelvin = float(world.heating.temperatures_k(30.0)[0])
    nm = np.linspace(600.0, 850.0, 6)
    seen = world._lit(nm, 30.0)[0]
    lamp = LaserHeatedCell(3, **STEADY)
    lamp.lamp.set_shutter(1.0, True)
    ratio = seen / lamp._lit(nm, 30.0)[0]
    c2 = 0.014387768775
    expected = (np.exp(c2 / (1e-9 * nm * 2900.0)) - 1.0) / (np.exp(c2 / (1e-9 * nm * kelvin)) - 1.0)
    assert np.allclose(ratio, expected, rtol=1e-9)


def test_frames_have_the_noise_of_their_electrons() -> None:
    world = heated((30.0, 30.0), nonlinearity=0.0, **STEADY)
    frames = np.array(
        [world.spectrograph.image(30.0, 0.2, np.random.default_rng(seed)) for seed in range(200)], dtype=float
    )
    bright = frames.mean(axis=0) > 2000.0
    expected = frames.mean(axis=0) - world.p.bias_counts + world.p.read_noise_electrons**2
    assert bright.sum() > 500
    assert np.mean(frames.var(axis=0, ddof=1)[bright] / expected[bright]) == pytest.approx(1.0, abs=0.02)


def test_truth_is_the_mean_of_what_is_seen() -> None:
    world = heated((30.0, 25.0), **STEADY)
    truth = world.truth(20.0, 30.0)
    peak = world.heating.temperatures_k(25.0)
    assert truth["temperature"] == pytest.approx(
        0.5 * (truth["temperature_upstream"] + truth["temperature_downstream"])
    )
    assert 0.95 * peak[0] < truth["temperature_upstream"] < peak[0]
    assert truth["pressure"] == pytest.approx(
        truth["cold_pressure"] + world._thermal_gpa_per_k * (truth["temperature"] - 300.0)
    )
    with pytest.raises(ValueError, match="a stop after the start"):
        world.truth(3.0, 3.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"emissivity": 0.0}, "world.emissivity"),
        ({"nosuch": 1.0}, "unknown parameter 'nosuch'"),
        ({"blade_s": math.nan}, "world.blade_s"),
    ],
)
def test_what_cannot_be_is_refused(given, words) -> None:
    with pytest.raises(ValueError, match=words):
        LaserHeatedCell(1, **given)
