"""`megabar run`: one run of an experiment, on the rig's instruments or on simulated ones."""

import contextlib
import json
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    from ...plans.parameters import Parameters
    from ..experiments import Experiment
    from ..resumption import Resumption
    from ..rig import Rig
    from ..session import Outcome
    from ..simulation import Served, Simulation

INTERRUPTION_S = 300.0
"""How much later a rehearsal begins that goes on with another: its world begins anew, its clock does not."""


def run(
    context: typer.Context,
    experiment: Annotated[
        str | None, typer.Argument(metavar="EXPERIMENT", help="Name of the experiment; see megabar list.")
    ] = None,
    rig: RigName = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Rehearse on simulated instruments.")] = False,
    served: Annotated[
        Path | None,
        typer.Option("--served", metavar="FILE", help="Rehearse on those that megabar simulate --json > FILE serves."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Go on with an interrupted run: its folder, or its identifier."),
    ] = None,
    seed: Seed = None,
    set_: Set = None,
    factor: Factor = None,
    out: Out = Path("data"),
    as_json: Json = False,
) -> int:
    """Run an experiment; it ends in a journal, a NeXus file and a one-page report."""
    settings, world = split_settings(set_)
    if not simulate and (world or seed is not None or factor is not None):
        raise InputError("--seed, --factor and --set world.* belong to --simulate, which serves instruments of its own")
    if simulate and served is not None:
        raise InputError("--served: accepted is either that or --simulate, which serves instruments of its own")
    context.obj.ignore(signal.SIGTSTP)  # it pauses a run, and stops nothing before or after one
    if simulate and seed is None:
        seed = secrets.randbelow(2**31)
    with SimulatorProcess() if simulate else contextlib.nullcontext() as process:  # it imports beside what follows
        from ..experiments import check_roles
        from ..simulation import Served, Simulation

        rehearsal = simulate or served is not None
        if resume is None:
            chosen = _chosen(experiment, rig, settings)
        else:
            chosen = _resumed(resume, out, experiment, rig, settings, rehearsal=rehearsal)
        check_roles(chosen.rig)
        simulation: Simulation | Served | None = None
        if served is not None:
            simulation = Served(served)
        elif process is not None:
            later_s = None if chosen.resumed is None else chosen.resumed.ended_s + INTERRUPTION_S
            simulation = Simulation(chosen.rig, seed or 0, world=world, factor=factor, epoch_s=later_s, process=process)
        with (
            _new_folder(out, chosen.experiment.name, context.obj) as folder,
            Derivation("export") as export,
            Derivation("report") as report,
        ):
            _offer_recovery(out)
            outcome = _execute(chosen, folder, simulation, seed, [export, report], context.obj, quiet=as_json)
            export.make(folder, folder / f"{outcome.experiment}.nxs")
            report.make(folder, folder / "report.png")
            files = {"file": export.made(), "report": report.made()}
    if as_json:
        print(json.dumps(_described(outcome, files, seed)))
    else:
        _tell(outcome, files)
    return 0 if outcome.exit_status == "success" else 1


@dataclass(frozen=True)
class _Choice:
    """What is to be run."""

    experiment: "Experiment"
    parameters: "Parameters"
    rig: "Rig"
    resumed: "Resumption | None" = None


def _chosen(experiment: str | None, rig: str | None, settings: Mapping[str, str]) -> _Choice:
    """A new run. Raises InputError."""
    from ..experiments import find, names
    from ..rig import load_rig

    if experiment is None:
        raise InputError(f"EXPERIMENT is missing; accepted are {', '.join(names())}")
    found = find(experiment)
    return _Choice(found, found.parse(settings), load_rig(found.rig if rig is None else rig))


def _resumed(
    resume: str, out: Path, experiment: str | None, rig: str | None, settings: Mapping[str, str], *, rehearsal: bool
) -> _Choice:
    """A run that goes on with another, with the same parameters on the same rig. Raises InputError."""
    from ..experiments import find
    from ..resumption import find_interrupted
    from ..rig import load_rig

    resumed = find_interrupted(resume, out)
    start = resumed.lost.start
    where = f"--resume {resume}"
    if experiment not in (None, resumed.lost.experiment):
        raise InputError(f"{where}: that run is of {resumed.lost.experiment}; accepted is no other experiment")
    if settings:
        raise InputError(f"{where}: --set {next(iter(settings))}: a run that is gone on with keeps its parameters")
    if bool(start.get("rehearsal")) != rehearsal:
        accepted = "--simulate or --served" if start.get("rehearsal") else "neither --simulate nor --served"
        raise InputError(f"{where}: accepted is {accepted}, as for that run")
    found = find(resumed.lost.experiment)
    if not found.resumable:
        raise InputError(f"{where}: a run of {found.name} cannot be gone on with; accepted is a new one")
    the_rig = load_rig(start["rig"]["name"] if rig is None else rig)
    if the_rig.sha256 != start["rig"]["sha256"]:
        if rig is None:
            raise InputError(f"{where}: {the_rig.name} has changed since; accepted is --rig with the right file")
        print(f"{rig} is another rig file than that of the run that is gone on with: it is recorded", file=sys.stderr)
    return _Choice(found, found.parse(resumed.settings), the_rig, resumed)


def _execute(
    chosen: _Choice,
    folder: Path,
    simulation: "Simulation | Served | None",
    seed: int | None,
    derivations: Sequence[Derivation],
    interrupts: Interrupts,
    *,
    quiet: bool,
) -> "Outcome":
    from ..approval import require_approved
    from ..home import guard_folder
    from ..session import Session
    from .progress import Progress

    experiment, parameters, rig = chosen.experiment, chosen.parameters, chosen.rig
    needed = [rig.instrument_for(role) for role in experiment.role_names]
    guard = guard_folder(rig) if simulation is None or simulation.outlives else folder
    approval = None if simulation else require_approved(rig)
    if approval is None and not simulation and all(rig.content.instruments[name].address for name in needed):
        _tell_unapproved(rig, needed)
    with (
        simulation or contextlib.nullcontext(),
        chosen.resumed.claimed(folder) if chosen.resumed else contextlib.nullcontext(),
        Session(rig, needed, simulation=simulation, guard=guard) as session,
        Progress(experiment.name, experiment.expected_duration_s(parameters), quiet=quiet) as progress,
    ):
        for derivation in derivations:
            derivation.prepare()
        if not session.clock.simulated:  # a rehearsal is over before anybody could look
            derivations[0].follow(folder, folder / f"{experiment.name}.live.nxs")
        interrupts.check()
        return session.run(
            experiment,
            parameters,
            folder,
            seed=seed,
            metadata={} if approval is None else {"approval": {"who": approval.who, "when": approval.when}},
            observers=[progress],
            subscribers=[_Ending(interrupts)],
            resumed=chosen.resumed,
            tell=progress.tell,
        )


def _tell_unapproved(rig: "Rig", needed: Sequence[str]) -> None:
    from ..approval import hazards_of

    if hazards := hazards_of(rig, needed):
        what = f"nobody has approved {rig.name}, which has hazards ({', '.join(hazards)})"
        print(f"{what}; megabar check {rig.name} --approve NAME records that somebody has", file=sys.stderr)


class _Ending:
    """A subscriber that lets nobody interrupt what follows the end of a run: its outcome, its files."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "stop":
            self._interrupts.deaf = True


@contextlib.contextmanager
def _new_folder(out: Path, name: str, interrupts: Interrupts) -> Iterator[Path]:
    """A folder for one run, taken away again where none has begun in it. Raises InputError."""
    folder: Path | None = None
    try:
        with interrupts.put_off():
            folder = _make_folder(out, name)
        yield folder
    except BaseException:
        from ..run import has_begun

        if folder is not None and not has_begun(folder):
            shutil.rmtree(folder)
        raise


def _make_folder(out: Path, name: str) -> Path:
    """Time and experiment, made unique. Raises InputError where nothing can be written."""
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

    if left := unfinished(out, verify=False):
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
