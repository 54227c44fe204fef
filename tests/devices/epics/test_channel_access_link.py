"""The Channel Access link: one connection, one thread, pipelined, real time-outs, honest failures."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from megabar.acquisition.clock import SimulatedClock
from megabar.devices.channel_access import AsText, ChannelAccessLink, split_address
from megabar.devices.errors import GarbledReply, LinkError, LinkTimeout, Refused
from megabar.simulators.wire.channel_access import ChannelAccessServer
from megabar.simulators.wire.records import INVALID, Record, command

WRITE_NOTIFY = bytes.fromhex("0013")


class Instrument:
    """One record of each kind."""

    def __init__(self) -> None:
        self.kept: list[object] = [0.5]

    def records(self) -> dict[str, Record]:
        return {
            "double": Record(lambda t: self.kept[-1], lambda t, value: self.kept.append(value)),
            "time": Record(lambda t: t),
            "long": Record(lambda t: 7, kind="long"),
            "enum": Record(lambda t: 1, lambda t, value: self.kept.append(value), kind="enum", states=("Off", "On")),
            "text": Record(lambda t: "hello", kind="string"),
            "array": Record(lambda t: np.arange(2048), kind="long", count=2048),
            "picky": Record(lambda t: 0.0, self.refuse),
            "undefined": Record(lambda t: 0.0, severity=lambda t: INVALID),
            "go.PROC": command(lambda t: self.kept.append("went")),
        }

    def refuse(self, t: float, value: float) -> None:
        raise ValueError("never")


class Proxy:
    """Passes bytes on, and notes each segment from the client; can cut the line or swallow the replies."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server_port = port
        self.segments: list[bytes] = []
        self.mute = False
        self.status = b""
        """In the place of the status of every put."""
        self.n_connections = 0
        self.ends: list[socket.socket] = []
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self) -> None:
        try:
            while True:
                client, _ = self.listener.accept()
                self.n_connections += 1
                server = socket.create_connection(("127.0.0.1", self.server_port))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.ends += [client, server]
                threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()
        except OSError:
            return

    def pump(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        try:
            while data := source.recv(1 << 20):
                if from_client:
                    self.segments.append(data)
                elif self.mute:
                    continue
                elif self.status and data.startswith(WRITE_NOTIFY):
                    data = data[:8] + self.status + data[12:]
                sink.sendall(data)
        except OSError:
            return

    def cut(self) -> None:
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        self.ends.clear()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.listener.close()
        self.cut()


class Line:
    """A link through a proxy to a server."""

    def __init__(self, shared: Path) -> None:
        self.clock = SimulatedClock(shared, [])
        self.instrument = Instrument()
        self.server = ChannelAccessServer({"it": self.instrument}, self.clock)
        self.proxy = Proxy(split_address(self.server.addresses["it"])[0][1])
        self.link = ChannelAccessLink("epics", f"ca://127.0.0.1:{self.proxy.port}/MB:it:", self.clock, timeout_s=0.5)

    def fetch(self, *names: str) -> list[object]:
        results: list[list[object]] = []
        self.link.call(lambda: results.append(self.link.fetch(["MB:it:" + name for name in names])))
        return results[0]

    def assign(self, name: str, value: object) -> None:
        self.link.call(lambda: self.link.assign("MB:it:" + name, value))

    def close(self) -> None:
        self.link.call(self.link.close)
        self.proxy.close()
        self.server.close()
        self.clock.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path / "now")
    yield line
    line.close()


def test_values_come_as_plain_numbers_text_and_arrays(line: Line) -> None:
    double, long, enum, text, array = line.fetch("double", "long", "enum", "text", "array")
    assert (double, long, enum, text) == (0.5, 7, 1, "hello")
    assert [type(value) for value in (double, long, enum, text)] == [float, int, int, str]
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.int32
    assert array.dtype.isnative
    assert np.array_equal(array, np.arange(2048))


def test_enums_come_as_text_on_demand_and_tuples_as_tuples(line: Line) -> None:
    results: list[list[object]] = []
    queries = [AsText("MB:it:enum"), ("MB:it:long", ("MB:it:double", "MB:it:long"))]
    line.link.call(lambda: results.append(line.link.fetch(queries)))
    assert results == [["On", (7, (0.5, 7))]]


def test_a_batch_leaves_in_one_segment_once_its_channels_exist(line: Line) -> None:
    names = ("double", "time", "long", "enum", "array")
    line.fetch(*names)
    line.proxy.segments.clear()
    line.fetch(*names)
    assert [len(segment) for segment in line.proxy.segments] == [16 * len(names)]


