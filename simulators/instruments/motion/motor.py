"""EPICS motor records, and the stage under the press that is made of three.

Field names and behaviour follow the motor record of synApps (its documentation, and the fields that ophyd's
EpicsMotor asks for). Left out: backlash, retries, the dial coordinate, homing; acceleration takes no time.
"""

from collections.abc import Callable
from typing import Final, Protocol

from ...clock import Clock
from ...noise import Noise
from ...wire.records import Record, command, constant

STOP, PAUSE, MOVE, GO = range(4)
SPMG: Final = ("Stop", "Pause", "Move", "Go")
NO_YES: Final = ("No", "Yes")


class World(Protocol):
    """What the motors move."""

    def stage_mm(self, t: float, axis: str) -> float:
        """Position of the stage."""
        ...

    def move_stage(self, t: float, axis: str, target_mm: float, mm_per_s: float) -> None:
        """Start the stage towards a target."""

    def stop_stage(self, t: float, axis: str) -> None:
        """Stop the stage where it is."""


class MotorRecord:
    """One motor record: `position(t)` and `move(t, target, speed)` are its axis of the world; mm and mm/s."""

    def __init__(
        self,
        description: str,
        position: Callable[[float], float],
        move: Callable[[float, float, float], None],
        stop: Callable[[float], None],
        *,
        velocity: float,
        travel: tuple[float, float],
    ) -> None:
        self.description = description
        self.position, self._move, self._stop = position, move, stop
        self.velocity = velocity
        self.low, self.high = travel
        self.target = position(0.0)
        self.violated = False
        self.mode = GO

    def records(self) -> dict[str, Record]:
        """The fields by name."""
        fields = {
            "VAL": Record(lambda t: self.target, self._drive, unit="mm", limits=lambda: (self.low, self.high)),
            "RBV": Record(self.position, unit="mm"),
            "DMOV": Record(lambda t: int(not self._moving(t)), kind="long"),
            "MOVN": Record(lambda t: int(self._moving(t)), kind="long"),
            "VELO": Record(lambda t: self.velocity, self._set_velocity, unit="mm/s"),
            "STOP": command(self.stop),
            "HLM": Record(lambda t: self.high, self._set_high, unit="mm"),
            "LLM": Record(lambda t: self.low, self._set_low, unit="mm"),
            "LVIO": Record(lambda t: int(self.violated), kind="long"),
            "SPMG": Record(lambda t: self.mode, self._set_mode, kind="enum", states=SPMG),
            "EGU": constant("mm"),
            "DESC": constant(self.description),
            "ACCL": constant(0.0, "s"),
            "OFF": constant(0.0, "mm"),
        }
        for name, states in _FIXED.items():
            fields[name] = Record(lambda t: 0, kind="enum", states=states)
        for name in ("HLS", "LLS", "TDIR", "HOMF", "HOMR"):
            fields[name] = Record(lambda t: 0, kind="long")
        return fields

    def stop(self, t: float) -> None:
        """Stop where it is, and forget the target."""
        self._stop(t)
        self.target = self.position(t)

    def _moving(self, t: float) -> bool:
        return self.mode >= MOVE and self.position(t) != self.target

    def _drive(self, t: float, target: float) -> None:
        # As the record does it: a target beyond a soft limit is no error of the put, it is flagged and not taken.
        self.violated = not self.low <= target <= self.high
        if self.violated or self.mode == STOP:
            return
        self.target = target
        if self.mode >= MOVE:
            self._move(t, target, self.velocity)

    def _set_velocity(self, t: float, velocity: float) -> None:
        if not velocity > 0:
            raise ValueError(f"VELO of {self.description} is {velocity!r}: above 0 is accepted")
        self.velocity = velocity

    def _set_high(self, t: float, high: float) -> None:
        self.high = high

    def _set_low(self, t: float, low: float) -> None:
        self.low = low

    def _set_mode(self, t: float, mode: int) -> None:
        if mode < MOVE <= self.mode:
            self._stop(t)
        if mode == STOP:
            self.target = self.position(t)
        if mode >= MOVE > self.mode:
            self._move(t, self.target, self.velocity)
        self.mode = mode


_FIXED = {"DIR": ("Pos", "Neg"), "FOFF": ("Variable", "Frozen"), "SET": ("Use", "Set")}


class SimulatedStage:
    """The stage under the press: motors X, Y and Z, in mm."""

    wire = "channel access"

    def __init__(
        self,
        *,
        name: str,
        world: World,
        clock: Clock,
        noise: Noise,
        velocity: float = 2.0,
        travel: tuple[float, float] = (-25.0, 25.0),
    ) -> None:
        self.name = name
        self._motors = {axis.upper(): _stage_motor(world, axis, velocity, travel) for axis in "xyz"}

    def records(self) -> dict[str, Record]:
        """X, Y and Z with the fields of a motor record."""
        return joined_records(self._motors)


def _stage_motor(world: World, axis: str, velocity: float, travel: tuple[float, float]) -> MotorRecord:
    return MotorRecord(
        f"stage {axis}",
        lambda t: world.stage_mm(t, axis),
        lambda t, target, speed: world.move_stage(t, axis, target, speed),
        lambda t: world.stop_stage(t, axis),
        velocity=velocity,
        travel=travel,
    )


def joined_records(motors: dict[str, MotorRecord]) -> dict[str, Record]:
    """The fields of several motor records under their names."""
    return {f"{name}.{field}": record for name, motor in motors.items() for field, record in motor.records().items()}
