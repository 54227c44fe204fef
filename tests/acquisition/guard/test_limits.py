"""What does not pass never reaches the instrument, and is written down."""

import math
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megabar.acquisition.guard.words import BURST_S

RATE = 4.0
GOOD = ["VOLT 5", "OUTP ON", "VOLT 40;OUTP ON"]
BAD = ["VOLT 41", "VOLT nan", "SYST:BOOM", "VOLT 5;SYST:BOOM;OUTP ON", "OUTP ON\rVOLT?", "BOOM 1?"]


def test_what_is_not_declared_never_reaches_the_instrument(laser, guard) -> None:
    guard = guard(laser)
    line = guard.engine().arm().line("laser")
    for message in BAD:
        line.send(f"{message}\n".encode())
        if "?" in message:
            assert line.receive() == b"refused\n"
    assert line.ask("E1?") == "1"
    assert laser.lines == ["E1?"]
    assert [bytes.fromhex(line["message"]).decode().rstrip("\n") for line in guard.log("refused")] == BAD
    for message in GOOD:
        line.send(f"{message}\n".encode())
    assert line.ask("E2?") == "2"
    assert laser.lines[1:] == [*GOOD, "E2?"]


def test_declared_without_limits_it_would(laser, guard) -> None:
    commands = [{"name": "volts", "head": "VOLT ", "tail": "", "low": -1e9, "high": 1e9}]
    line = guard(ports={"laser": laser.port(commands=commands)}).engine().arm().line("laser")
    line.send(b"VOLT 41\n")
    laser.wait(lambda: laser.volts == 41)


@pytest.mark.row(20)
def test_step_that_is_too_fast_never_reaches_the_instrument(laser, guard) -> None:
    commands = [command | {"rate_per_s": 4.0} for command in laser.port()["commands"]]
    guard = guard(ports={"laser": laser.port(commands=commands)})
    line = guard.engine().arm().line("laser")
    for volts in (4, 8, 0, 5):
        line.send(f"VOLT {volts}\n".encode())
    assert line.ask("VOLT?") == "0.0"
    assert laser.lines == ["VOLT 4", "VOLT 0", "VOLT?"]
    assert "a step faster than 4 per s" in guard.log("refused")[0]["why"]


def steepest(laser, guard, n: int, **limit: float) -> tuple[float, int]:
    """Send `n` random set-points; by how much the steepest rise at the instrument is too much, and how many came."""
    chance = random.Random(20)
    commands = [command | limit for command in laser.port()["commands"]]
    line = guard(ports={"laser": laser.port(commands=commands)}, lease_s=5.0).engine().arm().line("laser")
    for _ in range(n):
        line.send(f"VOLT {chance.uniform(0.0, 40.0) * chance.choice((0.02, 0.3, 1.0)):.3f}\n".encode())
        time.sleep(chance.choice((0.0, 0.0, 0.002, 0.01)))
    assert line.ask("E9?", 10.0) == "9"
    came = [(0.0, 0.0), *((when, float(told[5:])) for when, told in laser.messages if told.startswith(b"VOLT"))]
    excess = -math.inf
    for later in range(1, len(came)):
        for earlier in range(max(0, later - 50), later):
            (then, low), (when, high) = came[earlier], came[later]
            excess = max(excess, high - low - RATE * (1.05 * (when - then) + BURST_S))
    return excess, len(came) - 1


