"""The pressure controller Druck PACE5000, with gas on the membrane of a diamond cell."""

import re
from typing import Any, ClassVar, Final, Protocol

from scipy import constants

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import Handler, ScpiInstrument, Setting, command, query
from ...wire.scpi_grammar import Boolean, Choice, Number, Parameter, ScpiError, mnemonics

RANGE_BAR: Final = 210.0
FULL_SCALE_BAR: Final = 211.0
FASTEST_BAR_PER_S: Final = 20.0
VENT_BAR_PER_S: Final = 10.0
VENTED_BAR: Final = 0.02
HEADROOM_BAR: Final = 2.0
NOISE_BAR: Final = 0.002
UNITS: Final = {
    "BAR": 1.0,
    "MBAR": 1e3,
    "HPA": 1e3,
    "KPA": 100.0,
    "MPA": 0.1,
    "PA": constants.bar,
    "PSI": constants.bar / constants.psi,
    "KG/CM2": constants.bar / (constants.g * 1e4),
}
IDLE, VENTING, VENTED, LATCHED, ABORTED = 0, 1, 2, 3, 4
AMPLITUDE: Final = ":SOURce[:PRESsure][:LEVel][:IMMediate][:AMPLitude]"
SLEW: Final = ":SOURce[:PRESsure]:SLEW"


class World(Protocol):
    """What the gas does to the world, and how tight that is, at a time in simulated seconds."""

    def set_membrane(self, t: float, bar: float, target_bar: float, bar_per_s: float) -> None:
        """From `t` on the pressure goes from `bar` to `target_bar` at a constant rate, and stays there."""

    def membrane_leak_bar_per_s(self, t: float) -> float:
        """How fast the gas leaks away when nothing regulates."""
        ...


class Plain(Number):
    """A number that is answered with seven decimals."""

    def format(self, value: float) -> str:
        """As `12.3450000`."""
        return f"{value:.7f}"


class Unit:
    """The name of a unit of pressure."""

    def parse(self, text: str) -> str:
        """In upper case. Raises ScpiError -224 for one that there is not."""
        if text.upper() not in UNITS:
            raise ScpiError(-224)
        return text.upper()

    def format(self, value: str) -> str:
        """As it is."""
        return value


ANY: Final = Number(-1e9, 1e9, 0.0)


