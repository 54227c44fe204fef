"""What `megabar check` finds, on instruments that are reached by their addresses, and in dry runs of bad plans."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import Msg

from megabar.acquisition import preflight as preflights
from megabar.acquisition import wall_clock
from megabar.acquisition.commands.main import main
from megabar.acquisition.dry_run import DryRun, _Witness, dry_run
from megabar.acquisition.experiments import find
from megabar.acquisition.home import guard_folder
from megabar.acquisition.lease import Lease
from megabar.acquisition.preflight import Finding
from megabar.acquisition.rig import load_rig
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation
from megabar.devices.status import JobStatus

from .laser_bench import QUICK, Bench


def verdicts(found: Mapping[str, Finding]) -> dict[str, str]:
    return {check: finding.verdict for check, finding in found.items() if check != "clock"}


def test_a_rig_that_is_well_is_asked_through_its_guard_which_then_goes(bench: Bench) -> None:
    found = bench.found(find("irradiation"))
    assert set(verdicts(found).values()) == {"ok"}, found
    assert {"link laser", "lease laser", "lease relay", "guard", "dry run", "deadlines", "time", "disk"} <= found.keys()
    assert bench.written() == []
    time.sleep(0.3)
    assert not bench.state()["running"]
    assert (bench.guard / "guard.log").exists(), "it was there"


def test_what_is_written_to_an_instrument_would_be_seen(bench: Bench) -> None:
    """The control of the test before."""
    with Session(load_rig(str(bench.file))) as session:
        session.devices["laser"].emission.set(0).wait(5)
        session.devices["relay"].closed.set(0).wait(5)
    assert {data[:5] for data in bench.written()} >= {b"EMOFF", bytes.fromhex("0105000000")}


@contextlib.contextmanager
def beating(lease: Lease) -> Iterator[None]:
    """An engine that beats."""
    loop, count = asyncio.new_event_loop(), itertools.count()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    lease.beat_with(loop, lambda: next(count), lambda: 60.0, lost=lambda reason: None, ending=lambda: False)
    yield
    lease.stop_beating(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_run_that_goes_on_is_told_of_and_left_alone(bench: Bench) -> None:
    rig = load_rig(str(bench.file))
    with Session(rig, guard=guard_folder(rig)) as session:
        assert session.lease is not None
        session.lease.arm("run-7", 60.0)
        with beating(session.lease):
            identified = bench.trace_file.read_text().count(b"RFV".hex())
            found = bench.found()
            assert bench.trace_file.read_text().count(b"RFV".hex()) == identified, "nobody identified the laser anew"
            assert found["guard"].verdict == "FAILED" and "run-7 goes on" in found["guard"].text
            assert not any(check.startswith("link") for check in found)
            assert bench.state()["armed"] and not session.lease.tripped
        session.lease.release()


def test_an_instrument_that_another_rig_guards_is_left_to_it(bench: Bench) -> None:
    rig = load_rig(str(bench.file))
    bench.file = bench.file.with_name("other.toml")
    bench.write()
    with Session(rig, guard=guard_folder(rig)):
        found = bench.found()
    assert found["guard"].verdict == "FAILED"
    assert f"is owned by the guard of {rig.name}" in found["guard"].text
    assert not any(check.startswith("link") for check in found), "nothing was asked past the other guard"


def test_a_trip_that_nobody_has_acknowledged_fails_the_check(bench: Bench) -> None:
    bench.guard.mkdir(parents=True)
    (bench.guard / "guard.latch").write_text("the engine has died", encoding="utf-8")
    found = bench.found()
    assert found["trip"].verdict == "FAILED" and "the engine has died" in found["trip"].text
    assert "acknowledge" in found["trip"].text
    assert found["guard"].verdict == "FAILED"
    assert found["link laser"].verdict == "ok", "it could be asked all the same"


def test_an_instrument_that_is_not_there_keeps_no_other_from_being_checked(bench: Bench) -> None:
    bench.write(laser="TCPIP::127.0.0.1::9::SOCKET")
    found = bench.found()
    assert found["link laser"].verdict == found["lease laser"].verdict == "FAILED"
    assert "guard" not in found, "it could not be armed"
    assert "cannot be reached" in found["lease laser"].text
    assert found["link relay"].verdict == found["lease relay"].verdict == "ok"


def test_a_condition_that_is_not_met_is_a_warning(bench: Bench) -> None:
    bench.write(more='[[interlocks]]\nreading = "relay.closed"\nbetween = [1, 1]\ninstruments = ["laser"]\n')
    found = bench.found()
    assert found["lease relay"].verdict == "warning"
    assert "closed is 0, beyond 1..1, without which laser cannot be on" in found["lease relay"].text
    assert found["guard"].verdict == "ok"


def test_a_hazardous_instrument_without_a_guard_is_a_warning(bench: Bench) -> None:
    bench.write(hazardous=False)
    found = bench.found()
    assert found["lease laser"].verdict == "warning" and "hazardous = true" in found["lease laser"].text
    assert "guard" not in found and not bench.guard.exists()


def test_a_rig_without_a_world_is_not_dry_run(bench: Bench) -> None:
    text = bench.file.read_text(encoding="utf-8")
    world = text[text.index("[world]") : text.index("[instruments.laser]")]
    bench.file.write_text(text.replace(world, ""), encoding="utf-8")
    found = bench.found(find("irradiation"))
    assert found["dry run"].verdict == "warning" and "[world]" in found["dry run"].text
    assert "as estimated" in found["time"].text and "as estimated" in found["disk"].text
    assert "deadlines" not in found


def test_a_dry_run_can_be_left_out(bench: Bench) -> None:
    found = bench.found(find("irradiation"), rehearsed=False)
    assert found["dry run"].verdict == "warning" and "deadlines" not in found


def test_a_disk_with_too_little_room_fails_the_check(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megabar.acquisition.disk.free_bytes", lambda folder: 1000)
    assert bench.found()["disk"].verdict == "FAILED"


def test_a_place_where_nothing_can_be_kept_fails_the_check(bench: Bench) -> None:
    found = {finding.check: finding for finding in preflights.preflight(load_rig(str(bench.file)), out=bench.file)}
    assert found["disk"].verdict == "FAILED" and "is no folder" in found["disk"].text


def test_a_clock_that_jumps_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    steadiness = wall_clock.Steadiness()
    monkeypatch.setattr(preflights, "synchronised", lambda: True)
    assert preflights._clock(steadiness).verdict == "ok"
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 3600.0)
    assert preflights._clock(steadiness).verdict == "FAILED"


@pytest.mark.parametrize(("told", "said"), [(False, "not synchronised"), (None, "unknown")])
def test_a_clock_that_is_not_synchronised_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, told: bool | None, said: str
) -> None:
    monkeypatch.setattr(preflights, "synchronised", lambda: told)
    finding = preflights._clock(wall_clock.Steadiness())
    assert finding.verdict == "warning" and said in finding.text


def test_the_command_says_a_line_each_and_fails_with_1(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.write(laser="TCPIP::127.0.0.1::9::SOCKET", hazardous=False)
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(bench.file), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {check["check"]: check["verdict"] for check in told["checks"]}["link laser"] == "FAILED"
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(bench.file)])
    assert len(capsys.readouterr().out.splitlines()) == len(told["checks"])


# plans

Plan = Callable[[Any], Iterator[Msg]]


@pytest.fixture
def rehearse() -> Callable[..., DryRun]:
    """Dry-run a plan on the laser bench."""

    def of(plan: Plan | None = None, experiment: str = "irradiation", **settings: str) -> DryRun:
        chosen = find(experiment)
        if plan is not None:

            def whole(roles: Any, *, results: Any, parameters: Any, md: Any) -> Any:
                return bpp.run_wrapper(plan(roles), md=md)

            chosen = dataclasses.replace(chosen, plan=whole)
        rig = load_rig(chosen.rig)
        parameters = chosen.parse(settings or (QUICK if experiment == "irradiation" else {}))
        needed = [rig.instrument_for(role) for role in chosen.role_names]
        with Simulation(rig, 0) as simulation, Session(rig, needed, simulation=simulation) as session:
            return dry_run(session, chosen, parameters)

    return of


def told(found: DryRun, dwell_s: float = 60.0) -> dict[str, Finding]:
    return {finding.check: finding for finding in preflights._plan(found, dwell_s)}


SHORT = {"load_mn": "0.2", "calibrate": "false", "strain": "0.01", "soak_s": "60"}


@pytest.mark.parametrize(
    ("experiment", "settings"), [("irradiation", {}), ("calibration", {}), ("centring", {}), ("deformation", SHORT)]
)
def test_the_shipped_plans_have_nothing_against_them(
    rehearse: Callable[..., DryRun], experiment: str, settings: dict[str, str]
) -> None:
    found = rehearse(None, experiment, **settings)
    chosen = find(experiment)
    dwell_s = chosen.dwell_s(chosen.parse(settings))
    assert {finding.verdict for finding in preflights._plan(found, dwell_s)} == {"ok"}, told(found)
    assert found.n_sets and found.n_waits and found.n_bytes > 1000 and found.duration_s > 1.0


def test_a_wait_without_a_deadline_is_named_with_its_line(rehearse: Callable[..., DryRun]) -> None:
    def plan(roles: Any) -> Iterator[Msg]:
        yield from bps.mv(roles.laser.current, 0.0)
        yield from bps.mv(roles.laser.current, 0.0, timeout=5.0)

    found = told(rehearse(plan))
    assert found["deadlines"].verdict == "FAILED"
    line = plan.__code__.co_firstlineno + 1
    assert found["deadlines"].text.startswith(f"wait, test_preflight.py line {line}: ")
    assert found["dry run"].verdict == found["limits"].verdict == "ok"


@pytest.mark.parametrize(
    "message", [Msg("pause"), Msg("input"), Msg("sleep", None, math.inf), Msg("wait_for", None, [])], ids=str
)
def test_what_may_last_for_ever_is_a_wait_without_a_deadline(message: Msg) -> None:
    def plan() -> Iterator[Msg]:
        yield message
        yield Msg("sleep", None, 1.0)
        yield Msg("wait_for", None, [], timeout=1.0)

    witness = _Witness(_Still(), [])
    assert len(list(witness.of(plan)())) == 3
    assert len(witness.endless) == 1 and next(iter(witness.endless)).startswith(message.command)


class _Still:
    def monotonic(self) -> float:
        return 0.0


class Anything:
    """Can be set to anything."""

    parent = None
    name = "anything"
    root = None

    def set(self, value: Any) -> JobStatus:
        status = JobStatus()
        status.set_finished()
        return status


def test_what_checks_no_value_may_not_be_set(rehearse: Callable[..., DryRun]) -> None:
    def plan(roles: Any) -> Iterator[Msg]:
        yield from bps.mv(Anything(), 1e9, timeout=5.0)

    found = told(rehearse(plan))
    assert found["limits"].verdict == "FAILED" and found["limits"].text.startswith("anything, test_preflight.py line")
    assert found["deadlines"].verdict == "ok"


def test_a_hazardous_device_that_making_safe_does_not_know_is_named(rehearse: Callable[..., DryRun]) -> None:
    hidden = Anything()
    hidden.hazard, hidden.root, hidden.name = "laser", hidden, "hidden"  # type: ignore[attr-defined]

    def plan(roles: Any) -> Iterator[Msg]:
        yield from bps.mv(hidden, 1, timeout=5.0)

    found = told(rehearse(plan))
    assert found["safe states"].verdict == "FAILED" and found["safe states"].text.startswith("hidden, ")


def test_a_plan_that_fails_fails_the_check_with_its_reason(rehearse: Callable[..., DryRun]) -> None:
    def plan(roles: Any) -> Iterator[Msg]:
        yield from bps.mv(roles.laser.current, 30.0, timeout=5.0)  # a step that is too fast

    found = told(rehearse(plan))
    assert found["dry run"].verdict == "FAILED" and "accepted is a rise" in found["dry run"].text
    assert found["safe states"].verdict == "ok"


def test_a_plan_that_is_silent_for_longer_than_it_declares_fails_the_check(rehearse: Callable[..., DryRun]) -> None:
    def plan(roles: Any) -> Iterator[Msg]:
        yield from bps.sleep(50.0)
        yield from bps.null()

    found = rehearse(plan)
    assert found.longest_silence_s == pytest.approx(50.0)
    assert told(found, dwell_s=49.0)["dwell"].verdict == "FAILED"
    assert told(found, dwell_s=51.0)["dwell"].verdict == "ok"
