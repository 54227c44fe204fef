"""`megabar run`: one run of an experiment, on the rig's instruments or on simulated ones."""

import json
import secrets
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Json, Out, RigName, Seed, Set, split_settings

if TYPE_CHECKING:
    from ..experiments import Experiment
    from ..rig import Rig
    from ..session import Outcome


def run(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Name of the experiment; see megabar list.")],
    rig: RigName = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Rehearse on simulated instruments.")] = False,
    seed: Seed = None,
    set_: Set = None,
    out: Out = Path("data"),
    as_json: Json = False,
) -> int:
    """Run an experiment; it ends in a journal, a NeXus file and a one-page report."""
    from ..experiments import find
    from ..rig import load_rig

    settings, world = split_settings(set_)
    chosen = find(experiment)
    parameters = chosen.parse(settings)
    the_rig = load_rig(chosen.rig if rig is None else rig)
    if not simulate and (world or seed is not None):
        raise InputError("--seed and --set world.* belong to --simulate")
    if simulate and seed is None:
        seed = secrets.randbelow(2**31)
    folder = _new_folder(out, chosen.name)
    try:
        outcome = _execute(chosen, the_rig, parameters, folder, simulate, seed, world, quiet=as_json)
    except InputError:
        folder.rmdir()  # nothing was begun in it
        raise
    file = _derive(outcome)
    if as_json:
        print(json.dumps(_described(outcome, file, seed)))
    else:
        _tell(outcome, file)
    return 0 if outcome.exit_status == "success" else 1


def _execute(
    experiment: "Experiment",
    rig: "Rig",
    parameters: Any,
    folder: Path,
    simulate: bool,
    seed: int | None,
    world: dict[str, Any],
    *,
    quiet: bool,
) -> "Outcome":
    from ..simulation import Simulation

    simulation = Simulation(rig, seed or 0, world=world) if simulate else None  # starts beside the imports that follow
    try:
        from ..session import Session
        from .progress import Progress

        needed = [rig.instrument_for(role) for role in experiment.role_names]
        with (
            Session(rig, needed, simulation=simulation) as session,
            Progress(experiment.name, experiment.expected_duration_s(parameters), quiet=quiet) as progress,
        ):
            return session.run(experiment, parameters, folder, seed=seed, observers=[progress])
    finally:
        if simulation is not None:
            simulation.close()


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


def _derive(outcome: "Outcome") -> Path | None:
    """NeXus file and report, made from the journal; the run stays what it is when they fail."""
    from ..report import report

    file = outcome.folder / f"{outcome.experiment}.nxs"
    exporting = subprocess.Popen([sys.executable, "-P", "-m", "megabar.acquisition.export", outcome.folder, file])
    try:
        report(outcome.folder, outcome.folder / "report.png")
    except Exception as error:
        print(f"the report could not be drawn ({error}); megabar report {outcome.folder} tries again", file=sys.stderr)
    if exporting.wait() != 0:
        print(f"the export failed; megabar export {outcome.folder} tries again", file=sys.stderr)
        return None
    return file


def _described(outcome: "Outcome", file: Path | None, seed: int | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "run": outcome.uid,
        "experiment": outcome.experiment,
        "exit_status": outcome.exit_status,
        "reason": outcome.reason,
        "journal": str(outcome.folder),
        "file": None if file is None else str(file),
        "report": str(outcome.folder / "report.png"),
        "results": outcome.results,
        "window": outcome.window,
        "warnings": outcome.warnings,
    }
    if outcome.truth is not None:
        described |= {"seed": seed, "truth": outcome.truth}
    return described


def _tell(outcome: "Outcome", file: Path | None) -> None:
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
    console.print(f"journal {outcome.folder}\nfile    {file}\nreport  {outcome.folder / 'report.png'}", markup=False)
