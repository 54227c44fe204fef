"""A deformation in wall-clock time with furnace and press behind the guard: plan and devices as they are."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.rig import shipped
from megabar.acquisition.run import read_run

from .conftest import INTERLOCK, guarded_bench, rehearse

pytestmark = pytest.mark.alone

FACTOR = 120
"""A few hours in less than a minute; the guard and its lease live in real time."""
SHORT = {
    "load_mn": 0.2,
    "load_rate_mn_per_h": 2,
    "calibrate": "false",
    "centre": "false",
    "temperature_k": 400,
    "heating_rate_k_per_min": 100,
    "soak_s": 60,
    "strain": 0.008,
    "reference_radiographs": 3,
}


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """The shipped rig, its furnace and press marked as hazardous; the press's server has the watchdog record."""
    text = shipped()["d111"].read_text(encoding="utf-8")
    press = 'simulated = "megabar.simulators.instruments.presses.gsecars:SimulatedGSECARSPress"\n'
    furnace = 'simulated = "megabar.simulators.instruments.furnaces.eurotherm:SimulatedEurotherm3504"\n'
    assert press in text and furnace in text
    text = text.replace(press, press + "simulated_parameters = { lease = true }\nhazardous = true\n")
    marked = tmp_path / "guarded.toml"
    marked.write_text(text.replace(furnace, furnace + "hazardous = true\n"), encoding="utf-8")
    return marked


def start(rig: Path, out: Path) -> "subprocess.Popen[str]":
    settings = [f"--set={name}={value}" for name, value in SHORT.items()]
    command = [sys.executable, "-P", "-m", "megabar.acquisition.commands.main", "run", "deformation", "--json"]
    return subprocess.Popen(
        [*command, "--rig", str(rig), "--simulate", "--seed=5", f"--factor={FACTOR}", f"--out={out}", *settings],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def guard_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for log in out.glob("*/guard.log") for line in log.read_text().splitlines()]


def test_a_shortened_deformation_runs_through_the_guard(rig: Path, tmp_path: Path) -> None:
    with start(rig, tmp_path / "data") as run:
        output, _ = run.communicate(timeout=300)
    told = json.loads(output)
    assert run.returncode == 0 and told["exit_status"] == "success", told
    (note,) = [note.content for note in read_run(Path(told["journal"])).notes if note.kind == "guard"]
    assert note == {"tripped": "", "report": {"furnace: heater off": "CONFIRMED", "press: held": "CONFIRMED"}}
    assert "hazard" in {note.kind for note in read_run(Path(told["journal"])).notes}


def test_a_guard_that_dies_ends_it_with_the_heater_off_and_the_press_held(rig: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    with start(rig, out) as run:
        deadline = time.monotonic() + 60.0
        while not any(line["what"] == "armed" for line in guard_log(out)):
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(2.0)
        (told,) = out.glob("*/guard.json")
        os.kill(newest_with(str(told)), signal.SIGKILL)
        output, _ = run.communicate(timeout=120)
    ended = json.loads(output)
    assert run.returncode == 1 and ended["exit_status"] == "fail" and "guard" in ended["reason"], ended
    (safe,) = [line for line in guard_log(out) if line["what"] == "made safe"]
    assert safe["why"] == "the guard had died"
    assert set(safe["report"].values()) == {"CONFIRMED"}


def newest_with(text: str) -> int:
    """The last of the processes whose command line has this text: keeper and guard are forked in this order."""
    found = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and text in (entry / "cmdline").read_text(errors="replace")
    ]
    return max(found)


def test_a_laser_runs_under_an_interlock_of_its_gate(tmp_path: Path) -> None:
    """The current may be set to zero with the gate open; at the end the gate opens when the emission is off."""
    rig = guarded_bench(tmp_path, INTERLOCK.format("relay.closed", "[1, 1]", "laser"))
    settings = ("--rig", rig, "--seed", "3", "--factor", "5", "--set", "duration_s=5", "--set", "settle_s=0")
    settings += ("--set", "poll_s=5")  # pulses of the gate that outlast a slow disk
    told = rehearse(tmp_path, *settings, experiment="irradiation").told
    assert told["exit_status"] == "success", told
    (note,) = [note.content for note in read_run(Path(told["journal"])).notes if note.kind == "guard"]
    assert note["tripped"] == ""
