"""The fibre laser IPG YLR on TCP or its serial line."""

import math
import re
from collections.abc import Callable
from typing import Final, Protocol

from ...clock import Clock
from ...noise import Noise

EMISSION: Final = 1 << 2
ANALOG_CONTROL: Final = 1 << 4
AIMING_BEAM: Final = 1 << 8
MODULATION: Final = 1 << 12
ENABLED: Final = 1 << 14
STARTING: Final = 1 << 15
KEY_REMOTE: Final = 1 << 21
DEFINED: Final = sum(1 << bit for bit in (1, 2, 3, 4, 6, 7, 8, 11, 12, 15, 17))
"""What the status page of the YLR-200-SM-CS user guide gives a meaning; any other bit may be in any state."""
DEFINED_ON_NEWER: Final = DEFINED | sum(1 << bit for bit in (10, 14, 21, 22, 29, 30))

START_S: Final = 3.0
MESSAGE_LIMIT: Final = 256
POWER_NOISE: Final = 0.005
POWER_NOISE_W: Final = 0.03
FULL_CURRENT_A: Final = 11.0
COMMAND = re.compile(r"([A-Z]+) ?([-+]?\d*\.?\d+)?")


class World(Protocol):
    """What the laser does to the world, and what its monitors see, at a time in simulated seconds."""

    def set_current(self, t: float, percent: float) -> None:
        """Diode current in per cent of the rated one."""

    def start_emission(self, t: float, after_s: float) -> None:
        """Emit from `after_s` on, if the gate lets it."""

    def end_emission(self, t: float) -> None:
        """Emit no more, at once."""

    def set_gated(self, t: float, gated: bool) -> None:
        """Whether the modulation input, where the gate is, has a say."""

    def monitor_power_w(self, t: float) -> float:
        """What the laser's own monitor makes of its output power, without noise."""
        ...

    def case_celsius(self, t: float) -> float:
        """Temperature of the laser."""
        ...


class CommandError(Exception):
    """Answered with `ERR: ` and this text."""


