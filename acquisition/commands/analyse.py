"""`megabar analyse`: the analysis of an experiment on files that others measured."""

import importlib
import json
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .options import Json, Set, reason_of, split_settings


def analyse(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="Whose analysis, as deformation or laser_heating.")
    ],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Measured files.")],
    set_: Set = None,
    as_json: Json = False,
) -> int:
    """Reduce measured files with the analysis that the experiment uses live."""
    settings, world = split_settings(set_)
    if world:
        raise InputError("--set world.* belongs to megabar run --simulate")
    reduction = _reduction(experiment)
    try:
        found = reduction(files, settings)
    except (ValueError, OSError, ImportError) as error:
        raise InputError(reason_of(error)) from error
    if as_json:
        print(json.dumps({"experiment": experiment, **found}))
    else:
        _tell(found)
    return 0


def _reduction(experiment: str) -> Any:
    """The function that reduces files for an experiment: `analyse_files` of the analysis module of its name."""
    from ... import analysis

    def reduction_of(name: str) -> Any:
        try:
            return importlib.import_module(f"{analysis.__name__}.{name}").analyse_files
        except (ImportError, AttributeError):
            return None

    names = [module.name for module in pkgutil.iter_modules(analysis.__path__)]
    if experiment in names and (found := reduction_of(experiment)):
        return found
    known = ", ".join(filter(reduction_of, names))
    raise InputError(f"{experiment!r} has no analysis of files; accepted are {known}")


def _tell(found: dict[str, Any]) -> None:
    from rich.console import Console

    from .tables import digits_of, table

    console = Console()
    files = found["files"]
    history = found.get("history", ())
    if len(files) > 1 and history:
        shown = table("", *history, title="value ± statistical ± systematic error; --json has the rest")
        units = {name: entry["unit"] for file in files for name, entry in file["results"].items()}
        shown.add_row("", *(units[name] for name in history), end_section=True)
        for file in files:
            entries = (file["results"].get(name) for name in history)
            shown.add_row(Path(file["file"]).name, *(" ± ".join(digits_of(e)) if e else "-" for e in entries))
        console.print(shown)
    else:
        for file in files:
            shown = table("", "value", "statistical", "systematic", "unit", title=str(file["file"]))
            for name, entry in file["results"].items():
                shown.add_row(name, *digits_of(entry), entry["unit"])
            console.print(shown)
    for line, where in _remarks(files).items():
        print(f"{', '.join(where) if len(where) < 4 else f'{len(where)} files'}: {line}", file=sys.stderr)


def _remarks(files: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What was left out and decided, and in which files."""
    where: dict[str, list[str]] = {}
    for file in files:
        for line in (*file.get("left_out", ()), *file.get("notes", ())):
            where.setdefault(line, []).append(Path(file["file"]).name)
    return where
