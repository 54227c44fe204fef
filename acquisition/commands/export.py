"""`megabar export`: the NeXus file of a run, made again from its journal."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import reason_of, run_folder, some_path, tell_damage


def export(
    journal: Annotated[
        Path, typer.Argument(parser=some_path, metavar="JOURNAL", help="Journal of a run, or its folder.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", parser=some_path, metavar="FILE", help="The file to write.")
    ] = None,
) -> int:
    """Write a run's NeXus file."""
    from .. import export as exporter
    from ..nexus import valid_name
    from ..run import read_run

    folder = run_folder(journal)
    if out is not None and out.is_dir():
        raise InputError(f"--out {out} is a folder; accepted is the name of a file to write")
    try:
        run = read_run(folder)
        file = out or folder / f"{valid_name(str(run.start.get('experiment', 'run')))}.nxs"
        tell_damage(run)
        exporter.export(folder, file)
    except (ValueError, OSError) as error:
        raise InputError(reason_of(error)) from error
    print(file)
    return 0
