"""Pauses of a run, asked for from outside its plan: what is hazardous is held at once, then the plan waits.

Nothing is done twice: the message that is under way ends by itself, and the plan goes on with the next one. So a pause
may come anywhere, and no event is taken again or numbered twice. (Bluesky's own pause breaks a message off, stops
whatever was ever moved, and sends all messages since the last checkpoint again.)
"""

import asyncio
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bluesky.utils import Msg, MsgGenerator

from ..devices.clock import Clock
from ..devices.instrument import Instrument
from ..devices.pause import Pause
from ..devices.status import JobStatus
from ..plans.safety import ORDER
from .clock import MAIN
from .forwarding import forwarded

LONGEST_PAUSE_S = 7200.0
"""A run that is paused for longer is aborted."""
STREAM = "pauses"
HELD = ("pausing", "paused", "going on")
"""Phases in which the plan waits."""
CONFIRMED, UNCONFIRMED = "CONFIRMED", "UNCONFIRMED"

Step = tuple[str, Callable[[], JobStatus], float]


@dataclasses.dataclass
class _Lasting(Pause):
    """A pause with its moments (s of the clock that never jumps) and what became of its steps."""

    began_s: float = 0.0
    went_on_s: float = 0.0
    report: str = ""

    def within(self, start_s: float, stop_s: float) -> float:
        """How much of a time was paused (s)."""
        return max(0.0, min(self.went_on_s, stop_s) - max(self.began_s, start_s))


