"""Anneals in simulated time: held as long as asked for, interrupted, gone on with; nothing is counted twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megabar.acquisition.rig import shipped
from megabar.acquisition.run import read_run

from .conftest import Command, pulls, rehearse

SHORT = ("--set", "load_mn=0.1", "--set", "duration_h=1", "--set", "heating_rate_k_per_min=100")
LONG = ("--set", "load_mn=0.1", "--set", "duration_h=24", "--set", "heating_rate_k_per_min=100")


def resume(folder: Path, *arguments: str) -> Command:
    return Command(["run", "--resume", *arguments, "--json", "--out", str(folder)], folder)


@pytest.mark.parametrize("seed", [11, 12])
def test_a_sample_is_held_for_as_long_as_asked(tmp_path: Path, seed: int) -> None:
    told = rehearse(tmp_path, "--seed", str(seed), *SHORT, experiment="anneal").told
    assert told["exit_status"] == "success"
    assert told["results"]["hold_time"]["unit"] == "s"
    assert 0.0 <= told["results"]["hold_time"]["value"] - 3600.0 <= 5.0
    assert abs(told["truth"]["hold_time"] - told["results"]["hold_time"]["value"]) < 60.0
    assert abs(pulls(told)["temperature"]) < 3.5


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long anneal, interrupted by hand once it was at temperature for a while; its folder."""
    out = tmp_path_factory.mktemp("anneals")
    command = [sys.executable, "-P", "-m", "megabar.acquisition.commands.main", "run", "anneal", "--simulate", "--json"]
    with subprocess.Popen(
        [*command, "--seed", "13", "--out", str(out), *LONG], stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60.0
        while not (journals := list(out.glob("*/run.journal"))) or journals[0].read_bytes().count(b'"hold_time"') < 200:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert json.loads(output)["exit_status"] == "abort"
    return journals[0].parent


def hold_times(run: Any) -> np.ndarray:
    return np.asarray(run.streams["hold"].data["hold_time"])


def test_an_interrupted_anneal_goes_on_where_it_was(lost: Path, tmp_path: Path) -> None:
    lost = shutil.copytree(lost, tmp_path / lost.name)
    before = read_run(lost)
    held_s = float(hold_times(before)[-1])
    assert 900.0 < held_s < 23 * 3600.0
    told = resume(lost.parent, str(lost), "--simulate", "--seed", "14").told
    assert told["exit_status"] == "success" and told["results"]["hold_time"]["value"] == pytest.approx(86400.0, abs=5.0)
    assert "truth" not in told or told["truth"] is None  # its world began anew
    after = read_run(Path(told["journal"]))
    assert hold_times(after)[0] == pytest.approx(held_s, abs=35.0)  # the gap is not counted
    history = {key: np.asarray(column)[-1] for key, column in after.streams["history"].data.items()}
    assert np.all(np.diff(history["history_time"]) > 0)
    n_before, n_after = (len(run.streams["conditions"]) for run in (before, after))
    assert np.bincount(history["history_run"].astype(int)).tolist() == [n_before, n_after]
    seconds = float(np.ptp(history["history_time"]))
    assert told["results"]["hold_time"]["value"] < seconds
    refused = resume(lost.parent, str(lost), "--simulate")
    assert refused.code == 2 and "has gone on with it" in refused.messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--simulate", "--set", "duration_h=2"), "keeps its parameters"),
        ((), "accepted is --simulate or --served"),
        (("deformation", "--simulate"), "that run is of anneal"),
        (("--simulate", "--served", "served.json"), "accepted is either that or --simulate"),
        (("--served", "nothing.json"), "--served nothing.json: FileNotFoundError"),
        (("--simulate", "--rig", "nothing.toml"), "nothing.toml"),
    ],
)
def test_going_on_otherwise_is_refused(lost: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    refused = Command(["run", *arguments, "--resume", str(lost), "--json", "--out", str(tmp_path)], tmp_path)
    assert refused.code == 2 and message in refused.messages, refused.messages
    assert refused.messages.count("\n") == 1 and not refused.output
    assert not any(tmp_path.iterdir())


def test_a_deformation_cannot_be_gone_on_with(tmp_path: Path) -> None:
    done = rehearse(tmp_path, "--seed", "1", "--set", "calibrate=false", "--set", "world.blow_out_at_s=300")
    assert done.told["exit_status"] == "fail"
    refused = resume(tmp_path, done.told["run"], "--simulate")
    assert refused.code == 2 and "a run of deformation cannot be gone on with" in refused.messages


def test_a_rig_that_has_changed_is_refused_unless_it_is_named(tmp_path: Path) -> None:
    rig = tmp_path / "my.toml"
    rig.write_text(shipped()["d111"].read_text(encoding="utf-8"), encoding="utf-8")
    broken = ("--set", "world.sensor_break_at_s=1200", "--rig", str(rig))
    done = rehearse(tmp_path, "--seed", "2", *SHORT, *broken, experiment="anneal")
    assert done.told["exit_status"] == "fail" and "furnace" in done.told["reason"]
    with rig.open("a", encoding="utf-8") as file:
        file.write("# a line more\n")
    refused = resume(tmp_path, done.told["run"], "--simulate", "--seed", "2")
    assert refused.code == 2 and "has changed since" in refused.messages
    on = resume(tmp_path, done.told["run"], "--simulate", "--seed", "2", "--rig", str(rig))
    assert on.told["exit_status"] == "success"
    assert "is another rig file than that of the run" in on.messages
