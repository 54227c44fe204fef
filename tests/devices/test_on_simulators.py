"""Devices and simulators of one model together, in discrete-event time and with faults on the line."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.clock import SimulatedClock
from megabar.devices.errors import LinkError
from megabar.devices.furnaces.eurotherm import Eurotherm3504
from megabar.devices.meters.keithley2182a import Keithley2182A
from megabar.simulators.clock import GrantedClock, GrantedLoop
from megabar.simulators.instruments.furnaces.eurotherm import SimulatedEurotherm3504
from megabar.simulators.instruments.meters.keithley2182a import SimulatedKeithley2182A
from megabar.simulators.noise import Noise
from megabar.simulators.wire.faults import Faults
from megabar.simulators.wire.pty_serial import PtyServer
from megabar.simulators.wire.tcp import TcpServer

PAIRS = {"thermocouple": (Keithley2182A, SimulatedKeithley2182A), "furnace": (Eurotherm3504, SimulatedEurotherm3504)}


class World:
    """A furnace that follows its set-point at once, and a thermocouple of 20 uV/K in it."""

    def __init__(self) -> None:
        self.start, self.from_c, self.target_c, self.rate, self.heated = 0.0, 25.0, 25.0, 0.0, False

    def working_setpoint_c(self, t: float) -> float:
        change = (t - self.start) * self.rate / 60
        return min(self.target_c, self.from_c + change) if self.heated else 25.0

    controller_celsius = working_setpoint_c

    def emf_v(self, t: float) -> float:
        return 20e-6 * (self.working_setpoint_c(t) - 25.0)

    def cold_junction_c(self, t: float) -> float:
        return 25.0

    def output_percent(self, t: float) -> float:
        return 40.0 if self.heated else 0.0

    def sensor_break(self, t: float) -> bool:
        return False

    def set_furnace(self, t: float, target_c: float, ramp_k_per_min: float) -> None:
        self.from_c, self.start, self.target_c, self.rate = self.working_setpoint_c(t), t, target_c, ramp_k_per_min
        self.heated = True

    def set_furnace_manual(self, t: float, output_percent: float) -> None:
        self.heated = output_percent > 0

    def heater_off(self, t: float) -> None:
        self.heated = False


class Rehearsal:
    """Simulated instruments in a thread of their own, devices here, and one time for both."""

    def __init__(self, folder: Path, names: list[str], faults: dict[str, list[dict[str, Any]]], seed: int) -> None:
        self.clock = SimulatedClock(folder / "now", names, stall_s=5.0)
        self.failures: list[str] = []
        self.clock.on_failure = self.failures.append
        ours, theirs = socket.socketpair()
        granted = GrantedClock(folder / "now", theirs, names)
        self._loop = GrantedLoop(granted)
        self._servers = [self._server(name, World(), granted, faults.get(name, []), seed) for name in names]
        addresses = dict(zip(names, self._loop.run_until_complete(self._start()), strict=True))
        granted.attach(self._loop)
        self._sockets = (ours, theirs)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.clock.attach(ours)
        self.devices = {name: self._device(name, addresses[name]) for name in names}

    def _server(self, name: str, world: World, clock: GrantedClock, rules: list[dict[str, Any]], seed: int) -> Any:
        instrument = PAIRS[name][1](name=name, world=world, clock=clock, noise=Noise(seed, name))
        faults = Faults(rules, Noise(seed, f"faults of {name}"))
        return (TcpServer if instrument.wire == "tcp" else PtyServer)(instrument, clock, faults)

    async def _start(self) -> list[str]:
        started = [server.start() for server in self._servers]
        return [await entry if asyncio.iscoroutine(entry) else entry for entry in started]

    def _device(self, name: str, address: str) -> Any:
        device_class = PAIRS[name][0]
        link = device_class.link_type(name, address, self.clock, **device_class.link_options)
        link.call(link.open)
        device = device_class(name=name, link=link)
        link.call(device.connect)
        return device

    def wait(self, status: Any) -> None:
        """Let time run until a status is done."""
        finished = threading.Event()
        status.add_callback(lambda _: finished.set())
        self.clock.block(finished)
        if status.exception() is not None:
            raise status.exception()

    def pause(self, seconds: float) -> None:
        """Let time run."""
        finished = threading.Event()
        self.clock.call_later(seconds, "pause", lambda: finished.set())  # `block` replaces `set`
        self.clock.block(finished)

    def close(self) -> None:
        for device in self.devices.values():
            device.link.call(device.link.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.remove_reader(self._sockets[1].fileno())
        self.clock.close()
        self._loop.run_until_complete(self._close_servers())
        self._loop.close()
        for end in self._sockets:
            end.close()

    async def _close_servers(self) -> None:
        for server in self._servers:
            await server.close()


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Callable[..., Rehearsal]]:
    made: list[Rehearsal] = []

    def make(*names: str, seed: int = 1, **faults: list[dict[str, Any]]) -> Rehearsal:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Rehearsal(folder, list(names), faults, seed))
        return made[-1]

    yield make
    for rehearsal in made:
        rehearsal.close()


def series(rehearsal: Rehearsal, n: int) -> list[tuple[float, ...]]:
    rows = []
    for _ in range(n):
        for device in rehearsal.devices.values():
            rehearsal.wait(device.trigger())
        rows.append(
            tuple(
                entry[key]
                for device in rehearsal.devices.values()
                for entry in device.read().values()
                for key in ("value", "timestamp")
            )
        )
    return rows


def test_a_furnace_ramps_holds_and_is_cut(rehearse):
    rehearsal = rehearse("furnace")
    furnace = rehearsal.devices["furnace"]
    rehearsal.wait(furnace.ramp_rate.set(60.0))
    rehearsal.wait(furnace.setpoint.set(1225.0))
    rehearsal.wait(furnace.heating.set(1))
    rehearsal.pause(600.0)
    rehearsal.wait(furnace.trigger())
    assert furnace.temperature.get() == pytest.approx(625.0, abs=1.5)
    rehearsal.pause(1200.0)
    rehearsal.wait(furnace.trigger())
    assert furnace.temperature.get() == pytest.approx(1225.0, abs=0.5)
    assert furnace.output.get() == 40.0
    before = rehearsal.clock.monotonic()
    rehearsal.wait(furnace.heating.set(0))
    assert rehearsal.clock.monotonic() - before < 1.0
    rehearsal.wait(furnace.trigger())
    assert furnace.output.get() == 0.0


def test_a_serial_exchange_takes_the_time_of_its_line(rehearse):
    rehearsal = rehearse("furnace")
    before = rehearsal.clock.monotonic()
    rehearsal.wait(rehearsal.devices["furnace"].trigger())
    frames = 8 + 15  # one block of five registers
    assert rehearsal.clock.monotonic() - before == pytest.approx(frames * 10 / 9600 + 0.005, abs=1e-6)


def test_the_voltmeter_reads_within_its_errors(rehearse):
    rehearsal = rehearse("thermocouple")
    (emf, _, cold_junction, _) = series(rehearsal, 1)[0]
    assert emf == pytest.approx(0.0, abs=5e-6)
    assert cold_junction == pytest.approx(25.0, abs=0.05)


FAULTS = {
    "furnace": [
        {"kind": "drop", "at": [9]},
        {"kind": "truncate", "at": [14]},
        {"kind": "garble", "every": 17},
        {"kind": "split", "every": 5, "seconds": 0.05},
    ],
    "thermocouple": [
        {"kind": "delay", "at": [12], "seconds": 6.0},
        {"kind": "split", "every": 7, "seconds": 0.3},
        {"kind": "drop", "at": [20]},
        {"kind": "truncate", "at": [31]},
    ],
}


def test_on_a_faulty_line_no_reading_is_wrong_and_the_same_seed_gives_the_same_run(rehearse):
    first = series(rehearse("furnace", "thermocouple", **FAULTS), 30)
    for temperature, _, *_, emf, _, cold_junction, _ in first:
        assert temperature == pytest.approx(25.0, abs=0.5)
        assert emf == pytest.approx(0.0, abs=5e-6)
        assert cold_junction == pytest.approx(25.0, abs=0.05)
    clean = series(rehearse("furnace", "thermocouple"), 30)
    assert first[-1][-1] - clean[-1][-1] > 10  # the faults cost time-outs and drained lines
    assert series(rehearse("furnace", "thermocouple", **FAULTS), 30) == first
    assert series(rehearse("furnace", "thermocouple", seed=2, **FAULTS), 30) != first


def test_a_lost_connection_is_made_again(rehearse):
    rehearsal = rehearse("thermocouple", thermocouple=[{"kind": "disconnect", "at": [12]}])
    rows = series(rehearsal, 10)
    assert all(row[0] == pytest.approx(0.0, abs=5e-6) for row in rows)
    assert not rehearsal.failures


def test_an_instrument_that_has_fallen_silent_is_an_error(rehearse):
    rehearsal = rehearse("furnace", furnace=[{"kind": "drop", "at": list(range(8, 100))}])
    with pytest.raises(LinkError):
        series(rehearsal, 10)
