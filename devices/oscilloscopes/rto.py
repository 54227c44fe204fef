"""The oscilloscopes R&S RTO over TCP: averaged waveforms of one channel."""

import math
import re
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ophyd import Component, Kind

from ..block_link import Block, BlockLink
from ..errors import LimitError, Refused
from ..instrument import Instrument, Reading, Setpoint
from ..link import Steps

POLL_S = (0.05, 0.5)
"""How soon it is looked at first, and at most how long it is left alone."""
REACH = 128.5 / 253
"""What the converter reaches from the middle, of the range: its 256 steps are a little more than the screen's 253."""
EDGE = 0.49
"""A mean that is so far from the middle, of the range, has been cut off in some of its acquisitions."""
EVENT = 1 << 5
"""Of the status byte: an event that is enabled has come."""

STATUS, ERROR = "*STB?", ":SYST:ERR?"
ACQUIRED, HEADER, ADC_STATE = ":ACQ:CURR?", ":CHAN#:DATA:HEAD?", ":STAT:QUES:ADCS:COND?"
START = "*CLS;*ESE 1;:STOP;:FORM REAL,32;:EXP:WAV:INCX OFF;:EXP:WAV:MULT OFF;:CHAN#:ARIT AVER;:ACQ:ARES:IMM;:SING;*OPC"
STOP = ":STOP"


class Axis(NamedTuple):
    """When the samples of a waveform were taken: s from the trigger to the first, s between two, how many."""

    start: float
    step: float
    points: int


def parse_axis(reply: str) -> Axis:
    """The axis in a header such as `-5E-08,9.49E-07,1000,1`: first time, last time, samples, values per sample.

    Raises ValueError for any other text, and where a sample has two values, as an envelope has.
    """
    fields = reply.split(",")
    if len(fields) != 4 or not all(re.fullmatch(r"\d{1,9}", field, re.ASCII) for field in fields[2:]):
        raise ValueError("not two times and two numbers")
    first, last, points, values = float(fields[0]), float(fields[1]), int(fields[2]), int(fields[3])
    if values != 1:
        raise ValueError(f"{values} values per sample; accepted is 1: select Sample, not Peak Detect")
    if points < 2 or not last > first:
        raise ValueError("there is no waveform")
    return Axis(first, (last - first) / (points - 1), points)


def of_axis(field: str) -> Callable[[str], float]:
    """A parser of headers that takes one field of `Axis`. Raises ValueError as `parse_axis`."""
    return lambda reply: getattr(parse_axis(reply), field)


def parse_mode(reply: str) -> int:
    """1 where nothing but a trigger begins an acquisition. Raises ValueError for what is no trigger mode."""
    return int(("AUTO", "NORM", "FRE").index(reply) == 1)


def parse_error(reply: str) -> str:
    """An entry of an error queue such as `0,"No error"`. Raises ValueError for any other text."""
    if not re.fullmatch(r'[+-]?\d{1,5},".*"', reply, re.ASCII):
        raise ValueError("no entry of an error queue")
    return reply


class Whole(Setpoint):
    """A whole number."""

    def check_value(self, value: float) -> None:
        """Raises LimitError for a value beyond a limit, or with a fraction."""
        super().check_value(value)
        if value != int(value):
            raise LimitError(f"{self.name} = {value:g} is refused: accepted are whole numbers")


