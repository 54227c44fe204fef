"""The source-meter Keithley 2450, driving a current through a sample."""

import math
from typing import ClassVar, Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import ScpiInstrument, Setting, command, listed, query
from ...wire.scpi_grammar import Boolean, Choice, Number, ScpiError

RANGES_V: Final = (0.02, 0.2, 2.0, 20.0, 200.0)
NOISE_V: Final = {0.02: 1e-6, 0.2: 1e-6, 2.0: 1e-5, 20.0: 1e-4, 200.0: 1e-3}
RANGES_A: Final = tuple(10.0**exponent for exponent in range(-8, 1))
OVERRANGE: Final = 1.05
OVERFLOW: Final = 9.9e37
RESOLUTION: Final = 5e-7  # of the range: 6.5 digits
OVERHEAD_S: Final = 0.005
LEAST_LIMIT_V: Final = 0.02

ELEMENTS: Final = ("READ", "SOUR")
BUFFERS: Final = ("defbuffer1", "defbuffer2")


class World(Protocol):
    """The sample between its leads, at a time in simulated seconds."""

    def set_source_current(self, t: float, ampere: float) -> None:
        """From `t` on so much is driven through the outer leads."""
        ...

    def voltage_v(self, t: float) -> float:
        """Between the inner leads, without the noise of the meter."""
        ...


