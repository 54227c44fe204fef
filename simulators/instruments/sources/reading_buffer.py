"""The buffer of a Keithley 6221, and how its readings are told."""

from typing import Final

from ...wire.scpi import ScpiInstrument, Setting, command, listed, query
from ...wire.scpi_grammar import Choice, Number, ScpiError
from ..meters.keithley2182a import OVERFLOW

LONGEST: Final = 65536
ELEMENTS: Final = {"READing": "READ", "TSTamp": "TST", "SOURce": "SOUR", "RNUMber": "RNUM"}
"""Of a reading, in the order in which they are told."""


class ReadingBuffer(ScpiInstrument):
    """`:TRACe` and `:FORMat`: readings (V) with their times (s), as long as there is room, if it is to be filled.

    *RST leaves the buffer and its settings alone.
    """

    unit = Setting(":UNIT[:VOLTage][:DC]", Choice(("V", "OHMS", "W", "SIEMens")), "V")
    form = Setting(":FORMat[:DATA]", Choice(("ASCii",)), "ASC")

    room: int = 100
    filling: str = "NEV"
    _feed: str = "CALC1"
    _absolute: bool = True
    _elements: tuple[str, ...] = ("READ", "TST")
    _named = Choice(tuple(ELEMENTS))

    def begin(self) -> None:
        """A new series: nothing is in the buffer."""
        self._buffer: list[tuple[float, float]] = []

    def keep(self, reading_v: float, time_s: float) -> bool:
        """Put a reading into the buffer, if it is to be filled; whether it is full by that."""
        if self.filling != "NEXT" or self._feed == "NONE" or len(self._buffer) >= self.room:
            return False
        self._buffer.append((reading_v, time_s))
        if len(self._buffer) < self.room:
            return False
        self.filling = "NEV"
        return True

    def told(self, number: int, reading_v: float, time_s: float, current_a: float) -> str:
        """One reading, counted from 1, with its elements."""
        reading = "+9.9E37" if reading_v == OVERFLOW else f"{self._in_unit(reading_v, current_a):+.8E}"
        words = {"READ": reading, "TST": f"{time_s:+.6E}", "SOUR": f"{current_a:+.6E}", "RNUM": f"{number - 1:+d}"}
        return ",".join(words[element] for element in ELEMENTS.values() if element in self._elements)

    def _in_unit(self, reading_v: float, current_a: float) -> float:
        match self.unit:
            case "OHMS":
                return reading_v / current_a
            case "W":
                return reading_v * current_a
            case "SIEM":
                return current_a / reading_v
        return reading_v

    def recalled(self, current_a: float) -> str:
        """All that is in the buffer. Raises ScpiError -230 where there is nothing."""
        if not self._buffer:
            raise ScpiError(-230)
        times = [time_s for _, time_s in self._buffer]
        if not self._absolute:
            times = [later - earlier for earlier, later in zip([times[0], *times], times, strict=False)]
        readings = zip(self._buffer, times, strict=True)
        return ",".join(
            self.told(number, reading_v, time_s, current_a)
            for number, ((reading_v, _), time_s) in enumerate(readings, start=1)
        )

    @listed(":FORMat:ELEMents")
    def _set_elements(self, *words: str) -> None:
        if [word.upper() for word in words] in (["DEF"], ["DEFAULT"]):
            words = ("READ", "TST")
        if not words:
            raise ScpiError(-109)
        self._elements = tuple(self._named.parse(word) for word in words)

    @query(":FORMat:ELEMents")
    def _which_elements(self) -> str:
        return ",".join(element for element in ELEMENTS.values() if element in self._elements)

    @command(":TRACe:CLEar")
    def _clear_buffer(self) -> None:
        self._buffer.clear()

    @command(":TRACe:POINts", Number(1, LONGEST, 100, integer=True))
    def _set_room(self, readings: float) -> None:
        self.room = int(readings)

    @query(":TRACe:POINts")
    def _room(self) -> str:
        return str(self.room)

    @query(":TRACe:POINts:ACTual")
    def _stored(self) -> str:
        return str(len(self._buffer))

    @command(":TRACe:FEED", Choice(("SENSe1", "CALCulate1", "NONE")))
    def _set_feed(self, feed: str) -> None:
        self._feed = feed

    @query(":TRACe:FEED")
    def _fed_by(self) -> str:
        return self._feed

    @command(":TRACe:FEED:CONTrol", Choice(("NEXT", "NEVer")))
    def _set_filling(self, filling: str) -> None:
        self.filling = filling

    @query(":TRACe:FEED:CONTrol")
    def _is_filling(self) -> str:
        return self.filling

    @command(":TRACe:TSTamp:FORMat", Choice(("ABSolute", "DELTa")))
    def _set_times(self, form: str) -> None:
        self._absolute = form == "ABS"

    @query(":TRACe:TSTamp:FORMat")
    def _times(self) -> str:
        return "ABS" if self._absolute else "DELT"
