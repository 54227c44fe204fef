"""The messages of a port: taken whole off a stream of bytes, judged, and read as numbers."""

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .log import now
from .specification import Check, Command, PortSpecification

LONGEST = 4096
"""A message that has not ended after so many bytes is none."""
QUESTION = re.compile(rb" *[:*]?\w[\w:]*\? *")
"""A header alone with its question mark; what is asked with more words must be declared."""
NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
READ_FUNCTIONS = (1, 2, 3, 4)
FUNCTIONS_OF_EIGHT = (*READ_FUNCTIONS, 5, 6)
ILLEGAL_VALUE = 3
BURST_S = 1.25
"""However long a set-point has stood still, it may rise at once by no more than it may in this time."""


@dataclass
class Judgement:
    """Whether a message of the engine may pass: it only reads, or is a declared command within its limits."""

    reads: bool = False
    refused: str = ""
    name: str = ""
    values: list[tuple[Command, float]] = field(default_factory=list)
    lowers: bool = False
    """It lets a set-point fall, or stand, whose rise is limited: it switches nothing on."""


class Words(Protocol):
    """How a port speaks."""

    limits: "Limits"

    def take(self, buffer: bytearray) -> bytes | None:
        """Remove one whole message of the engine from the front of `buffer`."""
        ...

    def take_reply(self, buffer: bytearray) -> bytes | None:
        """Remove one whole reply from the front of `buffer`."""
        ...

    def judge(self, message: bytes) -> Judgement:
        """Whether it may pass."""
        ...

    def is_answered(self, message: bytes) -> bool:
        """Whether a reply will come."""
        ...

    def refusal(self, message: bytes) -> bytes:
        """What a refused message is answered with."""
        ...

    def number(self, reply: bytes, check: Check) -> float:
        """What a reply says. Raises ValueError for anything else than an answer to `check`."""
        ...


