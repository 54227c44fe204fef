"""Who is not the guard's, or does not speak its language: nothing changes, and it is written down."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import pytest

SLACK = float(os.environ.get("MEGABAR_SLACK", "3"))
OFF = b"OUTP OFF"
NOBODY = 65534
ASK = """
import json, os, socket, sys
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
said = []
for request in json.loads(sys.argv[2]):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5.0)
    try:
        connection.connect(sys.argv[1])
        connection.sendall(json.dumps(request).encode() + b"\\n")
        said.append(connection.recv(1000).decode())
    except OSError as error:
        said.append(str(error))
print(json.dumps(said))
""".replace("{nobody}", str(NOBODY))
"""Requests of another user."""
CONNECT = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
try:
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5.0)
    connection.sendall(b"OUTP OFF\\nE1?\\n")
    print(connection.recv(100))
except ConnectionError:
    print(b"")
""".replace("{nobody}", str(NOBODY))
REQUESTS = [
    {"op": "trip", "why": "mischief"},
    {"op": "arm", "run": "theirs", "dwell_s": 1.0},
    {"op": "release"},
    {"op": "ack", "who": "nobody"},
    {"op": "leave"},
    {"op": "status"},
]
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def of_nobody(path: str) -> list[str]:
    asked = [sys.executable, "-I", "-c", ASK, path, json.dumps(REQUESTS)]
    answers: list[str] = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    return answers


@pytest.fixture
def open_folder(close_after):
    """A folder that everybody may look into; it outlives the guard."""
    folder = tempfile.TemporaryDirectory()
    close_after(types.SimpleNamespace(close=folder.cleanup))
    Path(folder.name).chmod(0o755)
    return Path(folder.name)


@pytest.fixture
def in_use(open_folder, laser, guard):
    """A guard whose engine has switched the laser on."""
    guard = guard(laser, folder=open_folder)
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    return guard, engine


@as_root
@pytest.mark.row(33, control="test_a_request_of_its_own_user_is_heard")
@pytest.mark.parametrize("opened", [False, True])
def test_another_user_changes_nothing(laser, in_use, measured, opened: bool) -> None:
    """The socket is its owner's alone; and where somebody has opened it to all, the guard asks who it is."""
    guard, engine = in_use
    if opened:
        Path(guard.path).chmod(0o666)
    answers = of_nobody(guard.path)
    if opened:
        assert not [answer for answer in answers if answer.startswith("{") and "is not the guard's" not in answer]
        assert [line["uid"] for line in guard.log("refused a request")] == [NOBODY] * len(REQUESTS)
    else:
        assert all("Permission denied" in answer for answer in answers)
    state = engine.ask("status")
    assert state["armed"] and laser.on and not engine.tripped
    whom = "as anybody may connect" if opened else "as it is"
    measured(33, f"{len(REQUESTS)} requests of another user, socket {whom}: let in", "none", 0.0, "requests")


@as_root
@pytest.mark.row(33)
def test_another_user_does_not_reach_the_instrument(laser, in_use) -> None:
    guard, engine = in_use
    port = engine.ask("hello")["addresses"]["laser"].split("::")[2]
    asked = [sys.executable, "-I", "-c", CONNECT, port]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "b''\n"
    assert laser.lines == ["OUTP ON"]
    assert guard.log("refused a connection")[0]["port"] == "laser"
    assert engine.ask("status")["armed"]


def test_a_request_of_its_own_user_is_heard(laser, in_use) -> None:
    guard, engine = in_use
    guard.engine().ask("trip", why="mischief")
    assert engine.told.wait(1.0) and not laser.on


@pytest.mark.row(33)
@pytest.mark.parametrize(
    "request_",
    [{"op": "release"}, {"op": "arm", "run": "x", "dwell_s": 1.0}, {"op": "ack", "who": " "}, {"op": "leave"}],
)
def test_who_does_not_hold_the_lease_is_refused_and_written_down(laser, in_use, request_) -> None:
    guard, engine = in_use
    stranger = guard.engine()
    assert "refused" in stranger.ask(**request_)
    stranger.send(op="beat", n=1, progress=1, dwell_s=1e9)
    (line,) = guard.log("refused a request")
    assert (line["op"], line["pid"]) == (request_["op"], os.getpid())
    assert engine.ask("status")["armed"] and laser.on


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def random_frame(chance: random.Random) -> bytes:
    """Bytes, or JSON that is nearly a request."""
    if chance.random() < 0.5:
        return chance.randbytes(chance.randrange(200)) + b"\n"
    ops = ["hello", "status", "release", "leave", "beat", "ack", "_state", "__class__", "", 3, None, ["arm"]]
    values = [None, -1, 1e400, "x" * 50, {}, [[]], True]
    frame = {"op": chance.choice(ops), **{key: chance.choice(values) for key in ("n", "who", "dwell_s")}}
    return json.dumps(frame).encode() + b"\n"


@pytest.mark.row(34, control="test_a_server_without_a_limit_would_grow")
@pytest.mark.parametrize(
    ("n_frames", "n_connections"), [(10_000, 100), pytest.param(1_000_000, 1_000, marks=pytest.mark.soak)]
)
def test_random_frames_and_many_connections(laser, guard, measured, n_frames: int, n_connections: int) -> None:
    guard = guard(laser, lease_s=2.0)
    engine = guard.engine().arm()
    engine.line("laser").send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    pid, before = guard.pid, resident_bytes(guard.pid)
    chance, opened = random.Random(34), []
    for number in range(n_frames):
        if number % (n_frames // n_connections) == 0:
            opened.append(connection(guard))
            opened[-1].sendall(chance.randbytes(100))  # never ends
        with connection(guard) as stranger, contextlib.suppress(ConnectionError):
            stranger.sendall(random_frame(chance) + random_frame(chance))
    with connection(guard) as stranger, contextlib.suppress(ConnectionError):
        for _ in range(64):
            stranger.sendall(b"x" * (1 << 20))
    grown = resident_bytes(guard.pid) - before
    assert (guard.pid, engine.tripped) == (pid, "")
    assert engine.ask("status")["armed"] and laser.on
    begun = time.monotonic()
    engine.close()
    took_s = laser.wait(lambda: laser.times(OFF, begun), 3.0)[0] - begun
    for one in opened:
        one.close()
    assert grown <= 20e6
    assert took_s <= 0.1 * SLACK
    measured(34, f"{n_frames:,} random frames, {n_connections:,} connections: growth", "<= 20 MB", grown / 1e6, "MB")
    measured(34, "the same, then the engine leaves", "safe <= 100 ms", 1e3 * took_s)


def connection(guard) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(guard.path)
    made.settimeout(5.0)
    return made


def test_a_server_without_a_limit_would_grow(laser, guard) -> None:
    unlimited = """
import asyncio, sys
from megabar.acquisition.guard.keeper import keep
from megabar.acquisition.guard.specification import load
start = asyncio.start_unix_server
asyncio.start_unix_server = lambda talk, path, limit: start(talk, path, limit=1 << 30)
keep(load(sys.argv[1]))
"""
    guard = guard(laser, program=("-I", "-c", unlimited))
    before = resident_bytes(guard.pid)
    with connection(guard) as stranger:
        for _ in range(64):
            stranger.sendall(b"x" * (1 << 20))
        assert resident_bytes(guard.pid) - before > 20e6
