"""The engine of a session: Bluesky's RunEngine on the session's clock, its subscribers, and how it is aborted."""

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from bluesky import RunEngine
from bluesky.bundlers import RunBundler
from bluesky.utils import TransitionError
from event_model import ComposeEvent, Event, EventModelValidationError

from ..devices.clock import Clock
from ..plans.safety import SafetyReport
from .clock import RealClock, SimulatedClock
from .loop import FastLoop, SimulatedDuringTask, SimulatedLoop
from .observers import Observer
from .pauses import Pauses


def make_engine(clock: Clock, subscribers: Sequence[Observer]) -> RunEngine:
    """An engine for one run."""
    if isinstance(clock, SimulatedClock):
        engine = _Engine({}, loop=SimulatedLoop(clock), during_task=SimulatedDuringTask(clock), context_managers=[])
    elif isinstance(clock, RealClock) and clock.factor != 1.0:
        engine = _Engine({}, loop=FastLoop(clock), context_managers=[])
    else:
        engine = _Engine({}, context_managers=[])
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)  # the outcome tells what went wrong, once
    for subscriber in subscribers:
        engine.subscribe(subscriber)
    return engine


@contextlib.contextmanager
def engine_for(clock: Clock, subscribers: Sequence[Observer]) -> Iterator[RunEngine]:
    """An engine for one run, whose loop, with its thread and descriptors, ends with the block."""
    engine = make_engine(clock, subscribers)
    try:
        yield engine
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join()
        engine.loop.close()


class _Bundler(RunBundler):
    """Checks the first event of a stream against event-model's schema, and the others for the keys of the first.

    The schema says the same of each event of a stream; to ask it every time takes a sixth of a rehearsal. What cannot
    be written is refused by the journal in any case.
    """

    async def _prepare_stream(self, desc_key: str, objs_dks: Any) -> Any:
        prepared = await super()._prepare_stream(desc_key, objs_dks)
        bundle = self._descriptors[desc_key]
        composer = _ComposeAlike(bundle.compose_event.descriptor, bundle.compose_event.event_counters)
        self._descriptors[desc_key] = dataclasses.replace(bundle, compose_event=composer)
        return prepared


class _ComposeAlike(ComposeEvent):
    """Composes events of a stream that has had one."""

    def __call__(self, data: dict[str, Any], *args: Any, **parts: Any) -> Event:
        declared = self.descriptor["data_keys"]
        if data.keys() != declared.keys():
            raise EventModelValidationError(
                f"stream {self.descriptor['name']}: {sorted(data.keys() ^ declared.keys())} are in the event or among "
                "the declared data keys, not in both"
            )
        return super().__call__(data, *args, **{**parts, "validate": False})


class _Engine(RunEngine):
    RunBundler = _Bundler


def _leave_terminal() -> None:
    """Let go of a terminal that is gone: whatever is written to it would fail."""
    with Path(os.devnull).open("r+b") as nowhere:
        for descriptor in (0, 1, 2):
            if os.isatty(descriptor):
                os.dup2(nowhere.fileno(), descriptor)


class MessageCounter:
    """Counts the messages of a plan: a plan that makes none hangs."""

    def __init__(self) -> None:
        self._n_messages = 0

    def __call__(self, message: Any) -> None:
        """Take a message."""
        self._n_messages += 1

    def count(self) -> int:
        """How many there were."""
        return self._n_messages


class aborts:
    """What aborts a run from outside: a signal, a pause that fails, or simulated time that cannot go on.

    Once: the run is made safe, and closed with a stop document that says why; whoever asks again changes nothing. One
    who asks before the plan has begun is heard when it begins. Signals are heard in the main thread only. SIGHUP ends
    nothing: the terminal is gone, and the run goes on without it. SIGTSTP pauses the run, or lets it go on. What the
    engine prints goes to standard error.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, engine: RunEngine, clock: Clock, report: SafetyReport, pauses: Pauses) -> None:
        self._engine, self._clock, self._report, self._pauses = engine, clock, report, pauses
        self._ending = contextlib.ExitStack()
        self.asked = self._over = False

    def __enter__(self) -> Self:
        self._ending.enter_context(contextlib.redirect_stdout(sys.stderr))
        self._pauses.on_failure = self.fail
        if isinstance(self._clock, SimulatedClock):
            self._clock.on_failure = self.fail
        if threading.current_thread() is threading.main_thread():
            self._hear()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over = True
        self._pauses.end()
        self._ending.close()

    def _hear(self) -> None:
        """Listen for signals in a thread of their own.

        A handler in Python runs in the main thread, and that waits for the run: a signal that the system hands to
        another thread does not wake it. The number of every signal, whoever gets it, is written to a pipe.
        """
        numbers, ours = os.pipe()
        os.set_blocking(ours, False)
        listener = threading.Thread(target=self._listen, args=(numbers,), name="signals", daemon=True)
        self._ending.callback(listener.join)
        self._ending.callback(os.close, ours)
        self._ending.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(ours, warn_on_full_buffer=False))
        for number in (*self.SIGNALS, signal.SIGHUP, signal.SIGTSTP):
            self._ending.callback(signal.signal, number, signal.signal(number, lambda *_: None))
        listener.start()

    def _listen(self, numbers: int) -> None:
        while number := os.read(numbers, 1):
            if number[0] in self.SIGNALS:
                self._ask(f"aborted by {signal.Signals(number[0]).name}")
            elif number[0] == signal.SIGHUP:
                _leave_terminal()
            elif number[0] == signal.SIGTSTP:
                self._pauses.toggle()
        os.close(numbers)

    def fail(self, reason: str) -> None:
        """Something without which the run cannot go on has failed."""
        self._report.failed = True
        self._ask(reason)

    def _ask(self, reason: str) -> None:
        if not self.asked:
            self.asked, self._report.abort_reason = True, reason
            self._pauses.leave()
            threading.Thread(target=self._abort, args=(reason,), name="abort", daemon=True).start()

    def _abort(self, reason: str) -> None:
        while self._engine.state != "running":
            if self._over:
                return
            time.sleep(0.005)
        with contextlib.suppress(TransitionError):  # it has just ended by itself
            self._engine.abort(reason)
