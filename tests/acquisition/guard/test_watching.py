"""Readings that must be as they should be, and fresh, while an engine drives; what depends on another's reading."""

import time

import pytest

OFF = b"OUTP OFF"


@pytest.fixture
def reading():
    wanted = {"name": "reading", "ask": b"READ?\n".hex(), "low": 10.0, "high": 30.0, "mask": 0, "signed": False}
    wanted |= {"scale": 1.0, "pattern": r"^(\S+)$", "every_s": 0.02, "stale_s": 0.3, "while_on": []}
    return wanted


def switched_on(guard, laser):
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    return engine


@pytest.mark.parametrize("value", ["31", "9.9", "nan", "inf", "-inf"])
def test_reading_out_of_range_trips(laser, guard, reading, value) -> None:
    engine = switched_on(guard(ports={"laser": laser.port(watch=[reading])}), laser)
    assert not engine.told.wait(0.1)
    begun = time.monotonic()
    laser.reading = value
    assert laser.wait(lambda: laser.times(OFF), 1.0)[0] - begun < 0.1
    assert engine.told.wait(1.0)
    assert "laser.reading is" in engine.tripped


def test_without_watching_it_would_not(laser, guard) -> None:
    engine = switched_on(guard(laser), laser)
    laser.reading = "31"
    assert not engine.told.wait(0.3)


@pytest.mark.parametrize("value", ["inf", "nan", "what?"])
def test_masked_reading_that_is_no_number_trips_and_kills_nobody(laser, guard, reading, value) -> None:
    reading |= {"mask": 4, "low": 0, "high": 0}
    safe = dict(reading)
    way = {"actions": [laser.off(seen=[safe])], "otherwise": "", "grace_s": 0.0}
    port = laser.port(watch=[reading | {"while_on": ["laser"], "high": 4}, reading | {"high": 4}], ways={"off": way})
    guard = guard(ports={"laser": port})
    engine, pid = guard.engine().arm(), guard.pid
    laser.reading = value
    assert engine.told.wait(1.0)
    engine.settled()
    assert guard.pid == pid


def test_reading_that_is_stale_trips(laser, guard, reading) -> None:
    engine = switched_on(guard(ports={"laser": laser.port(watch=[reading])}), laser)
    assert not engine.told.wait(0.1)
    begun = time.monotonic()
    laser.awake.clear()
    assert engine.told.wait(1.0)
    assert 0.25 < time.monotonic() - begun < 0.45
    assert "has not been read" in engine.tripped


def test_connection_that_is_lost_trips(laser, guard, reading) -> None:
    engine = switched_on(guard(ports={"laser": laser.port(watch=[reading])}), laser)
    begun = time.monotonic()
    laser.unplug()
    assert laser.wait(lambda: laser.times(OFF), 1.0)[0] - begun < 0.1
    assert engine.settled()["report"] == {"laser: output off": "CONFIRMED"}


@pytest.fixture
def door(source):
    """Reads 20 while it is closed."""
    return source("door")


@pytest.fixture
def interlocked(laser, door, reading, guard):
    """The laser must be off while the door is open, and the guard sees whether it is."""

    def start(**changes):
        output = reading | {"name": "output", "ask": b"OUTP?\n".hex(), "low": 0, "high": 1}
        watch = [reading | {"while_on": ["laser"]} | changes]
        return guard(ports={"laser": laser.port(watch=[output]), "door": door.port(watch=watch)})

    return start


def test_interlock_refuses_while_it_is_off(laser, door, interlocked) -> None:
    door.reading = "99"
    guard = interlocked()
    engine = guard.engine().arm()
    time.sleep(0.1)
    line = engine.line("laser")
    line.send(b"OUTP ON\n")
    assert line.ask("OUTP?") == "0"
    assert "OUTP ON" not in laser.lines
    assert "door.reading is 99" in guard.log("refused")[0]["why"]
    assert not engine.tripped
    door.reading = "20"
    time.sleep(0.1)
    line.send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)


