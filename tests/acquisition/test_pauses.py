"""A pause between two messages: nothing is taken again, and whoever asks early, late or twice is understood."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import InvalidCommand, Msg, RunEngineInterrupted
from ophyd import Signal

from megabar.acquisition.clock import RealClock
from megabar.acquisition.engine import make_engine
from megabar.acquisition.pauses import Pauses

LASTS_S = 0.2


class Recorder:
    """An engine, the pauses of its run, and what was told of them."""

    def __init__(self, **options: Any) -> None:
        self.documents: list[tuple[str, Any]] = []
        self.notes: list[str] = []
        self.told: list[bool] = []
        self.failures: list[str] = []
        self.clock = RealClock()
        self.engine = make_engine(self.clock, [lambda name, doc: self.documents.append((name, doc))])
        self.engine.pause_msg = ""
        self.pauses = Pauses(
            self.clock,
            [],
            note=lambda kind, content: self.notes.append(kind),
            tell=lambda line, paused: self.told.append(paused),
            **options,
        )
        self.pauses.on_failure = self.failures.append

    def later(self, function: Callable[[], None], delay_s: float = LASTS_S) -> None:
        timer = threading.Timer(delay_s, function)
        timer.daemon = True
        timer.start()

    def events(self, stream: str) -> list[Any]:
        names = {doc["uid"]: doc["name"] for name, doc in self.documents if name == "descriptor"}
        return [doc for name, doc in self.documents if name == "event" and names[doc["descriptor"]] == stream]

    def numbers(self) -> list[int]:
        return [event["seq_num"] for event in self.events("primary")]


def recording(before_third: Callable[[], Any] = bps.null) -> Any:
    """Three events after one checkpoint, with something before the third."""
    signal = Signal(name="signal", value=1.0)

    @bpp.run_decorator()
    def plan() -> Any:
        yield from bps.checkpoint()
        for number in (1, 2, 3):
            if number == 3:
                yield from before_third()
            yield from bps.trigger_and_read([signal])

    return plan()


@pytest.mark.row(32, control="test_by_the_pause_of_bluesky_events_are_taken_again")
def test_no_event_is_taken_again() -> None:
    recorder = Recorder()

    def pause() -> Any:
        recorder.later(recorder.pauses.go_on)
        yield Msg("pause")

    recorder.engine(recorder.pauses.held(recording(pause)))
    assert recorder.numbers() == [1, 2, 3]
    (event,) = recorder.events("pauses")
    assert event["data"]["pause_went_on"] - event["data"]["pause_began"] >= 0.9 * LASTS_S
    assert recorder.notes == ["pause", "went on"] and recorder.told == [True, False] and not recorder.failures


def test_by_the_pause_of_bluesky_events_are_taken_again() -> None:
    """The control."""
    recorder = Recorder()
    with pytest.raises(RunEngineInterrupted):
        recorder.engine(recording(bps.pause))
    recorder.engine.resume()
    assert recorder.numbers() != [1, 2, 3]


@pytest.mark.parametrize("seed", range(10))
def test_a_pause_within_an_event_leaves_it_whole(seed: int) -> None:
    recorder = Recorder()
    seen = 0

    def count(message: Msg) -> None:
        nonlocal seen
        seen += 1
        if seen == 3 + seed:
            recorder.pauses.pause()
            recorder.later(recorder.pauses.go_on, 0.02)

    recorder.engine.msg_hook = count
    recorder.engine(recorder.pauses.held(recording()))
    assert recorder.numbers() == [1, 2, 3]
    assert len(recorder.events("pauses")) == 1


def test_a_sleep_lasts_as_much_longer_as_it_was_paused() -> None:
    recorder = Recorder()
    began = recorder.clock.monotonic()

    def sleep() -> Any:
        recorder.later(recorder.pauses.pause, 0.05)
        recorder.later(recorder.pauses.go_on, 0.05 + LASTS_S)
        yield from bps.sleep(0.1)

    recorder.engine(recorder.pauses.held(recording(sleep)))
    assert recorder.clock.monotonic() - began >= 0.1 + 0.95 * LASTS_S


def test_who_asks_before_the_run_begins_is_heard_when_it_does() -> None:
    recorder = Recorder()
    recorder.pauses.pause()
    recorder.later(recorder.pauses.go_on)
    recorder.engine(recorder.pauses.held(recording()))
    assert recorder.told == [True, False] and recorder.numbers() == [1, 2, 3]


def test_one_key_pauses_and_goes_on() -> None:
    recorder = Recorder()

    def twice() -> Any:
        recorder.pauses.toggle()
        recorder.later(recorder.pauses.toggle)
        yield from bps.null()

    recorder.engine(recorder.pauses.held(recording(twice)))
    recorder.pauses.toggle()
    assert recorder.told == [True, False], "after the run it does nothing"


def test_a_plan_that_fails_in_a_pause_waits_for_nobody() -> None:
    recorder = Recorder()

    def fail() -> Any:
        recorder.pauses.pause()
        yield Msg("what nobody knows")

    with pytest.raises(InvalidCommand):
        recorder.engine(recorder.pauses.held(recording(fail)))
    (stop,) = [doc for name, doc in recorder.documents if name == "stop"]
    assert stop["exit_status"] == "fail"


def test_the_longest_pause_is_told_to_who_can_end_the_run() -> None:
    recorder = Recorder(longest_s=LASTS_S)

    def pause() -> Any:
        recorder.later(recorder.pauses.go_on, 2 * LASTS_S)
        yield Msg("pause")

    recorder.engine(recorder.pauses.held(recording(pause)))
    assert len(recorder.failures) == 1 and "nobody has ended it" in recorder.failures[0]


def test_a_pause_that_cannot_be_journalled_fails() -> None:
    recorder = Recorder()

    def full(kind: str, content: Any) -> None:
        raise OSError("the disk is full")

    recorder.pauses._note = full

    def pause() -> Any:
        recorder.pauses.pause()
        recorder.later(recorder.pauses.end)
        recorder.later(functools.partial(recorder.engine.abort, "as told"), 1.2 * LASTS_S)
        yield from bps.null()

    with pytest.raises(RunEngineInterrupted):
        recorder.engine(recorder.pauses.held(recording(pause)))
    assert recorder.failures == ["the disk is full"]
