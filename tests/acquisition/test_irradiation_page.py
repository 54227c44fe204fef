"""The page of an irradiation, also of one that was cut short."""

from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.experiments import find
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.report import report
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation
from megabar.analysis.figures import irradiation

from .test_report import drawing, texts

SHORT = {"current_percent": "20", "duration_s": "5", "settle_s": "1"}


@pytest.fixture(scope="module")
def irradiated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("irradiated")
    experiment, rig = find("irradiation"), load_rig("laser_bench")
    with Simulation(rig, 4) as simulation, Session(rig, simulation=simulation) as session:
        outcome = session.run(experiment, experiment.parse(SHORT), folder, seed=4)
    assert outcome.exit_status == "success", outcome.reason
    return folder


def titles(figure: Any) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_it_shows_power_with_the_hold_and_the_energy(irradiated: Path) -> None:
    figure = drawing(irradiation.draw, read_run(irradiated))
    assert titles(figure) == ["Output power by the laser's own monitor", "Energy since the beginning of the hold"]
    assert "hold" in texts(figure) and "energy (J)" in texts(figure)
    (energy,) = figure.axes[1].lines
    assert energy.get_ydata()[-1] == pytest.approx(read_run(irradiated).results["energy"]["value"])


@pytest.mark.parametrize("lines", [1, 3, 20, 45])
def test_a_run_that_was_cut_short_has_a_page_too(irradiated: Path, tmp_path: Path, lines: int) -> None:
    kept = (irradiated / JOURNAL).read_bytes().splitlines(keepends=True)[:lines]
    (tmp_path / JOURNAL).write_bytes(b"".join(kept))
    assert report(tmp_path).stat().st_size > 5_000
    shown = texts(drawing(irradiation.draw, read_run(tmp_path)))
    assert "no final results" in shown
    if lines < 4:
        assert "was not held long enough" in shown
