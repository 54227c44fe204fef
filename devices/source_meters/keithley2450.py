"""The source-meter Keithley 2450 over TCP: a current through a sample, and the voltage across it by four wires."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import Refused, WrongInstrument
from ..instrument import Instrument, Reading, Setpoint
from ..safe_state import SafeAction, SafeState, Seen, Watched, Way
from ..status import JobStatus
from ..visa import MessageLink

HIGHEST_A = 0.05
HIGHEST_V = 2.0
OVERFLOW = 9.9e37
OFF_SETTLING_S = 0.1

MEASURED = ':READ? "defbuffer1",READ,SOUR'
LIMIT, TRIPPED, ON = ":SOUR:CURR:VLIM?", ":SOUR:CURR:VLIM:TRIP?", ":OUTP?"
_NUMBER = r"([+-]?\d\.\d+E[+-]\d{2})"
_MEASURED = re.compile(rf"{_NUMBER},{_NUMBER}", re.ASCII)


def parse_measured(number: int) -> Callable[[str], float]:
    """A parser of readings such as `1.234567E-03,1.000000E-02`: 0 for the voltage, 1 for the current.

    NaN for an overflow. Raises ValueError for any other text: a number that has lost its end is none.
    """

    def parse(reply: str) -> float:
        match = _MEASURED.fullmatch(reply)
        if match is None:
            raise ValueError("not two numbers in the form d.dddE+dd")
        value = float(match[number + 1])
        return math.nan if abs(value) >= OVERFLOW else value

    return parse


def parse_word(right: str, *others: str) -> Callable[[str], int]:
    """A parser: 1 for the `right` word, 0 for one of the others. Raises ValueError for any other text."""

    def parse(reply: str) -> int:
        if reply not in (right, *others):
            raise ValueError(f"none of {right}, {', '.join(others)}")
        return int(reply == right)

    return parse


class Current(Setpoint):
    """The current; what is read back may differ by what the range of the source can resolve."""

    def apply(self, value: float) -> None:
        """Send and read back. Raises LimitError, Refused, LinkError."""
        self.tolerance = max(1e-3 * abs(value), 1e-8)
        super().apply(value)


class Output(Setpoint):
    """1 lets the current flow, 0 opens the circuit; both are verified."""

    def set(self, value: float) -> JobStatus:
        """Switch; the Status fails with Refused (limits in force beyond ours, no confirmation) or LinkError."""
        self.check_value(value)
        source = self.instrument
        return source.submit(source.switch_on) if value else source.link.submit(source.secure)

    def check_value(self, value: float) -> None:
        """Raises LimitError for anything but 0 and 1."""
        super().check_value(value if value in (0, 1) else math.nan)


class Keithley2450(Instrument):
    """A 2450 in its SCPI language that sources a current, measures a voltage by four wires, and reads its source back.

    Attaching selects none of that: it is refused where something else is selected. `trigger` makes one measurement of
    voltage and current where the output is on; where it is off both are NaN, and nothing is measured. The output is
    not switched on while the current or the voltage limit in force is beyond what is accepted here (as delivered the
    limit is 21 V). The current steps: with changing sign it is to cancel thermoelectric voltages. Slow ramps are for
    the plan.

    A current through the leads of a diamond cell harms nobody, but 50 mA at 2 V are 0.1 W in some micrometres of
    sample: so the output goes off at the end of a run. A pause leaves it as it is. Safe state: current 0, output off,
    its relay open.

    Verified in the Reference Manual 2450-901-01 Rev. B: identity and `*LANG?` (page B-5), `:READ?` with elements of
    the buffer and the form of its answers (6-4, 6-6), `:VLIM` and its default (6-71), `:VLIM:TRIP?` (6-72), four-wire
    sense, and that it is two-wire while the output is off (6-58), what the states of an output that is off do (6-31).
    Verified in drivers that others run on the instrument: port 5025, `:SENS:FUNC?` as `"VOLT:DC"`, `:SOUR:FUNC?`,
    `:SOUR:CURR`, `:READ:BACK`, NPLC. Not verified on an instrument: the form of replies to settings, the number of
    exponent digits, that `:TRIP?` tells of the moment and not of the past, what a reading does while the output is
    off. Left out: sourcing a voltage, sweeps, buffers, ranges, filters, the terminals at the back.
    """

    link_type: ClassVar[type[MessageLink]] = MessageLink
    link_options: ClassVar[dict[str, Any]] = {
        "identity": r"^KEITHLEY INSTRUMENTS( INC\.)?,MODEL 2450,",
        "timeout_s": 1.0,
        "chained": True,
    }
    hazard: ClassVar[str] = "thermal"

    voltage = Component(
        Reading, query=MEASURED, unit="V", parse=parse_measured(0), plausible=(-22.0, 22.0), kind=Kind.hinted
    )
    measured_current = Component(
        Reading, query=MEASURED, unit="A", parse=parse_measured(1), plausible=(-1.1, 1.1), kind=Kind.hinted
    )
    tripped = Component(Reading, query=TRIPPED, unit="", parse=parse_word("1", "0"), value=0)
    current = Component(
        Current,
        command=":SOUR:CURR {:.7g}",
        query=":SOUR:CURR?",
        unit="A",
        plausible=(-1.1, 1.1),
        limits=(-HIGHEST_A, HIGHEST_A),
    )
    output = Component(
        Output,
        command=":OUTP {:.0f}",
        query=ON,
        unit="",
        parse=parse_word("1", "0"),
        plausible=(0, 1),
        limits=(0, 1),
        value=0,
    )
    voltage_limit = Component(
        Setpoint,
        command=":SOUR:CURR:VLIM {:.6g}",
        query=LIMIT,
        unit="V",
        plausible=(0.0, 220.0),
        limits=(0.02, HIGHEST_V),
        tolerance=1e-4,
        kind=Kind.config,
    )
    integration = Component(
        Setpoint,
        command=":SENS:VOLT:NPLC {:g}",
        query=":SENS:VOLT:NPLC?",
        unit="power line cycles",
        plausible=(0.0, 20.0),
        limits=(0.01, 10.0),
        tolerance=0.005,
        kind=Kind.config,
    )
    speaks_scpi = Component(
        Reading, query="*LANG?", unit="", parse=parse_word("SCPI", "TSP", "SCPI2400"), value=0, kind=Kind.omitted
    )
    sources_current = Component(
        Reading, query=":SOUR:FUNC?", unit="", parse=parse_word("CURR", "VOLT"), value=0, kind=Kind.config
    )
    measures_voltage = Component(
        Reading,
        query=":SENS:FUNC?",
        unit="",
        parse=parse_word('"VOLT:DC"', '"CURR:DC"', '"RES"'),
        value=0,
        kind=Kind.config,
    )
    four_wires = Component(
        Reading, query=":SENS:VOLT:RSEN?", unit="", parse=parse_word("1", "0"), value=0, kind=Kind.config
    )
    reads_back = Component(
        Reading, query=":SOUR:CURR:READ:BACK?", unit="", parse=parse_word("1", "0"), value=0, kind=Kind.config
    )

    def connect(self) -> None:
        """Read the settings, and measure where the output is on. Raises WrongInstrument where they are others."""
        self.fetch(self.speaks_scpi)
        if not self.speaks_scpi.get():
            raise WrongInstrument(f"{self.name}: it does not speak SCPI; select the command set SCPI on the instrument")
        self.fetch(self.sources_current, self.measures_voltage, self.four_wires, self.reads_back)
        wanted = {
            self.sources_current: "source of current",
            self.measures_voltage: "measurement of voltage",
            self.four_wires: "4-wire sense",
            self.reads_back: "source readback",
        }
        if wrong := [what for reading, what in wanted.items() if not reading.get()]:
            raise WrongInstrument(f"{self.name}: select {', '.join(wrong)} on the instrument")
        self.fetch(self.current, self.output, self.voltage_limit, self.integration)
        self._measure()

    def acquire(self) -> None:
        """The job of `trigger`."""
        self.fetch(self.current, self.output)
        self._measure()

    def switch_on(self) -> None:
        """The job of switching the output on. Raises Refused where a limit in force is beyond ours, LinkError."""
        self.fetch(self.current, self.voltage_limit)
        for setpoint in (self.current, self.voltage_limit):
            low, high = setpoint.limits
            if not low - 1e-8 <= setpoint.get() <= high * (1 + 1e-6):
                raise Refused(
                    f"{self.output.name}: {setpoint.name} is {setpoint.get():g} {setpoint.unit}; "
                    f"set one of {low:g}..{high:g} {setpoint.unit} first"
                )
        self.link.assign(self.output.command, 1)
        self.fetch(self.output)
        if not self.output.get():
            raise Refused(f"{self.output.name}: the output stays off")

    def pause_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """Nothing: a current that stands may flow on."""
        return []

    @property
    def safe_state(self) -> SafeState:
        """Current 0, output off with its relay open; a voltage limit beyond ours while it is on is a trip."""
        off = Seen("output", ON, 0, 0)
        commands = ((":SOUR:CURR 0", None), (":OUTP:CURR:SMOD HIMP", None), (":OUTP 0", None))
        limit = Seen("voltage limit", LIMIT, 0.0, self.voltage_limit.limits[1] * (1 + 1e-6))
        return SafeState(
            ways={"off": Way((SafeAction("output off", commands, (off,), 5.0, OFF_SETTLING_S),))},
            on_loss="off",
            watched=(Watched(Seen("output", ON, 0, 1)), Watched(limit, while_on=True)),
        )

    def _measure(self) -> None:
        """Voltage, current and compliance in one exchange; without a current there is no voltage to be told."""
        if self.output.get():
            self.fetch(self.voltage, self.measured_current, self.tripped)
            return
        stamp = self.clock.time()
        for reading, value in ((self.voltage, math.nan), (self.measured_current, math.nan), (self.tripped, 0)):
            reading.put(value, timestamp=stamp, force=True)
