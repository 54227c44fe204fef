"""The nanovoltmeter Keithley 2182A, reading a thermocouple and the temperature of its own terminals."""

from typing import Any, ClassVar, Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import ScpiInstrument, Setting, command, query
from ...wire.scpi_grammar import Boolean, Choice, Number, ScpiError

RANGES_V: Final = {1: (0.01, 0.1, 1.0, 10.0, 100.0), 2: (0.1, 1.0, 10.0)}
NOISE_V: Final = {0.01: 12e-9, 0.1: 40e-9, 1.0: 0.35e-6, 10.0: 4e-6, 100.0: 40e-6}
OVERRANGE: Final = 1.2
OVERFLOW: Final = 9.9e37
RESOLUTION: Final = 1e-7  # of the range: 7.5 digits
OVERHEAD_S: Final = 0.008
COLD_JUNCTION_NOISE_C: Final = 0.01
COLD_JUNCTION_RESOLUTION_C: Final = 1e-3

INTERNAL, FIRST, SECOND = 0, 1, 2


class World(Protocol):
    """What the voltmeter sees of the world, at a time in simulated seconds."""

    def emf_v(self, t: float) -> float:
        """Voltage at its first input, in volt."""
        ...

    def cold_junction_c(self, t: float) -> float:
        """What its internal sensor reads, in degrees Celsius."""
        ...


