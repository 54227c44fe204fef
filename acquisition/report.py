"""One page that shows what a run measured: the experiment's own picture, or the figures that it declared."""

import io
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..analysis import figures
from ..analysis.figures.page import BLUE, GREY, PAGE_INCH, STYLE, absent, header, label, quantity_name
from .curves import Curve, curves
from .run import Run, read_run

DPI = 150


def report(path: Path, file: Path | None = None) -> Path:
    """Draw the run in a folder, or whose journal (or a file beside it) is `path`, as a PNG and return where it is.

    Without `file` it is `report.png` beside the journal. Raises InputError when there is no journal.
    """
    run = read_run(path)
    file = Path(file) if file is not None else run.journal.with_name("report.png")
    with matplotlib.rc_context(STYLE):
        figure = Figure(PAGE_INCH, dpi=DPI)
        FigureCanvasAgg(figure)
        (_own_page(run.experiment) or draw_curves)(figure, run)
        _footer(figure, run)
        page = io.BytesIO()
        figure.savefig(page, format="png", metadata={"Title": run.uid}, pil_kwargs={"compress_level": 1})
    part = file.with_name(file.name + ".part")
    part.write_bytes(page.getvalue())
    return part.replace(file)


def draw_curves(figure: Figure, run: Run) -> None:
    """The page of an experiment that has no picture of its own: its declared figures, up to four."""
    header(figure, run, quantity_name(run.experiment).capitalize())
    shown = curves(run)[:4]
    columns = 1 if len(shown) <= 1 else 2
    rows = 1 if len(shown) <= 2 else 2
    grid = figure.add_gridspec(rows, columns, left=0.07, right=0.97, top=0.815, bottom=0.075, wspace=0.2, hspace=0.35)
    if not shown:
        absent(figure.add_subplot(grid[0, 0]), "nothing was recorded that could be plotted")
    for number, curve in enumerate(shown):
        _draw_curve(figure.add_subplot(grid[number // columns, number % columns]), curve)


def _draw_curve(axes: matplotlib.axes.Axes, curve: Curve) -> None:
    axes.errorbar(curve.x, curve.y, curve.y_error, curve.x_error, fmt="o-", ms=3, lw=0.8, color=BLUE)
    axes.set_title(curve.title)
    axes.set(xlabel=label(curve.x_name, curve.x_unit), ylabel=label(curve.y_name, curve.y_unit))


def _own_page(experiment: str) -> Callable[[Figure, Run], None] | None:
    name = f"{figures.__name__}.{experiment}"
    if not experiment.isidentifier() or find_spec(name) is None:
        return None
    draw: Callable[[Figure, Run], None] | None = getattr(import_module(name), "draw", None)
    return draw


def _footer(figure: Figure, run: Run) -> None:
    lines = [run.torn, *run.damaged[:1]]
    if run.stop and run.stop.get("reason"):
        lines.insert(0, f"ended: {run.stop['reason']}")
    values = (run.truth or {}).get("values", {})
    truth = ", ".join(f"{quantity_name(name)} {value:.4g}" for name, value in values.items() if name in run.results)
    if truth:
        lines.append(f"truth of the simulation: {truth}")
    figure.text(0.06, 0.012, " · ".join(line for line in lines if line)[:230], size=7.5, color=GREY)
