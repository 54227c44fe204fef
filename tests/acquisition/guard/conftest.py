"""A real guard process between an engine and instruments that do what a test tells them, however bad."""

import collections
import contextlib
import itertools
import json
import os
import pty
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.guard.words import checksum

NUMBER = r"([-+]?\d+(?:\.\d*)?)\s*$"
START_S = 10.0


def check(name: str, question: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """A question in text and the numbers that are wanted."""
    ask = (question + "\n").encode().hex()
    made = {"name": name, "ask": ask, "low": low, "high": high, "mask": 0, "pattern": NUMBER}
    return {**made, "signed": False, "scale": 1.0, **more}


def watched(name: str, question: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """The same, asked again and again."""
    return check(name, question, low, high) | {"every_s": 0.02, "stale_s": 0.4, "while_on": []} | more


class Instrument:
    """One end of a line: notes when which bytes came, and hands whole messages to `answer`, one by one.

    While it hangs it takes bytes and does nothing; what has come then is dealt with afterwards.
    """

    end = b"\n"

    def __init__(self, name: str = "laser", *, serial: bool = False) -> None:
        self.name, self.serial = name, serial
        self.chunks: list[tuple[float, bytes]] = []
        self.messages: list[tuple[float, bytes]] = []
        self.delay: Callable[[bytes], float] = lambda message: 0.0
        self.awake = threading.Event()
        self.awake.set()
        self.changed = threading.Condition()
        self.replied: list[float] = []
        self.n_collisions = 0
        """How often bytes came while an answer was due: on a half-duplex line they meet it."""
        self._busy = False
        self._waiting: collections.deque[tuple[int, bytes]] = collections.deque()
        self._arrived = threading.Semaphore(0)
        self._closed = False
        self._ends: list[int] = []
        self._sockets: list[socket.socket] = []
        if serial:
            master, slave = pty.openpty()
            tty.setraw(slave)
            self._ends += [master, slave]
            self.address: list[Any] = ["serial", os.ttyname(slave), 115200]
        else:
            self._server = socket.create_server(("127.0.0.1", 0))
            self._server.setblocking(False)
            self._sockets.append(self._server)
            self.address = ["tcp", "127.0.0.1", self._server.getsockname()[1]]
        self._wake = os.pipe()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._hear, self._work)]
        for thread in self._threads:
            thread.start()

    def _hear(self) -> None:
        buffers: dict[int, bytearray] = {self._ends[0]: bytearray()} if self.serial else {}
        while not self._closed:
            listening = [*buffers, self._wake[0], *([] if self.serial else [self._server])]
            for ready in select.select(listening, [], [])[0]:
                if ready == self._wake[0]:
                    os.read(ready, 1)
                elif not isinstance(ready, int):
                    connection, _ = ready.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._sockets.append(connection)
                    buffers[connection.fileno()] = bytearray()
                else:
                    self._take(ready, buffers)

    def _take(self, end: int, buffers: dict[int, bytearray]) -> None:
        try:
            data = os.read(end, 65536)
        except OSError:
            data = b""
        moment = time.monotonic()
        if not data:
            del buffers[end]
            return
        with self.changed:
            self.chunks.append((moment, data))
            self.n_collisions += self._busy
            buffers[end] += data
            while (message := self.cut(buffers[end])) is not None:
                self.messages.append((moment, message))
                self._busy = True
                self._waiting.append((end, message))
                self._arrived.release()
            self.changed.notify_all()

    def cut(self, buffer: bytearray) -> bytes | None:
        """Take one message off the front."""
        head, end, _ = buffer.partition(self.end)
        if not end:
            return None
        del buffer[: len(head) + len(end)]
        return bytes(head)

    def _work(self) -> None:
        while True:
            self._arrived.acquire()
            if self._closed:
                return
            self.awake.wait()
            end, message = self._waiting.popleft()
            if wait_s := self.delay(message):
                time.sleep(wait_s)
            with self.changed:
                reply = self.answer(message)
                self.changed.notify_all()
                self._busy = False
                self.replied.append(time.monotonic())
            if reply:
                with contextlib.suppress(OSError):
                    os.write(end, reply)

    def answer(self, message: bytes) -> bytes:
        raise NotImplementedError

    def wait(self, true: Callable[[], Any], within_s: float = 5.0) -> Any:
        """Until something is so of the instrument; fails after `within_s`."""
        with self.changed:
            assert self.changed.wait_for(true, within_s), f"{self.name} did not get there; last {self.messages[-5:]}"
            return true()

    def times(self, message: bytes, after: float = 0.0) -> list[float]:
        """When a message came."""
        with self.changed:
            return [moment for moment, found in self.messages if found == message and moment >= after]

    def since(self, moment: float) -> bytes:
        """All bytes that came after a moment."""
        with self.changed:
            return b"".join(data for when, data in self.chunks if when >= moment)

    def hand_over(self) -> list[int]:
        """Stop listening; both ends of a serial line are the caller's to close from now on."""
        ends, self._ends = self._ends, []
        self._closed = True
        os.write(self._wake[1], b".")
        self._threads[0].join(5)
        return ends

    def unplug(self) -> None:
        """Close every connection."""
        for connection in self._sockets[1:]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        self.awake.set()
        self._arrived.release()
        os.write(self._wake[1], b".")
        for thread in self._threads:
            thread.join(5)
        for end in (*self._ends, *self._wake):
            os.close(end)
        for connection in self._sockets:
            connection.close()


