"""A trip in the middle of a message: what the instrument hears is whole, and the safe command comes first."""

import time

import pytest

OFF = b"OUTP OFF\n"
CUTS = [message[:n] for message in (b"VOLT 12.5\n", b"OUTP ON\n", b"VOLT?\n") for n in range(len(message) + 1)]


def arm_again(engine):
    engine.settled()
    assert "refused" not in engine.ask("ack", who="A. Tester")
    assert engine.ask("arm", run="run", dwell_s=60.0)["armed"]


@pytest.mark.parametrize("serial", [False, True])
def test_command_cut_at_every_byte_leaves_no_fragment(source, guard, serial) -> None:
    laser = source(serial=serial)
    engine = guard(laser).engine().arm()
    for cut in CUTS:
        line = engine.line("laser")
        line.send(b"OUTP ON\n")
        laser.wait(lambda: laser.on)
        n_heard = len(laser.messages) + cut.endswith(b"\n")
        line.send(cut)
        time.sleep(0.003)
        laser.wait(lambda n=n_heard: len(laser.messages) >= n)
        begun = time.monotonic()
        engine.ask("trip", why="cut")
        heard = laser.since(begun)
        assert heard.startswith(OFF), (cut, heard)
        assert not laser.on
        arm_again(engine)
    assert {line for line in laser.lines if not line.endswith("?")} <= {"OUTP ON", "OUTP OFF", "VOLT 12.5"}


def test_bytes_passed_on_as_they_come_would_swallow_the_safe_command(laser, direct) -> None:
    line = direct(laser)
    line.send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    line.send(b"VOLT?12.")
    line.send(OFF)
    assert line.ask("VOLT?") == "0.0"
    assert laser.on


def dribble(line, frame):
    for byte in frame:
        line.send(bytes([byte]))
        time.sleep(0.005)


def test_frame_that_comes_byte_by_byte_is_passed_on_in_one_write(slave, guard) -> None:
    gate = slave("gate")
    engine = guard(gate).engine().arm()
    line = engine.line("gate")
    dribble(line, gate.ON)
    assert line.exactly(8) == gate.ON
    assert [data for _, data in gate.chunks] == [gate.ON]


def test_without_a_guard_it_would_come_in_pieces(slave, direct) -> None:
    gate = slave("gate")
    dribble(direct(gate), gate.ON)
    gate.wait(lambda: gate.on)
    assert len(gate.chunks) > 1


@pytest.mark.parametrize("n_bytes", range(9))
def test_frame_cut_by_the_trip_leaves_no_fragment(slave, guard, n_bytes) -> None:
    gate = slave("gate")
    engine = guard(gate).engine().arm()
    line = engine.line("gate")
    line.send(gate.ON)
    assert line.exactly(8) == gate.ON
    line.send(gate.ON[:n_bytes])
    time.sleep(0.003)
    engine.ask("trip", why="cut")
    engine.settled(**{"gate: open": "CONFIRMED"})
    assert {data for _, data in gate.chunks} <= {gate.ON, gate.OFF, gate.READ}
    assert (gate.n_collisions, gate.on) == (0, False)


def test_rest_of_a_broken_frame_does_not_hold_up_the_next(slave, guard) -> None:
    gate = slave("gate")
    line = guard(gate).engine().line("gate")
    line.send(b"\x01\x01\x07")
    time.sleep(0.12)
    line.send(gate.READ)
    assert line.exactly(6)[:4] == b"\x01\x01\x01\x00"


def test_on_a_half_duplex_line_the_safe_command_waits_for_the_open_answer(slave, guard) -> None:
    gate = slave("gate")
    engine = guard(ports={"gate": gate.port(reply_s=0.3)}).engine().arm()
    gate.delay = lambda frame: 0.1
    engine.line("gate").send(gate.READ)
    gate.wait(lambda: gate.messages)
    engine.ask("trip", why="a question is open")
    report = engine.settled()["report"]
    assert (report, gate.n_collisions) == ({"gate: open": "CONFIRMED"}, 0)
    print(f"safe command {1e3 * (gate.times(gate.OFF)[0] - gate.messages[0][0]):.0f} ms after the question")


def test_nor_does_it_meet_the_answer_to_the_guard_itself(slave, guard) -> None:
    gate = slave("gate")
    gate.delay = lambda frame: 0.04
    closed = {**gate.port()["ways"]["off"]["actions"][0]["seen"][0], "every_s": 0.001, "stale_s": 5.0, "while_on": []}
    engine = guard(ports={"gate": gate.port(reply_s=0.3, watch=[closed | {"high": 1.0}])}).engine()
    for _ in range(5):
        assert engine.ask("arm", run="run", dwell_s=60.0)["armed"]
        n = len(gate.messages)
        gate.wait(lambda n=n: len(gate.messages) > n and gate._busy)
        engine.ask("trip", why="a question of the guard's is open")
        assert engine.settled()["report"] == {"gate: open": "CONFIRMED"}
        engine.ask("ack", who="A. Tester")
    assert gate.n_collisions == 0


def test_nor_does_it_wait_for_an_answer_that_has_come(slave, guard) -> None:
    gate = slave("gate")
    closed = {**gate.port()["ways"]["off"]["actions"][0]["seen"][0], "every_s": 0.001, "stale_s": 5.0, "while_on": []}
    engine = guard(ports={"gate": gate.port(watch=[closed | {"high": 1.0}])}).engine()
    took_s = []
    for number in range(10):
        assert engine.ask("arm", run="run", dwell_s=60.0)["armed"]
        time.sleep(0.03 + 0.0017 * number)
        begun = time.monotonic()
        engine.ask("trip", why="between two questions of the guard's")
        assert engine.settled()["report"] == {"gate: open": "CONFIRMED"}
        took_s.append(next(moment for moment in gate.times(gate.OFF) if moment > begun) - begun)
        engine.ask("ack", who="A. Tester")
    assert max(took_s) < 0.15, took_s


def test_half_duplex_line_is_silent_between_two_speakers(slave, guard) -> None:
    gate = slave("gate")
    gate.delay = lambda frame: 0.02
    closed = {**gate.port()["ways"]["off"]["actions"][0]["seen"][0], "every_s": 0.001, "stale_s": 5.0, "while_on": []}
    line = guard(ports={"gate": gate.port(reply_s=1.0, watch=[closed | {"high": 1.0}])}).engine().line("gate")
    for _ in range(10):
        line.send(gate.READ)
        assert line.exactly(6)[:4] == b"\x01\x01\x01\x00"
    gaps = [asked - replied for (asked, _), replied in zip(gate.messages[1:], gate.replied, strict=False)]
    assert min(gaps) > 0.003
    assert gate.n_collisions == 0
