"""A press under EPICS: the guard's beat keeps it, and without the beat the server itself stops it."""

import contextlib
import socket
import struct
import time

import pytest

from megabar.acquisition.guard.circuit import NORMAL
from megabar.simulators.clock import WallClock
from megabar.simulators.instruments.presses.gsecars import SimulatedGSECARSPress
from megabar.simulators.wire.channel_access import ChannelAccessServer


class World:
    """A press that does at once what it is told."""

    def __init__(self) -> None:
        self.speeds = [0.0, 0.0]
        self.ramping = False
        self.stopped_at: list[float] = []
        self.blown = False

    def load_mn(self, t):
        return 1.0

    def oil_pressure_mpa(self, t):
        return 10.0

    def stroke_mm(self, t):
        return 0.0

    def blown_out(self, t):
        return self.blown

    def ramp_load(self, t, target_mn, rate_mn_per_h):
        self.ramping = True

    def hold_load(self, t):
        if self.ramping:
            self.stopped_at.append(time.monotonic())
        self.ramping = False

    def ram_stroke_mm(self, t, i):
        return 0.0

    def ram_speed_um_per_s(self, t, i):
        return self.speeds[i]

    def set_ram_speed(self, t, ram, um_per_s):
        self.speeds[ram] = um_per_s


class Still:
    """A noise that is none."""

    def normal(self, *args):
        return 0.0


@pytest.fixture
def world():
    return World()


@pytest.fixture
def press(world, close_after):
    """The server of a press whose pumps need the lease, and what a guard is told of it."""
    clock = WallClock()
    simulated = SimulatedGSECARSPress(name="press", world=world, clock=clock, noise=Still(), lease=True)
    server = ChannelAccessServer({"press": simulated}, clock)
    ends = close_after(contextlib.ExitStack())
    ends.callback(server.close)
    host, port = server.addresses["press"].removeprefix("ca://").split("/")[0].split(":")

    def record(suffix):
        return f"MB:press:{suffix}"

    def check(name, suffix, low, high):
        made = {"name": name, "ask": [record(suffix)], "low": low, "high": high, "mask": 0, "pattern": ""}
        return {**made, "signed": False, "scale": 1.0}

    def told(**changes):
        stops = ("Press_StopBoth.PROC", 1), ("DDIA30:m1.STOP", 1), ("DDIA30:m2.STOP", 1), ("Press_EnableRamp", 0)
        seen = [check("feedback", "Press_PID.FBON", 0, 0), check("top stands", "DDIA30:m1.DMOV", 1, 1)]
        send = [[record(suffix), value] for suffix, value in stops]
        hold = {"name": "held", "send": send, "seen": seen, "within_s": 2.0}
        latch = check("latch", "Press_BlowoutLatch", 0, 0) | {"every_s": 0.05, "stale_s": 0.5, "while_on": []}
        return {
            "kind": "epics",
            "address": ["ca", host, int(port)],
            "terminator": "",
            "answers_all": False,
            "refusal": "",
            "identity": None,
            "reply_s": 0.5,
            "stage": 0,
            "on_loss": "hold",
            "ways": {"hold": {"actions": [hold], "otherwise": "", "grace_s": 0.0}},
            "reads": [],
            "commands": [],
            "watch": [latch],
            "kick": {"send": [record("Press_Lease"), 1], "every_s": 0.25},
        } | changes

    simulated.told, simulated.end, simulated.record = told, ends.close, record
    return simulated


@pytest.fixture
def put(press, client):
    """Put a value as an engine does, past the guard; whether the server took it."""

    def to(suffix, value):
        client.write(press.record(suffix), value)
        return client.status

    return to


