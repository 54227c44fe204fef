"""Which messages may pass, message by message: whatever bytes come, what passes is declared and within its limits."""

import itertools
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megabar.acquisition.guard import words
from megabar.acquisition.guard.words import BURST_S, Lines, Rtu, checksum, holds

VOLTS = {"name": "volts", "head": "VOLT ", "tail": "", "low": 0.0, "high": 40.0}
LINE = {
    "terminator": "\n",
    "answers_all": False,
    "refusal": "no",
    "identity": {"ask": b"*IDN?\n".hex(), "expect": "FAKE"},
    "reads": [b"KRDG? A\n".hex()],
    "commands": [
        {"name": "on", "exact": b"OUTP ON\n".hex()},
        {"name": "zero", "exact": b"VOLT 0\n".hex()},
        VOLTS,
        {"name": "shown", "head": "SHOW(", "tail": ")", "low": 1.0, "high": 2.0},
    ],
}
TOKENS = [
    b"VOLT ",
    b"OUTP ON",
    b"SHOW(",
    b")",
    b"KRDG? A",
    b"*IDN?",
    b"SYST:BOOM",
    b"?",
    b";",
    b"\n",
    b"\r",
    b":",
    b" ",
]
TOKENS += [b"40", b"41", b"-1", b"1.5", b"1_0", b"nan", b"inf", b"1e9", b"1e-3", b"\0", b"\xff", b"A", b"*"]
TEXT = st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6)), max_size=12).map(b"".join)
PASSES = re.compile(rb" *[:*]?[A-Za-z0-9_][A-Za-z0-9_:]*\? *|KRDG\? A|OUTP ON|VOLT ([-+.0-9eE]+)|SHOW\(([-+.0-9eE]+)\)")


def may_pass(message: bytes) -> bool:
    """The same judgement, in other words."""
    for part in message.removesuffix(b"\n").split(b";"):
        found = PASSES.fullmatch(part)
        if found is None:
            return False
        if found[1] is not None and not 0 <= float(found[1]) <= 40:
            return False
        if found[2] is not None and not 1 <= float(found[2]) <= 2:
            return False
    return True


def check_text(chunks: list[bytes]) -> None:
    lines, buffer = Lines(LINE), bytearray()
    for chunk in chunks:
        buffer += chunk
        while (message := lines.take(buffer)) is not None:
            assert message.endswith(b"\n") and message.count(b"\n") == 1
            if not lines.judge(message).refused:
                assert may_pass(message), message


@given(st.lists(TEXT, max_size=8))
@settings(max_examples=200, deadline=None)
def test_text_that_passes_is_declared(chunks) -> None:
    check_text(chunks)


@pytest.mark.soak
@given(st.lists(TEXT, max_size=8))
@settings(max_examples=10_000, deadline=None)
def test_much_text_that_passes_is_declared(chunks) -> None:
    check_text(chunks)


def check_frames(chunks: list[bytes]) -> None:
    rtu, buffer = Rtu(RTU), bytearray()
    for chunk in chunks:
        buffer += chunk
        while (message := rtu.take(buffer)) is not None:
            assert checksum(message[:-2]) == message[-2:]
            if rtu.judge(message).refused:
                assert rtu.refusal(message)[1] == message[1] | 0x80
            else:
                unit, function, address, counts = struct.unpack(">BBHh", message[:6])
                assert len(message) == 8
                setpoint = (unit, function, address) == (1, 6, 2) and -200 <= counts <= 5000
                assert function in (1, 2, 3, 4) or message == ON or setpoint, message.hex()


def closed(body: bytes) -> bytes:
    return body + checksum(body)


ON = closed(b"\x01\x05\x00\x00\xff\x00")
READ = closed(b"\x01\x01\x00\x00\x00\x01")
SETPOINT = {"name": "setpoint", "function": 6, "address": 2, "scale": 10.0, "signed": True, "low": -20.0, "high": 500.0}
RTU = {
    "ways": {"off": {"actions": [{"seen": [{"ask": READ.hex()}]}]}},
    "reads": [],
    "commands": [{"name": "on", "exact": ON.hex()}, SETPOINT],
}
FRAME = st.builds(
    lambda unit, function, address, counts, more: closed(struct.pack(">BBHh", unit, function, address, counts) + more),
    st.integers(0, 2),
    st.integers(0, 20),
    st.integers(0, 4),
    st.integers(-300, 6000),
    st.one_of(st.just(b""), st.binary(max_size=9)),
)
FRAMES = st.lists(st.one_of(FRAME, st.just(ON), st.binary(max_size=10)), max_size=8)


