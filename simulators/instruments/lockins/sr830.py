"""The lock-in amplifier SR830 of Stanford Research Systems."""

import re
from typing import Any, ClassVar, Final

from ...clock import Clock
from ...noise import Noise
from ...wire.scpi import Setting, command, listed, query
from ...wire.scpi_grammar import Number, ScpiError
from .stanford import Plain, SimulatedStanfordLockIn, World, chosen, integer

SENSITIVITIES_V: Final = tuple(float(f"{m}e{e}") for e in range(-9, 1) for m in (1, 2, 5))[1:-2]
TIME_CONSTANTS_S: Final = tuple(float(f"{m}e{e}") for e in range(-5, 5) for m in (1, 3))
SATURATION: Final = 1.09  # of the full scale: 10.9 V at outputs of 10 V
RESOLUTION: Final = 2**-23  # of the full scale
RESERVES: Final = (300.0, 30.0, 3.0)  # high, normal, low noise, as parts of the full scale [S]
INPUT_LIMIT_V: Final = 1.4

RESERVE, OUTPUT, RANGE, TIME_CONSTANT = 1, 4, 16, 32
BELOW_HZ, ABOVE_HZ = 199.21, 203.12
LONGEST_ABOVE: Final = 13  # 30 s

EXTERNAL = 0
_HEADER = re.compile(r"\s*(\*?[A-Za-z]{3,4})")


