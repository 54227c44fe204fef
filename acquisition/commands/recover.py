"""`megabar recover`: mend runs that ended without saying so, and make their files anew."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import JOURNAL, run_folder, some_path


def recover(
    path: Annotated[
        Path,
        typer.Argument(
            parser=some_path, metavar="[PATH]", help="Folder of a run, its journal, or a folder that holds runs."
        ),
    ] = Path("data"),
) -> int:
    """Close the journals of unfinished runs up to their last good line, keep the rest aside, make file and report."""
    from ..export import export
    from ..nexus import valid_name
    from ..recovery import recover as mend
    from ..recovery import unfinished
    from ..report import report
    from ..run import read_run

    if path.is_dir() and not (path / JOURNAL).exists():
        folders = unfinished(path)
        if not folders:
            print(f"{path}: no run there is unfinished")
    else:
        folders = [run_folder(path)]
    code = 0
    for folder in folders:
        try:
            mended = mend(folder)
            run = read_run(folder)
            file = export(folder, folder / f"{valid_name(run.experiment or 'run')}.nxs")
            picture = report(folder)
        except (InputError, OSError) as error:
            print(f"megabar: {error}", file=sys.stderr)
            code = 2
            continue
        print(f"{folder}: {mended.n_frames} documents believed, ended as {run.exit_status}")
        if mended.aside is not None:
            print(f"  what could not be believed is in {mended.aside}")
        for line in run.damaged:
            print(f"  left out: {line}")
        print(f"  file {file}\n  report {picture}")
    return code