@pytest.mark.row(20, control="test_without_a_rate_steps_of_any_height_would_pass")
@pytest.mark.parametrize("n", [1000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_no_trajectory_at_the_instrument_rises_faster_than_its_rate(laser, guard, measured, n: int) -> None:
    """Bytes arrive a little later than they were judged, some more than others: 50 ms of the rate are allowed."""
    excess, n_passed = steepest(laser, guard, n, rate_per_s=RATE)
    assert excess <= RATE * 0.05
    assert 0 < n_passed < n
    measured(20, f"{n:,} random set-points through a guard, {n_passed:,} let through: too fast", "none", 0.0, "steps")


def test_without_a_rate_steps_of_any_height_would_pass(laser, guard) -> None:
    excess, n_passed = steepest(laser, guard, 300)
    assert n_passed == 300
    assert excess > RATE


def test_before_arming_only_questions_pass(laser, guard) -> None:
    engine = guard(laser).engine()
    line = engine.line("laser")
    line.send(b"OUTP ON\nVOLT 5\nOUTP OFF\n")
    assert line.ask("VOLT?") == "0.0"
    assert laser.lines == ["VOLT?"]
    engine.arm()
    line.send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)


BAD_FRAMES = {
    "another register": "010600030010",
    "another unit": "020600020010",
    "all units": "000600020010",
    "beyond its limit": "010600022710",
    "several registers": "011000020001020010",
    "another coil": "01050001ff00",
    "an unknown function": "012b0e01",
}


def closed(body):
    from megabar.acquisition.guard.words import checksum

    return bytes.fromhex(body) + checksum(bytes.fromhex(body))


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_frame_that_is_not_declared_is_answered_by_an_exception(slave, guard, name) -> None:
    gate = slave("gate")
    guard = guard(gate)
    line = guard.engine().arm().line("gate")
    bad = closed(BAD_FRAMES[name])
    line.send(bad)
    reply = line.exactly(5)
    assert reply == closed(bytes((bad[0], bad[1] | 0x80, 3)).hex())
    assert gate.chunks == []
    assert guard.log("refused")[0]["message"] == bad.hex()
    good = closed("010600020010")
    line.send(good)
    assert line.exactly(8) == good
    assert gate.registers[2] == 16


def random_bytes_through(laser, guard, n):
    """Send random bytes; every message that comes out is a question, or declared."""
    engine = guard(ports={"laser": laser.port(reply_s=0.01)}, lease_s=5.0).engine().arm()
    line = engine.line("laser")
    tokens = [b"VOLT ", b"OUTP ON", b"OUTP OFF", b"E1?", b";", b"\n", b"?", b"41", b"12", b"\r", b"BOOM"]
    text = st.lists(st.one_of(st.sampled_from(tokens), st.binary(max_size=8)), max_size=10).map(b"".join)

    @given(text)
    @settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck))
    def send(data):
        line.send(data)
        line.send(b"\nE7?\n")
        while line.exactly(1) not in (b"7", b""):
            pass

    send()
    for message in laser.lines:
        for part in message.split(";"):
            volts = part.removeprefix("VOLT ")
            assert part.rstrip(" ").endswith("?") or part in ("OUTP ON", "OUTP OFF") or 0 <= float(volts) <= 40
            assert part.isascii()
            assert part.isprintable()
    assert engine.ask("status")["armed"]


def test_random_bytes_put_nothing_undeclared_on_the_wire(laser, guard) -> None:
    random_bytes_through(laser, guard, 200)


@pytest.mark.soak
def test_many_random_bytes_put_nothing_undeclared_on_the_wire(laser, guard) -> None:
    random_bytes_through(laser, guard, 10_000)


@pytest.mark.row(33, control="acquisition/guard/test_strangers.py::test_a_request_of_its_own_user_is_heard")
@pytest.mark.parametrize(
    "garbage", [b"\xff\n", b"[1]\n", b'{"op": "loss"}\n', b"{}\n", b"[" * 8000 + b"\n", b"x" * 9000]
)
def test_garbage_instead_of_a_request_costs_the_sender_its_connection_at_most(laser, guard, garbage) -> None:
    guard = guard(laser)
    engine = guard.engine().arm()
    stranger = guard.engine()
    stranger.send_raw(garbage)
    stranger.hung_up(0.1)
    assert engine.ask("status")["armed"]
    assert not engine.tripped
    pid = guard.pid
    engine.send_raw(b'{"op": "beat"}\n')
    assert guard.engine().settled()["latched"] == "the engine has closed its lease"
    assert guard.pid == pid