class SimulatedPACE5000(ScpiInstrument):
    """A PACE5000 of 210 bar gauge, behind whose valves a supply of `supply_bar` stands.

    Every reply repeats a header: its full short form, whatever of it was asked. Messages end in CR LF; with `wire`
    "serial" replies end in CR, and a NUL comes before each. Pressures and rates are in the unit that is selected.

    Control takes the pressure to the set-point at the slew rate, or in the mode MAX at 20 bar/s, as far as the supply
    reaches. With control off nothing regulates and the world's leak goes on. A vent switches control off, lets the
    gas out at 10 bar/s and is over at 0.02 bar; one that is over or aborted says so until control is on or a vent is
    stopped (state 0). With `latching` it says 3 instead, and for good. `noise_bar` scatters each reading.

    Verified in the EPICS protocol files of epics-modules/ip (PACE5000.proto, PACE5000_serial.proto): headers of what
    they ask, line ends, the NUL. In pages of the SCPI manual K0472 Rev. A: output, vent commands and states 0 to 2,
    default and range of the in-limits time, header before the reply to `*STB?`, -221 and -222 among the errors. In
    what others wrote down of it: the identity, full header after `:SOUR:PRES?`, in-limits reply and band (0.01 % of
    full scale), source pressure, no effort with control off, overshoot allowed by default, vent states 3 and 4.
    Not verified: the full header for other short questions (a page of the manual has what was asked), texts and other
    numbers of errors, seven decimals, which commands a vent refuses (here control on), in-limits with control off
    (here 0), effort, all rates, slew as delivered (here MAX).
    Left out: overshoot itself, a second module, passive and gauge mode, isolation valve, registers of pressure events.
    """

    identity: ClassVar[str] = "GE Druck,Pace5000 User Interface,3213201,01.05.04"

    unit = Setting(":UNIT:PRESsure", Unit(), "BAR")
    band_percent = Setting(":SOURce[:PRESsure]:INLimits", Plain(0.0, 100.0, 0.01), 0.01)
    in_limits_s = Setting(":SOURce[:PRESsure]:INLimits:TIME", Number(2, 999, 2, integer=True), 2.0)
    overshoot = Setting(SLEW + ":OVERshoot", Boolean(), True)

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.005,
        supply_bar: float = 215.0,
        initial_bar: float = 0.0,
        noise_bar: float = NOISE_BAR,
        latching: bool = False,
        wire: str = "tcp",
        baud: int = 9600,
    ) -> None:
        end = "\r" if wire == "serial" else "\r\n"
        super().__init__(name=name, clock=clock, latency_s=latency_s, wire=wire, baud=baud, reply_terminator=end)
        self.world = world
        self.noise = noise
        self.supply_bar = supply_bar
        self.noise_bar = noise_bar
        self.latching = latching
        self._since_s, self._from_bar = clock.monotonic(), initial_bar
        self._vent, self._control = IDLE, False
        self._setpoint_bar, self._slew_bar_per_s, self._linear = 0.0, 1.0, False
        self._go()

    async def reply(self, message: bytes) -> bytes:
        """The answers to one message, on one line."""
        answer = await super().reply(message)
        return b"\0" + answer if answer and self.wire == "serial" else answer

    async def _call(
        self, handler: Handler, parameters: tuple[Parameter, ...] | None, arguments: tuple[str, ...]
    ) -> None:
        n = len(self._answers)
        await super()._call(handler, parameters, arguments)
        if len(self._answers) > n:
            self._answers[-1] = _header(handler).encode("ascii") + b" " + self._answers[-1]

    def reset(self) -> None:
        """Control off, set-point 0."""
        self._change()
        self._control = False
        self._setpoint_bar, self._slew_bar_per_s, self._linear = 0.0, 1.0, False
        self._go()

    def pressure_bar(self) -> float:
        """What there is now."""
        gone = self._rate * (self.clock.monotonic() - self._since_s)
        way = self._target_bar - self._from_bar
        return self._target_bar if gone >= abs(way) else self._from_bar + (gone if way > 0 else -gone)

    def _go(self) -> None:
        """From now on where control, vent or leak take the pressure."""
        now = self.clock.monotonic()
        if self._vent == VENTING:
            self._target_bar, self._rate = 0.0, VENT_BAR_PER_S
        elif self._control:
            reach = max(self._from_bar, self.supply_bar - HEADROOM_BAR)
            self._target_bar = min(self._setpoint_bar, reach)
            self._rate = self._slew_bar_per_s if self._linear else FASTEST_BAR_PER_S
        else:
            self._target_bar, self._rate = 0.0, self.world.membrane_leak_bar_per_s(now)
        self._since_s = now
        self.world.set_membrane(now, self._from_bar, self._target_bar, self._rate)

    def _change(self) -> None:
        """Before control, vent or set-point change: the pressure has come so far. `_go` comes after."""
        self._vent = self._vent_state()
        self._from_bar = self.pressure_bar()

    def _vent_state(self) -> int:
        if self._vent == VENTING and self.pressure_bar() <= VENTED_BAR:
            return LATCHED if self.latching else VENTED
        return self._vent

    @query(":SYSTem:ERRor")
    def _next_error(self) -> str:
        return self._errors.popleft() if self._errors else '0,"No error"'

    @query(":SENSe[:PRESsure]")
    def _measure(self) -> str:
        return self._in_unit(self.pressure_bar() + self.noise_bar * self.noise.normal())

    @query(":SENSe[:PRESsure]:INLimits")
    def _measure_in_limits(self) -> str:
        return f"{self._measure()}, {int(self._in_limits())}"

    def _in_limits(self) -> bool:
        band_bar = self.band_percent / 100.0 * FULL_SCALE_BAR
        if not self._control or abs(self.pressure_bar() - self._setpoint_bar) > band_bar:
            return False
        way_bar = max(0.0, abs(self._setpoint_bar - self._from_bar) - band_bar)
        return self.clock.monotonic() - self._since_s - way_bar / self._rate >= self.in_limits_s

    @query(":SOURce[:PRESsure]:COMPensate1")
    def _source(self) -> str:
        return self._in_unit(self.supply_bar)

    @query(":SOURce[:PRESsure]:EFFort")
    def _effort(self) -> str:
        if not self._control:
            return "0.0000000"
        if self._setpoint_bar > self._target_bar:
            return "100.0000000"
        way = self._target_bar - self.pressure_bar()
        share = self._rate / FASTEST_BAR_PER_S
        return f"{100.0 * (share if way > 0 else -share if way < 0 else 0.0) + 0.2 * self.noise.normal():.7f}"

    @query(AMPLITUDE)
    def _setpoint(self) -> str:
        return self._in_unit(self._setpoint_bar)

    @command(AMPLITUDE, ANY)
    def _set_setpoint(self, value: float) -> None:
        bar = value / UNITS[self.unit]
        if not -1.0 <= bar <= RANGE_BAR:
            raise ScpiError(-222)
        self._change()
        self._setpoint_bar = bar
        self._go()

    @query(SLEW)
    def _slew(self) -> str:
        return self._in_unit(self._slew_bar_per_s)

    @command(SLEW, ANY)
    def _set_slew(self, value: float) -> None:
        bar_per_s = value / UNITS[self.unit]
        if not 0.0 < bar_per_s <= FASTEST_BAR_PER_S:
            raise ScpiError(-222)
        self._change()
        self._slew_bar_per_s = bar_per_s
        self._go()

    @query(SLEW + ":MODE")
    def _slew_mode(self) -> str:
        return "LIN" if self._linear else "MAX"

    @command(SLEW + ":MODE", Choice(("LINear", "MAXimum")))
    def _set_slew_mode(self, mode: str) -> None:
        self._change()
        self._linear = mode == "LIN"
        self._go()

    @query(":OUTPut[:STATe]")
    def _output(self) -> str:
        return str(int(self._control))

    @command(":OUTPut[:STATe]", Boolean())
    def _set_output(self, on: bool) -> None:
        if on and self._vent_state() == VENTING:
            raise ScpiError(-221)
        self._change()
        if on and self._vent != LATCHED:
            self._vent = IDLE
        self._control = on
        self._go()

    @query(AMPLITUDE + ":VENT")
    def _vent_status(self) -> str:
        return str(self._vent_state())

    @command(AMPLITUDE + ":VENT", Number(0, 1, 0, integer=True))
    def _set_vent(self, start: float) -> None:
        self._change()
        self._control = False if start else self._control
        if start:
            self._vent = VENTING
        elif self._vent != LATCHED:
            self._vent = ABORTED if self._vent == VENTING else IDLE
        self._go()

    def _in_unit(self, bar: float) -> str:
        return f"{bar * UNITS[self.unit]:.7f}"


def _header(handler: Any) -> str:
    """The full short form of a declared query."""
    setting = getattr(handler, "__self__", None)
    pattern = setting.pattern if isinstance(setting, Setting) else handler.scpi[0][0].removesuffix("?")
    if pattern.startswith("*"):
        return str(pattern)
    return "".join(f":{mnemonics(node)[0]}" for node in re.findall(r"[A-Za-z]+\d*", pattern))
