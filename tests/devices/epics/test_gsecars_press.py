"""The press under its EPICS records: ramps, refusals before a byte is sent, blow-out, hold."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from ophyd import Component as Cpt
from ophyd import Device, Signal
from ophyd.sim import SynAxis

from megabar.devices.errors import LimitError, Refused
from megabar.devices.presses import Press
from megabar.devices.presses.gsecars import BlowOut


@pytest.fixture
def press(station: Any) -> Any:
    return station.device("press")


def test_its_readings_are_those_of_the_conditions(station: Any) -> None:
    assert list(station.read("press")) == [
        "press_load",
        "press_oil_pressure",
        "press_stroke",
        "press_blown_out",
        "press_top_stroke",
        "press_bottom_stroke",
    ]


def test_a_load_is_reached_at_its_rate(station: Any, press: Any) -> None:
    press.load_rate.set(1.5)
    station.finish(press.load.set(3.0))
    assert station.clock.monotonic() == pytest.approx(7200.0, abs=20.0)
    assert station.world.load_mn(station.clock.monotonic()) == pytest.approx(3.0, abs=0.005)
    assert press.load.get() == pytest.approx(3.0, abs=0.01)


def test_a_long_ramp_is_polled_once_a_minute_and_a_short_one_every_five_seconds(station: Any, press: Any) -> None:
    press.load_rate.set(1.0)
    before = station.server.n_commands
    station.finish(press.load.set(2.0))
    assert station.server.n_commands - before < 30 + 4 * 123
    started = station.clock.monotonic()
    station.finish(press.load.set(2.02))
    assert 5.0 <= station.clock.monotonic() - started < 100.0


REFUSED: list[Callable[[Any], Any]] = [
    lambda press: press.load.set(9.6),
    lambda press: press.load.set(-0.1),
    lambda press: press.load.set(math.nan),
    lambda press: press.load_rate.set(2.1),
    lambda press: press.load_rate.set(0.0),
    lambda press: press.top.speed.set(0.21),
    lambda press: press.bottom.speed.set(-0.21),
    lambda press: press.tighten({"load": (0.0, 9.9)}),
    lambda press: press.tighten({"top.speed": (-0.3, 0.1)}),
    lambda press: press.acknowledge_blow_out("  "),
]


def test_beyond_a_limit_nothing_is_sent(station: Any, press: Any) -> None:
    before = station.server.n_commands
    for request in REFUSED:
        with pytest.raises(ValueError, match=r"accepted|must lie within|a name is needed"):
            request(press)
        station.wait(10.0)
        assert station.server.n_commands == before


def test_unloading_is_slower_and_refused_before_anything_is_sent(station: Any, press: Any) -> None:
    press.load_rate.set(2.0)
    station.finish(press.load.set(1.0))
    before = station.server.n_commands
    with pytest.raises(LimitError, match="refused for unloading: accepted are up to 1 MN/h"):
        press.load.set(0.5)
    assert station.server.n_commands == before
    press.load_rate.set(1.0)
    station.finish(press.load.set(0.5))
    assert station.world.load_mn(station.clock.monotonic()) == pytest.approx(0.5, abs=0.005)


def test_unloading_is_judged_by_the_load_as_it_is(station: Any, press: Any) -> None:
    """A person has loaded the press since it was last read."""
    station.world.ramp_load(1.0, 2.0, 30.0)
    station.wait(600.0)
    press.load_rate.set(1.5)
    assert press.load.get() == pytest.approx(0.0, abs=0.01)
    with pytest.raises(LimitError, match="unloading"):
        station.finish(press.load.set(1.0))
    assert station.world.load_mn(station.clock.monotonic() + 60.0) == pytest.approx(2.0, abs=0.005)


def test_limits_can_be_tightened(press: Any) -> None:
    press.tighten({"load": (0.0, 5.0), "top.speed": (0.0, 0.1)})
    with pytest.raises(LimitError, match=r"accepted are 0..5 MN"):
        press.load.set(5.1)
    with pytest.raises(LimitError, match=r"accepted are 0..0.1 um/s"):
        press.top.speed.set(-0.01)


def test_feedback_comes_on_where_the_load_is(station: Any, press: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    press.load_rate.set(2.0)
    station.finish(press.load.set(1.0))
    station.finish(press.hold())
    # Somebody leaves the set-point far away while the feedback is off: on its own, the loop would chase it.
    station.job(lambda: press.put("Press_PID.VAL", 500.0))
    driven, drive = [], station.world.ramp_load
    monkeypatch.setattr(station.world, "ramp_load", lambda t, load, rate: (driven.append(load), drive(t, load, rate)))
    station.finish(press.load.set(1.1))
    assert driven[-1] == pytest.approx(1.1, abs=1e-3)
    assert max(driven) < 1.11


def test_holding_ends_a_ramp_and_stops_the_rams(station: Any, press: Any) -> None:
    press.load_rate.set(2.0)
    station.finish(press.top.speed.set(0.1))
    move = press.load.set(5.0)
    station.wait(1800.0)
    station.finish(press.hold())
    held = station.world.load_mn(station.clock.monotonic())
    with pytest.raises(Refused, match="feedback is off"):
        station.finish(move)
    station.wait(600.0)
    now = station.clock.monotonic()
    assert station.world.load_mn(now) == pytest.approx(held, abs=1e-3)
    assert [station.world.ram_speed_um_per_s(now, i) for i in (0, 1)] == [0.0, 0.0]


def test_stopping_a_load_holds_only_while_it_moves(station: Any, press: Any) -> None:
    press.load_rate.set(2.0)
    station.finish(press.load.set(0.5))
    press.load.stop(success=True)
    station.wait(1.0)
    assert station.job(lambda: press.ask("Press_PID.FBON")) == [1]
    move = press.load.set(1.0)
    station.wait(60.0)
    press.load.stop()
    with pytest.raises(Refused):
        station.finish(move)


def test_a_ramp_that_is_replaced_fails_and_the_new_one_arrives(station: Any, press: Any) -> None:
    press.load_rate.set(2.0)
    first = press.load.set(3.0)
    station.wait(600.0)
    second = press.load.set(1.0)
    with pytest.raises(Refused, match="was replaced by one to 1 MN"):
        station.finish(first)
    station.finish(second)
    assert press.load.get() == pytest.approx(1.0, abs=0.01)


def test_a_blow_out_fails_the_move_and_refuses_the_next(make_station: Callable[..., Any]) -> None:
    station = make_station(blow_out_at_s=2000.0)
    press = station.device("press")
    press.load_rate.set(2.0)
    with pytest.raises(BlowOut, match="a person has to reset it"):
        station.finish(press.load.set(5.0))
    assert station.clock.monotonic() <= 2062.0
    assert station.read("press")["press_blown_out"] == 1
    for signal, value in ((press.load, 4.0), (press.top.speed, 0.1)):
        with pytest.raises(BlowOut):
            station.finish(signal.set(value))
    target, jogging = station.job(lambda: press.ask("Press_RampTarget", "DDIA30:m1.JOGF"))
    assert target == pytest.approx(5.0 / 9.80665e-3)
    assert jogging == 0


def test_a_ram_may_be_stopped_while_the_latch_is_set(make_station: Callable[..., Any]) -> None:
    station = make_station(blow_out_at_s=100.0)
    press = station.device("press")
    station.world.ramp_load(0.0, 2.0, 120.0)
    station.finish(press.top.speed.set(0.1))
    station.wait(200.0)
    assert station.read("press")["press_blown_out"] == 1
    station.finish(press.top.speed.set(0.0))
    assert station.world.ram_speed_um_per_s(station.clock.monotonic(), 0) == 0.0


def test_only_a_named_person_resets_the_latch(make_station: Callable[..., Any]) -> None:
    station = make_station(blow_out_at_s=100.0)
    press = station.device("press")
    station.world.ramp_load(0.0, 2.0, 120.0)
    station.wait(200.0)
    assert station.read("press")["press_blown_out"] == 1
    assert not hasattr(Press, "acknowledge_blow_out"), "plans see no way to do it"
    station.finish(press.acknowledge_blow_out("A. Person"))
    assert station.read("press")["press_blown_out"] == 0
    press.load_rate.set(1.0)
    station.finish(press.load.set(press.load.get() + 0.05))


def test_rams_run_at_their_speed_both_ways(station: Any, press: Any) -> None:
    station.finish(press.top.speed.set(0.1))
    station.finish(press.bottom.speed.set(0.05))
    station.wait(1000.0)
    values = station.read("press")
    assert values["press_top_stroke"] == pytest.approx(0.1, abs=1e-3)
    assert values["press_bottom_stroke"] == pytest.approx(0.05, abs=1e-3)
    station.finish(press.top.speed.set(-0.2))
    assert press.top.speed.get() == pytest.approx(-0.2)
    station.wait(250.0)
    assert station.read("press")["press_top_stroke"] == pytest.approx(0.05, abs=1e-3)
    press.top.speed.stop()
    station.wait(100.0)
    assert station.world.ram_speed_um_per_s(station.clock.monotonic(), 0) == 0.0


def test_a_ram_at_its_limit_is_refused_outward_and_goes_back(station: Any, press: Any) -> None:
    station.finish(press.top.speed.set(0.2))
    station.wait(10_100.0)
    assert station.read("press")["press_top_stroke"] == 2.0
    with pytest.raises(Refused, match="at its limit"):
        station.finish(press.top.speed.set(0.1))
    station.finish(press.top.speed.set(-0.1))


def test_a_record_whose_soft_limits_are_too_wide_is_refused(make_station: Callable[..., Any]) -> None:
    station = make_station({"press": {"stroke_limit_mm": 5.0}})
    with pytest.raises(Refused, match="must lie within"):
        station.finish(station.device("press").top.speed.set(0.1))
    assert station.world.ram_speed_um_per_s(station.clock.monotonic(), 0) == 0.0


def test_its_safe_step_is_to_hold(station: Any, press: Any) -> None:
    press.load_rate.set(2.0)
    press.load.set(1.0)
    station.wait(100.0)
    ((what, action, limit_s),) = press.safe_steps()
    started = station.clock.monotonic()
    station.finish(action())
    assert "held" in what
    assert station.clock.monotonic() - started < limit_s
    assert station.job(lambda: press.ask("Press_PID.FBON", "Press_EnableRamp")) == [0, 0]


def test_a_ram_that_does_not_stop_is_not_believed(station: Any, press: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    station.finish(press.top.speed.set(0.1))
    monkeypatch.setattr(station.world, "set_ram_speed", lambda t, ram, speed: None)
    with pytest.raises(Refused, match="ram stands is not seen"):
        station.finish(press.hold())


def test_the_same_seed_gives_the_same_history(make_station: Callable[..., Any]) -> None:
    histories = []
    for _ in range(2):
        station = make_station()
        press = station.device("press")
        press.load_rate.set(2.0)
        move, history = press.load.set(0.4), []
        while not move.done:
            history.append((station.clock.monotonic(), *station.read("press").values(), *station.read("ring").values()))
            station.wait(17.0)
        histories.append(history)
    assert histories[0] == histories[1]
    assert len(histories[0]) > 30


class SoftRam(Device):
    speed = Cpt(SynAxis)


class SoftPress(Device):
    """Somebody else's press, without a link of ours."""

    load = Cpt(SynAxis)
    load_rate = Cpt(SynAxis)
    blown_out = Cpt(Signal, value=0)
    top = Cpt(SoftRam)
    bottom = Cpt(SoftRam)

    def hold(self) -> Any:
        return self.top.speed.set(0.0)


def squeeze(press: Press) -> Any:
    """A plan that knows the protocol only."""
    yield from bps.mv(press.load_rate, 1.0)
    yield from bps.mv(press.load, 2.0, press.top.speed, 0.1)
    yield from bps.open_run()
    yield from bps.trigger_and_read([press])
    yield from bps.close_run()


def test_both_our_press_and_a_foreign_one_are_presses(press: Any) -> None:
    assert isinstance(press, Press)
    assert isinstance(SoftPress(name="press"), Press)
    assert not isinstance(SoftRam(name="ram"), Press)


def test_a_plan_runs_on_a_press_of_another_backend() -> None:
    events: list[dict[str, Any]] = []
    engine = RunEngine({})
    engine(squeeze(SoftPress(name="press")), lambda name, doc: events.append(doc) if name == "event" else None)
    assert events[0]["data"]["press_load"] == 2.0
    assert events[0]["data"]["press_top_speed"] == 0.1
