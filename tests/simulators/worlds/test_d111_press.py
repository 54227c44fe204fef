"""Load, pressure, furnace and thermocouple of the world D111."""

import math

import pytest

from megabar.simulators.worlds.d111.furnace import Furnace
from megabar.simulators.worlds.d111.parameters import Parameters
from megabar.simulators.worlds.d111.press import loading_pressure
from megabar.simulators.worlds.d111.systematics import draw_systematics
from megabar.simulators.worlds.d111.thermocouple import emf_mv
from megabar.simulators.worlds.d111.world import D111

HOT_C = 526.85


def pressure(world: D111, time_s: float) -> float:
    return world.truth(time_s, time_s + 1.0, 0.0)["pressure"]


def temperature(world: D111, time_s: float) -> float:
    return world._at(time_s).temperature


def test_loading_curve_is_that_of_the_appendix():
    assert loading_pressure(7.0) == pytest.approx(25.0134, rel=1e-5)
    for load, fixed_point in ((3.07489, 15.6), (3.90236, 18.3), (5.83515, 23.0)):
        assert loading_pressure(load) == pytest.approx(fixed_point, rel=1e-6)


def test_load_follows_its_ramp_and_arrives():
    world = D111(1)
    world.ramp_load(100.0, 7.0, 2.0)
    assert world.load_mn(99.0) == 0.0
    assert world.load_setpoint_mn(100.0 + 1800.0) == pytest.approx(1.0)
    assert world.load_mn(1900.0) == pytest.approx(1.0 - 3.0 * 2.0 / 3600.0, rel=1e-6)  # lag of 3 s
    assert world.load_moving(1900.0)
    assert world.load_mn(13000.0) == pytest.approx(7.0, abs=1e-6)
    assert not world.load_moving(13000.0)
    assert world.oil_pressure_mpa(13000.0) == pytest.approx(56.0)


def test_holding_stops_the_load_where_it_is():
    world = D111(1)
    world.ramp_load(0.0, 5.0, 4.0)
    held = world.load_mn(1000.25)
    world.hold_load(1000.25)
    assert world.load_mn(9000.0) == held
    assert not world.load_moving(1001.0)


def test_unloading_keeps_more_pressure_than_loading():
    world = D111(1)
    world.ramp_load(0.0, 7.0, 10.0)
    top = pressure(world, 3000.0)
    world.ramp_load(3010.0, 3.5, 10.0)
    assert pressure(world, 6000.0) == pytest.approx(top * 0.5**0.5, rel=1e-5)
    assert pressure(world, 6000.0) > loading_pressure(3.5)
    world.ramp_load(6010.0, 7.0, 10.0)
    assert pressure(world, 9000.0) == pytest.approx(top, rel=1e-6)


def test_first_heating_costs_pressure_for_good():
    world = D111(2, systematic_scale=0.0)
    world.ramp_load(0.0, 7.0, 10.0)
    cold = pressure(world, 3000.0)
    world.set_furnace(3010.0, HOT_C, 3000.0)
    assert pressure(world, 3040.0) > cold + 0.3  # heat acts at once, the loss takes a minute
    hot = pressure(world, 4000.0)
    assert hot == pytest.approx(cold, abs=0.02)  # by default one cancels the other at 800 K
    world.heater_off(4010.0)
    assert pressure(world, 4500.0) == pytest.approx(cold - 1.0, abs=0.02)
    world.set_furnace(4510.0, HOT_C, 3000.0)
    assert pressure(world, 4540.0) < hot + 0.02  # nothing more to lose


def test_furnace_settles_on_its_target():
    world = D111(3)
    world.set_furnace(0.0, HOT_C, 50.0)
    assert world.working_setpoint_c(300.0) == pytest.approx(world.controller_celsius(0.0) + 250.0, abs=0.01)
    reading = [world.controller_celsius(float(t)) for t in range(0, 3000, 5)]
    assert max(reading) < HOT_C + 3.0
    assert world.controller_celsius(2000.0) == pytest.approx(HOT_C, abs=0.01)
    rise = (world.controller_celsius(400.0) - world.controller_celsius(300.0)) / 100.0
    assert rise == pytest.approx(50.0 / 60.0, rel=0.02)


@pytest.mark.parametrize("target_c", [100.0, 900.0, 1600.0])
def test_furnace_is_stable_from_cold_to_hot(target_c):
    world = D111(3)
    world.set_furnace(0.0, target_c, 100.0)
    late = [world.controller_celsius(4000.0 + t) for t in range(100)]
    assert min(late) == pytest.approx(target_c, abs=0.1) and max(late) == pytest.approx(target_c, abs=0.1)


def test_lumped_heater_is_that_of_the_appendix():
    p = Parameters(thermal_time_constant_s=8.0, radiative_loss_w_per_k4=0.0)
    furnace, state = Furnace(p, draw_systematics(1, p)), D111(1)._at(0.0)
    state.watt = 500.0
    for _ in range(5):
        furnace.advance(state, 1.0)
    assert state.temperature == pytest.approx(1275.95, abs=0.01)


def test_cutting_the_power_quenches_by_500_k_within_a_second():
    world = D111(4)
    world.set_furnace(0.0, 1727.0, 1000.0)
    hot = temperature(world, 3000.0)
    assert hot > 1950.0
    world.heater_off(3000.4)
    assert temperature(world, 3001.4) < hot - 500.0
    assert world.heater(3000.5)[3] == 0.0