def test_interlock_lets_what_makes_safe_pass(laser, door, interlocked) -> None:
    door.reading = "99"
    line = interlocked().engine().arm().line("laser")
    line.send(b"OUTP OFF\n")
    laser.wait(lambda: laser.times(OFF))


def test_interlock_trips_while_it_is_on(laser, door, interlocked) -> None:
    engine = switched_on(interlocked(), laser)
    assert not engine.told.wait(0.1)
    door.reading = "99"
    assert engine.told.wait(0.5)
    assert "door.reading is 99" in engine.tripped


def test_reading_that_matters_always_trips_with_the_laser_off_too(laser, door, interlocked) -> None:
    engine = interlocked(while_on=[]).engine().arm()
    door.reading = "99"
    assert engine.told.wait(0.5)


def test_reading_that_is_out_of_range_already_refuses_the_lease(laser, door, interlocked) -> None:
    door.reading = "99"
    answer = interlocked(while_on=[]).engine().ask("arm", run="run", dwell_s=60.0)
    assert "door.reading is 99" in answer["refused"]


def test_the_first_command_after_arming_is_not_refused(laser, door, interlocked) -> None:
    """What it depends on has been read by then, however seldom that is otherwise."""
    switched_on(interlocked(every_s=5.0, stale_s=20.0), laser)


@pytest.fixture
def kicked(slave):
    """A gate that falls open unless the guard closes it again and again."""
    gate = slave("gate")

    def port(**changes):
        return gate.port(kick={"send": gate.ON.hex(), "every_s": 0.02}, **changes)

    return gate, port


def test_watchdog_is_kept_while_the_lease_is_held_and_something_is_on(kicked, guard) -> None:
    gate, port = kicked
    engine = guard(ports={"gate": port()}).engine().arm()
    time.sleep(0.1)
    assert gate.times(gate.ON) == []
    line = engine.line("gate")
    line.send(gate.ON)
    assert line.exactly(8) == gate.ON
    gate.wait(lambda: len(gate.times(gate.ON)) > 3)
    engine.ask("trip", why="enough")
    engine.settled()
    begun = gate.times(gate.OFF)[0]
    time.sleep(0.1)
    assert gate.times(gate.ON, begun) == []


@pytest.mark.parametrize("wait_s", [0.0, 0.004, 0.008, 0.012])
def test_no_beat_that_was_waiting_is_sent_after_the_trip(kicked, guard, wait_s) -> None:
    """Here a beat waits for the engine's question to be answered when the lease is lost."""
    gate, port = kicked
    engine = guard(ports={"gate": port(reply_s=0.3)}).engine().arm()
    line = engine.line("gate")
    line.send(gate.ON)
    assert line.exactly(8) == gate.ON
    gate.delay = lambda frame: 0.06
    line.send(gate.READ)
    gate.wait(lambda: gate.times(gate.READ))
    time.sleep(0.02 + wait_s)
    engine.ask("trip", why="now")
    report = engine.settled()["report"]
    time.sleep(0.15)
    assert report == {"gate: open": "CONFIRMED"}
    assert gate.times(gate.ON, gate.times(gate.OFF)[0]) == []
    assert not gate.on


def test_lease_that_is_lost_while_it_is_given_stays_lost(kicked, guard) -> None:
    """Taking over a gate that is in use begins with a beat, and the gate is mute."""
    gate, port = kicked
    held = {"actions": [{"name": "look", "send": [], "seen": [], "within_s": 0.5}], "otherwise": "off", "grace_s": 30.0}
    ways = port()["ways"] | {"hold": held}
    guard = guard(ports={"gate": port(reply_s=0.6, ways=ways, on_loss="hold")}, lease_s=0.2)
    first = guard.engine().arm()
    line = first.line("gate")
    line.send(gate.ON)
    assert line.exactly(8) == gate.ON
    first.close()
    engine = guard.engine()
    engine.settled(**{"gate: look": "HELD"})
    gate.awake.clear()
    assert "refused" in engine.ask("arm", run="run", dwell_s=60.0, resume="run")
    state = guard.engine().settled()
    assert (state["armed"], "silent" in state["latched"]) == (False, True)
