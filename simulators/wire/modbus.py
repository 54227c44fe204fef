"""Slaves on a Modbus RTU line.

Frames and exceptions follow "MODBUS over Serial Line" V1.02 and "MODBUS Application Protocol" V1.1b3 (modbus.org).
A frame of a known function is complete with its last byte; any other ends with a pause of 3.5 characters.
"""

import struct
from collections.abc import Sequence
from typing import Final

READ_COILS: Final = 1
READ_HOLDING: Final = 3
READ_INPUT: Final = 4
WRITE_COIL: Final = 5
WRITE_SINGLE: Final = 6
WRITE_MULTIPLE: Final = 16

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
DEVICE_FAILURE: Final = 4

BROADCAST: Final = 0
FIXED_LENGTH: Final = 8  # address, function, two words, checksum
MAX_FRAME: Final = 256
MAX_READ, MAX_WRITE = 125, 123
MAX_COILS: Final = 2000
FIXED: Final = (READ_COILS, READ_HOLDING, READ_INPUT, WRITE_COIL, WRITE_SINGLE)


class ModbusException(Exception):
    """What a slave answers instead: its exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
        table.append(byte)
    return tuple(table)


_CRC: Final = _table()


def crc16(data: bytes | bytearray) -> bytes:
    """The two checksum bytes of a frame, in the order in which they are sent."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return struct.pack("<H", crc)


def to_word(value: float, decimals: int) -> int:
    """`value` as a signed 16-bit register with `decimals` implied; beyond its range the nearest end, as on a panel."""
    return max(-0x8000, min(0x7FFF, round(value * 10.0**decimals))) & 0xFFFF


def from_word(word: int, decimals: int) -> float:
    """The value of a signed 16-bit register."""
    return (word - 0x10000 if word & 0x8000 else word) / 10.0**decimals


class RtuSlave:
    """The base of simulated slaves: a subclass has registers, coils or both, this class has the frames.

    Addressed to somebody else, or with a wrong checksum: no reply. A broadcast is carried out without a reply.
    """

    wire: str = "serial"
    silence_characters: float = 3.5

    def __init__(self, *, name: str, latency_s: float, address: int = 1, baud: int = 9600) -> None:
        if not 1 <= address <= 247:
            raise ValueError(f"{name}: address = {address}; accepted: 1..247")
        self.name = name
        self.latency_s = latency_s
        self.address = address
        self.baud = baud

    def read_register(self, register: int) -> int:
        """The word in a register. Raises ModbusException."""
        raise ModbusException(ILLEGAL_ADDRESS)

    def check_register(self, register: int, word: int) -> None:
        """Whether a word may be written; no word of a request is written unless all may. Raises ModbusException."""
        raise ModbusException(ILLEGAL_ADDRESS)

    def write_register(self, register: int, word: int) -> None:
        """Write a word that has been checked."""

    def read_coil(self, coil: int) -> bool:
        """Whether a coil is on. Raises ModbusException; a slave without coils does not know the function."""
        raise ModbusException(ILLEGAL_FUNCTION)

    def write_coil(self, coil: int, word: int) -> None:
        """Act on what is written to a coil: FF00 is on, 0000 is off. Raises ModbusException, as `read_coil`."""
        raise ModbusException(ILLEGAL_FUNCTION)

    def take_message(self, buffer: bytearray) -> bytes | None:
        """One complete frame with a good checksum; others are left to end with a pause."""
        length = FIXED_LENGTH
        if len(buffer) > 6 and buffer[1] == WRITE_MULTIPLE:
            length = 9 + buffer[6]
        known = len(buffer) > 1 and buffer[1] in (*FIXED, WRITE_MULTIPLE)
        if not known or len(buffer) < length or crc16(buffer[: length - 2]) != buffer[length - 2 : length]:
            return None
        frame = bytes(buffer[:length])
        del buffer[:length]
        return frame

    async def reply(self, message: bytes) -> bytes:
        """Act on one frame."""
        good = 4 <= len(message) <= MAX_FRAME and crc16(message[:-2]) == message[-2:]
        if not good or message[0] not in (self.address, BROADCAST):
            return b""
        function = message[1]
        try:
            answer = bytes([function]) + self._act(function, message[2:-2])
        except ModbusException as error:
            answer = bytes([function | 0x80, error.code])
        if message[0] == BROADCAST:
            return b""
        frame = bytes([self.address]) + answer
        return frame + crc16(frame)

    def _act(self, function: int, body: bytes) -> bytes:
        if function not in (*FIXED, WRITE_MULTIPLE):
            raise ModbusException(ILLEGAL_FUNCTION)
        if len(body) < 4:
            raise ModbusException(ILLEGAL_VALUE)
        first, second = struct.unpack(">HH", body[:4])
        if function == READ_COILS:
            return self._read_coils(first, second)
        if function == WRITE_COIL:
            self.write_coil(first, second)
            return body[:4]
        if function in (READ_HOLDING, READ_INPUT):
            return self._read(first, second)
        if function == WRITE_SINGLE:
            self._write(first, [second])
            return body[:4]
        n_bytes = body[4] if len(body) > 4 else 0
        if not 1 <= second <= MAX_WRITE or n_bytes != 2 * second or len(body) != 5 + n_bytes:
            raise ModbusException(ILLEGAL_VALUE)
        self._write(first, struct.unpack(f">{second}H", body[5:]))
        return body[:4]

    def _read(self, first: int, count: int) -> bytes:
        if not 1 <= count <= MAX_READ:
            raise ModbusException(ILLEGAL_VALUE)
        words = [self.read_register(register) for register in range(first, first + count)]
        return struct.pack(f">B{count}H", 2 * count, *words)

    def _read_coils(self, first: int, count: int) -> bytes:
        if not 1 <= count <= MAX_COILS:
            raise ModbusException(ILLEGAL_VALUE)
        packed = sum(self.read_coil(first + i) << i for i in range(count))
        n_bytes = (count + 7) // 8
        return bytes([n_bytes]) + packed.to_bytes(n_bytes, "little")

    def _write(self, first: int, words: Sequence[int]) -> None:
        for register, word in enumerate(words, first):
            self.check_register(register, word)
        for register, word in enumerate(words, first):
            self.write_register(register, word)
