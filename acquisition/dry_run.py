"""A plan, message by message, on its rig's simulated twin: what is wrong with it, how long it takes, what it fills."""

import collections
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bluesky
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator

from ..devices.clock import Clock
from ..plans.parameters import Parameters
from .engine import Observer
from .experiments import Experiment
from .session import Outcome, Session

WINDOW_S = 60.0
"""Over so long a rate is averaged whose peak is told."""
ENDLESS = frozenset(("input", "pause"))
"""Messages that wait for a person."""
TOUCHING = frozenset(("set", "trigger", "kickoff", "stage"))


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a dry run has shown; complaints by what they say, with how often."""

    outcome: Outcome
    duration_s: float
    n_bytes: int
    """Of the journal and its frames."""
    n_messages: int
    n_sets: int
    n_waits: int
    longest_silence_s: float
    events_per_s: float
    bytes_per_s: float
    unchecked: Mapping[str, int]
    """Set-points that go to what has no `check_value`."""
    endless: Mapping[str, int]
    """Waits without a deadline."""
    unguarded: Mapping[str, int]
    """Hazardous devices that making safe does not know."""
    unsafe: Sequence[str]
    """Hazardous devices that were not seen to be safe at the end, and why."""


def dry_run(
    session: Session, experiment: Experiment, parameters: Parameters, *, observers: Sequence[Observer] = ()
) -> DryRun:
    """Run the whole experiment in the simulated time of `session`, into a folder that is thrown away.

    Raises InputError for what a run would refuse to begin with.
    """
    hazardous = {name: device for name, device in session.devices.items() if device.hazard}
    witness, meter = _Witness(session.clock, hazardous.values()), _Meter(session.clock)
    begun = session.clock.monotonic()
    with tempfile.TemporaryDirectory(prefix="megabar-") as folder:
        watched = dataclasses.replace(experiment, plan=witness.of(experiment.plan))
        outcome = session.run(watched, parameters, Path(folder), seed=0, observers=[meter, *observers])
        n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return DryRun(
        outcome=outcome,
        duration_s=session.clock.monotonic() - begun,
        n_bytes=n_bytes,
        n_messages=witness.n_messages,
        n_sets=witness.n_sets,
        n_waits=witness.n_waits,
        longest_silence_s=witness.longest_silence_s,
        events_per_s=meter.events_per_s,
        bytes_per_s=meter.bytes_per_s,
        unchecked=witness.unchecked,
        endless=witness.endless,
        unguarded=witness.unguarded,
        unsafe=list(_unsafe(outcome.safety.splitlines(), hazardous)),
    )


def _unsafe(report: Sequence[str], hazardous: Mapping[str, Any]) -> Iterator[str]:
    for name in hazardous:
        steps = [line for line in report if line.partition(" ")[2].startswith(f"{name}: ")]
        if not steps:
            yield f"{name}: making it safe was not tried"
        yield from (line for line in steps if not line.startswith("CONFIRMED "))


class _Witness:
    """Looks at every message of a plan and lets it pass; what is wrong with it is kept, with the line of the plan."""

    def __init__(self, clock: Clock, hazardous: Any) -> None:
        self._clock, self._known = clock, {id(device) for device in hazardous}
        self._last_s = math.nan
        self.n_messages = self.n_sets = self.n_waits = 0
        self.longest_silence_s = 0.0
        self.unchecked: collections.Counter[str] = collections.Counter()
        self.endless: collections.Counter[str] = collections.Counter()
        self.unguarded: collections.Counter[str] = collections.Counter()

    def of(self, plan: Callable[..., MsgGenerator[Any]]) -> Callable[..., MsgGenerator[Any]]:
        """The same plan, looked at."""

        def looked_at(*arguments: Any, **options: Any) -> MsgGenerator[Any]:
            messages = plan(*arguments, **options)
            return bpp.msg_mutator(messages, lambda message: self._look(message, messages))

        return looked_at

    def _look(self, message: Msg, plan: Any) -> Msg:
        moment = self._clock.monotonic()
        if self.n_messages:
            self.longest_silence_s = max(self.longest_silence_s, moment - self._last_s)
        self._last_s = moment
        self.n_messages += 1
        where = _line_of(plan)
        if message.command == "set":
            self.n_sets += 1
            if not callable(getattr(message.obj, "check_value", None)):
                self.unchecked[f"{_name(message.obj)}, {where}"] += 1
        elif message.command == "sleep":
            if not math.isfinite(message.args[0]):
                self.endless[f"sleep for ever, {where}"] += 1
        elif message.command in ENDLESS:
            self.endless[f"{message.command}, {where}"] += 1
        elif message.command in ("wait", "wait_for"):
            self.n_waits += 1
            timeout = message.kwargs.get("timeout")
            if timeout is None or not math.isfinite(timeout):
                self.endless[f"{message.command}, {where}"] += 1
        if message.command in TOUCHING:
            for device in getattr(message.obj, "devices", (message.obj,)):
                while (owner := getattr(device, "parent", None)) is not None:
                    device = owner
                if getattr(device, "hazard", "") and id(device) not in self._known:
                    self.unguarded[f"{_name(device)}, {where}"] += 1
        return message


class _Meter:
    """How many events, and how many bytes of theirs, come at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: collections.deque[tuple[float, int]] = collections.deque()
        self._bytes = 0
        self.events_per_s = self.bytes_per_s = 0.0

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if name != "event":
            return
        moment, size = self._clock.monotonic(), sum(getattr(v, "nbytes", 8) for v in document["data"].values())
        self._recent.append((moment, size))
        self._bytes += size
        while self._recent[0][0] <= moment - WINDOW_S:
            self._bytes -= self._recent.popleft()[1]
        self.events_per_s = max(self.events_per_s, len(self._recent) / WINDOW_S)
        self.bytes_per_s = max(self.bytes_per_s, self._bytes / WINDOW_S)


def _name(thing: Any) -> str:
    return getattr(thing, "name", None) or type(thing).__name__


def _line_of(plan: Any) -> str:
    """Where a plan is, in the innermost of its generators that is not Bluesky's own."""
    where = "somewhere"
    while (frame := getattr(plan, "gi_frame", None)) is not None:
        file = Path(frame.f_code.co_filename)
        if not file.is_relative_to(Path(bluesky.__file__).parent):
            where = f"{file.name} line {frame.f_lineno}"
        plan = plan.gi_yieldfrom
    return where
