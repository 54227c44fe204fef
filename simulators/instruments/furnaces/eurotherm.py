"""The temperature controller Eurotherm 3504 on a Modbus RTU line, driving the press's heater."""

from typing import Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.modbus import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusException, RtuSlave, from_word, to_word

PROCESS_VALUE: Final = 1
TARGET_SETPOINT: Final = 2
MANUAL_OUTPUT: Final = 3
WORKING_OUTPUT: Final = 4
WORKING_SETPOINT: Final = 5
SETPOINT_RATE: Final = 35
STATUS: Final = 75
SETPOINT_HIGH_LIMIT: Final = 111
SETPOINT_LOW_LIMIT: Final = 112
IDENTITY: Final = 122
AUTO_MANUAL: Final = 273

MODEL_3504: Final = 0xE440
AUTO, MANUAL = 0, 1
STATUS_MANUAL: Final = 1 << 4
STATUS_SENSOR_BREAK: Final = 1 << 5
DECIMALS: Final = 1
NO_RATE_LIMIT_K_PER_MIN: Final = 6000.0
INPUT_NOISE_C: Final = 0.05


class World(Protocol):
    """What the controller sees of the world, at a time in simulated seconds, and what it does to it."""

    def controller_celsius(self, t: float) -> float:
        """Temperature at its thermocouple input."""
        ...

    def working_setpoint_c(self, t: float) -> float:
        """Set-point on its way to the target."""
        ...

    def output_percent(self, t: float) -> float:
        """Heater output."""
        ...

    def sensor_break(self, t: float) -> bool:
        """Whether the thermocouple is broken."""
        ...

    def set_furnace(self, t: float, target_c: float, ramp_k_per_min: float) -> None:
        """Control towards a target."""

    def set_furnace_manual(self, t: float, output_percent: float) -> None:
        """Fix the output."""

    def heater_off(self, t: float) -> None:
        """Cut the heater."""


class SimulatedEurotherm3504(RtuSlave):
    """A 3504 with one loop: unit `address`, values with one implied decimal, degrees Celsius and K/min.

    It wakes up in manual with the output at zero. A rate of 0 means that the set-point steps. Going to automatic
    controls towards the target at the rate set before; going to manual keeps the output of that moment, and register 3
    then changes it. In automatic register 3 follows the output, and what is written to it is lost.

    | register | | |
    |---|---|---|
    | 1 | process value | verified (2000 and 3200 series addresses, 3504 drivers of others) |
    | 2 | target set-point, written | verified, likewise |
    | 3 | manual output, written | verified for the 3200 series; the 2000 series calls it output power |
    | 4 | working output | verified, likewise |
    | 5 | working set-point | verified, likewise |
    | 35 | set-point rate, written; units of K/min | address from 2000 series, not verified on a 3504 |
    | 75 | status: bit 4 manual, bit 5 sensor break | bits from a 3504 driver; address not verified |
    | 111, 112 | set-point limits | verified in a driver of the 3500 series; here read-only |
    | 122 | identity, 0xE440 for a 3504 | value from a 3504 driver; address from the 2000 series |
    | 273 | 0 automatic, 1 manual, written | address from the 2000 series, not verified on a 3504 |

    Not verified: exception 2 for a register that does not exist or cannot be written, 3 for a value out of range, and
    what the process value reads while the sensor is
    broken (here what the world gives), and that going to manual is bumpless. Functions 3 and 4 read the same.
    """

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.005,
        address: int = 1,
        baud: int = 9600,
        high_limit_c: float = 2526.8,
        low_limit_c: float = 0.0,
    ) -> None:
        super().__init__(name=name, latency_s=latency_s, address=address, baud=baud)
        self.world = world
        self.clock = clock
        self.noise = noise
        self.high_limit_c = high_limit_c
        self.low_limit_c = low_limit_c
        self.target_c = low_limit_c
        self.rate_k_per_min = 0.0
        self.manual_output_percent = 0.0
        self.mode = MANUAL

    def read_register(self, register: int) -> int:
        """The word in a register, of this instant. Raises ModbusException."""
        t = self.clock.monotonic()
        if register == IDENTITY:
            return MODEL_3504
        if register == AUTO_MANUAL:
            return self.mode
        if register == STATUS:
            return self._status(t)
        return to_word(self._quantity(register, t), DECIMALS)

    def check_register(self, register: int, word: int) -> None:
        """Whether a word may be written. Raises ModbusException."""
        if register == AUTO_MANUAL:
            if word not in (AUTO, MANUAL):
                raise ModbusException(ILLEGAL_VALUE)
            return
        limits = {
            TARGET_SETPOINT: (self.low_limit_c, self.high_limit_c),
            SETPOINT_RATE: (0.0, 3000.0),
            MANUAL_OUTPUT: (0.0, 100.0),
        }
        if register not in limits:
            raise ModbusException(ILLEGAL_ADDRESS)
        low, high = limits[register]
        if not low <= from_word(word, DECIMALS) <= high:
            raise ModbusException(ILLEGAL_VALUE)

    def write_register(self, register: int, word: int) -> None:
        """Write a word that has been checked, and act on it."""
        t, value = self.clock.monotonic(), from_word(word, DECIMALS)
        if register == AUTO_MANUAL:
            self._change_mode(t, word)
        elif register == MANUAL_OUTPUT:
            if self.mode == MANUAL:
                self._fix_output(t, value)
        else:
            if register == TARGET_SETPOINT:
                self.target_c = value
            else:
                self.rate_k_per_min = value
            if self.mode == AUTO:
                self._control(t)

    def _quantity(self, register: int, t: float) -> float:
        world = self.world
        if register == PROCESS_VALUE:
            return world.controller_celsius(t) + INPUT_NOISE_C * self.noise.normal()
        if register == WORKING_SETPOINT:
            return world.working_setpoint_c(t)
        if register == WORKING_OUTPUT or (register == MANUAL_OUTPUT and self.mode == AUTO):
            return world.output_percent(t)
        kept = {
            TARGET_SETPOINT: self.target_c,
            MANUAL_OUTPUT: self.manual_output_percent,
            SETPOINT_RATE: self.rate_k_per_min,
            SETPOINT_HIGH_LIMIT: self.high_limit_c,
            SETPOINT_LOW_LIMIT: self.low_limit_c,
        }
        if register not in kept:
            raise ModbusException(ILLEGAL_ADDRESS)
        return kept[register]

    def _status(self, t: float) -> int:
        manual = STATUS_MANUAL if self.mode == MANUAL else 0
        return manual | (STATUS_SENSOR_BREAK if self.world.sensor_break(t) else 0)

    def _change_mode(self, t: float, mode: int) -> None:
        if mode == self.mode:
            return
        self.mode = mode
        if mode == AUTO:
            self._control(t)
        else:
            self._fix_output(t, self.world.output_percent(t))

    def _control(self, t: float) -> None:
        self.world.set_furnace(t, self.target_c, self.rate_k_per_min or NO_RATE_LIMIT_K_PER_MIN)

    def _fix_output(self, t: float, percent: float) -> None:
        self.manual_output_percent = percent
        if percent > 0:
            self.world.set_furnace_manual(t, percent)
        else:
            self.world.heater_off(t)
