"""Making safe on every way out: the one place where it is done.

`made_safe` wraps a whole plan. Whether it ends well, raises, or is aborted, the hazardous devices are brought to
their safe states before the run is closed. Steps are independent: one that fails or hangs does not keep the next from
being done. The guard process that covers the death of this process is a separate matter.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Status
from bluesky.utils import FailedStatus, Msg, MsgGenerator, short_uid

from ..devices.errors import NotPermitted

ORDER = ("laser", "thermal", "pressure", "motion", "radiation")
"""Which hazard first: heat goes before the press is held, the X-ray shutter closes last."""


ATTEMPTS = 5
"""How often a step is waited for again when something else has failed."""


@runtime_checkable
class Hazardous(Protocol):
    """A device that can hurt people or samples, and knows its safe state."""

    name: str
    hazard: str

    def safe_steps(self) -> Sequence[tuple[str, Callable[[], Status], float]]:
        """What to do, in order: name of the step, action that verifies itself, time limit in seconds."""
        ...


class _Step:
    """One step of a safe sequence, as something that can be set."""

    parent = None

    def __init__(self, device: str, what: str, action: Callable[[], Status], limit_s: float) -> None:
        self.name = f"{device}: {what}"
        self.limit_s = limit_s
        self.group = short_uid("safe")
        self.status: Status | None = None
        self._action = action

    def set(self, value: None) -> Status:
        """Do it."""
        self.status = self._action()
        return self.status


class SafetyReport:
    """What became of every step: CONFIRMED by read-back, or UNCONFIRMED and why; recorded as the stream `safety`."""

    name = "safety"
    parent = None

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
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
        return {"safety_report": {"value": "\n".join(self.lines), "timestamp": self._now()}}

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

    Steps of one hazard begin together: a laser whose line is blocked does not keep its gate waiting.
    """
    report.lines.clear()
    for hazard in ORDER:
        steps = [*_steps(device for device in devices if device.hazard == hazard)]
        for step in steps:
            with contextlib.suppress(Exception, FailedStatus):  # another's, or its own, which is met again below
                yield from bps.abs_set(step, None, group=step.group)
        for step in steps:
            report.lines.append((yield from _outcome(step)))


def _outcome(step: _Step) -> MsgGenerator[str]:
    """The line of the report that says what became of a step."""
    try:
        yield from _done(step)
    except (Exception, FailedStatus) as error:
        if isinstance(error.__cause__ or error, NotPermitted):
            return f"left to the guard: {step.name}"
        reason = str(error.__cause__ or error).splitlines() or [type(error).__name__]
        return f"UNCONFIRMED {step.name}: {reason[0]}"
    return f"CONFIRMED {step.name}"


def _done(step: _Step) -> MsgGenerator[None]:
    """Do a step where that has not begun, and wait for it.

    What else fails meanwhile, such as the move that making safe has just ended, reaches the plan in the middle of this
    step and is not its failure; nor does it hide one.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if step.status is None:
                yield from bps.abs_set(step, None, group=step.group)
            yield from bps.wait(step.group, timeout=step.limit_s)
        except FailedStatus as error:
            if attempt == ATTEMPTS or step.status in error.args:
                raise
            continue
        if step.status is not None and step.status.done and not step.status.success:
            raise FailedStatus(step.status) from step.status.exception()
        return


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


def _steps(devices: Iterable[Hazardous]) -> Iterator[_Step]:
    for device in devices:
        for what, action, limit_s in device.safe_steps():
            yield _Step(device.name, what, action, limit_s)
