"""Runs that are paused for ten minutes, in simulated time: what is hazardous is held, and nothing is done twice."""

import collections
import dataclasses
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import Msg

from megabar.acquisition.experiments import find
from megabar.acquisition.forwarding import forwarded
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import Run, journal_of, lines, read_run
from megabar.acquisition.session import Outcome, Session
from megabar.acquisition.simulation import Simulation
from megabar.analysis.live.deformation import Strain
from megabar.devices.errors import Refused
from megabar.devices.furnaces.eurotherm import Eurotherm3504
from megabar.devices.instrument import Instrument
from megabar.devices.lasers.gate_relay import GateRelay
from megabar.devices.lasers.ipg_ylr import IPGYLR
from megabar.devices.link import Steps
from megabar.plans import beamline

from .conftest import irradiating

PAUSE_S = 600.0
SETTLED_S = 30.0
"""By then everything is held."""
DARK_S = 0.1

LOOKED_AT = {
    "press": "load",
    "furnace": "temperature",
    "shutter": "is_open",
    "laser": "emission",
    "relay": "closed",
}

Place = Callable[[Msg, int], bool]
"""Whether to pause at a message, given its number in the plan."""


class Pauser:
    """Pauses a run at some of its plan's messages for ten minutes, and asks the instruments what they do meanwhile."""

    def __init__(self, session: Session, experiment: str, places: Sequence[Place]) -> None:
        self._session, self._inner = session, find(experiment)
        self.experiment = dataclasses.replace(self._inner, plan=self._plan)
        self._places = collections.deque(places)
        self.messages: list[tuple[float, Msg]] = []
        self.asked: list[float] = []
        self.looks: list[dict[float, dict[str, float]]] = []
        """For each pause what was read after so many seconds of it."""

    def run(self, folder: Path, settings: Mapping[str, Any]) -> Outcome:
        """One run."""
        chosen = self.experiment.parse({name: str(value) for name, value in settings.items()})
        return self._session.run(self.experiment, chosen, folder, seed=4, tell=lambda line, paused: None)

    def _plan(self, *arguments: Any, **named: Any) -> Any:
        return forwarded(self._inner.plan(*arguments, **named), self._seen)

    def _seen(self, message: Msg) -> Any:
        self.messages.append((self._session.clock.monotonic(), message))
        if self._places and self._places[0](message, len(self.messages)):
            self._places.popleft()
            self.pause()
        return (yield message)

    def pause(self) -> None:
        clock, pauses, look = self._session.clock, self._session.pauses, {}
        self.asked.append(clock.monotonic())
        self.looks.append(look)
        self._look(look, 0.0)
        pauses.pause()
        for after_s in (SETTLED_S, PAUSE_S - 10.0):
            clock.call_later(after_s, "look", lambda after_s=after_s: self._look(look, after_s))
        clock.call_later(PAUSE_S, "test", pauses.go_on)

    def _look(self, kept: dict[float, dict[str, float]], after_s: float) -> None:
        """Ask on the wire; what the device keeps in its readings is left alone."""
        seen = kept.setdefault(after_s, {})
        for name, reading in LOOKED_AT.items():
            if name in self._session.devices:
                self._ask(seen, self._session.devices[name], reading)

    @staticmethod
    def _ask(seen: dict[str, float], device: Any, name: str) -> None:
        reading = getattr(device, name)

        def ask() -> None:
            (reply,) = device.link.fetch([device.locate(reading.query)])
            seen[name] = reading.parse(reply)

        device.link.submit(ask)

    def moved(self, name: str) -> float:
        """How far a reading went at most from its value when a pause was asked for."""
        return max(abs(look[after_s][name] - look[0.0][name]) for look in self.looks for after_s in look)

    def was(self, name: str) -> bool:
        """Whether something was open, or on, in any pause."""
        return any(look[after_s].get(name) for look in self.looks for after_s in look if after_s)


def check_numbers(folder: Path) -> None:
    """Every stream's events are numbered 1, 2, 3 … in the journal itself."""
    streams: dict[str, str] = {}
    numbers = collections.defaultdict(list)
    for frame in lines(journal_of(folder)):
        if frame.name == "descriptor":
            streams[frame.doc["uid"]] = frame.doc["name"]
        elif frame.name == "event":
            numbers[streams[frame.doc["descriptor"]]].append(frame.doc["seq_num"])
    for stream, found in numbers.items():
        assert found == list(range(1, len(found) + 1)), stream
    run = read_run(folder)
    for stream in ("detector_calibration", "position", "strain", "dose"):
        if stream in run.streams:
            derived = run.streams[stream].data[f"{stream}_seq_num"]
            assert len(set(derived)) == len(derived), stream


def noted(run: Run, kind: str) -> list[Any]:
    return [note for note in run.notes if note.kind == kind]


