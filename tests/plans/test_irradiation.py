"""The irradiation with a laser and a gate of a facility that are not ours, through a real RunEngine."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted
from ophyd import Component, Device, Signal
from ophyd.status import Status
from pydantic import ValidationError

from megabar.devices.errors import LimitError
from megabar.devices.lasers import Gate, Laser
from megabar.plans.irradiation import NoLight, Parameters, Roles, irradiation

SHORT = {"poll_s": 0.2, "duration_s": 1.0, "settle_s": 0.2, "ramp_percent_per_s": 4.0, "current_percent": 1.6}


def finished_status() -> Status:
    status = Status()
    status.set_finished()
    return status


class Limited(Signal):
    """A facility's own set-point: an ordinary ophyd Signal with a check."""

    highest = 40.0

    def check_value(self, value: float) -> None:
        if not (math.isfinite(value) and 0 <= value <= self.highest):
            raise LimitError(f"{self.name} = {value:g}")


class Switch(Signal):
    """Switched when `set` returns; an ophyd Signal is set by a thread of its own."""

    def set(self, value: int, **_: Any) -> Status:
        self.put(value)
        return finished_status()


class FacilityLaser(Device):
    current = Component(Limited, value=0.0)
    output_power = Component(Signal, value=0.0)
    emission = Component(Switch, value=0)
    fault = Component(Signal, value=0)

    def trigger(self) -> Status:
        self.output_power.put(self.current.get() * self.emission.get())
        return finished_status()

    def pause(self) -> None:
        self.emission.put(0)

    def resume(self) -> None:
        pass


class FacilityGate(Device):
    closed = Component(Signal, value=0)
    pulse = Component(Limited, value=0.0, kind="omitted")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pulses: list[float] = []
        self.pulse.subscribe(self._close, run=False)

    def _close(self, value: float, **_: Any) -> None:
        self.pulses.append(value)
        self.closed.put(1)

    def trigger(self) -> Status:
        return finished_status()

    def pause(self) -> None:
        self.closed.put(0)

    def resume(self) -> None:
        pass


@pytest.fixture
def roles() -> Roles:
    return Roles(laser=FacilityLaser(name="laser"), gate=FacilityGate(name="gate"))


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    engine = RunEngine({}, context_managers=[])
    engine.pause_msg = ""
    yield engine
    if engine.state != "idle":
        engine.abort()


def plan(roles: Roles, **settings: Any) -> Any:
    return irradiation(roles, results={}, parameters=Parameters(**{**SHORT, **settings}))


def watched(messages: list[Msg], plan: Any, at: int = -1, do: Any = None) -> Any:
    """The plan, with its messages kept, and `do` done before the checkpoint of number `at`."""
    seen = 0

    def insert(message: Msg) -> tuple[Any, None]:
        nonlocal seen
        messages.append(message)
        if message.command == "checkpoint":
            seen += 1
            if seen == at:
                return do(message), None
        return None, None

    return bpp.plan_mutator(plan, insert)


def test_facility_devices_play_the_roles(roles: Roles):
    assert isinstance(roles.laser, Laser) and isinstance(roles.gate, Gate)


def test_gate_emission_ramp_hold_ramp_off(engine: RunEngine, roles: Roles):
    messages: list[Msg] = []
    documents: list[tuple[str, Any]] = []
    engine(watched(messages, plan(roles)), lambda name, document: documents.append((name, document)))
    laser, gate = roles.laser, roles.gate
    sets = [(message.obj, message.args[0]) for message in messages if message.command == "set"]
    others = [(obj, value) for obj, value in sets if obj is not gate.pulse]
    assert others[:2] == [(laser.current, 0.0), (laser.emission, 1)]
    assert others[-2:] == [(laser.emission, 0), (gate.closed, 0)]
    currents = [value for obj, value in others if obj is laser.current]
    assert max(currents) == 1.6 and currents[-1] == 0.0
    steps = [b - a for a, b in itertools.pairwise(currents)]
    assert max(map(abs, steps)) <= 4.0 * 0.2 + 1e-9
    assert sets.index((gate.pulse, 10.0)) < sets.index((laser.emission, 1))
    streams = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    hold = [doc for name, doc in documents if name == "event" and streams[doc["descriptor"]] == "hold"]
    assert len(hold) == 6
    assert {event["data"]["laser_output_power"] for event in hold} == {1.6}


