"""Membrane controller and spectrograph with their simulated twins, in simulated time and with faults on the line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.devices.errors import LimitError, LinkError, Refused
from megabar.devices.pause import Pause
from megabar.devices.pressure_controllers.pace5000 import HOLDING_S, PACE5000
from megabar.devices.spectrometers.spectrapro import SpectraPro
from megabar.simulators.instruments.pressure_controllers.pace5000 import SimulatedPACE5000
from megabar.simulators.instruments.spectrometers.spectrapro import SimulatedSpectraPro
from megabar.simulators.noise import Noise
from megabar.simulators.wire.faults import Faults
from megabar.simulators.wire.pty_serial import PtyServer
from megabar.simulators.wire.tcp import TcpServer

from . import test_on_simulators

PAIRS = {"membrane": (PACE5000, SimulatedPACE5000), "spectrograph": (SpectraPro, SimulatedSpectraPro)}


class World:
    """A membrane behind valves that leak 10 mbar/s, and a spectrograph."""

    def __init__(self) -> None:
        self.ways: list[tuple[float, ...]] = []
        self.turns: list[tuple[float, ...]] = []

    def set_membrane(self, t: float, bar: float, target_bar: float, bar_per_s: float) -> None:
        self.ways.append((t, bar, target_bar, bar_per_s))

    def membrane_leak_bar_per_s(self, t: float) -> float:
        return 0.01

    def set_spectrograph(self, *turn: float) -> None:
        self.turns.append(turn)


class Rehearsal(test_on_simulators.Rehearsal):
    """Of these two; `parameters` are those of the simulated instruments."""

    parameters: dict[str, dict[str, Any]] = {}

    def _server(self, name: str, _: Any, clock: Any, rules: list[dict[str, Any]], seed: int) -> Any:
        self.world, self.twins = getattr(self, "world", World()), getattr(self, "twins", {})
        options = self.parameters.get(name, {})
        self.twins[name] = PAIRS[name][1](name=name, world=self.world, clock=clock, noise=Noise(seed, name), **options)
        server = TcpServer if self.twins[name].wire == "tcp" else PtyServer
        return server(self.twins[name], clock, Faults(rules, Noise(seed, f"faults of {name}")))

    def _device(self, name: str, address: str) -> Any:
        device_class = PAIRS[name][0]
        link: Any = device_class.link_type(name, address, self.clock, **device_class.link_options)
        link.call(link.open)
        device = device_class(name=name, link=link)
        link.call(device.connect)
        return device

    def took(self, status: Any) -> float:
        """How long it is until a status is done."""
        before = self.clock.monotonic()
        self.wait(status)
        return self.clock.monotonic() - before


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Callable[..., Rehearsal]]:
    made: list[Rehearsal] = []

    def make(*names: str, seed: int = 1, faults: dict[str, Any] | None = None, **parameters: Any) -> Rehearsal:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        Rehearsal.parameters = parameters
        made.append(Rehearsal(folder, list(names), faults or {}, seed))
        return made[-1]

    yield make
    for rehearsal in made:
        rehearsal.close()


@pytest.fixture
def controlled(rehearse: Callable[..., Rehearsal]) -> Callable[..., Any]:
    """A membrane at 20 bar, with control on and 0.5 bar/s."""

    def make(faults: list[dict[str, Any]] | None = None, **parameters: Any) -> tuple[Rehearsal, PACE5000]:
        here = rehearse("membrane", faults={"membrane": faults or []}, membrane={"initial_bar": 20.0, **parameters})
        pace = here.devices["membrane"]
        here.wait(pace.slew_rate.set(0.5))
        here.wait(pace.control.set(1))
        return here, pace

    return make


# ---- the membrane


def test_a_ramp_takes_its_time_and_ends_in_limits(controlled):
    here, pace = controlled()
    assert 20.0 < here.took(pace.setpoint.set(30.0)) < 25.0  # and the two seconds that the flag takes
    here.wait(pace.trigger())
    assert pace.pressure.get() == pytest.approx(30.0, abs=0.02) and pace.in_limits.get() == 1
    assert 40.0 < here.took(pace.setpoint.set(10.0)) < 45.0
    assert here.world.ways[-1][2:] == (10.0, 0.5)
    assert not here.failures


def test_control_starts_without_a_step_and_never_as_fast_as_can_be(rehearse):
    here = rehearse("membrane", membrane={"initial_bar": 55.0})
    pace = here.devices["membrane"]
    with pytest.raises(Refused, match="as fast as can be"):
        here.wait(pace.control.set(1))
    here.wait(pace.slew_rate.set(0.1))
    here.wait(pace.control.set(1))
    here.pause(10.0)
    here.wait(pace.trigger())
    assert pace.pressure.get() == pytest.approx(55.0, abs=0.05)
    assert all(rate <= 0.1 for *_, rate in here.world.ways)


def test_control_off_leaks_and_control_on_does_not(controlled):
    here, pace = controlled()
    here.pause(600.0)
    here.wait(pace.trigger())
    assert pace.pressure.get() == pytest.approx(20.0, abs=0.02)
    here.wait(pace.control.set(0))
    here.pause(600.0)
    here.wait(pace.trigger())
    assert pace.pressure.get() == pytest.approx(14.0, abs=0.1)


def test_the_link_is_free_during_a_ramp(controlled):
    here, pace = controlled()
    ramp = pace.setpoint.set(30.0)
    here.pause(10.0)
    assert here.took(pace.trigger()) < 0.1
    assert pace.pressure.get() == pytest.approx(25.0, abs=0.1) and not ramp.done
    here.wait(ramp)


def test_a_vent_fails_the_ramp(controlled):
    here, pace = controlled()
    ramp = pace.setpoint.set(30.0)
    here.pause(5.0)
    here.twins["membrane"]._set_vent(1)
    with pytest.raises(Refused, match="vent is under way"):
        here.wait(ramp)


def test_a_supply_that_does_not_reach_is_told_with_the_effort(controlled):
    here, pace = controlled(supply_bar=40.0)
    with pytest.raises(Refused, match=r"stays at 38(\.\d+)? bar with an effort of 100 %"):
        here.wait(pace.setpoint.set(60.0))
    assert here.clock.monotonic() < 80.0 + 65.0


def test_a_target_beyond_the_range_is_told_by_the_error_queue(controlled):
    here, pace = controlled()
    with pytest.raises(Refused, match="-222"):
        here.wait(pace.link.submit(lambda: pace.link.assign(pace.setpoint.command, 500.0)))


def test_a_second_target_replaces_the_first(controlled):
    here, pace = controlled()
    first = pace.setpoint.set(30.0)
    here.pause(5.0)
    second = pace.setpoint.set(10.0)
    with pytest.raises(Refused, match="replaced"):
        here.wait(first)
    here.wait(second)


def test_the_safe_state_stops_a_ramp_and_keeps_the_pressure(controlled):
    here, pace = controlled()
    ramp = pace.setpoint.set(120.0)
    here.pause(30.0)
    ((_, action, limit_s),) = pace.safe_steps()
    assert here.took(action()) < min(limit_s, 4.0)
    with pytest.raises((Refused, LinkError), match=r"replaced|urgent"):
        here.wait(ramp)
    here.pause(600.0)
    here.wait(pace.trigger())
    assert pace.pressure.get() == pytest.approx(35.0, abs=0.1) and pace.control.get() == 1


def test_stopping_ends_a_ramp_and_leaves_a_pressure_that_has_arrived(controlled):
    here, pace = controlled()
    here.wait(pace.setpoint.set(22.0))
    n = len(here.world.ways)
    pace.stop()
    here.pause(5.0)
    assert len(here.world.ways) == n
    ramp = pace.setpoint.set(40.0)
    here.pause(4.0)
    pace.setpoint.stop()
    with pytest.raises(Refused):
        here.wait(ramp)
    here.wait(pace.trigger())
    assert pace.pressure.get() == pytest.approx(24.0, abs=0.3)


def test_a_pause_stops_a_ramp_and_going_on_ends_it(controlled):
    here, pace = controlled()
    ramp = pace.setpoint.set(40.0)
    here.pause(10.0)
    pause = Pause()
    pace.pause_for(pause)
    for _, action, limit_s in pace.pause_steps():
        assert here.took(action()) < limit_s
    here.pause(300.0)
    assert not ramp.done and pace.pressure.get() == pytest.approx(25.0, abs=0.1)
    ((_, go_on, _),) = pace.go_on_steps()
    here.wait(go_on())
    pause.over = True
    assert 30.0 < here.took(ramp) < 37.0
    assert pace.pressure.get() == pytest.approx(40.0, abs=0.05)


def test_a_pause_of_what_stands_has_nothing_to_go_on_with(controlled):
    here, pace = controlled()
    pace.pause_for(Pause())
    ((_, action, _),) = pace.pause_steps()
    here.wait(action())
    assert pace.go_on_steps() == []


@pytest.mark.parametrize("first", [60, 61, 62, 63, 64])
@pytest.mark.parametrize("kind", ["drop", "truncate", "garble"])
def test_two_bad_replies_do_not_keep_the_pressure_from_being_held(controlled, kind: str, first: int):
    here, pace = controlled([{"kind": kind, "at": [first, first + 1]}])
    pace.setpoint.set(120.0)
    here.pause(2.0)
    ((_, action, limit_s),) = pace.safe_steps()
    assert here.took(action()) <= limit_s == HOLDING_S
    here.pause(60.0)
    held_bar = here.twins["membrane"].pressure_bar()
    here.pause(60.0)
    assert here.twins["membrane"].pressure_bar() == pytest.approx(held_bar, abs=0.7) and held_bar < 27.0


def test_on_the_serial_line_it_is_the_same(controlled):
    here, pace = controlled(wire="serial")
    here.wait(pace.setpoint.set(21.0))
    assert pace.pressure.get() == pytest.approx(21.0, abs=0.02)


# ---- the spectrograph


def test_a_wavelength_is_answered_on_arrival(rehearse):
    here = rehearse("spectrograph")
    spectrograph = here.devices["spectrograph"]
    assert spectrograph.installed == {1: 1200.0, 2: 300.0, 3: 150.0} and spectrograph.grooves.get() == 1200.0
    assert here.took(spectrograph.wavelength.set(546.7)) == pytest.approx(0.2 + 5.467, abs=0.1)
    assert spectrograph.wavelength.get() == 546.7
    here.wait(spectrograph.grating.set(2))
    assert here.took(spectrograph.wavelength.set(846.7)) == pytest.approx(0.2 + 300.0 / 400.0, abs=0.1)
    assert here.world.turns[-1][4] == 300.0


def test_a_grating_takes_twenty_seconds_and_the_rest_waits_for_it(rehearse):
    here = rehearse("spectrograph")
    spectrograph = here.devices["spectrograph"]
    turning = spectrograph.grating.set(3)
    here.pause(5.0)
    assert not spectrograph.at_rest and not turning.done
    reading = spectrograph.trigger()
    next_one = spectrograph.wavelength.set(700.0)
    here.pause(10.0)
    assert not reading.done and not next_one.done
    assert here.took(turning) == pytest.approx(5.0, abs=0.7)
    assert spectrograph.grating.get() == 3 and spectrograph.grooves.get() == 150.0
    here.wait(reading)
    here.wait(next_one)
    assert spectrograph.wavelength.get() == 700.0 and spectrograph.at_rest
    assert not here.failures


def test_what_wants_nothing_of_the_line_does_not_wait(rehearse):
    """An abort closes it."""
    here = rehearse("spectrograph")
    spectrograph = here.devices["spectrograph"]
    turning = spectrograph.grating.set(2)
    here.pause(3.0)
    before = here.clock.monotonic()
    spectrograph.link.call(lambda: None)
    assert here.clock.monotonic() - before <= 0.3
    spectrograph.link.call(spectrograph.link.close)
    with pytest.raises(LinkError, match="closed"):
        here.wait(turning)
    assert spectrograph.at_rest


def test_whoever_asks_while_it_turns_is_refused(rehearse):
    here = rehearse("spectrograph")
    spectrograph = here.devices["spectrograph"]
    turning = spectrograph.grating.set(2)
    here.pause(3.0)
    with pytest.raises(LinkError, match="on arrival only"):
        here.wait(spectrograph.link.submit(lambda: spectrograph.fetch(spectrograph.wavelength)))
    here.wait(turning)


def test_each_grating_has_its_reach(rehearse):
    here = rehearse("spectrograph", spectrograph={"gratings": ((1200.0, 500.0), (300.0, 750.0))})
    spectrograph = here.devices["spectrograph"]
    with pytest.raises(LimitError, match="reach to 5600 nm"):
        spectrograph.wavelength.set(5601.0)
    with pytest.raises(LimitError, match="grating 1 reaches to 1400 nm"):
        here.wait(spectrograph.wavelength.set(1401.0))
    here.wait(spectrograph.grating.set(2))
    here.wait(spectrograph.wavelength.set(1500.0))
    with pytest.raises(LimitError, match="grating 1 reaches to 1400 nm"):
        here.wait(spectrograph.grating.set(1))
    with pytest.raises(LimitError, match="accepted are 1, 2"):
        spectrograph.grating.set(3)
    assert spectrograph.grating.get() == 2


def test_an_arrival_whose_answer_is_lost_is_an_error_and_the_next_question_has_its_own(rehearse):
    # five replies to the attachment, then the grating in place; lost are the arrival and the model asked after it
    here = rehearse("spectrograph", faults={"spectrograph": [{"kind": "drop", "at": [7, 8]}]})
    spectrograph = here.devices["spectrograph"]
    with pytest.raises(LinkError):
        here.wait(spectrograph.wavelength.set(500.0))
    here.wait(spectrograph.trigger())
    assert spectrograph.wavelength.get() in (0.0, 500.0) and spectrograph.grating.get() == 1


FAULTS = {
    name: [
        {"kind": "drop", "at": [31]},
        {"kind": "truncate", "at": [62]},
        {"kind": "garble", "at": [80, 111]},
        {"kind": "split", "every": 5, "seconds": 0.05},
    ]
    for name in PAIRS
}


def series(here: Rehearsal, n: int) -> list[tuple[Any, ...]]:
    rows = []
    for _ in range(n):
        for device in here.devices.values():
            here.wait(device.trigger())
        entries = [entry for device in here.devices.values() for entry in device.read().values()]
        rows.append(tuple(entry[key] for entry in entries for key in ("value", "timestamp")))
    return rows


def test_on_a_faulty_line_no_reading_is_wrong_and_the_same_seed_gives_the_same_run(rehearse):
    names, known = ("membrane", "spectrograph"), {"membrane": {"initial_bar": 20.0}, "spectrograph": {"nm": 600.0}}
    first = series(rehearse(*names, faults=FAULTS, **known), 20)
    for row in first:
        pressure, setpoint, in_limits, control, vent, effort, nm, grating = row[::2]
        assert 15.0 < pressure < 20.1 and (setpoint, in_limits, control, vent, effort) == (0.0, 0, 0, 0, 0.0)
        assert (nm, grating) == (600.0, 1)
    assert series(rehearse(*names, faults=FAULTS, **known), 20) == first
    assert series(rehearse(*names, faults=FAULTS, seed=2, **known), 20) != first
