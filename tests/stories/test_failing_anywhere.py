"""A plan may fail at any of its messages: what is hazardous is safe a moment later, wherever that was."""

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.experiments import Experiment, find
from megabar.acquisition.rig import load_rig
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation

SAFE_S = 0.05
"""Simulated: emission and gate are off by then; that it is seen on a line of 9600 baud takes a little longer."""
SEEN_S = 0.08


class Broken(RuntimeError):
    """What is thrown into the plan."""


class Breaker:
    """A plan that fails at one of its messages; it counts them, and notes when it failed."""

    def __init__(self, experiment: Experiment, now: Callable[[], float]) -> None:
        self.experiment = dataclasses.replace(experiment, plan=self._plan)
        self._inner, self._now = experiment.plan, now
        self.at: int | None = None
        self.n_messages = 0
        self.broken_at = 0.0

    def _plan(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        plan = self._inner(*arguments, **named)
        return self._broken(plan)

    def _broken(self, plan: Any) -> Any:
        answer, self.n_messages = None, 0
        while True:
            try:
                if self.n_messages == self.at:
                    self.broken_at = self._now()
                    self.n_messages += 1
                    message = plan.throw(Broken(f"at message {self.at}"))
                else:
                    message = plan.send(answer)
            except StopIteration as end:
                return end.value
            self.n_messages += 1
            answer = yield message


@pytest.fixture
def laser_bench() -> Iterator[Session]:
    rig = load_rig("laser_bench")
    with Simulation(rig, 4) as simulation, Session(rig, simulation=simulation) as session:
        yield session


SHORT = {"current_percent": "4", "ramp_percent_per_s": "4", "settle_s": "0", "duration_s": "1", "poll_s": "0.5"}


def run_broken(session: Session, breaker: Breaker, at: int | None, folder: Path, settings: Mapping[str, str]) -> Any:
    """One run that fails at a message; how long it then took until all was seen to be safe."""
    breaker.at, safe = at, []

    def watch(name: str, document: Mapping[str, Any]) -> None:
        if name == "descriptor" and document["name"] == "safety":
            safe.append(session.clock.monotonic())

    outcome = session.run(breaker.experiment, breaker.experiment.parse(settings), folder, observers=[watch])
    return outcome, (safe[0] - breaker.broken_at if safe else 0.0)


@pytest.mark.row(7, control="test_without_making_safe_the_laser_stays_on")
def test_an_exception_at_every_message_of_an_irradiation(laser_bench: Session, tmp_path: Path) -> None:
    breaker = Breaker(find("irradiation"), laser_bench.clock.monotonic)
    outcome, _ = run_broken(laser_bench, breaker, None, tmp_path / "whole", SHORT)
    assert outcome.exit_status == "success", outcome.reason
    n_messages = breaker.n_messages
    assert 50 < n_messages <= 300
    laser, relay = laser_bench.devices["laser"], laser_bench.devices["relay"]
    longest_s = 0.0
    for index in range(1, n_messages):
        outcome, seen_s = run_broken(laser_bench, breaker, index, tmp_path / str(index), SHORT)
        assert outcome.exit_status == "fail", (index, outcome)
        assert outcome.safety and "UNCONFIRMED" not in outcome.safety, (index, outcome.safety)
        laser.link.call(lambda: laser.fetch(laser.emission))
        relay.link.call(lambda: relay.fetch(relay.closed))
        assert laser.emission.get() == 0 and relay.closed.get() == 0, index
        longest_s = max(longest_s, seen_s)
    assert longest_s <= SEEN_S, longest_s
    print(f"{n_messages - 1} messages, safe and seen to be after {1e3 * longest_s:.0f} ms at most")


@pytest.mark.row(7)
@pytest.mark.soak
def test_an_exception_at_two_hundred_messages_of_a_long_irradiation(laser_bench: Session, tmp_path: Path) -> None:
    breaker = Breaker(find("irradiation"), laser_bench.clock.monotonic)
    run_broken(laser_bench, breaker, None, tmp_path / "whole", {})
    for index in random.Random(1).sample(range(1, breaker.n_messages), 200):
        outcome, seen_s = run_broken(laser_bench, breaker, index, tmp_path / str(index), {})
        assert outcome.exit_status == "fail" and "UNCONFIRMED" not in outcome.safety, (index, outcome)
        assert seen_s <= SEEN_S, (index, seen_s)


def test_without_making_safe_the_laser_stays_on(
    laser_bench: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the same failure with nobody who makes safe."""
    monkeypatch.setattr("megabar.acquisition.session.made_safe", lambda plan, devices, report: plan)
    breaker = Breaker(find("irradiation"), laser_bench.clock.monotonic)
    run_broken(laser_bench, breaker, None, tmp_path / "whole", SHORT)
    run_broken(laser_bench, breaker, breaker.n_messages // 2, tmp_path / "broken", SHORT)
    laser = laser_bench.devices["laser"]
    laser.link.call(lambda: laser.fetch(laser.emission))
    assert laser.emission.get() == 1
