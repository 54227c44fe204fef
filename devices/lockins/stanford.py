"""What the lock-ins of Stanford Research Systems have in common."""

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from ophyd import Component, Kind

from ..errors import GarbledReply, LimitError, Refused
from ..instrument import Instrument, Reading, Setpoint
from ..visa import MessageLink

OUTPUTS = "outputs"
"""Stands for the questions that all outputs are read from."""
UNLOCKED = 1 << 3
MARGIN = 2.2
"""A value larger than this times the full scale has lost its exponent; with an offset, 2.14 times can be read."""

_NUMBER = r"([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
_OUTPUTS = re.compile(rf"{_NUMBER},{_NUMBER};(\d{{1,2}});(\d{{1,5}})", re.ASCII)


def steps(mantissas: Sequence[int], first: float, last: float) -> tuple[float, ...]:
    """The values from `first` to `last` whose leading digits are `mantissas`, lowest first."""
    decades = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    values = [float(f"{mantissa}e{decade}") for decade in decades for mantissa in mantissas]
    return tuple(value for value in values if first <= value <= last)


def number_of(values: Sequence[float], reply: str) -> float:
    """The value that a reply numbers. Raises ValueError for any other text."""
    if not re.fullmatch(r"\d{1,2}", reply, re.ASCII) or int(reply) >= len(values):
        raise ValueError(f"not a number of 0..{len(values) - 1}")
    return values[int(reply)]


class StanfordLink(MessageLink):
    """All questions go in one message, each of them once; the answers come on one line, with semicolons."""

    def fetch(self, queries: Sequence[str]) -> list[str]:
        """One reply per query; to a query of several questions their answers with semicolons. Raises LinkError."""
        self.ready()
        asked = dict.fromkeys(queries)
        answers = iter(self.answers(";".join(asked), sum(query.count("?") for query in asked)))
        replies = {query: ";".join(next(answers) for _ in range(query.count("?"))) for query in asked}
        return [replies[query] for query in queries]

    def answers(self, message: str, n: int) -> list[str]:
        """The answers to the `n` questions of a message. Raises GarbledReply, LinkError."""
        answers = self._exchange(message).split(";")
        if len(answers) != n:
            self.dirty = True
            raise GarbledReply(f"{self.name}: {len(answers)} answers to {n} questions")
        return answers


class Outputs(NamedTuple):
    """What a lock-in puts out at one instant; NaN where it cannot be told."""

    x: float
    y: float
    overload: int
    unlocked: int

    @property
    def r(self) -> float:
        """Amplitude."""
        return math.hypot(self.x, self.y)

    @property
    def theta(self) -> float:
        """Phase in degrees."""
        return math.degrees(math.atan2(self.y, self.x))


class Output(Reading):
    """One of the outputs; all are read from one reply."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(query=OUTPUTS, parse=self._parse, **kwargs)

    def _parse(self, reply: str) -> float:
        return getattr(self.parent.outputs(reply), self.attr_name)


class Chosen(Setpoint):
    """One of several values, which the instrument numbers in the order of `numbered`."""

    def __init__(self, *, numbered: Sequence[float], **kwargs: Any) -> None:
        super().__init__(parse=lambda reply: number_of(numbered, reply), **kwargs)
        self._numbered = numbered

    @property
    def values(self) -> tuple[float, ...]:
        """What is accepted, lowest first."""
        low, high = self.limits
        return tuple(sorted(value for value in self._numbered if low <= value <= high))

    def check_value(self, value: float) -> None:
        """Raises LimitError for a value that is not one of `values`."""
        super().check_value(value)
        if value not in self.values:
            nearest = sorted(sorted(self.values, key=lambda accepted: abs(math.log(accepted / value)))[:2])
            told = " and ".join(f"{accepted:g}" for accepted in nearest)
            raise LimitError(f"{self.name} = {value:g} is refused: the nearest accepted are {told} {self.unit}")

    def apply(self, value: float) -> None:
        """Send the number of a value, and read it back."""
        self.check_value(value)
        instrument = self.instrument
        instrument.link.assign(self.command, self._numbered.index(value))
        instrument.fetch(self)
        if self.get() != value:
            raise Refused(f"{self.name}: {value:g} {self.unit} was sent, {self.get():g} {self.unit} was read back")


class Frequency(Setpoint):
    """The reference frequency. What is read back may differ by the `rounding` of the instrument, as part of it."""

    def __init__(self, *, rounding: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rounding = rounding

    def apply(self, value: float) -> None:
        """Send and read back. Raises Refused where the reference is external: the instrument keeps its own."""
        self.tolerance = max(self.rounding * value, 6e-5)
        super().apply(value)


class Phase(Setpoint):
    """The phase that is taken from the signal's; the instrument may add 360 deg to it, or take them away."""

    def apply(self, value: float) -> None:
        """Send and read back."""
        self.check_value(value)
        instrument = self.instrument
        instrument.link.assign(self.command, value)
        instrument.fetch(self)
        if abs(math.remainder(self.get() - value, 360.0)) > self.tolerance:
            raise Refused(f"{self.name}: {value:g} {self.unit} was sent, {self.get():g} {self.unit} was read back")


class StanfordLockIn(Instrument):
    """Readings of any of them. `asks` are the questions for X and Y, for the scale, which is one of `scales` (V), and
    for the status, in which the bits of `overloads` tell that X and Y are wrong.
    """

    link_type: ClassVar[type[StanfordLink]] = StanfordLink
    asks: ClassVar[str]
    scales: ClassVar[Sequence[float]]
    overloads: ClassVar[int]

    x = Component(Output, unit="V", plausible=(-1.5, 1.5), kind=Kind.hinted)
    y = Component(Output, unit="V", plausible=(-1.5, 1.5), kind=Kind.hinted)
    r = Component(Output, unit="V", plausible=(0.0, 2.2))
    theta = Component(Output, unit="deg", plausible=(-180.0, 180.0))
    overload = Component(Output, unit="", value=0)
    unlocked = Component(Output, unit="", value=0)
    phase = Component(
        Phase,
        command="PHAS {:.3f}",
        query="PHAS?",
        unit="deg",
        plausible=(-360.0, 360.0),
        limits=(-360.0, 360.0),
        tolerance=0.006,
        kind=Kind.config,
    )
    poles = Component(
        Chosen,
        command="OFSL {}",
        query="OFSL?",
        numbered=(1, 2, 3, 4),
        unit="",
        limits=(1, 4),
        kind=Kind.config,
    )
    harmonic = Component(Reading, query="HARM?", unit="", parse=int, plausible=(1, 19999), value=1, kind=Kind.config)

    def locate(self, target: Any) -> Any:
        """The questions for the outputs of this model."""
        return self.asks if target == OUTPUTS else target

    def outputs(self, reply: str) -> Outputs:
        """What the reply to `asks` tells. Raises ValueError for any other text, and for values beyond the scale."""
        match = _OUTPUTS.fullmatch(reply)
        if match is None:
            raise ValueError("not two numbers, a scale and a status")
        full_scale, status = number_of(self.scales, match[3]), int(match[4])
        overload, unlocked = int(bool(status & self.overloads)), int(bool(status & UNLOCKED))
        if overload or unlocked:
            return Outputs(math.nan, math.nan, overload, unlocked)
        x, y = float(match[1]), float(match[2])
        if max(abs(x), abs(y)) > MARGIN * full_scale:
            raise ValueError(f"larger than the full scale of {full_scale:g} V")
        return Outputs(x, y, overload, unlocked)
