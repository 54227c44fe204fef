"""The heater curve: its fit on numbers with a known answer, and a whole run in a world with a known answer."""

from pathlib import Path

import numpy as np
import pytest
from heater.curve import fit_curve

from megabar.acquisition.errors import InputError
from megabar.acquisition.experiments import find
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation

K_PER_W, W_PER_PERCENT = 4.2, 15.0


def test_pulls_of_the_fit_have_mean_zero_and_width_one() -> None:
    rng = np.random.default_rng(1)
    output, error = np.linspace(1.0, 8.0, 8), np.full(8, 2.0)
    pulls = []
    for _ in range(300):
        measured = 300.0 + 60.0 * output + error * rng.standard_normal(8)
        gain = fit_curve(output, measured, error, np.zeros(8), output_error_percent=0.0).quantity("gain")
        pulls.append((gain.value - 60.0) / gain.error)
    assert abs(np.mean(pulls)) < 0.2
    assert 0.85 < np.std(pulls) < 1.15


def test_two_points_are_refused() -> None:
    with pytest.raises(ValueError, match="three points"):
        fit_curve([1.0, 2.0], [360.0, 420.0], [1.0, 1.0], [0.0, 0.0])


def test_a_rehearsal_finds_what_the_world_was_made_of(tmp_path: Path) -> None:
    experiment, rig = find("heater_curve"), load_rig("d111")
    needed = [rig.instrument_for(role) for role in experiment.role_names]
    with (
        Simulation(rig, seed=3, world={"radiative_loss_w_per_k4": 0.0}) as simulation,
        Session(rig, needed, simulation=simulation) as session,
    ):
        outcome = session.run(experiment, experiment.parse({"highest_k": "700"}), tmp_path / "run", seed=3)
    assert outcome.exit_status == "success", outcome.reason
    gain = outcome.results["gain"]
    combined = np.hypot(gain["error"], gain["systematic"])
    assert abs(gain["value"] - K_PER_W * W_PER_PERCENT) < 3.0 * combined
    run = read_run(tmp_path / "run")
    assert len(run.streams["point"]) == 5
    assert "CONFIRMED furnace: heater off" in outcome.safety


def test_a_temperature_beyond_the_limit_is_refused_before_anything_is_heated(tmp_path: Path) -> None:
    experiment, rig = find("heater_curve"), load_rig("d111")
    needed = [rig.instrument_for(role) for role in experiment.role_names]
    with Simulation(rig, seed=3) as simulation, Session(rig, needed, simulation=simulation) as session:
        with pytest.raises(InputError, match="2300 degC"):
            session.run(experiment, experiment.parse({"highest_k": "2700"}), tmp_path / "run", seed=3)
