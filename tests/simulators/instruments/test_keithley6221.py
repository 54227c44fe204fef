"""The simulated current source, with the nanovoltmeter behind its relay."""

import asyncio
import heapq
import math
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from megabar.simulators.instruments.sources.keithley6221 import SimulatedKeithley6221
from megabar.simulators.noise import Noise
from megabar.simulators.worlds.laser_heated_cell.foil import Foil, FoilTerms
from megabar.simulators.worlds.laser_heated_cell.parameters import read_parameters

OHM = 0.012
CONVERSION_S = 2 / 50 + 0.008  # of one power line cycle, once more for the zero
DELAY_S = 0.02


class World:
    """A resistance, with a voltage of its own."""

    def __init__(self, ohm: float = OHM, own_v: Callable[[float], float] = lambda t: 4e-6) -> None:
        self.ohm, self.own_v = ohm, own_v
        self.told: list[tuple[float, float]] = []

    def set_source_current(self, t: float, ampere: float) -> None:
        self.told.append((t, ampere))

    def voltage_v(self, t: float) -> float:
        return self.ohm * (self.told[-1][1] if self.told else 0.0) + self.own_v(t)


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float, name: str) -> None:
        self._number += 1
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + delay_s, self._number, future))
        await future

    async def run(self, until: float) -> None:
        """Wake whoever sleeps, in order, until a moment."""
        while True:
            for _ in range(5):
                await asyncio.sleep(0)
            if not self._sleepers or self._sleepers[0][0] > until:
                break
            self.now, _, future = heapq.heappop(self._sleepers)
            future.set_result(None)
        self.now = until


class Bench:
    """A source, its world and its time, in one loop."""

    def __init__(self, world: Any = None, seed: int = 1, **parameters: Any) -> None:
        self.world, self.clock = world or World(), Clock()
        options = {"gain": 0.0, "noise_v": 0.0, **parameters}
        self.source = SimulatedKeithley6221(
            name="source", world=self.world, clock=self.clock, noise=Noise(seed, "source"), **options
        )

    async def ask(self, message: str) -> str | None:
        """What is answered, however long it takes."""
        task = asyncio.ensure_future(self.source.execute(message))
        while not task.done():
            await self.clock.run(self.clock.now)
            if not task.done():
                await self.clock.run(self.clock.now + 0.001)
        return task.result()

    async def run(self, seconds: float) -> None:
        await self.clock.run(self.clock.now + seconds)

    async def arm(self, n: int | str, ampere: float = 0.01, *, aborts: int = 1) -> None:
        """Ready for a series of one power line cycle."""
        await self.ask('SYST:COMM:SER:SEND ":SENS:VOLT:NPLC 1"')
        await self.ask(f"SOUR:DELT:HIGH {ampere};DEL {DELAY_S};COUN {n};CAB {aborts};:TRAC:FEED SENS1")
        await self.ask("SOUR:DELT:ARM")
        await self.run(2.0 + 8e-4 * (n if isinstance(n, int) else 65536) + 0.001)

    async def series(self, n: int, **options: Any) -> np.ndarray:
        """The readings of a series (V), armed before."""
        await self.arm(n, **options)
        await self.ask("INIT:IMM")
        await self.run((n + 2.5) * (DELAY_S + CONVERSION_S))
        return np.array([float(word) for word in (await self.ask("TRAC:DATA?")).split(",")[::2]])


