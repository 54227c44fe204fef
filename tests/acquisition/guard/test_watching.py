"""Readings that must be as they should be, and fresh, while an engine drives; what depends on another's reading."""

import contextlib
import os
import select
import socket
import threading
import time

import pytest

OFF = b"OUTP OFF"
SLACK = float(os.environ.get("MEGABAR_SLACK", "3"))


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


@pytest.mark.row(18)
@pytest.mark.row(19, control="test_without_watching_it_would_not")
@pytest.mark.parametrize("value", ["31", "9.9", "nan", "inf", "-inf"])
def test_reading_out_of_range_trips(laser, guard, reading, value, measured) -> None:
    engine = switched_on(guard(ports={"laser": laser.port(watch=[reading])}), laser)
    assert not engine.told.wait(0.1)
    begun = time.monotonic()
    laser.reading = value
    took_s = laser.wait(lambda: laser.times(OFF), 1.0)[0] - begun
    assert took_s < 0.14 * SLACK
    assert engine.told.wait(1.0)
    assert "laser.reading is" in engine.tripped
    row, fault = (19, "a limit is crossed") if value in ("31", "9.9") else (18, "nan or inf for a number")
    measured(row, f"{fault}, looked at every 20 ms", "safe <= 2 periods + 100 ms", 1e3 * took_s)


def test_without_watching_it_would_not(laser, guard) -> None:
    engine = switched_on(guard(laser), laser)
    laser.reading = "31"
    assert not engine.told.wait(0.3)


@pytest.mark.row(18)
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


@pytest.mark.row(18, control="test_without_watching_it_would_not")
def test_reading_that_is_stale_trips(laser, guard, reading) -> None:
    engine = switched_on(guard(ports={"laser": laser.port(watch=[reading])}), laser)
    assert not engine.told.wait(0.1)
    begun = time.monotonic()
    laser.awake.clear()
    assert engine.told.wait(1.0)
    assert 0.25 < time.monotonic() - begun < 0.45
    assert "has not been read" in engine.tripped


class Proxy:
    """Passes bytes on between an instrument and whoever connects, until it stops and keeps the connections."""

    def __init__(self, address) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = ["tcp", *self._server.getsockname()]
        self._far, self.stopped, self._ends = address[1:], False, []
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def _forward(self) -> None:
        other = {}
        while True:
            for ready in select.select([self._server, *other], [], [], 0.05)[0]:
                if ready is self._server:
                    near = ready.accept()[0]
                    far = socket.create_connection(tuple(self._far))
                    for end in (near, far):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    other |= {near: far, far: near}
                    self._ends += [near, far]
                elif not (data := ready.recv(65536)):
                    return
                elif not self.stopped:
                    other[ready].sendall(data)
            if self._server.fileno() < 0 or self.stopped is None:
                return

    def close(self) -> None:
        self.stopped = None
        self._thread.join(5)
        for end in (self._server, *self._ends):
            with contextlib.suppress(OSError):
                end.close()


@pytest.mark.row(17, control="test_without_watching_it_would_not")
def test_connection_that_is_only_half_open_trips(laser, guard, reading, close_after, measured) -> None:
    proxy = close_after(Proxy(laser.address))
    engine = switched_on(guard(ports={"laser": laser.port(watch=[reading], address=proxy.address)}), laser)
    assert not engine.told.wait(0.1)
    begun = time.monotonic()
    proxy.stopped = True
    assert engine.told.wait(2.0)
    took_s = time.monotonic() - begun
    assert took_s < 0.3 + 0.1 * SLACK
    assert "has not been read" in engine.tripped
    assert engine.settled()["report"] == {"laser: output off": "UNCONFIRMED"}
    proxy.stopped = False
    engine.settled(**{"laser: output off": "CONFIRMED"})
    assert not laser.on
    measured(17, "a proxy stops, stale after 0.3 s: trip", "<= 2 s", 1e3 * took_s)


