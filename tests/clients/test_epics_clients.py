"""EPICS clients that nobody here wrote, reading and ramping the simulated press: pyepics (libca), ophyd, caproto."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from megabar.simulators.clock import WallClock
from megabar.simulators.instruments.detectors.camera import SimulatedAreaDetector
from megabar.simulators.instruments.motion.motor import SimulatedStage
from megabar.simulators.instruments.presses.gsecars import SimulatedGSECARSPress
from megabar.simulators.noise import Noise
from megabar.simulators.wire.channel_access import ChannelAccessServer
from megabar.simulators.worlds.d111.world import D111

pytestmark = pytest.mark.clients

FACTOR = 600.0
"""Ten minutes pass in a second."""

Client = Callable[[str], Any]


@pytest.fixture
def world() -> D111:
    return D111(5, shutter_open_at_start=True, camera_counts_per_s=80_000.0)


@pytest.fixture
def run(world: D111) -> Iterator[Client]:
    """Run a script in a process of its own, its search and repeater ports ours; gives the JSON that it prints."""
    clock = WallClock(FACTOR)
    kinds = {"press": SimulatedGSECARSPress, "stage": SimulatedStage, "camera": SimulatedAreaDetector}
    instruments = {
        name: kind(name=name, world=world, clock=clock, noise=Noise(5, name)) for name, kind in kinds.items()
    }
    server = ChannelAccessServer(instruments, clock)
    # Somebody sits on the repeater's port already, so that no client starts a repeater that would outlive it.
    repeater = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    repeater.bind(("", 0))
    environment = {
        **os.environ,
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": server.addresses["press"].split(":")[2].split("/")[0],
        "EPICS_CA_REPEATER_PORT": str(repeater.getsockname()[1]),
    }

    def run_script(script: str) -> Any:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert not members_of(process.pid), "the client left a process behind"
        return json.loads(output.splitlines()[-1])

    yield run_script
    repeater.close()
    server.close()


def members_of(session: int) -> list[str]:
    """Processes of a session."""
    listing = subprocess.run(["ps", "-o", "pid=,comm=", "-s", str(session)], capture_output=True, text=True).stdout
    return listing.split("\n")[:-1]


PYEPICS = """
import json, time
from epics import PV
names = ("Press_CurrentPressure", "Press_PID.VAL", "Press_PID.FBON", "Press_RampTarget", "Press_RampTime",
         "Press_StartRamp.PROC", "Press_EnableRamp", "Press_BlowoutLatch", "DDIA30:m1.RBV")
pv = {name: PV("MB:press:" + name, connection_timeout=5) for name in names}
assert all(p.wait_for_connection(5) for p in pv.values())
pv["Press_PID.FBON"].put("On", wait=True)
pv["Press_RampTarget"].put(50.0, wait=True)
pv["Press_RampTime"].put(0.25, wait=True)
pv["Press_StartRamp.PROC"].put(1, wait=True)
ramping = pv["Press_EnableRamp"].get(as_string=True, use_monitor=False)
deadline = time.monotonic() + 20
while pv["Press_EnableRamp"].get() and time.monotonic() < deadline:   # monitored
    time.sleep(0.1)
time.sleep(0.3)
print(json.dumps({
    "ramping": ramping,
    "done": pv["Press_EnableRamp"].get(as_string=True),
    "load": pv["Press_CurrentPressure"].get(use_monitor=False),
    "units": pv["Press_CurrentPressure"].units,
    "states": [str(s) for s in pv["Press_BlowoutLatch"].get_ctrlvars()["enum_strs"]],
    "severity": pv["Press_BlowoutLatch"].severity,
    "writable": [pv["Press_RampTarget"].write_access, pv["Press_CurrentPressure"].write_access],
}))
"""


def test_pyepics_ramps_the_press(run: Client, world: D111) -> None:
    pytest.importorskip("epics")
    seen = run(PYEPICS)
    assert seen["ramping"] == "Enable"
    assert seen["done"] == "Disable"
    assert seen["load"] == pytest.approx(50.0, abs=0.3)
    assert seen["units"] == "tons"
    assert seen["states"] == ["OK", "Blowout!"]
    assert seen["severity"] == 0
    assert seen["writable"] == [True, False]
    assert world.load_mn(3600.0) == pytest.approx(50.0 * 9.80665e-3, abs=3e-3)


PYEPICS_BLOW_OUT = """
import json, time
from epics import PV
latch = PV("MB:press:Press_BlowoutLatch", connection_timeout=5)
assert latch.wait_for_connection(5)
before = latch.severity if latch.get() is not None else None
latch.put(1, wait=True)
time.sleep(0.5)                                                        # the monitor must bring it
after = [latch.get(as_string=True), latch.severity]
print(json.dumps([before, after]))
"""


def test_pyepics_sees_the_latch_in_major_alarm(run: Client) -> None:
    pytest.importorskip("epics")
    assert run(PYEPICS_BLOW_OUT) == [0, ["Blowout!", 2]]


OPHYD = """
import json
from ophyd import EpicsMotor, EpicsSignalRO
motor = EpicsMotor("MB:stage:X", name="x")
motor.wait_for_connection(timeout=10)
motor.move(-20.0, wait=True, timeout=20)
print(json.dumps([motor.position, motor.limits, motor.egu]))
"""


def test_ophyds_own_motor_moves_the_stage(run: Client, world: D111) -> None:
    pytest.importorskip("epics")
    position, limits, unit = run(OPHYD)
    assert position == -20.0
    assert (limits, unit) == ([-25.0, 25.0], "mm")
    assert world.stage_mm(1e6, "x") == -20.0


CAPROTO = """
import json, time
from caproto.sync.client import read, write
def get(name, **options):
    return read("MB:" + name, repeater=False, timeout=5, **options)
def put(name, value):
    write("MB:" + name, value, repeater=False, timeout=5, notify=True)
put("press:Press_RampTarget", 20.0)
put("press:Press_RampTime", 0.2)
put("press:Press_PID.FBON", 1)
put("press:Press_StartRamp.PROC", 1)
put("camera:cam1:AcquireTime", 0.6)
put("camera:cam1:Acquire", 1)
time.sleep(2.0)
image = get("camera:image1:ArrayData").data.astype("uint16")
print(json.dumps({
    "load": float(get("press:Press_CurrentPressure").data[0]),
    "severity": int(get("press:Press_BlowoutLatch", data_type="status").metadata.severity),
    "pixels": len(image), "brightest": int(image.max()),
}))
"""


def test_caprotos_client_ramps_the_press_and_takes_a_frame(run: Client) -> None:
    seen = run(CAPROTO)
    assert seen["load"] == pytest.approx(20.0, abs=0.3)
    assert seen["severity"] == 0
    assert seen["pixels"] == 512 * 512
    assert seen["brightest"] > 2**15
