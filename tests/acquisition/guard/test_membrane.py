"""A guard in the line of a simulated membrane controller: what it does when the engine is lost."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.clock import RealClock
from megabar.acquisition.guarded import guarded_ports
from megabar.acquisition.rig import load_rig
from megabar.devices.pressure_controllers.pace5000 import PACE5000
from megabar.simulators.clock import WallClock
from megabar.simulators.instruments.pressure_controllers.pace5000 import SimulatedPACE5000
from megabar.simulators.noise import Noise
from megabar.simulators.wire.tcp import TcpServer

RIG = """
title = "A membrane"

[instruments.membrane]
device = "megabar.devices.pressure_controllers.pace5000:PACE5000"
address = "{address}"
hazardous = true
"""


class World:
    """A membrane that leaks a little."""

    def __init__(self) -> None:
        self.ways: list[tuple[float, ...]] = []

    def set_membrane(self, *way: float) -> None:
        self.ways.append(way)

    def membrane_leak_bar_per_s(self, t: float) -> float:
        return 0.001


class Membrane:
    """A simulated controller at 20 bar behind a guard, and the device of an engine in front of it."""

    def __init__(self, folder: Path, guard: Callable[..., Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self.twin = SimulatedPACE5000(
            name="membrane", world=World(), clock=WallClock(), noise=Noise(1, "membrane"), initial_bar=20.0
        )
        self._server = TcpServer(self.twin, WallClock())
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        address = self._in_loop(self._server.start())
        (folder / "membrane.toml").write_text(RIG.format(address=address), encoding="utf-8")
        rig = load_rig(str(folder / "membrane.toml"))
        self.link = PACE5000.link_type("membrane", address, RealClock(), **PACE5000.link_options)
        self.device: Any = PACE5000(name="membrane", link=self.link)
        self.guard = guard(ports=guarded_ports(rig, {"membrane": self.device}), lease_s=2.0)
        self.engine = self.guard.engine().arm()
        self.link.address = self.engine.ask("hello")["addresses"]["membrane"]
        self.link.call(self.link.open)
        self.link.call(self.device.connect)
        self.device.slew_rate.set(1.0).wait(5)
        self.device.control.set(1).wait(5)

    def _in_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    def do(self, action: Callable[[], Any]) -> Any:
        """In the thread of the simulated instrument."""

        async def work() -> Any:
            return action()

        return self._in_loop(work())

    @property
    def state(self) -> tuple[bool, float]:
        """Whether control is on, and the pressure (bar)."""
        return self.do(lambda: (self.twin._control, self.twin.pressure_bar()))

    def close(self) -> None:
        self.link.call(self.link.close)
        self._in_loop(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture
def membrane(tmp_path: Path, guard: Callable[..., Any]) -> Iterator[Membrane]:
    made = Membrane(tmp_path, guard)
    yield made
    made.close()


def test_a_pressure_that_has_arrived_is_left_under_control(membrane) -> None:
    membrane.device.setpoint.set(20.5).wait(20)
    membrane.engine.close()
    state = membrane.guard.engine().settled(**{"membrane: left on its set-point": "CONFIRMED"})
    assert state["report"] == {"membrane: left on its set-point": "CONFIRMED"}
    control, pressure = membrane.state
    assert control and pressure == pytest.approx(20.5, abs=0.01)


def test_a_ramp_is_ended_with_control_off_and_never_with_a_vent(membrane) -> None:
    membrane.device.setpoint.set(120.0)
    time.sleep(1.0)
    membrane.engine.close()
    lost_at = membrane.state[1]
    membrane.guard.engine().settled(**{"membrane: control off": "CONFIRMED"})
    control, pressure = membrane.state
    assert not control and 20.5 < pressure < lost_at + 4.0  # two seconds of looking, and what the test takes
    time.sleep(0.5)
    assert membrane.state[1] == pytest.approx(pressure, abs=0.02)
    assert membrane.do(membrane.twin._vent_state) == 0


def test_a_vent_by_hand_trips_it(membrane) -> None:
    membrane.do(lambda: membrane.twin._set_vent(1))
    assert membrane.engine.told.wait(5)
    assert "no vent under way" in membrane.engine.tripped


def test_what_would_vent_does_not_reach_the_instrument(membrane) -> None:
    for message in (":SOUR:PRES:LEV:IMM:AMPL:VENT 1", ":SOUR:PRES:LEV:IMM:AMPL 200.5"):
        membrane.link.call(lambda message=message: membrane.link.write(message))
    membrane.device.trigger().wait(5)
    refused = [bytes.fromhex(line["message"]) for line in membrane.guard.log("refused")]
    assert [message[-8:] for message in refused] == [b"VENT 1\r\n", b" 200.5\r\n"]
    assert (membrane.device.vent.get(), membrane.device.control.get()) == (0, 1)
    assert membrane.device.pressure.get() == pytest.approx(20.0, abs=0.02)
