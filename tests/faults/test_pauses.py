"""A run is paused by a signal, or for longer than anybody waits: dark in time, and the guard keeps its lease."""

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.experiments import find
from megabar.acquisition.lease import Lease
from megabar.acquisition.rig import load_rig, shipped
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation

pytestmark = pytest.mark.alone

SLACK = float(os.environ.get("MEGABAR_SLACK", "3"))
PAUSED_S = 0.1 * SLACK
KICK = bytes.fromhex("01050200")
"""Closes the gate for a while: the plan, or the guard."""
UNPROTECTED = """
import sys
from megabar.acquisition.commands.main import main
from megabar.devices.instrument import Instrument

Instrument.pause_steps = lambda self: []
main(sys.argv[1:])
"""
"""A run whose devices do nothing at a pause."""


def until(so: Callable[[], bool], patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lit(bench: Any, moment: float) -> list[Any]:
    """What could let light out again: emission, current, or the gate closed, from a moment on."""
    told = [message for message in bench.trace(moment) if message.direction == "in"]
    return [m for m in told if b"EMON" in m.data or b"SDC" in m.data or KICK in m.data]


@pytest.mark.row(32, control="test_without_pause_steps_the_laser_stays_on")
@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(5, 50))])
def test_a_stop_signal_from_the_terminal_pauses_and_an_interrupt_ends_it(bench: Any, measured: Any, seed: int) -> None:
    engine = bench.start(f"pause-{seed}")
    engine.until_on()
    time.sleep(0.013 * seed)
    moment = engine.signal(signal.SIGTSTP)
    emission_s, gate_s = bench.safe_after(moment)
    assert max(emission_s, gate_s) <= PAUSED_S, (emission_s, gate_s)
    until(lambda: "paused" in engine.said.read_text())
    settled = time.monotonic()
    time.sleep(0.5)
    assert engine.process.poll() is None
    assert not lit(bench, settled)
    engine.signal(signal.SIGINT)
    ended = engine.ended()
    assert ended["code"] == 1 and ended["exit_status"] == "abort" and "SIGINT" in ended["reason"], ended
    assert "Ctrl-Z goes on, Ctrl-C ends the run" in ended["error"]
    run = read_run(engine.folder)
    (pause,) = [note.content for note in run.notes if note.kind == "pause"]
    assert pause["report"] == ["CONFIRMED laser: emission off", "CONFIRMED relay: gate open"]
    assert not lit(bench, settled)
    measured(32, "paused by SIGTSTP, laser on", "dark <= 100 ms, not armed again", 1e3 * max(emission_s, gate_s))


def test_without_pause_steps_the_laser_stays_on(bench: Any) -> None:
    """The control."""
    engine = bench.start("unprotected", before=[sys.executable, "-P", "-c", UNPROTECTED])
    engine.until_on()
    moment = engine.signal(signal.SIGTSTP)
    until(lambda: "paused" in engine.said.read_text())
    assert bench.safe_after(moment, patience_s=1.0) == (float("inf"), float("inf"))
    assert lit(bench, moment + 0.5)
    engine.signal(signal.SIGINT)
    engine.ended()


def test_the_same_signal_lets_it_go_on_and_a_laser_stays_off(bench: Any) -> None:
    engine = bench.start("go-on")
    engine.until_on()
    engine.signal(signal.SIGTSTP)
    until(lambda: "paused" in engine.said.read_text())
    moment = engine.signal(signal.SIGTSTP)
    ended = engine.ended()
    assert ended["code"] == 1 and ended["exit_status"] == "fail" and "new run" in ended["reason"], ended
    assert "going on" in ended["error"]
    assert [note.kind for note in read_run(engine.folder).notes if note.kind in ("pause", "went on")] == [
        "pause",
        "went on",
    ]
    assert not [m for m in lit(bench, moment) if b"SDC 0.0" not in m.data]


# the guard's lease

SETTINGS = {"current_percent": "4", "ramp_percent_per_s": "4", "settle_s": "0", "duration_s": "600", "poll_s": "0.2"}
DWELL_S, LASTS_S = 2.0, 3.5


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Session]:
    """Laser and relay, simulated and guarded, in wall-clock time."""
    text = shipped()["laser_bench"].read_text()
    for name in ("laser", "relay"):
        text = text.replace(f"[instruments.{name}]\n", f"[instruments.{name}]\nhazardous = true\n")
    text = text.replace(
        "[instruments.laser.options]",
        "[instruments.laser.simulated_parameters]\nstart_s = 0.3\n\n[instruments.laser.options]",
    )
    path = tmp_path / "guarded.toml"
    path.write_text(text)
    rig = load_rig(str(path))
    with Simulation(rig, 3, factor=1.0) as simulation:
        with Session(rig, simulation=simulation, guard=tmp_path / "guard") as session:
            assert isinstance(session.lease, Lease)
            yield session


def paused_run(session: Session, folder: Path, **options: Any) -> tuple[Any, float]:
    """A run that is paused in its hold and goes on later; when it was paused, if ever."""
    n_events, asked = 0, 0.0

    def pause_in_the_hold(name: str, document: Any) -> None:
        nonlocal n_events, asked
        n_events += name == "event"
        if name == "event" and n_events == 12:
            asked = time.monotonic()
            session.pauses.pause()
            later = threading.Timer(LASTS_S, session.pauses.go_on)
            later.daemon = True
            later.start()

    experiment = dataclasses.replace(find("irradiation"), dwell_s=lambda parameters: DWELL_S)
    outcome = session.run(
        experiment, experiment.parse(SETTINGS), folder, observers=[pause_in_the_hold], tell=lambda *_: None, **options
    )
    return outcome, time.monotonic() - asked


def test_the_guard_waits_for_the_end_of_a_pause(guarded: Session, tmp_path: Path) -> None:
    outcome, after_s = paused_run(guarded, tmp_path / "run")
    assert guarded.lease.tripped == ""
    assert outcome.exit_status == "fail" and "new run" in outcome.reason, outcome
    assert after_s >= LASTS_S


def test_without_a_dwell_of_its_own_a_pause_is_a_plan_that_hangs(
    guarded: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(Session, "_dwell_s", lambda self, declared_s: declared_s)
    outcome, after_s = paused_run(guarded, tmp_path / "run")
    assert "no progress" in guarded.lease.tripped and "no progress" in outcome.reason
    assert after_s < LASTS_S


def test_a_pause_that_nobody_ends_ends_the_run(guarded: Session, tmp_path: Path) -> None:
    outcome, after_s = paused_run(guarded, tmp_path / "run", longest_pause_s=0.8 * LASTS_S)
    assert outcome.exit_status == "fail" and "nobody has ended it" in outcome.reason, outcome
    assert guarded.lease.tripped == "" and "UNCONFIRMED" not in outcome.safety
    assert 0.8 * LASTS_S <= after_s < LASTS_S
