"""`megabar check`: preflight of a rig and an experiment, without changing anything."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import Out, Set, split_settings

BYTES_PER_HOUR = 20e6
"""Spectra and radiographs of a deformation, about; twice as much must be free."""


def check(
    rig: Annotated[str, typer.Argument(metavar="RIG", help="Name of a shipped rig, or a rig file.")],
    experiment: Annotated[str | None, typer.Argument(metavar="[EXPERIMENT]", help="Experiment to prepare.")] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Check the simulated rig instead.")] = False,
    set_: Set = None,
    out: Out = Path("data"),
) -> int:
    """Check links, identities, limits, roles and disk; dry-run an experiment on its simulated rig."""
    from ..disk import check_disk
    from ..experiments import check_roles, find
    from ..rig import load_rig
    from ..session import Session
    from ..simulation import Simulation

    settings, world = split_settings(set_)
    if settings and experiment is None:
        raise InputError(f"--set {next(iter(settings))}: parameters belong to an experiment, and none is named")
    the_rig = load_rig(rig)
    check_roles(the_rig)
    chosen = None if experiment is None else find(experiment)
    parameters = None if chosen is None else chosen.parse(settings)
    if chosen is not None:
        for role in chosen.role_names:
            print(f"role {role:14} {the_rig.instrument_for(role)}")
    simulation = Simulation(the_rig, 0, world=world) if simulate else None
    try:
        with Session(the_rig, simulation=simulation) as session:
            for name, device in session.devices.items():
                print(f"link {name:14} {device.address} answers as {type(device).__name__}")
            if chosen is not None and parameters is not None:
                session.check_setpoints(chosen, parameters)
                print("set-points      within limits")
    finally:
        if simulation is not None:
            simulation.close()
    if chosen is None:
        return 0
    hours = chosen.expected_duration_s(parameters) / 3600
    print(f"time            about {hours:.1f} h")
    check_disk(out, BYTES_PER_HOUR * hours)
    print(f"disk            room for {BYTES_PER_HOUR * hours / 1e9:.1f} GB, twice")
    return 0
