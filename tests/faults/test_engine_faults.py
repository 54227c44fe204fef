"""The engine dies, hangs or is told to end while the laser is on: safe in time, and nothing acknowledged is lost."""

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.clock import RealClock
from megabar.acquisition.lease import Lease
from megabar.acquisition.run import lines, read_run
from megabar.devices.lasers.gate_relay import CONTACT, GateRelay, RelayLink

from .conftest import Bench

pytestmark = pytest.mark.alone

PATIENCE_S = 30.0
MEGABAR = (sys.executable, "-P", "-m", "megabar.acquisition.commands.main")
SLACK = float(os.environ.get("MEGABAR_SLACK", "3"))
"""How much longer than promised something may take on a machine that has other things to do; 1 for `make faults`."""
NEVER = (float("inf"), float("inf"))
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


BLOCKS = """
import sys, threading, time
from pathlib import Path
from megabar.acquisition.commands.main import main
from megabar.acquisition.lease import Lease
from megabar.devices.lasers.ipg_ylr import IPGYLR

flag, method, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
inner = getattr(IPGYLR, method)

def block(self):
    if flag.exists():
        flag.write_text(repr(time.monotonic()))
        flag.rename(flag.with_suffix(".taken"))
        time.sleep(seconds)
    return inner(self)

def live():
    while True:
        time.sleep(0.05)

setattr(IPGYLR, method, block)
threading.Thread(target=live, daemon=True).start()
{more}
main(sys.argv[4:])
"""
"""A run whose laser blocks, once, when a file is there; one of its threads lives on."""
BEATS = """
import itertools, json

def beat_with(self, loop, progress, dwell_s, lost, ending):
    self._socket.setblocking(False)

    def beat():
        for n in itertools.count():
            self._socket.send(json.dumps({"op": "beat", "n": n, "progress": n, "dwell_s": dwell_s()}).encode() + b"\\n")
            self._echoed_at = time.monotonic()
            time.sleep(0.1)

    self._stand_in = threading.Thread(target=beat, daemon=True)
    self._stand_in.start()

Lease.beat_with = beat_with
"""
"""Beats from a thread, as no engine of ours sends them."""
SLOW_DISK = """
import contextlib, os, sys, threading, time
from pathlib import Path
from megabar.acquisition.commands.main import main
from megabar.acquisition.lease import Lease

flag, seconds = Path(sys.argv[1]), float(sys.argv[2])
inner = os.fdatasync

def flush(descriptor):
    if flag.exists() and not threading.current_thread().name.startswith("journal"):
        flag.write_text(repr(time.monotonic()))
        flag.rename(flag.with_suffix(".taken"))
        time.sleep(seconds)
    return inner(descriptor)

os.fdatasync = flush
{more}
main(sys.argv[3:])
"""
"""A run for whose journal the disk takes its time, once, when a file is there."""


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


@pytest.mark.row(1, control="test_without_a_guard_the_laser_stays_on")
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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_a_guard_the_laser_stays_on(unguarded: Any, number: signal.Signals) -> None:
    """The control: what was just shown is the guard's doing."""
    engine = unguarded.start(f"unguarded-{number.name}")
    engine.until_on()
    moment = engine.signal(number)
    assert unguarded.safe_after(moment, patience_s=1.5) == NEVER
    engine.process.kill()
    engine.process.wait()


@pytest.mark.row(2, control="test_without_a_guard_the_laser_stays_on")
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


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.row(4)),
        pytest.param(signal.SIGINT, marks=pytest.mark.row(5)),
    ],
)
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


@pytest.mark.row(5, control="test_a_signal_that_nobody_listens_to_leaves_the_laser_on")
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


@pytest.mark.row(4, control="test_a_signal_that_nobody_listens_to_leaves_the_laser_on")
def test_a_closed_terminal_ends_no_run(bench: Any, measured: Any) -> None:
    engine = bench.start("hangup", duration_s=3)
    engine.until_on()
    engine.signal(signal.SIGHUP)
    ended = engine.ended()
    assert ended["code"] == 0 and ended["exit_status"] == "success", ended
    measured(4, "SIGHUP", "the run goes on", 0.0)


