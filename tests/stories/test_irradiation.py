"""The irradiation from the command line to the energy, and what happens when there is no light."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megabar.acquisition.rig import shipped
from megabar.acquisition.run import Run, read_run

from .conftest import Command, irradiating, pulls, rehearse

LONG = ("--set", "duration_s=36000")


def irradiate(folder: Path, *arguments: str) -> Command:
    return rehearse(folder, *arguments, experiment="irradiation")


def rig_with(folder: Path, old: str, new: str) -> str:
    """The shipped rig, changed in one place."""
    text = shipped()["laser_bench"].read_text()
    assert old in text
    path = folder / "changed.toml"
    path.write_text(text.replace(old, new))
    return str(path)


def simulated(folder: Path, parameters: str) -> str:
    return rig_with(folder, "\n[instruments.laser.options]", f"{parameters}\n\n[instruments.laser.options]")


def is_dark_at_the_end(run: Run) -> bool:
    safety = str(run.streams["safety"].data["safety_report"][-1])
    assert "CONFIRMED laser: emission off" in safety and "CONFIRMED relay: gate open" in safety
    assert "UNCONFIRMED" not in safety
    assert run.truth is not None
    return run.truth["series"]["emitting"][-1] == 0.0


@pytest.mark.parametrize("seed", range(1, 7))
def test_power_and_energy_agree_with_the_truth(tmp_path: Path, seed: int) -> None:
    command = irradiate(tmp_path, "--seed", str(seed))
    assert command.code == 0, command.messages
    told = command.told
    assert set(told["results"]) == set(told["truth"]) == {"power", "energy"}
    found = pulls(told)
    assert all(abs(pull) < 3.0 for pull in found.values()), found
    assert told["results"]["power"]["unit"] == "W" and told["results"]["energy"]["unit"] == "J"
    assert 19.0 < told["truth"]["power"] < 25.0
    assert told["warnings"] == []


def test_the_record_holds_ramp_hold_and_darkness(tmp_path: Path) -> None:
    told = irradiate(tmp_path, "--seed", "11").told
    run = read_run(Path(told["journal"]))
    hold, conditions = run.streams["hold"], run.streams["conditions"]
    assert 60.0 <= hold.time[-1] - hold.time[0] < 66.0
    assert np.all(np.asarray(hold.data["laser_emission"]) == 1) and np.all(np.asarray(hold.data["relay_closed"]) == 1)
    time_s, current = np.asarray(conditions.time), np.asarray(conditions.data["laser_current"])
    rising = np.diff(current) > 0
    assert np.max(np.diff(current)[rising] / np.diff(time_s)[rising]) <= 4.0
    assert (conditions.data["laser_emission"][-1], conditions.data["relay_closed"][-1]) == (0, 0)
    assert len(run.streams["dose"]) == len(hold) - 2
    assert is_dark_at_the_end(run)
    assert Path(told["file"]).stat().st_size > 1e4
    assert Path(told["report"]).stat().st_size > 1e4


def test_without_systematic_terms_the_statistical_error_is_enough(tmp_path: Path) -> None:
    told = irradiate(tmp_path, "--seed", "5", "--set", "world.systematic_scale=0").told
    power = told["results"]["power"]
    assert abs(power["value"] - told["truth"]["power"]) < 4.0 * power["error"]
    assert power["error"] < 0.05


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    first, second, other = (irradiate(tmp_path, "--seed", seed).told for seed in ("8", "8", "9"))
    assert first["results"] == second["results"] != other["results"]
    assert first["truth"] == second["truth"]


def test_a_relay_that_does_not_begin_its_pulse_anew_ends_the_run(tmp_path: Path) -> None:
    rig = rig_with(
        tmp_path,
        "\n[instruments.relay.limits]",
        "\nsimulated_parameters = { retriggers = false }\n\n[instruments.relay.limits]",
    )
    command = irradiate(tmp_path, "--rig", rig)
    assert command.code == 1
    assert "the gate has opened" in command.told["reason"]
    assert is_dark_at_the_end(read_run(Path(command.told["journal"])))


@pytest.mark.parametrize(
    "parameters, reason",
    [
        ("simulated_parameters = { fault_bits = 8 }", "back-reflection"),
        ("simulated_parameters = { fault_bits = 2048 }", "power supply"),
        ("simulated_parameters = { modulation = false }", "gate would do nothing"),
    ],
)
def test_a_laser_that_is_not_ready_is_not_started(tmp_path: Path, parameters: str, reason: str) -> None:
    command = irradiate(tmp_path, "--rig", simulated(tmp_path, parameters))
    assert command.code == 1
    assert reason in command.told["reason"]
    run = read_run(Path(command.told["journal"]))
    assert not any(run.truth["series"]["power"])
    assert is_dark_at_the_end(run)


@pytest.mark.parametrize("fault", ["drop", "garble", "truncate"])
def test_a_faulty_line_costs_readings_and_never_safety(tmp_path: Path, fault: str) -> None:
    """Whether or not the run survives it, every number is right and the laser is dark."""
    rig = simulated(tmp_path, f'faults = [{{ kind = "{fault}", every = 97 }}]')
    command = irradiate(tmp_path, "--seed", "3", "--rig", rig)
    told = command.told
    run = read_run(Path(told["journal"]))
    assert is_dark_at_the_end(run)
    if command.code == 0:
        assert all(abs(pull) < 3.0 for pull in pulls(told).values())
    else:
        assert told["reason"]


@pytest.mark.parametrize(
    "settings, what",
    [
        ("current_percent=36", "0..35 %"),
        ("poll_s=0.1", "poll_s"),
        ("ramp_percent_per_s=5", "ramp_percent_per_s"),
        ("world.absorbed_share=2", "absorbed_share"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_sent(tmp_path: Path, settings: str, what: str) -> None:
    command = irradiate(tmp_path, "--set", settings)
    assert command.code == 2
    assert what in command.messages.splitlines()[-1]
    assert not command.output


def test_a_signal_in_the_middle_of_the_hold_leaves_it_dark(tmp_path: Path) -> None:
    with irradiating(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        output, messages = process.communicate(timeout=120)
    told: dict[str, Any] = json.loads(output)
    assert told["exit_status"] == "abort", messages
    run = read_run(Path(told["journal"]))
    assert len(run.streams["hold"]) < 36000
    assert run.streams["hold"].data["laser_emission"][-1] == 1
    assert is_dark_at_the_end(run)
    assert told["results"]["energy"]["value"] > 0.0
