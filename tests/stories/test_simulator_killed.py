"""A rehearsal whose simulator dies ends as failed, with what was recorded, and says so."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.errors import SimulatorEnded
from megabar.acquisition.experiments import find
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation
from megabar.acquisition.simulator_process import SimulatorProcess

EVENTS = 60


def test_in_the_middle_of_a_run(tmp_path: Path) -> None:
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
    assert outcome.exit_status in {"fail", "abort"}
    assert "simulator has ended" in outcome.reason or "lost" in outcome.reason
    assert outcome.truth is None
    run = read_run(tmp_path)
    assert run.stop is not None
    assert sum(len(stream.seq_num) for stream in run.streams.values()) >= EVENTS
    assert "UNCONFIRMED" in outcome.safety


def test_before_it_has_served_anything() -> None:
    with SimulatorProcess() as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(SimulatorEnded, match=r"simulator has ended|does not answer"):
            with Simulation(load_rig("d111"), 2, process=process) as simulation:
                assert simulation.addresses
