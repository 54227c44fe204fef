"""`megabar report`: the one-page picture of a run."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import reason_of, run_folder, some_path, tell_damage


def report(
    file: Annotated[Path, typer.Argument(parser=some_path, metavar="FILE", help="Journal of a run, or its folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", parser=some_path, metavar="PNG", help="The picture to write.")
    ] = None,
) -> int:
    """Draw a run's report."""
    from .. import report as reporter
    from ..run import read_run

    folder = run_folder(file)
    picture = out or folder / "report.png"
    if picture.suffix.lower() != ".png" or picture.is_dir():
        raise InputError(f"--out {picture}: accepted is the name of a .png file")
    try:
        tell_damage(read_run(folder))
        reporter.report(folder, picture)
    except (ValueError, OSError) as error:
        raise InputError(reason_of(error)) from error
    print(picture)
    return 0
