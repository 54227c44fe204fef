"""Modbus RTU over a serial line (MODBUS over Serial Line, specification V1.02; MODBUS application protocol V1.1b3)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .errors import GarbledReply, LinkTimeout, Refused
from .visa import StreamLink

READ_COILS, READ_HOLDING, WRITE_COIL, WRITE_SINGLE = 1, 3, 5, 6
COIL_ON, COIL_OFF = 0xFF00, 0x0000
EXCEPTIONS = {1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure"}


@dataclass(frozen=True, order=True)
class Register:
    """One 16-bit holding register: its address, and how many counts make one unit of the quantity."""

    address: int
    scale: float = 1.0
    signed: bool = True


@dataclass(frozen=True, order=True)
class Coil:
    """One output that is on or off.

    Where `scale` is above zero, a number is written instead, as in a register: function 5 knows only on and off, and
    some makers put a time there.
    """

    address: int
    scale: float = 0.0


def checksum(frame: bytes) -> bytes:
    """CRC-16 of a frame, low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class ModbusLink(StreamLink):
    """The master of one slave (unit 1). `fetch` and `assign` take `Register`s and `Coil`s."""

    unit = 1

    def fetch(self, queries: Sequence[Register | Coil]) -> list[float]:
        """Registers in the units of their quantity, coils as 0 or 1; neighbours are read in one transaction."""
        words: dict[int, int] = {}
        bits: dict[int, int] = {}
        for first, count in _blocks(sorted({query.address for query in queries if isinstance(query, Register)})):
            words.update(enumerate(self._read(first, count), start=first))
        for first, count in _blocks(sorted({query.address for query in queries if isinstance(query, Coil)})):
            bits.update(enumerate(self._read_coils(first, count), start=first))
        return [
            _decode(words[query.address], query) if isinstance(query, Register) else float(bits[query.address])
            for query in queries
        ]

    def assign(self, command: Register | Coil, value: float) -> None:
        """Write one register or coil. Raises Refused, LinkError."""
        try:
            function, body = _write(command, value)
        except ValueError as error:
            raise Refused(f"{self.name}: {error}") from error
        if self._transact(function, body, 4) != body:
            self.dirty = True
            raise GarbledReply(f"{self.name}: {type(command).__name__.lower()} {command.address} was not echoed")

    def port(self) -> dict[str, Any]:
        """Frames that end where their checksum closes."""
        return {**super().port(), "kind": "rtu"}

    def command_words(self, command: Register | Coil, value: float) -> str:
        """The bytes, in hexadecimal."""
        return self._request(*_write(command, value)).hex()

    def query_words(self, query: Register | Coil) -> str:
        """The bytes, in hexadecimal."""
        function = READ_COILS if isinstance(query, Coil) else READ_HOLDING
        return self._request(function, struct.pack(">HH", query.address, 1)).hex()

    def setpoint_words(self, command: Register | Coil) -> dict[str, Any]:
        """Function, address and scale; nothing for a coil that is on or off."""
        if isinstance(command, Coil):
            number = {"scale": command.scale, "signed": False}
            return {"function": WRITE_COIL, "address": command.address, **number} if command.scale else {}
        number = {"scale": command.scale, "signed": command.signed}
        return {"function": WRITE_SINGLE, "address": command.address, **number}

    def _request(self, function: int, body: bytes) -> bytes:
        frame = struct.pack(">BB", self.unit, function) + body
        return frame + checksum(frame)

    def _read(self, first: int, count: int) -> tuple[int, ...]:
        reply = self._transact(READ_HOLDING, struct.pack(">HH", first, count), 1 + 2 * count)
        if reply[0] != 2 * count:
            self.dirty = True
            raise GarbledReply(f"{self.name}: {reply[0]} bytes of registers instead of {2 * count}")
        return struct.unpack(f">{count}H", reply[1:])

    def _read_coils(self, first: int, count: int) -> list[int]:
        n_bytes = (count + 7) // 8
        reply = self._transact(READ_COILS, struct.pack(">HH", first, count), 1 + n_bytes)
        if reply[0] != n_bytes:
            self.dirty = True
            raise GarbledReply(f"{self.name}: {reply[0]} bytes of coils instead of {n_bytes}")
        packed = int.from_bytes(reply[1:], "little")
        return [packed >> i & 1 for i in range(count)]

    def _transact(self, function: int, body: bytes, reply_length: int) -> bytes:
        """Send one request and return the reply's data. Raises Refused for a Modbus exception."""
        self.ready()
        self.send(self._request(function, body))
        try:
            head = self.receive(2)
            rest = self.receive(3 if head[1] & 0x80 else reply_length + 2)
        except LinkTimeout:
            self.dirty = True
            raise
        frame, crc = head + rest[:-2], rest[-2:]
        if checksum(frame) != crc or frame[0] != self.unit or frame[1] & 0x7F != function:
            self.dirty = True
            raise GarbledReply(f"{self.name}: reply to function {function} fails its checksum or is another's")
        if frame[1] & 0x80:
            raise Refused(f"{self.name}: {EXCEPTIONS.get(frame[2], f'exception {frame[2]}')} (function {function})")
        return frame[2:]


def _write(command: Register | Coil, value: float) -> tuple[int, bytes]:
    """Function and body of the request that writes `value`. Raises ValueError where it does not fit."""
    counts = round(value * command.scale) if command.scale else COIL_ON if value else COIL_OFF
    if not (-0x8000 if isinstance(command, Register) else 0) <= counts <= 0xFFFF:
        raise ValueError(f"{value:g} does not fit {type(command).__name__.lower()} {command.address}")
    return (
        WRITE_COIL if isinstance(command, Coil) else WRITE_SINGLE,
        struct.pack(">HH", command.address, counts & 0xFFFF),
    )


def _decode(counts: int, register: Register) -> float:
    if register.signed and counts >= 0x8000:
        counts -= 0x10000
    return counts / register.scale


def _blocks(addresses: list[int]) -> list[tuple[int, int]]:
    """Runs of neighbouring addresses (gaps of up to four are read along) as (first, count)."""
    if not addresses:
        return []
    breaks = [0, *(i for i, (a, b) in enumerate(pairwise(addresses), start=1) if b - a > 5), len(addresses)]
    return [(addresses[i], addresses[j - 1] - addresses[i] + 1) for i, j in pairwise(breaks)]
