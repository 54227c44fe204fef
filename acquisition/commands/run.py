"""`megabar run`: one run of an experiment, on the rig's instruments or on simulated ones."""

import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..derived import Derivation
from ..errors import InputError
from ..simulator_process import SimulatorProcess
from .interrupts import Interrupts
from .options import Factor, Json, Out, RigName, Seed, Set, split_settings

if TYPE_CHECKING:
    from ..experiments import Experiment
    from ..rig import Rig
    from ..session import Outcome
    from ..simulation import Simulation


def run(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Name of the experiment; see megabar list.")],
    rig: RigName = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Rehearse on simulated instruments.")] = False,
    seed: Seed = None,
    set_: Set = None,
    factor: Factor = None,
    out: Out = Path("data"),
    as_json: Json = False,
) -> int:
    """Run an experiment; it ends in a journal, a NeXus file and a one-page report."""
    settings, world = split_settings(set_)
    if not simulate and (world or seed is not None or factor is not None):
        raise InputError("--seed, --factor and --set world.* belong to --simulate")
    if simulate and seed is None:
        seed = secrets.randbelow(2**31)
    with SimulatorProcess() if simulate else contextlib.nullcontext() as process:  # it imports beside what follows
        from ..experiments import check_roles, find
        from ..rig import load_rig
        from ..simulation import Simulation

        chosen = find(experiment)
        parameters = chosen.parse(settings)
        the_rig = load_rig(chosen.rig if rig is None else rig)
        check_roles(the_rig)
        simulation = None
        if process is not None:
            simulation = Simulation(the_rig, seed or 0, world=world, factor=factor, process=process)
        _offer_recovery(out)
        folder = _new_folder(out, chosen.name)
        try:
            with Derivation("export") as export, Derivation("report") as report:
                later = [export, report]
                outcome = _execute(
                    chosen, the_rig, parameters, folder, simulation, seed, later, context.obj, quiet=as_json
                )
                export.make(folder, folder / f"{outcome.experiment}.nxs")
                report.make(folder, folder / "report.png")
                files = {"file": export.made(), "report": report.made()}
        except BaseException:
            if not any(path.stat().st_size for path in folder.iterdir()):  # nothing was begun in it
                shutil.rmtree(folder)
            raise
    if as_json:
        print(json.dumps(_described(outcome, files, seed)))
    else:
        _tell(outcome, files)
    return 0 if outcome.exit_status == "success" else 1


def _execute(
    experiment: "Experiment",
    rig: "Rig",
    parameters: Any,
    folder: Path,
    simulation: "Simulation | None",
    seed: int | None,
    derivations: Sequence[Derivation],
    interrupts: Interrupts,
    *,
    quiet: bool,
) -> "Outcome":
    from ..home import guard_folder
    from ..session import Session
    from .progress import Progress

    needed = [rig.instrument_for(role) for role in experiment.role_names]
    with (
        simulation or contextlib.nullcontext(),
        Session(rig, needed, simulation=simulation, guard=folder if simulation else guard_folder(rig)) as session,
        Progress(experiment.name, experiment.expected_duration_s(parameters), quiet=quiet) as progress,
    ):
        for derivation in derivations:
            derivation.prepare()
        if not session.clock.simulated:  # a rehearsal is over before anybody could look
            derivations[0].follow(folder, folder / f"{experiment.name}.live.nxs")
        interrupts.check()
        ending = _Ending(interrupts)
        return session.run(experiment, parameters, folder, seed=seed, observers=[progress, ending], tell=progress.tell)


class _Ending:
    """An observer that lets nobody interrupt what follows the end of a run: its outcome is told, its files are made."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "stop":
            self._interrupts.deaf = True


def _new_folder(out: Path, name: str) -> Path:
    """A folder for one run: time and experiment, made unique. Raises InputError where nothing can be written."""
    stem = f"{datetime.now():%Y-%m-%dT%H%M%S}-{name}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{i}" for i in range(2, 100))):
            folder = out / (stem + suffix)
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise InputError(f"--out {out}: nothing can be written there ({error})") from error
    raise InputError(f"--out {out}: a hundred runs began there within a second")


def _offer_recovery(out: Path) -> None:
    """Say that runs are unfinished; a run that is going on elsewhere is not."""
    from ..recovery import unfinished

    if left := unfinished(out) if out.is_dir() else []:
        them = "1 run" if len(left) == 1 else f"{len(left)} runs"
        print(f"{them} in {out} ended without saying so; megabar recover {out} mends that", file=sys.stderr)


def _described(outcome: "Outcome", files: Mapping[str, Path | None], seed: int | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "run": outcome.uid,
        "experiment": outcome.experiment,
        "exit_status": outcome.exit_status,
        "reason": outcome.reason,
        "journal": str(outcome.folder),
        **{what: None if file is None else str(file) for what, file in files.items()},
        "results": outcome.results,
        "window": outcome.window,
        "warnings": outcome.warnings,
    }
    if outcome.truth is not None:
        described |= {"seed": seed, "truth": outcome.truth}
    return described


def _tell(outcome: "Outcome", files: Mapping[str, Path | None]) -> None:
    from rich.console import Console

    from .tables import digits_of, table

    console = Console(file=sys.stdout)
    columns = ("", "value", "statistical", "systematic", "unit", *(["truth"] if outcome.truth is not None else []))
    shown = table(*columns, title=f"{outcome.experiment} {outcome.uid[:8]}")
    for name, entry in outcome.results.items():
        row = [name, *digits_of(entry), entry["unit"]]
        if outcome.truth is not None:
            row.append(f"{outcome.truth[name]:.5g}" if name in outcome.truth else "")
        shown.add_row(*row)
    console.print(shown)
    if outcome.window:
        console.print(outcome.window["model"], markup=False)
    for warning in outcome.warnings:
        console.print(f"warning: {warning}", markup=False)
    if outcome.exit_status != "success":
        console.print(f"the run ended as {outcome.exit_status}: {outcome.reason}", markup=False)
        console.print(outcome.safety, markup=False)
    for what, where in {"journal": outcome.folder, **files}.items():
        console.print(f"{what:8}{where or 'could not be made'}", markup=False)
