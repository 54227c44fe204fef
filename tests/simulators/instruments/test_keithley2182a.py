"""The simulated nanovoltmeter."""

import asyncio
import statistics

import pytest

from megabar.simulators.instruments.meters.keithley2182a import SimulatedKeithley2182A
from megabar.simulators.noise import Noise


class World:
    """A thermocouple whose emf rises, and terminals at room temperature."""

    def __init__(self, emf_v: float = 0.02, slope_v_per_s: float = 0.0) -> None:
        self.start_v, self.slope = emf_v, slope_v_per_s

    def emf_v(self, t: float) -> float:
        return self.start_v + self.slope * t

    def cold_junction_c(self, t: float) -> float:
        return 23.5


class JumpingClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float, name: str) -> None:
        self.now += delay_s


def meter(world: World | None = None, seed: int = 1, name: str = "emf", **parameters) -> SimulatedKeithley2182A:
    return SimulatedKeithley2182A(
        name=name, world=world or World(), clock=JumpingClock(), noise=Noise(seed, name), **parameters
    )


def ask(instrument: SimulatedKeithley2182A, message: str) -> str | None:
    return asyncio.run(instrument.execute(message))


def read(instrument: SimulatedKeithley2182A) -> float:
    return float(ask(instrument, ":READ?"))


def test_it_says_who_it_is():
    assert ask(meter(), "*IDN?").startswith("KEITHLEY INSTRUMENTS INC.,MODEL 2182A,")


def test_a_reading_is_the_emf_in_the_form_of_the_instrument():
    reply = ask(meter(), ":READ?")
    assert reply[0] in "+-" and "E" in reply
    assert float(reply) == pytest.approx(0.02, abs=5e-6)


def test_zero_and_scale_errors_belong_to_the_run():
    zeros = [read(meter(World(0.0), seed)) for seed in range(200)]
    assert statistics.stdev(zeros) == pytest.approx(1e-6, rel=0.2)
    gains = [read(meter(World(10.0), seed)) / 10.0 - 1 for seed in range(200)]
    assert statistics.stdev(gains) == pytest.approx(5e-5, rel=0.2)
    one = meter(World(0.0))
    assert [read(one) for _ in range(5)] == pytest.approx([read(one)] * 5, abs=1e-7)


def test_a_perfect_meter_reads_the_truth():
    assert read(meter(World(0.02), offset_v=0, gain=0)) == pytest.approx(0.02, abs=1e-7)


def test_conversions_take_longer_and_scatter_less_with_more_line_cycles():
    def run(nplc: float) -> tuple[float, float]:
        instrument = meter(World(0.005))
        ask(instrument, f":SENS:VOLT:NPLC {nplc}")
        readings = [read(instrument) for _ in range(400)]
        return instrument.clock.now / 400, statistics.stdev(readings)

    (fast_s, fast_v), (one_s, one_v), (slow_s, slow_v) = run(0.1), run(1), run(25)
    assert fast_s < one_s == pytest.approx(2 / 50, abs=0.02) and slow_s == pytest.approx(1.0, rel=0.05)
    assert fast_v > 3 * one_v and one_v / slow_v == pytest.approx(5, rel=0.25)


def test_without_autozero_a_conversion_takes_half_the_time():
    slow, fast = meter(), meter()
    ask(fast, ":SYST:AZER OFF")
    read(slow), read(fast)
    assert slow.clock.now - fast.clock.now == pytest.approx(5 / 50, rel=0.01)


def test_a_reading_is_the_mean_over_its_conversion():
    instrument = meter(World(0.0, slope_v_per_s=1e-3), offset_v=0, gain=0)
    before = instrument.clock.now
    value = read(instrument)
    assert value == pytest.approx(1e-3 * 0.5 * (before + instrument.clock.now), abs=3e-8)


@pytest.mark.parametrize("emf_v, upper_v", [(0.005, 0.01), (0.0119, 0.01), (0.0121, 0.1), (0.9, 1.0), (50.0, 100.0)])
def test_autorange_takes_the_lowest_range_that_holds_the_input(emf_v: float, upper_v: float):
    instrument = meter(World(emf_v))
    read(instrument)
    assert float(ask(instrument, ":SENS:VOLT:CHAN1:RANG?")) == upper_v


