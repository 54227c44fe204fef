"""The deformation experiment from the command line to the physical numbers."""

import hashlib
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megabar.acquisition.run import read_run

from .conftest import SHORT, pulls, rehearse

HOURS = 8.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run with the default parameters."""
    command = rehearse(tmp_path_factory.mktemp("whole"), "--seed", "20")
    assert command.code == 0, command.messages
    return command.told


def test_results_agree_with_the_truth(whole: dict[str, Any]) -> None:
    found = pulls(whole)
    assert "NOT" not in whole["window"]["model"]
    assert whole["warnings"] == []
    assert {"pressure", "temperature", "strain", "strain_rate", "differential_stress"} <= set(found)
    assert all(abs(pull) < 3.0 for pull in found.values()), found
    assert 24.0 < whole["results"]["pressure"]["value"] < 26.5
    assert whole["results"]["differential_stress"]["systematic"] > 0.0


def test_eight_hours_are_deformed_with_patterns_and_radiographs_in_time(whole: dict[str, Any]) -> None:
    run = read_run(Path(whole["journal"]))
    radiographs, patterns = run.streams["radiograph"], run.streams["diffraction"]
    times = radiographs.time
    assert times[-1] - times[0] > 0.98 * HOURS * 3600
    assert np.diff(times).max() <= 120.0
    during = patterns.time[(patterns.time > times[0]) & (patterns.time < times[-1])]
    assert np.diff(during).max() <= 300.0
    assert np.asarray(patterns.data["detector_spectra"][0]).shape == (10, 2048)
    assert np.asarray(radiographs.data["camera_image"][0]).size >= 250_000


def test_true_strain_rate_is_held_within_ten_percent_after_the_transient(whole: dict[str, Any]) -> None:
    worst = worst_strain_rate(Path(whole["journal"]), 1e-5)
    assert worst < 0.10, worst


def worst_strain_rate(folder: Path, target_per_s: float) -> float:
    """Largest relative deviation of the true strain rate over any 1,800 s, after 3,600 s or 3 % strain."""
    run = read_run(folder)
    series = run.truth["series"]
    time_s = np.asarray(series["time"]) + run.truth["epoch"]
    strain = np.asarray(series["strain"])
    window = run.streams["results"].data
    start_s, stop_s = float(window["window_zero"][-1]), float(run.streams["radiograph"].time[-1])
    begun = np.interp(start_s, time_s, strain)
    settled = min(start_s + 3600.0, float(np.interp(begun + 0.03, strain, time_s)))
    starts = np.arange(settled, stop_s - 1800.0, 60.0)
    rates = (np.interp(starts + 1800.0, time_s, strain) - np.interp(starts, time_s, strain)) / 1800.0
    return float(np.abs(rates / target_per_s - 1.0).max())


def test_file_and_report_are_there(whole: dict[str, Any]) -> None:
    assert Path(whole["file"]).stat().st_size > 1e6
    assert Path(whole["report"]).stat().st_size > 1e4


def event_data(folder: Path) -> dict[str, str]:
    """A digest of the data and simulated timestamps of every key, in order; documents' own times and uids may differ.

    Digests, so that a difference is told by its name and not by a hundred million digits.
    """
    run = read_run(folder)
    digests: dict[str, str] = {}
    for name, stream in run.streams.items():
        for kind, columns in (("data", stream.data), ("timestamps", stream.timestamps)):
            for key, column in columns.items():
                digest = hashlib.sha256()
                for value in column:
                    array = np.asarray(value)
                    digest.update(str(array).encode() if array.dtype.kind in "UO" else array.tobytes())
                digests[f"{name} {kind} {key} ({len(column)})"] = digest.hexdigest()
    return digests


def burn(until: float) -> None:
    while time.monotonic() < until:
        pass


def test_same_seed_gives_identical_event_data_idle_and_loaded(tmp_path: Path) -> None:
    runs = {}
    for name in ("idle", "loaded"):
        burners = []
        if name == "loaded":
            context = multiprocessing.get_context("spawn")
            end = time.monotonic() + 120.0
            burners = [context.Process(target=burn, args=(end,)) for _ in range(os.cpu_count() or 1)]
            for burner in burners:
                burner.start()
        try:
            command = rehearse(tmp_path, "--seed", "77", *SHORT)
        finally:
            for burner in burners:
                burner.kill()
                burner.join()
        assert command.code == 0, command.messages
        told = command.told
        scalars = {key: str(told[key]) for key in ("results", "truth")}
        runs[name] = {**event_data(Path(told["journal"])), **scalars}
    assert [key for key in runs["idle"] if runs["idle"][key] != runs["loaded"].get(key)] == []
    assert runs["idle"].keys() == runs["loaded"].keys()


def test_other_seed_gives_other_data(tmp_path: Path) -> None:
    first, second = (rehearse(tmp_path, "--seed", seed, experiment="centring").told for seed in ("1", "2"))
    assert event_data(Path(first["journal"])) != event_data(Path(second["journal"]))


def test_blow_out_cuts_the_heater_first_and_holds_the_rams(tmp_path: Path) -> None:
    command = rehearse(tmp_path, "--seed", "5", "--set", "world.blow_out_at_s=20000")
    assert command.code == 1
    told = command.told
    assert told["exit_status"] == "fail"
    assert "blow" in told["reason"]
    run = read_run(Path(told["journal"]))
    assert run.stop["exit_status"] == "fail"
    assert "blow" in run.stop["reason"]
    report = str(run.streams["safety"].data["safety_report"][0]).splitlines()
    assert report[0].startswith("CONFIRMED furnace")
    assert report[1].startswith("CONFIRMED press")
    conditions = run.streams["conditions"]
    latched = np.flatnonzero(np.asarray(conditions.data["press_blown_out"]))
    assert len(latched) == 1, "nothing is chased: the plan ends with the first reading that shows it"
    assert Path(told["file"]).exists()


def test_broken_thermocouple_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    command = rehearse(tmp_path, "--seed", "7", *SHORT, "--set", "world.sensor_break_at_s=16500")
    assert command.code == 1
    assert "furnace_temperature = 231" in command.told["reason"]
    conditions = read_run(Path(command.told["journal"])).streams["conditions"]
    assert (np.asarray(conditions.data["furnace_temperature"]) > 1000.0).sum() == 1, "noticed in the first reading"


def test_beam_loss_pauses_exposures_and_never_the_press(tmp_path: Path) -> None:
    command = rehearse(tmp_path, "--seed", "6", *SHORT, "--set", "world.beam_losses=[[16500, 900]]")
    assert command.code == 0, command.messages
    run = read_run(Path(command.told["journal"]))
    begun = run.truth["epoch"]
    conditions = run.streams["conditions"]
    lost = np.asarray(conditions.data["ring_current"]) < 1.0
    assert lost.sum() >= 20
    for stream in ("diffraction", "radiograph"):
        times = run.streams[stream].time - begun
        assert not np.any((times > 16510) & (times < 17400)), stream
    strokes = np.asarray(conditions.data["press_top_stroke"])[lost]
    assert strokes[-1] > strokes[0], "the rams advanced while there was no beam"
