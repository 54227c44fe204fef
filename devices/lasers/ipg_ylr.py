"""The fibre laser IPG YLR, over TCP or its serial line."""

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import GarbledReply, LimitError, LinkError, Refused, WrongInstrument
from ..instrument import Instrument, Reading, Setpoint
from ..link import Steps
from ..safe_state import SafeAction, SafeState, Seen, Watched, Way
from ..status import JobStatus
from ..visa import MessageLink

EMISSION = 1 << 2
ANALOG_CONTROL = 1 << 4
MODULATION = 1 << 12
STARTING = 1 << 15
FAULTS = {
    1: "overtemperature",
    3: "high back-reflection",
    6: "a module is disconnected",
    7: "a module has failed",
    11: "the power supply is off",
    17: "unexpected emission",
}
INTERLOCKS = {10: "the optical interlock is open", 29: "modules are disabled", 30: "the collimator is off"}

POWER_CAP_W = 40.0
MAX_CURRENT_PERCENT = 40.0
RAMP_W_PER_S = 5.0
STEEPEST = 1.25
"""Output power per current, both in parts of the rated ones: 1 / (1 - threshold), for a threshold of up to a fifth."""
BURST_S = 1.0
"""A pause does not earn a larger step than this much of a ramp."""

START_LIMIT_S = 6.0
"""The safety start takes 3 s."""
START_POLL_S = 0.1
OFF_SETTLING_S = 0.02
"""Between two requests to end the emission (not verified how soon the status follows)."""
NUMBER = re.compile(r"\d+(\.\d*)?", re.ASCII)


def parse_power(reply: str) -> float:
    """W in a reply such as `12.3`; 0 for `Off`, NaN for `Low`, which is below what the monitor can tell.

    Raises ValueError for any other text.
    """
    if reply == "Off":
        return 0.0
    return math.nan if reply == "Low" else parse_number(reply)


def parse_number(reply: str) -> float:
    """A plain decimal number. Raises ValueError for any other text, also for one in another notation."""
    if not NUMBER.fullmatch(reply):
        raise ValueError("not a plain decimal number")
    return float(reply)


def parse_status(reply: str) -> int:
    """The 32 bits of the status, written as a decimal number. Raises ValueError for any other text."""
    if not re.fullmatch(r"\d{1,10}", reply, re.ASCII) or int(reply) >= 1 << 32:
        raise ValueError("not a status of 32 bits")
    return int(reply)


def parse_emission(reply: str) -> int:
    """1 while emission is on or starting."""
    return int(bool(parse_status(reply) & EMISSION))


class YLRLink(MessageLink):
    """Messages end in a carriage return; a reply repeats the command, and `: ` and a value follow where there is one.

    `ERR: text` becomes Refused. A reply that repeats another command is garbled.
    """

    terminator = b"\r"

    def port(self) -> dict[str, Any]:
        """Every message is answered."""
        identity = {"ask": self.query_words("RFV"), "expect": r"^RFV: "}
        return {**super().port(), "identity": identity, "answers_all": True, "refusal": "ERR: refused by the guard"}

    def identify(self) -> None:
        """Compare the reply to `RFV` with `identity`, a regular expression. Raises WrongInstrument."""
        reply = self._exchange("RFV")
        if self.identity is not None and not re.fullmatch(self.identity, reply):
            raise WrongInstrument(
                f"{self.name}: {reply[:80]!r} answers at {self.known_as}, expected a reply matching {self.identity!r}"
            )

    def fetch(self, queries: Sequence[str]) -> list[str]:
        """One value per query; a question is asked once, so that all that is read from it is of one instant."""
        values = {query: self.command(query) for query in dict.fromkeys(queries)}
        return [values[query] for query in queries]

    def assign(self, command: str, value: Any) -> None:
        """Send `command`, a format string, with `value` filled in. Raises Refused, LinkError."""
        self.command(command.format(value))

    def command(self, message: str) -> str:
        """Send one message; the value in its reply, empty where there is none. Raises Refused, LinkError."""
        reply = self.query(message)
        echo, _, value = reply.partition(":")
        if echo == "ERR":
            raise Refused(f"{self.name}: {message!r} was answered by {reply[:80]!r}")
        if echo != message.split()[0]:
            self.dirty = True
            raise GarbledReply(f"{self.name}: {message!r} was answered by {reply[:80]!r}")
        return value.strip()


