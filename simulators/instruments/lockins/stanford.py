"""What the simulated lock-ins of Stanford Research Systems have in common: demodulator, filter, status, grammar."""

import cmath
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import BYTE, ScpiInstrument, Setting, command, listed, query
from ...wire.scpi_grammar import Number, ScpiError
from .low_pass import LowPass

MEMORY: Final = 60.0
"""Time constants after which nothing is left of what was before."""
FINE: Final = 0.01
"""Time constants to which a step of the signal is found."""
TOLERANCE: Final = 1e-5
"""A signal that is so straight, as a part of itself, is not looked at more closely."""
PULLED: Final = 0.01
"""An external reference that has changed by more than this part is a new one [S]."""

SERIAL_LIA, SERIAL_MESSAGE, SERIAL_EVENT, SERIAL_REQUEST = 8, 16, 32, 64
INPUT_OVERRUN: Final = -363
UNLOCKED: Final = 1 << 3


class World(Protocol):
    """What a lock-in sees of the world, at a time in simulated seconds.

    It is asked for the moments since it was last asked, also for those before the last change of the world.
    """

    def signal_v(self, t: float, frequency_hz: float, sine_out_v: float) -> complex:
        """Signal at its input, at the frequency that it detects: V rms and phase against the reference.

        A signal that lags has a negative phase. `sine_out_v` is the amplitude (V rms) of the lock-in's own sine, for
        a sample that hangs on it.
        """
        ...

    def reference_hz(self, t: float) -> float:
        """Frequency at its reference input; 0 where nothing comes."""
        ...


class Plain(Number):
    """A number that is answered without an exponent where it needs none."""

    def format(self, value: float) -> str:
        """As in `0.004`."""
        return f"{value:.9g}"


def integer(last: int, default: int = 0, first: int = 0) -> Number:
    """The number of a choice."""
    return Number(first, last, default, integer=True)


