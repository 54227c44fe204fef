"""The fault matrix: which fault, what is promised, which tests show it, and what they have measured."""

import ast
import math
import statistics
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parent
PASSED, FAILED, NOT_HERE = "passed", "FAILED", "not here"


class Mark(NamedTuple):
    """`@pytest.mark.row(number, control=...)` on a test: the file, the row, and the test that is its control."""

    file: Path
    test: str
    row: int
    control: str


@dataclass
class Row:
    """One fault of the matrix, and what this run of the tests has seen of it."""

    number: int
    fault: str
    injected: str
    promised: str
    not_here: str = ""
    """What of it cannot be shown here, and why."""
    outcomes: list[str] = field(default_factory=list)
    measured: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """What its tests came to."""
        if not self.outcomes:
            return NOT_HERE if self.not_here else "not run"
        if bad := sum(outcome not in ("passed", "skipped") for outcome in self.outcomes):
            return f"{FAILED} ({bad} of {len(self.outcomes)} tests)"
        skipped = self.outcomes.count("skipped")
        return f"{PASSED} ({len(self.outcomes) - skipped} tests{f', {skipped} skipped' if skipped else ''})"

    @property
    def figures(self) -> Iterator[str]:
        """What was measured, one line for each fault: how often, the median, the worst."""
        for (fault, passes, unit), values in sorted(self.measured.items()):
            worst = f"worst {_number(max(values))} {unit}"
            many = f"n = {len(values)}, median {_number(statistics.median(values))}, {worst}"
            yield f"{fault}: {many if len(values) > 1 else f'{_number(values[0])} {unit}'} ({passes})"


def rows() -> dict[int, Row]:
    """The table, by the number of its rows."""
    entries: dict[str, Any] = tomllib.loads((TESTS / "fault_matrix.toml").read_text(encoding="utf-8"))
    return {int(number): Row(int(number), **entry) for number, entry in entries.items()}


def marks() -> Iterator[Mark]:
    """Every mark of a row on a test, as it stands in the text of the tests."""
    for file in sorted(TESTS.rglob("test_*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                for decorator in function.decorator_list:
                    for call in ast.walk(decorator):
                        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.row":
                            named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
                            yield Mark(file, function.name, ast.literal_eval(call.args[0]), control_of(file, **named))


def control_of(file: Path, control: str = "") -> str:
    """The control of a test in `file`, as `path::name`; it may be named without the path where it is its neighbour."""
    return f"{file.relative_to(TESTS)}::{control}" if control and "::" not in control else control


def as_page(found: Iterable[Row], how: str) -> str:
    """The matrix as a page of the documentation."""
    lines = [HEAD.format(how=how)]
    lines += ["| | fault | injected | promised | measured | here |", "|---|---|---|---|---|---|"]
    for row in found:
        here = "<br>".join(filter(None, (row.result, row.not_here)))
        cells = (str(row.number), row.fault, row.injected, row.promised, "<br>".join(row.figures), here)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def as_text(found: Iterable[Row]) -> Iterator[str]:
    """The matrix as lines for a terminal."""
    for row in found:
        yield f"{row.number:3} {row.fault}: {row.promised}"
        yield f"    injected: {row.injected}"
        yield from (f"    {figure}" for figure in row.figures)
        yield "    " + "; ".join(filter(None, (row.result, row.not_here)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == math.floor(value) or abs(value) >= 100 else f"{value:.3g}"


HEAD = """# Fault matrix

What was broken on purpose, what is promised, and what was measured. `make faults` breaks everything again and writes
this page; `make faults COUNT=full` does it as often as the promises say, which takes hours. Every row has a negative
control, a test in which the protection is removed and the fault does its harm; the controls ran too. The instruments
are simulated, behind their real wire protocols and in real time; nothing here was measured on hardware. Times are from
the injection to the safe command at the instrument unless the row says otherwise.

{how}
"""
