"""Observers may raise, block or lag: the run ends as if there were none, and says what they did not get."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from ophyd import Signal

from megabar.acquisition import observers
from megabar.acquisition.clock import RealClock
from megabar.acquisition.engine import make_engine
from megabar.acquisition.experiments import find
from megabar.acquisition.observers import Observer, Observers
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation

N_EVENTS = 300


class Keeping:
    """An observer that keeps the names and numbers of what it gets."""

    def __init__(self, wait: Callable[[], Any] = lambda: None) -> None:
        self.heard: list[tuple[str, int]] = []
        self._wait = wait

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        self._wait()
        self.heard.append((name, document.get("seq_num", 0)))


def raising(name: str, document: Mapping[str, Any]) -> None:
    raise ValueError("no such window")


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """What a blocked observer waits for; for ever, as far as the test is concerned."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "LONGEST", 50)
    monkeypatch.setattr(observers, "FINISH_S", 0.5)


def record(subscribers: Sequence[Observer]) -> list[int]:
    """The numbers of a run's events, as the last subscriber hears them."""
    signal = Signal(name="signal", value=1.0)

    def plan() -> Iterator[Any]:
        yield from bps.open_run()
        for _ in range(N_EVENTS):
            yield from bps.create()
            yield from bps.read(signal)
            yield from bps.save()
        yield from bps.close_run()

    last = Keeping()
    make_engine(RealClock(), [*subscribers, last])(plan())
    return [number for name, number in last.heard if name == "event"]


def test_an_observer_that_keeps_up_gets_everything_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "LONGEST", 2 * N_EVENTS)
    monkeypatch.setattr(observers, "FINISH_S", 10.0)
    kept = Keeping()
    with Observers([kept]) as observed:
        record([observed])
    events = [("event", number) for number in range(1, N_EVENTS + 1)]
    assert kept.heard == [("start", 0), ("descriptor", 0), *events, ("stop", 0)]
    assert observed.warnings == []


@pytest.mark.row(31, control="test_subscribed_to_the_engine_it_would_hold_up_the_run")
def test_one_that_raises_is_dropped_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with Observers([raising]) as observed:
        assert record([observed]) == [*range(1, N_EVENTS + 1)]
    assert observed.warnings == ["the observer raising failed and was not called any more: no such window"]
    assert [record.message for record in caplog.records if record.exc_info] == ["the observer raising failed"]


@pytest.mark.row(31, control="test_subscribed_to_the_engine_it_would_hold_up_the_run")
def test_one_that_blocks_for_ever_holds_up_nobody(go_on: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    kept = Keeping()
    with Observers([Keeping(go_on.wait), kept]) as observed:
        assert record([observed]) == [*range(1, N_EVENTS + 1)]
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    (warning,) = (line for line in observed.warnings if "has not ended 0.5 s" in line)
    n_lost = N_EVENTS + 3 - 50 - 1
    assert f"did not get {n_lost} documents" in warning
    assert caplog.messages.count("the observer Keeping is too slow; it does not get everything") >= 1


def test_subscribed_to_the_engine_it_would_hold_up_the_run(go_on: threading.Event) -> None:
    """The control."""
    run = threading.Thread(target=record, args=([Keeping(go_on.wait)],), daemon=True)
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)
    run.start()
    run.join(1.0)
    assert run.is_alive()
    go_on.set()
    run.join(30.0)
    assert not run.is_alive()


def test_what_waits_is_bounded_and_start_descriptor_and_stop_are_in_it(go_on: threading.Event) -> None:
    slow = Keeping(go_on.wait)
    with Observers([slow]) as observed:
        record([observed])
        assert len(observed._observed[0]._waiting) == 50
        go_on.set()
    names = [name for name, _ in slow.heard]
    assert (names[:2], names[-1]) == (["start", "descriptor"], "stop")
    numbers = [number for name, number in slow.heard if name == "event"]
    assert numbers[-1] == N_EVENTS and numbers == sorted(numbers) and 40 < len(numbers) <= 50


def test_large_arrays_count_by_their_size(go_on: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "LARGEST_BYTES", 10_000)
    with Observers([Keeping(go_on.wait)]) as observed:
        for number in range(40):
            observed("event", {"seq_num": number, "data": {"image": np.zeros(1000, np.uint8), "x": 1.0}})
        assert len(observed._observed[0]._waiting) == 10


def test_in_simulated_time_they_change_nothing(tmp_path: Path, go_on: threading.Event) -> None:
    """Twenty observers that block, raise, lag or keep up: the same events at the same simulated times."""
    several: list[Observer] = [Keeping(go_on.wait), raising, Keeping(lambda: time.sleep(0.05)), Keeping()]
    experiment, rig = find("irradiation"), load_rig("laser_bench")
    settings = {"current_percent": "4", "settle_s": "0", "duration_s": "1", "poll_s": "0.5"}
    told = []
    for name, watching in (("alone", []), ("watched", 5 * several)):
        with Simulation(rig, 4) as simulation, Session(rig, simulation=simulation) as session:
            folder = tmp_path / name
            outcome = session.run(experiment, experiment.parse(settings), folder, observers=watching)
        assert outcome.exit_status == "success", outcome.reason
        streams = read_run(folder).streams
        told.append(
            {
                (stream, key): (streams[stream].timestamps[key].tolist(), [str(value) for value in column])
                for stream in streams
                for key, column in streams[stream].data.items()
            }
        )
    assert told[0] == told[1]
    assert sum("failed and was not called any more" in line for line in outcome.warnings) == 5
    assert sum("has not ended" in line for line in outcome.warnings) >= 5
