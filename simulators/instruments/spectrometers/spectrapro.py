"""The spectrograph Acton SpectraPro (Princeton Instruments) on its serial line."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ...clock import Clock
from ...noise import Noise

MESSAGE_LIMIT: Final = 256
GRATINGS: Final = 9
REACH_NM_PER_MM: Final = 1400.0 * 1200.0
GOTO_NM_PER_S: Final = 100.0  # with 1200 per mm
START_S: Final = 0.2
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)

Grating = tuple[float, float]
"""Grooves per mm and blaze in nm."""


class World(Protocol):
    """What the spectrograph does to the light."""

    def set_spectrograph(self, t: float, nm: float, target_nm: float, arrives_s: float, grooves_per_mm: float) -> None:
        """From `t` on its centre goes from `nm` to `target_nm`, evenly, and stands there from `arrives_s` on, with a
        grating of so many grooves.
        """


class WordError(Exception):
    """Answered with a question mark."""


class SimulatedSpectraPro:
    """A SpectraPro with a turret of `gratings` (grooves per mm, blaze in nm): words and numbers, as in Forth.

    A number stands before the word that takes it. A reply repeats the whole message, then come values and ` ok`, or
    ` ? ` after a word that is unknown, lacks its number or is given one that it cannot take; words before it have been
    acted on. `GOTO`, `NM` and `GRATING` are answered on arrival. Where its centre really is differs from what it says
    by `offset_nm`, a standard deviation, drawn once.

    Verified in the SP-750i and IsoPlane SCT 320 manuals: line, echo, end of a reply, `GOTO`, `NM` at the rate of
    `NM/MIN`, `>NM`, which is answered at once, several words in one message. In drivers of others: `MONO-?DONE`,
    `MONO-STOP`, `?NM`, `?NM/MIN`, `?GRATING`, `GRATING` with its 20 s and its ` ok` for one that is not installed,
    the list of `?GRATINGS` with an arrow (0x1A) before the one in place, the reach of a grating, rate as delivered.
    Not verified: whether capitals matter (here not), values of `MODEL` and `SERIAL`, all speeds, the answer to a
    wavelength out of reach (here ` ? `, and nothing turns) also when a grating is changed, and what becomes of words
    that come while it turns: here they wait, and are acted on after the arrival.
    Left out: the echo of each character as it comes (here before the answer), slits, mirrors, turrets, `ECHO`.
    """

    silence_characters: float = 0.0
    wire = "serial"

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        gratings: Sequence[Grating] = ((1200.0, 500.0), (300.0, 750.0), (150.0, 800.0)),
        nm: float = 0.0,
        offset_nm: float = 0.1,
        turret_s: float = 20.0,
        latency_s: float = 0.002,
        baud: int = 9600,
    ) -> None:
        if not 1 <= len(gratings) <= GRATINGS:
            raise ValueError(f"{name}: {len(gratings)} gratings; accepted: 1 to {GRATINGS}")
        self.name = name
        self.world = world
        self.clock = clock
        self.gratings = tuple(gratings)
        self.turret_s = turret_s
        self.latency_s = latency_s
        self.baud = baud
        self.offset_nm = offset_nm * noise.normal("offset")
        self._number = 1
        self._nm_per_min = 100.0
        self._overrun = False
        self._values: dict[str, Callable[[], str]] = {
            "MODEL": lambda: " SP-2356 ",
            "SERIAL": lambda: " 23561234 ",
            "?NM": lambda: f" {self.nm():.3f} nm ",
            "?NM/MIN": lambda: f" {self._nm_per_min:.3f} nm/min ",
            "?GRATING": lambda: f" {self._number} ",
            "?GRATINGS": self._list,
            "MONO-?DONE": lambda: f" {int(self.clock.monotonic() >= self._arrives_s)} ",
            "MONO-STOP": self._stop,
        }
        self._commands: dict[str, Callable[[float], float]] = {
            "GOTO": lambda nm: self._turn(nm, GOTO_NM_PER_S * 1200.0 / self._grooves),
            "NM": lambda nm: self._turn(nm, self._nm_per_min / 60.0),
            ">NM": self._start,
            "NM/MIN": self._set_rate,
            "GRATING": self._change,
        }
        self._go(nm, nm, 0.0)

    def take_message(self, buffer: bytearray) -> bytes | None:
        """One message without its carriage return; of an endless one nothing is kept but that it was too long."""
        end = buffer.find(b"\r")
        if end < 0:
            if len(buffer) > MESSAGE_LIMIT:
                self._overrun = True
                buffer.clear()
            return None
        message = bytes(buffer[:end])
        del buffer[: end + 1]
        if self._overrun or len(message) > MESSAGE_LIMIT:
            self._overrun = False
            return b"#"
        return message

    async def reply(self, message: bytes) -> bytes:
        """Act on the words of a message, one by one; those that turn something end with its arrival."""
        text = message.decode("ascii", "replace")
        told, stack, ending = "", list[float](), " ok\r\n"
        try:
            for word in text.upper().split():
                if NUMBER.fullmatch(word):
                    stack.append(float(word))
                elif word in self._values:
                    told += self._values[word]()
                elif word in self._commands and stack:
                    if (wait_s := self._commands[word](stack.pop())) > 0:
                        await self.clock.sleep(wait_s, self.name)
                else:
                    raise WordError
        except WordError:
            ending = " ? \r\n"
        return f"{text}{told}{ending}".encode("ascii", "replace")

    def nm(self) -> float:
        """Where it believes its centre to be."""
        if (left_s := self._arrives_s - self.clock.monotonic()) <= 0:
            return self._target_nm
        share = left_s / (self._arrives_s - self._since_s)
        return share * self._from_nm + (1.0 - share) * self._target_nm

    @property
    def _grooves(self) -> float:
        return self.gratings[self._number - 1][0]

    def _go(self, nm: float, target_nm: float, duration_s: float) -> float:
        self._since_s, self._from_nm, self._target_nm = self.clock.monotonic(), nm, target_nm
        self._arrives_s = self._since_s + duration_s
        shift = self.offset_nm
        self.world.set_spectrograph(self._since_s, nm + shift, target_nm + shift, self._arrives_s, self._grooves)
        return duration_s

    def _turn(self, target_nm: float, nm_per_s: float) -> float:
        nm = self.nm()
        if not 0.0 <= target_nm <= REACH_NM_PER_MM / self._grooves:
            raise WordError
        return self._go(nm, target_nm, START_S + abs(target_nm - nm) / nm_per_s)

    def _start(self, target_nm: float) -> float:
        self._turn(target_nm, self._nm_per_min / 60.0)
        return 0.0

    def _change(self, number: float) -> float:
        if number == self._number or number not in range(1, len(self.gratings) + 1):
            return 0.0
        nm = self.nm()
        if nm > REACH_NM_PER_MM / self.gratings[int(number) - 1][0]:
            raise WordError
        self._number = int(number)
        return self._go(nm, nm, self.turret_s)

    def _stop(self) -> str:
        nm = self.nm()
        self._go(nm, nm, 0.0)
        return ""

    def _set_rate(self, nm_per_min: float) -> float:
        if not nm_per_min > 0.0:
            raise WordError
        self._nm_per_min = nm_per_min
        return 0.0

    def _list(self) -> str:
        lines = []
        for number in range(1, GRATINGS + 1):
            mark = "\x1a" if number == self._number else " "
            what = "Not Installed    "
            if number <= len(self.gratings):
                grooves, blaze_nm = self.gratings[number - 1]
                blaze = f"{blaze_nm:5.0f}NM" if blaze_nm < 1000.0 else f"{blaze_nm / 1000.0:5.1f}UM"
                what = f"{grooves:.0f} g/mm BLZ={blaze}"
            lines.append(f"\r\n{mark}{number}  {what} ")
        return "".join(lines) + "\r\n"
