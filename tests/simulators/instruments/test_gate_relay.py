"""The simulated relay module: coils, pulses, and the gate in the world."""

import asyncio
import struct

import pytest

from megabar.simulators.instruments.lasers.gate_relay import SimulatedGateRelay
from megabar.simulators.noise import Noise
from megabar.simulators.wire.modbus import crc16


class Clock:
    now = 10.0

    def monotonic(self) -> float:
        return self.now


class World:
    """Remembers until when the gate was closed last."""

    def __init__(self) -> None:
        self.done: list[tuple] = []

    def close_gate(self, t: float, until_s: float) -> None:
        self.done.append(("closed", t, until_s))

    def open_gate(self, t: float) -> None:
        self.done.append(("open", t))


def make(**parameters) -> SimulatedGateRelay:
    return SimulatedGateRelay(name="relay", world=World(), clock=Clock(), noise=Noise(1, "relay"), **parameters)


@pytest.fixture
def relay() -> SimulatedGateRelay:
    return make()


def transact(relay: SimulatedGateRelay, function: int, first: int, second: int) -> bytes:
    body = struct.pack(">BBHH", 1, function, first, second)
    reply = asyncio.run(relay.reply(body + crc16(body)))
    assert crc16(reply[:-2]) == reply[-2:]
    return reply[1:-2]


def coils(relay: SimulatedGateRelay) -> int:
    reply = transact(relay, 1, 0, 8)
    assert reply[:2] == b"\x01\x01"
    return reply[2]


def test_it_wakes_up_open_and_touches_nothing(relay):
    assert coils(relay) == 0
    assert relay.world.done == []


def test_relays_close_open_and_toggle(relay):
    assert transact(relay, 5, 0, 0xFF00) == b"\x05\x00\x00\xff\x00"
    assert transact(relay, 5, 2, 0xFF00)[0] == 5
    assert coils(relay) == 0b101
    assert transact(relay, 5, 0, 0x0000)[0] == 5
    assert transact(relay, 5, 7, 0x5500)[0] == 5
    assert coils(relay) == 0b10000100
    assert relay.world.done == [("closed", 10.0, float("inf")), ("open", 10.0)]


def test_a_pulse_ends_by_itself(relay):
    assert transact(relay, 5, 0x0200, 25) == b"\x05\x02\x00\x00\x19"
    assert relay.world.done == [("closed", 10.0, 12.5)]
    relay.clock.now = 12.49
    assert coils(relay) == 1
    relay.clock.now = 12.5
    assert coils(relay) == 0


@pytest.mark.parametrize("retriggers, opens_at", [(True, 12.0), (False, 11.0)])
def test_a_pulse_within_a_pulse_begins_anew_if_the_module_does_so(retriggers: bool, opens_at: float):
    relay = make(retriggers=retriggers)
    transact(relay, 5, 0x0200, 10)
    relay.clock.now = 11.0 - 1e-9
    transact(relay, 5, 0x0200, 10)
    relay.clock.now = opens_at - 0.001
    assert coils(relay) == 1
    relay.clock.now = opens_at + 0.001
    assert coils(relay) == 0
    transact(relay, 5, 0x0200, 10)
    assert coils(relay) == 1


def test_opening_ends_a_pulse(relay):
    transact(relay, 5, 0x0200, 100)
    transact(relay, 5, 0, 0)
    relay.clock.now = 15.0
    assert coils(relay) == 0
    assert relay.world.done[-1] == ("open", 10.0)


def test_flash_off_closes_again(relay):
    transact(relay, 5, 0, 0xFF00)
    transact(relay, 5, 0x0400, 10)
    assert coils(relay) == 0
    relay.clock.now = 11.0
    assert coils(relay) == 1


def test_only_its_channel_is_the_gate():
    relay = make(channel=2)
    transact(relay, 5, 0x0200, 10)
    assert relay.world.done == []
    transact(relay, 5, 0x0201, 10)
    assert relay.world.done == [("closed", 10.0, 11.0)]


@pytest.mark.parametrize(
    "function, first, second, code",
    [
        (5, 8, 0xFF00, 2),
        (5, 0x0208, 10, 2),
        (5, 0x0300, 10, 2),
        (5, 0, 1, 3),
        (5, 0x0200, 0, 3),
        (5, 0x0200, 0x8000, 3),
        (1, 0, 0, 3),
        (1, 0, 9, 2),
        (1, 0, 2001, 3),
        (3, 0, 1, 2),
        (6, 0, 1, 2),
        (7, 0, 0, 1),
    ],
)
def test_what_cannot_be_done_is_answered_with_an_exception(relay, function: int, first: int, second: int, code: int):
    assert transact(relay, function, first, second) == bytes([function | 0x80, code])
    assert coils(relay) == 0 and relay.world.done == []


def test_it_tells_its_version(relay):
    assert transact(relay, 3, 0x8000, 1) == b"\x03\x02\x00\xc8"


@pytest.mark.parametrize("channel", [0, 9])
def test_a_channel_that_is_not_there_is_refused(channel: int):
    with pytest.raises(ValueError, match="channel"):
        make(channel=channel)
