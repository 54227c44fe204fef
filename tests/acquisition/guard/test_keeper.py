"""A guard that dies again and again is replaced again and again, more and more slowly, and each one makes safe."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from megabar.acquisition.guard.keeper import AT_ONCE, LONGEST_PAUSE_S, pause_s

from .conftest import Guard, Source


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def kill(guard: Guard) -> None:
    """End the guard, not its keeper, once there is one."""
    until(lambda: bool(Path(f"/proc/{guard.keeper.pid}/task/{guard.keeper.pid}/children").read_text()))
    os.kill(guard.pid, signal.SIGKILL)


def test_pauses_begin_after_a_few_deaths_and_grow_to_a_limit() -> None:
    pauses = [pause_s(n) for n in range(1, 1000)]
    assert pauses[:AT_ONCE] == [0.0] * AT_ONCE
    assert pauses[AT_ONCE : AT_ONCE + 4] == [0.1, 0.2, 0.4, 0.8]
    assert all(before <= after for before, after in itertools.pairwise(pauses))
    assert pauses[-1] == LONGEST_PAUSE_S


def crashing(guard: Guard) -> Path:
    """From now on every guard crashes before it can serve: where it would listen is a folder."""
    where = Path(guard.path)
    where.unlink()
    where.mkdir()
    return where


def test_a_guard_that_crashes_at_every_start_is_not_replaced_in_a_hurry(
    guard: Callable[..., Guard], laser: Source
) -> None:
    guarded = guard(laser)
    where = crashing(guarded)
    kill(guarded)
    time.sleep(2.0)
    restarts = guarded.log("restarted")
    assert AT_ONCE + 1 < len(restarts) <= AT_ONCE + 6, "four at once, then after 0.1, 0.2, 0.4, 0.8 s"
    assert [line["after_s"] for line in restarts] == [pause_s(n) for n in range(len(restarts))]
    assert guarded.keeper.poll() is None, "it does not give up"
    laser.on = True
    where.rmdir()
    engine = guarded.reached()
    until(lambda: bool(guarded.log("made safe")))
    assert guarded.log("made safe")[-1]["why"] == "the guard had died" and not laser.on
    assert "had died" in engine.ask("arm", run="run", dwell_s=1.0)["refused"]


HURRIED = """
import sys
from megabar.acquisition.guard import keeper
from megabar.acquisition.guard.specification import load
keeper.AT_ONCE = 10**9
sys.exit(keeper.keep(load(sys.argv[1])))
"""


def test_without_pauses_it_would_be_replaced_in_a_hurry(guard: Callable[..., Guard], laser: Source) -> None:
    """The control."""
    guarded = guard(laser)
    guarded.keeper.terminate()
    guarded.keeper.wait(5)
    with (guarded.folder / "guard.out").open("ab") as output:
        command = [sys.executable, "-I", "-c", HURRIED, str(guarded.folder / "guard.json")]
        guarded.keeper = subprocess.Popen(command, stdout=output, stderr=output)
    guarded.reached()
    crashing(guarded)
    kill(guarded)
    time.sleep(2.0)
    assert len(guarded.log("restarted")) > AT_ONCE + 5


def test_a_guard_that_is_told_to_leave_while_none_lives_leaves_when_one_does(
    guard: Callable[..., Guard], laser: Source
) -> None:
    guarded = guard(laser)
    where = crashing(guarded)
    kill(guarded)
    until(lambda: len(guarded.log("restarted")) > AT_ONCE + 3)  # a pause of 0.4 s begins
    time.sleep(0.1)
    laser.on = True
    guarded.keeper.send_signal(signal.SIGTERM)
    where.rmdir()
    assert guarded.keeper.wait(10) == 0
    assert not laser.on, "it was made safe first"


@pytest.mark.parametrize("what", ["latch", "log"])
def test_a_file_that_cannot_be_read_or_written_does_not_keep_a_guard_from_making_safe(
    guard: Callable[..., Guard], laser: Source, what: str
) -> None:
    guarded = guard(laser)
    guarded.engine().arm()
    laser.on = True
    path = Path(guarded.specification[what])
    path.unlink(missing_ok=True)
    path.mkdir()
    kill(guarded)
    laser.wait(lambda: not laser.on)
    assert guarded.reached().ask("arm", run="run", dwell_s=1.0).get("refused")
