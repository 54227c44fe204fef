"""The lock-in amplifiers SR860 and SR865A of Stanford Research Systems."""

import math
import re
from typing import Any, ClassVar, Final

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import Setting, command, listed, query
from ...wire.scpi_grammar import Number, ScpiError
from .stanford import UNLOCKED, Plain, SimulatedStanfordLockIn, World, chosen, integer

SCALES_V: Final = tuple(float(f"{m}e{e}") for e in range(0, -10, -1) for m in (5, 2, 1))[2:]
TIME_CONSTANTS_S: Final = tuple(float(f"{m}e{e}") for e in range(-6, 5) for m in (1, 3))
INPUT_RANGES_V: Final = (1.0, 0.3, 0.1, 0.03, 0.01)  # peak
NOISE_BANDWIDTHS: Final = (1 / 4, 1 / 8, 3 / 32, 5 / 64)  # times the time constant, for one pole to four

INPUT_RANGE: Final = 1 << 4
LEVELS: Final = (0.1, 0.3, 0.6, 1.0)  # of the input range [S]
_UNIT = re.compile(r"\s*\*?[A-Za-z]+\??(\s+[^\s?].*)?\s*")


class SimulatedSR860(SimulatedStanfordLockIn):
    """An SR860 on a TCP socket.

    What is beyond the input range is cut off there; what is beyond the sensitivity is read all the same, and told.

    Verified in the manuals of SR860 and SR865A: page 103 (no blank before the question mark, one before arguments,
    semicolons between answers), `SNAP` and the form of its answers (SR865A, 133). Verified in the maker's own driver:
    the bits of `*ESR`, `*STB`, `LIAS` and `CUROVLDSTAT`. Verified in drivers that others run on the instruments: all
    other commands and their tables. Not verified: digits of frequency and phase, that the input ranges are peaks,
    levels of `ILVL`, time to lock, which bit an illegal parameter sets, defaults, noise (2.5 nV per root hertz, in all
    ranges), gain and phase errors, that `CAPTURERATEMAX` answers the same for all time constants. Left out: words and
    units as arguments, dual and chopped references, advanced and synchronous filters, current input, data channels,
    offset and expand, automatic range and scale, capture, scan, streaming.
    """

    identity: ClassVar[str] = "Stanford_Research_Systems,SR860,000111,v1.47"
    frequency_limit_hz: ClassVar[float] = 500e3
    digits: ClassVar[int] = 11
    overrun_event: ClassVar[int] = 2

    source = Setting("RSRC", integer(1), 0.0)
    sine = Setting("SLVL", Plain(1e-9, 2.0, 1e-9), 1e-9)
    sine_offset = Setting("SOFF", Plain(-5.0, 5.0, 0.0), 0.0)
    time_constant = Setting("OFLT", integer(len(TIME_CONSTANTS_S) - 1, 10), 10.0)
    scale = Setting("SCAL", integer(len(SCALES_V) - 1), 0.0)
    input_range = Setting("IRNG", integer(len(INPUT_RANGES_V) - 1), 0.0)
    input = Setting("ISRC", integer(1), 0.0)
    signal_input = Setting("IVMD", integer(0), 0.0)
    current_gain = Setting("ICUR", integer(1), 0.0)
    advanced = Setting("ADVFILT", integer(0), 0.0)
    trigger_mode = Setting("RTRG", integer(2, 1), 1.0)
    trigger_impedance = Setting("REFZ", integer(1, 1), 1.0)
    timebase = Setting("TBMODE", integer(1), 0.0)

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.001,
        density_v: float = 2.5e-9,
        gain: float = 2e-3,
        phase_deg: float = 0.1,
    ) -> None:
        errors: dict[str, Any] = {"density_v": density_v, "gain": gain, "phase_deg": phase_deg}
        super().__init__(name=name, world=world, clock=clock, noise=noise, latency_s=latency_s, **errors)

    @property
    def external(self) -> bool:
        """Whether the reference comes from outside."""
        return bool(self.source)

    @property
    def time_constant_s(self) -> float:
        """Of the filter."""
        return TIME_CONSTANTS_S[int(self.time_constant)]

    @property
    def limit_v(self) -> float:
        """The largest signal (rms) within the input range."""
        return INPUT_RANGES_V[int(self.input_range)] / math.sqrt(2)

    def admit(self, signal: complex) -> complex:
        """The signal as long as it is within the input range, and cut off there."""
        if abs(signal) <= self.limit_v:
            return signal
        self._lia |= INPUT_RANGE
        return signal * self.limit_v / abs(signal)

    def outputs(self) -> tuple[float, float]:
        """X and Y; the scale is that of the analogue outputs."""
        values = self.filtered.real, self.filtered.imag
        self._lia |= self._beyond_scale(values)
        return values

    def _beyond_scale(self, values: tuple[float, float]) -> int:
        scale = SCALES_V[int(self.scale)]
        return sum(1 << channel for channel, value in enumerate(values) if abs(value) > scale)

    def _signal_v(self) -> float:
        frequency = self._harmonic * self.frequency_hz(self._now)
        return abs(self.transfer * self.world.signal_v(self._now, frequency, self.sine)) if frequency else 0.0

    @query("CUROVLDSTAT")
    def _overloads(self) -> str:
        unlocked = 0 if self.locked(self._now) else UNLOCKED
        overload = INPUT_RANGE if self._signal_v() > self.limit_v else 0
        return str(self._beyond_scale(self.outputs()) | overload | unlocked)

    @query("ILVL")
    def _level(self) -> str:
        return str(sum(self._signal_v() > level * self.limit_v for level in LEVELS))

    @query("ENBW")
    def _noise_bandwidth(self) -> str:
        return self.number(NOISE_BANDWIDTHS[int(self.slope)] / self.time_constant_s)

    @listed("FREQ")
    @listed("FREQINT")
    def _set_frequency(self, *arguments: str) -> None:
        if len(arguments) != 1:
            raise ScpiError(-108 if arguments else -109)
        frequency_hz = Number(1e-3, self.frequency_limit_hz, 1e5).parse(arguments[0])
        if frequency_hz * self._harmonic > self.frequency_limit_hz:
            raise ScpiError(-222)
        self._internal_hz = float(f"{frequency_hz:.10g}")

    @query("FREQINT")
    def _internal_frequency(self) -> str:
        return self.number(self._internal_hz)

    @query("FREQEXT")
    def _external_frequency(self) -> str:
        return self.number(self.world.reference_hz(self._now))

    @command("PHAS", Number(-360000.0, 360000.0, 0.0))
    def _set_phase(self, phase_deg: float) -> None:
        self.shift(phase_deg)

    @command("HARM", integer(99, 1, 1))
    def _set_harmonic(self, harmonic: float) -> None:
        self.set_harmonic(harmonic)

    @listed("OUTP?")
    def _output(self, *arguments: str) -> str:
        (number,) = chosen(arguments, 1, 1, 0, 16)
        return self._parameter(number)

    @listed("SNAP?")
    def _snap(self, *arguments: str) -> str:
        return ",".join(map(self._parameter, chosen(arguments, 2, 3, 0, 16)))

    @query("SNAPD")
    def _snap_displays(self) -> str:
        return ",".join(map(self._parameter, range(4)))

    def _parameter(self, number: int) -> str:
        """X, Y, R, theta, and what else has a number; nothing is connected to auxiliary inputs and outputs."""
        values = {
            **dict(enumerate((*self.outputs(), *self.r_theta(), 0.0, 0.0, 0.0, 0.0))),
            10: 0.0,
            11: 0.0,
            12: self._phase_deg,
            13: self.sine,
            14: self.sine_offset,
            15: self._internal_hz,
            16: self.world.reference_hz(self._now),
        }
        if number not in values:
            raise ScpiError(-222)  # X noise and Y noise
        return self.number(values[number])

    @query("CAPTURERATEMAX")
    def _fastest_capture(self) -> str:
        return "1.25e+06"

    async def _unit(self, text: str, path: str) -> str:
        if not _UNIT.fullmatch(text):
            raise ScpiError(-102)
        return await super()._unit(text, path)


class SimulatedSR865A(SimulatedSR860):
    """An SR865A: an SR860 to 4 MHz."""

    identity: ClassVar[str] = "Stanford_Research_Systems,SR865A,000111,v1.47"
    frequency_limit_hz: ClassVar[float] = 4e6
