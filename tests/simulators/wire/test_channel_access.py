"""The Channel Access server, byte by byte: a client of 16-byte headers, written from the protocol's specification."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from megabar.simulators.wire.channel_access import ChannelAccessServer
from megabar.simulators.wire.records import MAJOR, Record, command, constant

HEAD = struct.Struct(">HHHHII")
VERSION, READ_NOTIFY, CREATE, WRITE_NOTIFY, CREATE_FAILED, ERROR = 0, 15, 18, 19, 26, 11
STRING, ENUM, LONG, DOUBLE = 0, 3, 5, 6
STS_STRING, STS_ENUM, STS_LONG, STS_DOUBLE, CTRL_DOUBLE = 7, 10, 12, 13, 34
NORMAL, PUT_FAILED, NO_WRITE_ACCESS = 1, 160, 376


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Instrument:
    """A value that follows time, one that is kept, and arrays."""

    def __init__(self) -> None:
        self.kept: list[tuple[float, object]] = [(0.0, 1.0)]
        self.image = np.full(6, 60_000, np.uint16)

    def put(self, t: float, value: object) -> None:
        if value == 13.0:
            raise ValueError("13 is not accepted")
        self.kept.append((t, value))

    def fail(self, t: float) -> float:
        if t > 0:
            raise RuntimeError("no value")
        return 0.0

    def records(self) -> dict[str, Record]:
        return {
            "time": Record(lambda t: t, unit="s"),
            "kept.VAL": Record(lambda t: self.kept[-1][1], self.put, unit="mm"),
            "state": Record(lambda t: 1, lambda t, v: self.put(t, v), kind="enum", states=("Off", "On")),
            "alarmed": Record(lambda t: t, severity=lambda t: MAJOR if t > 5 else 0),
            "image": Record(lambda t: self.image, kind="long", count=6),
            "button.PROC": command(lambda t: self.put(t, "pressed")),
            "word": constant("hello"),
            "large": Record(lambda t: np.arange(70_000), kind="long", count=70_000),
            "broken": Record(self.fail),
        }


class RawClient:
    """The smallest Channel Access client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.buffer = b""
        self.n_channels = 0
        self.send(VERSION, count=13)

    def send(self, command: int, data_type: int = 0, count: int = 0, a: int = 0, b: int = 0, body: bytes = b"") -> None:
        body += b"\0" * (-len(body) % 8)
        self.socket.sendall(HEAD.pack(command, len(body), data_type, count, a, b) + body)

    def receive(self, *commands: int) -> tuple[int, int, int, int, int, bytes]:
        """The next message that is one of `commands`."""
        while True:
            command, size, data_type, count, *rest = HEAD.unpack(self.exactly(HEAD.size))
            if size == 0xFFFF and not count:
                size, count = struct.unpack(">II", self.exactly(8))
            body = self.exactly(size)
            if command in commands:
                return command, data_type, count, *rest, body

    def exactly(self, n: int) -> bytes:
        while len(self.buffer) < n:
            data = self.socket.recv(65536)
            assert data, "the server hung up"
            self.buffer += data
        head, self.buffer = self.buffer[:n], self.buffer[n:]
        return head

    def create(self, name: str) -> tuple[int, int, int] | None:
        """Server's channel number, native type and count; None where there is no such record."""
        self.n_channels += 1
        self.send(CREATE, a=self.n_channels, b=13, body=name.encode() + b"\0")
        command, data_type, count, _, sid, _ = self.receive(CREATE, CREATE_FAILED)
        return (sid, data_type, count) if command == CREATE else None

    def get(self, sid: int, data_type: int) -> bytes:
        self.send(READ_NOTIFY, data_type, 0, sid, 99)
        _, _, _, status, ioid, body = self.receive(READ_NOTIFY)
        assert (status, ioid) == (NORMAL, 99)
        return body

    def put(self, sid: int, data_type: int, body: bytes) -> int:
        self.send(WRITE_NOTIFY, data_type, 1, sid, 98, body)
        return self.receive(WRITE_NOTIFY)[3]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def instrument() -> Instrument:
    return Instrument()


@pytest.fixture
def server(clock: Clock, instrument: Instrument) -> Iterator[ChannelAccessServer]:
    server = ChannelAccessServer({"one": instrument, "two": Instrument()}, clock)
    yield server
    server.close()


def port_of(server: ChannelAccessServer) -> int:
    return int(server.addresses["one"].split(":")[2].split("/")[0])