@pytest.mark.row(1)
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


@pytest.mark.row(9, control="test_engine_guard_and_keeper_are_killed")
@pytest.mark.parametrize("seed", seeds(3, 50))
def test_the_guard_is_killed(bench: Any, measured: Any, seed: int) -> None:
    """Its keeper's next one makes safe; the engine ends as failed, and cannot arm it again."""
    engine = holding(bench, f"guard-killed-{seed}", seed)
    moment = time.monotonic()
    os.kill(bench.guard_pids()[-1], signal.SIGKILL)
    safe_s = check_safe(bench, engine, moment, KILLED_S)
    ended = engine.ended()
    assert ended["exit_status"] == "fail" and "guard" in ended["reason"], ended["reason"]
    late = [m for m in bench.trace(moment + 1.5) if m.direction == "in" and (b"SDC" in m.data or b"EMON" in m.data)]
    assert not late
    measured(9, "SIGKILL of the guard", "safe <= 100 ms", 1e3 * safe_s)


@pytest.mark.row(9)
@pytest.mark.parametrize("seed", seeds(1, 20))
def test_the_guard_hangs(bench: Any, measured: Any, seed: int) -> None:
    engine = holding(bench, f"guard-stopped-{seed}", seed)
    moment = time.monotonic()
    os.kill(bench.guard_pids()[-1], signal.SIGSTOP)
    safe_s = check_safe(bench, engine, moment, STOPPED_S)
    ended = engine.ended()
    assert ended["exit_status"] == "fail" and "guard" in ended["reason"], ended["reason"]
    measured(9, "guard hangs (SIGSTOP)", "safe <= 1.1 s", 1e3 * safe_s)


@pytest.mark.row(10, control="test_a_contact_that_is_closed_for_good_stays_closed")
@pytest.mark.parametrize("seed", seeds(2, 20))
def test_engine_guard_and_keeper_are_killed(bench: Any, measured: Any, seed: int) -> None:
    """Nobody is left who could say anything: the relay drops out by itself."""
    engine = holding(bench, f"all-{seed}", seed)
    moment = time.monotonic()
    for pid in (*bench.guard_pids(), engine.pid):
        os.kill(pid, signal.SIGKILL)
    engine.process.wait()
    assert bench.safe_after(moment, patience_s=0.5) == NEVER
    opened_s = bench.gate_opened_after(moment)
    assert opened_s <= 1.05 + 0.1 * (SLACK - 1.0), opened_s
    measured(10, "engine, guard and keeper killed", "the relay drops <= 1.05 s", 1e3 * opened_s)


def test_a_contact_that_is_closed_for_good_stays_closed(unguarded: Any) -> None:
    """The control: it drops out because it was closed by pulses alone."""
    link = RelayLink("relay", unguarded.addresses["relay"], RealClock(), **GateRelay.link_options)
    found: list[float] = []
    link.call(link.open)
    link.call(lambda: link.assign(CONTACT, 1))
    time.sleep(1.5)
    link.call(lambda: found.extend(link.fetch([CONTACT])))
    link.call(lambda: link.assign(CONTACT, 0))
    link.call(link.close)
    assert found == [1.0]


def blocking(bench: Any, name: str, method: str, seconds: float, more: str = "") -> tuple[Any, float]:
    """A run whose laser has begun to block in a method of its device; and when (s, monotonic)."""
    flag, taken = bench.folder / f"{name}.flag", bench.folder / f"{name}.taken"
    code = BLOCKS.replace("{more}", more)
    engine = bench.start(name, before=[sys.executable, "-P", "-c", code, str(flag), method, str(seconds)])
    engine.until_on()
    flag.touch()
    while not taken.exists():
        time.sleep(0.002)
    return engine, float(taken.read_text())


