"""What a Keithley 6221 in delta mode does: it reverses its current, and a 2182A behind its relay reads each time."""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from ...clock import Clock
from ..meters.keithley2182a import FIRST, OVERFLOW, SimulatedKeithley2182A

BAUD: Final = 19200


class World(Protocol):
    """The circuit of source and meter, at a time in simulated seconds."""

    def set_source_current(self, t: float, ampere: float) -> None:
        """From `t` on so much flows; times do not fall."""
        ...

    def voltage_v(self, t: float) -> float:
        """Between the leads of the meter, without its noise."""
        ...


class Circuit:
    """The source's terminals: what flows, whether it is as much as was asked for, and what the meter is shown.

    The source gives no more than its compliance. So the voltage of the world, taken as that of the source, is cut off
    there, and the current that then flows is not told: only that it is less.
    """

    def __init__(self, world: World, clock: Clock, compliance_v: Callable[[], float]) -> None:
        self.world, self.clock, self._compliance_v = world, clock, compliance_v
        self.on = False
        self.ampere = 0.0
        self.limited = self.reached = False
        """Whether the compliance has been reached since the current changed; since this was last set to False."""

    def drive(self, ampere: float, *, on: bool) -> None:
        """From now on; the world is told of changes alone."""
        flows = ampere if on else 0.0
        if flows != self.ampere:
            self.world.set_source_current(self.clock.monotonic(), flows)
        self.on, self.ampere, self.limited = on, flows, False
        self.emf_v(self.clock.monotonic())

    def emf_v(self, t: float) -> float:
        """What the meter sees."""
        voltage, most = self.world.voltage_v(t), self._compliance_v()
        if not self.on or self.ampere == 0.0 or abs(voltage) <= most:
            return voltage
        self.limited = self.reached = True
        return math.copysign(most, voltage)

    def in_compliance(self) -> bool:
        """Whether the world would want a higher voltage than there is, now."""
        before, self.limited = self.limited, False
        self.emf_v(self.clock.monotonic())
        now, self.limited = self.limited, self.limited or before
        return now

    def cold_junction_c(self, t: float) -> float:
        """Nobody asks a meter behind a relay for it."""
        return 23.0


class RelayedMeter(SimulatedKeithley2182A):
    """The 2182A on the source's serial line. `noise_v` is that of a conversion of one power line cycle.

    Without it the noise is that of the model's ranges.
    """

    def __init__(self, *, noise_v: float | None = None, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.cycle_noise_v = noise_v

    async def convert(self) -> float:
        """One conversion of its first input, triggered by the source; 9.9E37 beyond its range."""
        return await self._voltage(FIRST)

    def _noise_v(self, upper_v: float) -> float:
        if self.cycle_noise_v is None:
            return super()._noise_v(upper_v)
        nplc = self.voltage_nplc
        return self.cycle_noise_v * (nplc**-0.5 if nplc >= 1 else 1 / nplc)


class Relay:
    """The source's serial line: text to the meter, and what it answers, kept until somebody asks for it.

    `meter_terminator` is what the meter ends its answers with, and comes through.
    """

    def __init__(self, meter: RelayedMeter | None, clock: Clock, meter_terminator: str) -> None:
        self._meter, self._clock, self._terminator = meter, clock, meter_terminator
        self._answer = ""

    async def send(self, text: str) -> None:
        """Hand a line to the meter; the answer before it is forgotten."""
        self._answer = ""
        if self._meter is not None:
            answer = await self._meter.execute(text)
            self._answer = "" if answer is None else answer + self._terminator
        await self._clock.sleep((len(text) + len(self._answer) + 1) * 10 / BAUD, "relay")

    def enter(self) -> str:
        """The meter's answer, once."""
        answer, self._answer = self._answer, ""
        return answer


class Series:
    """One series: conversions with the current high, low, high, ...; from the third on each makes a reading.

    `stored(reading_v, time_s)` takes each, with the seconds since the first one. A series ends by itself after `count`
    readings, or in compliance where `aborts` is set, and says so with `ended(in_compliance)`.
    """

    def __init__(
        self,
        circuit: Circuit,
        meter: RelayedMeter,
        clock: Clock,
        *,
        levels_a: tuple[float, float],
        delay_s: float,
        count: float,
        aborts: bool,
        stored: Callable[[float, float], None],
        ended: Callable[[bool], None],
    ) -> None:
        self.circuit, self.meter, self.clock = circuit, meter, clock
        self.levels_a, self.delay_s, self.count, self.aborts = levels_a, delay_s, count, aborts
        self.running = True
        self.latest: tuple[float, float] | None = None
        self.fresh = False
        self.n = 0
        self._stored, self._ended = stored, ended
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run beside everything else."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_report)

    def stop(self) -> None:
        """End it; the conversion under way comes to nothing."""
        self.running = False

    async def _run(self) -> None:
        voltages: deque[float] = deque(maxlen=3)
        began = 0.0
        for level in itertools.cycle(self.levels_a):
            self.circuit.drive(level, on=True)
            await self.clock.sleep(self.delay_s, self.meter.name)
            if self.running and not self._over():
                voltages.append(await self.meter.convert())
            if not self.running or self._over():
                return
            if len(voltages) == 3:
                now = self.clock.monotonic()
                began = now if self.n == 0 else began
                self._read(voltages[0], voltages[1], voltages[2], now - began)
                if self.n >= self.count:
                    self._end(in_compliance=False)
                    return

    def _read(self, first: float, middle: float, last: float, time_s: float) -> None:
        reading = OVERFLOW
        if OVERFLOW not in (first, middle, last):
            reading = (first - 2.0 * middle + last) / 4.0 * (-1.0) ** self.n
        self.n += 1
        self.latest, self.fresh = (reading, time_s), True
        self._stored(reading, time_s)

    def _over(self) -> bool:
        """Whether compliance ends it now."""
        if self.aborts and self.circuit.limited and self.running:
            self._end(in_compliance=True)
        return not self.running

    def _end(self, *, in_compliance: bool) -> None:
        self.running = False
        self._ended(in_compliance)


def _report(task: asyncio.Task[None]) -> None:
    """A defect of the simulator must be seen."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "a series of the current source has failed", "exception": error}
        task.get_loop().call_exception_handler(context)
