"""Press, furnace and sample through time: a fixed grid, split only by commands and by a blow-out.

Asking never changes anything. The state advances on the grid, a command splits the step at its exact time, and a
question between two recorded states steps a copy. Asking ahead of a later command does no harm either: the command
takes the record back to its own time. Two instruments may hand in their commands a little out of order (they are served
by different threads); the result is that of the right order.
"""

import math
from bisect import bisect_right
from collections.abc import Callable

from .furnace import Furnace
from .hazards import Hazards
from .parameters import Parameters
from .press import Press
from .rheology import Column, hydrostatic_strain
from .state import History, State
from .systematics import BlowOut, Cell, Systematics

Act = Callable[[State], None]


def _time_of(command: tuple[float, Act]) -> float:
    return command[0]


class Trajectory:
    """The state at any time, and the only place where it changes. Not thread-safe: one call at a time."""

    def __init__(self, p: Parameters, errors: Systematics, cell: Cell, blow_out: BlowOut) -> None:
        self.p = p
        self.per_second = p.steps_per_second
        self.press = Press(p, cell, blow_out)
        self.furnace = Furnace(p, errors)
        self.column = Column(p, self.press)
        self.hazards = Hazards(p, blow_out)
        head = State(load_lag=p.load_lag_s, temperature=p.room_temperature_k, hardness=p.initial_hardness)
        self.hazards.plan(head)
        self.history = History(head)
        self._head = head
        self._commands: list[tuple[float, Act]] = []
        self._asked: tuple[float, State] | None = None

    def at(self, time_s: float) -> State:
        """The state at a time, to be looked at only. Raises ValueError for a time before the start."""
        if self._asked is not None and self._asked[0] == time_s:
            return self._asked[1]
        if not 0.0 <= time_s < math.inf:
            raise ValueError(f"time is {time_s!r} s: a finite number of seconds since the start is accepted")
        self._run(time_s)
        state = self.history.state(self.history.before(time_s))
        if state.time < time_s:
            self._advance(state, time_s)
        self._asked = (time_s, state)
        return state

    def change(self, time_s: float, act: Act) -> None:
        """Apply a command at its time; commands that came later in simulated time are applied again after it."""
        if not 0.0 <= time_s < math.inf:
            raise ValueError(f"command at {time_s!r} s: a finite number of seconds since the start is accepted")
        place = bisect_right(self._commands, time_s, key=_time_of)
        later = self._commands[place:]
        self._commands[place:] = [(time_s, act), *later]
        for time, command in self._commands[place:]:
            self._apply(time, command)
        self._asked = None

    def _apply(self, time_s: float, act: Act) -> None:
        self._run(time_s)
        last = self.history.before(time_s)
        if last + 1 < len(self.history):
            self.history.truncate(last + 1)
            self._head = self.history.state(last)
        if self._head.time < time_s:
            self._advance(self._head, time_s)
            self.history.append(self._head)
        act(self._head)
        self.history.replace_last(self._head)

    def strain(self, s: State) -> float:
        """Strain of the sample since the start of the run."""
        return self.column.strain(s)

    def mean_strain(self, start: State, stop: State) -> float:
        """Mean strain since the start of the run between two states."""
        span = stop.time - start.time
        if span <= 0:
            return self.strain(stop)
        pressure = (stop.sum_pressure - start.sum_pressure) / span
        temperature = (stop.sum_temperature - start.sum_temperature) / span
        return (stop.sum_strain - start.sum_strain) / span + hydrostatic_strain(pressure, temperature)

    def _run(self, time_s: float) -> None:
        """Advance the recorded state over every grid point up to a time."""
        head, n = self._head, self.per_second
        advance, append, tick = self._advance, self.history.append, self.furnace.tick
        for k in range(math.floor(head.time * n) + 1, math.floor(time_s * n) + 1):
            advance(head, k / n)
            if k % n == 0:
                tick(head)
            append(head)

    def _advance(self, s: State, time_s: float) -> None:
        """Step a state to a time, through the instant of a blow-out or of a sensor break where one lies between."""
        breaks = self.p.sensor_break_at_s
        if breaks is not None and s.time < breaks <= time_s:
            s.broken = 1.0
        if s.blow_out <= time_s and not s.blown:
            if s.time < s.blow_out:
                self._step(s, s.blow_out)
            self.hazards.blow(s)
            s.watt = self.furnace.power(s)
        if s.time < time_s:
            self._step(s, time_s)

    def _step(self, s: State, time_s: float) -> None:
        h = time_s - s.time
        old_t, old_p, old_stress = s.temperature, s.pressure, s.stress
        old_strain = s.plastic + old_stress / self.p.sample_young_gpa
        self.furnace.advance(s, h)
        self.column.advance(s, h, self.furnace.sample_temperature(0.5 * (old_t + s.temperature)))
        self.press.advance(s, h)
        s.time = time_s
        s.pressure = self.press.pressure(s)
        half = 0.5 * h
        s.sum_temperature += half * (old_t + s.temperature)
        s.sum_pressure += half * (old_p + s.pressure)
        s.sum_stress += half * (old_stress + s.stress)
        s.sum_strain += half * (old_strain + s.plastic + s.stress / self.p.sample_young_gpa)
        self.hazards.accumulate(s, h)