# a laser

IRRADIATION = {"current_percent": 4, "ramp_percent_per_s": 4, "settle_s": 0, "duration_s": 1, "poll_s": 0.5}


@pytest.fixture
def laser_bench() -> Iterator[Session]:
    rig = load_rig("laser_bench")
    with Simulation(rig, 4) as simulation, Session(rig, simulation=simulation) as session:
        yield session


def at(index: int) -> Place:
    return lambda message, number: number == index


def emits_after(run: Run, moment_s: float) -> bool:
    """Whether the laser, in truth, emitted after a moment of simulated time."""
    series = run.truth["series"]
    return bool(np.any(np.asarray(series["emitting"])[np.asarray(series["time"]) > moment_s]))


@pytest.mark.row(32, control="test_without_pause_steps_the_laser_goes_on")
def test_a_laser_is_dark_within_100_ms_wherever_an_irradiation_is_paused(laser_bench: Session, tmp_path: Path) -> None:
    whole = Pauser(laser_bench, "irradiation", [])
    assert whole.run(tmp_path / "whole", IRRADIATION).exit_status == "success"
    checkpoints = [number for number, (_, message) in enumerate(whole.messages, 1) if message.command == "checkpoint"]
    assert len(checkpoints) >= 8
    longest_s = 0.0
    for index in (*checkpoints, *range(checkpoints[1] + 1, checkpoints[2])):
        pauser = Pauser(laser_bench, "irradiation", [at(index)])
        outcome = pauser.run(tmp_path / str(index), IRRADIATION)
        run = read_run(outcome.folder)
        (pause,), (asked_s,) = noted(run, "pause"), pauser.asked
        assert pause.content["report"] == ["CONFIRMED laser: emission off", "CONFIRMED relay: gate open"], index
        longest_s = max(longest_s, pause.clock - asked_s)
        assert not emits_after(run, asked_s + DARK_S), index
        assert not pauser.was("emission") and not pauser.was("closed"), index
        if index == checkpoints[-1]:  # it had been disarmed
            assert outcome.exit_status == "success", outcome.reason
        else:
            assert outcome.exit_status == "fail" and "new run" in outcome.reason, (index, outcome.reason)
        check_numbers(outcome.folder)
    assert longest_s <= DARK_S, longest_s
    assert Pauser(laser_bench, "irradiation", []).run(tmp_path / "new", IRRADIATION).exit_status == "success"


