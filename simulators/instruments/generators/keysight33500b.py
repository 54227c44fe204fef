"""The function generators Keysight 33500B."""

import math
import re
from typing import Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import ScpiInstrument, Setting, command, query
from ...wire.scpi_grammar import Boolean, Choice, Number, ScpiError

LIMITS_HZ: Final = {"33511B": 20e6, "33512B": 20e6, "33521B": 30e6, "33522B": 30e6}
RAMP_LIMIT_HZ: Final = 200e3
PEAK_V: Final = 5.0  # into 50 ohm
LEAST_V: Final = 1e-3  # from peak to peak, into 50 ohm
SOURCE_OHM: Final = 50.0
INFINITE: Final = 9.9e37
CREST: Final = {"SIN": 2 * math.sqrt(2), "SQU": 2.0, "TRI": 2 * math.sqrt(3), "RAMP": 2 * math.sqrt(3), "DC": 1.0}
"""From peak to peak, of an effective value of 1."""

_CHANNEL = re.compile(r"\s*:?(?P<node>SOURCE|SOUR|OUTPUT|OUTP)(?P<number>[12]?)(?=[\s:?]|$)", re.IGNORECASE)
_QUEUED = {
    -221: '-221,"Settings conflict"',
    -222: '-222,"Data out of range; value clipped to limit"',
}


class World(Protocol):
    """What the generator drives, from a time in simulated seconds on."""

    def drive(
        self, t: float, channel: int, shape: str, frequency_hz: float, amplitude_v: float, offset_v: float
    ) -> None:
        """What comes out of `channel` from `t` on: amplitude (from peak to peak) and offset behind 50 ohm, unloaded.

        Both are 0 while the output is off: the connector is open.
        """
        ...


class Load(Number):
    """A load in ohm, or INFinity."""

    def parse(self, text: str) -> float:
        """The load. Raises ScpiError as for every number."""
        return INFINITE if text.upper() in ("INF", "INFINITY") else super().parse(text)


def unlimited(default: float) -> Number:
    """A number whose limits depend on what else is set; MIN and MAX are infinite."""
    return Number(-math.inf, math.inf, default)


class Channel:
    """What is set for one output. Volts are what comes of it behind 50 ohm, unloaded."""

    def __init__(self) -> None:
        self.shape, self.frequency_hz, self.phase_deg, self.duty_percent = "SIN", 1000.0, 0.0, 50.0
        self.amplitude_v, self.offset_v, self.unit = 0.2, 0.0, "VPP"
        self.load_ohm, self.on = SOURCE_OHM, False

    @property
    def share(self) -> float:
        """What the load gets of the voltage."""
        return 1.0 if self.load_ohm == INFINITE else self.load_ohm / (self.load_ohm + SOURCE_OHM)

    @property
    def output(self) -> tuple[str, float, float, float]:
        """Shape, frequency, amplitude and offset of what comes out."""
        if not self.on:
            return self.shape, self.frequency_hz, 0.0, 0.0
        return self.shape, self.frequency_hz, 0.0 if self.shape == "DC" else self.amplitude_v, self.offset_v


