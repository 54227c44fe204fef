"""The oscilloscopes R&S RTO."""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import OPERATION_COMPLETE, Setting, command, listed, query
from ...wire.scpi_grammar import Boolean, Choice, Number, ScpiError, block
from .channel import Channel
from .inputs import Inputs
from .series import LOOK_S, Series

Floats = NDArray[np.float64]

MODELS: Final = {"RTO1002": 2, "RTO1004": 4, "RTO1012": 2, "RTO1014": 4, "RTO1022": 2, "RTO1024": 4, "RTO1044": 4}
"""How many channels they have."""
LONGEST_RECORD: Final = 1_000_000
WAIT_S: Final = 10.0
FORMATS: Final = ("ASC,0", "REAL,32", "INT,16", "INT,8")

WAITING, MEASURING, ADC_STATE = 1 << 3, 1 << 4, 1 << 5
_SOURCES = ("CHANnel1", "CHANnel2", "CHANnel3", "CHANnel4", "EXTernanalog")


class World(Protocol):
    """What is at its input, and what triggers."""

    def waveform_v(self, t: float, times_s: Floats) -> Floats:
        """Voltages (n,) at times (n,) in s after a trigger at about the simulated time `t`, without noise."""
        ...

    def trigger_rate_hz(self, t: float) -> float:
        """Triggers per second at a time that may lie in the past; 0 where none comes."""
        ...


