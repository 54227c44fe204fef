"""The engine dies, hangs or is told to end while the laser is on: safe in time, and nothing acknowledged is lost."""

import os
import random
import signal
import sys
import time
from typing import Any

import pytest

MEGABAR = (sys.executable, "-P", "-m", "megabar.acquisition.commands.main")
SLACK = float(os.environ.get("MEGABAR_SLACK", "3"))
"""How much longer than promised something may take on a machine that has other things to do; 1 for `make faults`."""
KILLED_S, STOPPED_S = 0.1 * SLACK, 1.1 * SLACK
FORKED = """
import os, sys, threading, time
from megabar.acquisition.commands.main import main

def fork():
    time.sleep(2.5)
    if not os.fork():  # a child that holds every descriptor of the engine
        time.sleep(20)
        os._exit(0)

threading.Thread(target=fork, daemon=True).start()
main(sys.argv[1:])
"""
"""A run whose process has a child that keeps all that it had open."""


def seeds(quick: int, full: int) -> list[object]:
    """Trials: a few in every run of the tests, all of them in a soak."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(quick, full))]


def holding(bench: Any, name: str, seed: int) -> Any:
    """A run that is somewhere in its hold, the laser on."""
    engine = bench.start(name)
    engine.until_on()
    somewhere_in_the_hold(seed)
    return engine


def somewhere_in_the_hold(seed: int) -> None:
    time.sleep(random.Random(seed).uniform(0.0, 0.6))


def check_safe(bench: Any, engine: Any, moment: float, limit_s: float) -> float:
    """Emission and gate were told in time, and both are confirmed; the later of the two."""
    emission_s, gate_s = bench.safe_after(moment)
    assert emission_s <= limit_s and gate_s <= limit_s, (emission_s, gate_s, engine.guard_log()[-5:])
    assert set(engine.report().values()) == {"CONFIRMED"}
    return max(emission_s, gate_s)


@pytest.mark.parametrize("seed", seeds(20, 200))
def test_sigkill_at_a_random_instant(bench: Any, measured: Any, seed: int) -> None:
    engine = holding(bench, f"kill-{seed}", seed)
    moment = engine.signal(signal.SIGKILL)
    safe_s = check_safe(bench, engine, moment, KILLED_S)
    engine.process.wait()
    acknowledged = engine.pulses()
    run = engine.recovered()
    assert not run.damaged
    assert run.stop is not None and "recovered" in run.stop["reason"]
    assert engine.n_events(run) >= acknowledged > 0
    assert (engine.folder / "irradiation.nxs").exists()
    measured(1, "SIGKILL of the engine, laser on", "safe <= 100 ms", 1e3 * safe_s)


def test_without_a_guard_the_laser_stays_on(unguarded: Any) -> None:
    """The control: what was just shown is the guard's doing."""
    engine = unguarded.start("kill")
    engine.until_on()
    moment = engine.signal(signal.SIGKILL)
    engine.process.wait()
    assert unguarded.safe_after(moment, patience_s=1.5) == (float("inf"), float("inf"))


@pytest.mark.parametrize("seed", seeds(3, 50))
def test_a_stopped_engine(bench: Any, measured: Any, seed: int) -> None:
    """And once it is woken, not a byte of it reaches an instrument."""
    engine = holding(bench, f"stop-{seed}", seed)
    moment = engine.signal(signal.SIGSTOP)
    safe_s = check_safe(bench, engine, moment, STOPPED_S)
    woken = engine.signal(signal.SIGCONT)
    ended = engine.ended()
    assert ended["code"] == 1 and ended["exit_status"] == "fail", ended
    engine_spoke = [m for m in bench.trace(woken) if (m.direction == "in" and b"EMON" in m.data) or b"SDC" in m.data]
    assert not engine_spoke
    measured(2, "engine hangs (SIGSTOP)", "safe <= 1.1 s", 1e3 * safe_s)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seed", seeds(2, 25))
def test_told_to_end(bench: Any, measured: Any, number: signal.Signals, seed: int) -> None:
    engine = holding(bench, f"{number.name}-{seed}", seed)
    moment = engine.signal(number)
    emission_s, gate_s = bench.safe_after(moment)
    ended = engine.ended()
    after_s = time.monotonic() - moment
    assert max(emission_s, gate_s) <= KILLED_S, (emission_s, gate_s)
    assert ended["code"] == 1 and ended["exit_status"] == "abort" and number.name in ended["reason"], ended
    row = 4 if number == signal.SIGTERM else 5
    measured(row, f"{number.name}", "safe <= 100 ms, exit <= 5 s", 1e3 * max(emission_s, gate_s))
    assert after_s < 5.0 * SLACK