def on(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


def test_it_says_who_it_is():
    async def test() -> None:
        assert (await Bench().ask("*IDN?")).startswith("KEITHLEY INSTRUMENTS INC.,MODEL 6221,")

    on(test)


# ---- a steady current


def test_nothing_flows_until_it_is_switched_on():
    async def test() -> None:
        bench = Bench()
        await bench.ask("SOUR:CURR 0.01")
        assert bench.world.told == []
        await bench.ask("OUTP ON")
        assert bench.world.told[-1][1] == 0.01 and await bench.ask("OUTP?") == "1"
        await bench.ask(":SOURCE:CURRENT:LEVEL -0.02")
        assert bench.world.told[-1][1] == -0.02
        n = len(bench.world.told)
        await bench.ask("OUTP 1;:SOUR:CURR -0.02;:SOUR:CURR?")
        assert len(bench.world.told) == n  # of changes alone
        await bench.ask("SOUR:CLE")
        assert bench.world.told[-1][1] == 0.0
        assert await bench.ask("OUTP?;:SOUR:CURR?") == "0;+0.000000E+00"

    on(test)


def test_reset_switches_off_and_leaves_the_buffer_alone():
    async def test() -> None:
        bench = Bench()
        await bench.ask("SOUR:CURR 0.01;:OUTP 1;:SOUR:DELT:HIGH 0.02;:TRAC:POIN 7;FEED:CONT NEXT;*RST")
        assert bench.world.told[-1][1] == 0.0
        assert await bench.ask("OUTP?;:SOUR:CURR?;:SOUR:CURR:COMP?") == "0;+0.000000E+00;+1.00000000E+01"
        assert await bench.ask("SOUR:DELT:HIGH?;LOW?;COUN?") == "+1.000000E-05;-1.00000000E-05;+9.9E37"
        assert await bench.ask("TRAC:POIN?;FEED:CONT?") == "7;NEXT"

    on(test)


def test_beyond_the_compliance_the_voltage_is_cut_off_and_told():
    async def test() -> None:
        bench = Bench(World(ohm=300.0))
        await bench.ask("SOUR:CURR:COMP 2;:SOUR:CURR 0.005;:OUTP 1")
        assert await bench.ask("STAT:MEAS:COND?;:STAT:MEAS?") == "0;0"
        await bench.ask("SOUR:CURR -0.01")
        assert await bench.ask("STAT:MEAS:COND?;:STAT:MEAS?") == "8;8"
        await bench.ask('SYST:COMM:SER:SEND ":READ?"')
        assert float(await bench.ask("SYST:COMM:SER:ENT?")) == pytest.approx(-2.0, abs=1e-5)
        await bench.ask("SOUR:CURR 0.001")
        assert await bench.ask("STAT:MEAS:COND?;:STAT:MEAS?;:STAT:MEAS?") == "0;8;0"

    on(test)


# ---- the relay


def test_the_meter_is_reached_through_the_relay_and_keeps_its_own_settings():
    async def test() -> None:
        bench = Bench(meter_terminator="\r")
        await bench.ask('SYST:COMM:SER:SEND "*IDN?"')
        assert (await bench.ask("SYST:COMM:SER:ENT?")).startswith("KEITHLEY INSTRUMENTS INC.,MODEL 2182A,")
        await bench.ask('SYST:COMM:SER:SEND ":SENS:VOLT:NPLC 2;:SENS:FUNC ""VOLT:DC"";FUNC?"')
        assert await bench.ask("SYST:COMM:SER:ENT?") == '"VOLT:DC"\r'
        assert await bench.ask("SYST:COMM:SER:ENT?") == ""
        assert bench.source.meter.voltage_nplc == 2.0
        await bench.ask("*RST")
        assert bench.source.meter.voltage_nplc == 2.0

    on(test)


def test_without_a_meter_nothing_is_armed():
    async def test() -> None:
        bench = Bench(meter=False)
        assert await bench.ask("SOUR:DELT:NVPR?") == "0"
        await bench.ask('SYST:COMM:SER:SEND "*IDN?"')
        assert await bench.ask("SYST:COMM:SER:ENT?") == ""
        await bench.ask("SOUR:DELT:ARM")
        await bench.run(5.0)
        assert await bench.ask("SOUR:DELT:ARM?;:SYST:ERR?") == '0;-241,"Hardware missing"'

    on(test)


# ---- delta mode


def test_readings_are_current_times_resistance_free_of_offset_and_linear_drift():
    async def test() -> None:
        bench = Bench(World(own_v=lambda t: 4e-6 + 3e-7 * t))
        readings = await bench.series(8)
        assert readings == pytest.approx([0.01 * OHM] * 8, abs=2e-9)

    on(test)


def test_a_quadratic_drift_leaves_half_of_it_with_alternating_sign():
    async def test() -> None:
        each_s, q = DELAY_S + CONVERSION_S, 4e-7
        bench = Bench(World(own_v=lambda t: q * (t / each_s) ** 2))
        left = await bench.series(8) - 0.01 * OHM
        assert left == pytest.approx([q / 2, -q / 2] * 4, abs=2e-9)

    on(test)


def test_the_noise_of_readings_that_share_voltages_is_correlated():
    async def test() -> None:
        noise_v = 1e-6
        left = (await Bench(noise_v=noise_v).series(4000) - 0.01 * OHM) / noise_v
        found = [np.mean(left[lag:] * left[: len(left) - lag]) for lag in range(4)]
        assert found == pytest.approx([6 / 16, 4 / 16, 1 / 16, 0.0], abs=0.03)

    on(test)


def test_noise_falls_with_the_integration_time_of_the_meter():
    async def test() -> None:
        def left(readings: np.ndarray) -> float:
            return float(np.std(readings))

        bench = Bench(noise_v=1e-7)
        one = left(await bench.series(400))
        await bench.ask("SOUR:SWE:ABOR")
        await bench.ask('SYST:COMM:SER:SEND ":SENS:VOLT:NPLC 25"')
        await bench.ask("SOUR:DELT:ARM")
        await bench.run(3.0)
        await bench.ask("INIT:IMM")
        await bench.run(402.5 * (DELAY_S + 1.0 + 0.008))
        words = (await bench.ask("TRAC:DATA?")).split(",")
        assert len(words) == 800
        assert one / left(np.array(words[::2], float)) == pytest.approx(5.0, rel=0.2)

    on(test)


def test_the_current_is_high_first_and_there_is_none_after_the_last_reading():
    async def test() -> None:
        bench = Bench()
        await bench.series(3)
        assert [ampere for _, ampere in bench.world.told] == [0.01, -0.01, 0.01, -0.01, 0.01, 0.0]
        assert np.diff([t for t, _ in bench.world.told]) == pytest.approx([DELAY_S + CONVERSION_S] * 5)
        assert await bench.ask("SOUR:DELT:ARM?;:TRAC:POIN:ACT?") == "1;3"
        assert int(await bench.ask("STAT:MEAS?")) & 1 << 9 and int(await bench.ask("STAT:OPER?")) == 1 << 1

    on(test)


def test_times_are_those_since_the_first_reading_or_between_them():
    async def test() -> None:
        bench = Bench()
        await bench.series(4)
        each_s = DELAY_S + CONVERSION_S
        times = [float(word) for word in (await bench.ask("TRAC:DATA?")).split(",")[1::2]]
        assert times == pytest.approx(each_s * np.arange(4), abs=1e-6)
        times = [float(word) for word in (await bench.ask("TRAC:TST:FORM DELT;:TRAC:DATA?")).split(",")[1::2]]
        assert times == pytest.approx([0.0, each_s, each_s, each_s], abs=1e-6)

    on(test)


def test_elements_come_in_their_own_order_and_units_are_those_asked_for():
    async def test() -> None:
        bench = Bench()
        await bench.series(2)
        assert await bench.ask("FORM:ELEM RNUM,READ,SOURCE;:FORM:ELEM?") == "READ,SOUR,RNUM"
        first = (await bench.ask("TRAC:DATA?")).split(",")[:3]
        assert (float(first[0]), float(first[1]), first[2]) == (pytest.approx(1.2e-4, abs=2e-9), 0.01, "+0")
        replies = [await bench.ask(f"UNIT {unit};:TRAC:DATA?") for unit in ("OHMS", "SIEM", "W")]
        readings = [float(reply.split(",")[0]) for reply in replies]
        assert readings == pytest.approx([OHM, 1 / OHM, 1e-4 * OHM], rel=1e-4)
        assert await bench.ask("FORM:ELEM DEF;:FORM:ELEM?") == "READ,TST"

    on(test)


def test_while_it_runs_the_latest_reading_is_told_and_a_fresh_one_once():
    async def test() -> None:
        bench = Bench()
        await bench.ask("SENS:DATA?")
        assert (await bench.ask("SYST:ERR?")).startswith("-221")
        await bench.arm("INF")
        await bench.ask("INIT")
        assert await bench.ask("SENS:DATA?") is None and (await bench.ask("SYST:ERR?")).startswith("-230")
        await bench.run(3.1 * (DELAY_S + CONVERSION_S))
        latest = await bench.ask("SENS:DATA:FRES?")
        assert float(latest.split(",")[0]) == pytest.approx(0.01 * OHM, abs=2e-9)
        assert await bench.ask("SENS:DATA?") == latest
        assert await bench.ask("SENS:DATA:FRES?") is None
        assert (await bench.ask("SYST:ERR?")).startswith("-230")
        assert await bench.ask("SOUR:DELT:COUN?") == "+9.9E37"
        await bench.ask("SOUR:SWE:ABOR")

    on(test)


def test_a_second_start_overwrites_the_buffer():
    async def test() -> None:
        bench = Bench()
        first = await bench.series(3)
        bench.world.ohm = 2 * OHM
        await bench.ask("TRAC:FEED:CONT NEXT;:INIT")
        await bench.run(6 * (DELAY_S + CONVERSION_S))
        words = (await bench.ask("TRAC:DATA?")).split(",")
        assert [float(word) for word in words[::2]] == pytest.approx(2 * first, abs=4e-9)

    on(test)


@pytest.mark.parametrize("command", ["SOUR:SWE:ABOR", "OUTP OFF", "SOUR:CLE", "*RST"])
def test_what_aborts_a_series_leaves_no_current_and_nothing_armed(command: str):
    async def test() -> None:
        bench = Bench()
        await bench.arm(100)
        await bench.ask("INIT")
        await bench.run(1.0)
        await bench.ask(command)
        assert bench.world.told[-1][1] == 0.0
        n, stored = len(bench.world.told), await bench.ask("TRAC:POIN:ACT?")
        await bench.run(5.0)
        assert len(bench.world.told) == n and await bench.ask("TRAC:POIN:ACT?") == stored
        assert await bench.ask("OUTP?;:SOUR:DELT:ARM?") == "0;0"

    on(test)


def test_compliance_aborts_a_series_where_that_is_on():
    async def test() -> None:
        bench = Bench()
        await bench.ask("SOUR:CURR:COMP 2")
        await bench.arm(100)
        await bench.ask("INIT")
        await bench.run(1.0)
        bench.world.ohm = 1e4
        await bench.run(1.0)
        assert bench.world.told[-1][1] == 0.0 and await bench.ask("OUTP?;:SOUR:DELT:ARM?") == "0;0"
        assert int(await bench.ask("STAT:MEAS?")) & 8 and int(await bench.ask("STAT:OPER?")) == 1 << 2

    on(test)


def test_where_it_is_off_readings_in_compliance_are_cut_off():
    async def test() -> None:
        bench = Bench(World(ohm=1e4))
        await bench.ask("SOUR:CURR:COMP 2")
        assert await bench.series(4, aborts=0) == pytest.approx([2.0] * 4, abs=1e-5)
        assert int(await bench.ask("STAT:MEAS?")) & 8

    on(test)


def test_beyond_the_range_of_the_meter_a_reading_overflows():
    async def test() -> None:
        bench = Bench(World(ohm=5.0))
        await bench.ask('SYST:COMM:SER:SEND ":SENS:VOLT:RANG 0.01"')
        await bench.arm(3)
        await bench.ask("INIT")
        await bench.run(1.0)
        assert (await bench.ask("TRAC:DATA?")).split(",")[::2] == ["+9.9E37"] * 3
        assert int(await bench.ask("STAT:MEAS?")) & 1

    on(test)


def test_arming_takes_its_time_longer_for_more_readings():
    async def test() -> None:
        bench = Bench()
        await bench.ask("SOUR:DELT:COUN 1000;:SOUR:DELT:ARM;:INIT")
        assert (await bench.ask("SYST:ERR?")).startswith("-221")
        await bench.run(2.7)
        assert await bench.ask("SOUR:DELT:ARM?") == "0"
        await bench.run(0.2)
        assert await bench.ask("SOUR:DELT:ARM?") == "1"

    on(test)


def test_a_buffer_that_is_not_to_be_filled_stays_empty():
    async def test() -> None:
        bench = Bench()
        await bench.arm(3)
        await bench.ask("TRAC:FEED:CONT NEV;:INIT")
        await bench.run(1.0)
        assert await bench.ask("TRAC:DATA?") is None and (await bench.ask("SYST:ERR?")).startswith("-230")

    on(test)


@pytest.mark.parametrize(
    "message, code",
    [
        ("SOUR:CURR 0.106", "-222"),
        ("SOUR:CURR:COMP 0.05", "-222"),
        ("SOUR:DELT:HIGH -0.01", "-222"),
        ("SOUR:DELT:COUN 0", "-222"),
        ("SOUR:DELT:DEL 0", "-222"),
        ("SOUR:SWE:COUN 2", "-222"),
        ("INIT", "-221"),
        ("SENS:AVER 1", "-221"),
        ("FORM:ELEM", "-109"),
        ("FORM:ELEM READ,UNIT", "-224"),
        ("SYST:COMM:SER:SEND *IDN?", "-104"),
        ("SOUR:WAVE:ARM", "-113"),
    ],
)
def test_what_it_cannot_do_is_an_error(message: str, code: str):
    async def test() -> None:
        bench = Bench()
        assert await bench.ask(message) is None
        assert (await bench.ask("SYST:ERR?")).startswith(code)

    on(test)


def test_the_same_seed_reads_the_same_numbers():
    async def series(seed: int) -> list[float]:
        return list(await Bench(seed=seed, noise_v=1e-7).series(5))

    assert asyncio.run(series(3)) == asyncio.run(series(3)) != asyncio.run(series(4))


def test_the_foil_of_the_laser_heated_cell_is_such_a_world():
    async def test() -> None:
        terms = FoilTerms(resistivity=1.0, thickness=1.0, length=1.0, width=1.0, source=1.0005)
        foil = Foil(read_parameters({}), terms, lambda t: (2000.0, 60.0), np.zeros(3))
        readings = await Bench(foil).series(6)
        assert readings == pytest.approx([0.01 * 1.0005 * foil.resistance_ohm(2000.0, 60.0)] * 6, rel=1e-5)
        assert math.isclose(foil.current_a(1e9), 0.0)

    on(test)
