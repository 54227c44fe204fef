"""What is called confirmed is so: stuck outputs, stale answers, garbage, instruments that hang and come back."""

import time

import pytest

OFF = b"OUTP OFF"


def switch_on(engine, *instruments):
    for instrument in instruments:
        engine.line(instrument.name).send(b"OUTP ON\n")
        instrument.wait(lambda instrument=instrument: instrument.on)


def trip(engine):
    engine.ask("trip", why="the test says so")
    return engine.settled()["report"]


def with_stale_zeros(laser, guard, n_stale=4, **port):
    """Trip while the output is stuck on and answers of before, which say off, are still to come."""
    engine = guard(ports={"laser": laser.port(**port)}).engine().arm()
    switch_on(engine, laser)
    laser.stuck = True
    laser.late.extend([b"0\n"] * n_stale)
    return trip(engine)


@pytest.mark.parametrize("n_stale", [1, 2, 3, 4])
def test_stuck_output_with_stale_answers_is_never_confirmed(laser, guard, n_stale) -> None:
    assert with_stale_zeros(laser, guard, n_stale) == {"laser: output off": "UNCONFIRMED"}


def test_without_the_identity_stale_answers_would_confirm_it(laser, guard) -> None:
    assert with_stale_zeros(laser, guard, identity=None) == {"laser: output off": "CONFIRMED"}


def with_garbage(laser, guard, *, stuck, **off):
    way = {"actions": [laser.off(within_s=1.5, **off)], "otherwise": "", "grace_s": 0.0}
    engine = guard(ports={"laser": laser.port(ways={"off": way})}).engine().arm()
    switch_on(engine, laser)
    laser.stuck, laser.garbled = stuck, 0.3
    return trip(engine)


def test_through_garbage_a_safe_output_is_confirmed(laser, guard) -> None:
    assert with_garbage(laser, guard, stuck=False) == {"laser: output off": "CONFIRMED"}
    assert not laser.on


def test_through_garbage_a_stuck_output_is_not_confirmed(laser, guard) -> None:
    assert with_garbage(laser, guard, stuck=True) == {"laser: output off": "UNCONFIRMED"}


def test_a_check_that_accepts_anything_would_confirm_it(laser, guard) -> None:
    anything = laser.off()["seen"][0] | {"high": 1.0}
    assert with_garbage(laser, guard, stuck=True, seen=[anything]) == {"laser: output off": "CONFIRMED"}
    assert laser.on


@pytest.fixture
def four(source):
    return [source(f"i{stage}") for stage in range(4)]


@pytest.mark.parametrize("hung", [None, 0, 1, 2, 3])
def test_one_that_hangs_keeps_no_other_waiting(four, guard, hung) -> None:
    ports = {instrument.name: instrument.port(stage=stage) for stage, instrument in enumerate(four)}
    engine = guard(ports=ports).engine().arm()
    switch_on(engine, *four)
    if hung is not None:
        four[hung].awake.clear()
    begun = time.monotonic()
    report = trip(engine)
    wanted = {f"i{n}: output off": "UNCONFIRMED" if n == hung else "CONFIRMED" for n in range(4)}
    assert report == wanted
    started = [instrument.times(OFF)[0] - begun for instrument in four]
    print(f"hung {hung}: started after", [f"{1e3 * s:.1f} ms" for s in started])
    assert max(started) < 0.1
    assert [instrument.on for instrument in four] == [n == hung for n in range(4)]
    if hung is not None:
        four[hung].awake.set()
        engine.settled(**{f"i{hung}: output off": "CONFIRMED"})
        assert not four[hung].on


@pytest.mark.parametrize("n_hung", [0, 1, 2, 3])
def test_each_that_hangs_on_a_half_duplex_line_costs_the_next_stage_50_ms(slave, source, guard, n_hung) -> None:
    gates, laser = [slave(f"gate{stage}") for stage in range(3)], source("laser")
    ports = {gate.name: gate.port(stage=stage) for stage, gate in enumerate(gates)}
    engine = guard(ports=ports | {"laser": laser.port(stage=3)}).engine().arm()
    switch_on(engine, laser)
    for gate in gates[:n_hung]:
        gate.awake.clear()
    begun = time.monotonic()
    report = trip(engine)
    assert [report[f"gate{n}: open"] for n in range(3)] == ["UNCONFIRMED"] * n_hung + ["CONFIRMED"] * (3 - n_hung)
    started = laser.times(OFF)[0] - begun
    print(f"{n_hung} hang: the last stage started after {1e3 * started:.0f} ms")
    assert 0.05 * n_hung <= started < 0.05 * n_hung + 0.1
    for gate in gates[:n_hung]:
        gate.awake.set()
        engine.settled(**{f"{gate.name}: open": "CONFIRMED"})


def test_one_that_answers_too_late_is_confirmed_when_it_is_in_time_again(laser, guard) -> None:
    engine = guard(laser).engine().arm()
    switch_on(engine, laser)
    laser.delay = lambda message: 0.3
    assert trip(engine) == {"laser: output off": "UNCONFIRMED"}
    laser.delay = lambda message: 0.0
    engine.settled(**{"laser: output off": "CONFIRMED"})
    assert not laser.on


def strays(laser, guard, **off):
    """Trip, then let the output come on by itself."""
    way = {"actions": [laser.off(**off)], "otherwise": "", "grace_s": 0.0}
    engine = guard(ports={"laser": laser.port(ways={"off": way})}).engine().arm()
    switch_on(engine, laser)
    assert trip(engine) == {"laser: output off": "CONFIRMED"}
    with laser.changed:
        laser.on = True
    return engine


def test_output_that_comes_on_by_itself_is_switched_off_again(laser, guard) -> None:
    strays(laser, guard)
    laser.wait(lambda: not laser.on, 1.5)


def test_without_a_check_nobody_would_see_it(laser, guard) -> None:
    strays(laser, guard, seen=[])
    time.sleep(1.3)
    assert laser.on


def test_output_that_comes_on_and_stays_is_no_longer_confirmed(laser, guard) -> None:
    laser_on = strays(laser, guard)
    laser.stuck = True
    with laser.changed:
        laser.on = True
    engine = laser_on
    engine.settled(**{"laser: output off": "UNCONFIRMED"})
    assert "not everything is confirmed" in engine.ask("ack", who="A. Tester")["refused"]
