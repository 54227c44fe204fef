"""A relay module on a Modbus RTU line as the gate of a laser: the Modbus RTU Relay of Waveshare."""

import re
from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import LimitError, Refused, WrongInstrument
from ..instrument import Instrument, Setpoint
from ..link import Steps
from ..modbus import Coil, ModbusLink, Register
from ..safe_state import Beat, SafeAction, SafeState, Seen, Watched, Way
from ..status import JobStatus

CHANNELS = 8
CONTACT = Coil(0x0000)
FLASH_ON = Coil(0x0200, scale=10.0)
"""Closes the contact for the time written, in units of 100 ms."""
VERSION = Register(0x8000, 100.0, signed=False)

LONGEST_PULSE_S = 60.0
SETTLING_S = 0.02
"""The contact moves within this (10 ms, not verified)."""


class RelayLink(ModbusLink):
    """The line of one module: it answers with the version of its software."""

    def identify(self) -> None:
        """Compare the version, such as `2.00`, with `identity`. Raises WrongInstrument."""
        self.dirty = False  # opened or drained just now; the question itself must not clean the line again
        try:
            (version,) = self.fetch([VERSION])
        except Refused as error:
            self.dirty = True
            raise WrongInstrument(f"{self.name}: {self.known_as} does not tell its version ({error})") from error
        if self.identity is not None and not re.fullmatch(self.identity, f"{version:.2f}"):
            self.dirty = True
            raise WrongInstrument(
                f"{self.name}: version {version:.2f} answers at {self.known_as}, expected {self.identity}"
            )


class Contact(Setpoint):
    """Whether the contact is closed. It is opened here, and closed by pulses alone, so that it opens by itself."""

    def set(self, value: float) -> JobStatus:
        """Open; the Status fails with Refused or LinkError where the contact does not read open."""
        self.check_value(value)
        return self.instrument.link.submit(self.instrument.secure)

    def check_value(self, value: float) -> None:
        """Raises LimitError for anything but 0."""
        if value != 0:
            raise LimitError(f"{self.name} = {value:g} is refused: accepted is 0; pulses close it")


class Pulse(Setpoint):
    """Closes the contact for a time; it has no reading of its own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query = None

    def set(self, value: float) -> JobStatus:
        """Close for `value` seconds from now; the Status fails with Refused where the contact does not read closed."""
        self.check_value(value)
        return self.instrument.submit(lambda: self._pulse(value))

    def _pulse(self, value: float) -> Steps:
        self.check_value(value)
        relay = self.instrument
        relay.link.assign(relay.locate(self.command), value)
        yield SETTLING_S
        relay.fetch(relay.closed)
        if relay.closed.get() != 1 and relay.paused is None:
            raise Refused(f"{relay.name}: the contact did not close")


class GateRelay(Instrument):
    """One channel of the module, whose contact lets a laser emit: 1 is closed, 0 is open.

    The contact closes for a pulse of 0.1 s to a minute and opens by itself, whatever becomes of the computer. It must
    be wired so that an open contact, or a module without power, keeps the laser dark. Safe state: open, read back.

    Option: `channel`, 1 to 8. Protocol V3 of the maker's wiki, at second hand: coils 0 to 7 with functions 1 and 5,
    0x0200 and the channel for a pulse in units of 100 ms, unit 1, 9600 8N1. Not verified on a module: that a pulse
    within another one begins anew (a plan sees it where it does not: the contact opens), the version in register
    0x8000, the time of the contact, and that the coil reads 1 during a pulse.
    """

    link_type: ClassVar[type[RelayLink]] = RelayLink
    link_options: ClassVar[dict[str, Any]] = {"identity": r"\d+\.\d\d", "baud_rate": 9600, "timeout_s": 0.1}
    hazard: ClassVar[str] = "laser"
    goes_on: ClassVar[bool] = False

    closed = Component(Contact, command=CONTACT, unit="", limits=(0, 1), parse=int, value=0, kind=Kind.hinted)
    pulse = Component(Pulse, command=FLASH_ON, unit="s", limits=(0.1, LONGEST_PULSE_S), kind=Kind.omitted)

    def __init__(self, *, channel: int = 1, **kwargs: Any) -> None:
        if channel not in range(1, CHANNELS + 1):
            raise ValueError(f"options.channel = {channel!r}: accepted are 1..{CHANNELS}")
        self.channel = channel
        super().__init__(**kwargs)

    def locate(self, target: Any) -> Any:
        """The coil of this channel."""
        return Coil(target.address + self.channel - 1, target.scale) if isinstance(target, Coil) else target

    def gate_open(self) -> JobStatus:
        """Open the contact; the Status is done when it has been read back."""
        return self.closed.set(0)

    def pause(self) -> None:
        """Open, because the run is paused."""
        self.gate_open()

    def resume(self) -> None:
        """Nothing: the contact stays open until it is pulsed on purpose."""

    @property
    def safe_state(self) -> SafeState:
        """Contact open; 0.5 s are enough for one lost reply. While a guard stands here, its pulses keep it closed."""
        return SafeState(
            ways={
                "off": Way(
                    (SafeAction("gate open", ((CONTACT, 0),), (Seen("closed", CONTACT, 0, 0),), 0.5, SETTLING_S),)
                )
            },
            on_loss="off",
            watched=(Watched(Seen("closed", CONTACT, 0, 1)),),
            beat=Beat(FLASH_ON, 1.0, 0.3, timed=True),
        )