def test_quench_does_not_depend_on_the_grid():
    ends = []
    for steps in (1, 10):
        world = D111(4, steps_per_second=steps)
        world.set_furnace_manual(0.0, 60.0)
        world.heater_off(500.0)
        ends.append([temperature(world, 500.0 + t) for t in (0.5, 1.0, 3.0, 10.0)])
    assert ends[0] == pytest.approx(ends[1], rel=0.01)


def test_heater_obeys_ohm_and_its_limits():
    world = D111(5)
    world.set_furnace_manual(0.0, 100.0)
    volt, ampere, ohm, watt = world.heater(5.0)
    assert watt == pytest.approx(volt * ampere) == pytest.approx(1500.0)
    assert volt / ampere == pytest.approx(ohm, rel=1e-9)
    weak = D111(5, current_limit_a=100.0)
    weak.set_furnace_manual(0.0, 100.0)
    assert weak.heater(5.5)[1] == pytest.approx(100.0, rel=0.01)


def test_emf_is_that_of_the_appendix():
    assert emf_mv(1600.0) - emf_mv(25.0) == pytest.approx(27.9003, abs=5e-4)
    assert (emf_mv(1600.5) - emf_mv(1599.5)) * 1e3 == pytest.approx(14.8344, abs=0.002)
    assert emf_mv(630.614) == pytest.approx(emf_mv(630.616), abs=2e-3)


def test_thermocouple_reads_junction_against_cold_junction():
    world = D111(6, systematic_scale=0.0)
    world.set_furnace(0.0, HOT_C, 100.0)
    emf = world.emf_v(2000.0) * 1e3 + emf_mv(world.cold_junction_c(2000.0))
    assert emf == pytest.approx(emf_mv(world.controller_celsius(2000.0)), abs=1e-9)
    assert world.controller_celsius(2000.0) + 273.15 == pytest.approx(temperature(world, 2000.0), abs=1e-6)


def test_broken_sensor_takes_the_power_away():
    world = D111(7, sensor_break_at_s=1000.5)
    world.set_furnace(0.0, HOT_C, 100.0)
    assert not world.sensor_break(1000.4) and world.heater(1000.4)[3] > 50
    assert world.sensor_break(1000.5)
    assert world.controller_celsius(1002.0) > 2000.0
    assert world.heater(1002.0)[3] == 0.0
    assert math.isclose(world.emf_v(1002.0), 0.12)


def test_ram_stops_at_its_limit():
    world = D111(8)
    world.set_ram_speed(0.5, 1, 10.0)
    assert world.ram_stroke_mm(100.5, 1) == pytest.approx(1.0)
    assert world.ram_stroke_mm(100.5, 0) == 0.0
    assert world.ram_speed_um_per_s(150.0, 1) == 10.0
    assert world.ram_stroke_mm(300.0, 1) == 2.0
    assert world.ram_speed_um_per_s(300.0, 1) == 0.0
    world.set_ram_speed(301.0, 1, 1.0)
    assert world.ram_speed_um_per_s(302.0, 1) == 0.0
    world.set_ram_speed(303.0, 1, -1.0)
    assert world.ram_stroke_mm(403.0, 1) == pytest.approx(1.9)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda w: w.ramp_load(0.0, 11.0, 1.0), "load is 11.0 MN: 0 to 10 MN is accepted"),
        (lambda w: w.ramp_load(0.0, 5.0, 0.0), "load rate"),
        (lambda w: w.ramp_load(0.0, math.nan, 1.0), "load is nan"),
        (lambda w: w.set_ram_speed(0.0, 2, 1.0), "differential ram 2"),
        (lambda w: w.set_ram_speed(0.0, 0, 1e3), "speed of the top ram"),
        (lambda w: w.set_furnace(0.0, 3000.0, 10.0), "furnace target"),
        (lambda w: w.set_furnace_manual(0.0, 101.0), "furnace output"),
        (lambda w: w.move_stage(0.0, "w", 1.0, 1.0), "axis 'w'"),
        (lambda w: w.move_stage(0.0, "x", 99.0, 1.0), "stage x to 99.0 mm"),
        (lambda w: w.load_mn(-1.0), "time is -1.0 s"),
        (lambda w: w.hold_load(math.inf), "command at inf s"),
        (lambda w: w.spectra(5.0, 5.0, None), "exposure from 5.0 to 5.0 s"),
        (lambda w: w.truth(5.0, 4.0, 0.0), "window from 5.0 to 4.0 s"),
        (lambda w: D111(1, warp=9), "unknown parameter 'warp'"),
        (lambda w: D111(1, load_lag_s=-1.0), "load_lag_s is -1.0"),
        (lambda w: D111(1, ring_current_ma=math.nan), "ring_current_ma is nan"),
        (lambda w: D111(1, steps_per_second=0), "steps_per_second is 0"),
    ],
)
def test_refused_in_one_line_that_says_what_would_do(act, words):
    with pytest.raises(ValueError) as refusal:
        act(D111(1))
    assert words in str(refusal.value) and "\n" not in str(refusal.value) and "accepted" in str(refusal.value)
