"""Who dies or hangs: the engine, a child of its, the guard, its keeper; and two of a kind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megabar.acquisition.errors import InputError
from megabar.acquisition.lease import Lease

OFF = b"OUTP OFF"
CHILD = """
import json, os, socket, sys, time
path, kind = sys.argv[1:3]
def connect():
    host, port = sys.argv[3].split(":")
    return socket.create_connection((host, int(port)), 1)
guard = socket.socket(socket.AF_UNIX)
guard.connect(path)
reader = guard.makefile()
def ask(**message):
    guard.sendall(json.dumps(message).encode() + b"\\n")
    return json.loads(reader.readline())
assert ask(op="arm", run="run", dwell_s=60.0)["armed"]
line = connect()
line.sendall(b"OUTP ON\\n")
if kind == "forks" and not os.fork():
    time.sleep(3)
    os._exit(0)
guard.setblocking(False)
n = 0
while True:
    n += 1
    try:
        guard.sendall(json.dumps({"op": "beat", "n": n, "progress": n, "dwell_s": 60.0}).encode() + b"\\n")
        guard.recv(65536)
    except OSError:
        pass
    if kind == "writes":
        for _ in range(10):
            try:
                line.sendall(b"VOLT 7\\nOUTP ON\\n")
                time.sleep(0.002)
            except OSError:
                try:
                    line = connect()
                except OSError:
                    pass
    time.sleep(0.02)
