"""`megabar analyse`: the analysis of an experiment on files that others measured."""

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .options import Json, Set, split_settings


def analyse(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Whose analysis; see megabar list.")],
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
        raise InputError(str(error)) from error
    if as_json:
        print(json.dumps({"experiment": experiment, **found}))
    else:
        _tell(found)
    return 0


def _reduction(experiment: str) -> Any:
    """The function that reduces files for an experiment: `analyse_files` of the analysis module of its name."""
    from ..experiments import names

    if experiment not in names():
        raise InputError(f"there is no experiment {experiment!r}; there are {', '.join(names())}")
    try:
        return importlib.import_module(f"megabar.analysis.{experiment}").analyse_files
    except (ImportError, AttributeError) as error:
        raise InputError(f"{experiment} has no analysis of files") from error


def _tell(found: dict[str, Any]) -> None:
    from rich.console import Console

    from .tables import digits_of, table

    console = Console()
    tables = [(entry["file"], entry["results"]) for entry in found["files"]]
    if len(tables) > 1:
        tables.append(("mean of all files", found["results"]))
    for title, results in tables:
        if not results:
            continue
        shown = table("", "value", "statistical", "systematic", "unit", title=str(title))
        for name, entry in results.items():
            shown.add_row(name, *digits_of(entry), entry["unit"])
        console.print(shown)
    for entry in found["files"]:
        for line in (*entry.get("left_out", ()), *entry.get("notes", ())):
            print(f"{entry['file']}: {line}", file=sys.stderr)
