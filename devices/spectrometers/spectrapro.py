"""The spectrograph Acton SpectraPro (Princeton Instruments) on its serial line."""

import math
import re
from typing import Any, ClassVar

import numpy as np
from ophyd import Component, Kind

from ..errors import GarbledReply, LimitError, LinkError, LinkTimeout, Refused, WrongInstrument
from ..instrument import Instrument, Reading, Setpoint
from ..link import Steps
from ..status import JobStatus
from ..visa import MessageLink

TURNING_S = 60.0
"""A change of grating takes about 20 s."""
SLICE_S = 0.25
"""The link waits so long for an arrival before others have their turn."""
REACH_NM_PER_MM = 1.68e6
"""Longest wavelength times groove density: 1400 nm with 1200 per mm."""
LONGEST_NM = 12_000.0
END = re.compile(rb" ok\r\n|\? ?\r\n")
ARROW = "\x1a"
LINE = re.compile(rf"({ARROW}?) *(\d) +(.+?) *", re.ASCII)
RULED = re.compile(r"(\d+) *g/mm BLZ= *\d+(\.\d+)? *[NU]M", re.ASCII)


def parse_wavelength(reply: str) -> float:
    """nm in a reply such as `546.700 nm`; some say no unit. Raises ValueError for any other text."""
    found = re.fullmatch(r"(-?\d+\.\d+)(?: nm)?", reply, re.ASCII)
    if found is None:
        raise ValueError("not a wavelength in nm")
    return float(found[1])


def parse_grating(reply: str) -> int:
    """A number from 1 to 9. Raises ValueError for any other text."""
    if not re.fullmatch(r"[1-9]", reply, re.ASCII):
        raise ValueError("not the number of a grating")
    return int(reply)


def parse_gratings(reply: str) -> tuple[dict[int, float], int]:
    """Grooves per mm of each grating that is installed, NaN where it is not ruled; the number of the one in place.

    Raises ValueError for any other text.
    """
    installed, in_place = {}, 0
    for expected, line in enumerate(reply.split("\r\n"), start=1):
        found = LINE.fullmatch(line.lstrip(" "))
        if found is None or int(found[2]) != expected:
            raise ValueError(f"{line[:30]!r} is not line {expected} of a list of gratings")
        if found[3] != "Not Installed":
            ruled = RULED.fullmatch(found[3])
            installed[expected] = float(ruled[1]) if ruled else math.nan
        in_place = expected if found[1] else in_place
    if in_place not in installed:
        raise ValueError("no grating is in place")
    return installed, in_place


def parse_grooves(reply: str) -> float:
    """Grooves per mm of the grating in place. Raises ValueError."""
    installed, in_place = parse_gratings(reply)
    return installed[in_place]