class Source(Instrument):
    """Something with an output that can be on, in text; `E17?` is answered by 17."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.on = self.stuck = False
        self.volts, self.reading = 0.0, "20.0"
        self.garbled, self.chance = 0.0, random.Random(1)
        self.late: collections.deque[bytes] = collections.deque()
        """Answers that come before the one that is due."""
        super().__init__(*args, **options)

    def answer(self, message: bytes) -> bytes:
        text = message.decode("latin-1")
        if text == "OUTP ON":
            self.on = True
        elif text == "OUTP OFF":
            self.on = self.on and self.stuck
        elif found := re.fullmatch(r"VOLT (\S+)", text):
            self.volts = float(found[1])
        if not text.endswith("?"):
            return b""
        answers = {"*IDN?": f"FAKE,{self.name}", "OUTP?": int(self.on), "VOLT?": self.volts, "READ?": self.reading}
        self.late.append(f"{answers.get(text, text[1:-1])}\n".encode())
        reply = bytearray(self.late.popleft())
        for i in range(len(reply)):
            if self.garbled and self.chance.random() < self.garbled / len(reply):
                reply[i] = self.chance.randrange(256)
        return bytes(reply)

    @property
    def lines(self) -> list[str]:
        with self.changed:
            return [message.decode("latin-1") for _, message in self.messages]

    def off(self, **more: Any) -> dict[str, Any]:
        """The safe action."""
        seen = [check("output", "OUTP?", 0, 0)]
        return {"name": "output off", "send": [b"OUTP OFF\n".hex()], "seen": seen, "within_s": 0.5} | more

    def port(self, **changes: Any) -> dict[str, Any]:
        """What a guard is told of it."""
        return {
            "kind": "line",
            "address": self.address,
            "terminator": "\n",
            "answers_all": False,
            "refusal": "refused",
            "identity": {"ask": b"*IDN?\n".hex(), "expect": "FAKE"},
            "reply_s": 0.1,
            "stage": 0,
            "on_loss": "off",
            "ways": {"off": {"actions": [self.off()], "otherwise": "", "grace_s": 0.0}},
            "reads": [b"OUTP?\n".hex()],
            "commands": [
                {"name": "output on", "exact": b"OUTP ON\n".hex()},
                {"name": "output off", "exact": b"OUTP OFF\n".hex()},
                {"name": "volts", "head": "VOLT ", "tail": "", "low": 0.0, "high": 40.0},
            ],
            "watch": [],
            "kick": None,
        } | changes


def frame(*body: int) -> bytes:
    """With its checksum."""
    return bytes(body) + checksum(bytes(body))


class Slave(Instrument):
    """Unit 1 on Modbus RTU: coil 0 is the output, registers hold what is written."""

    ON, OFF, READ = frame(1, 5, 0, 0, 0xFF, 0), frame(1, 5, 0, 0, 0, 0), frame(1, 1, 0, 0, 0, 1)

    def __init__(self, *args: Any, **options: Any) -> None:
        self.on = self.stuck = False
        self.registers: dict[int, int] = {2: 0}
        super().__init__(*args, **options)

    def cut(self, buffer: bytearray) -> bytes | None:
        for size in (8, len(buffer)):
            if len(buffer) >= max(4, size) and checksum(buffer[: size - 2]) == buffer[size - 2 : size]:
                message = bytes(buffer[:size])
                del buffer[:size]
                return message
        return None

    def answer(self, message: bytes) -> bytes:
        number, value = int.from_bytes(message[2:4], "big"), int.from_bytes(message[4:6], "big")
        if message[1] == 1:
            return frame(1, 1, 1, int(self.on))
        if message[1] == 3:
            return frame(1, 3, 2, *self.registers.get(number, 0).to_bytes(2, "big"))
        if message[1] == 5:
            self.on = bool(value) or (self.on and self.stuck)
        elif message[1] == 6:
            self.registers[number] = value
        return message

    def port(self, **changes: Any) -> dict[str, Any]:
        """What a guard is told of it."""
        closed = check("closed", "", 0, 0, ask=self.READ.hex())
        off = {"name": "open", "send": [self.OFF.hex()], "seen": [closed], "within_s": 0.5}
        setpoint = {"name": "setpoint", "function": 6, "address": 2, "scale": 10.0, "signed": True}
        return {
            "kind": "rtu",
            "address": self.address,
            "terminator": "",
            "answers_all": False,
            "refusal": "",
            "identity": None,
            "reply_s": 0.1,
            "stage": 0,
            "on_loss": "off",
            "ways": {"off": {"actions": [off], "otherwise": "", "grace_s": 0.0}},
            "reads": [],
            "commands": [
                {"name": "close", "exact": self.ON.hex()},
                {"name": "open", "exact": self.OFF.hex()},
                {**setpoint, "low": -20.0, "high": 500.0},
            ],
            "watch": [],
            "kick": None,
        } | changes


class Line:
    """The engine's end of a port, behind the guard or at the instrument itself."""

    def __init__(self, address: str) -> None:
        kind, *where = address.split("::")
        if kind == "TCPIP":
            self._socket: socket.socket | None = socket.create_connection((where[0], int(where[1])), 5)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._descriptor = self._socket.fileno()
            os.set_blocking(self._descriptor, True)
        else:
            self._socket = None
            self._descriptor = os.open(kind.removeprefix("ASRL"), os.O_RDWR | os.O_NOCTTY)
        self._heard = b""

    def send(self, data: bytes) -> None:
        os.write(self._descriptor, data)

    def receive(self, within_s: float = 2.0) -> bytes:
        """What comes next; nothing after `within_s`, or at the end."""
        if not select.select([self._descriptor], [], [], within_s)[0]:
            return b""
        try:
            if self._socket is not None:
                return self._socket.recv(65536, socket.MSG_DONTWAIT)  # another thread may have taken it
            return os.read(self._descriptor, 65536)
        except OSError:
            return b""

    def ask(self, question: str, within_s: float = 2.0) -> str:
        """The line that answers; empty where none comes in time."""
        self.send(f"{question}\n".encode())
        end = time.monotonic() + within_s
        while b"\n" not in self._heard:
            more = self.receive(max(0.0, end - time.monotonic()))
            if not more:
                return ""
            self._heard += more
        reply, _, self._heard = self._heard.partition(b"\n")
        return reply.decode("latin-1")

    def exactly(self, n: int) -> bytes:
        while len(self._heard) < n and (more := self.receive()):
            self._heard += more
        data, self._heard = self._heard[:n], self._heard[n:]
        return data

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        elif self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


