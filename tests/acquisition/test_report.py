"""The page of a run shows the experiment's own picture, or the declared figures, whatever is missing."""

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from megabar.acquisition.lines import FRAMES, JOURNAL
from megabar.acquisition.report import draw_curves, report
from megabar.acquisition.run import Run, read_run
from megabar.analysis.figures import deformation, page

Record = Callable[..., Path]


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        found += [text.get_text() for text in axes.texts]
        legend = axes.get_legend()
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(found)


def drawing(draw: Callable[[Figure, Any], None], run: Run) -> Figure:
    figure = Figure(page.PAGE_INCH)
    with matplotlib.rc_context(page.STYLE):
        draw(figure, run)
    return figure


@pytest.fixture(scope="module")
def drawn(recorded: Path) -> Figure:
    return drawing(deformation.draw, read_run(recorded))


def panel(figure: Figure, title: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def test_a_page_is_drawn_beside_the_journal(recorded: Path, tmp_path: Path) -> None:
    file = report(recorded, tmp_path / "page.png")
    image = imread(file)
    assert image.shape[:2] == (1240, 1753)
    assert len(np.unique(image[::3, ::3].sum(axis=2))) > 200
    folder = tmp_path / "copy"
    folder.mkdir()
    os.link(recorded / JOURNAL, folder / JOURNAL)
    (folder / FRAMES).symlink_to(recorded / FRAMES)
    assert report(folder / JOURNAL) == folder / "report.png"
    assert sorted(path.name for path in folder.iterdir()) == [FRAMES, "report.png", JOURNAL]


def test_the_header_tells_results_with_both_errors_and_that_they_are_simulated(drawn: Figure) -> None:
    text = texts(drawn)
    assert "Deformation: hcp-Fe and MgO" in text
    assert "simulated, seed 7" in text
    assert "pressure  18.10 ± 0.04 ± 0.25 GPa" in text
    assert "strain rate  (3.000 ± 0.020 ± 0.015)·10$^{-5}$ 1/s" in text


def test_stress_is_shown_at_the_strain_of_its_moment(drawn: Figure, recorded: Path) -> None:
    run = read_run(recorded)
    points = panel(drawn, "Stress against strain").lines[0]
    np.testing.assert_allclose(points.get_xdata(), run.streams["strain"].data["strain"])
    np.testing.assert_allclose(points.get_ydata(), run.streams["stress"].data["differential_stress"])


def test_the_pattern_carries_its_fit_and_the_indices_of_its_lines(drawn: Figure) -> None:
    axes = panel(drawn, "Diffraction pattern, element at azimuth 0°")
    assert [text.get_text() for text in axes.texts] == ["100", "002", "101", "110", "103", "111", "200", "102+220"]
    energy, counts = (np.asarray(values) for values in axes.lines[0].get_data())
    fitted = [line for line in axes.lines[1:] if len(line.get_xdata())]
    assert fitted
    for line in fitted:
        model = np.asarray(line.get_ydata(), dtype=float)
        measured = np.interp(np.asarray(line.get_xdata(), dtype=float), energy, counts)
        assert np.mean((measured - model) ** 2 / model) < 3.0  # reduced chi squared; 400 without peaks


def test_the_foils_are_marked_where_they_are(drawn: Figure, recorded: Path) -> None:
    axes = panel(drawn, "Radiograph")
    strain = float(read_run(recorded).streams["strain"].data["strain"][-1])
    rows = sorted({float(np.asarray(line.get_ydata())[0]) for line in axes.lines if len(line.get_ydata())})
    expected = [256.0 + sign * 103.0 * factor for sign in (-1, 1) for factor in (np.exp(-3e-5 * 200), np.exp(-strain))]
    np.testing.assert_allclose(rows, 2.0 * np.sort(expected), atol=3.0)  # in um, 2 um per pixel
    assert "µm" in axes.get_xlabel()


@pytest.mark.parametrize("lines", [1, 3, 9, 40])
def test_a_run_that_was_cut_short_has_a_page_too(recorded: Path, tmp_path: Path, lines: int) -> None:
    kept = (recorded / JOURNAL).read_bytes().splitlines(keepends=True)[:lines]
    (tmp_path / JOURNAL).write_bytes(b"".join(kept))
    (tmp_path / FRAMES).symlink_to(recorded / FRAMES)
    assert report(tmp_path).stat().st_size > 10_000
    figure = drawing(deformation.draw, read_run(tmp_path))
    assert "no final results" in texts(figure)
    if lines < 4:
        assert "no radiograph was recorded" in texts(figure)


def test_a_run_without_calibration_shows_the_raw_pattern(record: Record, tmp_path: Path) -> None:
    run = read_run(record(tmp_path / "run", steps=2, roles={"detector": "detector", "camera": "camera"}))
    run.streams["diffraction"].descriptor["configuration"].clear()
    run.streams["radiograph"].descriptor["configuration"].clear()
    figure = drawing(deformation.draw, run)
    assert panel(figure, "Diffraction pattern").get_xlabel() == "channel"
    assert panel(figure, "Radiograph").get_xlabel() == "pixel"


def test_an_image_without_foils_is_shown_as_it_is(recorded: Path) -> None:
    run = read_run(recorded)
    flat = np.full((24, 512, 512), 1000, dtype=np.uint16)
    run.streams["radiograph"].data["camera_image"] = flat  # type: ignore[index]
    figure = drawing(deformation.draw, run)
    assert len(panel(figure, "Radiograph").lines) == 0


def test_an_experiment_without_picture_shows_its_declared_figures(recorded: Path) -> None:
    figure = drawing(draw_curves, read_run(recorded))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Stress against strain",
        "Pressure and temperature",
        "Strain in time",
    ]
    assert "differential stress (GPa)" in texts(figure)


