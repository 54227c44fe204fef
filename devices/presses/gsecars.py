"""Presses that are run by the EPICS databases of GSECARS."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from ophyd import Component as Cpt
from ophyd import Kind, Signal

from ..epics import EpicsInstrument, RecordDevice
from ..errors import LimitError, LinkError, Refused
from ..instrument import Reading, Setpoint
from ..link import Steps
from ..safe_state import Beat, SafeAction, SafeState, Seen, Watched, Way
from ..status import JobStatus

MN_PER_TON: Final = 9.80665e-3
RATED_LOAD_MN: Final = 10.0
UNLOADING_LIMIT_MN_PER_H: Final = 1.0
STROKE_LIMIT_MM: Final = 2.0
RAM_SPEED_LIMIT_UM_PER_S: Final = 0.2
"""Both rams at this speed shorten a sample of 0.4 mm by at most 1e-3 of its length per second."""
SETTLING_S: Final = 60.0
STOPPING_S: Final = 10.0
POLL_S: Final = (5.0, 60.0)


HOLD: Final = SafeAction(
    "held",
    (("Press_StopBoth.PROC", 1), ("DDIA30:m1.STOP", 1), ("DDIA30:m2.STOP", 1), ("Press_EnableRamp", 0)),
    (
        Seen("feedback", "Press_PID.FBON", 0, 0),
        Seen("ramping", "Press_EnableRamp", 0, 0),
        Seen("top ram stands", "DDIA30:m1.DMOV", 1, 1),
        Seen("bottom ram stands", "DDIA30:m2.DMOV", 1, 1),
    ),
    2 * STOPPING_S,
)
"""Pumps and rams stopped, valves closed: never a fast release."""
LATCH: Final = Watched(Seen("blow-out latch", "Press_BlowoutLatch", 0, 0), every_s=0.1, stale_s=2.0)


class BlowOut(RuntimeError):
    """The blow-out latch is set: the press takes no command until a person has reset it."""


class LoadRate(Setpoint):
    """The rate of the next ramp: kept here, and turned into the record's ramp time."""

    def set(self, value: float) -> JobStatus:
        """Keep a rate. Raises LimitError."""
        self.check_value(value)
        Signal.put(self, value, timestamp=self.instrument.clock.time(), force=True)
        status = JobStatus()
        status.set_finished()
        return status


class Load(Setpoint):
    """The load of the main ram, taken to a target by the controller's own ramp."""

    target = math.nan
    """Where the last `set` wants to go."""
    _move: JobStatus | None = None

    @property
    def moving(self) -> bool:
        """Whether a `set` has not arrived yet."""
        return self._move is not None and not self._move.done

    def set(self, value: float) -> JobStatus:
        """Ramp to `value` (MN) at `load_rate`; done on arrival, for which a pause of the run gives it more time.

        Raises LimitError at once; the Status fails with BlowOut, Refused (feedback went off, another ramp or a person
        took over, no arrival) or LinkError.
        """
        self.check_value(value)
        press = self.instrument
        rate = press.load_rate.get()
        press.check_unloading(value, self.get(), rate)
        self.target = value
        self._move = press.submit(lambda: press.ramp(value, rate))
        return self._move

    def stop(self, *, success: bool = False) -> None:
        """End a ramp by holding the press; a load that has arrived is left alone."""
        if self.moving:
            self.instrument.hold()


class RamSpeed(Setpoint):
    """The speed of a differential ram: a jog of its motor record."""

    def apply(self, value: float) -> None:
        """Jog at `value` um/s, or stop at 0, and read it back; inside a job. Raises BlowOut, Refused, LinkError."""
        self.check_value(value)
        ram, press = self.parent, self.instrument
        if value == 0.0:
            press.start(ram.prefix + ".STOP", 1)
        else:
            press.fetch(press.blown_out, ram.stroke, *ram.soft_limits)
            press.check_latch()
            ram.check_way(value)
            press.put(ram.prefix + ".JVEL", abs(value) * 1e-3)
            press.start(ram.prefix + (".JOGF" if value > 0 else ".JOGR"), 1)
        press.fetch(self)
        if abs(self.get() - value) > self.tolerance:
            raise Refused(f"{self.name}: {value:g} um/s was asked for, the motor record says {self.get():g} um/s")

    def stop(self, *, success: bool = False) -> None:
        """Stop the ram: a jog goes on until it is told otherwise."""
        self.set(0.0)


def _jog_speed(fields: tuple[float, int, int]) -> float:
    speed_mm_per_s, forward, reverse = fields
    return 1e3 * speed_mm_per_s * (bool(forward) - bool(reverse))


