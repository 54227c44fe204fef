"""A laser bench to break: simulated instruments that outlive every engine, runs of `megabar` on them, and a trace.

The instruments are served by `megabar simulate` and reached by their addresses, as on hardware; they and the guard go
on when an engine is killed. What they got, and when, stands in the trace; nothing here asks the engine.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from megabar.acquisition.clock import RealClock
from megabar.acquisition.export import export
from megabar.acquisition.lease import Lease
from megabar.acquisition.recovery import recover
from megabar.acquisition.run import Run, read_run
from megabar.devices.lasers.gate_relay import CONTACT, GateRelay, RelayLink

EMOFF = b"EMOFF\r"
OPEN = bytes.fromhex("010500000000")
PATIENCE_S = 30.0

RIG = (Path(__file__).parents[1] / "laser_bench.template").read_text(encoding="utf-8")


class Message(NamedTuple):
    """One line of the trace: when (s, monotonic), on which wire, `in` or `out` of the instrument, and the bytes."""

    time: float
    wire: str
    direction: str
    data: bytes


class Bench:
    """Simulated laser and relay, and a rig file with their addresses."""

    def __init__(self, folder: Path, *, guarded: bool = True) -> None:
        self.folder = folder
        self.trace_file = folder / "trace"
        self.rig = folder / "bench.toml"
        self._write_rig({"laser": "", "relay": ""}, guarded)
        self._served = subprocess.Popen(
            [*MEGABAR, "simulate", str(self.rig), "--trace", str(self.trace_file), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._served.stdout is not None
        self.addresses = json.loads(self._served.stdout.readline())["addresses"]
        self._take_precedence()
        self._write_rig(self.addresses, guarded)

    def _take_precedence(self) -> None:
        """Instruments do not wait for a processor: those that stand for them should not, on a busy machine."""
        for server in (self._served.pid, *children_of(self._served.pid)):
            for task in Path(f"/proc/{server}/task").iterdir():
                with contextlib.suppress(OSError):
                    os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(5))

    def _write_rig(self, addresses: Mapping[str, str], guarded: bool) -> None:
        self.rig.write_text(RIG.format(**addresses, hazardous=str(guarded).lower()), encoding="utf-8")

    def close(self) -> None:
        """Stop serving, and end the guards that stay behind."""
        self._served.terminate()
        self._served.wait(10)
        assert self._served.stdout is not None
        self._served.stdout.close()
        for pid in self.guard_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def guard(self) -> Path:
        """Where the rig's guard is told what to do, and writes down what it did."""
        (folder,) = (self.folder / "home" / "guards").iterdir()
        return folder

    def guard_pids(self) -> list[int]:
        """Keeper and guard, in this order; of a keeper that has died, the guard alone."""
        found = list(pids_of(str(self.folder / "home" / "guards")))
        return sorted(found, key=lambda pid: any(pid in children_of(other) for other in found))

    def make_dark(self) -> None:
        """Where no guard is left: by hand."""
        _, host, port, _ = self.addresses["laser"].split("::")
        with socket.create_connection((host, int(port)), 2.0) as line:
            for command in (b"EMOFF\r", b"SDC 0\r"):
                line.sendall(command)
                line.recv(100)

    def megabar(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One command, to its end."""
        return subprocess.run([*MEGABAR, *arguments], env=self.environment, capture_output=True, text=True, check=False)

    def acknowledge(self) -> None:
        """A person has looked."""
        lease = Lease(self.guard)
        answer = lease.acknowledge("the test", even_unconfirmed=True)
        assert answer.get("refused", "") in ("", "there is no trip to acknowledge"), answer
        lease.close()

    @property
    def environment(self) -> dict[str, str]:
        """With a place of its own for what outlives a run."""
        return {**os.environ, "MEGABAR_HOME": str(self.folder / "home")}

    def start(self, name: str, *, before: Sequence[str] = (), **settings: Any) -> "Engine":
        """Run the irradiation for ten minutes unless something ends it."""
        chosen = {"duration_s": 600, "settle_s": 0, "poll_s": 0.2, "current_percent": 4, "ramp_percent_per_s": 4}
        chosen |= settings
        if self.guard_pids() or any(self.folder.glob("home/guards/*/guard.latch")):
            self.acknowledge()
        if not self.guard_pids():
            self.make_dark()
        return Engine(self, self.folder / name, [f"--set={key}={value}" for key, value in chosen.items()], before)

    def trace(self, since: float = 0.0) -> list[Message]:
        """What went over the wires from then on."""
        messages = []
        for line in self.trace_file.read_text(encoding="ascii").splitlines(keepends=True):
            if line.endswith("\n"):
                moment, wire, direction, data = line.split(" ")
                if float(moment) >= since:
                    messages.append(Message(float(moment), wire, direction, bytes.fromhex(data)))
        return messages

    def gate_opened_after(self, moment: float) -> float:
        """How long after `moment` (s) the relay opened by itself; asked of it, once nobody else holds its line."""
        link = RelayLink("relay", self.addresses["relay"], RealClock(), **GateRelay.link_options)
        deadline = time.monotonic() + 3.0
        answers: list[float] = []
        link.call(link.open)
        try:
            while time.monotonic() < deadline:
                link.call(lambda: answers.extend(link.fetch([CONTACT])))
                if not answers[-1]:
                    return time.monotonic() - moment
        finally:
            link.call(link.close)
        return float("inf")

    def safe_after(self, moment: float, *, patience_s: float = 3.0) -> tuple[float, float]:
        """How long after `moment` (s) the laser was told to end its emission, and the gate to open."""
        deadline = time.monotonic() + patience_s
        while True:
            told = self.trace(moment)
            emission = [m.time for m in told if (m.wire, m.direction) == ("laser", "in") and EMOFF in m.data]
            gate = [m.time for m in told if (m.wire, m.direction) == ("relay", "in") and OPEN in m.data]
            if emission and gate:
                return emission[0] - moment, gate[0] - moment
            if time.monotonic() > deadline:
                return (
                    emission[0] - moment if emission else float("inf"),
                    gate[0] - moment if gate else float("inf"),
                )
            time.sleep(0.005)


class Engine:
    """One `megabar run`, in a session of its own."""

    def __init__(self, bench: Bench, out: Path, settings: Sequence[str], before: Sequence[str]) -> None:
        self.bench, self.out = bench, out
        self.began = time.monotonic()
        self.began_boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.printed, self.said = out.with_suffix(".printed"), out.with_suffix(".said")
        with self.printed.open("w") as output, self.said.open("w") as error:
            self.process = self._popen(bench, out, settings, before, output, error)

    @staticmethod
    def _popen(
        bench: Bench, out: Path, settings: Sequence[str], before: Sequence[str], output: IO[str], error: IO[str]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(before or MEGABAR),
                "run",
                "irradiation",
                "--rig",
                str(bench.rig),
                "--out",
                str(out),
                "--json",
                *settings,
            ],
            stdout=output,
            stderr=error,
            start_new_session=True,
            env=bench.environment,
        )

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def folder(self) -> Path:
        """The folder of its run."""
        (folder,) = (path for path in self.out.iterdir() if path.is_dir())
        return folder

    def until_on(self) -> None:
        """Wait until the laser emits with current: the hold has begun."""
        self._until(lambda: any(b"SDC 4.0" in message.data for message in self.bench.trace(self.began)))

    def _until(self, so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not so():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"the run did not come so far: {self.printed.read_text()} {self.said.read_text()}")
            time.sleep(0.01)

    def signal(self, number: int) -> float:
        """Send a signal; the moment just before (s, monotonic)."""
        moment = time.monotonic()
        os.kill(self.pid, number)
        return moment

    def ended(self) -> dict[str, Any]:
        """Wait for its end; what it printed."""
        code, printed = self.process.wait(PATIENCE_S), self.printed.read_text()
        return {"code": code, "error": self.said.read_text(), **(json.loads(printed) if printed else {})}

    def guard_log(self) -> list[dict[str, Any]]:
        """What the guard wrote down."""
        lines = (self.bench.guard / "guard.log").read_text(encoding="utf-8").splitlines()
        return [line for line in map(json.loads, lines) if line.get("boottime", 0.0) >= self.began_boottime]

    def engine_pids(self) -> list[int]:
        """The process that runs the plan, where it is not the one that was started."""
        return [pid for pid in pids_of(str(self.out)) if "python" in Path(f"/proc/{pid}/exe").readlink().name]

    def report(self) -> dict[str, str]:
        """What became of the safe actions of the last trip, once it is over."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if told := [line["report"] for line in self.guard_log() if line["what"] == "made safe"]:
                report: dict[str, str] = told[-1]
                return report
            time.sleep(0.01)
        raise AssertionError("the guard did not make safe")

    def pulses(self) -> int:
        """How often the plan has renewed the gate's pulse since it began to hold; each time after an event."""
        sent = [m.data for m in self.bench.trace(self.began) if (m.wire, m.direction) == ("relay", "in")]
        return sum(PLAN_PULSE in data for data in sent)

    @staticmethod
    def n_events(run: Run) -> int:
        """How many readings of the conditions and the hold are in a run."""
        return sum(len(stream) for name, stream in run.streams.items() if name in ("conditions", "hold"))

    def recovered(self) -> Run:
        """Mend the run's journal and read it."""
        recover(self.folder)
        export(self.folder, self.folder / "irradiation.nxs")
        return read_run(self.folder)


PLAN_PULSE = bytes.fromhex("010502000005")
"""The plan's pulse of 0.5 s, at 0.2 s between readings; the guard's own is longer."""
MEGABAR = (sys.executable, "-P", "-m", "megabar.acquisition.commands.main")


def children_of(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def pids_of(text: str) -> list[int]:
    """Processes whose command line has this text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Simulated laser and relay, guarded."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The same with nobody in between: what the guard is for."""
    bench = Bench(tmp_path_factory.mktemp("unguarded"), guarded=False)
    yield bench
    bench.close()


@pytest.fixture
def loaded() -> Iterator[None]:
    """Four loops that do nothing but work, beside what is tested."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()