@pytest.mark.row(3, control="test_beats_from_a_thread_would_hide_that_the_loop_is_blocked")
@pytest.mark.parametrize("seed", seeds(1, 20))
def test_the_loop_of_the_engine_is_blocked(bench: Any, measured: Any, seed: int) -> None:
    engine, moment = blocking(bench, f"blocked-{seed}", "read", 10.0)
    safe_s = check_safe(bench, engine, moment, STOPPED_S)
    engine.process.kill()
    engine.process.wait()
    measured(3, "the engine's loop sleeps, a thread lives", "safe <= 1.1 s", 1e3 * safe_s)


def test_beats_from_a_thread_would_hide_that_the_loop_is_blocked(bench: Any) -> None:
    engine, moment = blocking(bench, "lent-beats", "read", 10.0, BEATS)
    assert bench.safe_after(moment, patience_s=1.6) == NEVER
    engine.process.kill()
    engine.process.wait()
    assert set(engine.report().values()) == {"CONFIRMED"}


def waiting_for_the_disk(bench: Any, name: str, seconds: float, more: str = "") -> tuple[Any, float]:
    """A run whose engine has begun to wait for its disk, the gate closed for 5 s at least; and when (s, monotonic)."""
    flag, taken = bench.folder / f"{name}.flag", bench.folder / f"{name}.taken"
    code = SLOW_DISK.replace("{more}", more)
    engine = bench.start(name, before=[sys.executable, "-P", "-c", code, str(flag), str(seconds)], poll_s=2)
    engine.until_on()
    flag.touch()
    while not taken.exists():
        time.sleep(0.002)
    return engine, float(taken.read_text())


@pytest.mark.row(3, control="test_a_disk_that_nobody_waits_for_would_end_the_run")
def test_a_disk_that_takes_its_time_ends_no_run(bench: Any, measured: Any) -> None:
    engine, moment = waiting_for_the_disk(bench, "slow", 2.5)
    time.sleep(max(0.0, moment + 4.0 - time.monotonic()))
    trips = [line for line in engine.guard_log() if line["what"] == "trip"]
    measured(3, "the disk takes 2.5 s for a flush: false trips", "none", len(trips), "trips")
    assert not trips and engine.process.poll() is None
    check_safe(bench, engine, engine.signal(signal.SIGINT), KILLED_S)
    assert engine.ended()["exit_status"] == "abort"


@pytest.mark.row(6, control="test_a_disk_that_takes_its_time_ends_no_run")
def test_an_interrupt_does_not_wait_for_the_disk(bench: Any, measured: Any) -> None:
    engine, _ = waiting_for_the_disk(bench, "slow-interrupted", 2.5)
    safe_s = check_safe(bench, engine, engine.signal(signal.SIGINT), STOPPED_S)
    measured(6, "Ctrl-C while the engine waits for the disk", "safe <= 1.1 s", 1e3 * safe_s)
    assert engine.ended()["exit_status"] in ("abort", "fail")


def test_a_disk_that_nobody_waits_for_would_end_the_run(bench: Any) -> None:
    """The control."""
    engine, moment = waiting_for_the_disk(
        bench, "impatient", 2.5, "Lease.busy = lambda lease: contextlib.nullcontext()"
    )
    check_safe(bench, engine, moment, STOPPED_S)
    assert engine.ended()["exit_status"] == "fail"


@pytest.mark.row(6, control="plans/test_safety.py::test_one_after_another_they_would_wait")
@pytest.mark.parametrize(
    ("method", "within_s", "passes"),
    [("acquire", 0.2 * SLACK, "gate open <= 200 ms"), ("read", STOPPED_S, "gate open <= 1.1 s")],
)
@pytest.mark.parametrize("seed", seeds(1, 20))
def test_an_interrupt_while_the_laser_blocks_for_five_seconds(
    bench: Any, measured: Any, method: str, within_s: float, passes: str, seed: int
) -> None:
    """Its own link is blocked, so that the engine cannot tell it anything: the gate opens, and the guard ends it."""
    engine, _ = blocking(bench, f"interrupted-{method}-{seed}", method, 5.0)
    moment = engine.signal(signal.SIGINT)
    emission_s, gate_s = bench.safe_after(moment)
    assert gate_s <= within_s and emission_s <= 2.0 * SLACK, (emission_s, gate_s)
    where = "the laser's link" if method == "acquire" else "the engine's loop"
    measured(6, f"Ctrl-C while {where} blocks: gate", passes, 1e3 * gate_s)
    measured(6, f"Ctrl-C while {where} blocks: emission, by the guard", "", 1e3 * emission_s)
    assert engine.ended()["exit_status"] in ("abort", "fail")


