"""The function generators Keysight 33500B, over TCP."""

import math
from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import LimitError, Refused, WrongInstrument
from ..instrument import Instrument, Reading, Setpoint
from ..safe_state import SafeAction, SafeState, Seen, Watched, Way
from ..status import JobStatus
from ..visa import MessageLink

SHAPES = ("SIN", "SQU", "TRI", "RAMP", "DC")
OTHER_SHAPES = ("PULS", "PRBS", "NOIS", "ARB")
"""What may be selected on the instrument, and is not set here: it needs more settings."""
PEAK_V = 5.0
"""What offset and half the amplitude may come to; it is what the instrument can give into 50 ohm."""
OFF_SETTLING_S = 0.05


def parse_load(reply: str) -> float:
    """The load in ohm; NaN where the output is set to high impedance."""
    load = float(reply)
    return math.nan if load >= 9.9e37 else load


def parse_unit(reply: str) -> int:
    """1 where amplitudes are told from peak to peak. Raises ValueError for what is no unit of amplitude."""
    return int(("VRMS", "VPP", "DBM").index(reply) == 1)


def parse_shape(reply: str) -> str:
    """The short name of a waveform. Raises ValueError for any other text."""
    if reply not in SHAPES + OTHER_SHAPES:
        raise ValueError("not the short name of a waveform")
    return reply


class Level(Setpoint):
    """Amplitude or offset. What both come to is checked first: the instrument would change the other one."""

    def apply(self, value: float) -> None:
        """Send and read back. Raises LimitError, before it is sent, where peaks would be beyond `PEAK_V`."""
        self.check_value(value)
        generator = self.instrument
        generator.fetch(generator.amplitude, generator.offset)
        levels = {level: level.get() for level in (generator.amplitude, generator.offset)} | {self: value}
        peak = abs(levels[generator.offset]) + levels[generator.amplitude] / 2
        if peak > PEAK_V + 1e-9:
            raise LimitError(f"{self.name} = {value:g} is refused: peaks of {peak:g} V, accepted are {PEAK_V:g} V")
        super().apply(value)


class Shape(Reading):
    """The waveform, by the short name that the instrument has for it."""

    def check_value(self, value: str) -> None:
        """Raises LimitError for another word."""
        if value not in SHAPES:
            raise LimitError(f"{self.name} = {value!r} is refused: accepted are {', '.join(SHAPES)}")

    def set(self, value: str) -> JobStatus:
        """Send and read back; the Status fails with Refused where the instrument did not take it."""
        self.check_value(value)
        return self.parent.submit(lambda: self.apply(value))

    def apply(self, value: str) -> None:
        """As `set`, inside a job of the instrument's link."""
        self.check_value(value)
        generator = self.parent
        generator.link.assign(generator.locate(SET_SHAPE), value)
        generator.fetch(self)
        if self.get() != value:
            raise Refused(f"{self.name}: {value} was sent, {self.get()} was read back")


SET_SHAPE = ":SOUR#:FUNC {}"


class Output(Setpoint):
    """1 connects the output, 0 disconnects it; both are verified."""

    def set(self, value: float) -> JobStatus:
        """Switch; the Status fails with Refused or LinkError where the generator does not confirm."""
        self.check_value(value)
        generator = self.instrument
        return generator.submit(lambda: self.apply(value)) if value else generator.link.submit(generator.secure)

    def check_value(self, value: float) -> None:
        """Raises LimitError for anything but 0 and 1."""
        super().check_value(value if value in (0, 1) else math.nan)


