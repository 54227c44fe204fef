"""The pressure controller Druck PACE5000 on the membrane of a diamond cell, over TCP or its serial line."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import LinkError, NotPermitted, Refused
from ..instrument import ATTEMPTS, Instrument, Reading, Setpoint
from ..link import Steps
from ..safe_state import SafeAction, SafeState, Seen, Watched, Way
from ..status import JobStatus
from .pace_link import NUMBER, PACELink, parse_bar, parse_digit, parse_in_limits, parse_mode, parse_number

HIGHEST_BAR = 200.0
RATES_BAR_PER_S = (0.001, 1.0)
NEAR_BAR = 0.2
"""A pressure so near to its set-point has arrived; the band of the instrument's own flag is anybody's choice."""
OVERSHOOT_BAR = 2.0
"""More than this beyond both ends of a ramp is an over-pressure."""

POLL_S = (0.5, 2.0)
SETTLING_S = 60.0
"""How long after the time that a ramp takes it may arrive."""
STANDING_S = 5.0
"""A ramp that is stopped stands within this, and its in-limits flag (2 s, as delivered) comes."""
HOLDING_S = 10.0
LOOK_S = 0.5

MEASURED, IN_LIMITS, OUTPUT = ":SENS:PRES?", ":SENS:PRES:INL?", ":OUTP:STAT?"
AMPLITUDE, SLEW = ":SOUR:PRES:LEV:IMM:AMPL", ":SOUR:PRES:SLEW"
VENT = f"{AMPLITUDE}:VENT?"
LINEAR, NO_OVERSHOOT, CONTROL_OFF = f"{SLEW}:MODE LIN", f"{SLEW}:OVER 0", ":OUTP:STAT 0"
VENTING = 1


class Target(Setpoint):
    """The set-point, which the instrument approaches by its own ramp."""

    _move: JobStatus | None = None

    def set(self, value: float) -> JobStatus:
        """Ramp to `value` bar; done once the pressure stands there, for which a pause of the run gives it more time.

        Raises LimitError at once; the Status fails with Refused (control is off, a vent, an over-pressure, another
        target, no arrival) or LinkError.
        """
        self.check_value(value)
        self._move = self.instrument.submit(lambda: self.instrument.approach(value))
        return self._move

    def stop(self, *, success: bool = False) -> None:
        """End a ramp by holding the pressure; one that has arrived is left alone."""
        if self._move is not None and not self._move.done:
            self.instrument.hold()


class SlewRate(Setpoint):
    """The rate of the next ramp. Setting one makes the slew linear, without overshoot."""

    def apply(self, value: float) -> None:
        """Send and read back. Raises LimitError, Refused, LinkError."""
        super().apply(value)  # first, or another's rate would be in force for a moment
        controller = self.instrument
        for command in (LINEAR, NO_OVERSHOOT):
            controller.link.assign(command, None)
        controller.fetch(controller.linear)
        if controller.linear.get() != 1:
            raise Refused(f"{self.name}: the slew does not become linear")


class Control(Setpoint):
    """1 regulates, with the set-point where the pressure is; 0 closes the valves."""

    def set(self, value: float) -> JobStatus:
        """Switch; the Status fails with Refused or LinkError where the controller does not confirm."""
        self.check_value(value)
        controller = self.instrument
        return controller.submit(controller.regulate) if value else controller.bring_about(CLOSED)

    def check_value(self, value: float) -> None:
        """Raises LimitError for anything but 0 and 1."""
        super().check_value(value if value in (0, 1) else float("nan"))


def _seen(name: str, query: str, low: float, high: float, value: str = NUMBER) -> Seen:
    """What a reply shows, with its header as the guard sees it, or without, as the link hands it on."""
    return Seen(name, query, low, high, pattern=rf"(?:^|{query.removesuffix('?')} ){value}\s*$")


NO_VENT = _seen("no vent under way", VENT, 0, 9, r"([02-9])")
"""Shown by any state but that a vent is under way: then the reply shows nothing."""
CLOSED = SafeAction("control off", ((CONTROL_OFF, None),), (_seen("control", OUTPUT, 0, 0), NO_VENT), 2.0)


class PACE5000(Instrument):
    """A PACE5000 whose unit is bar, with a slew of at most 1 bar/s up to 200 bar. No command here vents.

    `control` on starts where the pressure is. A target, or control, is refused while the slew in force is not linear
    or beyond its limits, and while a vent is under way. Attaching selects nothing; another unit than bar is refused
    with every reading.

    With control on the instrument holds its set-point by itself, leaks included; with control off nothing regulates,
    and the gas behind the closed valves leaks away. So a pressure that has arrived is held by leaving control on. A
    ramp is stopped by a set-point where the pressure is: at the end of a run, in a pause, by `hold`; where the
    instrument does not take that, by control off. The guard, which can compute nothing, leaves a pressure that is in
    limits on its set-point, and switches control off where it sees a ramp.

    Read in the EPICS protocol files PACE5000.proto and PACE5000_serial.proto (epics-modules/ip): all headers but that
    of `:SENS:PRES:INL?`, line ends, the NUL on the serial line. In pages of the SCPI manual K0472 Rev. A: output, vent
    states 0 to 2, in-limits time. In what others wrote down of it or met: `:SENS:PRES:INL?`, `:SOUR:PRES:SLEW:OVER`,
    vent states 3 (latched in older firmware) and 4 (aborted), identities. Not verified on an instrument: that a
    set-point sent during a ramp ends it where it says, that the valves are closed with control off and how fast the
    gas leaks then, the highest range, form of the error queue's replies, reply times.
    """

    link_type: ClassVar[type[PACELink]] = PACELink
    link_options: ClassVar[dict[str, Any]] = {"identity": r"(?i)^[^,]*Druck,\s*PACE ?5000\b", "timeout_s": 1.0}
    hazard: ClassVar[str] = "pressure"

    pressure = Component(
        Reading, query=MEASURED, unit="bar", parse=parse_number, plausible=(-2.0, 250.0), kind=Kind.hinted
    )
    setpoint = Component(
        Target,
        command=AMPLITUDE + " {:.4f}",
        query=AMPLITUDE + "?",
        unit="bar",
        parse=parse_number,
        plausible=(-2.0, 250.0),
        limits=(0.0, HIGHEST_BAR),
        tolerance=1e-3,
    )
    in_limits = Component(Reading, query=IN_LIMITS, unit="", parse=parse_in_limits, value=0)
    control = Component(
        Control, command=":OUTP:STAT {:.0f}", query=OUTPUT, unit="", parse=parse_digit, limits=(0, 1), value=0
    )
    vent = Component(Reading, query=VENT, unit="", parse=parse_digit, plausible=(0, 5), value=0)
    effort = Component(Reading, query=":SOUR:PRES:EFF?", unit="%", parse=parse_number, plausible=(-110.0, 110.0))
    slew_rate = Component(
        SlewRate,
        command=SLEW + " {:.4f}",
        query=SLEW + "?",
        unit="bar/s",
        parse=parse_number,
        limits=RATES_BAR_PER_S,
        tolerance=5e-5,
        kind=Kind.config,
    )
    linear = Component(
        Reading, query=SLEW + ":MODE?", unit="", parse=parse_mode, plausible=(0, 1), value=0, kind=Kind.config
    )
    in_bar = Component(Reading, query=":UNIT:PRES?", unit="", parse=parse_bar, value=0, kind=Kind.omitted)

    _left_bar: float | None = None
    """The target of a ramp that a pause has stopped."""

    def asked(self) -> list[tuple[Instrument, Reading]]:
        """What a trigger asks for; the unit with it."""
        return [(self, self.in_bar), *super().asked()]

    def approach(self, target: float) -> Steps:
        """The job of a ramp to `target` bar."""
        self._check_ready()
        if not self.control.get():
            raise Refused(f"{self.setpoint.name}: control is off; switch it on first")
        start = self.pressure.get()
        self.setpoint.apply(target)
        ends = self._end_of_ramp(target)
        while True:
            shortest, longest = POLL_S
            yield min(longest, max(shortest, ends - self.clock.monotonic()))
            if self.paused is not None and not self.paused.over:
                yield from self.until_over(self.paused)
                self._look()
                ends = self._end_of_ramp(target)
            if self._arrived(target, start):
                return
            if self.clock.monotonic() > ends + SETTLING_S:
                raise Refused(
                    f"{self.setpoint.name}: {target:g} bar was asked for, it stays at {self.pressure.get():.4g} bar "
                    f"with an effort of {self.effort.get():.3g} %"
                )

    def regulate(self) -> None:
        """The job of switching control on: the set-point comes to the pressure first."""
        self._check_ready()
        if not self.control.get():
            self.setpoint.apply(self._present())
            self.link.assign(self.control.command, 1)
            self.fetch(self.control)
            if not self.control.get():
                raise Refused(f"{self.control.name}: the controller stays off")

    def hold(self) -> JobStatus:
        """End a ramp where the pressure is; fails with Refused unless it is seen to stand."""
        return self.link.submit(self._hold)

    def stop(self, *, success: bool = False) -> None:
        """End what moves, by holding the pressure."""
        self.setpoint.stop()

    def safe_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """The pressure held where it is."""
        return [("pressure held", lambda: self.link.submit(self._hold, urgent=True), HOLDING_S)]

    def pause_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """The pressure held where it is; the target of a ramp is kept for going on."""
        return [("pressure held", lambda: self.link.submit(self._hold_for_now), HOLDING_S)]

    def go_on_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """The target again, where a ramp was stopped."""
        return [] if self._left_bar is None else [("on its ramp", lambda: self.link.submit(self._ramp_on), HOLDING_S)]

    @property
    def safe_state(self) -> SafeState:
        """Left on its set-point where it is in limits; else, and where the rig says so, control off. Never a vent."""
        pressure = _seen("pressure", MEASURED, -2.0, self.setpoint.limits[1] + OVERSHOOT_BAR)
        in_limits = _seen("in limits", IN_LIMITS, 1, 1, r"[-+.\d]+, ?([01])")
        left = SafeAction("left on its set-point", (), (_seen("control", OUTPUT, 1, 1), in_limits, pressure), 2.0)
        return SafeState(
            ways={"hold": Way((left,), otherwise="off"), "off": Way((CLOSED,))},
            on_loss="hold",
            watched=(Watched(pressure, every_s=0.5), Watched(NO_VENT, every_s=0.5, stale_s=1.1)),
            commands=((LINEAR, None), (NO_OVERSHOOT, None)),
        )

    def _look(self) -> None:
        self.fetch(self.in_bar, self.control, self.vent, self.in_limits, self.pressure, self.setpoint, self.effort)

    def _check_ready(self) -> None:
        """Raises Refused where a ramp would not be one."""
        self._look()
        self._check_vent()
        self.fetch(self.linear, self.slew_rate)
        rate, (low, high) = self.slew_rate.get(), self.slew_rate.limits
        if not self.linear.get() or not low <= rate <= high:
            in_force = f"{rate:g} bar/s" if self.linear.get() else "as fast as can be"
            raise Refused(f"{self.name}: the slew in force is {in_force}; set one of {low:g}..{high:g} bar/s first")

    def _check_vent(self) -> None:
        if self.vent.get() == VENTING:
            raise Refused(f"{self.name}: a vent is under way; the pressure is not held")

    def _present(self) -> float:
        """The pressure, or the limit that it is beyond: a vented membrane may read a little below zero."""
        low, high = self.setpoint.limits
        return min(high, max(low, self.pressure.get()))

    def _end_of_ramp(self, target: float) -> float:
        return self.clock.monotonic() + abs(target - self.pressure.get()) / self.slew_rate.get()

    def _arrived(self, target: float, start: float) -> bool:
        """Whether the pressure stands at its target. Raises Refused."""
        self._look()
        self._check_vent()
        pressure, in_force = self.pressure.get(), self.setpoint.get()
        if not self.control.get():
            raise Refused(f"{self.setpoint.name}: the ramp to {target:g} bar has ended, control is off")
        if abs(in_force - target) > self.setpoint.tolerance:
            raise Refused(f"{self.setpoint.name}: the ramp to {target:g} bar was replaced by one to {in_force:g} bar")
        if pressure > max(start, target) + OVERSHOOT_BAR:
            raise Refused(f"{self.setpoint.name}: over-pressure: {pressure:.4g} bar on the way to {target:g} bar")
        return bool(self.in_limits.get()) and abs(pressure - target) <= NEAR_BAR

    def _hold(self) -> Steps:
        """Stop a ramp where the pressure is; where that is not to be had, control off. Raises Refused, LinkError."""
        for _ in range(ATTEMPTS):
            try:
                yield from self._stand()
                return
            except NotPermitted:
                raise
            except LinkError:
                yield LOOK_S
            except Refused:
                break
        yield from self._bring_about(CLOSED)

    def _stand(self) -> Steps:
        self._look()
        self._check_vent()
        if not self.control.get():
            return
        if not self._near():
            self.setpoint.apply(self._present())
        deadline = self.clock.monotonic() + STANDING_S
        while not (self._near() and self.in_limits.get()):
            if self.clock.monotonic() > deadline:
                if self._near():  # the flag may take longer, if somebody has said so
                    return
                raise Refused(f"{self.name}: the pressure does not stand")
            yield LOOK_S
            self._look()
            self._check_vent()

    def _near(self) -> bool:
        return abs(self.pressure.get() - self.setpoint.get()) <= NEAR_BAR

    def _hold_for_now(self) -> Steps:
        self._left_bar = None
        self._look()
        if self.control.get() and not self._near():
            self._left_bar = self.setpoint.get()
        yield from self._hold()

    def _ramp_on(self) -> None:
        self.check_goes_on(self.paused)
        self._check_ready()
        self.setpoint.apply(self._left_bar)
