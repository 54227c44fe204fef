"""Making safe on every way out: the one place where it is done.

`made_safe` wraps a whole plan. Whether it ends well, raises, or is aborted, the hazardous devices are brought to
their safe states before the run is closed. All begin at once: one that fails, hangs or is slow keeps no other waiting.
The guard process that covers the death of this process is a separate matter.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Status
from bluesky.utils import Msg, MsgGenerator

from ..devices.clock import Clock
from ..devices.errors import NotPermitted

ORDER = ("laser", "thermal", "pressure", "motion", "radiation")
"""Which hazard is told first: heat goes before the press is held, the X-ray shutter closes last."""
LOOK_S = 0.01
"""How often it is looked what has been done."""


@runtime_checkable
class Hazardous(Protocol):
    """A device that can hurt people or samples, and knows its safe state."""

    name: str
    hazard: str

    def safe_steps(self) -> Sequence[tuple[str, Callable[[], Status], float]]:
        """What to do, in order: name of the step, action that verifies itself, time limit in seconds."""
        ...


class _Step:
    """One step of a safe sequence, from its begin until it is done, has failed, or has had its time."""

    def __init__(self, device: str, what: str, action: Callable[[], Status], limit_s: float) -> None:
        self._name, self._limit_s, self._action = f"{device}: {what}", limit_s, action
        self._status: Status | None = None
        self._until = 0.0
        self.line = f"UNCONFIRMED {self._name}: not begun"

    def over(self, now: float) -> bool:
        """Begin it where it has not begun; whether it is over, and `line` says how."""
        try:
            if self._status is None:
                self._until = now + self._limit_s
                self.line = f"UNCONFIRMED {self._name}: not seen within {self._limit_s:g} s"
                self._status = self._action()
            if not self._status.done:
                return now >= self._until
            if error := self._status.exception(0.0):
                raise error
            self.line = f"CONFIRMED {self._name}"
        except NotPermitted:
            self.line = f"left to the guard: {self._name}"
        except Exception as error:
            reason = str(error).splitlines() or [type(error).__name__]
            self.line = f"UNCONFIRMED {self._name}: {reason[0]}"
        return True


class SafetyReport:
    """What became of every step: CONFIRMED by read-back, or UNCONFIRMED and why; recorded as the stream `safety`."""

    name = "safety"
    parent = None

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lines: list[str] = []
        self.abort_reason = ""
        """Why the run was aborted from outside, for its stop document."""
        self.failed = False
        """Whether that was a failure, and nobody's wish."""

    @property
    def confirmed(self) -> bool:
        """Whether every step was confirmed."""
        return not any("UNCONFIRMED" in line for line in self.lines)

    def read(self) -> dict[str, Any]:
        """The report in one text."""
        return {"safety_report": {"value": "\n".join(self.lines), "timestamp": self.clock.time()}}

    def describe(self) -> dict[str, Any]:
        """The data key."""
        return {"safety_report": {"source": "safe sequence", "dtype": "string", "shape": []}}

    def read_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}


def make_safe(devices: Sequence[Hazardous], report: SafetyReport) -> MsgGenerator[None]:
    """Bring every device to its safe state, the worst hazard first; never raises for a step that fails.

    All devices begin at once, a device's next step when the one before is over; each step has its own time.
    """
    in_order = sorted(devices, key=lambda device: ORDER.index(device.hazard))
    ahead = [deque(_Step(device.name, *step) for step in device.safe_steps()) for device in in_order]
    steps = [step for sequence in ahead for step in sequence]
    try:
        while ahead := [sequence for sequence in ahead if _advance(sequence, report.clock.monotonic())]:
            try:
                yield Msg("sleep", None, LOOK_S)
            except Exception:  # of something else: of a move, say, that making safe has just ended
                continue
    finally:
        report.lines[:] = [step.line for step in steps]


def _advance(sequence: deque[_Step], now: float) -> bool:
    """Take away the steps that are over; whether any is left."""
    while sequence and sequence[0].over(now):
        sequence.popleft()
    return bool(sequence)


def made_safe(plan: MsgGenerator[Any], devices: Sequence[Hazardous], report: SafetyReport) -> MsgGenerator[Any]:
    """`plan`, with `make_safe` before its run is closed and whenever it ends without having closed one."""
    safe = False

    def secure() -> MsgGenerator[None]:
        nonlocal safe
        if not safe:
            yield from make_safe(devices, report)
            safe = True

    def before_close(message: Msg) -> tuple[MsgGenerator[Any] | None, None]:
        nonlocal safe
        if message.command == "close_run":
            return _secured_close(message), None
        safe = safe and message.command not in {"set", "trigger", "kickoff"}
        return None, None

    def _secured_close(message: Msg) -> MsgGenerator[Any]:
        if not safe:
            yield from _drop_open_event()
            yield from secure()
            yield from bps.create("safety")
            yield from bps.read(report)
            yield from bps.save()
        if report.abort_reason and message.kwargs.get("exit_status") == "abort" and not message.kwargs.get("reason"):
            status = "fail" if report.failed else "abort"
            message = message._replace(kwargs={**message.kwargs, "exit_status": status, "reason": report.abort_reason})
        return (yield message)

    return (yield from bpp.finalize_wrapper(bpp.plan_mutator(plan, before_close), secure))


def _drop_open_event() -> MsgGenerator[None]:
    """Forget an event that was begun when the plan failed; there may be none."""
    try:
        yield from bps.drop()
    except Exception:
        return
