"""`megabar runs`: the runs that are kept in a folder."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Out


def runs(
    query: Annotated[str, typer.Argument(metavar="[QUERY]", help="Words that a run must contain.")] = "",
    out: Out = Path("data"),
) -> int:
    """List runs, newest first."""
    from rich.console import Console

    from ..index import find_runs
    from .tables import table

    shown = table("run", "begun", "experiment", "sample", "ended as", "folder", title=f"runs in {out}")
    for entry in find_runs(out, query):
        shown.add_row(entry.uid[:8], entry.begun, entry.experiment, entry.sample, entry.exit_status, entry.folder.name)
    Console().print(shown)
    return 0
