"""A plan may fail at any of its messages: what is hazardous is safe a moment later, wherever that was."""

import dataclasses
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.experiments import Experiment, find
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import lines
from megabar.acquisition.session import Outcome, Session
from megabar.acquisition.simulation import Simulation
from megabar.analysis.live.analysis import LiveAnalysis
from megabar.devices.furnaces.eurotherm import AUTO_MANUAL, MANUAL, MANUAL_OUTPUT
from megabar.devices.presses.gsecars import HOLD
from megabar.devices.status import JobStatus

SAFE_S = 0.05
"""Simulated: emission and gate are off by then, and every other safe action is accepted."""
SEEN_S = 0.08
"""That emission and gate are seen to be off takes a little longer on a line of 9600 baud."""
REPLY_S = 80 / 19200
"""The furnace has taken a command when it begins to echo it; the echo of 8 characters takes this long."""
TOGETHER = 40
"""So many runs in one process."""


class Broken(RuntimeError):
    """What is thrown into the plan."""


class Failing:
    """Stands for a device whose next action fails."""

    parent = None

    def __init__(self, device: Any, why: str) -> None:
        self.name, self.root, self._why = device.name, getattr(device, "root", device), why

    def _fail(self, *_: Any) -> JobStatus:
        status = JobStatus()
        status.set_exception(Broken(self._why))
        return status

    set = trigger = _fail