class SimulatedKeysight33500B(ScpiInstrument):
    """A 33500B of two outputs on a TCP socket; `model` says to which frequency.

    What is beyond a limit is set to the limit, with an error in the queue; of amplitude and offset the one that was
    not set gives way.

    Verified in the manual of the 33500 series: what the output termination does to volts. Verified in drivers that
    others run on the instrument: the form of the identity and of numbers, the commands below, 9.9E+37 for an infinite
    load, `+0,"No error"`. Verified in the manual of the 33220A: that the amplitude gives way to an offset. Not
    verified: that an offset gives way to an amplitude, texts of errors, limits of ramps, defaults, what a new shape
    does to the frequency. Left out: other waveforms, units in arguments, dBm, levels, sweep, burst, modulation,
    trigger, coupling and combination of channels, `:APPLy`; ideal in amplitude, frequency and waveform.
    """

    sync = Setting(":OUTPut:SYNC[:STATe]", Boolean(), True)
    sync_source = Setting(":OUTPut:SYNC:SOURce", Choice(("CH1", "CH2")), "CH1")
    display = Setting(":DISPlay[:STATe]", Boolean(), True)

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.002,
        model: str = "33512B",
    ) -> None:
        if model not in LIMITS_HZ:
            raise ValueError(f"{name}: model = {model!r}; accepted: {', '.join(LIMITS_HZ)}")
        super().__init__(name=name, clock=clock, latency_s=latency_s)
        self.world = world
        self.model = model
        self._number = 1
        self.reset()
        self._told = [channel.output for channel in self.channels]

    def reset(self) -> None:
        """Sines of 1 kHz and 100 mV, off."""
        self.channels = (Channel(), Channel())

    @property
    def channel(self) -> Channel:
        """The one that is spoken of."""
        return self.channels[self._number - 1]

    @query("*IDN")
    def _identify(self) -> str:
        return f"Agilent Technologies,{self.model},MY50000001,3.05-1.19-2.00-52-00"

    async def _unit(self, text: str, path: str) -> str:
        """Of a header the channel is taken, and what is left without it belongs to that channel."""
        if match := _CHANNEL.match(text):
            self._number = int(match["number"] or 1)
            text = f":{match['node']}{text[match.end() :]}"
        elif not path or text.lstrip().startswith(":"):
            self._number = 1
        path = await super()._unit(text, path)
        self._tell()
        return path

    def _tell(self) -> None:
        for number, channel in enumerate(self.channels, start=1):
            if channel.output != self._told[number - 1]:
                self._told[number - 1] = channel.output
                self.world.drive(self.clock.monotonic(), number, *channel.output)

    def fail(self, error: ScpiError) -> None:
        """Put it into the queue in the words of this instrument."""
        super().fail(error)
        if self._errors[-1] == str(error):
            self._errors[-1] = _QUEUED.get(error.code, self._errors[-1])

    @query(":SYSTem:ERRor[:NEXT]")
    def _next_error(self) -> str:
        return self._errors.popleft() if self._errors else '+0,"No error"'

    def _clipped(self, value: float, low: float, high: float) -> float:
        if math.isfinite(value) and not low <= value <= high:
            self.fail(ScpiError(-222))
        return min(max(value, low), high)

    @property
    def _frequency_limit_hz(self) -> float:
        return RAMP_LIMIT_HZ if self.channel.shape in ("RAMP", "TRI") else LIMITS_HZ[self.model]

    @command("[:SOURce]:FREQuency[:CW]", unlimited(1000.0))
    def _set_frequency(self, frequency_hz: float) -> None:
        self.channel.frequency_hz = self._clipped(frequency_hz, 1e-6, self._frequency_limit_hz)

    @query("[:SOURce]:FREQuency[:CW]")
    def _frequency(self) -> str:
        return _real(self.channel.frequency_hz)

    @command("[:SOURce]:FUNCtion[:SHAPe]", Choice(("SINusoid", "SQUare", "TRIangle", "RAMP", "DC")))
    def _set_shape(self, shape: str) -> None:
        self.channel.shape = shape
        if self.channel.frequency_hz > self._frequency_limit_hz:
            self.channel.frequency_hz = self._frequency_limit_hz
            self.fail(ScpiError(-221))

    @query("[:SOURce]:FUNCtion[:SHAPe]")
    def _shape(self) -> str:
        return self.channel.shape

    @command("[:SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]", unlimited(0.1))
    def _set_amplitude(self, amplitude: float) -> None:
        channel = self.channel
        if channel.unit == "VRMS":
            amplitude *= CREST[channel.shape]
        # limits are those of the source: twice what it gives into 50 ohm
        channel.amplitude_v = self._clipped(amplitude / channel.share, 2 * LEAST_V, 4 * PEAK_V)
        room = 2 * PEAK_V - channel.amplitude_v / 2
        if abs(channel.offset_v) > room:
            channel.offset_v = math.copysign(room, channel.offset_v)
            self.fail(ScpiError(-221))

    @query("[:SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]")
    def _amplitude(self) -> str:
        channel = self.channel
        amplitude = channel.amplitude_v * channel.share
        return _real(amplitude / CREST[channel.shape] if channel.unit == "VRMS" else amplitude)

    @command("[:SOURce]:VOLTage[:LEVel][:IMMediate]:OFFSet", unlimited(0.0))
    def _set_offset(self, offset: float) -> None:
        channel = self.channel
        channel.offset_v = self._clipped(offset / channel.share, LEAST_V - 2 * PEAK_V, 2 * PEAK_V - LEAST_V)
        room = 2 * (2 * PEAK_V - abs(channel.offset_v))
        if channel.amplitude_v > room and channel.shape != "DC":
            channel.amplitude_v = room
            self.fail(ScpiError(-221))

    @query("[:SOURce]:VOLTage[:LEVel][:IMMediate]:OFFSet")
    def _offset(self) -> str:
        return _real(self.channel.offset_v * self.channel.share)

    @command("[:SOURce]:VOLTage:UNIT", Choice(("VPP", "VRMS")))
    def _set_unit(self, unit: str) -> None:
        self.channel.unit = unit

    @query("[:SOURce]:VOLTage:UNIT")
    def _unit_of_amplitude(self) -> str:
        return self.channel.unit

    @command("[:SOURce]:PHASe[:ADJust]", Number(-360.0, 360.0, 0.0))
    def _set_phase(self, phase_deg: float) -> None:
        self.channel.phase_deg = phase_deg

    @query("[:SOURce]:PHASe[:ADJust]")
    def _phase(self) -> str:
        return _real(self.channel.phase_deg)

    @command("[:SOURce]:FUNCtion:SQUare:DCYCle", Number(0.01, 99.99, 50.0))
    def _set_duty(self, percent: float) -> None:
        self.channel.duty_percent = percent

    @query("[:SOURce]:FUNCtion:SQUare:DCYCle")
    def _duty(self) -> str:
        return _real(self.channel.duty_percent)

    @command(":OUTPut[:STATe]", Boolean())
    def _switch(self, on: bool) -> None:
        self.channel.on = on

    @query(":OUTPut[:STATe]")
    def _is_on(self) -> str:
        return "1" if self.channel.on else "0"

    @command(":OUTPut:LOAD", Load(1.0, INFINITE, 50.0))
    def _set_load(self, load_ohm: float) -> None:
        self.channel.load_ohm = load_ohm if load_ohm <= 10e3 else INFINITE

    @query(":OUTPut:LOAD")
    def _load(self) -> str:
        return _real(self.channel.load_ohm)


def _real(value: float) -> str:
    """As in `+1.000000000000000E+03`."""
    return f"{value:+.15E}"