@pytest.mark.parametrize("emf_v", [0.0125, -0.0125])
def test_beyond_a_fixed_range_the_reading_overflows(emf_v: float):
    instrument = meter(World(emf_v))
    ask(instrument, ":SENS:VOLT:RANG 0.01")
    assert ask(instrument, ":SENS:VOLT:RANG:AUTO?") == "0"
    assert ask(instrument, ":READ?") == "+9.9E37"
    ask(instrument, ":SENS:VOLT:RANG:AUTO ON")
    assert read(instrument) == pytest.approx(emf_v, abs=5e-6)


def test_channel_0_and_the_internal_query_read_the_cold_junction():
    instrument = meter()
    assert float(ask(instrument, ":SENS:TEMP:RTEM?")) == pytest.approx(23.5, abs=0.05)
    assert ask(instrument, ":SENS:CHAN?") == "1"
    assert float(ask(instrument, ":SENS:CHAN 0;:READ?")) == pytest.approx(23.5, abs=0.05)
    assert ask(instrument, ":SENS:FUNC?") == '"TEMP"'
    assert float(ask(instrument, ":SENS:CHAN 1;:READ?")) == pytest.approx(0.02, abs=5e-6)
    assert ask(instrument, ":SENS:FUNC?") == '"VOLT:DC"'


def test_channel_2_has_nothing_connected_and_ranges_of_its_own():
    instrument = meter()
    assert abs(float(ask(instrument, ":SENS:CHAN 2;:READ?"))) < 1e-4
    ask(instrument, ":SENS:VOLT:CHAN2:RANG 1")
    assert float(ask(instrument, ":SENS:VOLT:CHAN2:RANG?")) == 1.0
    assert float(ask(instrument, ":SENS:VOLT:CHAN1:RANG?")) == 100.0


def test_fetch_repeats_the_last_reading_and_fresh_waits_for_another():
    instrument = meter()
    assert ask(instrument, ":FETC?") is None
    assert ask(instrument, ":SYST:ERR?").startswith("-230")
    first = ask(instrument, ":READ?")
    at = instrument.clock.now
    assert ask(instrument, ":FETC?;:SENS:DATA?") == f"{first};{first}"
    assert instrument.clock.now == at
    ask(instrument, ":SENS:DATA:FRES?")
    assert instrument.clock.now > at


def test_initiate_measures_and_fetch_tells():
    instrument = meter()
    ask(instrument, ":ABOR;:INIT")
    at = instrument.clock.now
    assert at > 0.1
    assert float(ask(instrument, ":FETC?")) == pytest.approx(0.02, abs=5e-6)
    assert float(ask(instrument, ":SENS:DATA:FRES?")) == pytest.approx(0.02, abs=5e-6)
    assert instrument.clock.now > at


def test_a_delay_comes_before_the_conversion():
    instrument = meter()
    ask(instrument, ":TRIG:DEL 3")
    read(instrument)
    assert instrument.clock.now == pytest.approx(3.2, abs=0.05)


def test_volts_can_be_selected_by_either_name():
    instrument = meter()
    ask(instrument, ":SENS:FUNC 'VOLT';FUNC \"VOLTAGE:DC\"")
    assert ask(instrument, ":SYST:ERR?") == '0,"No error"'
    assert ask(instrument, ":SENS:FUNC?") == '"VOLT:DC"'


@pytest.mark.parametrize(
    "message, code",
    [
        (":SENS:CHAN 0;:SENS:FUNC 'VOLT'", "-221"),
        (":SENS:CHAN 3", "-222"),
        (":SENS:VOLT:NPLC 51", "-222"),
        (":SENS:VOLT:RANG 121", "-222"),
        (":SENS:VOLT:CHAN2:RANG 13", "-222"),
        (":SENS:FUNC 'TEMP'", "-221"),
        (":SENS:FUNC 'CURR'", "-224"),
        (":SENS:CURR:RANG 1", "-113"),
    ],
)
def test_what_it_cannot_do_is_an_error(message: str, code: str):
    instrument = meter()
    assert ask(instrument, message) is None
    assert ask(instrument, ":SYST:ERR?").startswith(code)


def test_reset_brings_back_the_defaults():
    instrument = meter()
    ask(instrument, ":SENS:CHAN 0;:SENS:VOLT:NPLC 1;:SENS:VOLT:RANG 1;*RST")
    assert ask(instrument, ":SENS:CHAN?;:SENS:VOLT:RANG:AUTO?") == "1;1"
    assert float(ask(instrument, ":SENS:VOLT:NPLC?")) == 5


def test_the_same_seed_reads_the_same_numbers():
    def series(seed: int) -> list[float]:
        instrument = meter(seed=seed)
        return [read(instrument) for _ in range(5)]

    assert series(3) == series(3)
    assert series(3) != series(4)
