"""A plan whose messages go through other hands."""

from collections.abc import Callable
from typing import Any

from bluesky.utils import Msg, MsgGenerator


def forwarded(plan: MsgGenerator[Any], forward: Callable[[Msg], MsgGenerator[Any]]) -> MsgGenerator[Any]:
    """`plan`, with `forward` to send each message; what it returns or raises is the plan's answer at that place."""
    failure: BaseException | None = None
    answer: Any = None
    while True:
        try:
            message = plan.send(answer) if failure is None else plan.throw(failure)
        except StopIteration as end:
            return end.value
        failure = answer = None
        try:
            answer = yield from forward(message)
        except GeneratorExit:
            plan.close()
            raise
        except BaseException as error:
            failure = error