class SimulatedRTO(Inputs):
    """An RTO on a TCP socket, set up by somebody to be triggered by pulses, with one signal at `input_channel`.

    A series of acquisitions ends when as many triggers have come as were asked for, in the time that the world takes
    for them. A sample of one acquisition has noise of `noise_v`, and of `noise_share` of the vertical range; it is
    rounded to one of 256 codes, of which 253 are on the screen, and cut off at their ends. What is averaged is the mean
    of the signal at the beginning and at the end of the series. Scale and zero are drawn once per run: `gain`, and
    `offset_share` of the range, are their standard deviations.

    Verified in the RTO User Manual 1316.0827.02-06, in the maker's own driver (rsrtx 5.60), in the manuals of RTP and
    RTO6, and in drivers that others run on the instruments: as the docstring of the device has it. Verified in QCoDeS's
    driver alone: the question for the model, 253 codes over ten divisions, the scale of INT,8 and INT,16. Not verified:
    a socket of the RTO1000, defaults, limits and rounding of settings, error numbers, form of numbers, noise and
    errors, when `ARESet` acts, for how long the ADC state is kept, what `*OPC?` does without a trigger (here it waits
    for 10 s, as a simulated line has no device clear). Left out: bandwidth and interpolation, signals at the other
    inputs, trigger conditions (the triggers of the world count in every mode), envelopes, decimation modes, zoom,
    maths, high definition, segments, measurements, times in the exported data, several channels in one answer.
    """

    count = Setting(":ACQuire:COUNt", Number(1, 16777215, 1, integer=True), 1.0)
    trigger_mode = Setting(":TRIGger1:MODE", Choice(("AUTO", "NORMal", "FREerun")), "AUTO")
    trigger_source = Setting(":TRIGger1:SOURce", Choice(_SOURCES), "CHAN1")
    trigger_type = Setting(":TRIGger1:TYPE", Choice(("EDGE",)), "EDGE")
    trigger_slope = Setting(":TRIGger1:EDGE:SLOPe", Choice(("POSitive", "NEGative", "EITHer")), "POS")
    level_1_v = Setting(":TRIGger1:LEVel1[:VALue]", Number(-10, 10, 0), 0.0)
    level_5_v = Setting(":TRIGger1:LEVel5[:VALue]", Number(-10, 10, 0), 0.0)
    byte_order = Setting(":FORMat:BORDer", Choice(("LSBFirst", "MSBFirst")), "LSBF")
    with_times = Setting(":EXPort:WAVeform:INCXvalues", Boolean(), False)
    several_channels = Setting(":EXPort:WAVeform:MULTichannel", Boolean(), False)
    display = Setting(":SYSTem:DISPlay:UPDate", Boolean(), False)

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.001,
        model: str = "RTO1044",
        input_channel: int = 1,
        noise_v: float = 1e-4,
        noise_share: float = 0.004,
        gain: float = 0.01,
        offset_share: float = 0.005,
        highest_rate_hz: float = 1e5,
    ) -> None:
        if model not in MODELS:
            raise ValueError(f"{name}: model = {model!r}; accepted: {', '.join(MODELS)}")
        if input_channel not in range(1, MODELS[model] + 1):
            raise ValueError(f"{name}: input_channel = {input_channel!r}; accepted: 1 to {MODELS[model]}")
        super().__init__(name=name, clock=clock, latency_s=latency_s, n_channels=MODELS[model])
        self.world, self.noise, self.model, self.input_channel = world, noise, model, input_channel
        self.noise_v, self.noise_share, self.highest_rate_hz = noise_v, noise_share, highest_rate_hz
        self.gain, self.offset_share = gain * noise.normal("gain"), offset_share * noise.normal("offset")
        self._taken = 0
        self.reset()
        self.trigger_mode = "NORM"

    def reset(self) -> None:
        """Channel 1 on, nothing acquired, no series, text."""
        super().reset()
        self._series = Series(self.world.trigger_rate_hz, self.highest_rate_hz)
        self._format, self._axis, self._awaited = FORMATS[0], (0.0, 0.0), False

    async def _unit(self, text: str, path: str) -> str:
        self._look()
        return await super()._unit(text, path)

    @query("*IDN")
    def _identify(self) -> str:
        return f"Rohde&Schwarz,RTO,1316.1000k{self.model[-2:]}/200153,3.70.1.0"

    @query("*OPT")
    def _options(self) -> str:
        return "0"

    @query(":DIAGnostic:SERVice:WFAModel")
    def _model(self) -> str:
        return self.model

    # ---- series of acquisitions

    @command(":SINGle")
    @command(":RUNSingle")
    def _begin(self) -> None:
        if self.points > LONGEST_RECORD:
            raise ScpiError(-221)
        self._series.begin(self.clock.monotonic(), int(self.count))

    @command(":RUN")
    @command(":RUNContinous")
    def _run(self) -> None:
        self._begin()
        self._series.endless = True

    @command(":STOP")
    def _stop(self) -> None:
        if self._series.running:
            self._series.running = False
            self._end(self.clock.monotonic())

    @command(":ACQuire:ARESet:IMMediate")
    def _forget(self) -> None:
        self._series.forget()

    @query(":ACQuire:CURRent")
    def _current(self) -> str:
        return str(self._series.count)

    @query(":STATus:OPERation:CONDition")
    def _operation(self) -> str:
        if not self._series.running:
            return "0"
        return str(MEASURING | (WAITING if self.world.trigger_rate_hz(self.clock.monotonic()) < 100.0 else 0))

    @query(":STATus:QUEStionable:ADCState:CONDition")
    def _adc_state(self) -> str:
        return str(sum(channel.adc_state << 2 * (channel.number - 1) for channel in self.channels))

    @query(":STATus:QUEStionable:CONDition")
    def _questionable(self) -> str:
        return str(ADC_STATE if any(channel.adc_state for channel in self.channels) else 0)

    @command("*OPC")
    def _mark_complete(self) -> None:
        if self._series.running and not self._series.endless:
            self._awaited = True
        else:
            super()._mark_complete()

    @query("*OPC")
    async def _complete(self) -> str:  # type: ignore[override]
        await self._wait()
        return "1"

    @command("*WAI")
    async def _wait(self) -> None:  # type: ignore[override]
        series, before, since = self._series, -1, self.clock.monotonic()
        while series.running and not series.endless and self.clock.monotonic() - since < WAIT_S:
            if series.count != before:
                before, since = series.count, self.clock.monotonic()
            await self.clock.sleep(LOOK_S, self.name)
            self._look()

    @command("*CLS")
    def _clear_status(self) -> None:
        super()._clear_status()
        self._awaited = False

    def _look(self) -> None:
        ended_s = self._series.look(self.clock.monotonic())
        if ended_s is not None:
            self._end(ended_s)

    def _end(self, t: float) -> None:
        """A series is over: what was acquired becomes the waveforms."""
        if self._awaited:
            self._awaited, self._events = False, self._events | OPERATION_COMPLETE
        if n := min(self._series.count, int(self.count)):
            times = self.first_s + np.arange(self.points) / self.sample_rate
            self._axis = float(times[0]), float(times[-1])
            self._take(n, 0.5 * (self.world.waveform_v(self._series.begun_s, times) + self.world.waveform_v(t, times)))

    def _take(self, n: int, signal: Floats) -> None:
        self._taken += 1
        generator = self.noise.generator(f"series {self._taken}")
        for channel in self.channels:
            channel.codes, channel.adc_state = np.zeros(0), 0
            if channel.on:
                connected = channel.number == self.input_channel
                volts = signal * (1.0 + self.gain) if connected else np.zeros(len(signal))
                noise_v = channel.noise_v(self.noise_v, self.noise_share)
                channel.take(volts + self.offset_share * channel.range_v, noise_v, n, generator)

    # ---- waveforms

    @query(":CHANnel[:WAVeform1]:DATA:HEADer")
    def _header(self) -> str:
        first, last = self._axis
        return f"{first:.12g},{last:.12g},{len(self._with_waveform().codes)},1"

    @query(":CHANnel[:WAVeform1]:DATA[:VALues]")
    def _data(self) -> str | bytes:
        channel = self._with_waveform()
        match self._format:
            case "REAL,32":
                return block(channel.volts.astype("<f4").tobytes())
            case "INT,16":
                order = "<" if self.byte_order == "LSBF" else ">"
                return block(np.rint(256 * channel.codes).astype(f"{order}i2").tobytes())
            case "INT,8":
                return block(np.rint(channel.codes).astype("i1").tobytes())
        return ",".join(f"{volt:.6g}" for volt in channel.volts)

    def _with_waveform(self) -> Channel:
        if self._series.running and self._series.endless:
            self._end(self.clock.monotonic())
        if not len(self.channel.codes) or self.with_times or self.several_channels:
            raise ScpiError(-230)
        return self.channel

    @listed(":FORMat[:DATA]")
    def _set_format(self, *arguments: str) -> None:
        form = Choice(("ASCii", "REAL", "INT")).parse(arguments[0]) if arguments else ""
        told = f"{form},{arguments[1] if len(arguments) > 1 else 0}"
        if told not in FORMATS:
            raise ScpiError(-224 if arguments else -109)
        self._format = told

    @query(":FORMat[:DATA]")
    def _told_format(self) -> str:
        return self._format
