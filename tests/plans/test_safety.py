"""Hazardous devices are made safe on every way out, in order, whatever fails."""

import threading
import time
from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from ophyd import Signal
from ophyd.status import Status

from megabar.plans.safety import Hazardous, SafetyReport, made_safe, make_safe


class Device:
    """A hazardous device that notes what is done to it."""

    def __init__(self, name: str, hazard: str, done: list[str], fails: str = "") -> None:
        self.name, self.hazard, self.done, self.fails = name, hazard, done, fails

    def _act(self) -> Status:
        if self.fails == "raises":
            raise ConnectionError("cable pulled")
        self.done.append(self.name)
        status = Status()
        if self.fails == "status":
            status.set_exception(RuntimeError("valve stuck"))
        elif self.fails != "hangs":
            status.set_finished()
        return status

    def safe_steps(self) -> list[tuple[str, Callable[[], Status], float]]:
        return [("off", self._act, 0.2)]


@pytest.fixture
def engine() -> RunEngine:
    return RunEngine({}, context_managers=[])


def report() -> SafetyReport:
    return SafetyReport(lambda: 0.0)


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


@pytest.mark.row(8, control="test_in_one_plan_a_step_that_fails_would_skip_the_next")
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


LIMIT_S = 0.2


@pytest.mark.row(8)
@pytest.mark.parametrize("how", ["raises", "status", "hangs"])
@pytest.mark.parametrize("index", range(5))
def test_each_step_in_turn_fails_and_all_others_are_done_in_time(
    engine: RunEngine, measured: Any, index: int, how: str
) -> None:
    done: list[str] = []
    said = report()
    kinds = ("laser", "laser", "thermal", "pressure", "radiation")
    names = [f"{number} {kind}" for number, kind in enumerate(kinds)]
    devices = [
        Device(name, kind, done, how if number == index else "")
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    began = time.monotonic()
    engine(make_safe(devices, said))
    took_s = time.monotonic() - began
    assert set(done) | {names[index]} == set(names)
    wanted = [f"UNCONFIRMED {name}" if name == names[index] else f"CONFIRMED {name}" for name in names]
    assert [line.partition(":")[0] for line in said.lines] == wanted
    assert took_s <= 1.1 * LIMIT_S * len(names)
    measured(8, f"one of five steps {HOW[how]}: all others done, after", "<= sum of the limits, 1,000 ms", 1e3 * took_s)


HOW = {"raises": "raises", "status": "fails", "hangs": "hangs for ever"}


def test_steps_of_one_hazard_that_fail_together_are_each_reported(engine: RunEngine) -> None:
    said = report()
    done: list[str] = []
    engine(make_safe([Device("laser", "laser", done, "status"), Device("gate", "laser", done, "status")], said))
    assert [line.partition(":")[0] for line in said.lines] == ["UNCONFIRMED laser", "UNCONFIRMED gate"]


def test_in_turn_a_link_that_blocks_would_hold_up_the_gate(engine: RunEngine) -> None:
    """The control of beginning them together: of two hazards the second waits for the first."""
    moments: dict[str, float] = {}

    class Timed(Device):
        def _act(self) -> Status:
            moments[self.name] = time.monotonic()
            return super()._act()

    engine(make_safe([Timed("laser", "laser", [], "hangs"), Timed("gate", "laser", [])], report()))
    assert moments["gate"] - moments["laser"] < LIMIT_S / 2
    engine(make_safe([Timed("laser", "laser", [], "hangs"), Timed("gate", "thermal", [])], report()))
    assert moments["gate"] - moments["laser"] >= LIMIT_S


def test_in_one_plan_a_step_that_fails_would_skip_the_next(engine: RunEngine) -> None:
    """The control: as a plan whose cleanup is written as two lines."""
    done: list[str] = []
    first, second = Device("furnace", "thermal", done, "raises"), Device("press", "pressure", done)

    def cleanup():
        for device in (first, second):
            yield from bps.null()
            device._act()

    with pytest.raises(ConnectionError):
        engine(bpp.finalize_wrapper(bps.null(), cleanup))
    assert done == []


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
