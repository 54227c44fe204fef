"""A port that is held: its grace, what ends it, who may take it over; what is latched, and who acknowledges it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megabar.acquisition.lease import Lease

OFF = b"OUTP OFF"


@pytest.fixture
def held(laser):
    """A port that is left on for a grace while its reading is within 10..30."""

    def port(grace_s=30.0, **changes):
        seen = {"name": "reading", "ask": b"READ?\n".hex(), "low": 10.0, "high": 30.0, "mask": 0, "signed": False}
        look = {"name": "look", "send": [], "seen": [seen | {"scale": 1.0, "pattern": r"^(\S+)$"}], "within_s": 0.5}
        hold = {"actions": [look], "otherwise": "off", "grace_s": grace_s}
        return laser.port(ways=laser.port()["ways"] | {"hold": hold}, on_loss="hold", **changes)

    return port


def lost(guard, laser, run="run"):
    """Switch on, and lose the lease; another engine."""
    first = guard.engine().arm(run)
    first.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    first.close()
    engine = guard.engine()
    engine.settled(**{"laser: look": "HELD"})
    return engine


def test_output_is_held_for_its_grace_and_then_off(laser, held, guard) -> None:
    begun = time.monotonic()
    engine = lost(guard(ports={"laser": held(0.6)}), laser)
    assert engine.ask("status")["held_s"]["laser"] <= 0.6
    assert laser.wait(lambda: laser.times(OFF), 2.0)[0] - begun > 0.6
    engine.settled(**{"laser: output off": "CONFIRMED"})


def test_without_a_grace_it_would_be_off_at_once(laser, guard) -> None:
    guard = guard(laser)
    first = guard.engine().arm()
    first.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    begun = time.monotonic()
    first.close()
    assert laser.wait(lambda: laser.times(OFF))[0] - begun < 0.2


def test_straying_ends_the_holding(laser, held, guard) -> None:
    engine = lost(guard(ports={"laser": held(3.0)}), laser)
    begun = time.monotonic()
    laser.reading = "31"
    assert laser.wait(lambda: laser.times(OFF), 2.0)[0] - begun < 0.5
    engine.settled(**{"laser: output off": "CONFIRMED"})


def test_silence_ends_the_holding(laser, held, guard) -> None:
    engine = lost(guard(ports={"laser": held(3.0)}), laser)
    laser.awake.clear()
    laser.wait(lambda: laser.times(OFF), 2.0)
    laser.awake.set()
    engine.settled(**{"laser: output off": "CONFIRMED"})


def test_output_that_cannot_be_held_goes_off_at_once(laser, held, guard) -> None:
    guard = guard(ports={"laser": held(30.0)})
    first = guard.engine().arm()
    first.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    laser.reading = "99"
    begun = time.monotonic()
    first.close()
    assert laser.wait(lambda: laser.times(OFF), 2.0)[0] - begun < 0.8


def test_the_lost_run_takes_it_over_and_nothing_changes(laser, held, guard) -> None:
    engine = lost(guard(ports={"laser": held(30.0)}), laser)
    n = len(laser.lines)
    time.sleep(1.2)
    engine.arm("run", resume="run")
    assert engine.held, "nothing was read while it was held"
    for age_s, what, value in engine.held:
        assert 0.0 <= age_s < 3.0 and what == "laser.reading" and value == float(laser.reading)
    time.sleep(0.1)
    assert set(laser.lines[n:]) <= {"READ?", "*IDN?"}
    line = engine.line("laser")
    line.send(b"VOLT 3\n")
    laser.wait(lambda: laser.volts == 3)
    assert laser.on
    assert not engine.ask("status")["latched"]


@pytest.mark.parametrize("resume", ["", "another"])
def test_another_run_does_not(laser, held, guard, resume) -> None:
    engine = lost(guard(ports={"laser": held(30.0)}), laser)
    answer = engine.ask("arm", run="another", dwell_s=60.0, resume=resume)
    assert "acknowledge" in answer["refused"]
    assert "still being made safe" in engine.ask("ack", who="A. Tester")["refused"]
    assert laser.on


def test_who_is_not_the_lost_run_is_told_nothing_of_it(laser, held, guard) -> None:
    engine = lost(guard(ports={"laser": held(0.3)}), laser)
    engine.settled(**{"laser: output off": "CONFIRMED"})
    engine.ask("ack", who="A. Tester")
    engine.arm("another")
    assert engine.held == []


def test_the_lost_run_comes_too_late_after_the_grace(laser, held, guard) -> None:
    engine = lost(guard(ports={"laser": held(0.3)}), laser)
    engine.settled(**{"laser: output off": "CONFIRMED"})
    assert "acknowledge" in engine.ask("arm", run="run", dwell_s=60.0, resume="run")["refused"]


def test_the_lost_run_does_not_take_over_while_another_port_is_not_confirmed(laser, held, source, guard) -> None:
    mute = source("mute")
    guard = guard(ports={"laser": held(30.0), "mute": mute.port()})
    first = guard.engine().arm()
    first.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    mute.awake.clear()
    first.close()
    engine = guard.engine()
    engine.settled(**{"laser: look": "HELD", "mute: output off": "UNCONFIRMED"})
    assert "acknowledge" in engine.ask("arm", run="run", dwell_s=60.0, resume="run")["refused"]


def test_guard_that_is_told_to_leave_leaves_nothing_held(laser, held, guard) -> None:
    guard = guard(ports={"laser": held(30.0)})
    lost(guard, laser)
    guard.keeper.terminate()
    assert guard.keeper.wait(5) == 0
    assert not laser.on


def tripped(guard, laser):
    engine = guard.engine().arm()
    engine.ask("trip", why="smoke")
    engine.settled()
    return engine


def test_a_trip_is_latched_until_a_person_acknowledges_it(laser, guard) -> None:
    guard = guard(laser)
    engine = tripped(guard, laser)
    assert "smoke; a person must acknowledge" in engine.ask("arm", run="run", dwell_s=60.0)["refused"]
    for nobody in (" ", "two\nlines"):
        assert "a name is needed" in engine.ask("ack", who=nobody)["refused"]
    assert engine.ask("ack", who="A. Tester")["latched"] == ""
    engine.arm()
    assert "there is no trip" in guard.engine().ask("ack", who="A. Tester")["refused"]
    assert [line["who"] for line in guard.log("acknowledged")] == ["A. Tester"]


def test_what_is_not_confirmed_is_not_acknowledged_unless_it_is_meant(laser, guard) -> None:
    guard = guard(laser)
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    laser.stuck = True
    engine.ask("trip", why="smoke")
    assert "not everything is confirmed" in engine.ask("ack", who="A. Tester")["refused"]
    assert engine.ask("ack", who="A. Tester", even_unconfirmed=True)["latched"] == ""
    assert guard.log("acknowledged")[0]["confirmed"] is False


def kill_both(guard):
    process = os.pidfd_open(guard.pid)
    guard.keeper.kill()
    guard.keeper.wait(5)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    assert select.select([process], [], [], 5)[0]
    os.close(process)


def test_the_latch_survives_guard_and_keeper(laser, guard) -> None:
    first = guard(laser)
    tripped(first, laser)
    kill_both(first)
    second = guard(laser, folder=first.folder)
    engine = second.engine()
    assert engine.ask("status")["latched"].startswith("smoke")
    assert "acknowledge" in engine.ask("arm", run="run", dwell_s=60.0)["refused"]
    engine.ask("ack", who="A. Tester")
    assert not Path(first.specification["latch"]).exists()
    engine.arm()


def test_without_its_file_it_would_not(laser, guard) -> None:
    first = guard(laser)
    tripped(first, laser)
    kill_both(first)
    Path(first.specification["latch"]).unlink()
    guard(laser, folder=first.folder).engine().arm()


def test_guard_stays_while_something_is_latched_and_leaves_afterwards(laser, guard) -> None:
    guard = guard(laser)
    engine = tripped(guard, laser)
    assert "look after" in engine.ask("leave")["refused"]
    engine.ask("ack", who="A. Tester")
    assert engine.ask("leave") == {"leaves": True}
    assert guard.keeper.wait(5) == 0


def test_guard_without_an_engine_leaves_once_all_is_safe(laser, guard) -> None:
    guard = guard(laser, orphan_s=0.3)
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    laser.stuck = True
    engine.close()
    time.sleep(1.0)
    assert guard.keeper.poll() is None
    laser.stuck = False
    assert guard.keeper.wait(5) == 0
    assert guard.log()[-1]["what"] == "no engine comes any more"


def test_an_engine_that_comes_while_the_guard_leaves_gets_the_next_one(tmp_path) -> None:
    for _ in range(3):
        Lease.of(tmp_path, "none", {}, rehearsal=True).leave()
        lease = Lease.of(tmp_path, "none", {}, rehearsal=True)
        time.sleep(0.2)  # the first is gone by now
        assert not lease.ask("status")["armed"]
        lease.leave()


def test_an_engine_of_another_version_of_the_rig_gets_a_guard_of_its_own(tmp_path, laser) -> None:
    Lease.of(tmp_path, "none", {}, rehearsal=True).close()
    lease = Lease.of(tmp_path, "none", {"laser": laser.port()}, rehearsal=True)
    assert list(lease.ask("hello")["addresses"]) == ["laser"]
    lease.leave()


def tables_of(pid: int) -> dict[str, set[str]]:
    """What each thread has open, sockets and others, by the thread's number."""
    tables: dict[str, set[str]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        tables[task.name] = set()
        for descriptor in (task / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # that of the folder itself
                tables[task.name].add(str(descriptor.readlink()))
    return tables


UNSHARES = "import ctypes, sys; sys.exit(bool(ctypes.CDLL(None).unshare(0x400)))"


def test_a_thread_of_the_engine_holds_a_connection_that_nobody_shares(tmp_path) -> None:
    if subprocess.run([sys.executable, "-c", UNSHARES], check=False).returncode:
        pytest.skip("unshare(CLONE_FILES) is forbidden here")
    lease = Lease.of(tmp_path, "none", {}, rehearsal=True)
    before = tables_of(os.getpid())
    lease.arm("run", 60.0)
    tables = tables_of(os.getpid())
    (lifeline,) = tables.keys() - before.keys()
    assert len(tables[lifeline]) == 1
    assert not any(tables[lifeline] & table for thread, table in tables.items() if thread != lifeline)
    assert lease.ask("status")["armed"]
    lease.release()
    end = time.monotonic() + 5.0
    while lifeline in tables_of(os.getpid()):
        assert time.monotonic() < end
        time.sleep(0.01)
    lease.leave()


def test_the_guard_trips_where_that_connection_ends_and_nothing_else_does(laser, guard) -> None:
    guard = guard(laser)
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    lifeline = guard.engine()
    assert lifeline.ask("life") == {"life": True}
    assert "not yours" in guard.engine().ask("life")["refused"], "there is one"
    lifeline.close()
    laser.wait(lambda: not laser.on)
    assert engine.settled()["latched"] == "the engine has died"


def test_nobody_holds_on_to_a_lease_that_there_is_not(laser, guard) -> None:
    assert "not yours" in guard(laser).engine().ask("life")["refused"]
