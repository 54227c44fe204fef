"""Fixtures that several rooms share, and the fault matrix as the tests make it."""

import os
import platform
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from bluesky.run_engine import _ensure_event_loop_running

from .fault_matrix import TESTS, as_page, as_text, control_of, rows


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of measured data, or a skip that says so."""
    folder = Path(os.environ.get("MEGABAR_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"measured data are not here: {folder} (set MEGABAR_DATA)")
    return folder


@pytest.fixture(autouse=True)
def engines_end() -> Iterator[None]:
    """End the loops of the engines that a test has made: each keeps a thread and three descriptors."""
    threads = _ensure_event_loop_running.loop_to_thread
    before = set(threads)
    yield
    for loop, thread in [pair for pair in threads.items() if pair[0] not in before]:
        if not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Keep a figure of the fault matrix: its row, the fault, what passes, and what it took (ms, or another unit)."""

    def keep(row: int, fault: str, passes: str, value: float, unit: str = "ms") -> None:
        record_property("fault", (row, fault, passes, unit, value))

    return keep


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--matrix`."""
    parser.addoption(
        "--matrix",
        metavar="PAGE",
        help="run the tests of the fault matrix and their controls, and write its page there",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tell the reports which row a test belongs to; with `--matrix` leave out what belongs to none."""
    controls = set()
    for item in items:
        for mark in item.iter_markers("row"):
            item.user_properties.append(("row", mark.args[0]))
            controls.add(control_of(item.path, **mark.kwargs))
    if config.getoption("--matrix"):

        def belongs(item: pytest.Item) -> bool:
            name = f"{item.path.relative_to(TESTS)}::{getattr(item, 'originalname', item.name)}"
            return name in controls or item.get_closest_marker("row") is not None

        config.hook.pytest_deselected(items=[item for item in items if not belongs(item)])
        items[:] = filter(belongs, items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The fault matrix, where it was asked for; only the figures where it was not."""
    table = rows()
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", ()):
                if name == "row":
                    table[value].outcomes.append(outcome)
                elif name == "fault" and report.when == "call":
                    table[value[0]].measured.setdefault(tuple(value[1:4]), []).append(value[4])
    page = config.getoption("--matrix")
    shown = [row for row in table.values() if page or row.measured]
    if not shown:
        return
    terminalreporter.section("faults")
    for line in as_text(shown) if page else (f"{row.number:3} {line}" for row in shown for line in row.figures):
        terminalreporter.write_line(line)
    if page:
        Path(page).write_text(as_page(shown, _how()), encoding="utf-8")


def _how() -> str:
    """On what, and when."""
    cores, (_, _, load) = len(os.sched_getaffinity(0)), os.getloadavg()
    return (
        f"Measured on {date.today():%Y-%m-%d} on Linux, {platform.machine()}, {cores} cores (a virtual machine), "
        f"Python {platform.python_version()}; over the last quarter of an hour {load:.1f} processes wanted to run."
    )
