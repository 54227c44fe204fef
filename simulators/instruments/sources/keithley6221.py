"""The current source Keithley 6221, with the nanovoltmeter 2182A behind its serial relay."""

import math
from typing import ClassVar, Final

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import Setting, command, query
from ...wire.scpi_grammar import Boolean, Choice, Number, ScpiError
from ..meters.keithley2182a import OVERFLOW
from .delta_mode import Circuit, Relay, RelayedMeter, Series, World
from .reading_buffer import LONGEST, ReadingBuffer

HIGHEST_A: Final = 0.105
SMALLEST_A: Final = 10e-6
OVERFLOWED, COMPLIANCE, AVAILABLE, FULL = 1 << 0, 1 << 3, 1 << 5, 1 << 9
"""Bits of the events of what is measured."""
DONE, ABORTED, RUNNING = 1 << 1, 1 << 2, 1 << 3
"""Bits of the events of what is done."""
ARMING_S: Final = 2.0
ARMING_EACH_S: Final = 8e-4
REGISTER: Final = Number(0, 65535, 0, integer=True)


class Endless(Number):
    """A number, or INFinity."""

    def parse(self, text: str) -> float:
        """The number. Raises ScpiError as for every number."""
        return math.inf if text.upper() in ("INF", "INFINITY") else super().parse(text)

    def format(self, value: float) -> str:
        """NR1 form; 9.9E37 where there is no end."""
        return "+9.9E37" if value == math.inf else super().format(value)


class Quoted:
    """Text in quotes; a quote within is written twice."""

    def parse(self, text: str) -> str:
        """The text. Raises ScpiError -104 where it has no quotes."""
        if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
            raise ScpiError(-104)
        return text[1:-1].replace(text[0] * 2, text[0])

    def format(self, value: str) -> str:
        """In quotes."""
        return f'"{value}"'


COUNT: Final = Endless(1, LONGEST, math.inf, integer=True)


