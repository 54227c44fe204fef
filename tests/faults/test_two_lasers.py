"""The engine is killed while both lasers heat a cell: both go dark, both gates open, the membrane is left as it is."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.lease import Lease
from megabar.acquisition.rig import shipped

from .conftest import EMOFF, MEGABAR, OPEN, PATIENCE_S, pids_of
from .test_engine_faults import KILLED_S, NEVER, seeds

pytestmark = pytest.mark.alone

FACTOR = 8.0
SIDES = ("upstream", "downstream")
HELD_LONG = {"pressure_gpa": 20, "pressure_tolerance_gpa": 20, "temperature_k": 2000, "target_error_k": 0.2}
HELD_LONG |= {"shortest_hold_s": 3600, "longest_hold_s": 3600}


class Cell:
    """The shipped rig, served eight times as fast as life by a process that outlives every engine."""

    def __init__(self, folder: Path, *, guarded: bool) -> None:
        self.folder, self.trace_file, self.served = folder, folder / "trace", folder / "served.json"
        self.environment = {**os.environ, "MEGABAR_HOME": str(folder / "home")}
        rig = "diamond_cell"
        if not guarded:
            rig = str(folder / "unguarded.toml")
            text = shipped()["diamond_cell"].read_text(encoding="utf-8").replace("hazardous = true\n", "")
            Path(rig).write_text(text, encoding="utf-8")
        self.rig = rig
        with self.served.open("w") as output:
            self._server = subprocess.Popen(
                [*MEGABAR, "simulate", rig, "--factor", f"{FACTOR:g}", "--trace", str(self.trace_file), "--json"],
                stdout=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self.served.read_text().endswith("\n"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        """Heat, and hold for long."""
        settings = [f"--set={key}={value}" for key, value in HELD_LONG.items()]
        command = [*MEGABAR, "run", "laser_heating", "--rig", self.rig, "--served", str(self.served)]
        with (self.folder / f"{name}.said").open("w") as said:
            return subprocess.Popen(
                [*command, "--out", str(self.folder / name), "--json", *settings],
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                env=self.environment,
            )

    def until_it_holds(self, engine: "subprocess.Popen[bytes]", name: str) -> None:
        """Both lasers heat, and the hold has begun."""
        deadline = time.monotonic() + 4.0 * PATIENCE_S
        while not any(b'"mean_seq_num"' in path.read_bytes() for path in (self.folder / name).glob("*/run.journal")):
            if engine.poll() is not None or time.monotonic() > deadline:
                engine.kill()
                raise AssertionError((self.folder / f"{name}.said").read_text())
            time.sleep(0.05)

    def safe_after(self, moment: float, patience_s: float = 3.0) -> dict[str, float]:
        """How long after `moment` each laser was told to end its emission, and each gate to open."""
        deadline = time.monotonic() + patience_s
        wanted = dict.fromkeys(SIDES, EMOFF) | {f"{side}_gate": OPEN for side in SIDES}
        while True:
            told: dict[str, float] = {}
            for line in self.trace_file.read_text(encoding="ascii").splitlines(keepends=True):
                if line.endswith("\n"):
                    when, wire, direction, data = line.split(" ")
                    if float(when) >= moment and direction == "in" and wanted.get(wire, b"-") in bytes.fromhex(data):
                        told.setdefault(wire, float(when) - moment)
            if len(told) == len(wanted) or time.monotonic() > deadline:
                return {wire: told.get(wire, NEVER[0]) for wire in wanted}
            time.sleep(0.005)

    @property
    def guard(self) -> Path:
        """Where the guard is told what to do."""
        (folder,) = (self.folder / "home" / "guards").iterdir()
        return folder

    def report(self) -> dict[str, str]:
        """What became of the safe actions of the last trip, once none is under way."""
        lease, deadline = Lease(self.guard), time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < deadline:
                state = lease.ask("status")
                report: dict[str, str] = state["report"]
                if report and not state["tripping"] and "UNDER WAY" not in report.values():
                    return report
                time.sleep(0.02)
        finally:
            lease.close()
        raise AssertionError(f"the guard did not make safe: {report}")

    def acknowledge(self) -> None:
        """A person has looked."""
        lease = Lease(self.guard)
        assert "refused" not in lease.acknowledge("the test", even_unconfirmed=True)
        lease.close()

    def close(self) -> None:
        """Stop serving, and end the guards that stay behind."""
        self._server.terminate()
        self._server.wait(10)
        for pid in pids_of(str(self.folder / "home" / "guards")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path, guarded=True)
    yield made
    made.close()


@pytest.fixture
def unguarded_cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path, guarded=False)
    yield made
    made.close()


def killed_in_the_hold(cell: Cell, name: str, seed: int) -> float:
    engine = cell.start(name)
    cell.until_it_holds(engine, name)
    time.sleep(random.Random(seed).uniform(0.0, 1.0))
    moment = time.monotonic()
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    return moment


@pytest.mark.row(1, control="test_without_a_guard_both_lasers_stay_on")
@pytest.mark.parametrize("seed", seeds(1, 20))
def test_sigkill_with_both_lasers_on(cell: Cell, measured: Any, seed: int) -> None:
    told = cell.safe_after(killed_in_the_hold(cell, "killed", seed))
    assert max(told.values()) <= KILLED_S, told
    report = cell.report()
    dark = [report[f"{side}: emission off"] for side in SIDES] + [report[f"{side}_gate: gate open"] for side in SIDES]
    assert dark == ["CONFIRMED"] * 4, report
    assert set(report.values()) == {"CONFIRMED"}, report
    measured(1, "SIGKILL, two lasers on a diamond cell", "safe <= 100 ms", 1e3 * max(told.values()))
    cell.acknowledge()


def test_without_a_guard_both_lasers_stay_on(unguarded_cell: Cell) -> None:
    """The control. The gates open by themselves, when their last pulse is over."""
    told = unguarded_cell.safe_after(killed_in_the_hold(unguarded_cell, "killed", 0), patience_s=1.0)
    assert set(told.values()) == {NEVER[0]}, told