@pytest.fixture
def client(press, close_after):
    """A client of the engine's own."""
    head = struct.Struct(">HHHHII")

    class Client:
        status = 0

        def __init__(self):
            _, host, port = press.told()["address"]
            self.socket = socket.create_connection((host, port), 5)
            self.reader = self.socket.makefile("rb")
            self.n = 0
            self.send(0, 0, 13, 0, 0)

        def send(self, command, data_type, count, a, b, body=b""):
            body += b"\0" * (-len(body) % 8)
            self.socket.sendall(head.pack(command, len(body), data_type, count, a, b) + body)

        def receive(self, *wanted):
            while True:
                command, size, _, _, a, b = head.unpack(self.reader.read(16))
                self.reader.read(size)
                if command in wanted:
                    return command, a, b

        def write(self, record, value):
            self.n += 1
            self.send(18, 0, 0, self.n, 13, record.encode() + b"\0")
            command, _, sid = self.receive(18, 26)
            assert command == 18, record
            self.send(19, 6, 1, sid, 98, struct.pack(">d", value))
            self.status = self.receive(19)[1]

        def close(self):
            self.reader.close()
            self.socket.close()

    return close_after(Client())


def set_going(engine, put, world):
    engine.arm()
    time.sleep(0.05)
    assert put("Press_PID.FBON", 1) == NORMAL
    assert put("DDIA30:m1.JOGF", 1) == NORMAL
    assert world.ramping
    assert world.speeds[0] > 0


def test_the_beat_keeps_it_and_the_trip_stops_it(press, world, put, guard) -> None:
    engine = guard(ports={"press": press.told()}).engine()
    set_going(engine, put, world)
    time.sleep(1.5)
    assert world.ramping
    begun = time.monotonic()
    engine.ask("trip", why="now")
    assert engine.settled()["report"] == {"press: held": "CONFIRMED"}
    assert not world.ramping
    assert world.speeds == [0.0, 0.0]
    print(f"stopped {1e3 * (world.stopped_at[0] - begun):.1f} ms after the trip")
    assert world.stopped_at[0] - begun < 0.1


def test_without_the_beat_it_stops_by_itself_within_a_second(press, world, put, guard) -> None:
    """One beat when the lease is taken, and the next would come after ten seconds."""
    kick = press.told()["kick"] | {"every_s": 10.0}
    engine = guard(ports={"press": press.told(kick=kick)}).engine()
    begun = time.monotonic()
    engine.arm()
    armed = time.monotonic()
    assert put("Press_PID.FBON", 1) == NORMAL
    while not world.stopped_at:
        assert time.monotonic() < begun + 2
        time.sleep(0.002)
    print(f"stopped {world.stopped_at[0] - armed:.3f} to {world.stopped_at[0] - begun:.3f} s after the last beat")
    assert world.stopped_at[0] - armed < 1.05
    assert world.stopped_at[0] - begun > 1.0


def test_puts_without_the_lease_are_refused(press, world, put, guard) -> None:
    engine = guard(ports={"press": press.told()}).engine()
    set_going(engine, put, world)
    engine.ask("trip", why="now")
    time.sleep(1.1)
    assert put("Press_PID.FBON", 1) != NORMAL
    assert put("DDIA30:m1.JOGF", 1) != NORMAL
    assert not world.ramping
    assert put("DDIA30:m1.STOP", 1) == NORMAL


def test_server_that_goes_trips(press, world, put, guard) -> None:
    engine = guard(ports={"press": press.told()}).engine()
    set_going(engine, put, world)
    press.end()
    assert engine.told.wait(1.0)
    assert "has gone" in engine.tripped
    assert engine.settled()["report"] == {"press: held": "UNCONFIRMED"}


def test_server_that_goes_before_refuses_the_lease(press, guard) -> None:
    engine = guard(ports={"press": press.told()}).engine()
    press.end()
    assert "refused" in engine.ask("arm", run="run", dwell_s=60.0)


def test_blow_out_trips(press, world, put, guard) -> None:
    engine = guard(ports={"press": press.told()}).engine()
    set_going(engine, put, world)
    assert put("Press_BlowoutLatch", 1) == NORMAL
    assert engine.told.wait(0.5)
    assert "press.latch is 1" in engine.tripped


def test_records_that_do_not_exist_are_told_and_kill_nobody(press, guard) -> None:
    told = press.told()
    told["watch"][0]["ask"] = ["MB:press:NoSuchRecord"]
    guard = guard(ports={"press": told})
    assert guard.log("serving")[0]["troubles"] == ["there is no such record"]
    engine = guard.engine().arm()
    assert engine.told.wait(1.5)
    assert "latch has not been read" in engine.tripped