"""


@pytest.fixture
def child(close_after):
    """An engine in a process of its own, which has switched the output on."""
    processes = []

    def start(guard, laser, kind="plain", address=None):
        if address is None:
            address = guard.engine().ask("hello")["addresses"]["laser"].split("::")[1:3]
        process = subprocess.Popen([sys.executable, "-I", "-c", CHILD, guard.path, kind, ":".join(map(str, address))])
        processes.append(process)
        laser.wait(lambda: laser.on)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait(5)


def safe_after(laser, begun):
    """Seconds from a moment to the safe command."""
    return laser.wait(lambda: laser.times(OFF, begun), 3.0)[0] - begun


def acknowledged(engine):
    engine.settled()
    assert "refused" not in engine.ask("ack", who="A. Tester")


def test_engine_killed(laser, guard, child) -> None:
    guard = guard(laser, lease_s=60.0)
    engine = guard.engine()
    times = []
    for _ in range(10):
        process = child(guard, laser)
        begun = time.monotonic()
        process.kill()
        times.append(safe_after(laser, begun))
        acknowledged(engine)
        assert not laser.on
    print(f"SIGKILL: safe command after {1e3 * sorted(times)[5]:.1f}, at most {1e3 * max(times):.1f} ms, n = 10")
    assert max(times) < 0.1


def test_without_a_guard_the_output_of_a_killed_engine_stays_on(laser, guard, child, source) -> None:
    guarded = guard(source("other"))
    process = child(guarded, laser, address=laser.address[1:])
    process.kill()
    process.wait(5)
    time.sleep(0.2)
    assert laser.on


def test_engine_stopped(laser, guard, child) -> None:
    guard = guard(laser, lease_s=1.0)
    engine = guard.engine()
    times = []
    for _ in range(2):
        process = child(guard, laser)
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGSTOP)
        times.append(safe_after(laser, begun))
        acknowledged(engine)
        process.kill()
    print("SIGSTOP: safe command after", [f"{1e3 * s:.0f} ms" for s in times])
    assert max(times) < 1.1


@pytest.mark.parametrize("guarded", [True, False])
def test_not_a_byte_of_an_engine_that_wakes_again_passes(laser, guard, child, source, guarded) -> None:
    if guarded:
        guard = guard(laser)
        process = child(guard, laser, "writes")
    else:
        guard = guard(source("other"))
        process = child(guard, laser, "writes", laser.address[1:])
    laser.wait(lambda: laser.volts == 7)
    os.kill(process.pid, signal.SIGSTOP)
    engine = guard.engine()
    end = time.monotonic() + 3
    while not engine.ask("status")["latched"]:
        assert time.monotonic() < end
        time.sleep(0.01)
    state = engine.settled()
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.5)
    heard = set(laser.since(begun).splitlines())
    if guarded:
        assert state["report"] == {"laser: output off": "CONFIRMED"}
        assert heard <= {b"*IDN?", b"OUTP?", OFF}
        assert not laser.on
    else:
        assert b"VOLT 7" in heard


def test_child_that_keeps_every_descriptor_does_not_hide_the_death(laser, guard, child) -> None:
    guard = guard(laser, lease_s=60.0)
    process = child(guard, laser, "forks")
    time.sleep(0.05)
    begun = time.monotonic()
    process.kill()
    assert safe_after(laser, begun) < 0.1
    assert guard.engine().settled()["latched"] == "the engine has died"


def test_a_socket_alone_would_hide_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        code = "import os, time; os.fork() or time.sleep(0.5)"
        subprocess.run([sys.executable, "-c", code], pass_fds=[theirs.fileno()], check=True)
        theirs.close()
        ours.settimeout(0.1)
        with pytest.raises(TimeoutError):
            ours.recv(1)


def test_lease_closed(laser, guard) -> None:
    guard = guard(laser, lease_s=60.0)
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    begun = time.monotonic()
    engine.close()
    assert safe_after(laser, begun) < 0.1
    assert guard.engine().settled()["latched"] == "the engine has closed its lease"


@pytest.mark.parametrize("dwell_s", [0.3, float("nan")])
def test_plan_that_stands_still(laser, guard, dwell_s) -> None:
    engine = guard(laser, dwell_max_s=0.3).engine()
    begun = time.monotonic()
    engine.arm(dwell_s=dwell_s)
    assert engine.told.wait(1.0)
    assert 0.3 <= time.monotonic() - begun < 0.45
    assert "no progress" in engine.tripped


def test_plan_that_moves(laser, guard) -> None:
    engine = guard(laser, dwell_max_s=0.3).engine().arm(dwell_s=0.3)
    for _ in range(20):
        engine.progress += 1
        assert not engine.told.wait(0.05)


def test_guard_killed(laser, guard) -> None:
    guard = guard(laser)
    times = []
    for _ in range(5):
        engine = guard.reached()
        engine.settled()
        engine.ask("ack", who="A. Tester")
        engine.arm()
        engine.line("laser").send(b"OUTP ON\n")
        laser.wait(lambda: laser.on)
        begun = time.monotonic()
        os.kill(guard.pid, signal.SIGKILL)
        times.append(safe_after(laser, begun))
        assert engine.hung_up()
        state = guard.reached().settled()
        assert (state["armed"], state["report"]) == (False, {"laser: output off": "CONFIRMED"})
        assert state["latched"] == "the guard had died"
        assert "acknowledge" in guard.reached().ask("arm", run="run", dwell_s=1.0)["refused"]
    print(f"guard killed: safe command after {1e3 * sorted(times)[2]:.1f}, at most {1e3 * max(times):.1f} ms, n = 5")
    assert max(times) < 0.1


def test_guards_killed_before_they_have_shown_any_life(laser, guard) -> None:
    guard = guard(laser)
    guard.engine().arm().line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    killed = set()
    while len(killed) < 10:
        with contextlib.suppress(IndexError, ProcessLookupError):
            if (pid := guard.pid) not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
    assert guard.reached().settled()["report"] == {"laser: output off": "CONFIRMED"}
    assert not laser.on


def test_guard_stopped(laser, guard) -> None:
    guard = guard(laser)
    guard.engine().arm().line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    begun = time.monotonic()
    os.kill(guard.pid, signal.SIGSTOP)
    assert safe_after(laser, begun) < 1.1


def test_guard_killed_while_another_instrument_is_mute(source, guard) -> None:
    """The next guard is slow to confirm, and is not taken for one that hangs."""
    laser, mute = source("laser"), source("mute")
    way = {"actions": [mute.off(within_s=2.5)], "otherwise": "", "grace_s": 0.0}
    guard = guard(ports={"laser": laser.port(), "mute": mute.port(ways={"off": way})})
    guard.engine().arm().line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    mute.awake.clear()
    begun = time.monotonic()
    os.kill(guard.pid, signal.SIGKILL)
    assert safe_after(laser, begun) < 0.1
    state = guard.reached().settled()
    assert state["report"] == {"laser: output off": "CONFIRMED", "mute: output off": "UNCONFIRMED"}
    assert time.monotonic() - begun > 2.5
    assert [line["why"] for line in guard.log("trip")] == ["the guard had died"]


def test_guard_killed_while_another_instrument_cannot_be_reached(source, guard) -> None:
    laser, gone = source("laser"), source("gone")
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        guard = guard(ports={"laser": laser.port(), "gone": gone.port(address=["tcp", *full.getsockname()])})
        stack.enter_context(full.accept()[0])
        guard.engine().arm().line("laser").send(b"OUTP ON\n")
        laser.wait(lambda: laser.on)
        for _ in range(3):  # from now on it takes no connection and refuses none
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        begun = time.monotonic()
        os.kill(guard.pid, signal.SIGKILL)
        assert safe_after(laser, begun) < 0.1


def test_keeper_killed(laser, guard) -> None:
    guard = guard(laser)
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    guard_pid = guard.pid
    begun = time.monotonic()
    guard.keeper.kill()
    assert safe_after(laser, begun) < 0.1
    assert engine.settled()["latched"] == "the guard's keeper has died"
    assert Path(f"/proc/{guard_pid}").exists(), "it stays until a person has looked"
    engine.ask("ack", who="the test")
    while Path(f"/proc/{guard_pid}").exists():
        assert time.monotonic() - begun < 5.0
        time.sleep(0.01)


def test_a_guard_whose_keeper_dies_while_nothing_is_on_leaves(laser, guard) -> None:
    guard = guard(laser)
    guard_pid = guard.pid
    guard.keeper.kill()
    begun = time.monotonic()
    while Path(f"/proc/{guard_pid}").exists():
        assert time.monotonic() - begun < 5.0
        time.sleep(0.01)


def test_guard_told_to_leave_makes_safe_first(laser, guard) -> None:
    guard = guard(laser)
    guard.engine().arm().line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    guard.keeper.terminate()
    assert guard.keeper.wait(5) == 0
    assert not laser.on


def test_guard_told_to_leave_stays_while_an_output_is_stuck(laser, guard) -> None:
    guard = guard(laser)
    guard.engine().arm().line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    laser.stuck = True
    guard.keeper.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        guard.keeper.wait(1.0)
    laser.stuck = False
    assert guard.keeper.wait(5) == 0
    assert not laser.on


def test_second_guard_of_a_rig_refuses(laser, guard) -> None:
    first = guard(laser)
    second = guard(laser, wait=False, folder=first.folder)
    assert second.keeper.wait(5) == 2
    assert "another guard of fakes runs" in first.said()
    assert first.engine().ask("status")["armed"] is False


def test_guard_that_cannot_begin_says_why(laser, guard) -> None:
    broken = guard(ports={"laser": laser.port(kind="telepathy")}, wait=False)
    assert broken.keeper.wait(5) == 1
    assert "telepathy" in broken.said()


@pytest.mark.row(37, control="test_second_engine_is_taken_when_the_first_has_released")
def test_second_engine_is_refused_and_does_not_disturb_the_first(laser, guard) -> None:
    guard = guard(laser)
    engine = guard.engine().arm()
    line = engine.line("laser")
    assert line.ask("E1?") == "1"
    second = Lease(guard.folder)
    second.socket_path = guard.path
    with pytest.raises(InputError, match="another engine holds the lease"):
        second.arm("another", 60.0)
    second.close()
    guard.engine().line("laser")
    assert line.ask("E2?") == "2"
    assert not engine.tripped


def test_second_engine_is_taken_when_the_first_has_released(laser, guard) -> None:
    guard = guard(laser)
    first, second = guard.engine().arm(), guard.engine()
    line = first.line("laser")
    line.send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    assert first.ask("release")["report"] == {"laser: output off": "CONFIRMED"}
    assert not laser.on
    second.arm()


def test_second_engine_is_refused_when_the_first_has_left_something_on(laser, guard) -> None:
    guard = guard(laser)
    first, second = guard.engine().arm(), guard.engine()
    first.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    laser.stuck = True
    assert first.ask("release")["report"] == {"laser: output off": "UNCONFIRMED"}
    assert "not everything was seen to be safe" in second.ask("arm", run="another", dwell_s=1.0)["refused"]
    laser.stuck = False
    second.settled(**{"laser: output off": "CONFIRMED"})
    second.ask("ack", who="a person")
    second.arm()


def test_second_engine_waits_until_the_run_of_the_first_is_made_safe(laser, guard) -> None:
    guard = guard(laser)
    first, second = guard.engine().arm(), guard.engine()
    first.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    laser.awake.clear()
    first.send(op="release")
    laser.wait(lambda: laser.times(OFF))
    assert second.ask("arm", run="another", dwell_s=1.0) == {"refused": "it is being made safe"}
    laser.awake.set()
