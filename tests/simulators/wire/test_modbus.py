"""The frames of a Modbus RTU slave, against the examples of the specification."""

import asyncio
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megabar.simulators.wire.modbus import (
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    ModbusException,
    RtuSlave,
    crc16,
    from_word,
    to_word,
)


class Slave(RtuSlave):
    """Ten registers, 100..109; no word above 1000."""

    def __init__(self) -> None:
        super().__init__(name="slave", latency_s=0.001, address=17)
        self.words = {100 + i: i for i in range(10)}

    def read_register(self, register: int) -> int:
        if register not in self.words:
            raise ModbusException(ILLEGAL_ADDRESS)
        return self.words[register]

    def check_register(self, register: int, word: int) -> None:
        self.read_register(register)
        if word > 1000:
            raise ModbusException(ILLEGAL_VALUE)

    def write_register(self, register: int, word: int) -> None:
        self.words[register] = word


@pytest.fixture
def slave() -> Slave:
    return Slave()


def frame(*parts: int, address: int = 17) -> bytes:
    body = bytes([address, *parts])
    return body + crc16(body)


def answer(slave: Slave, message: bytes) -> bytes:
    return asyncio.run(slave.reply(message))


def words(*values: int) -> tuple[int, ...]:
    return tuple(struct.pack(f">{len(values)}H", *values))


def test_the_checksum_is_that_of_the_specification():
    # "MODBUS over Serial Line" V1.02, appendix B: 02 07 -> CRC 1241 hex, sent as 41 12
    assert crc16(bytes.fromhex("0207")) == bytes.fromhex("4112")


@pytest.mark.parametrize("function", [3, 4])
def test_registers_are_read(slave: Slave, function: int):
    assert answer(slave, frame(function, *words(101, 3))) == frame(function, 6, *words(1, 2, 3))


def test_one_register_is_written_and_echoed(slave: Slave):
    assert answer(slave, frame(6, *words(105, 777))) == frame(6, *words(105, 777))
    assert slave.words[105] == 777


def test_several_registers_are_written(slave: Slave):
    assert answer(slave, frame(16, *words(103, 2), 4, *words(11, 12))) == frame(16, *words(103, 2))
    assert (slave.words[103], slave.words[104]) == (11, 12)


@pytest.mark.parametrize(
    "request_bytes, function, code",
    [
        ((7,), 7, 1),
        ((43, 14, 1, 0), 43, 1),
        ((3, *words(99, 1)), 3, 2),
        ((3, *words(108, 3)), 3, 2),
        ((6, *words(110, 1)), 6, 2),
        ((1, *words(0, 1)), 1, 1),
        ((5, *words(0, 0xFF00)), 5, 1),
        ((3, *words(100, 0)), 3, 3),
        ((3, *words(100, 126)), 3, 3),
        ((6, *words(100, 1001)), 6, 3),
        ((16, *words(100, 2), 2, *words(1)), 16, 3),
        ((16, *words(100, 0), 0), 16, 3),
    ],
)
def test_what_cannot_be_done_is_answered_with_an_exception(slave: Slave, request_bytes, function: int, code: int):
    before = dict(slave.words)
    assert answer(slave, frame(*request_bytes)) == frame(function | 0x80, code)
    assert slave.words == before


def test_several_registers_are_written_all_or_not_at_all(slave: Slave):
    before = dict(slave.words)
    assert answer(slave, frame(16, *words(108, 3), 6, *words(1, 2, 3))) == frame(0x90, 2)
    assert answer(slave, frame(16, *words(100, 2), 4, *words(5, 2000))) == frame(0x90, 3)
    assert slave.words == before


def test_a_wrong_checksum_and_another_address_are_not_answered(slave: Slave):
    good = frame(3, *words(100, 1))
    assert answer(slave, good[:-1] + bytes([good[-1] ^ 1])) == b""
    assert answer(slave, frame(3, *words(100, 1), address=18)) == b""
    assert answer(slave, b"") == b""


def test_a_broadcast_is_carried_out_without_a_reply(slave: Slave):
    assert answer(slave, frame(6, *words(100, 42), address=0)) == b""
    assert slave.words[100] == 42


def test_frames_of_known_functions_are_taken_as_soon_as_they_are_whole(slave: Slave):
    first, second = frame(3, *words(100, 1)), frame(16, *words(100, 2), 4, *words(5, 6))
    buffer, taken = bytearray(), []
    for byte in first + second:
        buffer.append(byte)
        taken.append(slave.take_message(buffer))
    assert taken == [None] * 7 + [first] + [None] * 12 + [second]


def test_a_frame_that_cannot_be_told_is_left_to_the_pause(slave: Slave):
    for data in (frame(7), b"\x11\x03garbage", frame(3, *words(100, 1))[:-1] + b"?"):
        buffer = bytearray(data)
        assert slave.take_message(buffer) is None
        assert buffer == data


@pytest.mark.parametrize(
    "value, word", [(0, 0), (25.04, 250), (-3.2, 0xFFE0), (3276.7, 0x7FFF), (9e9, 0x7FFF), (-9e9, 0x8000)]
)
def test_values_are_signed_words_with_implied_decimals(value: float, word: int):
    assert to_word(value, 1) == word
    if abs(value) < 3276:
        assert from_word(word, 1) == pytest.approx(value, abs=0.05)


@pytest.mark.parametrize("address", [0, 248])
def test_an_address_that_no_slave_may_have_is_refused(address: int):
    with pytest.raises(ValueError, match="address"):
        RtuSlave(name="slave", latency_s=0.001, address=address)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_frame_crashes_it(data: bytes, checked: bool):
    slave = Slave()
    message = b"\x11" + data
    reply = answer(slave, message + crc16(message) if checked else message)
    assert reply == b"" or crc16(reply[:-2]) == reply[-2:]
    assert all(word <= 1000 for word in slave.words.values())
