"""The engine's side of the guard: it starts one, arms it, and beats with the progress of the plan."""

import asyncio
import contextlib
import ctypes
import hashlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from ..devices.errors import NotPermitted
from .errors import InputError
from .home import home

LEASE_S = 1.0
BEAT_S = 0.1
PATIENCE_S = 1.4
"""A guard that has not answered a beat for so long is not there: the engine writes nothing any more."""
START_S = 10.0
ANSWER_S = 30.0
LONGEST_DWELL_S = 7800.0
"""Longer than a pause of a run."""
ORPHAN_S = 60.0
"""A guard that was started for one run stays for so long after it, once all is safe."""
REHEARSAL_S = 5.0
"""The same where the instruments are simulated and end with this process."""
LOG, LATCH = "guard.log", "guard.latch"
"""What the guard writes down, and the file that is there while a trip has not been acknowledged."""
CLONE_FILES = 0x400
"""Of unshare(2)."""
MOST_DESCRIPTORS = 1 << 16
PATH_LIMIT = 100
"""A Unix socket's path is short."""


class GuardLost(RuntimeError):
    """There is no guard, or it does not do what it is asked."""


class Lease:
    """A connection to the guard of `folder`, which keeps what the guard is told and writes down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket_path = _socket_path(folder)
        self._socket: socket.socket | None = None
        self._received = b""
        self.tripped = ""
        self.report: dict[str, str] = {}
        """What became of every safe action when the lease ended."""
        self._echoed_at = 0.0
        self._armed = False
        self._n_beats = 0
        self._beating: asyncio.TimerHandle | None = None
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._stand_in: threading.Thread | None = None
        self._busy_since = math.inf

    @classmethod
    def of(cls, folder: Path, rig: str, ports: Mapping[str, Mapping[str, Any]], *, rehearsal: bool = False) -> Self:
        """The guard that serves in `folder`, or a new one for `ports`. Raises GuardLost."""
        self = cls(folder)
        version = hashlib.sha256(json.dumps(ports, sort_keys=True).encode()).hexdigest()
        try:
            known = self.ask("hello")
        except GuardLost:
            self._start(rig, ports, rehearsal, version)
            return self
        if known["version"] != version:
            if "refused" in self.ask("leave"):
                what = known["latched"] or "a run"
                raise GuardLost(f"the guard still looks after another version of this rig: {what}")
            self._start(rig, ports, rehearsal, version)
        return self

    def _start(self, rig: str, ports: Mapping[str, Mapping[str, Any]], rehearsal: bool, version: str) -> None:
        """A new guard, in a session of its own: it outlives this process and its terminal."""
        folder = self.folder
        specification = {
            "rig": rig,
            "socket": self.socket_path,
            "log": str(folder / LOG),
            "latch": str(folder / LATCH),
            "lease_s": LEASE_S,
            "dwell_max_s": LONGEST_DWELL_S,
            "orphan_s": REHEARSAL_S if rehearsal else ORPHAN_S,
            "rehearsal": rehearsal,
            "version": version,
            "claims": "" if rehearsal else str(home() / "claims"),
            "ports": ports,
        }
        told, said = folder / "guard.json", folder / "guard.out"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            told.write_text(json.dumps(specification, indent=1), encoding="utf-8")
            output = said.open("ab")
        except OSError as error:
            raise GuardLost(f"{folder}: no guard can be started there ({error.strerror})") from error
        with output:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "megabar.acquisition.guard", str(told)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        threading.Thread(target=process.wait, name="guard", daemon=True).start()
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.close()
                self.ask("hello")
                return
            except GuardLost:
                if process.poll() is not None or time.monotonic() > deadline:
                    lines = said.read_text(encoding="utf-8").strip().splitlines()
                    raise GuardLost(f"the guard did not start: {lines[-1] if lines else 'it said nothing'}") from None
                time.sleep(0.01)

    def connect(self) -> None:
        """Connect to the guard of this folder. Raises GuardLost."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self.socket_path)
        except OSError as error:
            connection.close()
            raise GuardLost(f"no guard answers at {self.socket_path} ({error.strerror})") from error
        connection.settimeout(ANSWER_S)
        os.set_inheritable(connection.fileno(), False)
        self._socket, self._received = connection, b""

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """One request and its answer. Raises GuardLost."""
        if self._socket is None:
            self.connect()
        assert self._socket is not None
        try:
            self._socket.sendall(json.dumps({"op": op, **more}).encode() + b"\n")
            while True:
                for message in self._messages(self._socket.recv(65536)):
                    if "beat" not in message and "tripped" not in message:
                        return message
        except OSError as error:
            raise GuardLost(f"the guard does not answer ({error})") from error

    def _messages(self, data: bytes) -> list[dict[str, Any]]:
        if not data:
            raise ConnectionResetError("it has closed the connection")
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def arm(self, run: str, dwell_s: float, *, lost: str = "") -> list[tuple[float, str, float]]:
        """Take the lease; what was held for the run `lost` is taken over as it is.

        Returns what the guard has read meanwhile: how long ago (s), `instrument.reading`, value. Raises InputError,
        with what to do, where the guard refuses.
        """
        answer = self.ask("arm", run=run, dwell_s=dwell_s, resume=lost)
        if "refused" in answer:
            raise InputError(
                f"the guard refuses to be armed: {answer['refused']} (megabar guard status, megabar guard acknowledge)"
            )
        self._armed, self._echoed_at = True, time.monotonic()
        held_on = threading.Event()
        threading.Thread(target=self._hold_on, args=(held_on,), name="lifeline", daemon=True).start()
        held_on.wait(LEASE_S)
        return [(age_s, what, value) for age_s, what, value in answer["held"]]

    def _hold_on(self, held_on: threading.Event) -> None:
        """Hold a connection in a table of descriptors that is this thread's alone, until the guard ends it.

        All that a killed process shares between its threads is closed when the last of them is gone, and one that waits
        for a slow disk is not gone before the disk has answered. This one has nothing to wait for.
        """
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_FILES):
                return  # elsewhere than on Linux, or where that is forbidden: the guard sees the death all the same
            os.closerange(0, min(MOST_DESCRIPTORS, os.sysconf("SC_OPEN_MAX")))
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lifeline:
                lifeline.connect(self.socket_path)
                lifeline.sendall(b'{"op": "life"}\n')
                while lifeline.recv(4096):
                    held_on.set()
        except (OSError, AttributeError, ValueError):
            pass
        finally:
            held_on.set()

    def beat_with(
        self,
        loop: asyncio.AbstractEventLoop,
        progress: Callable[[], int],
        dwell_s: Callable[[], float],
        lost: Callable[[str], None],
        ending: Callable[[], bool],
    ) -> None:
        """Beat from `loop`, which the plan runs in, until the lease is released; `lost` is told why it was.

        `dwell_s` is how long the plan may make no progress now. While the loop is at work on a document (`busy`) a
        thread beats in its place, unless the run is `ending`: then nobody waits for a disk or an analysis.
        """
        assert self._socket is not None
        self._socket.setblocking(False)
        connection = self._socket

        def end(reason: str) -> None:
            if not self.tripped and self._armed:
                self.tripped = reason
                lost(reason)

        def hear() -> None:
            try:
                for message in self._messages(connection.recv(65536)):
                    if "tripped" in message:
                        end(f"the guard has tripped: {message['tripped']}")
                    elif message.get("armed"):
                        self._echoed_at = time.monotonic()
            except BlockingIOError:
                return
            except (OSError, ValueError) as error:
                loop.call_soon_threadsafe(loop.remove_reader, connection)
                end(f"the guard is lost ({error})")

        def hear_in_turn() -> None:
            with self._turn:
                hear()

        def beat() -> bool:
            with self._turn:
                if not self._armed or self.tripped:
                    return False
                if time.monotonic() - self._echoed_at > 0.5 * LEASE_S:
                    hear()  # it may have spoken while this process was stopped, or its loop waited
                if time.monotonic() - self._echoed_at > LEASE_S:
                    end(f"the guard has not answered for {LEASE_S:g} s")
                    return False
                self._n_beats += 1
                message = {"op": "beat", "n": self._n_beats, "progress": progress(), "dwell_s": dwell_s()}
                with contextlib.suppress(OSError):  # hear() notices, and the echo fails to come
                    connection.send(json.dumps(message).encode() + b"\n")
                return True

        def go_on() -> None:
            if beat():
                self._beating = loop.call_later(BEAT_S * getattr(loop, "factor", 1.0), go_on)

        def stand_in() -> None:
            while not self._over.wait(BEAT_S):
                if time.monotonic() - self._busy_since > BEAT_S and not ending():
                    beat()

        def begin() -> None:
            loop.add_reader(connection, hear_in_turn)
            go_on()

        self._over.clear()
        loop.call_soon_threadsafe(begin)
        self._stand_in = threading.Thread(target=stand_in, name="lease", daemon=True)
        self._stand_in.start()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Around what the engine's loop does with a document: it may take its time, as long as the plan may dwell."""
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = math.inf

    def stop_beating(self, loop: asyncio.AbstractEventLoop) -> None:
        """The plan is over: hand the connection back to `ask`."""
        assert self._socket is not None and self._stand_in is not None
        self._over.set()
        self._stand_in.join()
        stopped, connection = threading.Event(), self._socket

        def stop() -> None:
            if self._beating is not None:
                self._beating.cancel()
            loop.remove_reader(connection)
            stopped.set()

        loop.call_soon_threadsafe(stop)
        stopped.wait(LEASE_S)
        connection.setblocking(True)
        connection.settimeout(ANSWER_S)

    def check(self) -> None:
        """Raises NotPermitted where nothing may be sent any more: the guard has tripped, or was silent for too long."""
        if self.tripped:
            raise NotPermitted(self.tripped)
        if self._armed and time.monotonic() - self._echoed_at > PATIENCE_S:
            raise NotPermitted(f"the guard has not answered for {PATIENCE_S:g} s")

    def permit_for(self, guarded: Iterable[str]) -> Callable[[str], None]:
        """What a link asks before it sends: `check`, for commands to what is guarded (names or prefixes of records)."""
        prefixes = tuple(guarded)

        def permit(command: str) -> None:
            if command.startswith(prefixes):
                self.check()

        return permit

    def release(self) -> dict[str, str]:
        """Give the lease back; what became of every safe action. Raises GuardLost."""
        self._armed = False
        try:
            answer = self.ask("release") if not self.tripped else self._settled()
        except GuardLost:  # it has hung, or died: another comes, and tells
            self.close()
            answer = {"refused": ""}
        if "refused" in answer:
            answer = self._settled()
            self.tripped = self.tripped or f"the guard has tripped: {answer['latched']}"
        self.report = answer["report"]
        return self.report

    def state(self) -> dict[str, Any]:
        """What the guard says of itself; where none runs, what it has left behind."""
        try:
            return {"running": True, **self.ask("status")}
        except GuardLost:
            latch = self.folder / LATCH
            latched = latch.read_text(encoding="utf-8") if latch.exists() else ""
            return {"running": False, "armed": False, "run": "", "latched": latched, "report": {}, "held_s": {}}

    def acknowledge(self, who: str, *, even_unconfirmed: bool = False) -> dict[str, Any]:
        """End a trip; the answer has `refused` where that is not possible.

        Where no guard runs it had confirmed everything, or it would have stayed: then its latch is taken away.
        """
        try:
            return self.ask("ack", who=who, even_unconfirmed=even_unconfirmed)
        except GuardLost:
            latch = self.folder / LATCH
            if not latch.exists():
                return {"refused": "there is no trip to acknowledge"}
            line = {"what": "acknowledged", "wall": time.time(), "who": who, "of": latch.read_text(encoding="utf-8")}
            with (self.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            latch.unlink()
            return {}

    def leave(self) -> None:
        """Let go; a guard that has nothing to look after ends, one whose lease was not released trips."""
        with contextlib.suppress(GuardLost):
            self.ask("leave")
        self.close()

    def _settled(self) -> dict[str, Any]:
        """The state once the guard has made safe; of the guard that came after one that has died."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                state = self.ask("status")
                if not state["tripping"]:
                    return state
            except GuardLost:
                self.close()
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise GuardLost("the guard is still making safe")
            time.sleep(0.02)

    def close(self) -> None:
        """Let go of the connection; the guard trips if the lease was not released."""
        self._over.set()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _socket_path(folder: Path) -> str:
    """Beside the rest, or where that path is too long for a socket in a folder that is this user's alone."""
    path = str(folder.absolute() / "guard.socket")
    if len(path) < PATH_LIMIT:
        return path
    ours = Path(tempfile.gettempdir()) / f"megabar-{os.getuid()}"
    ours.mkdir(mode=0o700, exist_ok=True)
    state = ours.stat(follow_symlinks=False)
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise GuardLost(f"{ours} must be a folder that is yours alone")
    return str(ours / hashlib.sha256(path.encode()).hexdigest()[:16])
