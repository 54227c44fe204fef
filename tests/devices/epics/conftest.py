"""A station of EPICS instruments over one world, in discrete-event time, with the devices on one circuit."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ophyd.status import Status

from megabar.acquisition.clock import SimulatedClock
from megabar.devices.channel_access import ChannelAccessLink
from megabar.devices.detectors.camera import AreaDetectorCamera
from megabar.devices.detectors.mca import MultiElementDetector
from megabar.devices.epics import EpicsInstrument
from megabar.devices.monitors.ring import StorageRing
from megabar.devices.monitors.scaler import ScalerMonitor
from megabar.devices.motion.motor import EpicsStage
from megabar.devices.presses.gsecars import GSECARSPress
from megabar.devices.shutters.beam_shutter import BeamShutter
from megabar.devices.shutters.slits import EpicsSlits
from megabar.simulators.instruments.detectors.camera import SimulatedAreaDetector
from megabar.simulators.instruments.detectors.mca import SimulatedMultiElementDetector
from megabar.simulators.instruments.monitors.ring import SimulatedRing
from megabar.simulators.instruments.monitors.scaler import SimulatedScaler
from megabar.simulators.instruments.motion.motor import SimulatedStage
from megabar.simulators.instruments.presses.gsecars import SimulatedGSECARSPress
from megabar.simulators.instruments.shutters.beam_shutter import SimulatedBeamShutter
from megabar.simulators.instruments.shutters.slits import SimulatedSlits
from megabar.simulators.noise import Noise
from megabar.simulators.wire.channel_access import ChannelAccessServer
from megabar.simulators.worlds.d111.world import D111

AZIMUTHS = [0.0, 22.5, 45.0, 67.5, 90.0, 112.5, 135.0, 157.5, 180.0, 270.0]
PAIRS: dict[str, tuple[type, type, dict[str, Any]]] = {
    "press": (SimulatedGSECARSPress, GSECARSPress, {}),
    "detector": (SimulatedMultiElementDetector, MultiElementDetector, {"azimuths_deg": AZIMUTHS}),
    "camera": (SimulatedAreaDetector, AreaDetectorCamera, {"pixel_um": 2.0}),
    "shutter": (SimulatedBeamShutter, BeamShutter, {}),
    "ring": (SimulatedRing, StorageRing, {}),
    "i0": (SimulatedScaler, ScalerMonitor, {}),
    "stage": (SimulatedStage, EpicsStage, {}),
    "slits": (SimulatedSlits, EpicsSlits, {}),
}


class Station:
    """`instruments` and `devices` by name; `world` is what they share."""

    def __init__(self, shared: Path, simulated: dict[str, dict[str, Any]], **world: Any) -> None:
        self.clock = SimulatedClock(shared, [])
        self.failures: list[str] = []
        self.clock.on_failure = self.failures.append
        self.world = D111(1, **world)
        self.instruments = {
            name: pair[0](
                name=name, world=self.world, clock=self.clock, noise=Noise(1, name), **simulated.get(name, {})
            )
            for name, pair in PAIRS.items()
        }
        self.server = ChannelAccessServer(self.instruments, self.clock)
        self.link = ChannelAccessLink("epics", self.server.addresses["press"], self.clock)
        self.devices: dict[str, Any] = {}
        for name, (_, device_class, options) in PAIRS.items():
            device = device_class(name=name, link=self.link, address=self.server.addresses[name], **options)
            self.link.call(device.connect)
            self.devices[name] = device

    def device(self, name: str) -> EpicsInstrument:
        return self.devices[name]

    def finish(self, status: Status) -> None:
        """Let time run until `status` is done. Raises what it failed with."""
        done = threading.Event()
        status.add_callback(lambda _: done.set())
        self.clock.block(done)
        if (error := status.exception()) is not None:
            raise error

    def wait(self, seconds: float) -> None:
        """Let `seconds` pass."""
        done = threading.Event()
        self.clock.call_later(seconds, "test", lambda: done.set())
        self.clock.block(done)

    def read(self, name: str) -> dict[str, Any]:
        """Trigger a device and give its values."""
        device = self.device(name)
        self.finish(device.trigger())
        return {key: reading["value"] for key, reading in device.read().items()}

    def job(self, function: Callable[[], Any]) -> Any:
        """Run `function` in the link's thread and give what it returned."""
        results: list[Any] = []
        self.link.call(lambda: results.append(function()))
        return results[0]

    def close(self) -> None:
        self.link.call(self.link.close)
        self.server.close()
        self.clock.close()


@pytest.fixture
def make_station(tmp_path: Path) -> Iterator[Callable[..., Station]]:
    """Build a station; parameters of simulated instruments by their name, those of the world as keywords."""
    stations: list[Station] = []

    def make(simulated: dict[str, dict[str, Any]] | None = None, **world: Any) -> Station:
        stations.append(Station(tmp_path / f"now{len(stations)}", simulated or {}, **world))
        return stations[-1]

    yield make
    for station in stations:
        station.close()
        assert not station.failures


@pytest.fixture
def station(make_station: Callable[..., Station]) -> Station:
    return make_station()