class Relative(Setpoint):
    """What is read back may differ by a share of it, as the instrument rounds."""

    def __init__(self, *, rounding: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rounding = rounding

    def apply(self, value: float) -> None:
        """Send and read back. Raises LimitError, Refused, LinkError."""
        self.tolerance = self.rounding * abs(value)
        super().apply(value)


class Clipped(Reading):
    """1 where the converter has been driven beyond either end; two bits for each channel."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(query=ADC_STATE, parse=self._parse, **kwargs)

    def _parse(self, reply: str) -> int:
        if not re.fullmatch(r"\d{1,5}", reply, re.ASCII):
            raise ValueError("not a register")
        return int(bool(int(reply) >> 2 * (self.parent.channel - 1) & 0b11))


class Waveform(Reading):
    """The voltages (n,), from 32-bit numbers whose lowest byte comes first."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(query=Block(":CHAN#:DATA?"), parse=self._parse, value=np.zeros(0), **kwargs)

    def _parse(self, data: bytes) -> NDArray[np.float64]:
        scope = self.parent
        if len(data) != 4 * scope.points.get():
            raise ValueError(f"{len(data)} bytes for {scope.points.get()} samples of 4")
        volts = np.frombuffer(data, "<f4").astype(float)
        if not np.all(np.abs(volts - scope.middle_v) <= REACH * scope.vertical_range.get()):  # NaN is neither
            raise ValueError("voltages that the converter does not reach")
        return volts


class RTO(Instrument):
    """One channel of an RTO whose trigger mode is Normal: in the others waveforms that no pulse began are averaged.

    `trigger` begins a series of `averages` acquisitions (`SINGle`) with the average reset, looks again and again
    without holding the line, and reads the averaged waveform as 32-bit numbers. It fails with Refused, and stops the
    series, where no acquisition is added for `patience_s`; and where the series ended before its time, as STOP at the
    front panel does. It sets waveform arithmetic and export format; attaching sets nothing. Trigger source, level,
    coupling (50 ohm is DC) and bandwidth are set at the front panel. `clipped` is 1 where the instrument says so, and
    where a mean comes near the edge of the screen.

    Options: `channel`, 1 to 4; `patience_s`, longer than the time between two triggers.

    Verified in the RTO User Manual 1316.0827.02-06: a series of a number that is the average count too, and that Normal
    is the mode for it (pages 18 and 86), acquisition time, sample rate and record length (19, 30, 31). Verified in the
    maker's own driver for RTO and RTP (rsrtx 5.60), which runs on our twin: all commands but `SINGle` and `STOP`, the
    header with the times of first and last sample, signs of offset and position, definite-length blocks. Verified in
    the manuals of RTP and RTO6: `SINGle`, the bits of the ADC state. Verified in drivers that others run on the
    instruments: identity, `STOP`, low byte first, that an RTO6 listens on port 5025. The manual of the RTO1000 names
    VXI-11 and GPIB only: not verified is that it has a socket. Not verified either: that the ADC state holds for all
    acquisitions of a series, rounding of settings, the rate that averaging keeps up with. A byte of the block that
    differs is found only where its voltage cannot be.
    """

    link_type: ClassVar[type[BlockLink]] = BlockLink
    link_options: ClassVar[dict[str, Any]] = {
        "identity": r"^Rohde&Schwarz,RTO\d*,",
        "timeout_s": 2.0,
        "chained": True,
    }

    acquired = Component(Reading, query=ACQUIRED, unit="", parse=int, plausible=(0, 16777215), value=0)
    clipped = Component(Clipped, unit="", value=0, kind=Kind.hinted)
    start = Component(Reading, query=HEADER, unit="s", parse=of_axis("start"), plausible=(-1e3, 1e3))
    step = Component(Reading, query=HEADER, unit="s", parse=of_axis("step"), plausible=(1e-13, 1e3))
    points = Component(Reading, query=HEADER, unit="", parse=of_axis("points"), plausible=(2, 1e9), value=0)
    averages = Component(
        Whole,
        command=":ACQ:COUN {:.0f}",
        query=":ACQ:COUN?",
        unit="",
        parse=int,
        plausible=(1, 16777215),
        limits=(1, 1_000_000),
        value=0,
        kind=Kind.config,
    )
    vertical_range = Component(
        Relative,
        command=":CHAN#:RANG {:.6g}",
        query=":CHAN#:RANG?",
        unit="V",
        plausible=(1e-3, 1e3),
        limits=(0.01, 10.0),
        rounding=0.01,
        kind=Kind.config,
    )
    vertical_offset = Component(
        Setpoint,
        command=":CHAN#:OFFS {:.6g}",
        query=":CHAN#:OFFS?",
        unit="V",
        plausible=(-200.0, 200.0),
        limits=(-10.0, 10.0),
        tolerance=1e-3,
        kind=Kind.config,
    )
    vertical_position = Component(
        Reading, query=":CHAN#:POS?", unit="divisions", plausible=(-5.0, 5.0), kind=Kind.config
    )
    acquisition_time = Component(
        Relative,
        command=":TIM:RANG {:.9g}",
        query=":TIM:RANG?",
        unit="s",
        plausible=(1e-10, 1e5),
        limits=(1e-9, 1e-2),
        rounding=0.01,
        kind=Kind.config,
    )
    horizontal_position = Component(
        Setpoint,
        command=":TIM:HOR:POS {:.9g}",
        query=":TIM:HOR:POS?",
        unit="s",
        plausible=(-1e5, 1e5),
        limits=(-1e-2, 1e-2),
        tolerance=1e-10,
        kind=Kind.config,
    )
    sample_rate = Component(
        Relative,
        command=":ACQ:SRAT {:.9g}",
        query=":ACQ:SRAT?",
        unit="1/s",
        plausible=(1.0, 2e13),
        limits=(1e6, 2e10),
        rounding=0.01,
        kind=Kind.config,
    )
    normal = Component(
        Reading, query=":TRIG1:MODE?", unit="", parse=parse_mode, plausible=(0, 1), value=0, kind=Kind.config
    )
    status = Component(Reading, query=STATUS, unit="", parse=int, plausible=(0, 255), value=0, kind=Kind.omitted)
    error = Component(Reading, query=ERROR, unit="", parse=parse_error, value="", kind=Kind.omitted)
    waveform = Component(Waveform, unit="V")

    def __init__(self, *, channel: int = 1, patience_s: float = 5.0, **kwargs: Any) -> None:
        if channel not in (1, 2, 3, 4):
            raise ValueError(f"options.channel = {channel!r}: accepted are 1, 2, 3 and 4")
        if not (isinstance(patience_s, int | float) and 0.1 <= patience_s < math.inf):
            raise ValueError(f"options.patience_s = {patience_s!r}: accepted are times from 0.1 s on")
        self.channel, self.patience_s = channel, patience_s
        self._series = 0
        super().__init__(**kwargs)

    @property
    def middle_v(self) -> float:
        """The voltage in the middle of the screen."""
        division_v = self.vertical_range.get() / 10
        return self.vertical_offset.get() - self.vertical_position.get() * division_v

    def locate(self, target: Any) -> Any:
        """The question or command of this channel, of the type that it was."""
        return type(target)(target.replace("#", str(self.channel)))

    def connect(self) -> None:
        """Read the settings; there may be no waveform yet, and errors that somebody else is to see."""
        later = (self.start, self.step, self.points, self.waveform, self.error)
        self.fetch(*[reading for reading in self.readings() if reading not in later])

    def acquire(self) -> Steps:
        """The job of `trigger`. Raises Refused, LinkError."""
        self.fetch(self.normal, self.averages)
        if not self.normal.get():
            raise Refused(f"{self.name}: the trigger mode is not Normal; select it on the instrument")
        self._series += 1
        self.link.assign(self.locate(START), None)
        self.fetch(self.error)
        if not re.match("[+-]?0,", self.error.get()):
            raise Refused(f"{self.name}: the series is not begun, it says {self.error.get()[:80]!r}")
        yield from self._until_complete(self._series)
        self.fetch(*[reading for reading in self.readings() if reading not in (self.status, self.error)])
        if self.acquired.get() < self.averages.get():
            raise Refused(f"{self._count()} were averaged: somebody has stopped the series")
        if np.max(np.abs(self.waveform.get() - self.middle_v)) > EDGE * self.vertical_range.get():
            self.clipped.put(1, timestamp=self.clipped.timestamp, force=True)

    def _until_complete(self, series: int) -> Steps:
        """Look until the series is over. Raises Refused where nothing is added any more, or another one has begun."""
        pause, longest = POLL_S
        before, since = -1, self.clock.monotonic()
        while True:
            yield pause
            if series != self._series:
                raise Refused(f"{self.name}: another series has been begun before this one was complete")
            self.fetch(self.status, self.acquired)
            if self.status.get() & EVENT:
                return
            if self.acquired.get() != before:
                before, since = self.acquired.get(), self.clock.monotonic()
            elif self.clock.monotonic() - since >= self.patience_s:
                self.link.assign(STOP, None)
                self.fetch(self.acquired)
                raise Refused(f"{self._count()} came, and no trigger for {self.patience_s:g} s")
            pause = min(1.5 * pause, longest)

    def _count(self) -> str:
        return f"{self.name}: {self.acquired.get()} of {self.averages.get()} acquisitions"