class SimulatedKeithley2182A(ScpiInstrument):
    """A 2182A with a thermocouple on channel 1, nothing on channel 2 and its internal sensor as channel 0.

    Zero and scale errors are drawn once per run: `offset_v` and `gain` are their standard deviations.

    Verified in the 2182/2182A User's Manual (2182A-900-01 Rev. B): form of the identity, channels 0, 1, 2 and what
    they are, ranges of both channels (120 V and 12 V full scale), overflow as +9.9E37, RS-232 at 9600 baud 8N1.
    Verified in drivers that others run on the instrument: `:SENS:CHAN`, `:SENS:FUNC`, `:SENS:VOLT:CHANn:RANG[:AUTO]`,
    `:SENS:VOLT:NPLC`, `:SENS:TEMP:NPLC`, `:SENS:TEMP:RTEM?`, `:READ?`, `:FETC?`, `:SENS:DATA?`, `:SYST:AZER`,
    `:SYST:LFR?`, `:DISP:ENAB`, `:TRIG:COUN`, `:TRIG:DEL`, `:TRIG:SOUR`, and readings such as +1.08673749E-07.
    Not verified: `:SENS:DATA:FRES?`, the form of replies to settings, error numbers, defaults other than NPLC 5,
    conversion times, noise, the resolution of the internal sensor, and what `:INIT` does to the next `:FETC?`.
    Left out: thermocouple tables, relative readings, filters, buffer, ratio and delta, `:CALC`, `:TRACe`, several
    readings per trigger.
    """

    identity: ClassVar[str] = "KEITHLEY INSTRUMENTS INC.,MODEL 2182A,0000000,C02  /A02"

    channel = Setting("[:SENSe]:CHANnel", Number(INTERNAL, SECOND, FIRST, integer=True), 1.0)
    voltage_nplc = Setting("[:SENSe]:VOLTage[:DC]:NPLCycles", Number(0.01, 50, 5), 5.0)
    temperature_nplc = Setting("[:SENSe]:TEMPerature:NPLCycles", Number(0.01, 50, 5), 5.0)
    autozero = Setting(":SYSTem:AZERo[:STATe]", Boolean(), True)
    display = Setting(":DISPlay:ENABle", Boolean(), True)
    trigger_source = Setting(":TRIGger:SOURce", Choice(("IMMediate",)), "IMM")
    trigger_count = Setting(":TRIGger:COUNt", Number(1, 1, 1, integer=True), 1.0)
    trigger_delay_s = Setting(":TRIGger:DELay", Number(0, 999999.999, 0), 0.0)
    continuous = Setting(":INITiate:CONTinuous", Boolean(), False)
    autorange_1 = Setting("[:SENSe]:VOLTage[:DC][:CHANnel1]:RANGe:AUTO", Boolean(), True)
    autorange_2 = Setting("[:SENSe]:VOLTage[:DC]:CHANnel2:RANGe:AUTO", Boolean(), True)

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.001,
        line_hz: float = 50.0,
        offset_v: float = 1e-6,
        gain: float = 5e-5,
        wire: str = "tcp",
        baud: int = 9600,
        reply_terminator: str = "\n",
    ) -> None:
        line: dict[str, Any] = {"wire": wire, "baud": baud, "reply_terminator": reply_terminator}
        super().__init__(name=name, clock=clock, latency_s=latency_s, **line)
        self.world = world
        self.noise = noise
        self.line_hz = line_hz
        self.offset_v = offset_v * noise.normal("offset")
        self.gain = gain * noise.normal("gain")
        self.reset()

    def reset(self) -> None:
        """Voltage on channel 1, the highest ranges, nothing read yet."""
        self._functions = {FIRST: "VOLT:DC", SECOND: "VOLT:DC"}
        self._ranges = {channel: ranges[-1] for channel, ranges in RANGES_V.items()}
        self._latest: float | None = None
        self._fresh = False

    @query(":READ")
    async def _read(self) -> str:
        await self._convert()
        return self._fetch()

    @command(":INITiate[:IMMediate]")
    async def _initiate(self) -> None:
        await self._convert()

    @command(":ABORt")
    def _abort(self) -> None:
        """Conversions are over before the next command is looked at."""

    @query(":FETCh")
    @query("[:SENSe]:DATA[:LATest]")
    def _fetch(self) -> str:
        if self._latest is None:
            raise ScpiError(-230)
        self._fresh = False
        return _reading(self._latest)

    @query("[:SENSe]:DATA:FRESh")
    async def _fetch_fresh(self) -> str:
        if not self._fresh:
            await self._convert()
        return self._fetch()

    @query("[:SENSe]:TEMPerature:RTEMperature")
    async def _read_internal(self) -> str:
        return _reading(await self._internal())

    @command("[:SENSe]:FUNCtion", Choice(("VOLTage:DC", "VOLTage", "TEMPerature"), quoted=True))
    def _set_function(self, function: str) -> None:
        if int(self.channel) == INTERNAL and function != "TEMP":
            raise ScpiError(-221)
        if function == "TEMP" and int(self.channel) != INTERNAL:
            raise ScpiError(-221)  # no thermocouple tables here
        self._functions[int(self.channel)] = "TEMP" if function == "TEMP" else "VOLT:DC"

    @query("[:SENSe]:FUNCtion")
    def _function(self) -> str:
        return f'"{self._functions.get(int(self.channel), "TEMP")}"'

    @command("[:SENSe]:VOLTage[:DC][:CHANnel1]:RANGe[:UPPer]", Number(0, 120, 100))
    def _set_range_1(self, upper_v: float) -> None:
        self._ranges[FIRST] = _range(FIRST, upper_v)
        self.autorange_1 = False

    @query("[:SENSe]:VOLTage[:DC][:CHANnel1]:RANGe[:UPPer]")
    def _range_1(self) -> str:
        return _reading(self._ranges[FIRST])

    @command("[:SENSe]:VOLTage[:DC]:CHANnel2:RANGe[:UPPer]", Number(0, 12, 10))
    def _set_range_2(self, upper_v: float) -> None:
        self._ranges[SECOND] = _range(SECOND, upper_v)
        self.autorange_2 = False

    @query("[:SENSe]:VOLTage[:DC]:CHANnel2:RANGe[:UPPer]")
    def _range_2(self) -> str:
        return _reading(self._ranges[SECOND])

    @query(":SYSTem:LFRequency")
    def _line_frequency(self) -> str:
        return f"{self.line_hz:.0f}"

    async def _convert(self) -> None:
        await self.clock.sleep(max(self.trigger_delay_s, 1e-6), self.name)
        if int(self.channel) == INTERNAL:
            self._latest = await self._internal()
        else:
            self._latest = await self._voltage(int(self.channel))
        self._fresh = True

    async def _internal(self) -> float:
        await self.clock.sleep(self._conversion_s(self.temperature_nplc), self.name)
        reading = self.world.cold_junction_c(self.clock.monotonic()) + COLD_JUNCTION_NOISE_C * self.noise.normal()
        return round(reading / COLD_JUNCTION_RESOLUTION_C) * COLD_JUNCTION_RESOLUTION_C

    async def _voltage(self, channel: int) -> float:
        """One conversion: the mean of the input over its duration, linear changes included."""
        before = self._input(channel)
        await self.clock.sleep(self._conversion_s(self.voltage_nplc), self.name)
        true = 0.5 * (before + self._input(channel))
        automatic = self.autorange_1 if channel == FIRST else self.autorange_2
        upper_v = _range(channel, abs(true) / OVERRANGE) if automatic else self._ranges[channel]
        reading = true * (1 + self.gain) + self.offset_v + self._noise_v(upper_v) * self.noise.normal()
        self._ranges[channel] = upper_v
        if abs(reading) > OVERRANGE * upper_v:
            return OVERFLOW
        return round(reading / (upper_v * RESOLUTION)) * upper_v * RESOLUTION

    def _input(self, channel: int) -> float:
        return self.world.emf_v(self.clock.monotonic()) if channel == FIRST else 0.0

    def _noise_v(self, upper_v: float) -> float:
        """White noise averages out over line cycles; below one cycle the line itself comes through [S]."""
        nplc = self.voltage_nplc
        return NOISE_V[upper_v] * (nplc**-0.5 if nplc >= 1 else 1 / nplc)

    def _conversion_s(self, nplc: float) -> float:
        """Integration, once more for the zero, and overhead [S]."""
        return (2 if self.autozero else 1) * nplc / self.line_hz + OVERHEAD_S


def _range(channel: int, voltage_v: float) -> float:
    """The lowest range that holds a voltage; the highest where none does."""
    ranges = RANGES_V[channel]
    return next((upper for upper in ranges if voltage_v <= upper), ranges[-1])


def _reading(value: Any) -> str:
    return "+9.9E37" if value == OVERFLOW else f"{value:+.8E}"