class SpectraProLink(MessageLink):
    """Words that end in a carriage return; a reply repeats them, a value follows, and ` ok` with CR LF.

    A reply that repeats other words is garbled; one that ends in a question mark becomes Refused. What turns something
    is answered on arrival only. Meanwhile nobody else has the line, but jobs that want nothing of it have their turn.
    """

    terminator = b"\r"
    turning = False
    """Whether an arrival is waited for."""

    def identify(self) -> None:
        """Compare the reply to `MODEL` with `identity`, a regular expression. Raises WrongInstrument, LinkError."""
        try:
            reply = self._exchange("MODEL")
        except Refused as error:
            self.dirty = True
            raise WrongInstrument(str(error)) from error
        if self.identity is not None and not re.fullmatch(self.identity, reply):
            self.dirty = True
            raise WrongInstrument(
                f"{self.name}: {reply[:80]!r} answers at {self.known_as}, expected a reply matching {self.identity!r}"
            )

    def ready(self) -> None:
        """As for every line. Raises LinkError, also while something turns."""
        if self.turning:
            raise LinkError(f"{self.name}: it turns, and answers on arrival only")
        super().ready()

    def turn(self, words: str) -> Steps:
        """Send words, and wait in steps until they are answered. Raises Refused, LinkError."""
        self.ready()
        self.send(words.encode("ascii") + self.terminator)
        connection, deadline = self._resource, self.clock.monotonic() + TURNING_S
        self.turning = True
        try:
            while END.search(self._buffer) is None:
                if self.clock.wait_readable(self._descriptor, SLICE_S, self.name):
                    self._more(deadline)
                    continue
                if self.clock.monotonic() > deadline:
                    self.dirty = True
                    raise LinkTimeout(f"{self.name}: {words!r} has not been answered for {TURNING_S:g} s")
                yield 0.0
                if self._resource is not connection:
                    raise LinkError(f"{self.name}: the connection was closed while it turned")
        finally:
            self.turning = False
        self._take(words)

    def _exchange(self, message: str) -> str:
        self.send(message.encode("ascii") + self.terminator)
        deadline = self.clock.monotonic() + self.timeout_s
        while END.search(self._buffer) is None:
            self._more(deadline)
        return self._take(message)

    def _take(self, words: str) -> str:
        """The value in the reply that has come. Raises Refused, GarbledReply."""
        end = END.search(self._buffer)
        assert end is not None
        reply, self._buffer = self._buffer[: end.start()].decode("latin-1"), self._buffer[end.end() :]
        if not reply.startswith(words) or not reply.isascii():
            self.dirty = True
            raise GarbledReply(f"{self.name}: {words!r} was answered by {reply[:80]!r}")
        if end[0].startswith(b"?"):
            raise Refused(f"{self.name}: {words!r} was not understood")
        return reply.removeprefix(words).strip()


class Wavelength(Setpoint):
    """The wavelength at the centre."""

    def set(self, value: float) -> JobStatus:
        """Turn the grating to `value` nm; done on arrival.

        Raises LimitError at once; the Status fails with LimitError where the grating in place does not reach so far,
        Refused or LinkError.
        """
        self.check_value(value)
        return self.instrument.submit(lambda: self.instrument.turn_to(value))

    def check_value(self, value: float) -> None:
        """Raises LimitError for a value that is not finite, beyond a limit, or beyond the reach of every grating."""
        super().check_value(value)
        reaches = [self.instrument.reach(number) for number in self.instrument.installed]
        if reaches and value > max(reaches):
            raise LimitError(f"{self.name} = {value:g} is refused: the gratings reach to {max(reaches):g} nm")


class GratingNumber(Setpoint):
    """The number of the grating in place."""

    def set(self, value: float) -> JobStatus:
        """Put grating `value` in place, at the wavelength that was; done on arrival.

        Raises LimitError at once; the Status fails with LimitError where that grating does not reach so far, Refused or
        LinkError.
        """
        self.check_value(value)
        return self.instrument.submit(lambda: self.instrument.put_in_place(int(value)))

    def check_value(self, value: float) -> None:
        """Raises LimitError for the number of a grating that is not installed, or is no ruled one."""
        super().check_value(value)
        ruled = [number for number, grooves in self.instrument.installed.items() if not math.isnan(grooves)]
        if value != int(value) or (ruled and value not in ruled):
            known = ", ".join(map(str, ruled)) or "1 to 9"
            raise LimitError(f"{self.name} = {value:g} is refused: accepted are {known}")


