"""The entry point of `megabar`: what is wrong with the input is said in one line, with exit code 2."""

import os
import sys

import typer

from ..errors import InputError, SimulatorEnded
from . import analyse, check, export, guard, inventory, recover, report, run, runs, simulate
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
app.add_typer(guard.app, name="guard")


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 for success, 1 for a failed run, 2 for bad input."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small arrays: a pool of threads spins beside the instruments
    interrupts = Interrupts()
    try:
        code = _run(arguments, interrupts)
    finally:
        interrupts.deaf = True  # all is done
        if arguments is not None:  # called by a program that goes on
            interrupts.restore()
    sys.exit(code)


def _run(arguments: list[str] | None, interrupts: Interrupts) -> int:
    """The exit code."""
    try:
        code = app(arguments, standalone_mode=False, obj=interrupts) or 0
    except InputError as error:
        return _say(error, 2)
    except SimulatorEnded as error:
        return _say(error, 1)
    except typer.Abort:
        return _say("interrupted", 1)
    except BrokenPipeError:
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # what typer (or the click in it) says of the command's words
            return _say(error.format_message(), 2)
        if interrupts.asked:  # which a library has taken for an error of its own
            return _say("interrupted", 1)
        raise
    return _say("interrupted", 1) if code == INTERRUPTED else int(code)


def _say(what: object, code: int) -> int:
    print(f"megabar: {' '.join(str(what).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
