"""The simulated fibre laser: its words, its safety start, its status."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megabar.simulators.instruments.lasers.ipg_ylr import DEFINED, SimulatedIPGYLR
from megabar.simulators.noise import Noise
from megabar.simulators.worlds.laser_bench.world import LaserBench


class Clock:
    now = 10.0

    def monotonic(self) -> float:
        return self.now


def make(**parameters) -> SimulatedIPGYLR:
    world = LaserBench(1)
    world.close_gate(0.0, 1e9)
    return SimulatedIPGYLR(name="laser", world=world, clock=Clock(), noise=Noise(1, "laser"), **parameters)


@pytest.fixture
def laser() -> SimulatedIPGYLR:
    return make()


def ask(laser: SimulatedIPGYLR, message: str) -> str:
    reply = asyncio.run(laser.reply(message.encode()))
    assert reply.endswith(b"\r") and reply.count(b"\r") == 1
    return reply[:-1].decode("ascii")


def status(laser: SimulatedIPGYLR) -> int:
    return int(ask(laser, "STA").removeprefix("STA: ")) & DEFINED


def test_it_wakes_up_dark_with_modulation_on(laser):
    assert status(laser) == 1 << 12
    assert ask(laser, "ROP") == "ROP: Off"
    assert ask(laser, "RCS") == "RCS: 0.0"
    assert ask(laser, "RFV").startswith("RFV: ")


def test_emission_is_on_or_starting_for_three_seconds_and_then_on(laser):
    ask(laser, "SDC 30")
    assert ask(laser, "EMON") == "EMON"
    assert status(laser) == 1 << 12 | 1 << 2 | 1 << 15
    laser.clock.now += 2.999
    assert status(laser) & 1 << 15
    assert ask(laser, "ROP") == "ROP: Low"
    assert not laser.world.emitting(laser.clock.now)
    laser.clock.now += 0.002
    assert status(laser) == 4100  # the guide's example
    assert float(ask(laser, "ROP").removeprefix("ROP: ")) == pytest.approx(22.0, rel=0.2)
    assert ask(laser, "EMOFF") == "EMOFF"
    assert status(laser) == 1 << 12
    assert laser.world.output_power_w(laser.clock.now) == 0.0


def test_an_end_within_the_safety_start_is_an_end(laser):
    ask(laser, "EMON")
    laser.clock.now += 1.0
    ask(laser, "EMOFF")
    laser.clock.now += 5.0
    assert not laser.world.emitting(laser.clock.now)


def test_starting_twice_begins_nothing_anew(laser):
    ask(laser, "EMON")
    laser.clock.now += 2.0
    ask(laser, "EMON")
    laser.clock.now += 1.1
    assert laser.world.emitting(laser.clock.now)


def test_reserved_bits_are_in_any_state(laser):
    seen = [int(ask(laser, "STA").removeprefix("STA: ")) & ~DEFINED for _ in range(50)]
    assert len(set(seen)) > 40
    assert max(seen) < 1 << 32


def test_newer_units_tell_more_and_throw_less():
    words = [int(ask(make(newer=True), "STA").removeprefix("STA: ")) for _ in range(20)]
    assert all(word & 1 << 14 and word & 1 << 21 for word in words)
    assert not any(word & (1 << 10 | 1 << 29 | 1 << 30) for word in words)


@pytest.mark.parametrize(
    "text, reply", [("SDC 12.5", "SDC: 12.5"), ("sdc 12.5", "SDC: 12.5"), ("SDC12.5", "SDC: 12.5")]
)
def test_case_and_the_blank_do_not_matter(laser, text: str, reply: str):
    assert ask(laser, text) == reply
    assert ask(laser, "rcs") == "RCS: 12.5"


@pytest.mark.parametrize("text", ["SDC 100.1", "SDC -1", "SFWS 0.1", "SFWS 5.1"])
def test_values_out_of_range_are_refused(laser, text: str):
    assert ask(laser, text).lower() == "err: out of range"
    assert ask(laser, "RCS") == "RCS: 0.0"


@pytest.mark.parametrize(
    "text", ["", "?", "SDC", "SDC x", "SDC 1 2", "STA 1", "EMON 1", "*IDN?", "EMONS", "SDC nan", "SDC inf"]
)
def test_what_is_not_understood_is_an_error(laser, text: str):
    assert ask(laser, text).startswith("ERR: ")
    assert status(laser) == 1 << 12


@pytest.mark.parametrize("text", ["EMOD", "DMOD", "EEC", "DEC"])
def test_modes_do_not_change_while_it_emits(laser, text: str):
    ask(laser, "EMON")
    assert ask(laser, text) == "ERR: Emission is on"
    ask(laser, "EMOFF")
    assert ask(laser, text) == text


def test_without_modulation_the_gate_has_no_say():
    laser = make(modulation=False)
    laser.world.open_gate(10.0)
    ask(laser, "EMON")
    assert laser.world.emitting(20.0)
    assert status(laser) == 1 << 2 | 1 << 15
    ask(laser, "EMOFF")
    ask(laser, "EMOD")
    laser.clock.now = 30.0
    ask(laser, "EMON")
    assert not laser.world.emitting(40.0)


def test_a_power_supply_that_is_off_starts_nothing():
    laser = make(fault_bits=1 << 11)
    assert ask(laser, "EMON").startswith("ERR: ")
    assert status(laser) == 1 << 12 | 1 << 11


def test_readings_scatter_about_what_the_monitor_sees(laser):
    ask(laser, "SDC 30")
    ask(laser, "EMON")
    laser.clock.now += 5.0
    readings = [float(ask(laser, "ROP").removeprefix("ROP: ")) for _ in range(200)]
    monitor_w = laser.world.monitor_power_w(laser.clock.now)
    assert sum(readings) / 200 == pytest.approx(monitor_w, rel=0.002)
    assert 0.05 < max(readings) - min(readings) < 0.06 * monitor_w


def test_aiming_beam_filter_and_diode_current(laser):
    assert ask(laser, "ABN") == "ABN"
    assert status(laser) & 1 << 8
    assert ask(laser, "ABF") == "ABF"
    assert ask(laser, "SFWS 1.0") == "SFWS: 1.0"
    assert ask(laser, "RFWS") == "RFWS: 1.0"
    ask(laser, "SDC 50")
    assert ask(laser, "RDC") == "RDC: 0.00"
    ask(laser, "EMON")
    laser.clock.now += 4.0
    assert ask(laser, "RDC") == "RDC: 5.50"
    assert ask(laser, "RERR") == "RERR"


def taken(laser: SimulatedIPGYLR, data: bytes, pieces: list[int]) -> list[bytes]:
    """The messages in `data`, delivered in pieces."""
    buffer, messages, start = bytearray(), [], 0
    for end in [*sorted(pieces), len(data)]:
        buffer += data[start:end]
        start = max(start, end)
        while (message := laser.take_message(buffer)) is not None:
            messages.append(message)
    return messages


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["STA", "ROP", "SDC 3.0", "x", ""]), max_size=8), st.lists(st.integers(0, 60), max_size=5)
)
def test_messages_are_the_same_however_they_are_cut(texts: list[str], pieces: list[int]):
    data = "".join(text + "\r" for text in texts).encode()
    cut = [piece for piece in pieces if piece <= len(data)]
    assert taken(make(), data, cut) == [text.encode() for text in texts]


def test_of_an_endless_message_only_an_error_remains(laser):
    messages = taken(laser, b"A" * 10_000 + b"\rSTA\r", [300, 5000])
    assert len(messages) == 2 and messages[1] == b"STA"
    assert ask(laser, messages[0].decode()).startswith("ERR: ")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80).filter(lambda data: b"\r" not in data))
def test_every_message_is_answered_by_one_line_and_none_starts_emission_by_chance(data: bytes):
    laser = make()
    reply = asyncio.run(laser.reply(data))
    assert reply.endswith(b"\r") and reply.count(b"\r") == 1 and reply.isascii()
    if data.strip().upper() != b"EMON":
        assert not laser.world.emitting(laser.clock.now + 10.0)