class SimulatedSR830(SimulatedStanfordLockIn):
    """An SR830 on its serial line, or behind something that passes its messages on.

    What is beyond the scale is cut off there, and told; above about 200 Hz no time constant is longer than 30 s.

    Verified in the manual (revision 2.5): page 5-2 (terminators, one for each answer), `OUTP`, `OUTR`, `SNAP` and
    their numbers (5-15), `OAUX`, `SPTS` (5-16), the bits of `LIAS` and where the frequency range switches (5-23), that
    the time constant gives way (4-9). Verified in drivers that others run on the instrument: all other commands and
    their tables. Verified in the manual of the SR850: the bits of `*ESR` and `*STB`. Not verified: digits of the
    answers, saturation, resolution, reserves, time to lock, which bit an illegal parameter sets, defaults, noise
    (6 nV per root hertz), gain and phase errors. Left out: harmonics in an external reference's own signal, ratio,
    offset and expand, automatic gain, reserve and offset, synchronous and line filters, current inputs, auxiliary
    outputs, data storage.
    """

    identity: ClassVar[str] = "Stanford_Research_Systems,SR830,s/n00111,ver1.07"
    message_limit: ClassVar[int] = 256
    frequency_limit_hz: ClassVar[float] = 102e3
    digits: ClassVar[int] = 6
    overrun_event: ClassVar[int] = 1
    idle: ClassVar[int] = 3
    absent = ("*OPC", "*WAI", "*TST")

    source = Setting("FMOD", integer(1, 1), 1.0)
    trigger = Setting("RSLP", integer(2), 0.0)
    sine = Setting("SLVL", Plain(0.004, 5.0, 1.0), 1.0)
    sensitivity = Setting("SENS", integer(26, 26), 26.0)
    reserve = Setting("RMOD", integer(2, 2), 2.0)
    input = Setting("ISRC", integer(1), 0.0)
    notch = Setting("ILIN", integer(0), 0.0)
    sample_rate = Setting("SRAT", integer(14), 0.0)
    storage_mode = Setting("SEND", integer(1), 0.0)
    trigger_start = Setting("TSTR", integer(1), 0.0)
    interface = Setting("OUTX", integer(1), 0.0)
    local = Setting("LOCL", integer(2), 0.0)

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        latency_s: float = 0.005,
        density_v: float = 6e-9,
        gain: float = 2e-3,
        phase_deg: float = 0.1,
        wire: str = "serial",
        baud: int = 9600,
        reply_terminator: str = "\r",
    ) -> None:
        line: dict[str, Any] = {"wire": wire, "baud": baud, "reply_terminator": reply_terminator}
        errors: dict[str, Any] = {"density_v": density_v, "gain": gain, "phase_deg": phase_deg}
        super().__init__(name=name, world=world, clock=clock, noise=noise, latency_s=latency_s, **errors, **line)

    def reset(self) -> None:
        """Standard settings: 100 ms, X and Y on the displays."""
        super().reset()
        self._time_constant = 8
        self._displays = {1: 0, 2: 0}
        self._upper = True

    @property
    def external(self) -> bool:
        """Whether the reference comes from outside."""
        return int(self.source) == EXTERNAL

    @property
    def time_constant_s(self) -> float:
        """Of the filter."""
        return TIME_CONSTANTS_S[self._time_constant]

    @property
    def full_scale_v(self) -> float:
        """Of X and Y."""
        return SENSITIVITIES_V[int(self.sensitivity)]

    def admit(self, signal: complex) -> complex:
        """The signal as long as it is within the reserve, and cut off there."""
        limit = min(INPUT_LIMIT_V, RESERVES[int(self.reserve)] * self.full_scale_v)
        if abs(signal) <= limit:
            return signal
        self._lia |= RESERVE
        return signal * limit / abs(signal)

    def outputs(self) -> tuple[float, float]:
        """X and Y, in steps, and cut off where they are beyond the scale."""
        return self._cut(self.filtered.real), self._cut(self.filtered.imag)

    def _cut(self, value: float) -> float:
        full_scale = self.full_scale_v
        if abs(value) > SATURATION * full_scale:
            self._lia |= OUTPUT
            value = SATURATION * full_scale * (1 if value > 0 else -1)
        return round(value / (full_scale * RESOLUTION)) * full_scale * RESOLUTION

    def follow(self) -> None:
        """As all; the frequency range switches."""
        super().follow()
        detected = self._harmonic * self.frequency_hz(self._now)
        if detected < BELOW_HZ if self._upper else detected > ABOVE_HZ:
            self._upper = not self._upper
            self._lia |= RANGE
            if self._upper and self._time_constant > LONGEST_ABOVE:
                self._time_constant = LONGEST_ABOVE
                self._lia |= TIME_CONSTANT

    async def reply(self, message: bytes) -> bytes:
        """Every answer with a terminator of its own."""
        return (await super().reply(message)).replace(b";", self._terminator)

    async def _unit(self, text: str, path: str) -> str:
        return await super()._unit(_HEADER.sub(r"\1 ", text, count=1), path)  # no blank is needed after four letters

    @command("FREQ", Number(1e-3, 102e3, 1000.0))
    def _set_frequency(self, frequency_hz: float) -> None:
        if self.external or frequency_hz * self._harmonic > self.frequency_limit_hz:
            raise ScpiError(-221 if self.external else -222)
        self._internal_hz = max(round(frequency_hz, 4), 1e-3) if frequency_hz < 10 else float(f"{frequency_hz:.5g}")
        self.follow()

    @command("PHAS", Number(-360.0, 729.99, 0.0))
    def _set_phase(self, phase_deg: float) -> None:
        self.shift(phase_deg)

    @command("HARM", integer(19999, 1, 1))
    def _set_harmonic(self, harmonic: float) -> None:
        self.set_harmonic(harmonic)

    @command("OFLT", integer(len(TIME_CONSTANTS_S) - 1, 8))
    def _set_time_constant(self, number: float) -> None:
        if self._upper and number > LONGEST_ABOVE:
            raise ScpiError(-221)
        self._time_constant = int(number)

    @query("OFLT")
    def _read_time_constant(self) -> str:
        return str(self._time_constant)

    @listed("OUTP?")
    def _output(self, *arguments: str) -> str:
        (number,) = chosen(arguments, 1, 1, 1, 4)
        return self._parameter(number)

    @listed("SNAP?")
    def _snap(self, *arguments: str) -> str:
        return ",".join(map(self._parameter, chosen(arguments, 2, 6, 1, 11)))

    @listed("OUTR?")
    def _display(self, *arguments: str) -> str:
        (display,) = chosen(arguments, 1, 1, 1, 2)
        return self._parameter(9 + display)

    def _parameter(self, number: int) -> str:
        """X, Y, R, theta, four auxiliary inputs with nothing connected, frequency, two displays."""
        if number > 9:
            display = number - 9
            number = display + 2 * self._displays[display]
        values = (*self.outputs(), *self.r_theta(), 0.0, 0.0, 0.0, 0.0, self.frequency_hz(self._now))
        return self.number(values[number - 1])

    @command("DDEF", integer(2, 1, 1), integer(1), integer(0))
    def _define_display(self, display: float, shown: float, ratio: float) -> None:
        self._displays[int(display)] = int(shown)

    @query("DDEF", integer(2, 1, 1))
    def _displayed(self, display: float) -> str:
        return f"{self._displays[int(display)]},0"

    @query("OEXP", integer(3, 1, 1))
    def _offset_and_expand(self, output: float) -> str:
        return "0,0"

    @query("OAUX", integer(4, 1, 1))
    def _auxiliary_input(self, number: float) -> str:
        return "0"

    @query("SPTS")
    def _stored_points(self) -> str:
        return "0"
