"""The guard itself: who holds the lease, what trips it, and what is told to whom."""

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

from .epics import EpicsPort
from .inspection import inspect
from .log import Log, now
from .port import Port, StreamPort
from .sequence import UNCONFIRMED, Sequence
from .specification import Check, Specification, Watched
from .words import holds

LOOK_S = 0.01
"""How often the lease is looked at."""
WRITTEN_AFTER_S = 0.05
"""How long what is written about a trip waits for the first commands: the disk may be slow."""
LIVES, SERVES = b".", b"s"
"""What a guard shows its keeper."""
FIRST_S, BEFORE_TRIP_S = 0.25, 0.05
"""How long a command waits for what it depends on to be read again, and a trip for whether it is still needed."""
STARVED_S = 0.2
"""A guard that was not scheduled for so long first reads the beats that have queued up."""


class Guard:
    """One guard. Not armed to begin with; `latched` says why an engine may not arm it."""

    def __init__(self, specification: Specification, alive: int) -> None:
        self._specification, self._alive = specification, alive
        self._log = Log(specification["log"])
        kinds: dict[str, type[Any]] = {"line": StreamPort, "rtu": StreamPort, "epics": EpicsPort}
        self._ports: dict[str, Port] = {
            name: kinds[port["kind"]](name, port, self._log, self.trip, self)
            for name, port in specification["ports"].items()
        }
        self._sequence = Sequence(self._ports, self._log)
        self.armed = False
        self.latched = _read(specification["latch"])
        self._holder: asyncio.StreamWriter | None = None
        self._run = self._lost_run = ""
        self._beaten = self._moved = self._armed_s = 0.0
        self._progress: Any = None
        self._dwell_s = 10.0
        self._process = self._pid = -1
        self._making_safe: asyncio.Task[None] | None = None
        self._values: dict[str, tuple[float, float]] = {}
        self._orphaned = now()
        self._clients: set[asyncio.StreamWriter] = set()
        self._life: asyncio.StreamWriter | None = None
        """A connection that a thread of the engine holds for itself: it ends as soon as the engine is killed."""
        self._leaving: asyncio.Task[None] | None = None
        self._leaves = False
        self._alone = False
        """Whether its keeper has died: it leaves as soon as it may, and the next engine gets a guard that has one."""

    async def serve(self, *, restarted: bool) -> None:
        """Until it is told to leave."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, functools.partial(self._told_to_leave, number))
        life = asyncio.ensure_future(self._watch_lease())
        if restarted:
            self._begin("the guard had died", self._ways_on_loss(), tripped=True)
        started = await asyncio.gather(*(port.start() for port in self._ports.values()), return_exceptions=True)
        troubles = [str(error) or type(error).__name__ for error in started if isinstance(error, BaseException)]
        path = self._specification["socket"]
        Path(path).unlink(missing_ok=True)
        mask = os.umask(0o177)
        server = await asyncio.start_unix_server(self._talk, path, limit=8192)
        os.umask(mask)
        self._show_life(SERVES)
        self._log.write("serving", troubles=troubles, latched=self.latched)
        watchers = [self._watch(name, check) for name, check in self._checks()]
        watchers += [self._kick(name) for name in self._kicked()]
        async with server:
            await asyncio.gather(life, *watchers)

    def _checks(self) -> list[tuple[str, Watched]]:
        return [(name, check) for name, port in self._specification["ports"].items() for check in port["watch"]]

    def _ways_on_loss(self) -> dict[str, str]:
        return {name: port["on_loss"] for name, port in self._specification["ports"].items()}

    def _at_rest(self) -> dict[str, str]:
        """What a run that has ended leaves behind: the first of each port's ways."""
        return {name: next(iter(port["ways"])) for name, port in self._specification["ports"].items()}

    # the engine

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._leaves:  # who comes now gets the next guard
            writer.close()
            return
        self._clients.add(writer)
        pid, uid, _ = struct.unpack(
            "3i", writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
        try:
            if uid not in (os.getuid(), 0):
                self._refuse(writer, pid, uid, "", f"user {uid} is not the guard's")
                return
            while line := await reader.readline():
                message = json.loads(line)
                op = str(message.get("op"))
                request = getattr(self, f"_on_{op}", None)
                if request is None:
                    answer = {"refused": "there is no such request"}
                else:
                    answer = await request(writer, pid, message)
                if "refused" in answer:
                    self._refuse(writer, pid, uid, op, **answer)
                else:
                    _say(writer, **answer)
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            self._log.write("a message that is none", pid=pid, why=f"{type(error).__name__} {error}"[:120])
        finally:
            self._clients.discard(writer)
            if self._holder is writer:
                self.trip("the engine has closed its lease")
            if self._life is writer:
                self.trip("the engine has died")
            writer.close()

    def _refuse(self, writer: asyncio.StreamWriter, pid: int, uid: int, op: str, refused: str, **more: Any) -> None:
        self._log.write("refused a request", pid=pid, uid=uid, op=op[:20], why=refused)
        _say(writer, refused=refused, **more)

    async def _on_hello(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        addresses = {name: port.address for name, port in self._ports.items() if port.address}
        told = {name: self._specification[name] for name in ("rig", "version")}
        return {**told, "addresses": addresses, **self._state()}

    async def _on_status(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        return self._state()

    async def _on_inspect(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        """Whether it could be armed now; nothing is asked of the instruments of a run that goes on."""
        if self.armed:
            return {"refused": self._why_not({}), "ports": {}}
        found = await asyncio.gather(*map(inspect, self._ports.values()))
        return {"refused": self._why_not({}), "ports": dict(zip(self._ports, found, strict=True))}

    def _state(self) -> dict[str, Any]:
        held = {name: round(until - now(), 3) for name, until in self._sequence.held_until.items()}
        return {
            "armed": self.armed,
            "run": self._run,
            "latched": self.latched,
            "report": self._sequence.report,
            "confirmed": self._sequence.confirmed,
            "tripping": self._is_making_safe(),
            "held_s": held,
        }

    async def _on_arm(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        run, dwell_s = str(message["run"]), self._bounded(message["dwell_s"])
        why = self._why_not(message)
        try:
            if not why:
                await asyncio.gather(*(port.ensure_open() for port in self._ports.values()))
                seen = await asyncio.gather(*(self._look(name, check) for name, check in self._checks()))
                why = self._why_not(message) or "; ".join(filter(None, seen))
            process = -1 if why else os.pidfd_open(pid)
        except (OSError, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            return {"refused": why}
        goes_on = bool(message.get("resume")) and message["resume"] == self._lost_run
        held = [(now() - moment, what, value) for moment, what, value in self._sequence.seen if goes_on]
        self._sequence.abandon()
        self._sequence.report = {}
        self._holder, self._run, self._dwell_s, self.armed = writer, run, dwell_s, True
        self._beaten = self._moved = self._armed_s = now()
        # the end of a process is seen even if a child of its keeps the socket
        self._process, self._pid = process, pid
        asyncio.get_running_loop().add_reader(process, self.trip, "the engine has died")
        await asyncio.gather(*(self._beat(name) for name in self._kicked() if self._ports[name].in_use))
        if not self.armed:
            return {"refused": self.latched}
        self._release_latch()
        for port in self._ports.values():
            port.open_to_engine()
        self._log.write("armed", pid=pid, run=self._run)
        return {"armed": True, "held": held}

    def _why_not(self, message: dict[str, Any]) -> str:
        """Why an engine may not arm; one that goes on with the lost run may, while its ports are held."""
        if self._holder is not None:
            return "another engine holds the lease"
        if self._is_making_safe():
            return "it is being made safe"
        resumes = bool(message.get("resume")) and message["resume"] == self._lost_run
        if resumes and self._sequence.held_until and UNCONFIRMED not in self._sequence.report.values():
            return ""
        if self.latched:
            return f"{self.latched}; a person must acknowledge that first"
        return "a port is held for the run that was lost" if self._sequence.held_until else ""

    async def _on_beat(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        if self._holder is not writer:
            return {"beat": message["n"], "armed": False, "latched": self.latched}
        self._beaten = now()
        self._dwell_s = self._bounded(message["dwell_s"])
        if message["progress"] != self._progress:
            self._progress, self._moved = message["progress"], now()
        return {"beat": message["n"], "armed": self.armed}

    def _bounded(self, dwell_s: Any) -> float:
        return min(self._specification["dwell_max_s"], float(dwell_s))  # in this order for a NaN

    async def _on_life(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        if not self.armed or pid != self._pid or self._life is not None:
            return {"refused": "the lease is not yours"}
        self._clients.discard(writer)
        self._life = writer
        return {"life": True}

    async def _on_release(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        if self._holder is not writer:
            return {"refused": "the lease is not yours"}
        await self._begin("the run has ended", self._at_rest(), tripped=False)
        return {"released": True, **self._state()}

    async def _on_leave(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        if self._holder is not None or self.latched or not self._sequence.over:
            return {"refused": "there is something left to look after"}
        if len(self._clients) > 1:
            return {"refused": "another engine is connected"}
        self._log.write("leaves")
        self._leaves = True
        Path(self._specification["socket"]).unlink(missing_ok=True)
        asyncio.get_running_loop().call_later(0.05, os._exit, 0)
        return {"leaves": True}

    async def _on_trip(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        self.trip(str(message.get("why", "asked for")))
        if self._making_safe is not None:
            await self._making_safe
        return self._state()

    async def _on_ack(self, writer: asyncio.StreamWriter, pid: int, message: dict[str, Any]) -> dict[str, Any]:
        who = str(message["who"]).strip()
        if not who or not who.isprintable():
            return {"refused": "a trip is acknowledged by a person: a name is needed"}
        if not self.latched:
            return {"refused": "there is no trip to acknowledge"}
        if self._is_making_safe() or self._sequence.held_until:
            return {"refused": "it is still being made safe"}
        if not self._sequence.confirmed and not message.get("even_unconfirmed"):
            return {"refused": "not everything is confirmed to be safe", **self._state()}
        self._log.write("acknowledged", who=who, of=self.latched, confirmed=self._sequence.confirmed)
        self._release_latch()
        return self._state()

    # what trips it

    async def _watch_lease(self) -> None:
        last, starved = now(), False
        while True:
            await asyncio.sleep(LOOK_S)
            self._show_life()
            moment = now()
            starved, last = moment - last > STARVED_S and not starved, moment
            if self.armed and not starved:
                if moment - self._beaten > self._specification["lease_s"]:
                    self.trip(f"the engine was silent for {moment - self._beaten:.2f} s")
                elif moment - self._moved > self._dwell_s + LOOK_S:
                    self.trip(f"the plan made no progress for {moment - self._moved:.2f} s")
                elif stale := self._stale(moment):
                    self.trip(stale)
            if self._alone and self._holder is None and not self.latched and self._sequence.over:
                self._log.write("leaves, for its keeper has died")
                os._exit(0)
            if self._clients or not (self._sequence.over or self._specification["rehearsal"]):
                self._orphaned = moment
            elif (patience := self._specification["orphan_s"]) and moment - self._orphaned > patience:
                self._log.write("no engine comes any more")
                os._exit(0)

    def _show_life(self, sign: bytes = LIVES) -> None:
        try:
            os.write(self._alive, sign)
        except BlockingIOError:
            pass
        except OSError:
            self._alone = True
            self.trip("the guard's keeper has died")

    async def _watch(self, name: str, check: Watched) -> None:
        """Keep a reading fresh; the lease is lost when it is not as it should be."""
        while True:
            await asyncio.sleep(check["every_s"])
            if not self._is_making_safe() and (why := await self._look(name, check)):
                self.trip(why)

    async def _look(self, name: str, check: Watched) -> str:
        """Read; what is wrong with it, as far as that matters now."""
        value = await self._read(name, check)
        if value is None or holds(value, check) or not self._matters(check):
            return ""
        if check["while_on"]:  # that may have been switched off since it was read
            outputs = [(port, watched) for port in check["while_on"] for watched, _ in self._outputs(port)]
            await self._read_soon(outputs, BEFORE_TRIP_S)
            if not self._matters(check):
                return ""
        return f"{name}.{check['name']} is {value:g}, beyond {check['low']:g}..{check['high']:g}"

    async def _read(self, name: str, check: Watched) -> float | None:
        """Read and keep; nothing where that fails: it goes stale."""
        try:
            value = await self._ports[name].ask(check)
        except (OSError, ValueError, TimeoutError):
            return None
        what = f"{name}.{check['name']}"
        self._values[what] = now(), value
        self._log.sample(what, value)
        return value

    async def _read_soon(self, checks: list[tuple[str, Watched]], within_s: float) -> None:
        """Read several, as far as that is done in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(self._read(name, check) for name, check in checks))

    def _stale(self, moment: float) -> str:
        for name, check in self._checks():
            what = f"{name}.{check['name']}"
            since = moment - max(self._values.get(what, (0.0, 0.0))[0], self._armed_s)
            if since > check["stale_s"] and self._matters(check):
                return f"{what} has not been read for {since:.2f} s"
        return ""

    def _matters(self, check: Watched) -> bool:
        return not check["while_on"] or any(self._is_on(port) for port in check["while_on"])

    def _is_on(self, name: str) -> bool:
        """Whether a port is, as far as its watched readings tell, not in its safe state."""
        values = ((self._values.get(f"{name}.{watched['name']}"), safe) for watched, safe in self._outputs(name))
        return any(value is not None and not holds(value[1], safe) for value, safe in values)

    def _outputs(self, name: str) -> list[tuple[Watched, Check]]:
        """The watched readings that tell whether a port is in its safe state, and what they are there."""
        port = self._specification["ports"][name]
        way = next(iter(port["ways"].values()))
        safe = {check["name"]: check for action in way["actions"] for check in action["seen"]}
        return [(watched, safe[watched["name"]]) for watched in port["watch"] if watched["name"] in safe]

    def _needs(self, name: str) -> list[tuple[str, Watched]]:
        """The readings that a port depends on."""
        return [(owner, check) for owner, check in self._checks() if name in check["while_on"]]

    async def look(self, name: str) -> None:
        """Read what a port depends on, if that is soon done; not from itself, whose line the command has."""
        await self._read_soon([need for need in self._needs(name) if need[0] != name], FIRST_S)

    def obstacle(self, name: str) -> str:
        """Why a command may not pass to a port now: a reading that it depends on is missing, stale or wrong."""
        for owner, check in self._needs(name):
            what = f"{owner}.{check['name']}"
            moment, value = self._values.get(what, (0.0, 0.0))
            if now() - moment > check["stale_s"]:
                return f"{what} is not fresh"
            if not holds(value, check):
                return f"{what} is {value:g}, beyond {check['low']:g}..{check['high']:g}"
        return ""

    async def _kick(self, name: str) -> None:
        """Keep a watchdog from dropping out, as long as the lease is held."""
        kick = self._specification["ports"][name]["kick"]
        while kick is not None:
            if self.armed and self._ports[name].in_use:
                await self._beat(name)
            await asyncio.sleep(kick["every_s"])

    async def _beat(self, name: str) -> None:
        kick = self._specification["ports"][name]["kick"]
        if kick is not None:
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                await self._ports[name].kick(kick["send"])

    def _kicked(self) -> list[str]:
        return [name for name, port in self._specification["ports"].items() if port["kick"]]

    # the trip

    def trip(self, why: str) -> None:
        """The lease is lost: make safe, once."""
        if self.armed:
            self._begin(why, self._ways_on_loss(), tripped=True)

    def _is_making_safe(self) -> bool:
        return self._making_safe is not None and not self._making_safe.done()

    def _begin(self, why: str, ways: dict[str, str], *, tripped: bool) -> asyncio.Task[None]:
        """From here on not a byte of the engine's passes."""
        self.armed = False
        for port in self._ports.values():
            port.shut()
        self._making_safe = asyncio.ensure_future(self._make_safe(why, ways, tripped))
        holder, self._holder = self._holder, None
        if tripped:
            self.latched, self._lost_run = why, self._run
            if holder is not None:
                _say(holder, tripped=why)
        if self._life is not None:
            self._life.close()
            self._life = None
        if self._process >= 0:
            asyncio.get_running_loop().remove_reader(self._process)
            os.close(self._process)
            self._process = -1
        return self._making_safe

    async def _make_safe(self, why: str, ways: dict[str, str], tripped: bool) -> None:
        begun = now()
        played = asyncio.ensure_future(self._sequence.play(ways))
        await asyncio.wait([played], timeout=WRITTEN_AFTER_S)
        if tripped:
            kept = asyncio.ensure_future(asyncio.to_thread(_write, self._specification["latch"], why))
            self._log.write("trip", why=why)
            self._log.around()
            await asyncio.wait([kept], timeout=1.0)
        await played
        if UNCONFIRMED in self._sequence.report.values() and not self.latched:  # whoever ends a run so has to look
            self.latched = f"{why}, and not everything was seen to be safe"
            await asyncio.to_thread(_write, self._specification["latch"], self.latched)
        for port in self._ports.values():
            port.leave()
        self._log.write("made safe", why=why, after_s=now() - begun, report=self._sequence.report)

    def _release_latch(self) -> None:
        self.latched = ""
        with contextlib.suppress(OSError):
            Path(self._specification["latch"]).unlink(missing_ok=True)

    def _told_to_leave(self, number: int) -> None:
        self.trip(f"the guard got {signal.Signals(number).name}")
        self._leaving = asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        """Once all is safe: what is held goes its other way, since nobody would look after it."""
        if self._making_safe is not None:
            await self._making_safe
        if self._sequence.held_until:
            ways = {name: self._specification["ports"][name]["ways"][way] for name, way in self._ways_on_loss().items()}
            final = {name: way["otherwise"] or self._ways_on_loss()[name] for name, way in ways.items()}
            await self._begin("the guard leaves", final, tripped=False)
        while UNCONFIRMED in self._sequence.report.values() and not self._specification["rehearsal"]:
            await asyncio.sleep(LOOK_S)
        os._exit(0)


def _say(writer: asyncio.StreamWriter, **message: Any) -> None:
    writer.write((json.dumps(message) + "\n").encode())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or "a trip"
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:  # whatever it says, somebody has to look
        return f"the latch cannot be read ({error})"


def _write(path: str, text: str) -> None:
    with contextlib.suppress(OSError), Path(path).open("w", encoding="utf-8") as file:
        file.write(f"{text} ({time.strftime('%Y-%m-%d %H:%M:%S')})")
        file.flush()
        os.fsync(file.fileno())
