"""What the guard is told: a JSON object, written by the engine's side and read once.

Messages on the wire are hexadecimal text for serial and TCP ports, whole with their terminator or checksum; for EPICS
they are `[record, value]`, or `[record]` to read it.
"""

import json
from pathlib import Path
from typing import Any, NotRequired, TypedDict


class Check(TypedDict):
    """A question whose answer shows that something is so: a number within `low..high`.

    Of a text answer the group of `pattern` is the number, of a Modbus answer the first register, `signed` or not,
    divided by `scale`, or the first coil. With `mask` only these bits of a whole number count.
    """

    name: str
    ask: Any
    low: float
    high: float
    mask: int
    pattern: str
    signed: bool
    scale: float


class Watched(Check):
    """A check that is made every `every_s`; it must hold, and be no older than `stale_s`, while the lease is held.

    With `while_on` it matters only while one of these ports is not in its safe state.
    """

    every_s: float
    stale_s: float
    while_on: list[str]


class Action(TypedDict):
    """One step of a way to safety: what to send, until all that is `seen` has been so twice; at most `within_s`."""

    name: str
    send: list[Any]
    seen: list[Check]
    within_s: float


class Way(TypedDict):
    """Actions in their order; where one is not seen in its time, the way `otherwise` is gone.

    With a grace nothing is done but looking, for so long; then `otherwise` is gone too.
    """

    actions: list[Action]
    otherwise: str
    grace_s: float


class Command(TypedDict):
    """A message that may pass while the lease is held: `exact`, or one that carries a number within limits.

    Text has the number between `head` and `tail`; Modbus has it as `function` and `address` say, in counts of
    1/`scale`. It may not change faster than `rate_per_s`, where that is given.
    """

    name: str
    exact: NotRequired[str]
    head: NotRequired[str]
    tail: NotRequired[str]
    function: NotRequired[int]
    address: NotRequired[int]
    scale: NotRequired[float]
    signed: NotRequired[bool]
    low: NotRequired[float]
    high: NotRequired[float]
    rate_per_s: NotRequired[float]


class PortSpecification(TypedDict):
    """One port: how it is reached and spoken to, what may pass, what is watched, what is safe."""

    kind: str
    """`line`, `rtu` or `epics`."""
    address: list[Any]
    """`["tcp", host, port]`, `["serial", path, baud]` or `["ca", host, port]`."""
    terminator: str
    answers_all: bool
    """Whether a command is answered too, or only a question."""
    refusal: str
    """What a refused message is answered with, where it must be answered."""
    identity: dict[str, str] | None
    """`ask` and `expect`: the question whose answer nothing else can be taken for."""
    reply_s: float
    stage: int
    on_loss: str
    """Which of the ways is gone when the lease is lost."""
    ways: dict[str, Way]
    reads: list[str]
    commands: list[Command]
    watch: list[Watched]
    kick: dict[str, Any] | None
    """`send` and `every_s`: what keeps a watchdog from dropping out while the lease is held."""


class Specification(TypedDict):
    """All that a guard is told."""

    rig: str
    socket: str
    log: str
    latch: str
    """A file that exists while a trip has not been acknowledged."""
    claims: NotRequired[str]
    """A folder that it shares with the guards of other rigs: no instrument has two. Not where they are simulated."""
    lease_s: float
    dwell_max_s: float
    orphan_s: float
    """How long a guard without an engine stays once all is safe; 0 for ever."""
    version: str
    """What tells this from another specification of the same rig."""
    rehearsal: bool
    """Whether the instruments are simulated, and end with the engine: then it does not stay until all is safe."""
    ports: dict[str, PortSpecification]


def load(path: str) -> Specification:
    """Read a specification. Raises OSError, ValueError."""
    specification: Specification = json.loads(Path(path).read_text(encoding="utf-8"))
    return specification