class Current(Setpoint):
    """The diode current. It rises no faster than the ramp limit, wherever a step comes from; it may fall at once."""

    _changed_at = -math.inf

    def set(self, value: float) -> JobStatus:
        """As every set-point; raises LimitError also for a step that would rise too fast."""
        self.check_value(value)
        self.check_rise(value)
        return super().set(value)

    def check_rise(self, value: float) -> None:
        """Raises LimitError for a step from the last known value that would rise too fast."""
        laser = self.instrument
        elapsed_s = min(laser.clock.monotonic() - self._changed_at, BURST_S)
        if not value - self.get() <= self.rise_per_s * elapsed_s + 1e-6:
            raise LimitError(
                f"{self.name} = {value:g} is refused: accepted is a rise of {self.rise_per_s:g} %/s, "
                f"and {elapsed_s:.2g} s ago it was {self.get():g} %"
            )

    def apply(self, value: float) -> None:
        """Send and read back. Raises LimitError, before anything is sent, where it would rise too fast."""
        self.check_value(value)
        self.check_rise(value)
        try:
            super().apply(value)
        finally:
            self._changed_at = self.instrument.clock.monotonic()


class Emission(Setpoint):
    """1 starts the emission and waits for the end of the safety start, 0 ends it; both are verified by the status."""

    def set(self, value: float) -> JobStatus:
        """Switch; the Status fails with Refused or LinkError where the laser does not confirm.

        A start into which a pause comes is ended, and is done so.
        """
        self.check_value(value)
        laser = self.instrument
        return laser.submit(self._start) if value else laser.link.submit(laser.secure)

    def check_value(self, value: float) -> None:
        """Raises LimitError for anything but 0 and 1."""
        super().check_value(value if value in (0, 1) else float("nan"))

    def _start(self) -> Steps:
        laser = self.instrument
        laser.fetch(laser.status, laser.current, self, laser.fault)
        laser.check_ready()
        try:
            laser.link.assign("EMON", None)
            deadline = laser.clock.monotonic() + START_LIMIT_S
            while True:
                yield START_POLL_S
                if laser.paused is not None:
                    yield from laser.secure()
                    return
                laser.fetch(laser.status, self, laser.fault)
                laser.check_faults()
                word = laser.status.get()
                if not word & EMISSION:
                    raise Refused(f"{self.name}: the emission went off while it started")
                if not word & STARTING:
                    return
                if laser.clock.monotonic() > deadline:
                    raise Refused(f"{self.name}: still in its safety start after {START_LIMIT_S:g} s")
        except (LinkError, Refused):
            yield from laser.secure()  # whatever became of the start, it is not left half done
            raise