def test_a_put_is_done_when_the_record_has_it(line: Line) -> None:
    line.assign("double", 2.5)
    assert line.instrument.kept[-1] == 2.5
    line.assign("enum", "On")
    assert line.instrument.kept[-1] == 1
    line.assign("enum", 0)
    assert line.instrument.kept[-1] == 0
    line.assign("go.PROC", 1)
    assert line.instrument.kept[-1] == "went"


def test_a_start_reads_back_what_the_record_says(line: Line) -> None:
    results: list[object] = []
    line.link.call(lambda: results.append(line.link.start("MB:it:double", 4.5)))
    assert results == [4.5]
    line.link.call(lambda: results.append(line.link.start("MB:it:picky", 4.5)))
    assert results == [4.5, 0.0]


def test_a_refused_put_is_refused_and_the_circuit_lives(line: Line) -> None:
    with pytest.raises(Refused, match=r"picky = 1.0 is refused"):
        line.assign("picky", 1.0)
    line.proxy.segments.clear()
    with pytest.raises(Refused, match="time cannot be written"):
        line.assign("time", 1.0)
    assert len(line.proxy.segments) == 1, "the channel was made, nothing was put"
    assert line.fetch("long") == [7]


@pytest.mark.parametrize(("status", "told"), [("000000a0", "ECA_PUTFAIL"), ("deadbeef", "status 0xdeadbeef")])
def test_what_became_of_a_put_is_told_also_by_a_status_that_there_is_not(line: Line, status: str, told: str) -> None:
    line.assign("double", 1.5)
    line.proxy.status = bytes.fromhex(status)
    with pytest.raises(Refused, match=f"double = 2.5 is refused .{told}"):
        line.assign("double", 2.5)
    assert line.fetch("long") == [7]


def test_a_record_that_is_not_there_is_named(line: Line) -> None:
    with pytest.raises(LinkError, match="there is no record MB:it:nowhere"):
        line.fetch("long", "nowhere")
    assert line.fetch("long") == [7]


def test_a_value_that_its_record_does_not_vouch_for_is_no_value(line: Line) -> None:
    with pytest.raises(GarbledReply, match="undefined is INVALID"):
        line.fetch("long", "undefined")


def test_a_lost_circuit_is_an_error_and_the_next_use_connects_again(line: Line) -> None:
    assert line.fetch("long") == [7]
    line.proxy.cut()
    with pytest.raises(LinkError, match="lost"):
        line.fetch("long")
    assert line.fetch("long", "double") == [7, 0.5]


def test_a_put_is_never_sent_twice(line: Line) -> None:
    line.fetch("double")
    line.proxy.cut()
    with pytest.raises(LinkError):
        line.assign("double", 9.0)
    assert line.instrument.kept == [0.5]


def test_a_silent_server_times_out_in_real_time_only(line: Line) -> None:
    line.fetch("long")
    line.proxy.mute = True
    before = line.clock.monotonic()
    with pytest.raises(LinkTimeout, match=r"within 0.5 s"):
        line.fetch("long")
    assert line.clock.monotonic() == before
    line.proxy.mute = False
    assert line.fetch("text") == ["hello"]
    assert line.proxy.n_connections == 2, "late replies go to a circuit that nobody reads any more"


def test_nobody_there_is_said_with_the_address(tmp_path: Path) -> None:
    clock = SimulatedClock(tmp_path / "now", [])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    link = ChannelAccessLink("epics", f"ca://127.0.0.1:{port}/MB:it:", clock)
    with pytest.raises(LinkError, match=rf"no EPICS server answers at ca://127.0.0.1:{port}/MB:it:"):
        link.call(link.open)
    clock.close()


def test_no_thread_process_or_environment_comes_along(line: Line) -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    threads, environment, processes = set(threading.enumerate()), dict(os.environ), children.read_text()
    line.fetch("long", "array")
    line.assign("double", 1.0)
    new = {thread.name for thread in set(threading.enumerate()) - threads}
    assert all("pump" in name for name in new), "only the proxy's"
    assert dict(os.environ) == environment
    assert children.read_text() == processes


def test_instruments_of_one_server_share_a_link() -> None:
    keys = {ChannelAccessLink.key(f"ca://host:{port}/{name}:", name) for port, name in ((1, "a"), (1, "b"), (2, "c"))}
    assert keys == {"host:1", "host:2"}


def test_addresses_have_a_default_port_and_a_clear_complaint() -> None:
    assert split_address("ca://ioc13/13IDD:") == (("ioc13", 5064), "13IDD:")
    assert split_address("ca://127.0.0.1:5999/MB:press:") == (("127.0.0.1", 5999), "MB:press:")
    for wrong in ("13IDD:", "tcp://host/P:", "ca:///P:", "ca://host:many/P:"):
        with pytest.raises(ValueError, match=r"accepted is ca://host:port/PREFIX"):
            split_address(wrong)