@pytest.mark.row(11, control="test_a_guard_that_judged_by_the_clock_on_the_wall_would_trip")
def test_the_clock_of_the_computer_jumps(tmp_path: Path, measured: Any) -> None:
    bench = Bench(tmp_path)
    try:
        engine = jumping(bench, "whole", duration_s=3)
        ended = engine.ended()
        assert ended["exit_status"] == "success", ended
        assert not [line for line in engine.guard_log() if line["what"] == "trip"]
        written = [*lines(engine.folder / "run.journal")]
        assert [frame.seq for frame in written] == [*range(len(written))]
        assert all(one.clock <= other.clock for one, other in itertools.pairwise(written))
        walls = [frame.wall for frame in written]
        assert max(walls) - min(walls) > 86400.0, "the clock did jump"
        run = read_run(engine.folder)
        assert (run.torn, run.damaged) == ("", ())
        engine = jumping(bench, "killed")
        somewhere_in_the_hold(11)
        moment = engine.signal(signal.SIGKILL)
        safe_s = check_safe(bench, engine, moment, KILLED_S)
        engine.process.wait()
        deadline, walls = time.monotonic() + 5.0, [0.0]
        while max(walls) - min(walls) < 3600.0:  # it goes on looking, and its clock goes on jumping
            assert time.monotonic() < deadline, "the guard's clock did not jump"
            walls = [line["wall"] for line in engine.guard_log()]
        measured(11, "jumps of 1 h and 1 day, a whole run: false trips", "none", 0.0, "trips")
        measured(11, "the same, then SIGKILL of the engine", "safe <= 100 ms", 1e3 * safe_s)
    finally:
        bench.close()


