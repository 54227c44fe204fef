"""Channel Access messages of plain reads, read and written without caproto's objects: most of what clients send.

A plain read asks for a record's own type with alarm severity, or for the name of an enum's state.

Source: Channel Access Protocol Specification, version 4.13, EPICS (CA_PROTO_READ_NOTIFY, payloads DBR_STS_*).
"""

import struct
from typing import Any, NamedTuple

import numpy as np

from .records import Record

READ_NOTIFY = 15
NORMAL = 1
"""The status of a read that has succeeded."""
STATE_ALARM = 7
"""The alarm status that goes with any severity."""
STS_STRING, STS_SHORT, STS_ENUM, STS_LONG, STS_DOUBLE = 7, 8, 10, 12, 13
MARK = 0xFFFF
"""A size that says that size and count follow the header as 32-bit numbers."""

_HEADER = struct.Struct(">HHHHII")
_EXTENSION = struct.Struct(">II")
_ALARM = struct.Struct(">hh")
_SCALARS = {
    STS_STRING: struct.Struct(">hh40s4x"),
    STS_SHORT: struct.Struct(">hhh2x"),
    STS_ENUM: struct.Struct(">hhH2x"),
    STS_LONG: struct.Struct(">hhi"),
    STS_DOUBLE: struct.Struct(">hh4xd"),
}
"""Alarm status, severity and one element, padded to a multiple of eight bytes."""
_ARRAYS = {STS_SHORT: (">i2", 4), STS_LONG: (">i4", 4), STS_DOUBLE: (">f8", 8)}
"""Element, and the size of what goes before the first."""
_OWN_TYPES = {"string": STS_STRING, "short": STS_SHORT, "enum": STS_ENUM, "long": STS_LONG, "double": STS_DOUBLE}


class ReadRequest(NamedTuple):
    """A request to read; `end` is where in the bytes the next message begins."""

    data_type: int
    n_elements: int
    sid: int
    ioid: int
    end: int


def read_request(data: bytes, start: int) -> ReadRequest | None:
    """The message that begins at `start`; None when it is another one, or not complete."""
    end = start + _HEADER.size
    if len(data) < end:
        return None
    command, size, data_type, count, sid, ioid = _HEADER.unpack_from(data, start)
    if command == READ_NOTIFY and size == MARK and not count and len(data) >= end + _EXTENSION.size:
        size, count = _EXTENSION.unpack_from(data, end)
        end += _EXTENSION.size
    return ReadRequest(data_type, count, sid, ioid, end) if command == READ_NOTIFY and size == 0 else None


def read_reply(request: ReadRequest, record: Record, t: float) -> bytes | None:
    """The reply with the record's value at t; None when the request is no plain read."""
    own, data_type = _OWN_TYPES[record.kind], request.data_type
    if request.n_elements not in (0, record.count) or data_type not in (own, STS_STRING):
        return None
    if data_type != own and own != STS_ENUM:
        return None
    if record.count > 1:
        return _array_reply(request, record, t) if data_type in _ARRAYS else None
    value = _element(record, data_type, record.read(t))
    payload = _SCALARS[data_type].pack(*_alarm(record, t), value)
    return _HEADER.pack(READ_NOTIFY, len(payload), data_type, 1, NORMAL, request.ioid) + payload


def _element(record: Record, data_type: int, value: Any) -> Any:
    if data_type == STS_DOUBLE:
        return value
    if data_type == STS_STRING:
        text = value if record.kind == "string" else record.states[int(value)]
        return text.encode("latin-1")
    return int(value)


def _array_reply(request: ReadRequest, record: Record, t: float) -> bytes:
    form, start = _ARRAYS[request.data_type]
    values = np.asarray(record.read(t)).astype(form)
    size = start + values.nbytes
    padding = -size % 8
    if size + padding < MARK and values.size < MARK:
        header = _HEADER.pack(READ_NOTIFY, size + padding, request.data_type, values.size, NORMAL, request.ioid)
    else:
        header = _HEADER.pack(READ_NOTIFY, MARK, request.data_type, 0, NORMAL, request.ioid)
        header += _EXTENSION.pack(size + padding, values.size)
    alarm = _ALARM.pack(*_alarm(record, t)).ljust(start, b"\0")
    return b"".join((header, alarm, values.data, bytes(padding)))


def _alarm(record: Record, t: float) -> tuple[int, int]:
    """Alarm status and severity."""
    severity = record.severity(t) if record.severity is not None else 0
    return (STATE_ALARM if severity else 0), severity
