"""A large-volume press under EPICS, with two differential rams.

The records and what they do follow the databases of the 1000-ton press and of the DDIA-30 module in 13-ID-D of
GSECARS (Advanced Photon Source), published in the repository CARS-UChicago/GSECARS-EPICS: `ID_LVP_pressure.db`
(version of 20 May 2026) and `ioc13DDIA30/motors.template`. No protocol of the press at NE7A of PF-AR is published; this
one stands in for it. Ours, and not in those databases: `Press_OilPressure`, `Press_Stroke`, the noise and the
resolution of the load, and the pumps' greatest speed. Whether the "tons" of the load are metric is not verified.
"""

import math
from typing import Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.records import MAJOR, NO_ALARM, Record, command, constant
from ..lease import Lease
from .loop import LoadLoop

MN_PER_TON: Final = 9.80665e-3
RESOLUTION_TON: Final = 0.1
NOISE_TON: Final = 0.02
PUMP_LIMIT_MN_PER_H: Final = 30.0
"""How fast the loop chases a set-point that is far from the load."""
LATCH_SAMPLES: Final = 10
"""How many of the 1-s samples after a blow-out are looked at for the fall."""


class World(Protocol):
    """The press that the records drive."""

    def load_mn(self, t: float) -> float:
        """Load."""
        ...

    def oil_pressure_mpa(self, t: float) -> float:
        """Oil pressure of the main ram."""
        ...

    def stroke_mm(self, t: float) -> float:
        """Stroke of the main ram."""
        ...

    def blown_out(self, t: float) -> bool:
        """Whether the cell has blown out."""
        ...

    def ramp_load(self, t: float, target_mn: float, rate_mn_per_h: float) -> None:
        """Take the load to a target."""

    def hold_load(self, t: float) -> None:
        """Close the valves."""

    def ram_stroke_mm(self, t: float, i: int) -> float:
        """Stroke of a differential ram."""
        ...

    def ram_speed_um_per_s(self, t: float, i: int) -> float:
        """Its speed."""
        ...

    def set_ram_speed(self, t: float, ram: int, um_per_s: float) -> None:
        """Drive it."""


