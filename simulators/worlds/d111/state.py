"""The state of press, furnace and sample at one instant, and the record of all instants so far."""

import dataclasses
from array import array
from bisect import bisect_right
from operator import attrgetter

import numpy as np

OFF, AUTOMATIC, MANUAL = 0.0, 1.0, 2.0
WHOLE, OPEN, SHORT = 0.0, 1.0, 2.0
NEVER = float("inf")


@dataclasses.dataclass(slots=True)
class State:
    """Plain numbers only, so that a copy costs a microsecond. GPa, MN, K, mm, um/s, s; flags are numbers too."""

    time: float = 0.0
    load: float = 0.0
    load_setpoint: float = 0.0
    load_target: float = 0.0
    load_rate: float = 0.0  # MN/s
    load_lag: float = 3.0
    load_max: float = 0.0
    relaxed: float = 0.0  # pressure lost for good on heating
    temperature: float = 300.0  # of the thermocouple junction
    mode: float = OFF
    target_c: float = 26.85
    ramp: float = 0.0  # K/s
    working_c: float = 26.85
    output: float = 0.0  # per cent
    integral: float = 0.0  # per cent
    previous_c: float = 26.85
    watt: float = 0.0
    heater: float = WHOLE
    broken: float = 0.0  # sensor break
    top_stroke: float = 0.0
    top_speed: float = 0.0
    bottom_stroke: float = 0.0
    bottom_speed: float = 0.0
    stress: float = 0.0
    hardness: float = 1.0
    plastic: float = 0.0  # strain
    pressure: float = 0.0
    hazard: float = 0.0
    onset: float = NEVER  # of the precursors
    blow_out: float = NEVER  # planned time of the blow-out
    blown: float = 0.0
    sum_temperature: float = 0.0  # integrals over time
    sum_pressure: float = 0.0
    sum_stress: float = 0.0
    sum_strain: float = 0.0


FIELDS = tuple(field.name for field in dataclasses.fields(State))
_pack = attrgetter(*FIELDS)


class History:
    """Every state that was reached on the grid or by a command, in order of time."""

    def __init__(self, first: State) -> None:
        self.times = array("d")
        self._rows = array("d")
        self.append(first)

    def __len__(self) -> int:
        return len(self.times)

    def append(self, state: State) -> None:
        """Record a state."""
        self.times.append(state.time)
        self._rows.extend(_pack(state))

    def replace_last(self, state: State) -> None:
        """Record a state in place of the last one."""
        self.truncate(len(self) - 1)
        self.append(state)

    def truncate(self, length: int) -> None:
        """Forget everything but the first `length` states."""
        del self.times[length:]
        del self._rows[length * len(FIELDS) :]

    def before(self, time_s: float) -> int:
        """Number of the last state at or before a time."""
        return bisect_right(self.times, time_s) - 1

    def state(self, number: int) -> State:
        """A copy of one state."""
        width = len(FIELDS)
        return State(*self._rows[number * width : (number + 1) * width])

    def table(self) -> dict[str, np.ndarray]:
        """Every quantity as an array over the recorded times."""
        rows = np.array(self._rows).reshape(-1, len(FIELDS))
        return dict(zip(FIELDS, rows.T, strict=True))
