"""Laser and gate with their simulated twins, in discrete-event time and with faults on the line."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.rig import load_rig, shipped
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation
from megabar.devices.errors import LimitError, LinkError, Refused


class Bench:
    """The shipped rig, some of its lines with faults."""

    def __init__(self, session: Session, simulation: Simulation) -> None:
        self.clock, self._simulation = session.clock, simulation
        self.laser: Any = session.devices["laser"]
        self.relay: Any = session.devices["relay"]

    def wait(self, status: Any) -> float:
        """Let time run until a status is done; how long that took."""
        before = self.clock.monotonic()
        finished = threading.Event()
        status.add_callback(lambda _: finished.set())
        self.clock.block(finished)
        if status.exception() is not None:
            raise status.exception()
        return self.clock.monotonic() - before

    def pause(self, seconds: float) -> None:
        """Let time run."""
        finished = threading.Event()
        self.clock.call_later(seconds, "pause", lambda: finished.set())  # `block` replaces `set`
        self.clock.block(finished)

    def light(self) -> None:
        """Emission at 12 %, the gate closed for half a minute."""
        self.wait(self.relay.pulse.set(30.0))
        self.wait(self.laser.emission.set(1))
        for percent in (4.0, 8.0, 12.0):
            self.wait(self.laser.current.set(percent))
            self.pause(1.0)

    def power_w(self) -> float:
        """Mean of what really came out over the last second."""
        now = self.clock.monotonic()
        return self._simulation.truth({"start_s": now - 1.0, "stop_s": now})["values"]["power"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with ExitStack() as stack:

        def make(**additions: str) -> Bench:
            text = shipped()["laser_bench"].read_text()
            for name, lines in additions.items():
                text = text.replace(f"[instruments.{name}]\n", f"[instruments.{name}]\n{lines}\n")
            path = tmp_path / "bench.toml"
            path.write_text(text)
            rig = load_rig(str(path))
            simulation = stack.enter_context(Simulation(rig, seed=3))
            return Bench(stack.enter_context(Session(rig, simulation=simulation)), simulation)

        yield make


def test_light_comes_with_gate_emission_and_current_and_goes_with_each(bench):
    here = bench()
    here.light()
    assert here.power_w() == pytest.approx(2.2, rel=0.1)
    here.wait(here.laser.trigger())
    assert here.laser.output_power.get() == pytest.approx(2.2, rel=0.2)
    here.wait(here.relay.gate_open())
    here.pause(1.0)
    assert here.power_w() == 0.0
    here.wait(here.relay.pulse.set(3.0))
    here.pause(1.0)
    assert here.power_w() > 2.0  # the gate has the last word, not the emission
    here.wait(here.laser.emission_off())
    here.pause(1.0)
    assert here.power_w() == 0.0


def test_the_gate_opens_by_itself(bench):
    here = bench()
    here.light()
    here.wait(here.relay.pulse.set(1.0))
    here.pause(2.2)
    assert here.power_w() == 0.0
    here.wait(here.relay.trigger())
    assert here.relay.closed.get() == 0


def test_emission_takes_the_three_seconds_of_the_safety_start(bench):
    here = bench()
    assert 3.0 < here.wait(here.laser.emission.set(1)) < 3.2


def test_both_are_made_safe_within_a_tenth_of_a_second(bench):
    here = bench()
    here.light()
    assert here.wait(here.laser.emission_off()) < 0.01
    assert here.wait(here.relay.gate_open()) < 0.1


@pytest.mark.parametrize("first", [8, 30, 31, 42])
@pytest.mark.parametrize("kind", ["drop", "truncate", "garble"])
def test_two_bad_replies_do_not_keep_the_laser_on_for_half_a_second(bench, kind: str, first: int):
    """From whatever reply on, two in a row: the emission ends within the limit of its safe step."""
    here = bench(laser=f"faults = [{{ kind = '{kind}', at = [{first}, {first + 1}] }}]")
    try:
        here.light()
    except (LinkError, Refused, LimitError):
        pass
    ((_, action, limit_s),) = here.laser.safe_steps()
    assert here.wait(action()) <= limit_s
    here.pause(1.01)
    assert here.power_w() == 0.0


@pytest.mark.parametrize("kind", ["drop", "truncate", "garble"])
def test_a_bad_reply_does_not_keep_the_gate_closed_for_half_a_second(bench, kind: str):
    here = bench(relay=f"faults = [{{ kind = '{kind}', at = [5] }}]")
    here.light()
    ((_, action, limit_s),) = here.relay.safe_steps()
    assert here.wait(action()) <= limit_s
    here.pause(1.01)
    assert here.power_w() == 0.0


def test_a_laser_that_has_fallen_silent_is_not_called_safe(bench):
    here = bench(laser=f"faults = [{{ kind = 'drop', at = {list(range(20, 400))} }}]")
    with pytest.raises((LinkError, Refused, LimitError)):
        here.light()
    with pytest.raises(LinkError):
        here.wait(here.laser.emission_off())
    here.pause(1.01)
    assert here.power_w() == 0.0  # it heard, though nobody knows


def test_a_current_beyond_the_limit_of_the_rig_is_refused(bench):
    here = bench()
    with pytest.raises(LimitError, match=r"0\.\.35"):
        here.laser.current.set(36.0)
