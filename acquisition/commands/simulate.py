"""`megabar simulate`: serve a rig's simulated instruments until interrupted."""

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from ..clock import FASTEST, SLOWEST
from .options import Json, Seed, Set, some_path, split_settings


def simulate(
    rig: Annotated[str, typer.Argument(metavar="RIG", help="Name of a shipped rig, or a rig file.")],
    seed: Seed = 1,
    set_: Set = None,
    factor: Annotated[
        float, typer.Option("--factor", min=SLOWEST, max=FASTEST, help="How much faster than life.")
    ] = 1.0,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", parser=some_path, metavar="FILE", help="Write every message there, with its time."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Serve a rig's instruments on loopback, for any client, until interrupted; prints their addresses."""
    from ..clock import RealClock
    from ..errors import InputError
    from ..rig import load_rig
    from ..simulation import Simulation

    settings, world = split_settings(set_)
    if settings:
        raise InputError(f"--set {next(iter(settings))}: only world.NAME=VALUE has a meaning here")
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: interrupted.set())
    with Simulation(load_rig(rig), seed or 0, world=world, factor=factor, trace=trace) as simulation:
        if as_json:
            clock = simulation.clock
            assert isinstance(clock, RealClock)
            time = {"factor": clock.factor, "started": clock.started, "epoch": clock.epoch}
            print(json.dumps({"rig": rig, "seed": seed, "addresses": simulation.addresses, **time}), flush=True)
        else:
            for name, address in simulation.addresses.items():
                print(f"{name:14} {address}", flush=True)
            print("serving until interrupted (Ctrl-C)", file=sys.stderr)
        while not interrupted.wait(0.5):
            if not simulation.alive:
                print("the simulator has ended", file=sys.stderr)
                return 1
    return 0
