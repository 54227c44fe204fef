"""What the guard writes down, and that writing stops nothing and keeps nothing open."""

import resource
import subprocess
import sys
import time

import pytest


def run(laser, guard, **options):
    reading = {"name": "reading", "ask": b"READ?\n".hex(), "low": 10.0, "high": 30.0, "mask": 0, "signed": False}
    reading |= {"scale": 1.0, "pattern": r"^(\S+)$", "every_s": 0.01, "stale_s": 1.0, "while_on": []}
    guard = guard(ports={"laser": laser.port(watch=[reading])}, **options)
    engine = guard.engine().arm()
    line = engine.line("laser")
    line.send(b"VOLT 5\nOUTP ON\nBOOM\n")
    laser.wait(lambda: laser.on)
    time.sleep(0.3)
    laser.reading = "31"
    assert engine.told.wait(1.0)
    engine.settled()
    return guard, engine


def test_what_came_before_the_trip_and_after_it_is_written_down(laser, guard) -> None:
    guard, _ = run(laser, guard)
    time.sleep(0.1)
    (before,) = guard.log("before the trip")
    samples = [(name, value) for _, name, value in before["samples"]]
    assert samples.count(("laser.reading", 20.0)) > 10
    assert ("volts", [5.0]) in samples
    assert ("output on", []) in samples
    assert samples[-1] == ("laser.reading", 31.0)
    assert "reading is 31" in guard.log("trip")[0]["why"]
    assert guard.log("made safe")[0]["report"] == {"laser: output off": "CONFIRMED"}
    assert {line["name"] for line in guard.log("sample")} == {"laser.reading"}
    assert guard.log("refused")[0]["message"] == b"BOOM\n".hex()
    assert all({"boottime", "wall"} <= set(line) for line in guard.log())


def test_without_a_trip_readings_are_not_written_down(laser, guard) -> None:
    guard = guard(laser)
    guard.engine().arm().line("laser").ask("VOLT?")
    assert not guard.log("sample")
    assert not guard.log("before the trip")


def full() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


def test_full_disk_stops_no_trip(laser, guard) -> None:
    guard, engine = run(laser, guard, preexec=full)
    assert engine.ask("status")["report"] == {"laser: output off": "CONFIRMED"}
    assert not laser.on
    assert engine.ask("ack", who="A. Tester")["latched"] == ""
    with pytest.raises(ValueError, match="char"):
        guard.log()  # the last line has found no room


STARTED = """
import pathlib, sys
from megabar.acquisition.lease import Lease
lease = Lease.of(pathlib.Path(sys.argv[1]), "none", {}, rehearsal=True)
print(lease.ask("hello")["rig"])
"""


def test_a_pipeline_is_not_held_open_by_the_guard(tmp_path) -> None:
    begun = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", STARTED, str(tmp_path)], stdout=subprocess.PIPE, check=True, timeout=20
    )
    assert said.stdout == b"none\n"
    assert time.monotonic() - begun < 4.5
    assert (tmp_path / "guard.socket").exists()