def test_a_guard_that_judged_by_the_clock_on_the_wall_would_trip(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        wall = "import megabar.acquisition.guard.log as log; log.now = lambda: time.time(); "
        engine = jumping(bench, "judged", wall, duration_s=3)
        ended = engine.ended()
        assert ended["exit_status"] == "fail" and "the guard has tripped" in ended["reason"], ended
    finally:
        bench.close()


JUMPS = """import itertools, time; true = time.time; began = time.monotonic()
OFFSETS = (0, 3600, -3600, 86400, -86400)
time.time = lambda: true() + OFFSETS[int((time.monotonic() - began) / 0.05) % 5]
"""
GUARD = """import runpy, sys; sys.argv[1:] = sys.argv[-1:]
runpy.run_module("megabar.acquisition.guard", run_name="__main__")
"""


def jumping(bench: Any, name: str, more: str = "", **settings: Any) -> Any:
    """A run, its laser on, in which the time of day jumps every 50 ms, and in its guard."""
    program = bench.folder / f"jumping-{name}"
    program.write_text(f"#!{sys.executable} -I\n{JUMPS}{more}{GUARD}\n", encoding="utf-8")
    program.chmod(0o700)
    code = JUMPS + "import sys, types, megabar.acquisition.lease as lease\n"
    code += f"lease.sys = types.SimpleNamespace(executable={str(program)!r})\n"
    code += "from megabar.acquisition.commands.main import main; main(sys.argv[1:])"
    engine = bench.start(name, before=[sys.executable, "-P", "-c", code], **settings)
    if not more:
        engine.until_on()
    return engine


STARVES = """
import os, resource, sys, threading, time
from megabar.acquisition.commands.main import main

flag, taken = sys.argv[1] + ".flag", sys.argv[1] + ".taken"

def starve():
    while not os.path.exists(flag):
        time.sleep(0.01)
    kept = [None] * 4_000_000
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    n = 0
    for each in (1 << 22, 1 << 16, 1 << 12, 1 << 10):
        try:
            while True:
                kept[n] = bytearray(each)
                n += 1
        except MemoryError:
            pass
    os.rename(flag, taken)
    time.sleep(1000.0)

threading.Thread(target=starve, daemon=True).start()
main(sys.argv[2:])
"""
"""A run that has no memory left when a file is there."""


@pytest.mark.row(38, control="test_without_a_guard_the_laser_stays_on")
@pytest.mark.parametrize("seed", seeds(1, 20))
def test_the_engine_has_no_memory_left(bench: Any, measured: Any, seed: int) -> None:
    """It fails, dies or hangs; an engine that finds enough goes on, until it is killed as the system would do it."""
    stem = bench.folder / f"starve-{seed}"
    engine = bench.start(f"starved-{seed}", before=[sys.executable, "-P", "-c", STARVES, str(stem)])
    engine.until_on()
    somewhere_in_the_hold(seed)
    began = time.monotonic()
    stem.with_suffix(".flag").touch()
    while not stem.with_suffix(".taken").exists() and engine.process.poll() is None:
        time.sleep(0.002)
    moment = time.monotonic()
    safe_s = max(bench.safe_after(began, patience_s=2.0)) - (moment - began)
    if failed := safe_s < float("inf"):
        assert safe_s <= STOPPED_S
    else:
        moment = engine.signal(signal.SIGKILL)
        safe_s = max(bench.safe_after(moment))
        assert safe_s <= KILLED_S
    assert set(engine.report().values()) == {"CONFIRMED"}
    engine.process.kill()
    engine.process.wait()
    assert engine.n_events(engine.recovered()) >= engine.pulses() > 0
    fault, passes = ("it failed", "<= 1.1 s") if failed else ("it lived on and was killed", "<= 100 ms")
    measured(38, f"no memory left: {fault}", f"safe {passes}", 1e3 * max(0.0, safe_s))


@pytest.mark.row(37, control="test_the_same_rig_lets_an_engine_in_when_the_first_has_ended")
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_a_second_engine_on_the_same_rig_is_refused(bench: Any, measured: Any, seed: int) -> None:
    first = holding(bench, f"first-{seed}", 0)
    times = 100 if seed else 1
    for number in range(times):
        second = bench.megabar("run", "irradiation", "--rig", str(bench.rig), "--out", str(bench.folder / "second"))
        assert second.returncode == 2 and "another engine holds the lease" in second.stderr, (number, second)
        assert "Traceback" not in second.stderr
    first.signal(signal.SIGINT)
    assert first.ended()["exit_status"] == "abort", "the first was not disturbed"
    measured(37, f"second runs on the same rig, of {times}: let in", "none", 0.0, "runs")


def test_the_same_rig_lets_an_engine_in_when_the_first_has_ended(bench: Any) -> None:
    """The control: it is the lease that keeps it out."""
    first = holding(bench, "alone", 0)
    first.signal(signal.SIGINT)
    lease = Lease(bench.guard)
    while (state := lease.state())["armed"] or state["tripping"]:
        time.sleep(0.02)
    lease.close()
    second = bench.start("next")
    second.until_on()
    for engine in (first, second):
        engine.process.kill()
        engine.process.wait()
    assert set(second.report().values()) == {"CONFIRMED"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_nobody_listens_to_leaves_the_laser_on(unguarded: Any, number: signal.Signals) -> None:
    """The control of every signal that is heard."""
    deaf = "from megabar.acquisition.engine import aborts; import signal, sys; "
    deaf += "aborts._hear = lambda self: [signal.signal(n, signal.SIG_DFL) for n in aborts.SIGNALS]; "
    deaf += "from megabar.acquisition.commands.main import main; main(sys.argv[1:])"
    engine = unguarded.start(f"deaf-{number.name}", before=[sys.executable, "-P", "-c", deaf])
    engine.until_on()
    moment = engine.signal(number)
    assert engine.process.wait(PATIENCE_S) == -number
    assert unguarded.safe_after(moment, patience_s=0.5) == NEVER


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
