"""`megabar check`: preflight of a rig and an experiment, without changing anything."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import Json, Out, Set, split_settings


def check(
    rig: Annotated[str, typer.Argument(metavar="RIG", help="Name of a shipped rig, or a rig file.")],
    experiment: Annotated[str | None, typer.Argument(metavar="[EXPERIMENT]", help="Experiment to prepare.")] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Check the simulated rig instead.")] = False,
    set_: Set = None,
    out: Out = Path("data"),
    no_dry_run: Annotated[bool, typer.Option("--no-dry-run", help="Leave out the dry run of the plan.")] = False,
    approve: Annotated[
        str | None, typer.Option("--approve", metavar="NAME", help="Record that this person has approved the rig file.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check instruments, guard, limits, the plan in a dry run, disk and clock: a line each, nothing is set."""
    settings, world = split_settings(set_)
    if settings and experiment is None:
        raise InputError(f"--set {next(iter(settings))}: parameters belong to an experiment, and none is named")
    from ..experiments import check_roles, find
    from ..preflight import Finding, approval, preflight
    from ..rig import load_rig
    from .progress import Progress

    the_rig = load_rig(rig)
    check_roles(the_rig)
    chosen = None if experiment is None else find(experiment)
    parameters = None if chosen is None else chosen.parse(settings)
    expected_s = 0.0 if chosen is None else chosen.expected_duration_s(parameters)
    findings = []

    def tell(finding: Finding | None) -> None:
        if finding is not None:
            findings.append(finding)
            if not as_json:
                print(f"{finding.check:18} {finding.verdict:8} {finding.text}", flush=True)

    with Progress("dry run", expected_s, quiet=as_json) as progress:
        for finding in preflight(
            the_rig,
            chosen,
            parameters,
            simulated=simulate,
            world=world,
            out=out,
            rehearsed=not no_dry_run,
            observers=[progress],
        ):
            tell(finding)
    if approve is not None or not simulate:
        tell(approval(the_rig, approve))  # last: a rig that cannot be is not approved
    failed = [finding for finding in findings if finding.verdict == "FAILED"]
    if as_json:
        print(json.dumps({"rig": rig, "experiment": experiment, "checks": [dataclasses.asdict(f) for f in findings]}))
    return 1 if failed else 0
