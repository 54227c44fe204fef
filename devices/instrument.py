"""The base of every device: signals are declared with their command, parser, unit and limits."""

import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from ophyd import Device, Signal

from .clock import Clock
from .errors import GarbledReply, LimitError, LinkError, NotPermitted, Refused
from .link import Job, Link, Steps
from .pause import LOOK_S, Pause
from .safe_state import SafeAction, SafeState
from .status import JobStatus

ATTEMPTS = 3
"""A question is asked again after a time-out or a garbled reply; a command never is."""


UNBOUNDED = (-math.inf, math.inf)


class Reading(Signal):
    """A value that its instrument fetches when it is triggered, and `read` then answers from memory.

    `query` is what the link asks (text, register, record name), `parse` makes a value of the reply, `plausible`
    bounds what can be true: a reply outside is garbled, never a value.
    """

    def __init__(
        self,
        *,
        query: Any,
        unit: str,
        parse: Callable[[Any], Any] = float,
        plausible: tuple[float, float] = UNBOUNDED,
        value: Any = math.nan,
        **kwargs: Any,
    ) -> None:
        super().__init__(value=value, **kwargs)
        self.query, self.parse, self.unit, self.plausible = query, parse, unit, plausible

    def take(self, reply: Any, timestamp: float) -> None:
        """Parse and keep a reply. Raises GarbledReply."""
        try:
            value = self.parse(reply)
            if self.plausible != UNBOUNDED:
                low, high = self.plausible
                below, above = value < low, value > high
                if (below | above).any() if isinstance(value, np.ndarray) else below or above:
                    raise ValueError(f"outside {low:g}..{high:g}")
        except (ValueError, TypeError, IndexError) as error:
            raise GarbledReply(f"{self.name}: {str(reply)[:60]!r} is not a value ({error})") from error
        Signal.put(self, value, timestamp=timestamp, force=True)

    def describe(self) -> dict[str, Any]:
        """The data key, with units."""
        description = super().describe()
        description[self.name]["units"] = self.unit
        return description


