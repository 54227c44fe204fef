"""The lock-in amplifiers SR860 (500 kHz) and SR865A (4 MHz) of Stanford Research Systems, over TCP."""

from typing import Any, ClassVar

from ophyd import Component, Kind

from ..instrument import Reading, Setpoint
from .stanford import Chosen, Frequency, StanfordLockIn, number_of, steps

SENSITIVITIES_V = steps((1, 2, 5), 1e-9, 1.0)[::-1]
TIME_CONSTANTS_S = steps((1, 3), 1e-6, 3e4)
INPUT_RANGES_V = (1.0, 0.3, 0.1, 0.03, 0.01)


def _frequency(limit_hz: float) -> Component:
    return Component(
        Frequency,
        command="FREQ {:.10g}",
        query="FREQ?",
        unit="Hz",
        plausible=(0.0, 1.01 * limit_hz),
        limits=(1e-3, limit_hz),
        rounding=1e-6,
    )


class SR860(StanfordLockIn):
    """An SR860 to 500 kHz. X and Y are NaN while the input range is overloaded, or the external reference is lost.

    The sensitivity scales displays and analogue outputs alone: what is beyond it is read all the same. The status is
    that of the moment, and asking for it changes nothing, nor does attaching.

    Verified in the manuals of SR860 and SR865A: the syntax of messages and answers, semicolons between them (page
    103), what `SNAP` answers (SR865A, page 133). Verified in the maker's own driver: the bits of `CUROVLDSTAT`.
    Verified in drivers that others run on the instruments: the numbers of `SNAP`, the tables of `SCAL`, `OFLT` and
    `IRNG`, `OFSL`, `RSRC`, `HARM`, `SLVL`, and the limits. Not verified: to how many digits frequency and phase are
    rounded, and within which limits the answer to `PHAS?` is.
    """

    link_options: ClassVar[dict[str, Any]] = {"identity": r"^Stanford_Research_Systems,SR860,"}
    asks: ClassVar[str] = "SNAP? 0,1;IRNG?;CUROVLDSTAT?"
    scales = INPUT_RANGES_V
    overloads: ClassVar[int] = 1 << 4
    """Input range."""

    frequency = _frequency(500e3)
    sensitivity = Component(
        Chosen,
        command="SCAL {}",
        query="SCAL?",
        numbered=SENSITIVITIES_V,
        unit="V",
        limits=(SENSITIVITIES_V[-1], SENSITIVITIES_V[0]),
        kind=Kind.config,
    )
    input_range = Component(
        Chosen,
        command="IRNG {}",
        query="IRNG?",
        numbered=INPUT_RANGES_V,
        unit="V",
        limits=(INPUT_RANGES_V[-1], INPUT_RANGES_V[0]),
        kind=Kind.config,
    )
    time_constant = Component(
        Chosen,
        command="OFLT {}",
        query="OFLT?",
        numbered=TIME_CONSTANTS_S,
        unit="s",
        limits=(TIME_CONSTANTS_S[0], TIME_CONSTANTS_S[-1]),
        kind=Kind.config,
    )
    sine_out = Component(
        Setpoint,
        command="SLVL {:.9g}",
        query="SLVL?",
        unit="V",
        plausible=(0.0, 2.1),
        limits=(1e-9, 2.0),
        tolerance=1e-6,
        kind=Kind.config,
    )
    external = Component(
        Reading,
        query="RSRC?",
        unit="",
        parse=lambda reply: int(number_of((0, 1, 1, 1), reply)),
        value=0,
        kind=Kind.config,
    )


class SR865A(SR860):
    """An SR865A: an SR860 to 4 MHz."""

    link_options: ClassVar[dict[str, Any]] = {"identity": r"^Stanford_Research_Systems,SR865A,"}

    frequency = _frequency(4e6)
