"""The laser-heated cell from the command line to temperature and pressure, and what happens when it goes wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megabar.acquisition.run import Run, read_run

from .conftest import Command, pulls, rehearse

COOL = ("--set", "pressure_gpa=30", "--set", "temperature_k=2000")


def heat(folder: Path, *arguments: str) -> Command:
    return rehearse(folder, *arguments, experiment="laser_heating")


def recorded(command: Command) -> Run:
    return read_run(Path(command.told["journal"]))


def safety(run: Run) -> str:
    return str(run.streams["safety"].data["safety_report"][-1])


HOT = ("--set", "pressure_gpa=135", "--set", "temperature_k=3750")
SOAK = [pytest.param(more, marks=pytest.mark.soak) for more in [(2, HOT), *((seed, ()) for seed in range(3, 21))]]


@pytest.fixture(scope="module", params=[(1, COOL), *SOAK], ids=str)
def heated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, Run]:
    seed, settings = request.param
    command = heat(tmp_path_factory.mktemp("heated"), "--seed", str(seed), *settings)
    assert command.code == 0, (command.output, command.messages)
    return command, recorded(command)


def test_temperature_and_pressure_agree_with_the_truth(heated: tuple[Command, Run]) -> None:
    told = heated[0].told
    assert set(told["results"]) == set(told["truth"])
    found = pulls(told)
    assert all(abs(pull) < 3.0 for pull in found.values()), (found, told["results"], told["truth"])
    temperature, pressure = told["results"]["temperature"], told["results"]["pressure"]
    assert temperature["unit"] == "K" and pressure["unit"] == "GPa"
    assert 0.0 < temperature["error"] <= 3.0 and temperature["systematic"] > temperature["error"]
    assert told["warnings"] == []


def test_both_sides_were_held_at_the_temperature_asked_for(heated: tuple[Command, Run]) -> None:
    command, run = heated
    asked = run.start["parameters"]["temperature_k"]["value"]
    hold = run.streams["hold"]
    for side in ("upstream", "downstream"):
        kelvin = np.asarray(hold.data[f"temperature_{side}"], dtype=float)
        assert np.mean(np.abs(kelvin - asked) < 120.0) > 0.9, kelvin
    assert abs(command.told["results"]["temperature"]["value"] - asked) < 60.0
    target = run.start["parameters"]["pressure_gpa"]["value"]
    assert command.told["truth"]["cold_pressure"] == pytest.approx(target, abs=3.0)


def test_currents_rise_slowly_and_everything_is_dark_at_the_end(heated: tuple[Command, Run]) -> None:
    run = heated[1]
    conditions = run.streams["conditions"]
    time_s = np.asarray(conditions.time)
    for side in ("upstream", "downstream"):
        current = np.asarray(conditions.data[f"{side}_current"])
        assert np.all(np.diff(current) <= 4.0 * np.diff(time_s) + 0.1)
    report = safety(run)
    for step in ("upstream: emission off", "downstream: emission off", "upstream_gate: gate open", "shutter: closed"):
        assert f"CONFIRMED {step}" in report, report
    assert "UNCONFIRMED" not in report
    assert run.truth is not None
    assert run.truth["series"]["power_upstream"][-1] == run.truth["series"]["power_downstream"][-1] == 0.0


def test_spectra_and_fits_are_in_the_record(heated: tuple[Command, Run]) -> None:
    hold = heated[1].streams["hold"]
    nm, radiance, fitted = (np.asarray(hold.data[f"hold_{key}"][-1]) for key in ("wavelength", "radiance", "fitted"))
    assert radiance.shape == fitted.shape == (2, len(nm))
    assert nm[0] >= 599.0 and nm[-1] <= 851.0 and np.all(np.diff(nm) > 0)
    assert np.nanmedian(np.abs(radiance / fitted - 1.0)) < 0.1
    assert Path(heated[0].told["report"]).stat().st_size > 3e4


def test_what_runs_away_is_cut_by_the_box(tmp_path: Path) -> None:
    command = heat(tmp_path, "--seed", "4", *COOL, "--set", "world.runaway_s=RUNAWAY".replace("RUNAWAY", "230"))
    told: dict[str, Any] = command.told
    assert command.code == 1 and told["exit_status"] == "fail"
    assert "ran away" in told["reason"]
    run = recorded(command)
    assert "UNCONFIRMED" not in safety(run)
    assert run.streams["conditions"].data["shutter_tripped"][-1] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("--set", "temperature_k=9000"), "accepted is less than or equal to 4300"),
        (("--set", "ruby_scale=Nosuch"), "accepted is 'Ruby2020' or 'Mao1986'"),
        (("--set", "world.emissivity=0"), "world.emissivity"),
        (("--set", "ruby_centre_nm=1300"), "ruby_centre_nm"),
        (("--set", "shortest_nm=900"), "shortest_nm"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, settings: tuple[str, ...], words: str) -> None:
    command = heat(tmp_path, *settings)
    assert command.code == 2, (command.output, command.messages)
    assert words in command.messages
    assert len(command.messages.strip().splitlines()) == 1


def test_a_cell_with_more_pressure_than_asked_for_is_not_let_down(tmp_path: Path) -> None:
    command = heat(tmp_path, "--seed", "1", "--set", "pressure_gpa=5")
    assert command.code == 1
    assert "not let down" in command.told["reason"]


def test_a_laser_that_misses_the_sample_gives_no_light(tmp_path: Path) -> None:
    command = heat(tmp_path, "--seed", "1", *COOL, "--set", "world.kelvin_per_w=2")
    assert command.code == 1
    assert "are both lasers on the sample" in command.told["reason"]
    assert "UNCONFIRMED" not in safety(recorded(command))
