"""Records the results of live analyses as streams of the same run, and what is about to be done to hazards."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator

from ..analysis.live.analysis import CLOSE, LiveAnalysis
from .forwarding import forwarded


def recorded(plan: MsgGenerator[Any], analyses: Sequence[LiveAnalysis]) -> MsgGenerator[Any]:
    """`plan`, with every new result read into a stream of its own once the event that it waited for has been saved."""
    stream = ""

    def insert(message: Msg) -> tuple[MsgGenerator[Any] | None, MsgGenerator[None] | None]:
        nonlocal stream
        match message.command:
            case "create":
                stream = message.kwargs.get("name", "primary")
            case "save":
                after = [analysis for analysis in analyses if stream in analysis.recorded_after]
                return None, read_due(after) if after else None
            case "close_run":
                return _closing(message), None
        return None, None

    def _closing(message: Msg) -> MsgGenerator[Any]:
        yield from read_due([analysis for analysis in analyses if CLOSE in analysis.recorded_after])
        return (yield message)

    return (yield from bpp.plan_mutator(plan, insert))


def noted(plan: MsgGenerator[Any], note: Callable[[Mapping[str, Any]], None]) -> MsgGenerator[Any]:
    """`plan`, with `note` told of every set-point of a hazardous device before it is sent.

    What `note` raises is raised in the plan at that place, and nothing is sent.
    """

    def tell(message: Msg) -> MsgGenerator[Any]:
        if message.command == "set" and getattr(message.obj.root, "hazard", ""):
            note({"signal": message.obj.name, "value": message.args[0], "hazard": message.obj.root.hazard})
        return (yield message)

    return (yield from forwarded(plan, tell))


class Held:
    """What the guard has read of a held instrument while no engine was there, one reading at a time."""

    name = "held"
    parent = None

    def __init__(self) -> None:
        self.readings: deque[tuple[float, str, float]] = deque()
        """When (s since the epoch), `instrument.reading`, value in the unit of the reading."""

    def take(self, seen: Iterable[tuple[float, str, float]], now_s: float, factor: float) -> None:
        """What the guard has told: how long ago (s of its own time, `factor` times as short), reading, value."""
        self.readings += [(now_s - age_s * factor, what, value) for age_s, what, value in seen]

    def read(self) -> dict[str, Any]:
        """The next reading."""
        moment, what, value = self.readings.popleft()
        return {key: {"value": entry, "timestamp": moment} for key, entry in zip(self.KEYS, (what, value), strict=True)}

    def describe(self) -> dict[str, Any]:
        """The data keys."""
        dtypes = zip(self.KEYS, ("string", "number"), strict=True)
        return {key: {"source": "guard", "dtype": dtype, "shape": []} for key, dtype in dtypes}

    def read_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    KEYS = ("held_reading", "held_value")


def continued(plan: MsgGenerator[Any], held: Held) -> MsgGenerator[Any]:
    """`plan`, with what was read while it was interrupted as the first events of its run."""

    def insert(message: Msg) -> tuple[None, MsgGenerator[None] | None]:
        return None, record() if message.command == "open_run" and held.readings else None

    def record() -> MsgGenerator[None]:
        while held.readings:
            yield Msg("create", None, name=held.name)
            yield Msg("read", held)
            yield Msg("save")

    return (yield from bpp.plan_mutator(plan, insert))


def read_due(analyses: Sequence[LiveAnalysis]) -> MsgGenerator[None]:
    """One event for each stream in which an analysis has a result that was not recorded yet."""
    for stream in dict.fromkeys(analysis.recorded_in for analysis in analyses):
        together = [analysis for analysis in analyses if analysis.recorded_in == stream]
        if any(analysis.due() for analysis in together):
            yield Msg("create", None, name=stream)
            for analysis in together:
                yield Msg("read", analysis)
            yield Msg("save")
