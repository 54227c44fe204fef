"""Hazardous devices are made safe on every way out, in order, whatever fails."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from ophyd import Signal
from ophyd.status import Status

from megabar.acquisition.clock import RealClock
from megabar.plans.safety import Hazardous, SafetyReport, made_safe, make_safe


class Device:
    """A hazardous device that notes what is done to it."""

    def __init__(self, name: str, hazard: str, done: list[str], fails: str = "", limit_s: float = 0.2) -> None:
        self.name, self.hazard, self.done, self.fails, self.limit_s = name, hazard, done, fails, limit_s
        self.begun = math.nan

    def _act(self) -> Status:
        self.begun = time.monotonic()
        if self.fails == "raises":
            raise ConnectionError("cable pulled")
        self.done.append(self.name)
        status = Status()
        if self.fails == "status":
            status.set_exception(RuntimeError("valve stuck"))
        elif self.fails == "slow":
            threading.Timer(0.6 * self.limit_s, status.set_finished).start()
        elif self.fails != "hangs":
            status.set_finished()
        return status

    def safe_steps(self) -> list[tuple[str, Callable[[], Status], float]]:
        return [("off", self._act, self.limit_s)]


@pytest.fixture
def engine() -> RunEngine:
    return RunEngine({}, context_managers=[])


def report() -> SafetyReport:
    return SafetyReport(RealClock())


def simple(*steps: Any):
    @bpp.run_decorator()
    def run():
        for step in steps:
            yield from step()

    return run()


def test_heater_goes_before_press_and_shutter(engine: RunEngine) -> None:
    done: list[str] = []
    devices = [Device(n, h, done) for n, h in (("shutter", "radiation"), ("press", "pressure"), ("furnace", "thermal"))]
    engine(made_safe(simple(), devices, report()))
    assert done == ["furnace", "press", "shutter"]
    assert all(isinstance(device, Hazardous) for device in devices)


def test_a_move_that_fails_because_it_was_ended_is_not_the_failure_of_a_step(engine: RunEngine) -> None:
    """Holding a press fails the ramp that was under way; the shutter, which closes meanwhile, is confirmed."""
    done: list[str] = []
    ramp, closed = Status(), Status()

    class Ramp:
        name, parent = "ramp", None

        def set(self, value: float) -> Status:
            return ramp

    class Press(Device):
        def _act(self) -> Status:
            ramp.set_exception(RuntimeError("the feedback is off"))
            return super()._act()

    class Shutter(Device):
        def _act(self) -> Status:
            done.append(self.name)
            threading.Timer(0.1, closed.set_finished).start()
            return closed

    said = report()
    plan = simple(lambda: bps.abs_set(Ramp(), 1.0, group="load"), lambda: bps.null())
    engine(made_safe(plan, [Press("press", "pressure", done), Shutter("shutter", "radiation", done)], said))
    assert closed.done
    assert said.lines == ["CONFIRMED press: off", "CONFIRMED shutter: off"]
    assert done == ["press", "shutter"]


@pytest.mark.row(8, control="test_one_after_another_they_would_wait")
@pytest.mark.parametrize("how", ["raises", "status", "hangs"])
def test_step_that_fails_does_not_keep_the_next_from_being_done(engine: RunEngine, how: str) -> None:
    done: list[str] = []
    said = report()
    devices = [Device("furnace", "thermal", done, how), Device("press", "pressure", done)]
    engine(make_safe(devices, said))
    assert done[-1] == "press"
    assert said.lines[0].startswith("UNCONFIRMED furnace")
    assert said.lines[1].startswith("CONFIRMED press")
    assert not said.confirmed


KINDS = (("laser", "laser"), ("furnace", "thermal"), ("press", "pressure"), ("shutter", "radiation"))
LIMIT_S, LATE_S = 1.0, 0.25
HOW = {"raises": "raises", "status": "fails", "hangs": "hangs for ever", "slow": "is slow"}


def one_after_another(devices: Sequence[Device], report: SafetyReport) -> Iterator[Any]:
    """The control: each step waits for the end of the one before."""
    for device in devices:
        yield from make_safe([device], report)


def timed(engine: RunEngine, devices: Sequence[Device], plan: Any, said: SafetyReport) -> tuple[float, float]:
    """When the last step began, and when all were over (s)."""
    begun = time.monotonic()
    engine(plan(devices, said))
    return max(device.begun for device in devices) - begun, time.monotonic() - begun


@pytest.mark.row(8, control="test_one_after_another_they_would_wait")
@pytest.mark.parametrize("how", ["raises", "status", "hangs", "slow"])
@pytest.mark.parametrize("faulty", [*(name for name, _ in KINDS), "all"])
def test_a_step_that_fails_keeps_no_other_waiting(engine: RunEngine, measured: Any, faulty: str, how: str) -> None:
    said = report()
    devices = [
        Device(name, hazard, [], how if faulty in (name, "all") else "", LIMIT_S * (0.4 if name == "press" else 1.0))
        for name, hazard in KINDS
    ]
    last_begun_s, over_s = timed(engine, devices, make_safe, said)
    assert last_begun_s < LATE_S
    assert over_s < 1.1 * LIMIT_S + LATE_S
    measured(8, f"a step {HOW[how]}: the others have begun after", "<= 250 ms", 1e3 * last_begun_s)
    assert [line.split(":")[0] for line in said.lines] == [
        f"UNCONFIRMED {name}" if faulty in (name, "all") and how != "slow" else f"CONFIRMED {name}" for name, _ in KINDS
    ]


def test_one_after_another_they_would_wait(engine: RunEngine) -> None:
    devices = [Device(name, hazard, [], "hangs", LIMIT_S) for name, hazard in KINDS]
    last_begun_s, over_s = timed(engine, devices, one_after_another, report())
    assert last_begun_s > 2.5 * LIMIT_S
    assert over_s > 3.5 * LIMIT_S


def test_the_steps_of_one_device_are_done_in_their_order(engine: RunEngine) -> None:
    done: list[str] = []

    class TwoSteps(Device):
        def _then(self) -> Status:
            assert self.slow.done
            self.done.append("second")
            status = Status()
            status.set_finished()
            return status

        def _first(self) -> Status:
            self.slow = self._act()
            return self.slow

        def safe_steps(self) -> list[tuple[str, Callable[[], Status], float]]:
            return [("first", self._first, 5.0), ("second", self._then, 5.0)]

    said = report()
    engine(make_safe([TwoSteps("furnace", "thermal", done, "slow"), Device("press", "pressure", done)], said))
    assert done == ["furnace", "press", "second"]
    assert said.lines == ["CONFIRMED furnace: first", "CONFIRMED furnace: second", "CONFIRMED press: off"]


def fail_now():
    yield from bps.null()
    raise RuntimeError("a plan went wrong")


def fail_in_the_middle_of_an_event():
    yield from bps.create("primary")
    raise RuntimeError("a plan went wrong")


@pytest.mark.parametrize("step", [fail_now, fail_in_the_middle_of_an_event])
def test_plan_that_raises_is_made_safe_before_its_run_is_closed(engine: RunEngine, step: Any) -> None:
    done: list[str] = []
    documents: list[tuple[str, Any]] = []
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    said = report()
    with pytest.raises(RuntimeError, match="went wrong"):
        engine(made_safe(simple(step), [Device("furnace", "thermal", done)], said))
    assert done == ["furnace"]
    assert documents[-1][0] == "stop"
    assert documents[-1][1]["exit_status"] == "fail"
    assert "went wrong" in documents[-1][1]["reason"]
    assert documents[-2][1]["data"]["safety_report"] == "CONFIRMED furnace: off"


def test_every_message_may_raise_and_the_device_is_still_made_safe() -> None:
    signal = Signal(name="signal", value=0.0)

    def plan():
        yield from bps.mv(signal, 1.0)
        yield from bps.trigger_and_read([signal])
        yield from bps.sleep(0.0)
        yield from bps.trigger_and_read([signal])

    total = 0
    RunEngine({}, context_managers=[])(bpp.plan_mutator(simple(plan), lambda message: (None, None)))
    for index in range(60):
        done: list[str] = []
        seen = 0
        engine = RunEngine({}, context_managers=[])

        def break_at(message: Any, index: int = index) -> tuple[Any, None]:
            nonlocal seen
            seen += 1
            if seen == index + 1:
                raise RuntimeError("broken here")
            return None, None

        try:
            engine(made_safe(bpp.plan_mutator(simple(plan), break_at), [Device("furnace", "thermal", done)], report()))
        except RuntimeError:
            total += 1
        assert done == ["furnace"], index
    assert total >= 12


def test_abort_is_made_safe(engine: RunEngine) -> None:
    done: list[str] = []

    def wait():
        engine.loop.call_later(
            0.05, lambda: __import__("threading").Thread(target=engine.abort, args=("enough",)).start()
        )
        yield from bps.sleep(5.0)

    documents: list[tuple[str, Any]] = []
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    with pytest.raises(Exception):  # noqa: B017
        engine(made_safe(simple(wait), [Device("furnace", "thermal", done)], report()))
    assert done == ["furnace"]
    assert documents[-1][1]["exit_status"] == "abort"


def test_without_the_preprocessor_nothing_would_be_safe(engine: RunEngine) -> None:
    done: list[str] = []
    Device("furnace", "thermal", done)
    with pytest.raises(RuntimeError):
        engine(simple(fail_now))
    assert done == []