class Pauses:
    """The pauses of one run.

    `note` is told what is to be journalled (kind and content), `tell` one line for people and whether the run is
    paused, `on_failure` why the run cannot go on: a step is not confirmed, or a pause has lasted for `longest_s`.
    """

    name = STREAM
    parent = None

    def __init__(
        self,
        clock: Clock,
        devices: Sequence[Instrument],
        *,
        note: Callable[[str, Mapping[str, Any]], None],
        tell: Callable[[str, bool], None],
        longest_s: float = LONGEST_PAUSE_S,
    ) -> None:
        self.on_failure: Callable[[str], None] = lambda reason: None
        self.longest_s = longest_s
        self.waiting = False
        """Whether the plan makes no progress because it waits for the end of a pause."""
        self._clock, self._note, self._tell = clock, note, tell
        self._devices = sorted(devices, key=lambda device: ORDER.index(device.hazard))
        for device in self._devices:
            device.pause_for(None)
        self._lock = threading.Lock()  # never held while the clock's is asked for
        self._phase, self._next = "not begun", ""
        self._pauses: list[_Lasting] = []
        self._n_recorded = 0
        self._bundle_is_open = False
        self._wake: Callable[[], object] = _nobody
        self._by_hand = self._frozen = False

    # asking, from any thread

    def pause(self) -> None:
        """Hold what is hazardous now, and the plan before its next message; before the run begins, when it does."""
        with self._in_no_time():
            with self._lock:
                if self._phase in ("not begun", "going on"):
                    self._next = "pause"
                if self._phase != "running":
                    return
                pause = _Lasting(began_s=self._clock.monotonic())
                self._phase = "pausing"
                self._pauses.append(pause)
            for device in self._devices:
                device.pause_for(pause)
            self._play([(device, step) for device in self._devices for step in device.pause_steps()], self._held)
            self._clock.call_later(self.longest_s, STREAM, functools.partial(self._expire, pause))

    def go_on(self) -> None:
        """Set going what the pause has stopped, and then the plan; lasers and shutters stay as they are."""
        with self._in_no_time():
            with self._lock:
                if self._phase == "pausing":
                    self._next = "go on"
                if self._phase != "paused":
                    return
                self._phase = "going on"
            self._play([(device, step) for device in self._devices for step in device.go_on_steps()], self._gone_on)
            self._thaw()

    def toggle(self) -> None:
        """Pause or go on, for a person who has one key for both; simulated time stands still for one who thinks."""
        if self._phase in ("pausing", "paused"):
            self.go_on()
        else:
            self._by_hand = self._clock.simulated
            self.pause()

    def end(self) -> None:
        """The run ends: nothing is paused any more, and nothing that was paused goes on."""
        with self._lock:
            self._phase = "ended"
            for pause in self._pauses:
                pause.ended = not pause.over
        self._thaw()

    def leave(self) -> None:
        """The run is about to be aborted: no pause begins any more, and a plan that waits does so until then."""
        with self._lock:
            if self._phase not in HELD:
                self._phase = "ended"

    @contextlib.contextmanager
    def _in_no_time(self) -> Iterator[None]:
        """Simulated time stands still: the plan waits before a step has begun, perhaps with no deadline to move to."""
        self._clock.hold(STREAM)
        try:
            yield
        finally:
            self._clock.release(STREAM)

    # what becomes of it, in the threads of the links

    def _held(self, lines: Sequence[str]) -> None:
        pause = self._pauses[-1]
        pause.report = "\n".join(lines)
        if not self._noted("pause", lines):
            return
        if left := [line for line in lines if line.startswith(UNCONFIRMED)]:
            self.on_failure(f"not everything could be held for a pause: {left[0]}")
            return
        if self._by_hand:
            self._clock.hold(MAIN)
            self._by_hand, self._frozen = False, True
        with self._lock:
            paused = self._phase == "pausing"
            if paused:
                self._phase = "paused"
            asked, self._next = self._next, ""
        if not paused:
            self._thaw()
            return
        lasts = "simulated time stands still" if self._frozen else f"for up to {self.longest_s / 3600.0:.3g} h"
        self._tell(f"paused, {lasts} ({'; '.join(lines)}): Ctrl-Z goes on, Ctrl-C ends the run", True)
        if asked:
            self.go_on()

    def _gone_on(self, lines: Sequence[str]) -> None:
        if not self._noted("went on", lines):
            return
        if left := [line for line in lines if line.startswith(UNCONFIRMED)]:
            self.on_failure(f"the run could not go on after a pause: {left[0]}")
            return
        for device in self._devices:
            if device.goes_on:
                device.pause_for(None)
        with self._lock:
            if self._phase != "going on":
                return
            pause = self._pauses[-1]
            pause.went_on_s, pause.over, self._phase = self._clock.monotonic(), True, "running"
            asked, self._next = self._next, ""
            wake, self._wake = self._wake, _nobody
        self._tell("going on; the shutter opens for the next exposure, a laser stays off", False)
        if asked:
            self.pause()
        wake()

    def _noted(self, kind: str, lines: Sequence[str]) -> bool:
        try:
            self._note(kind, {"report": list(lines)})
        except Exception as error:  # whatever it is, it ends the run and not the thread of a link
            self.on_failure(str(error))
            return False
        return True

    def _expire(self, pause: Pause) -> None:
        if not (pause.over or pause.ended):
            self.on_failure(f"the pause has lasted for {self.longest_s / 3600.0:.3g} h, and nobody has ended it")

    def _thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._clock.release(MAIN)

    def _play(self, steps: Sequence[tuple[Instrument, Step]], then: Callable[[Sequence[str]], None]) -> None:
        """Begin all steps at once, in their order; `then` hears what became of each when none is open any more."""
        if not steps:
            then([])
            return
        lines: dict[int, str] = {}
        lock = threading.Lock()

        def settle(number: int, result: str, why: str = "") -> None:
            with lock:
                if number in lines:
                    return
                device, (what, _, _) = steps[number]
                lines[number] = f"{result} {device.name}: {what}{why}"
                settled = len(lines) == len(steps)
            if settled:
                then([lines[number] for number in range(len(steps))])

        def done(number: int, status: JobStatus) -> None:
            error = status.exception()
            settle(number, *((CONFIRMED,) if error is None else (UNCONFIRMED, f": {error or type(error).__name__}")))

        for number, (_, (_, action, limit_s)) in enumerate(steps):
            late = functools.partial(settle, number, UNCONFIRMED, f": not seen within {limit_s:g} s")
            try:
                action().add_callback(functools.partial(done, number))
            except Exception as error:
                settle(number, UNCONFIRMED, f": {error or type(error).__name__}")
            self._clock.call_later(limit_s, STREAM, late)

    # the plan, in the engine's loop

    def held(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """`plan`, held before its next message while the run is paused; each pause that is over becomes an event.

        A sleep that a pause has come into lasts for so much longer. The message `pause` pauses.
        """
        return forwarded(plan, self._sent)

    def _sent(self, message: Msg) -> MsgGenerator[Any]:
        try:
            return (yield from self._passed(message))
        except GeneratorExit:
            raise
        except BaseException:
            if self._phase in HELD:  # the plan cleans up now, and waits for nobody
                self.end()
            raise

    def _passed(self, message: Msg) -> MsgGenerator[Any]:
        begun_s, answer = self._clock.monotonic(), None
        if message.command == "close_run":
            self.end()
        if message.command == "pause":
            self.pause()
        else:
            answer = yield message
        match message.command:
            case "open_run":
                self._begin()
            case "create":
                self._bundle_is_open = True
            case "save" | "drop":
                self._bundle_is_open = False
        ended_s = self._clock.monotonic()
        yield from self._over()
        if message.command == "sleep" and (lost_s := sum(pause.within(begun_s, ended_s) for pause in self._pauses)):
            yield from self._passed(Msg("sleep", None, lost_s))
        if not self._bundle_is_open and self._phase == "running":
            yield from self._recorded()
            yield from self._over()
        return answer

    def _begin(self) -> None:
        with self._lock:
            if self._phase == "not begun":
                self._phase = "running"
            asked, self._next = self._next, ""
        if asked:
            self.pause()

    def _over(self) -> MsgGenerator[None]:
        """Wait while the run is paused."""
        woken: list[asyncio.Future[None]] = []

        async def woke() -> None:
            loop = asyncio.get_running_loop()
            woken.append(loop.create_future())
            with self._lock:
                self._wake = functools.partial(loop.call_soon_threadsafe, _set, woken[-1])
                if self._phase not in HELD:
                    return
            await woken[-1]

        while self._phase in HELD:
            self.waiting = True
            try:
                yield Msg("wait_for", None, [woke])
            finally:
                self.waiting = False
                for future in woken:
                    future.cancel()

    def _recorded(self) -> MsgGenerator[None]:
        """An event for each pause that has none yet."""
        while self._n_recorded < len(self._pauses) and self._pauses[self._n_recorded].over:
            yield Msg("create", None, name=STREAM)
            yield Msg("read", self)
            yield Msg("save")
            self._n_recorded += 1

    def read(self) -> dict[str, Any]:
        """The pause that was not recorded yet: its moments (s since the epoch) and what became of its steps."""
        pause, now = self._pauses[self._n_recorded], self._clock.time()
        epoch = now - self._clock.monotonic()
        values = {"began": epoch + pause.began_s, "went_on": epoch + pause.went_on_s, "report": pause.report}
        return {f"pause_{key}": {"value": value, "timestamp": now} for key, value in values.items()}

    def describe(self) -> dict[str, Any]:
        """The data keys."""
        moment = {"source": "pauses", "dtype": "number", "shape": [], "units": "s"}
        report = {"source": "pauses", "dtype": "string", "shape": []}
        return {"pause_began": moment, "pause_went_on": moment, "pause_report": report}

    def read_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}


def _nobody() -> None:
    """Nobody waits."""


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