class Ram(RecordDevice):
    """One differential ram: a motor record that jogs, in mm and mm/s, forward to advance."""

    stroke = Cpt(Reading, query=".RBV", unit="mm", plausible=(-1.1 * STROKE_LIMIT_MM, 1.1 * STROKE_LIMIT_MM))
    speed = Cpt(
        RamSpeed,
        command=".JVEL",
        query=(".JVEL", ".JOGF", ".JOGR"),
        parse=_jog_speed,
        unit="um/s",
        limits=(-RAM_SPEED_LIMIT_UM_PER_S, RAM_SPEED_LIMIT_UM_PER_S),
        tolerance=1e-6,
        kind=Kind.config,
    )

    low_limit = Cpt(Reading, query=".LLM", unit="mm", kind=Kind.omitted)
    high_limit = Cpt(Reading, query=".HLM", unit="mm", kind=Kind.omitted)

    @property
    def soft_limits(self) -> tuple[Reading, Reading]:
        """How far the record lets the ram go."""
        return self.low_limit, self.high_limit

    def check_way(self, speed: float) -> None:
        """Raises Refused where the record, as just read, would let the ram run too far, or has no way left."""
        position, low, high = self.stroke.get(), self.low_limit.get(), self.high_limit.get()
        if high > STROKE_LIMIT_MM or low < -STROKE_LIMIT_MM:
            raise Refused(f"{self.name}: soft limits {low:g}..{high:g} mm must lie within +-{STROKE_LIMIT_MM:g} mm")
        if position >= high if speed > 0 else position <= low:
            raise Refused(f"{self.name} stands at {position:.4g} mm, at its limit")