@pytest.mark.row(16, control="test_line_that_comes_back_under_its_own_name_is_made_safe")
def test_serial_line_that_is_unplugged_trips_and_its_number_is_not_opened_again(source, guard, measured) -> None:
    """The pseudo-terminal that takes its number belongs to somebody else."""
    laser = source(serial=True)
    guard = guard(laser)
    engine = switched_on(guard, laser)
    ours, theirs = laser.hand_over()
    begun = time.monotonic()
    os.close(ours)
    os.close(theirs)
    assert engine.told.wait(1.0)
    took_s = time.monotonic() - begun
    assert took_s < 0.1 * SLACK
    assert "the connection to the instrument is lost" in engine.tripped
    other = source("other", serial=True)
    assert other.address[1] == laser.address[1], "the number was free"
    time.sleep(1.5)
    assert other.chunks == [], "not a byte went to the other's line"
    assert engine.settled()["report"] == {"laser: output off": "UNCONFIRMED"}
    assert any("its number may be another's" in line["why"] for line in guard.log("again"))
    assert "refused" in engine.ask("arm", run="again", dwell_s=1.0)
    measured(16, "a serial line behind a guard: trip", "<= 1 s", 1e3 * took_s)


@pytest.mark.row(16)
def test_line_that_comes_back_under_its_own_name_is_made_safe(source, guard, tmp_path, measured) -> None:
    """As a converter does whose name is its own: the first that it gets is the safe command, and a person must look."""
    laser, name = source(serial=True), tmp_path / "laser"
    name.symlink_to(laser.address[1])
    guard = guard(ports={"laser": laser.port(address=["serial", str(name), 115200])})
    engine = switched_on(guard, laser)
    for end in laser.hand_over():
        os.close(end)
    assert engine.told.wait(1.0)
    again = source("laser", serial=True)
    again.on = True
    name.unlink()
    begun = time.monotonic()
    name.symlink_to(again.address[1])
    again.wait(lambda: not again.on)
    assert again.lines[0] == "OUTP OFF"
    measured(16, "plugged in again under its own name: safe command", "first", 1e3 * (time.monotonic() - begun))
    engine.settled(**{"laser: output off": "CONFIRMED"})
    assert "OUTP ON" not in again.lines
    assert "a person must acknowledge" in engine.ask("arm", run="again", dwell_s=1.0)["refused"]


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

    def start(*, looks_s=0.02, **changes):
        output = reading | {"name": "output", "ask": b"OUTP?\n".hex(), "low": 0, "high": 1}
        watch = [reading | {"while_on": ["laser"]} | changes]
        source = laser.port(watch=[output | {"every_s": looks_s, "stale_s": 20.0}])
        source["commands"][2]["rate_per_s"] = 100.0
        return guard(ports={"laser": source, "door": door.port(watch=watch)})

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


def test_what_a_command_depends_on_is_read_again_before_it_is_refused(laser, door, interlocked) -> None:
    door.reading = "99"
    line = interlocked(every_s=5.0, stale_s=20.0).engine().arm().line("laser")
    door.reading = "20"
    line.send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)


def test_it_is_not_waited_for_longer_than_a_moment(laser, door, interlocked) -> None:
    door.reading = "99"
    guard = interlocked(every_s=5.0, stale_s=20.0)
    line = guard.engine().arm().line("laser")
    door.awake.clear()
    begun = time.monotonic()
    line.send(b"OUTP ON\n")
    while not guard.log("refused"):
        assert time.monotonic() - begun < 1.0
        time.sleep(0.01)
    assert "door.reading is 99" in guard.log("refused")[0]["why"]
    assert "OUTP ON" not in laser.lines


def test_a_set_point_whose_rise_is_limited_may_always_fall(laser, door, interlocked) -> None:
    door.reading = "99"
    line = interlocked().engine().arm().line("laser")
    line.send(b"VOLT 0\n")
    laser.wait(lambda: "VOLT 0" in laser.lines)
    line.send(b"VOLT 1\n")
    assert line.ask("OUTP?") == "0"
    assert "VOLT 1" not in laser.lines


def test_what_was_switched_off_since_it_was_read_needs_no_trip(laser, door, interlocked) -> None:
    engine = interlocked(looks_s=0.5).engine().arm()
    line = engine.line("laser")
    line.send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    begun = time.monotonic()
    laser.wait(lambda: laser.times(b"OUTP?", after=begun))
    line.send(b"OUTP OFF\n")
    laser.wait(lambda: not laser.on)
    door.reading = "99"
    assert not engine.told.wait(1.0)


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


@pytest.mark.row(19)
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
