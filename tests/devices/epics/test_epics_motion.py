"""Stage, slits and shutter under EPICS, on the simulated station."""

from collections.abc import Callable
from typing import Any

import pytest

from megabar.devices.errors import LimitError, Refused
from megabar.devices.motion import Stage


@pytest.fixture
def stage(station: Any) -> Any:
    return station.device("stage")


def test_the_stage_is_what_plans_expect(station: Any, stage: Any) -> None:
    assert isinstance(stage, Stage)
    assert list(station.read("stage")) == ["stage_x", "stage_y", "stage_z"]


def test_a_move_takes_the_time_of_its_way(station: Any, stage: Any) -> None:
    station.finish(stage.x.set(-20.0))
    assert station.clock.monotonic() == pytest.approx(10.0, abs=0.5)
    assert stage.x.position == pytest.approx(-20.0)
    assert station.world.stage_mm(station.clock.monotonic(), "x") == -20.0


def test_axes_move_at_the_same_time(station: Any, stage: Any) -> None:
    moves = [stage.x.set(10.0), stage.y.set(10.0)]
    for move in moves:
        station.finish(move)
    assert station.clock.monotonic() < 6.0


@pytest.mark.parametrize("target", [25.1, -25.1, float("nan")])
def test_a_target_beyond_the_hard_limits_is_refused_before_a_byte(station: Any, stage: Any, target: float) -> None:
    before = station.server.n_commands
    with pytest.raises(LimitError, match=r"accepted are -25..25 mm"):
        stage.x.set(target)
    assert station.server.n_commands == before


def test_a_target_beyond_the_records_soft_limits_is_not_put(station: Any, stage: Any) -> None:
    station.job(lambda: stage.put("X.HLM", 5.0))
    with pytest.raises(LimitError, match=r"accepts -25..5 mm"):
        station.finish(stage.x.set(6.0))
    assert station.job(lambda: stage.ask("X.VAL", "X.LVIO")) == [0.0, 0]


def test_a_move_that_is_stopped_fails(station: Any, stage: Any) -> None:
    move = stage.x.set(20.0)
    station.wait(3.0)
    stage.x.stop()
    with pytest.raises(Refused, match=r"20 mm was asked for, it stands at 6"):
        station.finish(move)
    assert stage.x.position == pytest.approx(6.0)


def test_a_motor_that_does_not_go_is_not_believed(station: Any, stage: Any) -> None:
    station.job(lambda: stage.put("X.SPMG", "Stop"))
    with pytest.raises(Refused, match="it stands at 0"):
        station.finish(stage.x.set(5.0))


def test_a_motor_that_never_ends_is_stopped(station: Any, stage: Any) -> None:
    move = stage.x.set(20.0)
    station.wait(1.0)
    # It crawls after a stall: moving, but far too slow.
    station.world.move_stage(station.clock.monotonic(), "x", 20.0, 1e-3)
    with pytest.raises(Refused, match="still moving"):
        station.finish(move)
    here = station.world.stage_mm(station.clock.monotonic(), "x")
    assert station.world.stage_mm(station.clock.monotonic() + 100.0, "x") == here


def test_slits_have_named_openings(station: Any) -> None:
    slits = station.device("slits")
    station.finish(slits.set("narrow"))
    assert station.read("slits") == {"slits_h": 0.2, "slits_v": 0.2}
    station.finish(slits.set("wide"))
    assert station.read("slits") == {"slits_h": 2.0, "slits_v": 2.0}
    with pytest.raises(ValueError, match="accepted are wide, narrow"):
        slits.set("shut")


def test_an_opening_beyond_the_gaps_is_refused_when_the_slits_are_made(station: Any) -> None:
    with pytest.raises(LimitError, match=r"accepted are 0..5 mm"):
        type(station.device("slits"))(
            name="slits", link=station.link, address=station.server.addresses["slits"], openings={"open": (6.0, 1.0)}
        )


def test_the_shutter_opens_and_closes_verified(station: Any) -> None:
    shutter = station.device("shutter")
    station.finish(shutter.set("open"))
    assert station.world.shutter_open(station.clock.monotonic())
    assert station.read("shutter") == {"shutter_is_open": 1}
    ((what, action, _),) = shutter.safe_steps()
    station.finish(action())
    assert what == "closed"
    assert not station.world.shutter_open(station.clock.monotonic())
    with pytest.raises(ValueError, match="accepted are open, closed"):
        shutter.set("ajar")


def test_a_shutter_that_does_not_move_is_not_believed(make_station: Callable[..., Any]) -> None:
    station = make_station({"shutter": {"stuck": True}})
    with pytest.raises(Refused, match="is not open 5 s after"):
        station.finish(station.device("shutter").set("open"))