class SimulatedKeithley6221(ReadingBuffer):
    """A 6221 as a source of steady current and in delta mode; `meter` says whether a 2182A is on its serial line.

    The meter has ranges, integration time and autozero of its own, set through the relay; `noise_v` is the noise of one
    of its conversions of a power line cycle (that of its ranges, unless given), `gain` the standard deviation of its
    scale. The voltage of the world, taken as that of the source too, is cut off at the compliance.

    Verified in pages of the reference manual 622x-901-01: `:SENS:DATA?`, `:SENS:DATA:FRES?` and -230 (5-15), what a
    delta reading is made of, and the high current first (5-22), a buffer as long as the series (6-12), `:TRAC` with
    its defaults, which *RST does not bring back (6-16), bits of events of what is done (11-3) and measured (11-16),
    elements and their order, the first time 0, +9.9E37 for an overflow (6-12, 13-7), that there is -241 (B-2). In the
    user's manual, of the other two modes: -221 for `:SENS:DATA?` at rest, that `:INIT` goes again, how they are
    disarmed (5-34, 5-41). In drivers that others run: all other commands, 2 s and 0.8 ms for each reading to arm. In
    what somebody shows of one: identity, `+9.9E37,+5.248E+01`. Not verified: error numbers, forms of replies to
    settings, limits, defaults, digits; that arming has the buffer filled; that the output is off until the series
    starts, on without current after it, and off once it is aborted; what compliance abort does besides; the time of a
    conversion, once more for the zero; what `:OUTP` and `:SOUR:CURR` do in a series. Left out: waveforms, sweeps, pulse
    delta, differential conductance, filters, mathematics, statistics, trigger layers, interlock, cold switching,
    several sets, `*OPC?` that waits, elements for units, compliance and average voltage; any current goes with any
    range.
    """

    identity: ClassVar[str] = "KEITHLEY INSTRUMENTS INC.,MODEL 6221,0000000,D04  /700x "

    compliance_v = Setting("[:SOURce]:CURRent:COMPliance", Number(0.1, 105, 10), 10.0)
    automatic = Setting("[:SOURce]:CURRent:RANGe:AUTO", Boolean(), False)
    range_a = Setting("[:SOURce]:CURRent:RANGe", Number(-HIGHEST_A, HIGHEST_A, HIGHEST_A), HIGHEST_A)
    source_delay_s = Setting("[:SOURce]:DELay", Number(1e-3, 999999.999, 1), 1.0)
    shield = Setting(":OUTPut:ISHield", Choice(("GUARd", "OLOW")), "OLOW")
    earthed = Setting(":OUTPut:LTEarth", Boolean(), False)
    low_a = Setting("[:SOURce]:DELTa:LOW", Number(-HIGHEST_A, 0, -SMALLEST_A), -SMALLEST_A)
    delay_s = Setting("[:SOURce]:DELTa:DELay", Number(1e-3, 9999.999, 2e-3), 2e-3)
    aborts = Setting("[:SOURce]:DELTa:CABort", Boolean(), False)
    cold = Setting("[:SOURce]:DELTa:CSWitch", Boolean(), False)
    sets = Setting("[:SOURce]:SWEep:COUNt", Number(1, 1, 1, integer=True), 1.0)
    display = Setting(":DISPlay:ENABle", Boolean(), True)
    measured_enable = Setting(":STATus:MEASurement:ENABle", REGISTER, 0.0)
    operation_enable = Setting(":STATus:OPERation:ENABle", REGISTER, 0.0)
    questionable_enable = Setting(":STATus:QUEStionable:ENABle", REGISTER, 0.0)

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.002,
        meter: bool = True,
        noise_v: float | None = None,
        gain: float = 5e-5,
        line_hz: float = 50.0,
        meter_terminator: str = "\r",
    ) -> None:
        super().__init__(name=name, clock=clock, latency_s=latency_s)
        self.connected = meter
        self.circuit = Circuit(world, clock, lambda: self.compliance_v)
        self.meter = RelayedMeter(
            name=f"{name} meter",
            world=self.circuit,
            clock=clock,
            noise=Noise(noise.seed, f"{noise.name} meter"),
            line_hz=line_hz,
            gain=gain,
            noise_v=noise_v,
        )
        self._relay = Relay(self.meter if meter else None, clock, meter_terminator)
        self._series: Series | None = None
        self._measured = self._operated = 0
        self.level_a, self.high_a, self.count = 0.0, SMALLEST_A, math.inf
        self._armed_at = math.inf
        self.begin()

    def reset(self) -> None:
        """No current, the output off."""
        self.level_a, self.high_a, self.count = 0.0, SMALLEST_A, math.inf
        self._switch_off()

    # ---- a steady current

    @command("[:SOURce]:CURRent[:LEVel][:IMMediate][:AMPLitude]", Number(-HIGHEST_A, HIGHEST_A, 0))
    def _set_level(self, ampere: float) -> None:
        self.level_a = ampere
        if not self._running:
            self.circuit.drive(ampere, on=self.circuit.on)

    @query("[:SOURce]:CURRent[:LEVel][:IMMediate][:AMPLitude]")
    def _level(self) -> str:
        return _real(self.level_a)

    @command(":OUTPut[:STATe]", Boolean())
    def _switch(self, on: bool) -> None:
        if not on:
            self._switch_off()
        elif not self._running:
            self.circuit.drive(self.level_a, on=True)

    @query(":OUTPut[:STATe]")
    def _is_on(self) -> str:
        return "1" if self.circuit.on else "0"

    @command("[:SOURce]:CLEar[:IMMediate]")
    def _clear_output(self) -> None:
        self.level_a = 0.0
        self._switch_off()

    def _switch_off(self) -> None:
        if self._series is not None:
            self._series.stop()
        self._armed_at = math.inf
        self.circuit.drive(0.0, on=False)

    # ---- delta mode

    @property
    def _running(self) -> bool:
        return self._series is not None and self._series.running

    @property
    def _amplitude_a(self) -> float:
        return 0.5 * (self.high_a - self.low_a)

    @command("[:SOURce]:DELTa:HIGH", Number(0, HIGHEST_A, SMALLEST_A))
    def _set_high(self, ampere: float) -> None:
        self.high_a, self.low_a = ampere, -ampere

    @query("[:SOURce]:DELTa:HIGH")
    def _high(self) -> str:
        return _real(self.high_a)

    @command("[:SOURce]:DELTa:COUNt", COUNT)
    def _set_count(self, readings: float) -> None:
        self.count, self.room = readings, int(min(readings, LONGEST))

    @query("[:SOURce]:DELTa:COUNt")
    def _how_many(self) -> str:
        return COUNT.format(self.count)

    @query("[:SOURce]:DELTa:NVPResent")
    def _meter_present(self) -> str:
        return "1" if self.connected else "0"

    @command("[:SOURce]:DELTa:ARM")
    def _arm(self) -> None:
        if not self.connected:
            raise ScpiError(-241)
        self._switch_off()
        self.filling = "NEXT"
        self._armed_at = self.clock.monotonic() + ARMING_S + ARMING_EACH_S * self.room

    @query("[:SOURce]:DELTa:ARM")
    def _is_armed(self) -> str:
        return "1" if self._armed else "0"

    @property
    def _armed(self) -> bool:
        return self.clock.monotonic() >= self._armed_at

    @command(":INITiate[:IMMediate]")
    def _initiate(self) -> None:
        if not self._armed or self._running:
            raise ScpiError(-221)
        self.begin()
        self._measured &= ~FULL
        self._series = Series(
            self.circuit,
            self.meter,
            self.clock,
            levels_a=(self.high_a, self.low_a),
            delay_s=self.delay_s,
            count=self.count,
            aborts=self.aborts,
            stored=self._store,
            ended=self._end,
        )
        self._series.start()

    @command("[:SOURce]:SWEep:ABORt")
    def _abort(self) -> None:
        if self._running:
            self._operated |= ABORTED
        self._switch_off()

    def _store(self, reading_v: float, time_s: float) -> None:
        self._measured |= AVAILABLE | (OVERFLOWED if reading_v == OVERFLOW else 0)
        if self.keep(reading_v, time_s):
            self._measured |= FULL

    def _end(self, in_compliance: bool) -> None:
        if in_compliance:
            self._operated |= ABORTED
            self._switch_off()
        else:
            self._operated |= DONE
            self.circuit.drive(0.0, on=True)

    @query("[:SENSe1]:DATA[:LATest]")
    def _latest(self) -> str:
        series = self._series
        if series is None or not series.running:
            raise ScpiError(-221)
        if series.latest is None:
            raise ScpiError(-230)
        series.fresh = False
        return self.told(series.n, *series.latest, self._amplitude_a)

    @query("[:SENSe1]:DATA:FRESh")
    def _freshest(self) -> str:
        if self._series is not None and self._series.running and not self._series.fresh:
            raise ScpiError(-230)
        return self._latest()

    @query(":TRACe:DATA")
    def _recall(self) -> str:
        return self.recalled(self._amplitude_a)

    @command("[:SENSe1]:AVERage[:STATe]", Boolean())
    def _set_averaging(self, on: bool) -> None:
        if on:
            raise ScpiError(-221)  # left out

    @query("[:SENSe1]:AVERage[:STATe]")
    def _averaging(self) -> str:
        return "0"

    # ---- the serial relay, and the registers

    @command(":SYSTem:COMMunicate:SERial:SEND", Quoted())
    async def _send(self, text: str) -> None:
        if self._running:
            raise ScpiError(-221)
        await self._relay.send(text)

    @query(":SYSTem:COMMunicate:SERial:ENTer")
    def _enter(self) -> str:
        return self._relay.enter()

    @query(":STATus:MEASurement[:EVENt]")
    def _measured_events(self) -> str:
        events = self._measured | (COMPLIANCE if self.circuit.in_compliance() or self.circuit.reached else 0)
        self._measured, self.circuit.reached = 0, False
        return str(events)

    @query(":STATus:MEASurement:CONDition")
    def _measured_condition(self) -> str:
        return str(COMPLIANCE if self.circuit.in_compliance() else 0)

    @query(":STATus:OPERation[:EVENt]")
    def _operation_events(self) -> str:
        events, self._operated = self._operated, 0
        return str(events)

    @query(":STATus:OPERation:CONDition")
    def _operation_condition(self) -> str:
        return str(RUNNING if self._running else 0)

    @query(":STATus:QUEStionable[:EVENt]")
    def _questionable_events(self) -> str:
        return "0"


def _real(value: float) -> str:
    return f"{value:+.6E}"