class Engine:
    """A connection to the guard, as an engine has it; what trips it is told by `tripped`."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self.tripped = ""
        self.held: list[tuple[float, str, float]] = []
        self.progress = 0
        self.told = threading.Event()
        self._answers: collections.deque[dict[str, Any]] = collections.deque()
        self._came = threading.Condition()
        self._closed = False
        self._still = threading.Event()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._beater: threading.Thread | None = None
        self.lines: list[Line] = []

    def _read(self) -> None:
        buffer = b""
        while data := self._receive():
            *lines, buffer = (buffer + data).split(b"\n")
            for message in map(json.loads, lines):
                if "tripped" in message:
                    self.tripped = message["tripped"]
                    self.told.set()
                elif "beat" not in message:
                    with self._came:
                        self._answers.append(message)
                        self._came.notify_all()
        with self._came:
            self._closed = True
            self._came.notify_all()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except OSError:
            return b""

    def send(self, **message: Any) -> None:
        with self._lock:
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        self.send(op=op, **more)
        with self._came:
            assert self._came.wait_for(lambda: self._answers or self._closed, 30.0)
            assert self._answers, "the guard has closed the connection"
            return self._answers.popleft()

    def hung_up(self, within_s: float = 2.0) -> bool:
        """Whether the guard has closed the connection."""
        with self._came:
            return self._came.wait_for(lambda: self._closed, within_s)

    def arm(self, run: str = "run", *, dwell_s: float = 60.0, resume: str = "", beats: bool = True) -> "Engine":
        """Take the lease, which must be given, and beat from now on."""
        answer = self.ask("arm", run=run, dwell_s=dwell_s, resume=resume)
        assert answer.get("armed"), answer
        self.held = answer["held"]
        if beats:
            self.beat_on(dwell_s)
        return self

    def beat_on(self, dwell_s: float = 60.0) -> None:
        def beat() -> None:
            for n in itertools.count():
                with contextlib.suppress(OSError):
                    self.send(op="beat", n=n, progress=self.progress, dwell_s=dwell_s)
                if self._still.wait(0.05):
                    return

        self._beater = threading.Thread(target=beat, daemon=True)
        self._beater.start()

    def stop_beating(self) -> float:
        """The moment after the last beat."""
        self._still.set()
        if self._beater is not None:
            self._beater.join(5)
        return time.monotonic()

    def line(self, name: str) -> Line:
        """The engine's end of a port."""
        line = Line(self.ask("hello")["addresses"][name])
        self.lines.append(line)
        return line

    def settled(self, **wanted: str) -> dict[str, Any]:
        """The guard's state once it has made safe; once steps, named as `laser_off`, have come so far, too."""
        end = time.monotonic() + 10.0
        while True:
            state = self.ask("status")
            if not state["tripping"] and (not wanted or all(state["report"].get(k) == v for k, v in wanted.items())):
                return state
            assert time.monotonic() < end, state
            time.sleep(0.005)

    def close(self) -> None:
        self.stop_beating()
        for line in self.lines:
            line.close()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(5)
        self._socket.close()