def test_each_reading_renews_the_pulse_for_longer_than_two_of_them(engine: RunEngine, roles: Roles):
    messages: list[Msg] = []
    engine(watched(messages, plan(roles)))
    readings = sum(message.command == "create" for message in messages)
    assert len(roles.gate.pulses) == 1 + readings - 2  # one to arm; none before and after
    assert all(length > 2 * SHORT["poll_s"] for length in roles.gate.pulses)


def test_there_is_a_checkpoint_before_each_reading(engine: RunEngine, roles: Roles):
    messages: list[Msg] = []
    engine(watched(messages, plan(roles)))
    told = [message.command for message in messages if message.command in ("checkpoint", "create")]
    assert told == ["checkpoint", "create"] * (len(told) // 2)


@pytest.mark.parametrize("at", [2, 8, 14])
def test_a_pause_ends_the_emission_and_resuming_sends_nothing_again(engine: RunEngine, roles: Roles, at: int):
    messages: list[Msg] = []

    def pause(message: Msg) -> Any:
        yield message
        yield from bps.pause()

    with pytest.raises(RunEngineInterrupted):
        engine(watched(messages, plan(roles), at, pause))
    assert engine.state == "paused"
    assert (roles.laser.emission.get(), roles.gate.closed.get()) == (0, 0)
    pulses = list(roles.gate.pulses)
    switched: list[Any] = []
    for signal in (roles.laser.emission, roles.laser.current, roles.gate.pulse):
        signal.subscribe(lambda value, **_: switched.append(value), run=False)
    with pytest.raises(NoLight, match="new run"):
        engine.resume()
    assert engine.state == "idle"
    assert switched == []
    assert roles.gate.pulses == pulses


def test_a_pause_during_the_safety_start_does_not_start_it_again(engine: RunEngine, roles: Roles):
    started: list[int] = []

    def pause_at_start(plan: Any) -> Any:
        def insert(message: Msg) -> tuple[Any, Any]:
            if message.command == "set" and message.obj is roles.laser.emission and message.args[0] == 1:
                started.append(1)
                return None, bps.pause()
            return None, None

        return bpp.plan_mutator(plan, insert)

    with pytest.raises(RunEngineInterrupted):
        engine(pause_at_start(plan(roles)))
    with pytest.raises(NoLight):
        engine.resume()
    assert started == [1]
    assert roles.laser.emission.get() == 0


@pytest.mark.parametrize(
    "name, value, what", [("emission", 0, "emission went off"), ("fault", 8, "reports a fault"), ("closed", 0, "gate")]
)
def test_a_laser_that_does_not_emit_ends_the_run(engine: RunEngine, roles: Roles, name: str, value: int, what: str):
    def change(message: Msg) -> Any:
        (roles.gate.closed if name == "closed" else getattr(roles.laser, name)).put(value)
        yield message

    with pytest.raises(NoLight, match=what):
        engine(watched([], plan(roles), 10, change))


@pytest.mark.parametrize("settings", [{"current_percent": 41.0}, {"poll_s": 10.0, "duration_s": 100.0}])
def test_set_points_beyond_a_limit_are_refused_before_a_run_begins(roles: Roles, settings: dict[str, float]):
    roles.gate.pulse.highest = 20.0
    with pytest.raises(LimitError):
        plan(roles, **settings)


def test_a_ramp_above_the_safety_limit_is_no_parameter():
    with pytest.raises(ValidationError):
        Parameters(ramp_percent_per_s=4.1)