@pytest.fixture
def client(server: ChannelAccessServer) -> Iterator[RawClient]:
    client = RawClient(port_of(server))
    yield client
    client.socket.close()


def test_instruments_share_one_port_under_their_own_prefix(server: ChannelAccessServer) -> None:
    port = port_of(server)
    assert server.addresses == {"one": f"ca://127.0.0.1:{port}/MB:one:", "two": f"ca://127.0.0.1:{port}/MB:two:"}


def test_a_value_is_that_of_the_moment_it_is_read(client: RawClient, clock: Clock) -> None:
    sid, data_type, count = client.create("MB:one:time")
    assert (data_type, count) == (DOUBLE, 1)
    for clock.now in (1.5, 2.5):
        assert struct.unpack(">d", client.get(sid, DOUBLE)) == (clock.now,)


def test_a_record_and_its_value_field_are_one(client: RawClient, instrument: Instrument) -> None:
    for name in ("MB:one:kept", "MB:one:kept.VAL"):
        sid, _, _ = client.create(name)
        assert client.put(sid, DOUBLE, struct.pack(">d", 2.0)) == NORMAL
    assert [value for _, value in instrument.kept] == [1.0, 2.0, 2.0]
    assert client.create("MB:one:time.RBV") is None
    assert client.create("MB:three:time") is None


def test_a_put_is_applied_at_the_moment_it_arrives(client: RawClient, clock: Clock, instrument: Instrument) -> None:
    clock.now = 4.0
    sid, _, _ = client.create("MB:one:kept")
    assert client.put(sid, DOUBLE, struct.pack(">d", 3.5)) == NORMAL
    assert instrument.kept[-1] == (4.0, 3.5)


def test_a_put_that_is_refused_says_so_and_changes_nothing(client: RawClient, instrument: Instrument) -> None:
    sid, _, _ = client.create("MB:one:kept")
    assert client.put(sid, DOUBLE, struct.pack(">d", 13.0)) == PUT_FAILED
    assert client.put(client.create("MB:one:time")[0], DOUBLE, struct.pack(">d", 1.0)) == NO_WRITE_ACCESS
    assert len(instrument.kept) == 1
    assert struct.unpack(">hh4xd", client.get(sid, STS_DOUBLE)) == (0, 0, 1.0), "a refusal is no alarm"


def test_an_enum_takes_its_states_by_name_and_number(client: RawClient, instrument: Instrument) -> None:
    sid, data_type, _ = client.create("MB:one:state")
    assert data_type == ENUM
    assert struct.unpack(">H6x", client.get(sid, ENUM)) == (1,)
    assert client.get(sid, STRING).rstrip(b"\0") == b"On"
    assert client.put(sid, STRING, b"On\0") == NORMAL
    assert client.put(sid, ENUM, struct.pack(">H", 0)) == NORMAL
    assert client.put(sid, STRING, b"Perhaps\0") == PUT_FAILED
    assert client.put(sid, ENUM, struct.pack(">H", 7)) == PUT_FAILED
    assert [value for _, value in instrument.kept[1:]] == [1, 0]


def test_counts_beyond_int16_survive(client: RawClient) -> None:
    sid, data_type, count = client.create("MB:one:image")
    assert (data_type, count) == (LONG, 6)
    assert np.frombuffer(client.get(sid, LONG), ">i4").tolist() == [60_000] * 6


def test_a_button_acts_on_one_and_not_on_zero(client: RawClient, instrument: Instrument) -> None:
    sid, _, _ = client.create("MB:one:button.PROC")
    client.put(sid, LONG, struct.pack(">i", 0))
    assert len(instrument.kept) == 1
    client.put(sid, LONG, struct.pack(">i", 1))
    assert instrument.kept[-1][1] == "pressed"


def test_alarms_follow_the_world(client: RawClient, clock: Clock) -> None:
    sid, _, _ = client.create("MB:one:alarmed")
    severities = []
    for clock.now in (1.0, 6.0, 2.0):
        _, severity, _ = struct.unpack(">hh4xd", client.get(sid, STS_DOUBLE))
        severities.append(severity)
    assert severities == [0, MAJOR, 0]


def test_units_go_along(client: RawClient) -> None:
    body = client.get(client.create("MB:one:kept")[0], CTRL_DOUBLE)
    assert body[8:16].rstrip(b"\0") == b"mm"