class SimulatedIPGYLR:
    """A YLR under computer control: `SDC` sets the diode current in per cent, `EMON` and `EMOFF` the emission.

    Messages end in a carriage return and are not case sensitive; the blank before a value may be left out. The reply
    repeats the command, and `: ` and a value follow where there is one. Whether a client is connected changes nothing:
    a laser that emits goes on. Emission follows `EMON` after a safety start of 3 s.

    Status bits and their names: page of the YLR-200-SM-CS user guide in the EPICS database of GSECARS. Reserved bits
    are thrown anew for each reply. With `newer` bits 10, 14, 21, 22, 29 and 30 have a meaning too. `fault_bits` are
    set from the start.

    Not verified: the texts after `ERR: ` but for `Out of range`, `Emission is on` and `Keyswitch in remote` (drivers
    of others), number formats, `RNC`, `RSN`, what is answered to a message that is too long (here an error).
    """

    silence_characters: float = 0.0

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.002,
        wire: str = "tcp",
        baud: int = 57600,
        modulation: bool = True,
        newer: bool = False,
        fault_bits: int = 0,
        lowest_shown_w: float = 1.0,
        start_s: float = START_S,
    ) -> None:
        self.name = name
        self.start_s = start_s
        self.world = world
        self.clock = clock
        self.noise = noise
        self.latency_s = latency_s
        self.wire = wire
        self.baud = baud
        self.defined = DEFINED_ON_NEWER if newer else DEFINED
        self.lowest_shown_w = lowest_shown_w
        self.current_percent = 0.0
        self.filter_s = 0.2
        self.emits_from = math.inf
        self._modes = (MODULATION if modulation else 0) | fault_bits | ((ENABLED | KEY_REMOTE) if newer else 0)
        self._overrun = False
        self._queries: dict[str, Callable[[], str]] = {
            "STA": lambda: str(self._status()),
            "ROP": self._output_power,
            "RCS": lambda: f"{self.current_percent:.1f}",
            "RDC": lambda: f"{self._diode_current_a():.2f}",
            "RNC": lambda: "0.0",
            "RCT": lambda: f"{world.case_celsius(clock.monotonic()):.1f}",
            "RFV": lambda: "1.0.148",
            "RSN": lambda: "YLR1310071",
            "RFWS": lambda: f"{self.filter_s:.1f}",
        }
        self._actions: dict[str, Callable[[], None]] = {
            "EMON": self._start,
            "EMOFF": self._end,
            "EMOD": lambda: self._set_mode(MODULATION, True),
            "DMOD": lambda: self._set_mode(MODULATION, False),
            "EEC": lambda: self._set_mode(ANALOG_CONTROL, True),
            "DEC": lambda: self._set_mode(ANALOG_CONTROL, False),
            "ABN": lambda: self._aim(True),
            "ABF": lambda: self._aim(False),
            "RERR": lambda: None,
        }
        self._settings: dict[str, Callable[[float], str]] = {"SDC": self._set_current, "SFWS": self._set_filter}
        world.set_gated(clock.monotonic(), modulation)

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
            return b"?"
        return message

    async def reply(self, message: bytes) -> bytes:
        """Act on one message; every message is answered."""
        try:
            return self._answer(message.decode("ascii", "replace").strip().upper()).encode() + b"\r"
        except CommandError as error:
            return f"ERR: {error}\r".encode()

    def _answer(self, text: str) -> str:
        match = COMMAND.fullmatch(text)
        command, value = match.groups() if match else ("", None)
        if value is not None and command in self._settings:
            return f"{command}: {self._settings[command](float(value))}"
        if value is None and command in self._queries:
            return f"{command}: {self._queries[command]()}"
        if value is None and command in self._actions:
            self._actions[command]()
            return command
        raise CommandError("Command not found")

    def _start(self) -> None:
        now = self.clock.monotonic()
        if self._modes & (1 << 11):
            raise CommandError("Power supply is off")
        if math.isinf(self.emits_from):
            self.emits_from = now + self.start_s
            self.world.start_emission(now, self.start_s)

    def _end(self) -> None:
        self.emits_from = math.inf
        self.world.end_emission(self.clock.monotonic())

    def _set_current(self, percent: float) -> str:
        if not 0.0 <= percent <= 100.0:
            raise CommandError("Out of range")
        self.current_percent = round(percent, 1)
        self.world.set_current(self.clock.monotonic(), self.current_percent)
        return f"{self.current_percent:.1f}"

    def _set_filter(self, seconds: float) -> str:
        if not 0.2 <= seconds <= 5.0:
            raise CommandError("Out of Range")
        self.filter_s = seconds
        return f"{seconds:.1f}"

    def _set_mode(self, bit: int, on: bool) -> None:
        if not math.isinf(self.emits_from):
            raise CommandError("Emission is on")
        self._modes = self._modes | bit if on else self._modes & ~bit
        if bit == MODULATION:
            self.world.set_gated(self.clock.monotonic(), on)

    def _aim(self, on: bool) -> None:
        self._modes = self._modes | AIMING_BEAM if on else self._modes & ~AIMING_BEAM

    def _status(self) -> int:
        word = self._modes
        if not math.isinf(self.emits_from):
            word |= EMISSION
            if self.clock.monotonic() < self.emits_from:
                word |= STARTING
        reserved = int(self.noise.uniform() * 2**32) & ~self.defined
        return word & self.defined | reserved

    def _output_power(self) -> str:
        if math.isinf(self.emits_from):
            return "Off"
        true_w = self.world.monitor_power_w(self.clock.monotonic())
        shown_w = true_w * (1.0 + POWER_NOISE * self.noise.normal()) + POWER_NOISE_W * self.noise.normal()
        return "Low" if shown_w < self.lowest_shown_w else f"{shown_w:.1f}"

    def _diode_current_a(self) -> float:
        emitting = self.clock.monotonic() >= self.emits_from
        return FULL_CURRENT_A * self.current_percent / 100.0 if emitting else 0.0