class SimulatedGSECARSPress:
    """Load loop with ramp, two pumps, blow-out latch, and the differential rams `DDIA30:m1` (top) and `DDIA30:m2`.

    The latch is the IOC's own: when the load falls by more than `Press_Blowout.C` tons from one 1-s sample to the
    next, it is set, in MAJOR alarm, pumps and feedback stop, and stay so whoever asks. A ramp that was under way goes
    on counting with the feedback off, as it does in that database: it moves the set-point, not the press. The
    differential rams are another IOC's and are not stopped by the latch. With `lease` it has a watchdog record
    `Press_Lease` (ours, not in those databases): pumps and rams are stopped when nobody beats it any more.
    """

    wire = "channel access"

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        blow_out_tons: float = 10.0,
        switchover_tons: float = 300.0,
        stroke_limit_mm: float = 2.0,
        lease: bool = False,
    ) -> None:
        self.name = name
        self._world, self._noise = world, noise
        self._fall_tons, self._switchover_tons = blow_out_tons, switchover_tons
        self._loop = LoadLoop(self._tons(0.0))
        self._feedback = self._latched = False
        self._seen_s: int | None = None
        self._sample = -1, 0.0
        self._lease = Lease(clock, self._stop_all) if lease else None
        self._rams = [Ram(world, i, label, stroke_limit_mm) for i, label in enumerate(("Pump 1", "Pump 2"))]

    def records(self) -> dict[str, Record]:
        """The records of the load, the pumps and the rams."""
        records = self._load_records() | self._pump_records()
        for i, ram in enumerate(self._rams):
            records |= {f"DDIA30:m{i + 1}.{field}": record for field, record in ram.records().items()}
        return records if self._lease is None else self._lease.records("Press_Lease", records, free=_stops)

    def tick(self, t: float) -> None:
        """Look whether the lease is still held."""
        if self._lease is not None:
            self._lease.tick(t)

    def _stop_all(self, t: float) -> None:
        self._stop_pumps(t)
        self._loop.enable(t, False)
        for ram in self._rams:
            ram.stop(t)

    def _load_records(self) -> dict[str, Record]:
        loop = self._loop
        states = ("Disable", "Enable")
        records = {
            "CurrentPressure": Record(self._reading, unit="tons", precision=1),
            "PID.VAL": Record(loop.setpoint, self._set_setpoint, unit="tons", precision=3),
            "PID.FBON": Record(self._feedback_on, self._set_feedback, kind="enum", states=("Off", "On")),
            "PID.KP": constant(20.0),
            "SetPressure": Record(self._drive_output),
            "SwitchoverPressure": Record(lambda t: self._switchover_tons, self._set_switchover, unit="tons"),
            "RampTarget": Record(lambda t: loop.target, loop.set_target, unit="tons", precision=2),
            "RampTime": Record(lambda t: loop.hours, loop.set_hours, unit="h"),
            "StartRamp.PROC": command(self._start_ramp),
            "StartRamp.D": Record(lambda t: loop.duration_s, unit="s"),
            "StartRamp.E": Record(lambda t: loop.step, unit="tons"),
            "EnableRamp": Record(lambda t: int(loop.ramping(t)), self._enable_ramp, kind="enum", states=states),
            "RampCounter": Record(loop.counter),
            "Blowout.C": Record(lambda t: self._fall_tons, self._set_fall, unit="tons"),
            "BlowoutLatch": Record(
                self._latch,
                self._set_latch,
                kind="enum",
                states=("OK", "Blowout!"),
                severity=lambda t: MAJOR if self._latch(t) else NO_ALARM,
            ),
            "StopBoth.PROC": command(self._stop_pumps),
            "StopRadial.PROC": command(self._stop_pumps),
            "StopSyringe.PROC": command(self._stop_pumps),
            "OilPressure": Record(self._world.oil_pressure_mpa, unit="MPa"),
            "Stroke": Record(self._world.stroke_mm, unit="mm"),
        }
        return {f"Press_{suffix}": record for suffix, record in records.items()}

    def _pump_records(self) -> dict[str, Record]:
        """The radial piston pump (m56) below the switchover load, else the syringe pump (m54)."""
        return self._pump_motor("m56", radial=True) | self._pump_motor("m54", radial=False)

    def _pump_motor(self, motor: str, radial: bool) -> dict[str, Record]:
        return {
            f"{motor}.JVEL": Record(lambda t: abs(self._pump(t, radial)) or 0.01),
            f"{motor}.JOGF": Record(lambda t: int(self._pump(t, radial) != 0), kind="long"),
            f"{motor}.DMOV": Record(lambda t: int(self._pump(t, radial) == 0), kind="long"),
        }

    def _tons(self, t: float) -> float:
        return self._world.load_mn(t) / MN_PER_TON

    def _reading(self, t: float) -> float:
        """The load meter, read once a second."""
        sample = math.floor(t)
        if sample != self._sample[0]:
            tons = self._tons(sample) + NOISE_TON * self._noise.normal(sample)
            self._sample = sample, round(tons / RESOLUTION_TON) * RESOLUTION_TON
        return self._sample[1]

    def _drive_output(self, t: float) -> float:
        """Output of the loop in revolutions per second, -100 to 100."""
        if not self._feedback_on(t):
            return 0.0
        return max(-100.0, min(100.0, 20.0 * (self._loop.setpoint(t) - self._tons(t))))

    def _pump(self, t: float, radial: bool) -> float:
        output = self._drive_output(t)
        return output if radial == (output > 0 and self._tons(t) < self._switchover_tons) else 0.0

    def _latch(self, t: float) -> int:
        """The latch at t: found from the world at whole seconds, whether or not anybody asked in between."""
        if not self._latched and self._seen_s is None and self._world.blown_out(math.floor(t)):
            first = self._first_sample(math.floor(t))
            for sample in range(first, min(math.floor(t), first + LATCH_SAMPLES) + 1):
                if self._tons(sample - 1) - self._tons(sample) > self._fall_tons:
                    self._seen_s, self._latched, self._feedback = sample, True, False
                    break
        return int(self._latched)

    def _first_sample(self, last: int) -> int:
        """The first whole second at which the cell has blown out; at `last` it has."""
        first = 0
        while first < last:
            middle = (first + last) // 2
            first, last = (first, middle) if self._world.blown_out(middle) else (middle + 1, last)
        return last

    def _feedback_on(self, t: float) -> int:
        self._latch(t)
        return int(self._feedback)

    def _set_feedback(self, t: float, on: int) -> None:
        self._latch(t)
        self._feedback = bool(on)
        self._drive(t)

    def _set_latch(self, t: float, state: int) -> None:
        self._latch(t)
        self._latched = bool(state)
        if state:
            self._stop_pumps(t)

    def _stop_pumps(self, t: float) -> None:
        self._latch(t)
        self._feedback = False
        self._drive(t)

    def _set_setpoint(self, t: float, tons: float) -> None:
        self._loop.set_setpoint(t, tons)
        self._drive(t)

    def _start_ramp(self, t: float) -> None:
        self._loop.start(t, self._reading(t))
        self._drive(t)

    def _enable_ramp(self, t: float, enable: int) -> None:
        self._loop.enable(t, bool(enable))
        self._drive(t)

    def _drive(self, t: float) -> None:
        """Hand the loop's state to the world: valves closed, a ramp, or the chase of a set-point."""
        loop = self._loop
        if not self._feedback_on(t):
            self._world.hold_load(t)
        elif loop.ramping(t) and loop.step:
            self._world.ramp_load(t, max(0.0, round(loop.final * MN_PER_TON, 9)), abs(loop.step) * 3600.0 * MN_PER_TON)
        else:
            self._world.ramp_load(t, loop.setpoint(t) * MN_PER_TON, PUMP_LIMIT_MN_PER_H)

    def _set_switchover(self, t: float, tons: float) -> None:
        self._switchover_tons = tons

    def _set_fall(self, t: float, tons: float) -> None:
        self._fall_tons = tons