class SimulatedStanfordLockIn(ScpiInstrument, ABC):
    """A demodulator and a low-pass filter on the world's signal, in simulated time.

    Gain and phase of the input are wrong by what is drawn once per run: `gain` and `phase_deg` are the standard
    deviations. `density_v` is the white noise at the input, in V per root hertz. The filter is followed whenever
    something is asked or set, over all the time since; a step of the signal is found to a hundredth of the time
    constant, a gap between two moments that are looked at may be missed. Without a reference nothing adds up.
    """

    frequency_limit_hz: ClassVar[float]
    sine: ClassVar[Setting[float]]
    """Amplitude of its own oscillator in V rms."""
    digits: ClassVar[int]
    """Of what it answers."""
    overrun_event: ClassVar[int]
    idle: ClassVar[int] = 0
    """Bits of the serial poll status that are set while nothing goes on."""
    absent: ClassVar[tuple[str, ...]] = ()
    """Common commands that it does not have."""

    slope = Setting("OFSL", integer(3, 1), 1.0)
    coupling = Setting("ICPL", integer(1), 0.0)
    shield = Setting("IGND", integer(1), 0.0)
    synchronous = Setting("SYNC", integer(0), 0.0)
    override_remote = Setting("OVRM", integer(1, 1), 1.0)
    lia_enable = Setting("LIAE", Number(0, 65535, 0, integer=True), 0.0)
    error_enable = Setting("ERRE", BYTE, 0.0)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._table = {
            header: entry
            for header, entry in cls._table.items()
            if ":" not in header and header.removesuffix("?") not in cls.absent
        }

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        density_v: float,
        gain: float,
        phase_deg: float,
        **line: Any,
    ) -> None:
        super().__init__(name=name, clock=clock, **line)
        self.world = world
        self.noise = noise
        self.density_v = density_v
        self.transfer = cmath.rect(1 + gain * noise.normal("gain"), math.radians(phase_deg * noise.normal("phase")))
        self._filter = LowPass()
        self._now = clock.monotonic()
        self._lia = 0
        self.reset()

    def reset(self) -> None:
        """1 kHz from inside, no phase shift; the filter keeps what it holds."""
        self._internal_hz, self._phase_deg, self._harmonic = 1000.0, 0.0, 1

    @property
    @abstractmethod
    def external(self) -> bool:
        """Whether the reference comes from outside."""

    @property
    @abstractmethod
    def time_constant_s(self) -> float:
        """Of the filter."""

    @abstractmethod
    def admit(self, signal: complex) -> complex:
        """The signal behind the input, which may be overloaded."""

    @abstractmethod
    def outputs(self) -> tuple[float, float]:
        """X and Y, as they can be read."""

    def frequency_hz(self, t: float) -> float:
        """Frequency of the reference; 0 where there is none."""
        return self.world.reference_hz(t) if self.external else self._internal_hz

    def locked(self, t: float) -> bool:
        """Whether it follows its reference, after two periods and 5 ms, or 40 ms where that is more (not verified)."""
        if not self.external:
            return True
        frequency = self.frequency_hz(t)
        if not 0 < frequency * self._harmonic <= self.frequency_limit_hz:
            return False
        before = self.frequency_hz(max(0.0, t - max(2 / frequency + 0.005, 0.04)))
        return abs(before - frequency) <= PULLED * frequency

    def follow(self) -> None:
        """Let the filter follow the signal up to now."""
        until, tau = self.clock.monotonic(), self.time_constant_s
        if until <= self._now:
            return
        start = max(self._now, until - MEMORY * tau)
        first, n = self._demodulated(start), max(1, round(8 * (until - start) / (MEMORY * tau)))
        for k in range(n):
            a, b = (start + (until - start) * share / n for share in (k, k + 1))
            last = self._demodulated(b)
            self._follow(a, b, first, last)
            first = last
        self._filter.add_noise(until - self._now, tau, self.density_v, self.noise)
        self._now = until

    def _follow(self, start: float, stop: float, begin: complex, end: complex) -> None:
        if stop - start > FINE * self.time_constant_s:
            middle = 0.5 * (start + stop)
            between = self._demodulated(middle)
            if abs(between - 0.5 * (begin + end)) > TOLERANCE * max(abs(begin), abs(end), abs(between)):
                self._follow(start, middle, begin, between)
                self._follow(middle, stop, between, end)
                return
        self._filter.advance(stop - start, self.time_constant_s, begin, end)
        self.outputs()  # which tells of overloads on the way

    def _demodulated(self, t: float) -> complex:
        if not self.locked(t):
            self._lia |= UNLOCKED
            return 0.0
        signal = self.world.signal_v(t, self._harmonic * self.frequency_hz(t), self.sine)
        return self.admit(signal * self.transfer) * cmath.exp(-1j * math.radians(self._phase_deg))

    @property
    def filtered(self) -> complex:
        """What comes out of the filter."""
        return complex(self._filter.stages[int(self.slope)])

    def number(self, value: float) -> str:
        """A number as it answers it."""
        return f"{value:.{self.digits}g}"

    def r_theta(self) -> tuple[float, float]:
        """R and theta."""
        r, theta = cmath.polar(complex(*self.outputs()))
        return r, math.degrees(theta)

    async def _unit(self, text: str, path: str) -> str:
        self.follow()
        return await super()._unit(text, path)

    @query("PHAS")
    def _phase(self) -> str:
        return self.number(self._phase_deg)

    def shift(self, phase_deg: float) -> None:
        """Set the phase, within -180..180 deg and to the digits that it has."""
        self._phase_deg = round(math.remainder(phase_deg, 360.0), self.digits - 4)

    @command("APHS")
    def _auto_phase(self) -> None:
        self.shift(self._phase_deg + self.r_theta()[1])

    @query("HARM")
    def _read_harmonic(self) -> str:
        return str(self._harmonic)

    @query("FREQ")
    def _frequency(self) -> str:
        return self.number(self.frequency_hz(self._now))

    def set_harmonic(self, harmonic: float) -> None:
        """Raises ScpiError where it would be beyond the limit, if the reference is internal."""
        if not self.external and harmonic * self._internal_hz > self.frequency_limit_hz:
            raise ScpiError(-222)
        self._harmonic = int(harmonic)

    def fail(self, error: ScpiError) -> None:
        """Set the bit of the event register; there is no queue of errors."""
        if error.code == INPUT_OVERRUN:
            self._events |= self.overrun_event
        else:
            super().fail(error)

    @command("*CLS")
    def _clear_status(self) -> None:
        self._lia = self._events = 0

    @listed("LIAS?")
    def _read_lia(self, *bit: str) -> str:
        answer, self._lia = _taken(self._lia, bit)
        return answer

    @listed("*ESR?")
    def _read_events(self, *bit: str) -> str:
        answer, self._events = _taken(self._events, bit)
        return answer

    @listed("ERRS?")
    def _read_errors(self, *bit: str) -> str:
        return _taken(0, bit)[0]

    @listed("*STB?")
    def _status_byte(self, *bit: str) -> str:
        status = self.idle | (SERIAL_MESSAGE if self._answers else 0)
        status |= SERIAL_LIA if self._lia & int(self.lia_enable) else 0
        status |= SERIAL_EVENT if self._events & self._event_enable else 0
        status |= SERIAL_REQUEST if status & self._service_enable else 0
        return _taken(status, bit)[0]


def _taken(register: int, bit: tuple[str, ...]) -> tuple[str, int]:
    """What is answered of a register, or of one of its bits, and what is left of it. Raises ScpiError."""
    if not bit:
        return str(register), 0
    if len(bit) > 1:
        raise ScpiError(-108)
    mask = 1 << int(integer(15).parse(bit[0]))
    return str(int(bool(register & mask))), register & ~mask


def chosen(arguments: tuple[str, ...], least: int, most: int, first: int, last: int) -> list[int]:
    """The numbers of what is asked for, `least` to `most` of them. Raises ScpiError."""
    if not least <= len(arguments) <= most:
        raise ScpiError(-109 if len(arguments) < least else -108)
    return [int(integer(last, first, first).parse(text)) for text in arguments]
