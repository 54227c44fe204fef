"""Channel Access messages, byte by byte."""

import struct

import numpy as np
import pytest

from megabar.devices.channel_access_frames import STATUS, ReadReply, Receiver, read_request

HEAD = struct.Struct(">HHHHII")
SHORT, LONG, DOUBLE = 1, 5, 6


def reply(plain: int, count: int, payload: bytes) -> ReadReply:
    return ReadReply(7, 1, plain + STATUS, count, payload)


@pytest.mark.parametrize(
    ("plain", "body", "value"),
    [
        (0, b"On".ljust(40, b"\0"), "On"),
        (0, b"On\0\0", "On"),
        (1, b"\xff\xfe", -2),
        (2, struct.pack(">f", 0.5), 0.5),
        (3, b"\xff\xff", 65_535),
        (4, b"\0\xff", 255),
        (5, struct.pack(">i", -70_000), -70_000),
        (6, bytes(4) + struct.pack(">d", 1e-3), 1e-3),
    ],
)
def test_each_type_has_its_severity_and_its_value(plain: int, body: bytes, value: object) -> None:
    severity, first = reply(plain, 1, struct.pack(">hh", 7, 2) + body).severity_and_first()
    assert (severity, first, type(first)) == (2, value, type(value))


def test_arrays_come_in_the_machines_byte_order() -> None:
    for plain, form, start in ((SHORT, "i2", 4), (4, "u1", 5), (LONG, "i4", 4), (DOUBLE, "f8", 8)):
        values = reply(plain, 3, bytes(start) + np.array([1, 2, 100], ">" + form).tobytes() + bytes(7)).elements()
        assert values.dtype == np.dtype(form)
        assert values.dtype.isnative
        assert values.tolist() == [1, 2, 100]
    assert reply(0, 2, bytes(4) + b"a".ljust(40, b"\0") + b"b" * 40).elements() == ["a", "b" * 40]


@pytest.mark.parametrize("wrong", [reply(DOUBLE, 1, bytes(8)), reply(DOUBLE, 0, bytes(16)), reply(-1, 1, bytes(16))])
def test_a_reply_without_a_value_is_no_value(wrong: ReadReply) -> None:
    with pytest.raises(ValueError, match=r"announced|not asked for"):
        wrong.severity_and_first()


def test_an_array_shorter_than_announced_is_no_value() -> None:
    with pytest.raises(ValueError, match="3 elements are announced"):
        reply(LONG, 3, bytes(12)).elements()


def test_a_stream_comes_apart_wherever_it_is_cut() -> None:
    echo = HEAD.pack(23, 0, 0, 0, 0, 0)
    error = HEAD.pack(11, 24, 0, 0, 3, 4) + bytes(range(24))
    small = HEAD.pack(15, 16, 13, 1, 1, 8) + bytes(16)
    large = HEAD.pack(15, 0xFFFF, 12, 0, 1, 9) + struct.pack(">II", 12, 2) + bytes(12)
    stream = echo + small + error + large + echo
    expected = [echo, ReadReply(8, 1, 13, 1, bytes(16)), error, ReadReply(9, 1, 12, 2, bytes(12)), echo]
    for cut in range(len(stream) + 1):
        receiver = Receiver()
        assert [*receiver.take(stream[:cut]), *receiver.take(stream[cut:])] == expected


def test_requests_for_more_than_16_bits_of_elements_have_the_extended_header() -> None:
    assert read_request(DOUBLE, 1, 4, 5) == HEAD.pack(15, 0, 13, 1, 4, 5)
    assert read_request(LONG, 262_144, 4, 5) == HEAD.pack(15, 0xFFFF, 12, 0, 4, 5) + struct.pack(">II", 0, 262_144)