class Setpoint(Reading):
    """A value that can be set: checked against its limits before a byte is sent, and read back after.

    `limits` are the hard limits of the class; a rig may only tighten them.
    """

    def __init__(
        self, *, command: Any, limits: tuple[float, float], tolerance: float = 0.0, query: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(query=command if query is None else query, **kwargs)
        self.command, self.allowed, self.tolerance = command, limits, tolerance
        self.rise_per_s = math.inf
        """How fast it may rise; for the guard, which knows nothing but what is declared."""

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value accepted."""
        return self.allowed

    def tighten(self, low: float, high: float) -> None:
        """Narrow the limits. Raises LimitError where they would widen."""
        hard_low, hard_high = self.allowed
        if not hard_low <= low <= high <= hard_high:
            raise LimitError(
                f"{self.name}: limits {low:g}..{high:g} must lie within {hard_low:g}..{hard_high:g} {self.unit}, "
                "lowest first"
            )
        self.allowed = (low, high)

    def check_value(self, value: float) -> None:
        """Raises LimitError for a value that is not finite or beyond a limit."""
        low, high = self.allowed
        if not (math.isfinite(value) and low <= value <= high):
            raise LimitError(f"{self.name} = {value:g} is refused: accepted are {low:g}..{high:g} {self.unit}")

    def set(self, value: float) -> JobStatus:
        """Send `value` and read it back; the Status fails with Refused where the instrument did not take it."""
        self.check_value(value)
        return self.instrument.submit(lambda: self.apply(value))

    def apply(self, value: float) -> None:
        """As `set`, inside a job of the instrument's link."""
        self.check_value(value)
        instrument = self.instrument
        instrument.link.assign(instrument.locate(self.command), value)
        instrument.fetch(self)
        if abs(self.get() - value) > self.tolerance:
            raise Refused(f"{self.name}: {value:g} {self.unit} was sent, {self.get():g} {self.unit} was read back")

    @property
    def instrument(self) -> "Instrument":
        """The instrument that owns the link."""
        owner = self.parent
        while not isinstance(owner, Instrument):
            owner = owner.parent
        return owner


class Instrument(Device):
    """A device of one instrument model on one link.

    Attaching changes nothing in the instrument. `trigger` fetches every declared reading of kind normal or hinted
    in one job of the link's thread; `read` answers from what it fetched.

    Class attributes: `link_type` and `link_options` say how it is spoken to, `hazard` what it can do to people or
    samples ("laser", "thermal", "pressure", "motion", "radiation" or ""). A class with a hazard has a `safe_state`.
    What a pause has ended in an instrument that does not go on (`goes_on`) stays so until a new run.
    """

    link_type: ClassVar[type[Link]]
    link_options: ClassVar[Mapping[str, Any]] = {}
    hazard: ClassVar[str] = ""
    goes_on: ClassVar[bool] = True

    paused: Pause | None = None
    """The pause of the run that holds it."""

    def __init__(self, *, name: str, link: Link, address: str = "", **kwargs: Any) -> None:
        self.link = link
        self.address = address
        self._triggered: tuple[Reading, ...] | None = None
        self._pausing = threading.Lock()
        super().__init__(name=name, **kwargs)

    @property
    def safe_state(self) -> SafeState | None:
        """What is safe for it and how it gets there; every class with a hazard declares it."""
        return None

    @property
    def clock(self) -> Clock:
        """The clock of the link."""
        return self.link.clock

    def connect(self) -> None:
        """Prepare for the first use, reading only; called in the link's thread once it is open."""
        self.fetch(*self.readings())

    def readings(self) -> Iterator[Reading]:
        """Every declared reading, configuration included."""
        signals = (walk.item for walk in self.walk_signals())
        return (signal for signal in signals if isinstance(signal, Reading) and signal.query is not None)

    def trigger(self) -> JobStatus:
        """Fetch the readings; the Status fails with LinkError where the instrument does not answer properly."""
        return self.link.submit(self.acquire)

    def read(self) -> dict[str, Any]:
        """What the last trigger fetched; ophyd's own method looks for the components each time anew."""
        readings = self._read_readings()
        return {reading.name: {"value": reading.get(), "timestamp": reading.timestamp} for reading in readings}

    def acquire(self) -> Steps | None:
        """The job of `trigger`; a detector that takes time yields while it exposes."""
        _fetch(self.link, self.asked())
        return None

    def locate(self, target: Any) -> Any:
        """What the link calls a query or command of this instrument; a shared circuit needs a prefix."""
        return target

    def fetch(self, *readings: Reading) -> None:
        """Ask for `readings` in one transaction where the protocol can; called in the link's thread."""
        _fetch(self.link, [(self, reading) for reading in readings])

    @property
    def answers_at_once(self) -> bool:
        """Whether `trigger` only asks for the present values, so that it can share a transaction with others."""
        return type(self).acquire is Instrument.acquire

    def asked(self) -> list[tuple["Instrument", Reading]]:
        """What a trigger asks for."""
        return [(self, reading) for reading in self._read_readings()]

    def tighten(self, limits: Mapping[str, tuple[float, float]]) -> None:
        """Narrow limits by the names of set-points. Raises LimitError for an unknown name or a wider limit."""
        setpoints = {walk.dotted_name: walk.item for walk in self.walk_signals() if isinstance(walk.item, Setpoint)}
        for name, (low, high) in limits.items():
            if name not in setpoints:
                known = ", ".join(sorted(setpoints)) or "none"
                raise LimitError(f"{self.name} has no set-point {name!r}; it has {known}")
            setpoints[name].tighten(low, high)

    def safe_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """How to make it safe: name of the step, action that verifies itself, time limit in seconds."""
        return self._first_way(urgent=True)

    def _first_way(self, *, urgent: bool) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        if self.safe_state is None:
            return []
        actions = next(iter(self.safe_state.ways.values())).actions
        bring_about = functools.partial(self.bring_about, urgent=urgent)
        return [(action.name, functools.partial(bring_about, action), action.within_s) for action in actions]

    def secure(self) -> Steps:
        """Go the first way to safety, inside a job of the link. Raises Refused, LinkError."""
        if self.safe_state is not None:
            for action in next(iter(self.safe_state.ways.values())).actions:
                yield from self._bring_about(action)

    def pause_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """How to hold it while a run is paused, in the same form; unless its class says otherwise, it is made safe.

        What the line has to carry before comes first: a pause makes nothing fail.
        """
        return self._first_way(urgent=False)

    def go_on_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """How to set going again what `pause_steps` have stopped, in the same form."""
        return []

    def submit(self, job: Job) -> JobStatus:
        """Queue a job that sets it going. One that comes in a pause waits; the Status fails with Refused where the run
        does not go on, or not with this instrument.
        """
        with self._pausing:
            pause = self.paused
            return self.link.submit(job if pause is None else lambda: self._after(pause, job))

    def pause_for(self, pause: Pause | None) -> None:
        """From now on a pause holds it, or none: what was asked for before comes before the steps of the pause."""
        with self._pausing:
            self.paused = pause

    def _after(self, pause: Pause, job: Job) -> Steps:
        yield from self.until_over(pause)
        if not self.goes_on:
            raise Refused(f"{self.name}: a pause of the run has switched it off; nothing switches it on but a new run")
        steps = job()
        if steps is not None:
            yield from steps

    def until_over(self, pause: Pause) -> Steps:
        """Wait, in a job, for the end of a pause. Raises Refused where the run ends first."""
        while not pause.over:
            self.check_goes_on(pause)
            yield LOOK_S

    def check_goes_on(self, pause: Pause | None) -> None:
        """Raises Refused where the run has ended in a pause."""
        if pause is not None and pause.ended:
            raise Refused(f"{self.name}: the run has ended in a pause")

    def bring_about(self, action: SafeAction, *, urgent: bool = False) -> JobStatus:
        """Command a safe action until it is seen; the Status fails with Refused or LinkError where it is not."""
        return self.link.submit(lambda: self._bring_about(action), urgent=urgent)

    def _bring_about(self, action: SafeAction) -> Steps:
        """Command it, again and again, until it is seen; readings keep what was. Raises Refused, LinkError."""
        readings = [[reading for reading in self.readings() if reading.query == seen.query] for seen in action.seen]
        deadline = self.clock.monotonic() + action.within_s - action.again_s
        queries = [self.locate(seen.query) for seen in action.seen]
        while True:
            failure: Exception = Refused(f"{self.name}: {action.name}: it is not seen")
            try:
                for command, value in action.commands:
                    self.link.tell(self.locate(command), value)
            except NotPermitted:
                raise
            except (LinkError, Refused) as error:  # what counts is what is seen, whatever was answered
                failure = error
            try:
                replies = self.link.fetch(queries)
                stamp = self.clock.time()
                for shown, reply in zip(readings, replies, strict=True):
                    for reading in shown:
                        reading.take(reply, stamp)
                astray = [seen.name for seen, reply in zip(action.seen, replies, strict=True) if not seen.holds(reply)]
                if not astray:
                    return
                failure = Refused(f"{self.name}: {action.name}: {astray[0]} is not seen")
            except (LinkError, Refused, ValueError) as error:
                failure = error
            if self.clock.monotonic() > deadline:
                raise failure
            yield action.again_s

    def _read_readings(self) -> tuple[Reading, ...]:
        """The readings that `read` answers with."""
        if self._triggered is None:
            names = frozenset(self.describe())
            self._triggered = tuple(reading for reading in self.readings() if reading.name in names)
        return self._triggered


def fetch_together(instruments: Sequence[Instrument]) -> JobStatus:
    """Trigger instruments that share a link and answer at once, in one transaction."""
    link = instruments[0].link
    return link.submit(lambda: _fetch(link, [pair for instrument in instruments for pair in instrument.asked()]))


def _fetch(link: Link, asked: Sequence[tuple[Instrument, Reading]]) -> None:
    """Ask for readings of instruments on one link, again where a reply is late or garbled. Raises LinkError."""
    queries = [instrument.locate(reading.query) for instrument, reading in asked]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            replies = link.fetch(queries)
            stamp = link.clock.time()
            for (_, reading), reply in zip(asked, replies, strict=True):
                reading.take(reply, stamp)
            return
        except LinkError:
            if attempt == ATTEMPTS:
                raise
