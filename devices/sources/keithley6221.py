"""The current source Keithley 6221, over TCP, in delta mode with a nanovoltmeter 2182A behind its serial relay."""

import math
from typing import Any, ClassVar

import numpy as np
from ophyd import Component, Kind

from ..errors import LinkError, LinkTimeout, NotPermitted, Refused, WrongInstrument
from ..instrument import ATTEMPTS, Instrument, Reading, Setpoint
from ..link import Steps
from ..status import JobStatus
from ..visa import MessageLink
from .delta_series import ARM, DeltaSeries
from .keithley6221_replies import (
    parse_count,
    parse_flag,
    parse_in_compliance,
    parse_number,
    parse_volts,
    parse_whole,
)
from .keithley6221_setpoints import OFF, Count, Current, Level, Output, Relayed

HIGHEST_A, HIGHEST_V = 0.05, 2.0
HIGHEST_READING_V = 1.1 * HIGHEST_V
LONGEST = 1000
STEP_A, STEP_S = 1e-4, 0.1
"""A ramp of 1 mA/s."""
ANSWER = ":SYST:COMM:SER:ENT?"


class Keithley6221(Instrument):
    """A 6221 that reverses its current (delta mode) while a 2182A, behind its serial relay, reads.

    Currents may be 50 mA, the compliance 2 V; a steady current changes by 1 mA/s while the output is on, and begins at
    0.1 mA at most. Delta mode reverses at once: how much is for `delta_current` alone, which a rig may narrow.
    `trigger` sets up, reads back, arms, starts, waits in steps and fetches; it refuses while the output is on, and
    without compliance abort it does not arm. Readings are in V. A series that stops by itself, in compliance above
    all, fails with Refused and what the source says of it. However a series ends, current zero and the output's relay
    open come after it, and are seen.

    No hazard: 2 V and 50 mA come to 0.1 W, which hurts nobody; the source keeps to its compliance by itself, and a
    series that nobody waits for any more ends after its count. So no guard owns it, and no run makes it safe. A plan
    stages it: unstaging, which the engine does on every way out, ends a series and a steady current with output zero
    and relay open, as `output` 0 does. Where its current is to heat a sample, this class is not enough.

    Attaching changes nothing: asked is whether there is a nanovoltmeter and, through the relay, for its name and
    integration time. It is refused where a series is armed.

    Verified in pages of the reference manual 622x-901-01: read commands (5-15), delta readings and the high current
    first (5-22), `:TRAC` (6-16), chains (10-16), bits of measurement events (11-16), elements, times from the first
    reading on and the overflow +9.9E37 (13-7); in the user's manual, of its other two modes: `ARM?`, and how they are
    disarmed (5-34, 5-41). In drivers that others run: all other commands but `:TRAC:TST:FORM`, the LAN port 1394, that
    the low current follows the high one. In what somebody shows of one: the identity, `+9.9E37,+5.248E+01`. Not
    verified on an instrument: whether the output is on while it is armed, and after the last reading; that compliance
    abort switches it off and leaves bit 3 of the events; that off opens the relay; that `ENT?` waits for the meter,
    and how its reply ends; how long arming takes, and what is answered meanwhile.
    """

    link_type: ClassVar[type[MessageLink]] = MessageLink
    link_options: ClassVar[dict[str, Any]] = {
        "identity": r"^KEITHLEY INSTRUMENTS INC\., ?MODEL 6221\b",
        "timeout_s": 2.0,
        "chained": True,
    }

    delta = Component(
        Reading,
        query=None,
        unit="V",
        parse=np.asarray,
        plausible=(-HIGHEST_READING_V, HIGHEST_READING_V),
        value=np.zeros(0),
        kind=Kind.hinted,
    )
    delta_time = Component(Reading, query=None, unit="s", parse=np.asarray, plausible=(0.0, 1e7), value=np.zeros(0))
    overflows = Component(Reading, query=None, unit="", parse=int, value=0)
    in_compliance = Component(Reading, query=":STAT:MEAS:COND?", unit="", parse=parse_in_compliance, value=0)
    delta_current = Component(
        Level,
        command=":SOUR:DELT:HIGH {:.6g}",
        query=":SOUR:DELT:HIGH?",
        unit="A",
        parse=parse_number,
        plausible=(0.0, 0.106),
        limits=(1e-9, HIGHEST_A),
    )
    current = Component(
        Current,
        command=":SOUR:CURR {:.6g}",
        query=":SOUR:CURR?",
        unit="A",
        parse=parse_number,
        plausible=(-0.106, 0.106),
        limits=(-HIGHEST_A, HIGHEST_A),
    )
    output = Component(
        Output, command=":OUTP:STAT {:.0f}", query=":OUTP:STAT?", unit="", parse=parse_flag, limits=(0, 1), value=0
    )
    compliance = Component(
        Setpoint,
        command=":SOUR:CURR:COMP {:.6g}",
        query=":SOUR:CURR:COMP?",
        unit="V",
        parse=parse_number,
        plausible=(0.0, 106.0),
        limits=(0.1, HIGHEST_V),
        tolerance=0.011,
        kind=Kind.config,
    )
    delta_delay = Component(
        Setpoint,
        command=":SOUR:DELT:DEL {:.6g}",
        query=":SOUR:DELT:DEL?",
        unit="s",
        parse=parse_number,
        plausible=(0.0, 1e4),
        limits=(1e-3, 9999.0),
        tolerance=6e-4,
        kind=Kind.config,
    )
    delta_count = Component(
        Count,
        command=":SOUR:DELT:COUN {:.0f}",
        query=":SOUR:DELT:COUN?",
        unit="",
        parse=parse_count,
        plausible=(1, 65536),
        limits=(1, LONGEST),
        kind=Kind.config,
    )
    integration = Component(
        Relayed,
        command=":SENS:VOLT:NPLC {:g}",
        asked=":SENS:VOLT:NPLC?",
        unit="power line cycles",
        parse=parse_number,
        plausible=(0.01, 60.0),
        limits=(0.01, 50.0),
        tolerance=0.005,
        kind=Kind.config,
    )
    delta_low = Component(
        Reading, query=":SOUR:DELT:LOW?", unit="A", parse=parse_number, plausible=(-0.106, 0.0), kind=Kind.config
    )
    compliance_abort = Component(Reading, query=":SOUR:DELT:CAB?", unit="", parse=parse_flag, value=0, kind=Kind.config)
    in_volts = Component(Reading, query=":UNIT:VOLT:DC?", unit="", parse=parse_volts, value=0, kind=Kind.omitted)
    averaging = Component(Reading, query=":SENS:AVER:STAT?", unit="", parse=parse_flag, value=0, kind=Kind.omitted)
    nanovoltmeter = Component(Reading, query=":SOUR:DELT:NVPR?", unit="", parse=parse_flag, value=0, kind=Kind.omitted)
    armed = Component(Reading, query=f"{ARM}?", unit="", parse=parse_flag, value=0, kind=Kind.omitted)
    room = Component(
        Reading, query=":TRAC:POIN?", unit="", parse=parse_whole, plausible=(1, 65536), value=1, kind=Kind.omitted
    )
    stored = Component(
        Reading, query=":TRAC:POIN:ACT?", unit="", parse=parse_whole, plausible=(0, 65536), value=0, kind=Kind.omitted
    )

    link: MessageLink
    _series: JobStatus | None = None
    _ramp_ends = False

    def connect(self) -> None:
        """Read everything. Raises WrongInstrument where a series is armed, or no 2182A answers behind the relay."""
        super().connect()
        if self.armed.get():
            raise WrongInstrument(f"{self.name}: a series is armed, or runs; end it on the instrument first")
        if not self.nanovoltmeter.get():
            raise WrongInstrument(f"{self.name}: it finds no nanovoltmeter on its serial line; see to cable and rate")
        identity, _, cycles = self.ask_meter(f"*IDN?;{self.integration.asked}").rpartition(";")
        if "MODEL 2182A" not in identity:
            raise WrongInstrument(f"{self.name}: {identity[:80]!r} answers behind the relay, expected a MODEL 2182A")
        self.integration.take(cycles, self.clock.time())
        self.resize()

    def resize(self) -> None:
        """Arrays as long as the next series, of no numbers, where they are not: it can be described before it is."""
        count = self.delta_count.get()
        n = 0 if math.isnan(count) else int(count)
        if len(self.delta.get()) != n:
            for array in (self.delta, self.delta_time):
                array.take(np.full(n, np.nan), self.clock.time())

    def ask_meter(self, question: str) -> str:
        """The answer of the meter behind the relay; called in the link's thread. Raises WrongInstrument, LinkError."""
        self.link.write(f':SYST:COMM:SER:SEND "{question}"')
        try:
            for _ in range(ATTEMPTS):
                if reply := self.link.query(ANSWER):
                    return reply
        except LinkTimeout as error:
            raise WrongInstrument(f"{self.name}: the meter behind the relay does not answer") from error
        raise WrongInstrument(f"{self.name}: the meter behind the relay answers nothing")

    def check_disarmed(self) -> None:
        """Raises Refused where a series is armed, as last read."""
        if self.armed.get():
            raise Refused(f"{self.name}: a series is armed; set {self.output.name} to 0 first")

    def check_idle(self) -> None:
        """Raises Refused where the output is on or a series is armed; called in the link's thread."""
        self.fetch(self.output, self.armed)
        self.check_disarmed()
        if self.output.get():
            raise Refused(f"{self.name}: its output is on; set {self.output.name} to 0 first")

    # ---- a steady current

    def energise(self) -> None:
        """The job of switching the output on. Raises Refused, LimitError, LinkError."""
        self.fetch(self.armed, self.current, self.compliance)
        self.check_disarmed()
        if abs(self.current.get()) > STEP_A:
            raise Refused(
                f"{self.output.name}: the current is set to {self.current.get():g} A; accepted are {STEP_A:g} A at "
                "most, to ramp from once the output is on"
            )
        self.compliance.check_value(self.compliance.get())
        self.output.apply(1)

    def ramp(self, target: float) -> Steps:
        """The job of a new steady current. Raises Refused, LinkError."""
        self._ramp_ends = False
        self.fetch(self.output, self.current, self.armed)
        self.check_disarmed()
        start, steps = self.current.get(), 1
        if self.output.get():
            steps = max(1, math.ceil(abs(target - start) / STEP_A - 1e-6))
        for step in range(1, steps + 1):
            asked = start + (target - start) * step / steps
            self.current.apply(asked)
            if step < steps:
                yield STEP_S
                self.fetch(self.output, self.current)
                ended = "" if self.output.get() else "the output is off"
                if self._ramp_ends or abs(self.current.get() - asked) > self.current.tolerance:
                    ended = ended or f"it stands at {self.current.get():g} A"
                if ended:
                    raise Refused(f"{self.current.name}: the ramp to {target:g} A was ended, {ended}")

    def stop_ramp(self) -> None:
        """End a ramp where it is; its Status fails with Refused."""
        self._ramp_ends = True

    # ---- a series

    def trigger(self) -> JobStatus:
        """Take a series; the Status fails with Refused, LimitError or LinkError where there is none to be had."""
        self._series = self.link.submit(self.acquire)
        return self._series

    def unstage(self) -> list[Any]:
        """End what still flows: output zero, relay open."""
        if self.output.get() or (self._series is not None and not self._series.done):
            self.bring_about(OFF, urgent=True)
        return list(super().unstage())

    def acquire(self) -> Steps:
        """The job of `trigger`."""
        self.check_idle()
        series = (self.compliance, self.delta_current, self.delta_delay, self.delta_count)
        self.fetch(*series)
        for setpoint in series:
            setpoint.check_value(setpoint.get())
        failure: Exception | None = None
        try:
            yield from DeltaSeries(self, int(self.delta_count.get())).run()
        except NotPermitted:
            raise
        except (LinkError, Refused) as error:
            failure = error
        try:
            yield from self._bring_about(OFF)
        except (LinkError, Refused) as error:
            raise Refused(str(error) if failure is None else f"{failure}; then {error}") from error
        if failure is not None:
            raise failure

    def _read_readings(self) -> tuple[Reading, ...]:
        """With those that come with a series, and have no question of their own."""
        return (self.delta, self.delta_time, self.overflows, *super()._read_readings())
