"""EPICS motor records as axes, and the stage that is made of three."""

import math
from collections.abc import Mapping
from typing import Any, Final

from ophyd import Component as Cpt

from ..epics import EpicsInstrument
from ..errors import LimitError, Refused
from ..instrument import Setpoint
from ..link import Steps
from ..status import JobStatus

MARGIN_S: Final = 30.0
POLL_S: Final = (0.1, 60.0)
FIELDS: Final = ("RBV", "VELO", "LLM", "HLM")


class Motor(Setpoint):
    """One axis: a motor record (synApps) of an EpicsInstrument; reads its readback, `set` is done on arrival.

    `limits` are hard; the record's own soft limits are obeyed too, before anything moves.
    """

    def __init__(self, *, record: str, unit: str = "mm", tolerance: float = 0.005, **kwargs: Any) -> None:
        super().__init__(
            query=f"{record}.RBV", command=f"{record}.VAL", unit=unit, tolerance=tolerance, parse=float, **kwargs
        )
        self.record = record
        self.target = math.nan

    @property
    def position(self) -> float:
        """Where it was last seen."""
        return float(self.get())

    def set(self, value: float) -> JobStatus:
        """Move to `value`. Raises LimitError at once; the Status fails with LimitError, Refused or LinkError."""
        return travel({self: value})

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is."""
        self.instrument.link.submit(self._stop)

    def _stop(self) -> None:
        self.instrument.start(f"{self.record}.STOP", 1)


class EpicsStage(EpicsInstrument):
    """The stage under the press: motor records X (across the beam), Y (up) and Z (along the beam), in mm."""

    x = Cpt(Motor, record="X", limits=(-25.0, 25.0))
    y = Cpt(Motor, record="Y", limits=(-25.0, 25.0))
    z = Cpt(Motor, record="Z", limits=(-25.0, 25.0))


def travel(moves: Mapping[Motor, float]) -> JobStatus:
    """Move axes of one instrument together; the Status is done when the last has arrived. Raises LimitError."""
    for motor, value in moves.items():
        motor.check_value(value)
    for motor, value in moves.items():
        motor.target = value
    instrument = next(iter(moves)).instrument
    return instrument.link.submit(lambda: _travel(instrument, moves))


def _travel(instrument: EpicsInstrument, moves: Mapping[Motor, float]) -> Steps:
    duration = _duration(instrument, moves)
    if all(abs(motor.position - value) <= 0.1 * motor.tolerance for motor, value in moves.items()):
        return
    for motor, value in moves.items():
        instrument.start(f"{motor.record}.VAL", value)
    deadline = instrument.clock.monotonic() + duration + MARGIN_S
    shortest, longest = POLL_S
    pause = duration
    while True:
        yield min(longest, max(shortest, pause))
        if _arrived(instrument, moves):
            break
        if instrument.clock.monotonic() > deadline:
            for motor in moves:
                instrument.start(f"{motor.record}.STOP", 1)
            raise Refused(f"{_named(moves)} still moving {MARGIN_S:g} s after the time that the way takes; stopped")
        pause = shortest
    for motor, value in moves.items():
        if abs(motor.position - value) > motor.tolerance:
            raise Refused(f"{motor.name}: {value:g} {motor.unit} was asked for, it stands at {motor.position:g}")


def _arrived(instrument: EpicsInstrument, moves: Mapping[Motor, float]) -> bool:
    """Whether all axes have stopped; their positions are read along."""
    fields = instrument.ask(*((f"{motor.record}.RBV", f"{motor.record}.DMOV") for motor in moves))
    stamp = instrument.clock.time()
    for motor, (position, _) in zip(moves, fields, strict=True):
        motor.take(position, stamp)
    return all(done for _, done in fields)


def _duration(instrument: EpicsInstrument, moves: Mapping[Motor, float]) -> float:
    """Seconds that the longest move takes. Raises LimitError beyond a soft limit of a record."""
    fields = instrument.ask(*(tuple(f"{motor.record}.{field}" for field in FIELDS) for motor in moves))
    durations = []
    for (motor, value), (position, velocity, low, high) in zip(moves.items(), fields, strict=True):
        if low < high and not low <= value <= high:  # equal limits mean none
            raise LimitError(f"{motor.name} = {value:g} is refused: its record accepts {low:g}..{high:g} {motor.unit}")
        if not velocity > 0:
            raise Refused(f"{motor.name}: its record's velocity is {velocity:g} {motor.unit}/s")
        motor.take(position, instrument.clock.time())
        durations.append(abs(value - position) / velocity)
    return max(durations)


def _named(moves: Mapping[Motor, float]) -> str:
    return ", ".join(motor.name for motor in moves)
