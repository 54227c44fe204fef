"""The entry point of `megabar`: what is wrong with the input is said in one line, with exit code 2."""

import os
import sys

import typer

from ..errors import InputError, SimulatorEnded
from . import analyse, check, export, inventory, recover, report, run, runs, simulate
from .interrupts import Interrupts

INTERRUPTED = 130
"""What typer makes of a KeyboardInterrupt."""

app = typer.Typer(
    help="High-pressure and glass experiments: run them, rehearse them on simulated instruments, analyse them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("list")(inventory.inventory)
app.command("run")(run.run)
app.command("analyse")(analyse.analyse)
app.command("simulate")(simulate.simulate)
app.command("check")(check.check)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("runs")(runs.runs)
app.command("recover")(recover.recover)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 for success, 1 for a failed run, 2 for bad input."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small arrays: a pool of threads spins beside the instruments
    interrupts = Interrupts() if arguments is None else None
    try:
        code = app(arguments, standalone_mode=False)
        if code == INTERRUPTED:
            code = _say("interrupted", 1)
    except InputError as error:
        code = _say(error, 2)
    except SimulatorEnded as error:
        code = _say(error, 1)
    except typer.Abort:
        code = _say("interrupted", 1)
    except BrokenPipeError:
        code = 1
    except Exception as error:
        if hasattr(error, "format_message"):  # what typer (or the click in it) says of the command's words
            code = _say(error.format_message(), 2)
        elif interrupts is not None and interrupts.asked:  # which a library has taken for an error of its own
            code = _say("interrupted", 1)
        else:
            raise
    if interrupts is not None:
        interrupts.deaf = True  # all is done
    sys.exit(code or 0)


def _say(what: object, code: int) -> int:
    print(f"megabar: {' '.join(str(what).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