def test_questions_in_one_segment_are_answered_in_their_order(client: RawClient, clock: Clock) -> None:
    channels = [client.create(f"MB:one:{name}")[0] for name in ("time", "kept", "time", "alarmed")]
    clock.now = 3.0
    client.socket.sendall(b"".join(HEAD.pack(READ_NOTIFY, 0, DOUBLE, 0, sid, i) for i, sid in enumerate(channels)))
    replies = [client.receive(READ_NOTIFY) for _ in channels]
    assert [reply[4] for reply in replies] == [0, 1, 2, 3]
    assert [struct.unpack(">d", reply[5])[0] for reply in replies] == [3.0, 1.0, 3.0, 3.0]


def test_plain_reads_carry_the_alarm_and_all_their_elements(client: RawClient) -> None:
    assert struct.unpack(">hhH2x", client.get(client.create("MB:one:state")[0], STS_ENUM)) == (0, 0, 1)
    for name, text in (("state", b"On"), ("word", b"hello")):
        assert client.get(client.create(f"MB:one:{name}")[0], STS_STRING)[4:].rstrip(b"\0") == text
    image = client.get(client.create("MB:one:image")[0], STS_LONG)
    assert len(image) % 8 == 0
    assert np.frombuffer(image, ">i4", 6, 4).tolist() == [60_000] * 6
    large = client.get(client.create("MB:one:large")[0], STS_LONG)
    assert np.array_equal(np.frombuffer(large, ">i4", 70_000, 4), np.arange(70_000))


def test_a_read_after_a_put_finds_it_done(client: RawClient) -> None:
    time, kept = (client.create(f"MB:one:{name}")[0] for name in ("time", "kept"))
    read, put = HEAD.pack(READ_NOTIFY, 0, STS_DOUBLE, 1, kept, 0), struct.pack(">d", 8.0)
    messages = [
        read,
        HEAD.pack(READ_NOTIFY, 0, DOUBLE, 1, time, 1),
        HEAD.pack(WRITE_NOTIFY, 8, DOUBLE, 1, kept, 2) + put,
    ]
    client.socket.sendall(b"".join([*messages, read]))
    replies = [client.receive(READ_NOTIFY, WRITE_NOTIFY) for _ in range(4)]
    assert sorted(reply[4] for reply in replies) == [0, 0, 1, 2]
    values = [struct.unpack(">4x4xd", reply[5]) for reply in replies if reply[0] == READ_NOTIFY and reply[4] == 0]
    assert values == [(1.0,), (8.0,)]
    assert client.get(kept, STS_DOUBLE)[8:] == put


def test_a_request_may_come_in_pieces(client: RawClient, server: ChannelAccessServer) -> None:
    sid, before = client.create("MB:one:kept")[0], server.n_commands
    for piece in range(1, 16):
        message = HEAD.pack(READ_NOTIFY, 0, STS_DOUBLE, 1, sid, piece) * 2
        client.socket.sendall(message[:piece])
        threading.Event().wait(0.01)
        client.socket.sendall(message[piece:])
        assert [client.receive(READ_NOTIFY)[4] for _ in range(2)] == [piece, piece]
    assert server.n_commands == before + 30


def test_a_record_that_fails_is_an_error_and_the_circuit_lives(client: RawClient, clock: Clock) -> None:
    broken, time = (client.create(f"MB:one:{name}")[0] for name in ("broken", "time"))
    clock.now = 1.0
    client.send(READ_NOTIFY, STS_DOUBLE, 1, broken, 5)
    assert b"no value" in client.receive(ERROR)[5]
    assert client.get(time, STS_DOUBLE)[8:] == struct.pack(">d", 1.0)


def test_only_loopback_is_served_and_nothing_is_printed(
    server: ChannelAccessServer, client: RawClient, capfd: pytest.CaptureFixture[str]
) -> None:
    client.create("MB:one:nothing")
    port = f"{port_of(server):04X}"
    for table, listening in (("tcp", "0A"), ("udp", "07")):
        lines = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        bound = [line[1].split(":")[0] for line in lines if line[1].endswith(f":{port}") and line[3] == listening]
        assert bound == ["0100007F"], table
    assert capfd.readouterr() == ("", "")


def test_closing_frees_port_and_thread(clock: Clock) -> None:
    server = ChannelAccessServer({"one": Instrument()}, clock)
    port = port_of(server)
    client = RawClient(port)
    assert client.create("MB:one:word")
    server.close()
    while client.socket.recv(100):
        pass
    client.socket.close()
    assert "Channel Access" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
