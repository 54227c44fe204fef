"""A rehearsal: a rig's world and simulated instruments, asked for their addresses, and for the truth at the end."""

import functools
import json
import math
import os
import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from .clock import EPOCH_S, FASTEST, SLOWEST, RealClock, SimulatedClock
from .errors import InputError, SimulatorEnded
from .rig import InstrumentEntry, Rig
from .simulator_process import SimulatorProcess


class Instruments(Protocol):
    """Simulated instruments, as a session sees them."""

    @property
    def clock(self) -> SimulatedClock | RealClock:
        """Their time."""
        ...

    @property
    def outlives(self) -> bool:
        """Whether they go on when this process ends."""
        ...

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each one is served."""
        ...

    def truth(self, window: Mapping[str, float] | None) -> dict[str, Any] | None:
        """What is really so, where that can be asked."""
        ...


class Served:
    """Instruments that another process serves in wall-clock time, as `megabar simulate --json` tells."""

    outlives = True

    def __init__(self, told: Path) -> None:
        """Read what it told. Raises InputError."""
        try:
            content = json.loads(Path(told).read_text(encoding="utf-8"))
            self.addresses: Mapping[str, str] = {name: str(where) for name, where in content["addresses"].items()}
            factor, started, epoch = (float(content[key]) for key in ("factor", "started", "epoch"))
            if not (SLOWEST <= factor <= FASTEST and 0.0 <= started <= time.monotonic() and math.isfinite(epoch)):
                raise ValueError("its clock is none that runs now")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"--served {told}: {type(error).__name__} {error}; accepted is a file with what megabar simulate "
                "--json has printed"
            ) from error
        self.clock = RealClock(factor, started=started, epoch=epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """They are not ours to end."""

    def truth(self, window: Mapping[str, float] | None) -> None:
        """Only who has started them can ask."""


class Simulation:
    """A rig's world and simulated instruments in a process of their own, which may have been started beforehand.

    In discrete-event time (the default) `clock` owns the time of both processes, beginning at `epoch_s`; with `factor`
    both follow the wall clock, that many times as fast, and every byte is written to the file `trace`.
    """

    outlives = False

    def __init__(
        self,
        rig: Rig,
        seed: int,
        *,
        world: Mapping[str, Any] | None = None,
        factor: float | None = None,
        epoch_s: float | None = None,
        trace: Path | None = None,
        process: SimulatorProcess | None = None,
    ) -> None:
        description = describe(rig, seed, world or {})
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._core = random.choice(sorted(self._cores)) if self._cores and factor is None else None
        self._folder = tempfile.TemporaryDirectory(prefix="megabar-")
        self._process = process or SimulatorProcess()
        self.clock: SimulatedClock | RealClock
        if factor is None:
            shared = Path(self._folder.name) / "now"
            began = EPOCH_S if epoch_s is None else epoch_s
            self.clock = SimulatedClock(shared, list(description["instruments"]), epoch_s=began)
            timing = {"shared": str(shared), "control": self._process.their_control, "core": self._core}
        else:
            self.clock = RealClock(factor, epoch=epoch_s)
            timing = {"factor": factor, "start": self.clock.started, "trace": str(trace) if trace else None}
        try:
            self._process.tell({**description, "clock": timing})
        except SimulatorEnded:
            self.close()
            raise

    @functools.cached_property
    def addresses(self) -> dict[str, str]:
        """Where each instrument is served; waits until all are. Raises InputError, SimulatorEnded.

        In discrete-event time exactly one thread of both processes has something to do: handing over between cores
        would cost a third of a run, so both stay on one.
        """
        addresses: dict[str, str] = self._process.answer()["addresses"]
        if isinstance(self.clock, SimulatedClock):
            if self._core is not None:
                os.sched_setaffinity(0, {self._core})
            self.clock.attach(self._process.control)
        return addresses

    @property
    def alive(self) -> bool:
        """Whether the simulator process still runs."""
        return self._process.alive

    def truth(self, window: Mapping[str, float] | None) -> dict[str, Any]:
        """What is really so: means over a window of simulated time, series, and the systematic terms of this run.

        Raises SimulatorEnded.
        """
        self._process.tell({"truth": window})
        return self._process.answer()

    def close(self) -> None:
        """End the simulator."""
        if self._cores:
            os.sched_setaffinity(0, self._cores)
        if isinstance(self.clock, SimulatedClock):
            self.clock.close()
        self._process.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def describe(rig: Rig, seed: int, world: Mapping[str, Any]) -> dict[str, Any]:
    """What the simulator process is told. Raises InputError for a rig that cannot be simulated."""
    content = rig.content
    if content.world is None:
        raise InputError(f"{rig.name}: has no [world], so it cannot be simulated")
    missing = [name for name, entry in content.instruments.items() if entry.simulated is None]
    if missing:
        raise InputError(f"{rig.name}: instruments.{missing[0]} has no key 'simulated', so it cannot be simulated")
    instruments = {
        name: {
            "class": entry.simulated,
            "part": entry.part,
            "parameters": _simulated_parameters(entry),
            "faults": entry.faults,
        }
        for name, entry in content.instruments.items()
    }
    parameters = {**content.world.parameters, **world}
    return {"seed": seed, "world": {"class": content.world.model, "parameters": parameters}, "instruments": instruments}


def _simulated_parameters(entry: InstrumentEntry) -> dict[str, Any]:
    """Its line is as fast as the rig says."""
    return entry.simulated_parameters if entry.baud is None else {"baud": entry.baud, **entry.simulated_parameters}