class Limits:
    """The declared commands of a port that carry a number, and what they said last."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float, float]] = {}

    def forget(self) -> None:
        """A new engine begins: nothing has been set yet."""
        self._last.clear()

    def judge(self, command: Command, value: float) -> Judgement:
        """Against the limits, and against the greatest rate of change."""
        name = command["name"]
        if not command["low"] <= value <= command["high"]:
            return Judgement(refused=f"{name} = {value:g} is beyond {command['low']:g}..{command['high']:g}")
        before, spare_s = self._present(command)
        if (rate := command.get("rate_per_s")) and value - before > rate * spare_s:
            return Judgement(refused=f"{name} = {value:g} after {before:g} is a step faster than {rate:g} per s")
        return Judgement(name=name, values=[(command, value)], lowers=bool(rate) and value <= before)

    def passed(self, judgement: Judgement) -> None:
        """What was judged has been sent."""
        for command, value in judgement.values:
            before, spare_s = self._present(command)
            if rate := command.get("rate_per_s"):
                spare_s -= max(0.0, value - before) / rate
            self._last[command["name"]] = value, spare_s, now()

    def _present(self, command: Command) -> tuple[float, float]:
        """What a set-point is, and for how many seconds it has not used its rate."""
        if command["name"] not in self._last:
            return min(max(0.0, command["low"]), command["high"]), BURST_S
        value, spare_s, then = self._last[command["name"]]
        return value, min(BURST_S, spare_s + 1.05 * (now() - then))


def _declared(
    commands: list[Command], exact: str, limits: Limits, number: Callable[[Command], float | None]
) -> Judgement:
    """One command against those that are declared; what is declared exactly counts as a set-point too."""
    name = next((command["name"] for command in commands if command.get("exact") == exact), "")
    for command in commands:
        if (value := number(command)) is not None:
            return Judgement(name=name, values=[(command, value)]) if name else limits.judge(command, value)
    return Judgement(name=name, refused="" if name else "it is no declared command")


class Lines:
    """Messages of text that end in a terminator."""

    def __init__(self, specification: PortSpecification) -> None:
        self._end = specification["terminator"].encode("ascii")
        self._answers_all = specification["answers_all"]
        self._refusal = specification["refusal"]
        identity = specification["identity"]
        self._reads = {bytes.fromhex(message) for message in specification["reads"]}
        self._reads |= {bytes.fromhex(identity["ask"])} if identity else set()
        self._commands = specification["commands"]
        self.limits = Limits()

    def take(self, buffer: bytearray) -> bytes | None:
        """Up to the terminator, with it."""
        head, end, _ = buffer.partition(self._end)
        if not end:
            del buffer[LONGEST:]  # what follows is the end of this one, not one of its own
            return None
        del buffer[: len(head) + len(end)]
        return bytes(head + end)

    take_reply = take

    def judge(self, message: bytes) -> Judgement:
        """Questions pass; a command only if it is declared. Several in one message are judged one by one."""
        if message in self._reads:
            return Judgement(reads=True)
        parts = message.removesuffix(self._end).split(b";")
        judgements = [self._judge(part) for part in parts]
        for n, judgement in enumerate(judgements):
            if not judgement.reads and b":" in b"".join(parts[:n]) and not parts[n].startswith((b":", b"*")):
                return Judgement(refused=f"{parts[n][:60]!r} means something else after a header with a colon")
        writes = [judgement for judgement in judgements if not judgement.reads]
        return Judgement(
            reads=not writes,
            refused="; ".join(judgement.refused for judgement in writes if judgement.refused),
            name="; ".join(judgement.name for judgement in writes),
            values=[value for judgement in writes for value in judgement.values],
            lowers=all(judgement.lowers for judgement in writes),
        )

    def _judge(self, part: bytes) -> Judgement:
        if QUESTION.fullmatch(part) or part + self._end in self._reads:
            return Judgement(reads=True)
        judgement = _declared(
            self._commands, (part + self._end).hex(), self.limits, lambda command: self._number(command, part)
        )
        if judgement.refused:
            judgement.refused = f"{part[:60]!r}: {judgement.refused}"
        return judgement

    @staticmethod
    def _number(command: Command, part: bytes) -> float | None:
        """The value that `part` gives to a set-point, if it is a command for that one."""
        head, tail = command.get("head", "").encode(), command.get("tail", "").encode()
        number = part[len(head) : len(part) - len(tail)]
        if not head or not part.startswith(head) or not part.endswith(tail) or not NUMBER.fullmatch(number):
            return None
        return float(number)

    def is_answered(self, message: bytes) -> bool:
        """Every message, or only questions, as the port is declared."""
        return self._answers_all or message in self._reads or b"?" in message

    def refusal(self, message: bytes) -> bytes:
        """The declared text, where the engine waits for an answer."""
        return self._refusal.encode() + self._end if self.is_answered(message) else b""

    def number(self, reply: bytes, check: Check) -> float:
        """The group of the pattern."""
        found = re.search(check["pattern"], reply.removesuffix(self._end).decode("ascii"))
        if found is None:
            raise ValueError(f"{reply[:60]!r} does not answer {check['name']}")
        return float(found[1])


class Rtu:
    """Frames of Modbus RTU, which end where their checksum closes."""

    def __init__(self, specification: PortSpecification) -> None:
        self._commands = specification["commands"]
        ways = specification["ways"].values()
        asked = [check["ask"] for way in ways for action in way["actions"] for check in action["seen"]]
        self._units = {bytes.fromhex(frame)[0] for frame in (*asked, *specification["reads"])}
        self.limits = Limits()

    def take(self, buffer: bytearray) -> bytes | None:
        """A request: eight bytes for every function that we know; others when their checksum closes."""
        if len(buffer) > 1:
            size = 8 if buffer[1] in FUNCTIONS_OF_EIGHT else max(4, len(buffer))
            if len(buffer) >= size and checksum(buffer[: size - 2]) == buffer[size - 2 : size]:
                return self._cut(buffer, size)
        if len(buffer) > 260:
            buffer.clear()
        return None

    def take_reply(self, buffer: bytearray) -> bytes | None:
        """The first frame whose checksum closes where its function says; what stands before it is noise."""
        while len(buffer) >= 5:
            size = 5 if buffer[1] & 0x80 else 5 + buffer[2] if buffer[1] in READ_FUNCTIONS else 8
            if len(buffer) >= size and checksum(buffer[: size - 2]) == buffer[size - 2 : size]:
                return self._cut(buffer, size)
            if len(buffer) < size:
                return None
            del buffer[0]
        return None

    @staticmethod
    def _cut(buffer: bytearray, size: int) -> bytes:
        message = bytes(buffer[:size])
        del buffer[:size]
        return message

    def judge(self, message: bytes) -> Judgement:
        """Reading functions pass; writing one register or coil if that is declared."""
        if message[1] in READ_FUNCTIONS and len(message) == 8:
            return Judgement(reads=True)
        judgement = _declared(
            self._commands, message.hex(), self.limits, lambda command: self._number(command, message)
        )
        if judgement.refused:
            judgement.refused = f"function {message[1]} with {message[2:6].hex()}: {judgement.refused}"
        return judgement

    def _number(self, command: Command, message: bytes) -> float | None:
        """The value that a frame gives to a set-point, if it is a command for that one."""
        ours = len(message) == 8 and message[0] in self._units and command.get("function") == message[1]
        if not ours or command["address"] != int.from_bytes(message[2:4], "big"):
            return None
        (counts,) = struct.unpack(">h" if command.get("signed") else ">H", message[4:6])
        return float(counts / command["scale"])

    def is_answered(self, message: bytes) -> bool:
        """Every request."""
        return True

    def refusal(self, message: bytes) -> bytes:
        """An exception reply: illegal data value."""
        body = bytes((message[0], message[1] | 0x80, ILLEGAL_VALUE))
        return body + checksum(body)

    def number(self, reply: bytes, check: Check) -> float:
        """The first register, or the first coil."""
        asked = bytes.fromhex(check["ask"])
        if reply[:2] != asked[:2]:
            raise ValueError(f"{reply.hex()} does not answer {check['name']}")
        if asked[1] in (1, 2):
            return float(reply[3] & 1)
        if reply[2] != 2 * int.from_bytes(asked[4:6], "big"):
            raise ValueError(f"{reply.hex()} has another length than {check['name']}")
        (counts,) = struct.unpack(">h" if check["signed"] else ">H", reply[3:5])
        return float(counts / check["scale"])


def checksum(frame: bytes | bytearray) -> bytes:
    """CRC-16 of a Modbus frame, low byte first (MODBUS over Serial Line V1.02, section 6.2.2)."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


def holds(value: float, check: Check) -> bool:
    """Whether a number is what a check wants to see."""
    if not math.isfinite(value):
        return False
    if check["mask"]:
        value = int(value) & check["mask"]
    return check["low"] <= value <= check["high"]