class GSECARSPress(EpicsInstrument):
    """A large-volume press with load loop, two pumps, blow-out latch and two differential rams under EPICS.

    Records and their semantics are those of the 1000-ton press at 13-ID-D of GSECARS (`ID_LVP_pressure.db` in
    CARS-UChicago/GSECARS-EPICS, version of 20 May 2026); the rams follow that repository's DDIA-30 module. The
    protocol of the D111 press at NE7A of PF-AR is not published: this one stands in for it, and is not evidence about
    that press. Not verified: that the tons of the load are metric, and the records `Press_OilPressure` and
    `Press_Stroke`, which the database does not have.

    The controller ramps, regulates and latches by itself. `load` is polled at most every 60 s and at least every 5 s
    while it moves. Load and ram moves are refused while the latch is set.
    """

    hazard = "pressure"
    safe_state = SafeState(
        ways={"hold": Way((HOLD,))}, on_loss="hold", watched=(LATCH,), beat=Beat("Press_Lease", 1, 0.25)
    )

    load = Cpt(
        Load,
        command="Press_RampTarget",
        query="Press_CurrentPressure",
        parse=lambda tons: MN_PER_TON * tons,
        plausible=(-0.1, 1.1 * RATED_LOAD_MN),
        unit="MN",
        limits=(0.0, 0.95 * RATED_LOAD_MN),
        tolerance=0.01,
        kind=Kind.hinted,
    )
    load_rate = Cpt(LoadRate, command=None, value=0.5, unit="MN/h", limits=(1e-3, 2.0), kind=Kind.config)
    oil_pressure = Cpt(Reading, query="Press_OilPressure", plausible=(-1.0, 500.0), unit="MPa")
    stroke = Cpt(Reading, query="Press_Stroke", plausible=(-1e3, 1e3), unit="mm")
    blown_out = Cpt(Reading, query="Press_BlowoutLatch", parse=int, plausible=(0, 1), unit="", value=0)
    feedback = Cpt(Reading, query="Press_PID.FBON", parse=int, unit="", kind=Kind.omitted)
    ramping = Cpt(Reading, query="Press_EnableRamp", parse=int, unit="", kind=Kind.omitted)
    top = Cpt(Ram, "DDIA30:m1")
    bottom = Cpt(Ram, "DDIA30:m2")

    _held: tuple[bool, float, float] | None = None
    """What a pause has stopped: feedback, speeds of the top and the bottom ram (um/s)."""
    _ramp_ends = 0.0

    def check_unloading(self, target: float, present: float, rate: float) -> None:
        """Raises LimitError for a rate that is too high for going down."""
        if target < present - self.load.tolerance and rate > UNLOADING_LIMIT_MN_PER_H:
            raise LimitError(
                f"{self.load_rate.name} = {rate:g} is refused for unloading: "
                f"accepted are up to {UNLOADING_LIMIT_MN_PER_H:g} MN/h"
            )

    def check_latch(self) -> None:
        """Raises BlowOut where the latch, as just read, is set."""
        if self.blown_out.get():
            raise BlowOut(
                f"{self.name}: blow-out: the latch is set; a person has to reset it, once the cell has been looked at"
            )

    def ramp(self, target: float, rate: float) -> Steps:
        """The job of a load move."""
        self.fetch(self.blown_out, self.load, self.feedback)
        self.check_latch()
        self.check_unloading(target, self.load.get(), rate)
        self._start_ramp(target, rate)
        while True:
            shortest, longest = POLL_S
            yield min(longest, max(shortest, self._ramp_ends - self.clock.monotonic()))
            if self.paused is not None:
                yield from self.until_over(self.paused)
            if self._arrived(target):
                return
            if self.clock.monotonic() > self._ramp_ends + SETTLING_S:
                raise Refused(f"{self.load.name}: {target:g} MN was asked for, it stays at {self.load.get():g} MN")

    def hold(self) -> JobStatus:
        """Stop pumps and rams and close the valves; fails with Refused unless all is seen to stand."""
        return self.bring_about(HOLD)

    def pause_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """Pumps and rams stopped, valves closed; what they did is kept for going on."""
        return [(HOLD.name, lambda: self.link.submit(self._hold_for_now), HOLD.within_s)]

    def go_on_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """The load on its way or regulated, the rams at their speeds, as they were."""
        return [("going on", lambda: self.link.submit(self._go_on), STOPPING_S)]

    def _hold_for_now(self) -> Steps:
        try:
            self.fetch(self.feedback, self.top.speed, self.bottom.speed)
            self._held = bool(self.feedback.get()), self.top.speed.get(), self.bottom.speed.get()
        except LinkError:
            self._held = None
        yield from self._bring_about(HOLD)

    def _go_on(self) -> None:
        self.check_goes_on(self.paused)
        if self._held is None:
            raise Refused(f"{self.name}: what it did before the pause could not be read")
        self.fetch(self.blown_out, self.load)
        self.check_latch()
        feedback, *speeds = self._held
        if feedback or self.load.moving:
            self.fetch(self.feedback)
            (setpoint_tons,) = self.ask("Press_PID.VAL")
            target = self.load.target if self.load.moving else MN_PER_TON * setpoint_tons
            self._start_ramp(target, self.load_rate.get())
        for ram, speed in zip((self.top, self.bottom), speeds, strict=True):
            if speed:
                ram.speed.apply(speed)

    def acknowledge_blow_out(self, person: str) -> JobStatus:
        """Reset the latch, on the word of the named person who has looked at the cell; no plan may call this."""
        if not person.strip():
            raise ValueError("a blow-out is acknowledged by a person: a name is needed")
        return self.link.submit(self._reset_latch)

    def stop(self, *, success: bool = False) -> None:
        """End what moves, by holding the press."""
        self.hold()

    def _start_ramp(self, target: float, rate: float) -> None:
        # The record steps once a second: a whole number of seconds makes the ramp end on its target.
        duration = max(1, math.ceil(abs(target - self.load.get()) / rate * 3600.0))
        if not self.feedback.get():
            # The loop must find its set-point where the load is, or it would chase it with both pumps.
            self.put("Press_PID.VAL", self.load.get() / MN_PER_TON)
            self.start("Press_PID.FBON", 1)
        self.put("Press_RampTarget", target / MN_PER_TON)
        self.put("Press_RampTime", duration / 3600.0)
        asked = self.ask("Press_RampTarget", "Press_RampTime")
        if not all(map(math.isclose, asked, (target / MN_PER_TON, duration / 3600.0))):
            raise Refused(f"{self.name}: the ramp was not taken, the records say {asked[0]:g} tons in {asked[1]:g} h")
        self.start("Press_StartRamp.PROC", 1)
        self._ramp_ends = self.clock.monotonic() + duration

    def _arrived(self, target: float) -> bool:
        """Whether the ramp is over and the load where it should be. Raises BlowOut, Refused."""
        self.fetch(self.blown_out, self.load, self.feedback, self.ramping)
        self.check_latch()
        if not self.feedback.get():
            raise Refused(f"{self.load.name}: the ramp to {target:g} MN has ended, the feedback is off")
        if self.load.target != target:
            raise Refused(f"{self.load.name}: the ramp to {target:g} MN was replaced by one to {self.load.target:g} MN")
        return not self.ramping.get() and abs(self.load.get() - target) <= self.load.tolerance

    def _reset_latch(self) -> None:
        self.put("Press_BlowoutLatch", 0)
        self.fetch(self.blown_out)
        if self.blown_out.get():
            raise Refused(f"{self.name}: the blow-out latch cannot be reset")
