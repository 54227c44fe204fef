"""The simulated pressure controller: what it answers, read by the formats of EPICS, and what the gas does."""

import asyncio
import math
import re
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megabar.simulators.instruments.pressure_controllers.pace5000 import UNITS, SimulatedPACE5000
from megabar.simulators.noise import Noise

AMPLITUDE = ":SOUR:PRES:LEV:IMM:AMPL"
FORMATS = {
    ":UNIT:PRES?": ":UNIT:PRES %s",
    ":OUTP:STAT?": ":OUTP:STAT %d",
    ":SOUR:PRES:SLEW:MODE?": ":SOUR:PRES:SLEW:MODE %s",
    ":SOUR:PRES:SLEW?": ":SOUR:PRES:SLEW %f",
    ":SOUR:PRES:EFF?": ":SOUR:PRES:EFF %f",
    ":SENS:PRES?": ":SENS:PRES %f",
    ":SOUR:PRES:LEV:IMM:AMPL?": ":SOUR:PRES:LEV:IMM:AMPL %f",
    ":SOUR:PRES:LEV:IMM:AMPL:VENT?": ":SOUR:PRES:LEV:IMM:AMPL:VENT %d",
    ":SYST:ERR?": ":SYST:ERR %80c",
    "*IDN?": "*IDN %80c",
}
"""What the protocol file of the EPICS module `ip` asks, and the StreamDevice format by which it reads the reply."""
SETTINGS = [
    (":UNIT:PRES MPA", ":UNIT:PRES?", "MPA"),
    (":OUTP:STAT 1", ":OUTP:STAT?", 1),
    (":SOUR:PRES:SLEW:MODE LIN", ":SOUR:PRES:SLEW:MODE?", "LIN"),
    (":SOUR:PRES:SLEW 0.500000", ":SOUR:PRES:SLEW?", 0.5),
    (f"{AMPLITUDE} 12.500000", f"{AMPLITUDE}?", 12.5),
    (f"{AMPLITUDE}:VENT 1", f"{AMPLITUDE}:VENT?", 1),
]
"""What that file sets, `%f` and `%d` filled in as StreamDevice does, and what it reads back."""


class Clock:
    now = 10.0

    def monotonic(self) -> float:
        return self.now


class World:
    """A membrane that leaks 0.01 bar/s, and keeps what it is told."""

    def __init__(self) -> None:
        self.ways: list[tuple[float, float, float, float]] = []

    def set_membrane(self, t: float, bar: float, target_bar: float, bar_per_s: float) -> None:
        self.ways.append((t, bar, target_bar, bar_per_s))

    def membrane_leak_bar_per_s(self, t: float) -> float:
        return 0.01

    def bar(self, t: float) -> float:
        """The pressure, by the last word on it."""
        since, bar, target_bar, bar_per_s = self.ways[-1]
        return bar + math.copysign(min(abs(target_bar - bar), bar_per_s * (t - since)), target_bar - bar)


def make(**parameters) -> SimulatedPACE5000:
    return SimulatedPACE5000(name="pace", world=World(), clock=Clock(), noise=Noise(1, "pace"), **parameters)


@pytest.fixture
def pace() -> SimulatedPACE5000:
    return make()


def tell(pace: SimulatedPACE5000, *messages: str) -> None:
    for message in messages:
        assert asyncio.run(pace.reply(message.encode())) == b""


def ask(pace: SimulatedPACE5000, question: str) -> str:
    reply = asyncio.run(pace.reply(question.encode()))
    assert reply.endswith(b"\r\n") and reply.count(b"\r\n") == 1
    return reply[:-2].decode("ascii")