@pytest.mark.parametrize("gap_s", [0.0, 0.005, 0.02, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", seeds(1, 100))
def test_a_burst_of_interrupts_is_one_abort(bench: Any, measured: Any, gap_s: float, seed: int) -> None:
    engine = holding(bench, f"burst-{gap_s}-{seed}", seed)
    moment = engine.signal(signal.SIGINT)
    for _ in range(2):
        time.sleep(gap_s)
        if engine.process.poll() is None:
            engine.signal(signal.SIGINT)
    emission_s, gate_s = bench.safe_after(moment)
    ended = engine.ended()
    assert max(emission_s, gate_s) <= KILLED_S, (emission_s, gate_s)
    assert ended["exit_status"] == "abort", ended
    measured(5, "Ctrl-C three times, gaps of 0 to 500 ms", "safe <= 100 ms, none ignored", 1e3 * emission_s)


def test_a_closed_terminal_ends_no_run(bench: Any, measured: Any) -> None:
    engine = bench.start("hangup", duration_s=3)
    engine.until_on()
    engine.signal(signal.SIGHUP)
    ended = engine.ended()
    assert ended["code"] == 0 and ended["exit_status"] == "success", ended
    measured(4, "SIGHUP", "the run goes on", 0.0)


@pytest.mark.parametrize("seed", seeds(3, 200))
def test_sigkill_beside_four_busy_loops_and_a_child_with_every_descriptor(
    bench: Any, loaded: None, measured: Any, seed: int
) -> None:
    engine = bench.start(f"loaded-{seed}", before=[sys.executable, "-P", "-c", FORKED])
    engine.until_on()
    time.sleep(max(0.0, engine.began + 3.5 - time.monotonic()))
    somewhere_in_the_hold(seed)
    moment = engine.signal(signal.SIGKILL)
    safe_s = check_safe(bench, engine, moment, KILLED_S)
    engine.process.wait()
    measured(1, "the same, 4 busy loops, a forked child", "safe <= 100 ms", 1e3 * safe_s)


@pytest.mark.parametrize("seed", seeds(3, 50))
def test_the_guard_is_killed(bench: Any, measured: Any, seed: int) -> None:
    """Its keeper's next one makes safe; the engine ends as failed, and cannot arm it again."""
    engine = holding(bench, f"guard-killed-{seed}", seed)
    moment = time.monotonic()
    os.kill(bench.guard_pids()[-1], signal.SIGKILL)
    safe_s = check_safe(bench, engine, moment, KILLED_S)
    ended = engine.ended()
    assert ended["exit_status"] == "fail" and "guard" in ended["reason"], ended
    late = [m for m in bench.trace(moment + 1.5) if m.direction == "in" and (b"SDC" in m.data or b"EMON" in m.data)]
    assert not late
    measured(9, "SIGKILL of the guard", "safe <= 100 ms", 1e3 * safe_s)


@pytest.mark.parametrize("seed", seeds(1, 20))
def test_the_guard_hangs(bench: Any, measured: Any, seed: int) -> None:
    engine = holding(bench, f"guard-stopped-{seed}", seed)
    moment = time.monotonic()
    os.kill(bench.guard_pids()[-1], signal.SIGSTOP)
    safe_s = check_safe(bench, engine, moment, STOPPED_S)
    ended = engine.ended()
    assert ended["exit_status"] == "fail" and "guard" in ended["reason"], ended
    measured(9, "guard hangs (SIGSTOP)", "safe <= 1.1 s", 1e3 * safe_s)


@pytest.mark.parametrize("seed", seeds(2, 20))
def test_engine_guard_and_keeper_are_killed(bench: Any, measured: Any, seed: int) -> None:
    """Nobody is left who could say anything: the relay drops out by itself."""
    engine = holding(bench, f"all-{seed}", seed)
    moment = time.monotonic()
    for pid in (*bench.guard_pids(), engine.pid):
        os.kill(pid, signal.SIGKILL)
    engine.process.wait()
    assert bench.safe_after(moment, patience_s=0.5) == (float("inf"), float("inf"))
    opened_s = bench.gate_opened_after(moment)
    assert opened_s <= 1.05 + 0.1 * (SLACK - 1.0), opened_s
    measured(10, "engine, guard and keeper killed", "the relay drops <= 1.05 s", 1e3 * opened_s)


def test_nothing_is_armed_before_a_person_has_acknowledged_the_trip(bench: Any) -> None:
    engine = holding(bench, "trip", 0)
    engine.signal(signal.SIGKILL)
    engine.process.wait()
    assert set(engine.report().values()) == {"CONFIRMED"}
    rig = str(bench.rig)
    status = bench.megabar("guard", "status", rig)
    assert status.returncode == 1 and "the engine" in status.stdout and "CONFIRMED" in status.stdout
    refused = bench.megabar("run", "irradiation", "--rig", rig, "--out", str(engine.out))
    assert refused.returncode == 2 and "megabar guard acknowledge" in refused.stderr
    assert refused.stderr.count("\n") <= 3 and "Traceback" not in refused.stderr
    assert bench.megabar("guard", "acknowledge", rig, "--name", " ").returncode == 2
    assert bench.megabar("guard", "acknowledge", rig, "--name", "A. Person").returncode == 0
    assert bench.megabar("guard", "status", rig).returncode == 0


def test_a_pipeline_ends_when_the_run_ends(bench: Any) -> None:
    """A guard that stays keeps no pipe of the run open."""
    engine = bench.start("pipe", before=["sh", "-c", 'set -e; "$0" "$@" | cat', *MEGABAR])
    engine.until_on()
    (pid,) = engine.engine_pids()
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    engine.process.wait(5.0)
    assert time.monotonic() - began < 2.0
    assert bench.guard_pids()