class Keysight33500B(Instrument):
    """One output of a 33500B. A generator on a bench hurts nobody; where a laser hangs on it, `PumpModulator` is meant.

    Volts are what the instrument makes of the load that it is set to: into another one they are other volts, twice as
    many into an open circuit where 50 ohm are set. The peaks may come to 5 V, which is its range into 50 ohm. It is
    refused where its amplitudes are not in volts from peak to peak. Attaching changes nothing. Safe state: output off.

    Option: `channel`, 1 or 2. Verified in the manual of the 33500 series: output termination and what it does to
    volts. Verified in drivers that others run on the instrument: the commands, replies such as
    `+1.000000000000000E+03`, the short names of waveforms. Verified in the manual of the 33220A: that a new offset may
    change the amplitude. Not verified: to how many digits settings are rounded.
    """

    link_type: ClassVar[type[MessageLink]] = MessageLink
    link_options: ClassVar[dict[str, Any]] = {
        "identity": r"^(Agilent Technologies|Keysight Technologies),335\d\dB,",
        "timeout_s": 0.5,
        "chained": True,
    }

    frequency = Component(
        Setpoint,
        command=":SOUR#:FREQ {:.14g}",
        query=":SOUR#:FREQ?",
        unit="Hz",
        plausible=(0.0, 31e6),
        limits=(1e-6, 30e6),
        tolerance=1e-5,
    )
    amplitude = Component(
        Level,
        command=":SOUR#:VOLT {:.6g}",
        query=":SOUR#:VOLT?",
        unit="V",
        plausible=(0.0, 20.0),
        limits=(1e-3, 10.0),
        tolerance=6e-4,
    )
    offset = Component(
        Level,
        command=":SOUR#:VOLT:OFFS {:.6g}",
        query=":SOUR#:VOLT:OFFS?",
        unit="V",
        plausible=(-10.0, 10.0),
        limits=(-PEAK_V, PEAK_V),
        tolerance=6e-4,
    )
    output = Component(
        Output,
        command=":OUTP# {:.0f}",
        query=":OUTP#?",
        unit="",
        parse=int,
        plausible=(0, 1),
        limits=(0, 1),
        value=0,
        kind=Kind.hinted,
    )
    shape = Component(Shape, query=":SOUR#:FUNC?", unit="", parse=parse_shape, value="", kind=Kind.config)
    load = Component(
        Reading, query=":OUTP#:LOAD?", unit="ohm", parse=parse_load, plausible=(1.0, 10e3), kind=Kind.config
    )
    peak_to_peak = Component(Reading, query=":SOUR#:VOLT:UNIT?", unit="", parse=parse_unit, value=0, kind=Kind.config)

    def __init__(self, *, channel: int = 1, **kwargs: Any) -> None:
        if channel not in (1, 2):
            raise ValueError(f"options.channel = {channel!r}: accepted are 1 and 2")
        self.channel = channel
        super().__init__(**kwargs)

    def locate(self, target: Any) -> Any:
        """The question or command of this channel."""
        return target.replace("#", str(self.channel))

    def connect(self) -> None:
        """Read everything. Raises WrongInstrument where amplitudes are not from peak to peak."""
        super().connect()
        if not self.peak_to_peak.get():
            raise WrongInstrument(f"{self.name}: its amplitudes are not in VPP; select VPP on the instrument")

    @property
    def safe_state(self) -> SafeState:
        """Output off; 1.5 s are enough for a lost reply, and for the silence after it."""
        off = Seen("output", ":OUTP#?", 0, 0)
        return SafeState(
            ways={"off": Way((SafeAction("output off", ((":OUTP# 0", None),), (off,), 1.5, OFF_SETTLING_S),))},
            on_loss="off",
            watched=(Watched(Seen("output", ":OUTP#?", 0, 1)),),
            commands=[(SET_SHAPE, shape) for shape in SHAPES],
        )


class PumpModulator(Keysight33500B):
    """A 33500B whose output modulates a laser: it is then what the laser's light hangs on.

    It must be wired so that an open connector, which is what an output that is off comes to (not verified), keeps the
    laser dark; a laser that it does not darken needs a gate besides. A pause switches the output off for good, as with
    every laser.
    """

    hazard: ClassVar[str] = "laser"
    goes_on: ClassVar[bool] = False