class SimulatedKeithley2450(ScpiInstrument):
    """A 2450 on a TCP socket, set up by somebody to source a current and to measure a voltage by four wires.

    Where the voltage would be beyond its limit less current flows, as much less as an ohmic sample needs. By two wires
    the meter sees `lead_ohm` as well. Zero and scale of the voltmeter are drawn once per run, `offset_v` and `gain`
    are their standard deviations; a current that differs from the one that is set is the world's affair.

    Verified in the Reference Manual 2450-901-01 Rev. B: identity, `*LANG` (page B-5), `:READ?`, `:MEASure?` and
    `:FETCh?` with elements of a buffer, and the form of their answers (6-2 to 6-6), `:VLIMit` and its default of 21 V
    (6-71), `:TRIPped?` (6-72), `:RSENse`, two wires while the output is off (6-58), output-off states (6-31). Verified
    in drivers that others run on the instrument: all other commands, `:SENS:FUNC?` as `"VOLT:DC"`. Not verified: form
    of replies to settings, limits of numbers, error numbers, that there is no reading while the output is off, that a
    new source function switches it off, which leads the limit holds for, noise, resolution, conversion times. Left
    out: sourcing a voltage, sweeps, delays that act, buffers beyond their names, filters, relative readings,
    protection, trigger model, terminals, two of three languages.
    """

    identity: ClassVar[str] = "KEITHLEY INSTRUMENTS,MODEL 2450,04400000,1.7.12b"

    language = Setting("*LANG", Choice(("SCPI", "TSP", "SCPI2400")), "SCPI")
    source_readback = Setting(":SOURce1:CURRent:READ:BACK", Boolean(), True)
    delay_s = Setting(":SOURce1:CURRent:DELay", Number(0, 1e4, 0), 0.0)
    delay_auto = Setting(":SOURce1:CURRent:DELay:AUTO", Boolean(), True)
    four_wires = Setting("[:SENSe1]:VOLTage[:DC]:RSENse", Boolean(), False)
    four_wires_current = Setting("[:SENSe1]:CURRent[:DC]:RSENse", Boolean(), False)
    four_wires_resistance = Setting("[:SENSe1]:RESistance:RSENse", Boolean(), False)
    voltage_nplc = Setting("[:SENSe1]:VOLTage[:DC]:NPLCycles", Number(0.01, 10, 1), 1.0)
    current_nplc = Setting("[:SENSe1]:CURRent[:DC]:NPLCycles", Number(0.01, 10, 1), 1.0)
    resistance_nplc = Setting("[:SENSe1]:RESistance:NPLCycles", Number(0.01, 10, 1), 1.0)
    autozero = Setting("[:SENSe1]:VOLTage[:DC]:AZERo[:STATe]", Boolean(), True)
    voltage_auto = Setting("[:SENSe1]:VOLTage[:DC]:RANGe:AUTO", Boolean(), True)
    source_auto = Setting(":SOURce1:CURRent:RANGe:AUTO", Boolean(), True)
    count = Setting("[:SENSe1]:COUNt", Number(1, 1, 1, integer=True), 1.0)
    function = Setting(
        "[:SENSe1]:FUNCtion[:ON]", Choice(("VOLTage[:DC]", "CURRent[:DC]", "RESistance"), quoted=True), "CURR:DC"
    )
    off_state = Setting(":OUTPut1:CURRent:SMODe", Choice(("NORMal", "ZERO", "HIMPedance", "GUARd")), "NORM")
    terminals = Setting(":ROUTe:TERMinals", Choice(("FRONt", "REAR")), "FRON")

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.001,
        line_hz: float = 50.0,
        offset_v: float = 1e-4,
        gain: float = 5e-5,
        lead_ohm: float = 0.5,
    ) -> None:
        super().__init__(name=name, clock=clock, latency_s=latency_s)
        self.world, self.noise = world, noise
        self.line_hz, self.lead_ohm = line_hz, lead_ohm
        self.offset_v = offset_v * noise.normal("offset")
        self.gain = gain * noise.normal("gain")
        self._flowing_a = 0.0
        self.reset()
        self._source, self.function, self.four_wires = "CURR", "VOLT:DC", True

    def reset(self) -> None:
        """Sources a voltage, measures a current, output off, limit 21 V, no current."""
        self._source, self._on, self._level_a, self._limit_v = "VOLT", False, 0.0, 21.0
        self._range_v, self._range_a = RANGES_V[-1], RANGES_A[-1]
        self._latest: tuple[float, float] | None = None
        self._tripped = False
        self._settle()

    # ---- the source

    @command(":SOURce1:FUNCtion[:MODE]", Choice(("VOLTage", "CURRent")))
    def _set_source(self, function: str) -> None:
        self._source, self._on = function, False
        self._settle()

    @query(":SOURce1:FUNCtion[:MODE]")
    def _source_function(self) -> str:
        return self._source

    @command(":SOURce1:CURRent[:LEVel][:IMMediate][:AMPLitude]", Number(-1.05, 1.05, 0))
    def _set_level(self, ampere: float) -> None:
        self._level_a = ampere
        self._settle()

    @query(":SOURce1:CURRent[:LEVel][:IMMediate][:AMPLitude]")
    def _level(self) -> str:
        return _number(self._level_a)

    @command(":SOURce1:CURRent:RANGe", Number(-1, 1, 1))
    def _set_source_range(self, ampere: float) -> None:
        self._range_a = next(upper for upper in RANGES_A if abs(ampere) <= upper * (1 + 1e-9))
        self.source_auto = False

    @query(":SOURce1:CURRent:RANGe")
    def _source_range(self) -> str:
        return _number(self._range_a)

    @command(":SOURce1:CURRent:VLIMit[:LEVel]", Number(-210, 210, 21))
    def _set_limit(self, volt: float) -> None:
        if abs(volt) < LEAST_LIMIT_V:
            raise ScpiError(-222)
        self._limit_v = abs(volt)
        self._settle()

    @query(":SOURce1:CURRent:VLIMit[:LEVel]")
    def _limit(self) -> str:
        return _number(self._limit_v)

    @query(":SOURce1:CURRent:VLIMit[:LEVel]:TRIPped")
    def _is_tripped(self) -> str:
        self._settle()
        return "1" if self._tripped else "0"

    @command(":OUTPut1[:STATe]", Boolean())
    def _switch(self, on: bool) -> None:
        if on and self._source != "CURR":
            raise ScpiError(-221)  # no voltage is sourced here
        self._on = on
        self._settle()

    @query(":OUTPut1[:STATe]")
    def _is_on(self) -> str:
        return "1" if self._on else "0"

    def _settle(self) -> float:
        """Let as much flow as is set and the limit allows; the voltage that the meter is at."""
        wanted = self._level_a if self._on else 0.0
        if not wanted or not self._flowing_a:
            self._flow(wanted)
        volt = self._seen_v()
        full = abs(volt * wanted / self._flowing_a) if self._flowing_a else 0.0
        self._tripped = full > self._limit_v
        self._flow(wanted * self._limit_v / full if self._tripped else wanted)
        return self._seen_v()

    def _flow(self, ampere: float) -> None:
        if not math.isclose(ampere, self._flowing_a, rel_tol=1e-9):
            self._flowing_a = ampere
            self.world.set_source_current(self.clock.monotonic(), ampere)

    def _seen_v(self) -> float:
        leads = 0.0 if self.four_wires and self._on else self.lead_ohm * self._flowing_a
        return self.world.voltage_v(self.clock.monotonic()) + leads

    # ---- the meter

    @listed(":READ?")
    async def _read(self, *arguments: str) -> str:
        elements = _elements(arguments)
        await self._convert()
        return self._tell(elements)

    @listed(":MEASure?")
    async def _measure(self, *arguments: str) -> str:
        return await self._read(*arguments)

    @listed(":MEASure:VOLTage[:DC]?")
    async def _measure_voltage(self, *arguments: str) -> str:
        self.function = "VOLT:DC"
        return await self._read(*arguments)

    @listed(":MEASure:CURRent[:DC]?")
    async def _measure_current(self, *arguments: str) -> str:
        self.function = "CURR:DC"
        return await self._read(*arguments)

    @listed(":FETCh?")
    def _fetch(self, *arguments: str) -> str:
        if self._latest is None:
            raise ScpiError(-230)
        return self._tell(_elements(arguments))

    @command("[:SENSe1]:VOLTage[:DC]:RANGe[:UPPer]", Number(-210, 210, 2))
    def _set_range(self, volt: float) -> None:
        self._range_v = _range(abs(volt))
        self.voltage_auto = False

    @query("[:SENSe1]:VOLTage[:DC]:RANGe[:UPPer]")
    def _range_upper(self) -> str:
        return _number(self._range_v)

    @query(":SYSTem:LFRequency")
    def _line_frequency(self) -> str:
        return f"{self.line_hz:.0f}"

    @command(":SYSTem:CLEar")
    def _clear_log(self) -> None:
        self._errors.clear()

    @command(":ABORt")
    def _abort(self) -> None:
        """Conversions are over before the next command is looked at."""

    async def _convert(self) -> None:
        """One conversion: the mean of the input over its duration, linear changes included."""
        if not self._on:
            raise ScpiError(-221)
        before = self._settle()
        nplc = {"VOLT:DC": self.voltage_nplc, "CURR:DC": self.current_nplc}.get(self.function, self.resistance_nplc)
        await self.clock.sleep((2 if self.autozero else 1) * nplc / self.line_hz + OVERHEAD_S, self.name)
        volt = self._meter(0.5 * (before + self._settle()), nplc)
        ampere = self._flowing_a if self.source_readback else self._level_a
        ohm = volt / ampere if ampere and volt != OVERFLOW else OVERFLOW
        self._latest = {"VOLT:DC": volt, "CURR:DC": ampere}.get(self.function, ohm), ampere

    def _meter(self, volt: float, nplc: float) -> float:
        """What the meter makes of a voltage at its input."""
        upper = _range(abs(volt) / OVERRANGE) if self.voltage_auto else self._range_v
        self._range_v = upper
        sigma = NOISE_V[upper] / math.sqrt(nplc)
        reading = volt * (1 + self.gain) + self.offset_v + sigma * self.noise.normal()
        if abs(reading) > OVERRANGE * upper:
            return OVERFLOW
        return round(reading / (upper * RESOLUTION)) * upper * RESOLUTION

    def _tell(self, elements: tuple[str, ...]) -> str:
        assert self._latest is not None
        values = dict(zip(ELEMENTS, self._latest, strict=True))
        return ",".join(_number(values[element]) for element in elements)


def _elements(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What is asked of a buffer. Raises ScpiError for other buffers and elements."""
    if arguments and arguments[0].strip("\"'") not in BUFFERS:
        raise ScpiError(-224)
    known = Choice(("READing", "SOURce"))
    return tuple(known.parse(argument) for argument in arguments[1:]) or ELEMENTS[:1]


def _range(volt: float) -> float:
    """The lowest range that holds a voltage; the highest where none does."""
    return next((upper for upper in RANGES_V if volt <= upper), RANGES_V[-1])


def _number(value: float) -> str:
    """As in `-1.375422E-11`."""
    return f"{value:.6E}"
