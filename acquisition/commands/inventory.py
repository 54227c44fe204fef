"""`megabar list`: experiments, rigs, devices."""

import dataclasses
from typing import Annotated

import typer


def inventory(
    what: Annotated[
        str | None, typer.Argument(metavar="[EXPERIMENT]", help="Show one experiment's parameters.")
    ] = None,
) -> int:
    """List the experiments and rigs, or the parameters and roles of one experiment."""
    from rich.console import Console

    from ...plans.parameters import parameter_rows
    from ..experiments import find, names
    from ..rig import load_rig, shipped
    from .tables import table

    console = Console()
    if what is None:
        shown = table("experiment", "what it does", "rig", title="experiments")
        for name in names():
            experiment = find(name)
            shown.add_row(name, experiment.title, experiment.rig)
        console.print(shown)
        for name in shipped():
            rig = load_rig(name)
            shown = table("instrument", "device", title=f"rig {name}: {rig.content.title}")
            for instrument, entry in rig.content.instruments.items():
                shown.add_row(instrument, entry.device)
            console.print(shown)
        return 0
    experiment = find(what)
    shown = table("parameter", "default", "accepted", "unit", "meaning", title=f"{what}: {experiment.title}")
    for row in parameter_rows(experiment.parameters):
        shown.add_row(*row)
    console.print(shown)
    console.print("roles: " + ", ".join(field.name for field in dataclasses.fields(experiment.roles)))
    return 0
