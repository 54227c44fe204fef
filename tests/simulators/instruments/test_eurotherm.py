"""The simulated temperature controller."""

import asyncio
import struct

import pytest

from megabar.simulators.instruments.furnaces.eurotherm import SimulatedEurotherm3504
from megabar.simulators.noise import Noise
from megabar.simulators.wire.modbus import crc16, from_word


class World:
    """Remembers what the controller did to it."""

    def __init__(self) -> None:
        self.done: list[tuple] = []
        self.celsius, self.working, self.percent, self.broken = 25.0, 25.0, 0.0, False

    def controller_celsius(self, t: float) -> float:
        return self.celsius

    def working_setpoint_c(self, t: float) -> float:
        return self.working

    def output_percent(self, t: float) -> float:
        return self.percent

    def sensor_break(self, t: float) -> bool:
        return self.broken

    def set_furnace(self, t: float, target_c: float, ramp_k_per_min: float) -> None:
        self.done.append(("control", t, target_c, ramp_k_per_min))

    def set_furnace_manual(self, t: float, output_percent: float) -> None:
        self.done.append(("fix", t, output_percent))

    def heater_off(self, t: float) -> None:
        self.done.append(("off", t))


class Clock:
    now = 10.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def furnace(world: World) -> SimulatedEurotherm3504:
    return SimulatedEurotherm3504(name="furnace", world=world, clock=Clock(), noise=Noise(1, "furnace"))


def transact(furnace: SimulatedEurotherm3504, function: int, first: int, second: int) -> bytes:
    body = struct.pack(">BBHH", 1, function, first, second)
    reply = asyncio.run(furnace.reply(body + crc16(body)))
    assert crc16(reply[:-2]) == reply[-2:]
    return reply[1:-2]


def read(furnace: SimulatedEurotherm3504, register: int) -> float:
    reply = transact(furnace, 3, register, 1)
    assert reply[:2] == b"\x03\x02"
    return from_word(struct.unpack(">H", reply[2:])[0], 1)


def write(furnace: SimulatedEurotherm3504, register: int, value: float) -> bool:
    """Whether the write was taken."""
    return transact(furnace, 6, register, round(value * 10) & 0xFFFF)[0] == 6


def select(furnace: SimulatedEurotherm3504, mode: int) -> bool:
    return transact(furnace, 6, 273, mode)[0] == 6


def test_it_wakes_up_in_manual_with_no_output_and_touches_nothing(furnace, world):
    assert transact(furnace, 3, 273, 1) == b"\x03\x02\x00\x01"
    assert read(furnace, 3) == read(furnace, 4) == 0.0
    assert world.done == []


def test_its_identity_is_that_of_a_3504(furnace):
    assert transact(furnace, 3, 122, 1) == b"\x03\x02\xe4\x40"


def test_values_have_one_decimal(furnace, world):
    world.celsius, world.working, world.percent = 812.34, 815.0, 41.26
    reply = transact(furnace, 4, 1, 5)
    process, target, manual, output, working = (from_word(w, 1) for w in struct.unpack(">5H", reply[2:]))
    assert process == pytest.approx(812.3, abs=0.3)
    assert (target, manual, output, working) == (0.0, 0.0, 41.3, 815.0)


def test_the_process_value_scatters_by_what_the_input_adds(furnace, world):
    world.celsius = 500.0
    readings = [read(furnace, 1) for _ in range(200)]
    assert 499.7 < min(readings) < max(readings) < 500.3
    assert len(set(readings)) > 1


def test_a_target_waits_for_automatic_and_is_then_approached_at_the_rate(furnace, world):
    assert write(furnace, 35, 50.0) and write(furnace, 2, 900.0)
    assert world.done == []
    assert select(furnace, 0)
    assert world.done == [("control", 10.0, 900.0, 50.0)]
    furnace.clock.now = 20.0
    assert write(furnace, 2, 1000.0)
    assert write(furnace, 35, 20.0)
    assert world.done[1:] == [("control", 20.0, 1000.0, 50.0), ("control", 20.0, 1000.0, 20.0)]
    assert (read(furnace, 2), read(furnace, 35)) == (1000.0, 20.0)


def test_without_a_rate_the_set_point_steps(furnace, world):
    write(furnace, 2, 900.0)
    select(furnace, 0)
    ((_, _, _, rate),) = world.done
    assert rate >= 6000.0


def test_going_to_manual_keeps_the_output_which_can_then_be_changed(furnace, world):
    select(furnace, 0)
    world.percent = 33.0
    world.done.clear()
    assert select(furnace, 1)
    assert world.done == [("fix", 10.0, 33.0)]
    assert write(furnace, 3, 12.5)
    assert world.done[-1] == ("fix", 10.0, 12.5)
    assert write(furnace, 3, 0.0)
    assert world.done[-1] == ("off", 10.0)


def test_in_automatic_the_manual_output_follows_and_writing_it_is_lost(furnace, world):
    select(furnace, 0)
    world.percent = 33.0
    world.done.clear()
    assert write(furnace, 3, 80.0)
    assert read(furnace, 3) == 33.0
    assert world.done == []


def test_choosing_the_mode_that_is_on_changes_nothing(furnace, world):
    assert select(furnace, 1)
    assert world.done == []


def test_the_status_tells_manual_and_a_broken_sensor(furnace, world):
    assert transact(furnace, 3, 75, 1) == b"\x03\x02\x00\x10"
    select(furnace, 0)
    assert transact(furnace, 3, 75, 1) == b"\x03\x02\x00\x00"
    world.broken = True
    assert transact(furnace, 3, 75, 1) == b"\x03\x02\x00\x20"


@pytest.mark.parametrize("register, value", [(2, 2526.9), (2, -0.1), (3, 100.1), (3, -0.1), (35, -1.0), (35, 3000.1)])
def test_values_beyond_a_limit_are_refused_and_kept_out(furnace, world, register: int, value: float):
    select(furnace, 0)
    world.done.clear()
    before = read(furnace, register)
    assert transact(furnace, 6, register, round(value * 10) & 0xFFFF) == b"\x86\x03"
    assert read(furnace, register) == before
    assert world.done == []


@pytest.mark.parametrize("register", [1, 4, 5, 75, 111, 122, 999])
def test_registers_that_cannot_be_written(furnace, register: int):
    assert transact(furnace, 6, register, 1) == b"\x86\x02"


def test_a_register_that_does_not_exist(furnace):
    assert transact(furnace, 3, 999, 1) == b"\x83\x02"


def test_a_mode_that_does_not_exist_is_refused(furnace):
    assert transact(furnace, 6, 273, 2) == b"\x86\x03"


def test_limits_can_be_read(furnace):
    assert (read(furnace, 111), read(furnace, 112)) == (2526.8, 0.0)