def test_the_picture_of_the_experiment_is_found_by_its_name(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    module = types.ModuleType("megabar.analysis.figures.tasting")
    module.__spec__ = types.SimpleNamespace(name=module.__name__)  # type: ignore[assignment]
    module.draw = lambda figure, run: seen.append(run.experiment)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    report(record(tmp_path / "known", steps=2, experiment="tasting"))
    report(record(tmp_path / "unknown", steps=2, experiment="../deformation"))
    assert seen == ["tasting"]


def test_truth_is_told_at_the_foot_of_the_page_only(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    monkeypatch.setattr(Path, "write_bytes", lambda *_: 0)
    monkeypatch.setattr(Path, "replace", lambda self, target: target)
    report(recorded)
    assert "truth of the simulation: pressure 18.2" in texts(seen[0])


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ((1.58, 0.01, 0.2, "GPa"), "1.58 ± 0.01 ± 0.20 GPa"),
        ((773.0, 1.0, 6.2, "K"), "773.0 ± 1.0 ± 6.2 K"),
        ((12345.0, 120.0, 0.0, ""), "(1.234 ± 0.012 ± 0.000)·10$^{4}$"),
        ((2.0, float("nan"), 0.3, "GPa"), "2.00 ± nan ± 0.30 GPa"),
        ((float("nan"), 0.1, 0.1, "GPa"), "nan GPa"),
        ((3.14159, 0.0, 0.0, ""), "3.142"),
        ((800.66, 0.001, 5.67, "K"), "800.7 ± <0.1 ± 5.7 K"),
        ((0.0, 0.1, 0.2, "mm"), "0.00 ± 0.10 ± 0.20 mm"),
        ((-2e-5, 1e-6, 1e-6, "1/s"), "(-2.00 ± 0.10 ± 0.10)·10$^{-5}$ 1/s"),
    ],
)
def test_quantities_are_rounded_to_their_errors(row: tuple[float, float, float, str], text: str) -> None:
    assert page.quantity_text(dict(zip(("value", "error", "systematic", "unit"), row, strict=True))) == text