@given(FRAMES)
@settings(max_examples=200, deadline=None)
def test_frame_that_passes_is_declared(chunks) -> None:
    check_frames(chunks)


@pytest.mark.soak
@given(FRAMES)
@settings(max_examples=10_000, deadline=None)
def test_much_that_passes_as_frames_is_declared(chunks) -> None:
    check_frames(chunks)


@pytest.mark.parametrize(
    "message",
    ["VOLT 5", "VOLT 40;OUTP ON", "VOLT?", "*IDN?;VOLT?", "SOUR:VOLT?;:SYST:ERR?", "KRDG? A", "SHOW(1.5)", "VOLT 1e1"],
)
def test_declared(message) -> None:
    assert not Lines(LINE).judge(f"{message}\n".encode()).refused


BEYOND = ["VOLT 41", "VOLT -1", "VOLT nan", "VOLT inf", "VOLT 1_0", "VOLT 5 ", "SHOW(3)"]
UNKNOWN = ["volt 5", "SYST:BOOM", "VOLT 5;SYST:BOOM", "BOOM 1?", "KRDG? B", "SOUR:X?;VOLT 5"]
STRANGE = ["", ";", "OUTP ON\rX?", "OUTP ON\0", "OUTP  ON"]


@pytest.mark.parametrize("message", [*BEYOND, *UNKNOWN, *STRANGE])
def test_not_declared(message) -> None:
    assert Lines(LINE).judge(f"{message}\n".encode()).refused


@pytest.mark.parametrize(
    "body", ["000600020010", "020600020010", "010600030010", "01060002ffff0000", "011000020001020010"]
)
def test_other_units_registers_and_functions_are_not_declared(body) -> None:
    assert Rtu(RTU).judge(closed(bytes.fromhex(body))).refused


def test_the_end_of_a_message_that_is_too_long_is_no_message() -> None:
    lines, buffer = Lines(LINE), bytearray()
    for chunk in (b"DISP '" + b"x" * 5000, b"OUTP ON\n"):
        buffer += chunk
        message = lines.take(buffer)
    assert message is not None
    assert lines.judge(message).refused


@pytest.fixture
def clock(monkeypatch):
    moment = [100.0]
    monkeypatch.setattr(words, "now", lambda: moment[0])
    return moment


def limited(rate: float = 10.0) -> Lines:
    volts = VOLTS | {"rate_per_s": rate}
    return Lines(LINE | {"commands": [*LINE["commands"][:2], volts]})


def passes(lines: Lines, message: str) -> bool:
    judgement = lines.judge(f"{message}\n".encode())
    if not judgement.refused:
        lines.limits.passed(judgement)
    return not judgement.refused


def test_a_pause_earns_no_large_step(clock) -> None:
    lines = limited()
    assert passes(lines, "VOLT 10")
    clock[0] += 3600.0
    assert not passes(lines, "VOLT 30")
    assert passes(lines, "VOLT 20")
    assert not passes(lines, "VOLT 30")
    assert passes(lines, "VOLT 5")


def test_after_a_safe_command_it_rises_from_there(clock) -> None:
    lines = limited()
    for volts in (10, 20, 30):
        clock[0] += 1.0
        assert passes(lines, f"VOLT {volts}")
    assert passes(lines, "VOLT 0")
    assert not passes(lines, "VOLT 30")


def test_what_was_judged_and_not_sent_does_not_count(clock) -> None:
    lines = limited()
    assert not lines.judge(b"VOLT 12\n").refused
    assert passes(lines, "VOLT 1")
    assert not passes(lines, "VOLT 20")


@pytest.mark.row(20)
@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 40.0)), max_size=30))
@settings(max_examples=200, deadline=None)
def test_no_trajectory_rises_faster_than_its_rate(steps) -> None:
    moment, sent = 0.0, [(0.0, 0.0)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "now", lambda: moment)
        lines = limited()
        for pause, value in steps:
            moment += pause
            if passes(lines, f"VOLT {value:.6f}"):
                sent.append((moment, value))
    for (then, low), (later, high) in itertools.combinations(sent, 2):
        assert high - low <= 10.0 * (1.05 * (later - then) + BURST_S) + 1e-3


@pytest.mark.parametrize(
    ("value", "mask"), [(float("nan"), 0), (float("nan"), 4), (float("inf"), 4), (float("inf"), 0)]
)
def test_what_is_no_number_never_holds(value, mask) -> None:
    assert not holds(value, {"low": float("-inf"), "high": float("inf"), "mask": mask})
    assert holds(0.0, {"low": float("-inf"), "high": float("inf"), "mask": mask})
