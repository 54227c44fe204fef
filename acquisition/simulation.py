"""The simulator process of a rehearsal: started, asked for its addresses, asked for the truth at the end."""

import functools
import json
import os
import random
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from .clock import SimulatedClock
from .errors import InputError
from .rig import Rig

START_S = 60.0
"""How long the simulator may take to start, in real seconds."""


class Simulation:
    """A rig's world and simulated instruments in a process of their own.

    In discrete-event time (the default) `clock` owns the time of both processes; with `factor` the simulator follows
    the wall clock, that many times as fast, and there is no clock to hand out.
    """

    def __init__(
        self, rig: Rig, seed: int, *, world: Mapping[str, Any] | None = None, factor: float | None = None
    ) -> None:
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._folder = tempfile.TemporaryDirectory(prefix="megabar-")
        description = _describe(rig, seed, world or {})
        if factor is None:
            shared = Path(self._folder.name) / "now"
            self.clock: SimulatedClock | None = SimulatedClock(shared, list(description["instruments"]))
            self._control, their_end = socket.socketpair()
            core = random.choice(sorted(self._cores)) if self._cores else None
            description["clock"] = {"shared": str(shared), "control": their_end.fileno(), "core": core}
            self._start(description, (their_end.fileno(),))
            their_end.close()
        else:
            self.clock = None
            description["clock"] = {"factor": factor}
            self._start(description, ())
        self._core = description["clock"].get("core")

    @functools.cached_property
    def addresses(self) -> dict[str, str]:
        """Where each instrument is served; waits until all are. Raises InputError, RuntimeError.

        In discrete-event time exactly one thread of both processes has something to do: handing over between cores
        would cost a third of a run, so both stay on one.
        """
        addresses: dict[str, str] = self._answer()["addresses"]
        if self.clock is not None:
            if self._core is not None:
                os.sched_setaffinity(0, {self._core})
            self.clock.attach(self._control)
        return addresses

    @property
    def alive(self) -> bool:
        """Whether the simulator process still runs."""
        return self._process.poll() is None

    def truth(self, window: Mapping[str, float] | None) -> dict[str, Any]:
        """What is really so: means over a window of simulated time, series, and the systematic terms of this run."""
        self._send({"truth": window})
        return self._answer()

    def close(self) -> None:
        """End the simulator."""
        if self._cores:
            os.sched_setaffinity(0, self._cores)
        if self.clock is not None:
            self.clock.close()
            self._control.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self, description: Mapping[str, Any], descriptors: tuple[int, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "megabar.simulators.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=descriptors,
            start_new_session=True,  # a Ctrl-C is for the engine; the simulated instruments go on, as real ones would
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self._send(description)

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RuntimeError("the simulator has ended; its messages are above") from error

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], START_S)[0]
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError("the simulator does not answer; its messages are above")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise InputError(f"the simulated rig cannot be built: {reply['error']}")
        return reply


def _describe(rig: Rig, seed: int, world: Mapping[str, Any]) -> dict[str, Any]:
    """What the simulator process is told. Raises InputError for a rig that cannot be simulated."""
    content = rig.content
    if content.world is None:
        raise InputError(f"{rig.name}: has no [world], so it cannot be simulated")
    missing = [name for name, entry in content.instruments.items() if entry.simulated is None]
    if missing:
        raise InputError(f"{rig.name}: instruments.{missing[0]} has no key 'simulated', so it cannot be simulated")
    instruments = {
        name: {"class": entry.simulated, "parameters": entry.simulated_parameters, "faults": entry.faults}
        for name, entry in content.instruments.items()
    }
    parameters = {**content.world.parameters, **world}
    return {"seed": seed, "world": {"class": content.world.model, "parameters": parameters}, "instruments": instruments}