class IPGYLR(Instrument):
    """A YLR under computer control, its diode current set in per cent of the rated one.

    What it gives for a current starts at a threshold, and is less than the same part of the rated power as long as the
    rated current gives no more than the rated power: with at most 40 % of a laser of 100 W no more than 40 W come out.
    For stronger ones the highest current is lowered in proportion. It rises by no more than 5 W/s where a fifth of the
    rated current is no longer below the threshold: 4 %/s for 100 W. Emission starts from a current of 0 only.

    Options: `rated_power` (W); `gated`, whether emission needs the modulation mode, in which a contact at the
    modulation input lets the light out; `interlock_bits`, whether the status tells of optical interlock, modules and
    collimator, as newer units do. Safe state: emission off, verified by status bit 2.

    Commands and status bits: the EPICS database IPG_YLR_laser.db of GSECARS, with its page of the YLR-200-SM-CS user
    guide; `ERR` texts and `ROP: Low` from drivers of others. Reserved status bits may be in any state and are ignored.
    Not verified on a laser: that `SDC 0` is taken, `RCS` with one decimal, how soon the status follows `EMOFF`, the
    reply time, for which 0.1 s are allowed.
    """

    link_type: ClassVar[type[YLRLink]] = YLRLink
    link_options: ClassVar[dict[str, Any]] = {"identity": r"RFV: \S.*", "baud_rate": 57600, "timeout_s": 0.1}
    hazard: ClassVar[str] = "laser"
    goes_on: ClassVar[bool] = False

    current = Component(
        Current,
        command="SDC {:.1f}",
        query="RCS",
        unit="%",
        parse=parse_number,
        plausible=(0.0, 100.0),
        limits=(0.0, MAX_CURRENT_PERCENT),
        tolerance=0.051,
    )
    output_power = Component(Reading, query="ROP", unit="W", parse=parse_power, kind=Kind.hinted)
    temperature = Component(Reading, query="RCT", unit="degC", parse=parse_number, plausible=(0.0, 100.0))
    emission = Component(Emission, command="EMON", query="STA", unit="", limits=(0, 1), parse=parse_emission, value=0)
    fault = Component(Reading, query="STA", unit="", parse=parse_status, value=0)
    status = Component(Reading, query="STA", unit="", parse=parse_status, value=0, kind=Kind.omitted)

    def __init__(
        self, *, rated_power: float = 100.0, gated: bool = True, interlock_bits: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < rated_power < math.inf:
            raise ValueError(f"options.rated_power = {rated_power:g}: accepted is a number above 0, in W")
        self.gated = gated
        self.faults = FAULTS | INTERLOCKS if interlock_bits else FAULTS
        mask = sum(1 << bit for bit in self.faults)
        self.fault.parse = lambda reply: parse_status(reply) & mask
        self.output_power.plausible = (0.0, 1.5 * rated_power)
        self.current.tighten(0.0, min(MAX_CURRENT_PERCENT, 100.0 * POWER_CAP_W / rated_power))
        self.current.rise_per_s = 100.0 * RAMP_W_PER_S / (STEEPEST * rated_power)

    def connect(self) -> None:
        """Read everything. Raises WrongInstrument where a question is not understood."""
        try:
            super().connect()
        except Refused as error:
            raise WrongInstrument(f"{error}; expected is a YLR") from error

    def check_faults(self) -> None:
        """Raises Refused for a fault or an open interlock, as last read."""
        word = int(self.fault.get())
        if told := [what for bit, what in self.faults.items() if word >> bit & 1]:
            raise Refused(f"{self.name}: {', '.join(told)}")

    def check_ready(self) -> None:
        """Whether emission may start, as last read. Raises Refused."""
        self.check_faults()
        word = int(self.status.get())
        if word & EMISSION:
            raise Refused(f"{self.name}: the emission is on already; end it first")
        if word & ANALOG_CONTROL:
            raise Refused(f"{self.name}: the current follows the analog input; switch analog control off first")
        if self.gated and not word & MODULATION:
            raise Refused(f"{self.name}: the modulation mode is off, so that the gate would do nothing; switch it on")
        if self.current.get() > 0:
            raise Refused(f"{self.name}: the current is set to {self.current.get():g} %; set it to 0 first")

    def emission_off(self) -> JobStatus:
        """End the emission; the Status is done when the laser's own status says so."""
        return self.emission.set(0)

    def pause(self) -> None:
        """End the emission, because the run is paused."""
        self.emission_off()

    def resume(self) -> None:
        """Nothing: the emission stays off until somebody starts it on purpose."""

    @property
    def safe_state(self) -> SafeState:
        """Emission off; 0.5 s are enough for two lost replies."""
        dark = Seen("emission", "STA", 0, 0, mask=EMISSION)
        faultless = Seen("faults", "STA", 0, 0, mask=sum(1 << bit for bit in self.faults))
        return SafeState(
            ways={"off": Way((SafeAction("emission off", (("EMOFF", None),), (dark,), 0.5, OFF_SETTLING_S),))},
            on_loss="off",
            watched=(Watched(faultless), Watched(Seen("emission", "STA", 0, EMISSION, mask=EMISSION))),
            commands=(("EMON", None),),
        )