class Guard:
    """A guard with its keeper, started as the engine's side does it."""

    def __init__(
        self,
        folder: Path,
        ports: dict[str, Any],
        preexec: Callable[[], None] | None = None,
        program: tuple[str, ...] = ("-I", "-m", "megabar.acquisition.guard"),
        **changes: Any,
    ):
        self.folder = folder
        self.specification = {
            "rig": "fakes",
            "socket": str(folder / "s"),
            "log": str(folder / "guard.log"),
            "latch": str(folder / "guard.latch"),
            "lease_s": 0.3,
            "dwell_max_s": 7200.0,
            "orphan_s": 0.0,
            "rehearsal": False,
            "version": "the only one",
            "ports": ports,
        } | changes
        self.path = self.specification["socket"]
        told = folder / "guard.json"
        told.write_text(json.dumps(self.specification), encoding="utf-8")
        with (folder / "guard.out").open("ab") as output:
            self.keeper = subprocess.Popen(
                [sys.executable, *program, str(told)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=preexec,
            )
        self.engines: list[Engine] = []
        self._pids: set[int] = set()

    def serving(self) -> "Guard":
        end = time.monotonic() + START_S
        while True:
            try:
                Engine(self.path).close()
                return self
            except OSError:
                assert self.keeper.poll() is None and time.monotonic() < end, self.said()
                time.sleep(0.005)

    def said(self) -> str:
        return (self.folder / "guard.out").read_text(encoding="utf-8")

    def engine(self) -> Engine:
        self.engines.append(Engine(self.path))
        return self.engines[-1]

    def reached(self) -> Engine:
        """An engine, as soon as the guard serves again."""
        end = time.monotonic() + START_S
        while True:
            try:
                return self.engine()
            except OSError:
                assert time.monotonic() < end, self.said()
                time.sleep(0.002)

    @property
    def pid(self) -> int:
        """Of the guard itself."""
        children = Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text(encoding="ascii").split()
        self._pids |= set(map(int, children))
        return int(children[0])

    def log(self, what: str = "") -> list[dict[str, Any]]:
        """What it has written down."""
        lines = map(json.loads, Path(self.specification["log"]).read_text(encoding="utf-8").splitlines())
        return [line for line in lines if not what or line["what"] == what]

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
        with contextlib.suppress(OSError, IndexError):
            self.pid  # noqa: B018  # remembered
        self.keeper.kill()
        self.keeper.wait(5)
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        print(self.said())


@pytest.fixture
def close_after() -> Iterator[Callable[[Any], Any]]:
    """Hands on what has a `close`, and closes it in the end."""
    with contextlib.ExitStack() as stack:

        def add(thing: Any) -> Any:
            stack.callback(thing.close)
            return thing

        yield add


@pytest.fixture
def source(close_after: Callable[[Any], Any]) -> Callable[..., Source]:
    return lambda *args, **options: close_after(Source(*args, **options))


@pytest.fixture
def slave(close_after: Callable[[Any], Any]) -> Callable[..., Slave]:
    return lambda *args, **options: close_after(Slave(*args, **({"serial": True} | options)))


@pytest.fixture
def laser(source: Callable[..., Source]) -> Source:
    return source()


@pytest.fixture
def guard(close_after: Callable[[Any], Any], tmp_path: Path) -> Callable[..., Guard]:
    """A guard of some instruments, each as it declares itself, or of ports by name."""
    count = itertools.count()

    def start(*instruments: Any, wait: bool = True, folder: Path | None = None, **options: Any) -> Guard:
        if folder is None:
            folder = tmp_path / str(next(count))
            folder.mkdir()
        ports = options.pop("ports", {}) | {instrument.name: instrument.port() for instrument in instruments}
        made = close_after(Guard(folder, ports, **options))
        return made.serving() if wait else made

    return start


@pytest.fixture
def direct(close_after: Callable[[Any], Any]) -> Callable[[Instrument], Line]:
    """A line to an instrument without a guard in it."""

    def connect(instrument: Instrument) -> Line:
        kind, *where = instrument.address
        return close_after(
            Line(f"TCPIP::{where[0]}::{where[1]}::SOCKET" if kind == "tcp" else f"ASRL{where[0]}::INSTR")
        )

    return connect
