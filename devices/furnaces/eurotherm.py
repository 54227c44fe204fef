"""The temperature controller Eurotherm 3504 on a Modbus RTU line."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import LinkError, Refused, WrongInstrument
from ..instrument import ATTEMPTS, Instrument, Reading, Setpoint
from ..link import Steps
from ..modbus import ModbusLink, Register
from ..safe_state import SafeAction, SafeState, Seen, Watched, Way
from ..status import JobStatus

PROCESS_VALUE = Register(1, 10)
TARGET_SETPOINT = Register(2, 10)
MANUAL_OUTPUT = Register(3, 10)
WORKING_OUTPUT = Register(4, 10)
WORKING_SETPOINT = Register(5, 10)
SETPOINT_RATE = Register(35, 10)
STATUS = Register(75, signed=False)
IDENTITY = Register(122, signed=False)
AUTO_MANUAL = Register(273)

AUTOMATIC, MANUAL = 0, 1
SENSOR_BREAK = 1 << 5
RESOLUTION = 0.1

MAX_TARGET_C = 2526.8
"""2800 K, rounded down to what a register holds."""
MAX_RAMP_K_PER_MIN = 100.0

COLD_C = 20.0
OVERSHOOT_K = 50.0
COOLING_S = 7200.0
"""What a furnace may take to follow its set-point to the cold."""
LONGEST_GRACE_S = 3600.0

PAUSING_S = 10.0
"""A ramp stops, or goes on, within this."""

SETTLING_S = 0.25
"""The controller acts on a new mode or output in its next cycle (110 ms, not verified)."""


class EurothermLink(ModbusLink):
    """The line of one controller: who answers is checked by the identity register, in hexadecimal."""

    def identify(self) -> None:
        """Compare the identity register with `identity`. Raises WrongInstrument."""
        self.dirty = False  # opened or drained just now; the question itself must not clean the line again
        try:
            (word,) = self._read(IDENTITY.address, 1)
        except Refused as error:
            self.dirty = True
            raise WrongInstrument(f"{self.name}: {self.known_as} has no identity register ({error})") from error
        if self.identity is not None and not re.fullmatch(self.identity, f"{word:04X}"):
            self.dirty = True
            raise WrongInstrument(
                f"{self.name}: identity {word:04X} answers at {self.known_as}, expected {self.identity}"
            )


class TargetSetpoint(Setpoint):
    """A target that is only sent while the controller ramps towards it: without a rate it would jump."""

    def apply(self, value: float) -> None:
        """Send and read back. Raises Refused, before anything is sent, where the rate in force is beyond its limits."""
        self.check_value(value)
        self.instrument.check_rate_in_force()
        super().apply(value)


class Heating(Setpoint):
    """1 regulates towards the target, 0 cuts the heater: manual with no output, verified by read-back."""

    def set(self, value: float) -> JobStatus:
        """Switch; the Status fails with Refused or LinkError where the controller does not confirm."""
        self.check_value(value)
        furnace = self.instrument
        return furnace.submit(self._regulate) if value else furnace.link.submit(furnace.secure)

    def check_value(self, value: float) -> None:
        """Raises LimitError for anything but 0 and 1."""
        super().check_value(value if value in (0, 1) else float("nan"))

    def _regulate(self) -> Steps:
        furnace = self.instrument
        furnace.check_rate_in_force()
        furnace.fetch(furnace.sensor_break)
        if furnace.sensor_break.get():
            raise Refused(f"{self.name}: the thermocouple is broken; repair it before regulating")
        furnace.link.assign(AUTO_MANUAL, AUTOMATIC)
        yield SETTLING_S
        furnace.fetch(self)
        if self.get() != 1:
            raise Refused(f"{self.name}: the controller stays in manual")


class Eurotherm3504(Instrument):
    """A 3504 that drives a heater: set-point ramp, mode and output of its first loop.

    Limits: target at most 2800 K, ramp 0.1 to 100 K/min. A target, or heating, is refused while the rate in the
    controller is off or beyond its limits, whoever set it. Safe state: manual with the output at zero. A pause stops
    a ramp where the working set-point is, and going on restores the target. When the engine is lost the rig may have
    it ramped down at `ramp_down_k_per_min`, or left on its set-point for `grace_s` first.

    Registers with one decimal; addresses of the 2000 and 3200 series, which 3504 drivers of others share. Not
    verified on a 3504: rate 35, status 75, identity 122 (its value E440 is), mode 273. Check them before hardware.
    """

    link_type: ClassVar[type[ModbusLink]] = EurothermLink
    link_options: ClassVar[dict[str, Any]] = {"identity": "E440", "baud_rate": 9600, "timeout_s": 0.5}
    hazard: ClassVar[str] = "thermal"

    temperature = Component(Reading, query=PROCESS_VALUE, unit="degC", plausible=(-250.0, 3000.0), kind=Kind.hinted)
    output = Component(Reading, query=WORKING_OUTPUT, unit="%", plausible=(-100.0, 100.0))
    working_setpoint = Component(Reading, query=WORKING_SETPOINT, unit="degC")
    sensor_break = Component(
        Reading,
        query=STATUS,
        unit="",
        parse=lambda word: int(bool(int(word) & SENSOR_BREAK)),
        value=0,
        kind=Kind.config,
    )
    setpoint = Component(
        TargetSetpoint, command=TARGET_SETPOINT, unit="degC", limits=(0.0, MAX_TARGET_C), tolerance=RESOLUTION
    )
    ramp_rate = Component(
        Setpoint,
        command=SETPOINT_RATE,
        unit="K/min",
        limits=(RESOLUTION, MAX_RAMP_K_PER_MIN),
        tolerance=RESOLUTION,
        kind=Kind.config,
    )
    heating = Component(
        Heating,
        command=AUTO_MANUAL,
        unit="",
        limits=(0, 1),
        parse=lambda mode: int(mode == AUTOMATIC),
        value=0,
        kind=Kind.config,
    )

    def __init__(self, *, ramp_down_k_per_min: float = 20.0, grace_s: float = 600.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not RESOLUTION <= ramp_down_k_per_min <= MAX_RAMP_K_PER_MIN:
            raise ValueError(
                f"ramp_down_k_per_min = {ramp_down_k_per_min:g}: accepted are {RESOLUTION:g}..{MAX_RAMP_K_PER_MIN:g}"
            )
        if not 1.0 <= grace_s <= LONGEST_GRACE_S:
            raise ValueError(f"grace_s = {grace_s:g}: accepted are 1..{LONGEST_GRACE_S:g} s")
        self.ramp_down_k_per_min, self.grace_s = ramp_down_k_per_min, grace_s
        self._left_c: float | None = None

    def check_rate_in_force(self) -> None:
        """Ask the controller for its rate. Raises Refused where it is off or beyond the limits."""
        self.fetch(self.ramp_rate)
        rate, (low, high) = self.ramp_rate.get(), self.ramp_rate.limits
        if not low <= rate <= high:
            raise Refused(
                f"{self.name}: the controller's ramp rate is {rate:g} K/min; set one of {low:g}..{high:g} first"
            )

    def pause_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """The temperature held: a ramp that is under way stops where it is."""
        return [("temperature held", lambda: self.link.submit(self._stop_ramp), PAUSING_S)]

    def go_on_steps(self) -> Sequence[tuple[str, Callable[[], JobStatus], float]]:
        """The target, approached at the rate that is in force, where a ramp was stopped."""
        return [("on its ramp", lambda: self.link.submit(self._ramp_on), PAUSING_S)] if self._left_c is not None else []

    def _stop_ramp(self) -> Steps:
        self._left_c = None

        def stop() -> None:
            self.fetch(self.heating, self.setpoint, self.working_setpoint)
            target_c, present_c = self.setpoint.get(), self.working_setpoint.get()
            if self.heating.get() and abs(target_c - present_c) > RESOLUTION:
                self._left_c = target_c if self._left_c is None else self._left_c
                self.setpoint.apply(present_c)

        return self._tried(stop)

    def _ramp_on(self) -> Steps:
        def ramp() -> None:
            self.check_goes_on(self.paused)
            self.setpoint.apply(self._left_c)

        return self._tried(ramp)

    def _tried(self, job: Callable[[], None]) -> Steps:
        """Do what is harmless when repeated, again where a reply was lost. Raises LinkError, Refused."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                job()
                return
            except LinkError:
                if attempt == ATTEMPTS:
                    raise
            yield SETTLING_S

    @property
    def safe_state(self) -> SafeState:
        """Heater off; when the engine is lost the rig may have it ramped down, or held for a while before that."""
        manual = Seen("mode", AUTO_MANUAL, MANUAL, MANUAL)
        automatic = Seen("mode", AUTO_MANUAL, AUTOMATIC, AUTOMATIC)
        no_output = Seen("output", WORKING_OUTPUT, 0.0, 0.0)
        sensor = Seen("sensor break", STATUS, 0.0, 0.0, mask=SENSOR_BREAK)
        temperature = Seen("temperature", PROCESS_VALUE, -50.0, self.setpoint.limits[1] + OVERSHOOT_K)
        rate = self.ramp_down_k_per_min
        cut = SafeAction("heater off", ((AUTO_MANUAL, MANUAL), (MANUAL_OUTPUT, 0.0)), (manual, no_output), 10.0)
        down = SafeAction(
            f"ramping down at {rate:g} K/min",
            ((SETPOINT_RATE, rate), (TARGET_SETPOINT, COLD_C)),
            (Seen("target", TARGET_SETPOINT, COLD_C - RESOLUTION, COLD_C + RESOLUTION), automatic, sensor),
            2.0,
        )
        longest_s = 60.0 * self.setpoint.limits[1] / rate + COOLING_S
        cold = SafeAction("cold", (), (Seen("temperature", PROCESS_VALUE, -50.0, COLD_C + OVERSHOOT_K),), longest_s)
        held = SafeAction("left on its set-point", (), (automatic, sensor, temperature), 2.0)
        return SafeState(
            ways={
                "off": Way((cut,)),
                "ramp": Way((down, cold, cut), otherwise="off"),
                "hold": Way((held,), otherwise="ramp", grace_s=self.grace_s),
            },
            on_loss="off",
            watched=(
                Watched(temperature, every_s=1.0, stale_s=5.0),
                Watched(Seen("output", WORKING_OUTPUT, 0.0, 100.0), every_s=1.0, stale_s=5.0),
                Watched(Seen("mode", AUTO_MANUAL, AUTOMATIC, MANUAL), every_s=1.0, stale_s=5.0),
            ),
        )
