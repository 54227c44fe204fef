"""The lock-in amplifier SR830 of Stanford Research Systems, on its serial line."""

from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import GarbledReply
from ..instrument import Reading, Setpoint
from ..link import Steps
from .stanford import Chosen, Frequency, StanfordLink, StanfordLockIn, steps

SENSITIVITIES_V = steps((1, 2, 5), 2e-9, 1.0)
TIME_CONSTANTS_S = steps((1, 3), 1e-5, 3e4)
LATCH_S = 0.1
"""A bit of the status that is still so is set again within this (not verified)."""


class SR830Link(StanfordLink):
    """Every answer ends in a carriage return, also when several questions have come in one message."""

    terminator = b"\r"

    def answers(self, message: str, n: int) -> list[str]:
        """The answers to the `n` questions of a message. Raises GarbledReply, LinkError."""
        self.send(message.encode("ascii") + self.terminator)
        try:
            return [self.receive_until(self.terminator).decode("ascii").strip() for _ in range(n)]
        except UnicodeDecodeError as error:
            self.dirty = True
            raise GarbledReply(f"{self.name}: {message!r} was answered with bytes that are not text") from error


class SR830(StanfordLockIn):
    """An SR830 to 102 kHz. Its outputs must be directed to the serial line (key Setup, or `OUTX 0`).

    The status tells what has happened since it was last asked, and is cleared by the question. Where it tells of an
    overload or a lost reference, all is asked once more after 0.1 s: what is over is then forgotten, what is still so
    makes X, Y, R and theta NaN. Sensitivity and status come with every reading, in the same message. Attaching changes
    nothing else in the instrument.

    Verified in the manual (revision 2.5): `OUTP`, `SNAP` and their numbers (page 5-15), the bits of `LIAS` (5-23), one
    terminator for each answer, a carriage return on the serial line (5-2), 30 s as the longest time constant above
    200 Hz (4-9). Verified in drivers that others run on the instrument: `FREQ`, `PHAS`, `SENS` and `OFLT` with
    their tables, `OFSL`, `RMOD`, `FMOD`, `HARM`, `SLVL`. Not verified: to how many digits it rounds frequencies, how
    soon a status bit is set again, that a message may end in a carriage return alone.
    """

    link_type: ClassVar[type[SR830Link]] = SR830Link
    link_options: ClassVar[dict[str, Any]] = {"identity": r"^Stanford_Research_Systems,SR830,", "baud_rate": 9600}
    asks: ClassVar[str] = "SNAP?1,2;SENS?;LIAS?"
    scales = SENSITIVITIES_V
    overloads: ClassVar[int] = 0b111
    """Input or reserve, filter, output."""

    frequency = Component(
        Frequency,
        command="FREQ {:.7g}",
        query="FREQ?",
        unit="Hz",
        plausible=(0.0, 103e3),
        limits=(1e-3, 102e3),
        rounding=5e-5,
    )
    sensitivity = Component(
        Chosen,
        command="SENS {}",
        query="SENS?",
        numbered=SENSITIVITIES_V,
        unit="V",
        limits=(SENSITIVITIES_V[0], SENSITIVITIES_V[-1]),
        kind=Kind.config,
    )
    time_constant = Component(
        Chosen,
        command="OFLT {}",
        query="OFLT?",
        numbered=TIME_CONSTANTS_S,
        unit="s",
        limits=(TIME_CONSTANTS_S[0], TIME_CONSTANTS_S[-1]),
        kind=Kind.config,
    )
    sine_out = Component(
        Setpoint,
        command="SLVL {:.3f}",
        query="SLVL?",
        unit="V",
        plausible=(0.0, 5.1),
        limits=(0.004, 5.0),
        tolerance=0.0011,
        kind=Kind.config,
    )
    reserve = Component(Reading, query="RMOD?", unit="", parse=int, plausible=(0, 2), value=0, kind=Kind.config)
    external = Component(
        Reading,
        query="FMOD?",
        unit="",
        parse=lambda reply: 1 - int(reply),
        plausible=(0, 1),
        value=0,
        kind=Kind.config,
    )

    def acquire(self) -> Steps:
        """Fetch the readings, once more where the status has told of something that may be over."""
        super().acquire()
        if self.overload.get() or self.unlocked.get():
            yield LATCH_S
            super().acquire()
