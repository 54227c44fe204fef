"""Options that commands share."""

import ast
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..clock import FASTEST, SLOWEST
from ..errors import InputError


def some_path(told: str | Path) -> Path:
    """A path that may be there or not. Raises BadParameter for one that cannot."""
    if not str(told):
        raise typer.BadParameter("nothing is said; accepted is the name of a file or folder")
    try:
        Path(told).exists()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{error}; accepted is the name of a file or folder") from error
    return Path(told)


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A parameter; may be repeated. world.NAME sets the simulated world."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Out = Annotated[Path, typer.Option("--out", parser=some_path, metavar="DIR", help="Where runs are kept.")]
Factor = Annotated[
    float | None,
    typer.Option(
        "--factor",
        min=SLOWEST,
        max=FASTEST,
        metavar="F",
        help="Simulated time follows the wall clock, F times as fast; hazardous instruments are then guarded.",
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="Seed of the simulation.")]
RigName = Annotated[str | None, typer.Option("--rig", metavar="RIG", help="Name of a shipped rig, or a rig file.")]

WORLD = "world."
JOURNAL = "run.journal"


def split_settings(texts: list[str] | None) -> tuple[dict[str, str], dict[str, Any]]:
    """`name=value` texts as parameters of the plan and of the simulated world. Raises InputError."""
    parameters: dict[str, str] = {}
    world: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            raise InputError(f"--set {text!r}: accepted is NAME=VALUE")
        if name.startswith(WORLD):
            world[name.removeprefix(WORLD)] = _literal(value)
        elif name in parameters:
            raise InputError(f"--set {name} is given twice")
        else:
            parameters[name] = value
    return parameters, world


def _literal(text: str) -> Any:
    """A number, list or text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def run_folder(path: Path) -> Path:
    """The folder of a run, given it or a file in it. Raises InputError where there is none."""
    folder = path if path.is_dir() else path.parent
    if not path.exists() or not (folder / JOURNAL).exists():
        raise InputError(f"{path}: no run is kept there; accepted is the folder of a run, or its {JOURNAL}")
    return folder


def tell_damage(run: Any) -> None:
    """Say on standard error what of a run's journal could not be believed."""
    for line in (run.torn, *run.damaged):
        if line:
            print(f"damaged: {line}", file=sys.stderr)


def reason_of(error: Exception) -> str:
    """What an error says, with the file first where the system complains of one."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; accepted is a file that can be read, or written"
    return str(error)
