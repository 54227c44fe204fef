"""The two Channel Access messages that a session exchanges by the thousand: a read with alarm severity, and its reply.

caproto makes several objects of each message; here a reply costs little more than a `struct` call. All other messages
are left to caproto.

Source: Channel Access Protocol Specification, version 4.13, EPICS (CA_PROTO_READ_NOTIFY, payloads DBR_STS_*).
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

READ_NOTIFY: Final = 15
STRING: Final = 0
STATUS: Final = 7
"""What the number of a type with alarm severity has above that of its plain type."""
NORMAL: Final = 1
"""The status of a read that has succeeded."""
INVALID: Final = 3
"""The alarm severity of a value that its record does not vouch for."""

_MARK: Final = 0xFFFF
"""A size that says that size and count follow the header as 32-bit numbers."""
_HEADER: Final = struct.Struct(">HHHHII")
_EXTENSION: Final = struct.Struct(">II")
_FIRST: Final = tuple(struct.Struct(f">2xh{form}") for form in ("40s", "h", "f", "H", "xB", "i", "4xd"))
"""Severity and first element, by plain type: string, short, float, enum, char, long, double."""
_ELEMENTS: Final = tuple(np.dtype(form) for form in ("S40", ">i2", ">f4", ">u2", "u1", ">i4", ">f8"))


class ReadReply(NamedTuple):
    """A reply to a read: `ioid` says to which, `status` is an ECA code, `payload` holds severity and elements."""

    ioid: int
    status: int
    data_type: int
    n_elements: int
    payload: bytes

    def severity_and_first(self) -> tuple[int, Any]:
        """Alarm severity, and the first element as int, float or str. Raises ValueError."""
        severity, value = self._unpacked()
        return severity, _text(value) if isinstance(value, bytes) else value

    def elements(self) -> Any:
        """All elements: an array (count,) in the machine's own byte order, or a list of str. Raises ValueError."""
        plain = self.data_type - STATUS
        dtype = _ELEMENTS[plain]
        start = _FIRST[plain].size - dtype.itemsize
        if start + self.n_elements * dtype.itemsize > len(self.payload):
            raise ValueError(
                f"{self.n_elements} elements are announced, {len(self.payload)} bytes of payload have come"
            )
        values = np.frombuffer(self.payload, dtype, self.n_elements, start)
        if plain == STRING:
            return [_text(value) for value in values.tolist()]
        return values.astype(dtype.newbyteorder("="))

    def _unpacked(self) -> tuple[int, Any]:
        plain = self.data_type - STATUS
        payload = self.payload
        if not 0 <= plain < len(_FIRST):
            raise ValueError(f"a reply of type {self.data_type} was not asked for")
        form = _FIRST[plain]
        if plain == STRING:  # a server may leave out what follows the end of a single text
            payload = payload.ljust(form.size, b"\0")
        if not self.n_elements or len(payload) < form.size:
            raise ValueError(f"{self.n_elements} elements are announced, {len(payload)} bytes of payload have come")
        return form.unpack_from(payload)


class Receiver:
    """Takes the stream of a server's bytes apart."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, data: bytes) -> Iterator[ReadReply | bytes]:
        """The messages that `data` completes, in their order: replies to reads, and others as they came."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEADER.size:
            command, size, data_type, count, status, ioid = _HEADER.unpack_from(buffer, start)
            body = start + _HEADER.size
            if size == _MARK and count == 0:
                if len(buffer) - body < _EXTENSION.size:
                    break
                size, count = _EXTENSION.unpack_from(buffer, body)
                body += _EXTENSION.size
            end = body + size
            if len(buffer) < end:
                break
            if command == READ_NOTIFY:
                yield ReadReply(ioid, status, data_type, count, bytes(memoryview(buffer)[body:end]))
            else:
                yield bytes(memoryview(buffer)[start:end])
            start = end
        del buffer[:start]


def read_request(plain_type: int, count: int, sid: int, ioid: int) -> bytes:
    """Asks for `count` elements, with alarm severity, of the channel that the server calls `sid`."""
    if count < _MARK:
        return _HEADER.pack(READ_NOTIFY, 0, plain_type + STATUS, count, sid, ioid)
    return _HEADER.pack(READ_NOTIFY, _MARK, plain_type + STATUS, 0, sid, ioid) + _EXTENSION.pack(0, count)


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("latin-1")
