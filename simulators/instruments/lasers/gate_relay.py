"""The Modbus RTU Relay of Waveshare, one of its contacts at the modulation input of a laser."""

from typing import Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.modbus import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusException, RtuSlave

CHANNELS: Final = 8
FLASH_ON: Final = 0x0200
FLASH_OFF: Final = 0x0400
ON, OFF, TOGGLE = 0xFF00, 0x0000, 0x5500
FLASH_UNIT_S: Final = 0.1
LONGEST_FLASH: Final = 0x7FFF
VERSION_REGISTER: Final = 0x8000
VERSION: Final = 200
FOREVER: Final = float("inf")


class World(Protocol):
    """What the contact does to the world, at a time in simulated seconds."""

    def close_gate(self, t: float, until_s: float) -> None:
        """The contact is closed from `t` to `until_s`."""

    def open_gate(self, t: float) -> None:
        """The contact is open from `t` on."""


class SimulatedGateRelay(RtuSlave):
    """Eight relays as coils 0 to 7 of unit `address`; the contact of `channel` (from 1) is the gate.

    Function 5 closes (FF00), opens (0000) or toggles (5500) a relay. Written to 0x0200 and the channel it closes the
    relay for a time in units of 100 ms, to 0x0400 and the channel it opens it for that long. With `retriggers` such a
    time begins anew when it is written again; without, what is written while it runs is taken and has no effect.

    Protocol V3 of the maker's wiki, at second hand. Not verified: whether it retriggers, the version register, the
    exceptions, that a coil reads 1 during a pulse, the longest time.
    """

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.003,
        address: int = 1,
        baud: int = 9600,
        channel: int = 1,
        retriggers: bool = True,
    ) -> None:
        super().__init__(name=name, latency_s=latency_s, address=address, baud=baud)
        if channel not in range(1, CHANNELS + 1):
            raise ValueError(f"{name}: channel = {channel}; accepted: 1..{CHANNELS}")
        self.world = world
        self.clock = clock
        self.gate = channel - 1
        self.retriggers = retriggers
        # what each relay is until a time; afterwards it is the opposite
        self._closed = [False] * CHANNELS
        self._until = [FOREVER] * CHANNELS

    def closed(self, relay: int) -> bool:
        """Whether a relay (from 0) is closed at this instant."""
        return self._closed[relay] != (self.clock.monotonic() >= self._until[relay])

    def read_register(self, register: int) -> int:
        """The software's version. Raises ModbusException."""
        if register != VERSION_REGISTER:
            raise ModbusException(ILLEGAL_ADDRESS)
        return VERSION

    def read_coil(self, coil: int) -> bool:
        """Whether a relay is closed. Raises ModbusException."""
        if coil not in range(CHANNELS):
            raise ModbusException(ILLEGAL_ADDRESS)
        return self.closed(coil)

    def write_coil(self, coil: int, word: int) -> None:
        """Switch a relay, or flash it. Raises ModbusException."""
        relay = coil & 0xFF
        if relay not in range(CHANNELS) or coil - relay not in (0, FLASH_ON, FLASH_OFF):
            raise ModbusException(ILLEGAL_ADDRESS)
        if coil >= FLASH_ON:
            if not 1 <= word <= LONGEST_FLASH:
                raise ModbusException(ILLEGAL_VALUE)
            running = self.clock.monotonic() < self._until[relay] < FOREVER
            if self.retriggers or not running:
                self._put(relay, coil < FLASH_OFF, self.clock.monotonic() + word * FLASH_UNIT_S)
        elif word not in (ON, OFF, TOGGLE):
            raise ModbusException(ILLEGAL_VALUE)
        else:
            self._put(relay, not self.closed(relay) if word == TOGGLE else word == ON, FOREVER)

    def _put(self, relay: int, closed: bool, until_s: float) -> None:
        self._closed[relay], self._until[relay] = closed, until_s
        if relay != self.gate:
            return
        now = self.clock.monotonic()
        if closed:
            self.world.close_gate(now, until_s)
        else:
            self.world.open_gate(now)
            if until_s < FOREVER:
                self.world.close_gate(until_s, FOREVER)