class Breaker:
    """A plan that fails at one of its messages; it counts them, and notes when it failed.

    Where `how` is "status" it is the device of the first `set` or `trigger` from there on that fails.
    """

    def __init__(self, experiment: Experiment, now: Callable[[], float], how: str = "raises") -> None:
        self.experiment = dataclasses.replace(experiment, plan=self._plan)
        self._inner, self._now, self._how = experiment.plan, now, how
        self.at: int | None = None
        self.n_messages = self.last_action = 0
        self.broken_at: float | None = None

    def _plan(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        plan = self._inner(*arguments, **named)
        return self._broken(plan)

    def _broken(self, plan: Any) -> Any:
        answer, self.n_messages, self.broken_at, failure = None, 0, None, None
        while True:
            try:
                if failure is not None:
                    message, failure = plan.throw(failure), None
                elif self._is_time("raises"):
                    message = plan.throw(self.fail())
                else:
                    message = plan.send(answer)
            except StopIteration as end:
                return end.value
            self.n_messages += 1
            if message.command in ("set", "trigger"):
                self.last_action = self.n_messages
                if self._is_time("status"):
                    message = message._replace(obj=Failing(message.obj, str(self.fail())))
            try:
                answer = yield message
            except Exception as error:
                failure = error

    def _is_time(self, how: str) -> bool:
        return self._how == how and self.broken_at is None and self.at is not None and self.n_messages >= self.at

    def fail(self) -> Broken:
        """What is thrown, now."""
        self.broken_at = self._now()
        return Broken(f"at message {self.at}")


@pytest.fixture
def laser_bench() -> Iterator[Session]:
    rig = load_rig("laser_bench")
    with Simulation(rig, 4) as simulation, Session(rig, simulation=simulation) as session:
        yield session


SHORT = {"current_percent": "4", "ramp_percent_per_s": "4", "settle_s": "0", "duration_s": "1", "poll_s": "0.5"}


def run_broken(
    session: Session, breaker: Breaker, at: int | None, folder: Path, settings: Mapping[str, str]
) -> tuple[Outcome, float]:
    """One run that fails at a message; how long it then took until all was seen to be safe."""
    breaker.at = at
    outcome = session.run(breaker.experiment, breaker.experiment.parse(settings), folder)
    safe = [frame.clock for frame in lines(folder / JOURNAL) if frame.doc.get("name") == "safety"]
    return outcome, (safe[0] - breaker.broken_at if safe and breaker.broken_at is not None else 0.0)


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


HOT = {
    "load_mn": "0.1",
    "load_rate_mn_per_h": "2",
    "slow_poll_s": "180",
    "poll_s": "60",
    "calibrate": "false",
    "centre": "false",
    "temperature_k": "350",
    "heating_rate_k_per_min": "100",
    "soak_s": "0",
    "strain": "0.005",
    "strain_rate_per_s": "3e-4",
    "reference_radiographs": "2",
    "diffraction_exposure_s": "10",
    "radiograph_exposure_s": "0.1",
}
"""Compressed, heated and deformed, in less than 300 messages."""


class Press:
    """A deformation rig, and when its hazardous instruments have taken what they were told."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.furnace, self.press, self.shutter = (session.devices[name] for name in ("furnace", "press", "shutter"))
        self._taken: list[tuple[float, Any, Any]] = []
        for link, reply_s in ((self.furnace.link, REPLY_S), (self.press.link, 0.0)):
            link.tell = self._noting(link.tell, reply_s)

    def _noting(self, tell: Callable[[Any, Any], None], reply_s: float) -> Callable[[Any, Any], None]:
        def noting(command: Any, value: Any) -> None:
            tell(command, value)  # it returns when the instrument has answered
            self._taken.append((self.session.clock.monotonic() - reply_s, command, value))

        return noting

    def taken_s(self, command: Any, value: Any, since: float) -> float:
        """How long after a moment an instrument has taken a command."""
        return min(moment for moment, *told in self._taken if told == [command, value] and moment >= since) - since

    def check_run(self, breaker: Breaker, at: int, folder: Path, settings: Mapping[str, str]) -> tuple[float, float]:
        """One run that fails must end safe, and say why; when the slowest commands of cut and hold were taken (s)."""
        self._taken.clear()
        outcome, _ = run_broken(self.session, breaker, at, folder, settings)
        assert (outcome.exit_status, f"at message {at}") == ("fail", outcome.reason), (at, outcome)
        assert [line.split(":")[0] for line in outcome.safety.splitlines()] == [
            f"CONFIRMED {name}" for name in ("furnace", "press", "shutter")
        ], (at, outcome.safety)
        assert breaker.broken_at is not None
        left_s, cut_s = (
            self.taken_s(command, value, breaker.broken_at)
            for command, value in ((AUTO_MANUAL, MANUAL), (MANUAL_OUTPUT, 0.0))
        )
        held_s = max(
            self.taken_s(self.press.locate(command), value, breaker.broken_at) for command, value in HOLD.commands
        )
        assert max(left_s, held_s, cut_s) <= SAFE_S, (at, left_s, held_s, cut_s)
        self.check_safe()
        return cut_s, held_s

    def check_safe(self) -> None:
        """Ask the instruments."""
        furnace, press, shutter = self.furnace, self.press, self.shutter
        furnace.link.call(lambda: furnace.fetch(furnace.heating, furnace.output))
        assert furnace.heating.get() == 0 and furnace.output.get() == 0.0
        moving = (press.feedback, press.ramping, press.top.speed, press.bottom.speed)
        press.link.call(lambda: press.fetch(*moving))
        shutter.link.call(lambda: shutter.fetch(shutter.is_open))
        assert [signal.get() for signal in (*moving, shutter.is_open)] == [0, 0, 0, 0, 0]


@contextmanager
def rehearsed(seed: int) -> Iterator[Press]:
    rig, experiment = load_rig("d111"), find("deformation")
    needed = [rig.instrument_for(role) for role in experiment.role_names]
    with Simulation(rig, seed) as simulation, Session(rig, needed, simulation=simulation) as session:
        yield Press(session)


def breaker_of(press: Press, how: str = "raises") -> Breaker:
    return Breaker(find("deformation"), press.session.clock.monotonic, how)


def check_at(
    indices: Sequence[int], folder: Path, how: str = "raises", settings: Mapping[str, str] = HOT
) -> list[tuple[float, float]]:
    """Each in a world of its own: a sample that is short and hard already makes another run of it."""
    taken = []
    for index in indices:
        with rehearsed(4) as press:
            taken.append(press.check_run(breaker_of(press, how), index, folder / str(index), settings))
        shutil.rmtree(folder / str(index))
    return taken


def check_apart(indices: Sequence[int], *arguments: Any) -> list[tuple[float, float]]:
    """As `check_at`, some at a time in a process of their own: the loop of an engine keeps its descriptors."""
    taken = []
    for first in range(0, len(indices), TOGETHER):
        given = json.dumps([indices[first : first + TOGETHER], *arguments], default=str)
        done = subprocess.run([sys.executable, "-P", __file__, given], stdout=subprocess.PIPE, check=True)
        taken += json.loads(done.stdout)
    return taken


def check_deformation(every: int, folder: Path, how: str = "raises", settings: Mapping[str, str] = HOT) -> None:
    """A failure at every so many messages, from the first; of a random 200 where `every` is 0."""
    with rehearsed(4) as press:
        breaker = breaker_of(press, how)
        outcome, _ = run_broken(press.session, breaker, None, folder / "whole", settings)
    assert outcome.exit_status == "success", outcome.reason
    assert 150 < breaker.n_messages <= 300 or settings is not HOT
    possible = range(1, breaker.n_messages if how == "raises" else breaker.last_action)
    indices = list(possible[::every]) if every else random.Random(1).sample(possible, 200)
    taken = (check_apart if len(indices) > TOGETHER else check_at)(indices, folder, how, settings)
    slowest = [f"{1e3 * max(times):.0f} ms" for times in zip(*taken, strict=True)]
    print(f"{len(taken)} messages; the cut was taken after {slowest[0]}, the hold after {slowest[1]} at most")


@pytest.mark.row(7, control="test_without_making_safe_the_furnace_stays_on")
@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.soak)])
def test_an_exception_at_messages_of_a_deformation(tmp_path: Path, every: int) -> None:
    check_deformation(every, tmp_path)


@pytest.mark.row(7, control="test_without_making_safe_the_furnace_stays_on")
@pytest.mark.parametrize("every", [60, pytest.param(3, marks=pytest.mark.soak)])
def test_an_action_that_fails_at_messages_of_a_deformation(tmp_path: Path, every: int) -> None:
    check_deformation(every, tmp_path, "status")


@pytest.mark.row(7, control="test_without_making_safe_the_furnace_stays_on")
@pytest.mark.soak
def test_an_exception_at_two_hundred_messages_of_a_long_deformation(tmp_path: Path) -> None:
    check_deformation(0, tmp_path, settings={})


class Analysis(LiveAnalysis):
    """Raises what no analysis should, at one of the events of the conditions."""

    name, listens, recorded_after, quantities = "broken", frozenset({"conditions"}), frozenset(), {}

    def __init__(self, breaker: Breaker) -> None:
        super().__init__()
        self._breaker, self._n_events = breaker, 0

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> None:
        self._n_events += 1
        if self._n_events == self._breaker.at:
            raise self._breaker.fail()


@pytest.mark.row(7, control="test_without_making_safe_the_furnace_stays_on")
@pytest.mark.parametrize("event", [3, *(pytest.param(event, marks=pytest.mark.soak) for event in (1, 2, 5, 8))])
def test_an_analysis_that_raises_in_a_deformation(tmp_path: Path, event: int) -> None:
    with rehearsed(4) as press:
        breaker = breaker_of(press, "elsewhere")
        analyses = breaker.experiment.analyses
        breaker.experiment = dataclasses.replace(
            breaker.experiment, analyses=lambda *given: [*analyses(*given), Analysis(breaker)]
        )
        press.check_run(breaker, event, tmp_path, HOT)


def test_without_making_safe_the_furnace_stays_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same failure with nobody who makes safe."""
    monkeypatch.setattr("megabar.acquisition.session.made_safe", lambda plan, devices, report: plan)
    with rehearsed(4) as press:
        breaker = breaker_of(press)
        run_broken(press.session, breaker, 100, tmp_path, HOT)
        assert breaker.broken_at is not None
        with pytest.raises(AssertionError):
            press.check_safe()
        assert press.furnace.heating.get() == 1


if __name__ == "__main__":
    some, there, *rest = json.loads(sys.argv[1])
    print(json.dumps(check_at(some, Path(there), *rest)))
