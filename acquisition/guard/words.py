"""The messages of a port: taken whole off a stream of bytes, judged, and read as numbers."""

import re
import struct
from dataclasses import dataclass
from typing import Protocol

from .log import now
from .specification import Check, Command, PortSpecification

LONGEST = 4096
"""A message that has not ended after so many bytes is none."""
READ_FUNCTIONS = (1, 2, 3, 4)
ILLEGAL_VALUE = 3


@dataclass
class Judgement:
    """Whether a message of the engine may pass: it only reads, or is a declared command within its limits."""

    reads: bool = False
    refused: str = ""
    name: str = ""
    value: float | None = None


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
        self._last: dict[str, tuple[float, float]] = {}
        self._since = now()

    def forget(self) -> None:
        """A new engine begins: nothing has been set yet."""
        self._last.clear()
        self._since = now()

    def judge(self, command: Command, value: float) -> Judgement:
        """Against the limits, and against the greatest rate of change."""
        name = command["name"]
        if not command["low"] <= value <= command["high"]:
            return Judgement(refused=f"{name} = {value:g} is beyond {command['low']:g}..{command['high']:g}")
        rate, moment = command.get("rate_per_s"), now()
        before, then = self._last.get(name, (min(max(0.0, command["low"]), command["high"]), self._since))
        if rate and value - before > rate * (moment - then) * 1.05:
            return Judgement(refused=f"{name} = {value:g} after {before:g} is a step faster than {rate:g} per s")
        self._last[name] = value, moment
        return Judgement(name=name, value=value)


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
            if len(buffer) > LONGEST:
                buffer.clear()
            return None
        del buffer[: len(head) + len(end)]
        return bytes(head + end)

    take_reply = take

    def judge(self, message: bytes) -> Judgement:
        """Questions pass; a command only if it is declared. Several in one message are judged one by one."""
        if message in self._reads:
            return Judgement(reads=True)
        parts = message.removesuffix(self._end).split(b";")
        judgements = [self._judge(part) for part in parts if part.strip()]
        refused = next((judgement for judgement in judgements if judgement.refused), None)
        writes = next((judgement for judgement in judgements if not judgement.reads), None)
        return refused or writes or Judgement(reads=True)

    def _judge(self, part: bytes) -> Judgement:
        if part.rstrip().endswith(b"?") or part + self._end in self._reads:
            return Judgement(reads=True)
        for command in self._commands:
            if "exact" in command and part + self._end == bytes.fromhex(command["exact"]):
                return Judgement(name=command["name"])
            head, tail = command.get("head", "").encode(), command.get("tail", "").encode()
            if head and part.startswith(head) and part.endswith(tail):
                try:
                    value = float(part[len(head) : len(part) - len(tail)])
                except ValueError:
                    continue
                return self.limits.judge(command, value)
        return Judgement(refused=f"{part[:60]!r} is no declared command")

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
        self.limits = Limits()

    def take(self, buffer: bytearray) -> bytes | None:
        """A request: eight bytes for every function that we know; others when their checksum closes."""
        if len(buffer) >= 8 and checksum(buffer[:6]) == buffer[6:8]:
            return self._cut(buffer, 8)
        if len(buffer) >= 4 and checksum(buffer[:-2]) == buffer[-2:]:
            return self._cut(buffer, len(buffer))
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
        function = message[1]
        if function in READ_FUNCTIONS and len(message) == 8:
            return Judgement(reads=True)
        for command in self._commands:
            if command.get("exact") == message.hex():
                return Judgement(name=command["name"])
            if len(message) == 8 and command.get("function") == function:
                address, counts = struct.unpack(">Hh" if command.get("signed") else ">HH", message[2:6])
                if address == command["address"]:
                    return self.limits.judge(command, counts / command["scale"])
        return Judgement(refused=f"function {function} with {message[2:6].hex()} is no declared command")

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
    if check["mask"]:
        value = int(value) & check["mask"]
    return check["low"] <= value <= check["high"]
