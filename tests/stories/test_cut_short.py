"""Runs that are cut short, by a signal or the death of the simulator, end as such, made safe, and say so."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.commands.interrupts import Interrupts
from megabar.acquisition.errors import SimulatorEnded
from megabar.acquisition.experiments import find
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation
from megabar.acquisition.simulator_process import SimulatorProcess

EVENTS = 60


def test_a_simulator_that_dies_in_the_middle(tmp_path: Path) -> None:
    experiment, rig = find("deformation"), load_rig("d111")
    seen = 0

    def kill_at_last(name: str, _: Mapping[str, Any]) -> None:
        nonlocal seen
        seen += name == "event"
        if seen == EVENTS:
            os.kill(process.pid, signal.SIGKILL)

    needed = [rig.instrument_for(role) for role in experiment.role_names]
    with SimulatorProcess() as process, Simulation(rig, 2, process=process) as simulation:
        with Session(rig, needed, simulation=simulation) as session:
            outcome = session.run(experiment, experiment.parse({}), tmp_path, seed=2, observers=[kill_at_last])
    assert outcome.exit_status == "fail"
    assert outcome.reason
    assert outcome.truth is None
    run = read_run(tmp_path)
    assert run.stop is not None
    assert sum(len(stream.seq_num) for stream in run.streams.values()) >= EVENTS
    assert "UNCONFIRMED" in outcome.safety


def test_a_simulator_that_dies_before_it_has_served_anything() -> None:
    with SimulatorProcess() as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(SimulatorEnded, match=r"simulator has ended|does not answer"):
            with Simulation(load_rig("d111"), 2, process=process) as simulation:
                assert simulation.addresses


def test_whoever_interrupts_what_is_put_off_is_heard_at_its_end() -> None:
    interrupts, done = Interrupts(), []
    try:
        with pytest.raises(KeyboardInterrupt), interrupts.put_off():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("a folder")
    finally:
        interrupts.restore()
    assert done


@pytest.mark.parametrize("after_s", [0.3, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
def test_signals_end_it_whenever_they_come(tmp_path: Path, after_s: float) -> None:
    """Two at once, for then the system hands one of them to any thread; later ones change nothing."""
    command = [sys.executable, "-P", "-m", "megabar.acquisition.commands.main", "run", "deformation"]
    command += ["--simulate", "--seed", "2", "--json", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(after_s)
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        sent = time.monotonic()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        output, messages = process.communicate(timeout=60)
        assert time.monotonic() - sent < 30.0
    if process.returncode < 0:  # before the first line of ours
        assert not output
        assert not list(tmp_path.iterdir())
        return
    assert process.returncode == 1
    assert "Traceback" not in messages
    if not output:
        assert messages.splitlines()[-1] == "megabar: interrupted"
        assert not list(tmp_path.iterdir())
        return
    told = json.loads(output)
    assert told["exit_status"] == "abort"
    assert told["reason"].startswith("aborted by SIG")
    run = read_run(Path(told["journal"]))
    assert run.exit_status == "abort"
    assert "UNCONFIRMED" not in run.streams["safety"].data["safety_report"][-1]