def scanned(format: str, reply: str) -> float | str:
    """The value that StreamDevice takes of a reply; it must be the whole reply."""
    head, kind = re.fullmatch(r"(.* )%(80c|[sdf])", format).groups()
    pattern = {"s": r"\S+", "d": r"[-+]?\d+", "f": r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", "80c": r".{1,80}"}[kind]
    found = re.fullmatch(re.escape(head) + f"({pattern})", reply)
    assert found, f"{reply!r} is not read by {format!r}"
    return {"f": float, "d": int}.get(kind, str)(found[1])


def pressure(pace: SimulatedPACE5000) -> float:
    return scanned(":SENS:PRES %f", ask(pace, ":SENS:PRES?"))


def in_limits(pace: SimulatedPACE5000) -> bool:
    value, flag = re.fullmatch(r":SENS:PRES:INL (\S+), ([01])", ask(pace, ":SENS:PRES:INL?")).groups()
    assert float(value) == pytest.approx(pace.pressure_bar(), abs=0.02)
    return flag == "1"


def vent(pace: SimulatedPACE5000) -> int:
    return scanned(FORMATS[f"{AMPLITUDE}:VENT?"], ask(pace, f"{AMPLITUDE}:VENT?"))


def error(pace: SimulatedPACE5000) -> int:
    return int(ask(pace, ":SYST:ERR?").removeprefix(":SYST:ERR ").partition(",")[0])


def ramp(pace: SimulatedPACE5000, bar: float, bar_per_s: float = 0.5) -> None:
    tell(pace, ":SOUR:PRES:SLEW:MODE LIN", f":SOUR:PRES:SLEW {bar_per_s}", f"{AMPLITUDE} {bar}", ":OUTP:STAT 1")


@pytest.mark.parametrize("question", FORMATS)
def test_epics_reads_every_reply(pace, question: str):
    scanned(FORMATS[question], ask(pace, question))


@pytest.mark.parametrize("command, question, value", SETTINGS)
def test_epics_reads_back_what_it_sets(pace, command: str, question: str, value: float | str):
    ramp(pace, 5.0)
    pace.clock.now += 20.0
    tell(pace, command)
    assert scanned(FORMATS[question], ask(pace, question)) == value
    assert error(pace) == 0


def test_the_formats_tell_replies_apart(pace):
    replies = {question: ask(pace, question) for question in FORMATS}
    for question, format in FORMATS.items():
        for other, reply in replies.items():
            if other != question:
                with pytest.raises(AssertionError, match="is not read"):
                    scanned(format, reply)


def test_on_the_serial_line_a_nul_comes_first_and_a_carriage_return_last():
    assert asyncio.run(make(wire="serial").reply(b":OUTP:STAT?")) == b"\0:OUTP:STAT 0\r"
    assert asyncio.run(make(wire="serial").reply(b":OUTP:STAT 1")) == b""


@pytest.mark.parametrize(
    "question, reply",
    [
        (":OUTP?", ":OUTP:STAT 0"),
        (":SOUR:PRES?", f"{AMPLITUDE} 0.0000000"),
        ("sour:pres:lev:imm:ampl?", f"{AMPLITUDE} 0.0000000"),
        (":SOURce:PRESsure:SLEW?", ":SOUR:PRES:SLEW 1.0000000"),
        (":SOUR:VENT?", f"{AMPLITUDE}:VENT 0"),
        ("*STB?", "*STB 0"),
    ],
)
def test_the_header_is_that_of_the_manual_whatever_of_it_was_asked(pace, question: str, reply: str):
    assert ask(pace, question) == reply


def test_control_follows_its_rate_and_the_world_is_told(pace):
    ramp(pace, 10.0)
    start = pace.clock.now
    for t in (0.0, 3.0, 10.0, 19.9, 20.1, 500.0):
        pace.clock.now = start + t
        assert pressure(pace) == pytest.approx(min(10.0, 0.5 * t), abs=0.01)
        assert pace.world.bar(pace.clock.now) == pytest.approx(pace.pressure_bar(), abs=1e-12)
    tell(pace, f"{AMPLITUDE} 4")
    pace.clock.now += 4.0
    assert pressure(pace) == pytest.approx(8.0, abs=0.01)


def test_a_set_point_during_a_ramp_goes_on_from_there(pace):
    ramp(pace, 100.0)
    pace.clock.now += 20.0
    tell(pace, f"{AMPLITUDE} 10.0")
    pace.clock.now += 60.0
    assert pace.pressure_bar() == 10.0
    assert all(abs(bar - pace.world.ways[-1][1]) < 20.0 for _, bar, *_ in pace.world.ways)


def test_as_delivered_it_goes_as_fast_as_it_can(pace):
    tell(pace, f"{AMPLITUDE} 100", ":OUTP:STAT ON")
    pace.clock.now += 5.0
    assert pace.pressure_bar() == 100.0


def test_the_flag_comes_when_the_pressure_has_been_in_its_band_for_its_time(pace):
    ramp(pace, 10.0)
    flags = []
    for _ in range(2300):
        pace.clock.now += 0.01
        flags.append(in_limits(pace))
    first = 0.01 * (1 + flags.index(True))
    assert first == pytest.approx(20.0 - 0.0211 / 0.5 + 2.0, abs=0.011)
    assert all(flags[flags.index(True) :])
    tell(pace, f"{AMPLITUDE} 11")
    assert not in_limits(pace)
    tell(pace, ":SOUR:PRES:INL:TIME 30", ":SOUR:PRES:INL 1")
    pace.clock.now += 25.0
    assert not in_limits(pace)
    pace.clock.now += 10.0
    assert in_limits(pace)


def test_control_off_is_no_control(pace):
    ramp(pace, 10.0)
    pace.clock.now += 10.0
    tell(pace, ":OUTP:STAT 0")
    pace.clock.now += 100.0
    assert pressure(pace) == pytest.approx(4.0, abs=0.01)  # five bar, less a leak of 0.01 bar/s
    assert not in_limits(pace) and ask(pace, ":SOUR:PRES:EFF?") == ":SOUR:PRES:EFF 0.0000000"
    tell(pace, f"{AMPLITUDE} 50")
    pace.clock.now += 100.0
    assert pressure(pace) == pytest.approx(3.0, abs=0.01)
    assert pace.world.bar(pace.clock.now) == pytest.approx(pace.pressure_bar())


def test_a_vent_overrides_control(pace):
    ramp(pace, 10.0)
    pace.clock.now += 30.0
    tell(pace, f"{AMPLITUDE}:VENT 1")
    assert (vent(pace), ask(pace, ":OUTP:STAT?")) == (1, ":OUTP:STAT 0")
    tell(pace, ":OUTP:STAT 1")
    assert error(pace) == -221 and ask(pace, ":OUTP:STAT?") == ":OUTP:STAT 0"
    pace.clock.now += 0.5
    assert pressure(pace) == pytest.approx(5.0, abs=0.01)
    pace.clock.now += 0.6
    assert vent(pace) == 2 and pace.pressure_bar() < 0.02
    tell(pace, ":OUTP:STAT 1")
    assert vent(pace) == 0


def test_a_vent_that_is_stopped_leaves_the_rest(pace):
    ramp(pace, 20.0)
    pace.clock.now += 50.0
    tell(pace, f"{AMPLITUDE}:VENT 1")
    pace.clock.now += 1.0
    tell(pace, f"{AMPLITUDE}:VENT 0")
    assert vent(pace) == 4
    pace.clock.now += 1.0
    assert pressure(pace) == pytest.approx(10.0, abs=0.03)
    tell(pace, f"{AMPLITUDE}:VENT 0")
    assert vent(pace) == 0


def test_older_firmware_never_forgets_a_vent():
    pace = make(latching=True, initial_bar=5.0)
    tell(pace, f"{AMPLITUDE}:VENT 1")
    pace.clock.now += 5.0
    assert vent(pace) == 3
    tell(pace, f"{AMPLITUDE}:VENT 0", ":OUTP:STAT 1")
    assert vent(pace) == 3 and ask(pace, ":OUTP:STAT?") == ":OUTP:STAT 1"


def test_the_supply_limits(pace):
    pace = make(supply_bar=30.0)
    ramp(pace, 50.0)
    pace.clock.now += 500.0
    assert pressure(pace) == pytest.approx(28.0, abs=0.01) and not in_limits(pace)
    assert scanned(":SOUR:PRES:EFF %f", ask(pace, ":SOUR:PRES:EFF?")) == 100.0
    assert ask(pace, ":SOUR:PRES:COMP1?") == ":SOUR:PRES:COMP1 30.0000000"


@pytest.mark.parametrize(
    "message, code",
    [
        (f"{AMPLITUDE} 211", -222),
        (f"{AMPLITUDE} -2", -222),
        (":SOUR:PRES:SLEW 0", -222),
        (":SOUR:PRES:SLEW 21", -222),
        (":UNIT:PRES FURLONG", -224),
        (":SOUR:PRES:SLEW:MODE FAST", -224),
        (f"{AMPLITUDE} nan", -104),
        (f"{AMPLITUDE}:VENT 2", -222),
        ("FRED", -113),
        (f"{AMPLITUDE}", -109),
    ],
)
def test_what_it_does_not_take_is_in_the_error_queue_and_changes_nothing(pace, message: str, code: int):
    ramp(pace, 10.0)
    pace.clock.now += 30.0
    n = len(pace.world.ways)
    tell(pace, message)
    assert (error(pace), error(pace)) == (code, 0)
    assert len(pace.world.ways) == n and pace.pressure_bar() == 10.0


def test_numbers_are_in_the_unit_that_is_selected(pace):
    ramp(pace, 10.0)
    pace.clock.now += 30.0
    for name, per_bar in UNITS.items():
        tell(pace, f":UNIT:PRES {name}")
        assert pressure(pace) == pytest.approx(10.0 * per_bar, rel=1e-3)
        assert scanned(":SOUR:PRES:SLEW %f", ask(pace, ":SOUR:PRES:SLEW?")) == pytest.approx(0.5 * per_bar, rel=1e-5)
    tell(pace, ":UNIT:PRES PSI", f"{AMPLITUDE} 290.075476")
    pace.clock.now += 100.0
    assert pace.pressure_bar() == pytest.approx(20.0, abs=1e-6)
    assert UNITS["PSI"] == pytest.approx(14.503774) and UNITS["KG/CM2"] == pytest.approx(1.0197162)


def test_readings_scatter_about_the_pressure(pace):
    ramp(pace, 10.0)
    pace.clock.now += 30.0
    readings = [pressure(pace) for _ in range(500)]
    assert statistics.mean(readings) == pytest.approx(10.0, abs=0.0005)
    assert statistics.stdev(readings) == pytest.approx(0.002, rel=0.1)


def test_the_default_state_is_restored(pace):
    ramp(pace, 10.0)
    pace.clock.now += 30.0
    tell(pace, "*RST")
    assert ask(pace, ":OUTP:STAT?") == ":OUTP:STAT 0" and ask(pace, f"{AMPLITUDE}?") == f"{AMPLITUDE} 0.0000000"
    pace.clock.now += 10.0
    assert pressure(pace) == pytest.approx(9.9, abs=0.01)


COMMANDS = st.sampled_from(
    [f"{AMPLITUDE} {bar}" for bar in (0, 20, 80, 200)]
    + [":OUTP:STAT 1", ":OUTP:STAT 0", f"{AMPLITUDE}:VENT 1", f"{AMPLITUDE}:VENT 0"]
    + [":SOUR:PRES:SLEW 1", ":SOUR:PRES:SLEW 0.1", ":SOUR:PRES:SLEW:MODE LIN", ":SOUR:PRES:SLEW:MODE MAX", "*RST"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(COMMANDS, st.floats(0.0, 30.0)), max_size=12))
def test_the_pressure_never_jumps_and_world_and_controller_agree(steps: list[tuple[str, float]]):
    pace = make(supply_bar=100.0)
    before = pace.pressure_bar()
    for command, wait_s in steps:
        tell(pace, command)
        assert pace.pressure_bar() == pytest.approx(before, abs=1e-9)
        pace.clock.now += wait_s
        before = pace.pressure_bar()
        assert 0.0 <= before <= 98.0 + 1e-9
        assert pace.world.bar(pace.clock.now) == pytest.approx(before, abs=1e-9)
