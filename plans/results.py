"""Results of live analysis as a plan sees them: it waits for the one that derives from its own event."""

from typing import Protocol

from bluesky.utils import Msg, MsgGenerator


class Result(Protocol):
    """The latest result of one live analysis."""

    name: str

    @property
    def seq_num(self) -> int:
        """The number of the event, in the stream that it listens to, that the result derives from; 0 before any."""
        ...

    def value(self, quantity: str) -> float:
        """A quantity; NaN before any."""
        ...

    def error(self, quantity: str) -> float:
        """Its statistical standard uncertainty; NaN before any."""
        ...


class NoResult(RuntimeError):
    """A plan that steers on a result did not get it in time."""


def wait_for_result(result: Result, seq_num: int, *, timeout_s: float, poll_s: float = 0.5) -> MsgGenerator[bool]:
    """Wait until `result` derives from event `seq_num` or a later one; whether it came within `timeout_s`."""
    waited_s = 0.0
    while result.seq_num < seq_num:
        if waited_s >= timeout_s:
            return False
        yield Msg("sleep", None, poll_s)
        waited_s += poll_s
    return True
