"""One series of a Keithley 6221 in delta mode: set up and read back, armed, started, waited for, fetched."""

from typing import Any

import numpy as np

from ..errors import GarbledReply, LinkError, LinkTimeout, Refused
from ..instrument import ATTEMPTS
from ..link import Steps
from .keithley6221_replies import bits, parse_series

SET_UP = (
    ":FORM:DATA ASC",
    ":FORM:ELEM READ,TST",
    ":UNIT:VOLT:DC V",
    ":SENS:AVER:STAT 0",
    ":SOUR:SWE:COUN 1",
    ":SOUR:DELT:CAB 1",
    ":TRAC:FEED:CONT NEV",
    ":TRAC:CLE",
    ":TRAC:FEED SENS1",
    ":TRAC:TST:FORM ABS",
)
"""What every series needs besides its set-points: plain voltages, unfiltered, with times, and compliance abort."""
ROOM, FILL = ":TRAC:POIN {:.0f}", ":TRAC:FEED:CONT NEXT"
ARM, START, DATA = ":SOUR:DELT:ARM", ":INIT:IMM", ":TRAC:DATA?"
EVENTS, ERROR = ":STAT:MEAS?", ":SYST:ERR?"
COMPLIANCE = 1 << 3
"""In the register of measurement events."""

ARMING_S, ARMING_EACH_S = 10.0, 2e-3
"""Arming takes some seconds, longer for a long series."""
LOOK_S = (0.2, 2.0)
STANDING_S = 10.0
"""A series that has brought nothing new for so long, and the time of five readings, has failed."""


class DeltaSeries:
    """A series of `n` readings of a `source`, a `Keithley6221`; its steps run in the source's link."""

    def __init__(self, source: Any, n: int) -> None:
        self.source, self.link, self.n = source, source.link, n

    def run(self) -> Steps:
        """From set-up to the last reading. Raises Refused, LinkError, and leaves it to others to switch off."""
        source = self.source
        self._set_up()
        yield from self._arm()
        self._ask_events()  # of others
        self.link.write(START)
        yield from self._watch()
        self._fetch()
        reached = self._ask_events() & COMPLIANCE or source.in_compliance.get()
        source.in_compliance.put(int(bool(reached)), timestamp=source.clock.time(), force=True)

    def _set_up(self) -> None:
        source = self.source
        for command in SET_UP:
            self.link.write(command)
        self.link.assign(ROOM, self.n)
        self.link.write(FILL)
        source.fetch(
            source.compliance_abort,
            source.in_volts,
            source.averaging,
            source.room,
            source.delta_current,
            source.delta_low,
        )
        high, low = source.delta_current.get(), source.delta_low.get()
        wrong = {
            "compliance abort stays off": not source.compliance_abort.get(),
            "its readings are not in V": not source.in_volts.get(),
            "its averaging filter stays on": source.averaging.get(),
            f"its buffer has room for {source.room.get()} readings": source.room.get() != self.n,
            f"it would reverse from {high:g} to {low:g} A": abs(high + low) > 1e-3 * high,
        }
        if told := [what for what, is_so in wrong.items() if is_so]:
            raise Refused(f"{source.name}: not armed: {'; '.join(told)}")

    def _arm(self) -> Steps:
        source = self.source
        self.link.write(ARM)
        deadline = source.clock.monotonic() + ARMING_S + ARMING_EACH_S * self.n
        while True:
            yield LOOK_S[0]
            late = source.clock.monotonic() > deadline
            try:
                source.fetch(source.armed)
            except LinkTimeout:  # it may have no time for questions meanwhile
                if late:
                    raise
                continue
            if source.armed.get():
                return
            if late:
                raise Refused(f"{source.name}: it does not arm{self._why()}")

    def _watch(self) -> Steps:
        """Until all readings are there. Raises Refused where no more come."""
        source, clock = self.source, self.source.clock
        each_s = source.delta_delay.get() + 2 * source.integration.get() / 50.0 + 0.01
        stored, since, dark = 0, clock.monotonic(), 0
        while True:
            shortest, longest = LOOK_S
            yield min(longest, max(shortest, (self.n + 2 - stored) * each_s))
            source.fetch(source.output, source.in_compliance, source.stored)  # in this order: off may mean done
            if source.stored.get() >= self.n:
                return
            dark = 0 if source.output.get() else dark + 1
            if source.stored.get() != stored:
                stored, since = source.stored.get(), clock.monotonic()
            if dark > 1 or clock.monotonic() - since > STANDING_S + 5 * each_s:
                what = "has stopped" if dark > 1 else "stands still"
                raise Refused(f"{source.name}: the series {what} at {stored} of {self.n} readings{self._why()}")

    def _why(self) -> str:
        """What the source says of it, compliance first."""
        source = self.source
        try:
            reached = self._ask_events() & COMPLIANCE or source.in_compliance.get()
            error = self.link.query(ERROR)
        except LinkError as lost:
            return f" ({lost})"
        told = [f"the source was in compliance at {source.compliance.get():g} V"] if reached else []
        told += [] if error.startswith(("0,", "+0,")) else [error[:80]]
        return f": {'; '.join(told)}" if told else ""

    def _ask_events(self) -> int:
        """What has happened since it was asked last: the answer clears the register. Raises LinkError."""
        reply = self.link.query(EVENTS)
        try:
            return bits(reply)
        except ValueError as error:
            raise GarbledReply(f"{self.source.name}: {reply[:60]!r} does not answer {EVENTS} ({error})") from error

    def _fetch(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.take(self.link.query(DATA))
                return
            except LinkError:
                if attempt == ATTEMPTS:
                    raise

    def take(self, reply: str) -> None:
        """Keep the readings. Raises GarbledReply."""
        source = self.source
        try:
            delta_v, time_s = parse_series(reply, self.n)
        except ValueError as error:
            raise GarbledReply(f"{source.name}: {reply[:60]!r} is no series of {self.n} readings ({error})") from error
        stamp = source.clock.time()
        source.delta.take(delta_v, stamp)
        source.delta_time.take(time_s, stamp)
        source.overflows.take(int(np.isnan(delta_v).sum()), stamp)