def test_without_pause_steps_the_laser_goes_on(
    laser_bench: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the emission that ends."""
    monkeypatch.setattr(Instrument, "pause_steps", lambda self: [])
    pauser = Pauser(laser_bench, "irradiation", [at(45)])
    outcome = pauser.run(tmp_path / "run", IRRADIATION)
    assert pauser.was("emission")
    with pytest.raises(AssertionError):
        assert noted(read_run(outcome.folder), "pause")[0].content["report"]


@pytest.mark.parametrize("protected", [True, False])
def test_what_a_pause_has_switched_off_stays_off(
    laser_bench: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protected: bool
) -> None:
    """Paused just before it is armed: a plan that asks for light does not get it; with the control it does."""
    if not protected:
        monkeypatch.setattr(IPGYLR, "goes_on", True)
        monkeypatch.setattr(GateRelay, "goes_on", True)
    pauser = Pauser(laser_bench, "irradiation", [lambda message, number: message.command == "set"])
    outcome = pauser.run(tmp_path / "run", IRRADIATION)
    readings = read_run(outcome.folder).streams["conditions"].data["laser_emission"]
    assert bool(np.any(np.asarray(readings) == 1)) is not protected
    assert outcome.exit_status == ("fail" if protected else "success")


# a press

DEFORMATION = {
    "load_mn": 5,
    "soak_s": 60,
    "strain": 0.022,
    "steady_span": 0.01,
    "heating_rate_k_per_min": 40,
    "standard_exposure_s": 60,
    "diffraction_exposure_s": 60,
    "loading_diffraction_s": 7200,
    "slow_poll_s": 240,
}


@pytest.fixture
def d111() -> Iterator[Session]:
    rig = load_rig("d111")
    with Simulation(rig, 4) as simulation, Session(rig, simulation=simulation) as session:
        yield session


def sets(device: str, message: Msg) -> bool:
    return message.command == "set" and message.obj.name == device


def after(device: str, n_messages: int) -> Place:
    """So many messages after a device is set."""
    seen: list[int] = []

    def place(message: Msg, number: int) -> bool:
        if sets(device, message):
            seen.append(number)
        return bool(seen) and number >= seen[0] + n_messages

    return place


def later(n_messages: int) -> Place:
    """So many messages after the place before it."""
    seen: list[int] = []

    def place(message: Msg, number: int) -> bool:
        seen.append(number)
        return len(seen) > n_messages

    return place


PHASES: Mapping[str, Callable[[], Place]] = {
    "exposure of the standard": lambda: after("detector_exposure", 12),
    "load ramp asked for": lambda: lambda message, number: sets("press_load", message),
    "load ramp": lambda: later(60),
    "furnace switched on": lambda: lambda message, number: sets("furnace_heating", message),
    "heating": lambda: later(20),
    "shutter opening": lambda: lambda message, number: sets("shutter", message) and message.args[0] == "open",
    "rams started": lambda: lambda message, number: sets("press_top_speed", message),
    "deformation": lambda: later(600),
    "exposure in the deformation": lambda: (
        lambda message, number: message.command == "trigger" and message.obj.name == "detector"
    ),
    "rams stopped": lambda: lambda message, number: sets("press_top_speed", message) and not message.args[0],
    "unloading": lambda: after("press_load_rate", 70),
}


def check_held(pauser: Pauser, *, quenched: bool = False) -> None:
    """A furnace that has been cut cools down, paused or not."""
    assert pauser.moved("load") < 0.01
    assert quenched or pauser.moved("temperature") < 5.0
    assert not pauser.was("is_open")


def check_patterns(run: Run) -> None:
    """No pattern and no radiograph was taken with the shutter closed."""
    for stream, key in (("diffraction", "detector_spectra"), ("radiograph", "camera_image")):
        counts = np.array([np.asarray(frame, dtype=float).sum() for frame in run.streams[stream].data[key]])
        assert counts.min() > 0.7 * np.median(counts), stream


def check_result(outcome: Outcome) -> None:
    assert outcome.exit_status == "success", outcome.reason
    for name, entry in outcome.results.items():
        pull = (entry["value"] - outcome.truth[name]) / (entry["error"] ** 2 + entry["systematic"] ** 2) ** 0.5
        assert abs(pull) < 3.5, (name, entry, outcome.truth[name])


def fastest(pauser: Pauser) -> float:
    """The highest speed of a ram (um/s) that the plan asked for."""
    return max(message.args[0] for _, message in pauser.messages if sets("press_top_speed", message))


@pytest.mark.row(32, control="test_without_its_parts_a_pause_is_none")
def test_a_deformation_survives_a_pause_in_each_of_its_phases(d111: Session, tmp_path: Path) -> None:
    pauser = Pauser(d111, "deformation", [place() for place in PHASES.values()])
    outcome = pauser.run(tmp_path / "run", DEFORMATION)
    assert len(pauser.asked) == len(PHASES)
    check_result(outcome)
    check_held(pauser)
    run = read_run(outcome.folder)
    check_patterns(run)
    check_numbers(outcome.folder)
    assert len(noted(run, "pause")) == len(noted(run, "went on")) == len(PHASES)
    pauses = run.streams["pauses"]
    lasted_s = np.asarray(pauses.data["pause_went_on"]) - np.asarray(pauses.data["pause_began"])
    assert len(pauses) == len(PHASES) and np.all(np.abs(lasted_s - PAUSE_S) < 5.0)
    loads, times = run.truth["series"]["load"], run.truth["series"]["time"]
    assert max(loads) == pytest.approx(DEFORMATION["load_mn"], abs=0.02) and loads[-1] < 0.05
    assert times[-1] > len(PHASES) * PAUSE_S


def test_without_its_parts_a_pause_is_none(d111: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls: nothing is held, exposures are believed, and the strain rate is measured through the pause."""
    monkeypatch.setattr(Instrument, "pause_steps", lambda self: [])
    monkeypatch.setattr("megabar.devices.presses.gsecars.GSECARSPress.pause_steps", lambda self: [])
    monkeypatch.setattr("megabar.devices.presses.gsecars.GSECARSPress.go_on_steps", lambda self: [])
    monkeypatch.setattr(Eurotherm3504, "pause_steps", lambda self: [])
    places = [after("press_load_rate", 60), after("furnace_heating", 20), PHASES["exposure in the deformation"]()]
    pauser = Pauser(d111, "deformation", places)
    pauser.run(tmp_path / "run", {**DEFORMATION, "strain": 0.005, "steady_span": 0.01})
    assert pauser.moved("load") > 0.1
    assert pauser.moved("temperature") > 50.0
    with pytest.raises(AssertionError):
        check_held(pauser)


def test_an_exposure_in_which_the_shutter_closed_is_taken_again(
    d111: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the plan does not look at the shutter, a dark frame is taken for a radiograph."""
    for looks in (True, False):
        if not looks:
            beam = beamline._beam

            def believed(hutch: Any, beam: Any = beam) -> Any:
                current_ma, _ = yield from beam(hutch)
                return current_ma, True

            monkeypatch.setattr(beamline, "_beam", believed)
        pauser = Pauser(
            d111, "centring", [lambda message, number: message.command == "trigger" and message.obj.name == "camera"]
        )
        outcome = pauser.run(tmp_path / str(looks), {})
        image = np.asarray(read_run(outcome.folder).streams["centring"].data["camera_image"][0], dtype=float)
        assert bool(image.mean() > 20000.0) is looks, image.mean()
        assert (outcome.exit_status == "success") is looks


def refused() -> None:
    raise Refused("it does not hold")


def hanging() -> Steps:
    while True:
        yield 1.0


@pytest.mark.parametrize("job, why", [(refused, "it does not hold"), (hanging, "not seen within 2 s")])
def test_what_cannot_be_held_ends_the_run(
    d111: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Any, why: str
) -> None:
    monkeypatch.setattr(Eurotherm3504, "pause_steps", lambda self: [("held", lambda: self.link.submit(job), 2.0)])
    pauser = Pauser(d111, "calibration", [lambda message, number: message.command == "trigger"])
    outcome = pauser.run(tmp_path / "run", {})
    assert outcome.exit_status == "fail" and f"UNCONFIRMED furnace: held: {why}" in outcome.reason, outcome
    assert "UNCONFIRMED" not in outcome.safety
    (safety,) = read_run(outcome.folder).streams["safety"].time
    epoch = d111.clock.time() - d111.clock.monotonic()
    assert safety - epoch - pauser.asked[0] < 0.5 * PAUSE_S, "nobody waited for the end of the pause"


def test_what_cannot_go_on_ends_the_run(d111: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eurotherm3504, "go_on_steps", lambda self: [("on", lambda: self.link.submit(refused), 2.0)])
    pauser = Pauser(d111, "calibration", [lambda message, number: message.command == "trigger"])
    outcome = pauser.run(tmp_path / "run", {})
    assert outcome.exit_status == "fail" and "could not go on" in outcome.reason, outcome


@pytest.mark.alone
def test_simulated_time_stands_still_for_one_who_thinks(tmp_path: Path) -> None:
    """Ctrl-Z in a rehearsal: hours would pass in a moment, and the pause would be too long."""
    with irradiating(tmp_path) as process:
        process.send_signal(signal.SIGTSTP)
        assert process.stderr is not None and "simulated time stands still" in process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGTSTP)
        output, _ = process.communicate(timeout=60)
    told = json.loads(output)
    assert told["exit_status"] == "fail" and "new run" in told["reason"], told
    run = read_run(Path(told["journal"]))
    (pause,), (went_on,) = noted(run, "pause"), noted(run, "went on")
    assert went_on.wall - pause.wall > 0.4 and went_on.clock - pause.clock < 2.0


@pytest.mark.alone
def test_who_ends_a_paused_run_has_aborted_it(tmp_path: Path) -> None:
    """What would fail when it goes on, here for want of light, is not what has ended it."""
    with irradiating(tmp_path) as process:
        process.send_signal(signal.SIGTSTP)
        assert process.stderr is not None and "paused" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    told = json.loads(output)
    assert (told["exit_status"], told["reason"]) == ("abort", "aborted by SIGTERM")


@pytest.mark.parametrize("told", [True, False])
def test_a_pause_is_no_change_of_the_strain_rate(
    d111: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """The rams are as fast after it as before; they are not where the analysis of the strain is not told of it."""
    if not told:
        monkeypatch.setattr(Strain, "listens", frozenset({"reference", "radiograph"}))
    settings = {**DEFORMATION, "calibrate": "false", "centre": "false", "load_mn": 4}
    pauser = Pauser(d111, "deformation", [after("press_top_speed", 900)])
    pauser.run(tmp_path / "run", settings)
    speeds = [(moment, message.args[0]) for moment, message in pauser.messages if sets("press_top_speed", message)]
    before = [speed for moment, speed in speeds if moment < pauser.asked[0]]
    since = [speed for moment, speed in speeds if moment > pauser.asked[0] and speed]
    assert (max(since, default=0.0) < 1.1 * before[-1]) is told, (before, since)


@pytest.mark.soak
@pytest.mark.parametrize("index", range(20, 2400, 40))
def test_a_pause_anywhere_in_a_deformation(d111: Session, tmp_path: Path, index: int) -> None:
    pauser = Pauser(d111, "deformation", [at(index)])
    outcome = pauser.run(tmp_path / "run", DEFORMATION)
    check_result(outcome)
    check_numbers(outcome.folder)
    if pauser.asked:
        before = [message for _, message in pauser.messages[:index]]
        check_held(pauser, quenched=any(sets("furnace_heating", message) and not message.args[0] for message in before))
        check_patterns(read_run(outcome.folder))
    assert pauser.asked or index > len(pauser.messages)
