"""Serves the simulated instruments of one world: `python -m megabar.simulators.serve`, driven over standard input.

The first line of standard input is a JSON description:

    {"seed": 1, "world": {"class": "package.module:Class", "parameters": {...}},
     "instruments": {name: {"class": "...", "part": PART OF THE WORLD or null, "parameters": {...}, "faults": [...]}},
     "clock": {"shared": PATH, "control": FILE_DESCRIPTOR, "core": 0} or {"factor": 1.0, "start": 0.0, "trace": PATH}}

The answer is one line, {"addresses": {name: address}} or {"error": "..."}. After that each line asks for the truth,
{"truth": {window}}, and is answered by one line; end of file ends the server.
"""

import asyncio
import importlib
import json
import os
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .clock import Clock, GrantedClock, GrantedLoop, WallClock
from .noise import Noise
from .wire.channel_access import serve_channel_access
from .wire.faults import Faults
from .wire.pty_serial import serve_pty
from .wire.tcp import serve_tcp

SERIES_STEP_S = 10.0
"""Spacing of the true time series."""


class Serialised:
    """One call of the world at a time, whatever part of it: Channel Access is served from a thread of its own."""

    def __init__(self, world: object, lock: "threading.RLock | None" = None) -> None:
        self._world = world
        self._lock = lock or threading.RLock()

    def part(self, name: str) -> "Serialised":
        """The part of the world that an instrument has to do with. Raises ValueError for one that it does not have."""
        parts: Mapping[str, object] = getattr(self._world, "parts", {})
        if name not in parts:
            raise ValueError(f"the world has no part {name!r}; accepted are {', '.join(parts) or 'none'}")
        return Serialised(parts[name], self._lock)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._world, name)
        if not callable(attribute):
            return attribute

        def locked(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                return attribute(*args, **kwargs)

        setattr(self, name, locked)
        return locked


def load(path: str) -> Any:
    """The object that `package.module:Name` names. Raises ValueError where there is none."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path!r} names nothing that can be imported ({error})") from error


async def serve(description: Mapping[str, Any], world: Serialised, clock: Clock) -> dict[str, str]:
    """Start every instrument's server; returns their addresses by name."""
    seed = int(description["seed"])
    addresses, shared_circuit = {}, {}
    for name, entry in description["instruments"].items():
        factory = load(entry["class"])
        try:
            seen = world if entry.get("part") is None else world.part(entry["part"])
            faults = Faults(entry.get("faults", ()), Noise(seed, f"faults of {name}"))
        except ValueError as error:
            raise ValueError(f"instruments.{name}: {error}") from None
        instrument = factory(name=name, world=seen, clock=clock, noise=Noise(seed, name), **entry.get("parameters", {}))
        match instrument.wire:
            case "tcp":
                addresses[name] = await serve_tcp(instrument, clock, faults)
            case "serial":
                addresses[name] = await serve_pty(instrument, clock, faults)
            case "channel access":
                if faults.rules:
                    raise ValueError(
                        f"instruments.{name}.faults: byte faults are for TCP and serial lines, not for EPICS"
                    )
                shared_circuit[name] = instrument
    if shared_circuit:
        addresses |= serve_channel_access(shared_circuit, clock)
    return addresses


def answer(world: Any, line: str) -> str:
    """One line of standard input after the first, answered."""
    request = json.loads(line)
    window = request["truth"]
    truth = {"values": world.truth(**window) if window else {}, "systematics": world.systematics()}
    truth["series"] = {name: [float(v) for v in column] for name, column in world.truth_series(SERIES_STEP_S).items()}
    return json.dumps(truth)


def main() -> None:
    """Serve until standard input ends."""
    told = sys.stdin.readline()
    if not told:
        return
    description = json.loads(told)
    sys.stdout = sys.stderr  # nothing else may speak on the line of answers
    try:
        _serve_until_end(description)
    except ValueError as error:
        _say(json.dumps({"error": str(error)}))
    except BrokenPipeError:  # whoever asked has ended
        return


def _say(line: str) -> None:
    """One line on the line of answers, past Python's buffer: it loses bytes when a write is cut by SIGSTOP."""
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def _serve_until_end(description: Mapping[str, Any]) -> None:
    timing = description["clock"]
    loop: asyncio.AbstractEventLoop
    if "factor" in timing:
        clock: Clock = WallClock(float(timing["factor"]), timing.get("start"), timing.get("trace"))
        loop = asyncio.new_event_loop()
    else:
        control = socket.socket(fileno=int(timing["control"]))
        clock = GrantedClock(Path(timing["shared"]), control, list(description["instruments"]))
        loop = GrantedLoop(clock)
    asyncio.set_event_loop(loop)
    world_entry = description["world"]
    try:
        world = Serialised(load(world_entry["class"])(int(description["seed"]), **world_entry.get("parameters", {})))
    except TypeError as error:
        raise ValueError(f"world: {error}") from error
    if timing.get("core") is not None:
        os.sched_setaffinity(0, {int(timing["core"])})
    addresses = loop.run_until_complete(serve(description, world, clock))
    _say(json.dumps({"addresses": addresses}))

    def listen() -> None:
        line = sys.stdin.readline()
        if not line:
            loop.stop()
            return
        _say(answer(world, line))

    loop.add_reader(sys.stdin.fileno(), listen)
    if isinstance(clock, GrantedClock):
        clock.attach(loop)
    loop.run_forever()


if __name__ == "__main__":
    main()