def _stops(suffix: str) -> bool:
    """Whether a record can only stop something, or bound a ramp that the feedback alone would turn into motion."""
    return suffix.endswith(".STOP") or suffix.startswith(("Press_Stop", "Press_EnableRamp"))


class Ram:
    """A differential ram as a motor record that jogs: JVEL is its speed in mm/s, JOGF advances, JOGR retracts."""

    def __init__(self, world: World, number: int, description: str, limit_mm: float) -> None:
        self._world, self._number, self._description, self._limit_mm = world, number, description, limit_mm
        self._jog_mm_per_s = 1e-4

    def records(self) -> dict[str, Record]:
        """The fields of the motor record that a jog needs."""
        return {
            "RBV": Record(lambda t: self._world.ram_stroke_mm(t, self._number), unit="mm", precision=5),
            "JVEL": Record(lambda t: self._jog_mm_per_s, self._set_velocity, unit="mm/s", precision=7),
            "JOGF": Record(lambda t: int(self._speed(t) > 0), lambda t, go: self._jog(t, 1, go), kind="long"),
            "JOGR": Record(lambda t: int(self._speed(t) < 0), lambda t, go: self._jog(t, -1, go), kind="long"),
            "STOP": command(self.stop),
            "DMOV": Record(lambda t: int(self._speed(t) == 0), kind="long"),
            "MOVN": Record(lambda t: int(self._speed(t) != 0), kind="long"),
            "HLM": constant(self._limit_mm, "mm"),
            "LLM": constant(-self._limit_mm, "mm"),
            "EGU": constant("mm"),
            "DESC": constant(self._description),
        }

    def stop(self, t: float) -> None:
        """Stand still."""
        self._world.set_ram_speed(t, self._number, 0.0)

    def _speed(self, t: float) -> float:
        return self._world.ram_speed_um_per_s(t, self._number)

    def _set_velocity(self, t: float, mm_per_s: float) -> None:
        if not mm_per_s > 0:
            raise ValueError(f"JVEL of {self._description} is {mm_per_s!r} mm/s: above 0 is accepted")
        if speed := self._speed(t):
            self._world.set_ram_speed(t, self._number, math.copysign(mm_per_s * 1e3, speed))
        self._jog_mm_per_s = mm_per_s

    def _jog(self, t: float, direction: int, go: float) -> None:
        if go:
            self._world.set_ram_speed(t, self._number, direction * self._jog_mm_per_s * 1e3)
        elif self._speed(t) * direction > 0:
            self._world.set_ram_speed(t, self._number, 0.0)