class SpectraPro(Instrument):
    """A SpectraPro with a turret of gratings, on RS-232 at 9600 baud; over USB the word `ECHO` must be sent first.

    The echo is demanded: nothing else tells whose answer a reply is. `wavelength` goes as fast as the motor can
    (`GOTO`). A grating reaches to 1400 nm times 1200 per mm over its groove density. A reading waits while something
    turns; a motion that has begun goes on to its end whatever becomes of the run, and until then nothing else can be
    asked: an engine that comes meanwhile is told that nothing answers.

    Read in the SP-750i and IsoPlane SCT 320 manuals: line, words `GOTO`, `NM`, `>NM`, their answer on arrival, echo
    and end of a reply, that one is to wait for it. In drivers of others: `MODEL`, `?NM`, `GRATING` and its 20 s,
    `?GRATING`, the form of the list of `?GRATINGS`, the reach of a grating, an unknown word answered by ` ? `, an
    unknown grating by nothing but ` ok`. Not verified on an instrument: the reply to `MODEL` (here `SP-` and a
    number), a mirror in the list, which wavelengths it refuses, and what it does with words that come while it turns:
    none are sent.
    """

    link_type: ClassVar[type[SpectraProLink]] = SpectraProLink
    link: SpectraProLink
    link_options: ClassVar[dict[str, Any]] = {"identity": r"SP-\w.*", "baud_rate": 9600, "timeout_s": 2.0}

    wavelength = Component(
        Wavelength,
        command="{:.3f} GOTO",
        query="?NM",
        unit="nm",
        parse=parse_wavelength,
        plausible=(-10.0, 1.1 * LONGEST_NM),
        limits=(0.0, LONGEST_NM),
        tolerance=0.05,
        kind=Kind.hinted,
    )
    grating = Component(
        GratingNumber, command="{:.0f} GRATING", query="?GRATING", unit="", parse=parse_grating, limits=(1, 9), value=0
    )
    grooves = Component(
        Reading, query="?GRATINGS", unit="1/mm", parse=parse_grooves, plausible=(1.0, 4000.0), kind=Kind.config
    )

    gratings = Component(Reading, query=None, unit="1/mm", value=np.zeros(9), kind=Kind.config)

    def __init__(self, **kwargs: Any) -> None:
        self.installed: dict[int, float] = {}
        """Grooves per mm by number, NaN where it is not ruled; known once it is attached."""
        super().__init__(**kwargs)

    @property
    def at_rest(self) -> bool:
        """Whether nothing turns."""
        return not self.link.turning

    def connect(self) -> None:
        """Read everything. Raises WrongInstrument where a word is not understood."""
        try:
            super().connect()
            self.installed, _ = parse_gratings(self.link.query(self.grooves.query))
            ruled = [np.nan_to_num(self.installed.get(number, 0.0)) for number in range(1, 10)]
            self.gratings.put(np.array(ruled), timestamp=self.clock.time())
        except Refused as error:
            raise WrongInstrument(f"{error}; expected is a SpectraPro") from error

    def acquire(self) -> Steps:
        """The job of `trigger`."""
        yield from self._come_to_rest()
        self.fetch(*(reading for _, reading in self.asked()))

    def reach(self, number: int) -> float:
        """The longest wavelength (nm) of a grating that is installed; 0 where it is not ruled."""
        grooves = self.installed[number]
        return 0.0 if math.isnan(grooves) else REACH_NM_PER_MM / grooves

    def turn_to(self, nm: float) -> Steps:
        """The job of a change of wavelength."""
        yield from self._come_to_rest()
        self.fetch(self.grating)
        self._check_reach(self.grating.get(), nm)
        yield from self.link.turn(self.wavelength.command.format(nm))
        self.fetch(self.wavelength)
        if abs(self.wavelength.get() - nm) > self.wavelength.tolerance:
            raise Refused(f"{self.wavelength.name}: {nm:g} nm was asked for, it stands at {self.wavelength.get():g} nm")

    def put_in_place(self, number: int) -> Steps:
        """The job of a change of grating."""
        yield from self._come_to_rest()
        self.fetch(self.grating, self.wavelength)
        if self.grating.get() == number:
            return
        self._check_reach(number, self.wavelength.get())
        yield from self.link.turn(self.grating.command.format(number))
        self.fetch(self.grating, self.wavelength, self.grooves)
        if self.grating.get() != number:
            raise Refused(f"{self.grating.name}: {number} was asked for, {self.grating.get()} is in place")

    def _come_to_rest(self) -> Steps:
        while self.link.turning:
            yield SLICE_S

    def _check_reach(self, number: int, nm: float) -> None:
        if number not in self.installed:
            raise Refused(f"{self.grating.name}: {number} is in place, which the list of gratings does not have")
        if nm > self.reach(number):
            raise LimitError(
                f"{self.wavelength.name} = {nm:g} is refused: grating {number} reaches to {self.reach(number):g} nm"
            )
