"""The simulated SR860 and SR865A: where they differ from an SR830."""

import asyncio
import math

import pytest

from megabar.simulators.instruments.lockins.sr860 import SimulatedSR860, SimulatedSR865A
from megabar.simulators.noise import Noise


class World:
    """A signal that grows with the sine of the lock-in or comes by itself, and a reference."""

    def __init__(self, signal: complex = 3e-4 + 4e-4j) -> None:
        self.signal, self.reference, self.asked_hz = signal, 0.0, 0.0

    def signal_v(self, t: float, frequency_hz: float, sine_out_v: float) -> complex:
        self.asked_hz = frequency_hz
        return self.signal

    def reference_hz(self, t: float) -> float:
        return self.reference


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


PERFECT = {"density_v": 0.0, "gain": 0.0, "phase_deg": 0.0}


def lock_in(world: World | None = None, model: type[SimulatedSR860] = SimulatedSR860, **parameters) -> SimulatedSR860:
    instrument = model(
        name="lock in", world=world or World(), clock=Clock(), noise=Noise(1, "lock in"), **PERFECT | parameters
    )
    instrument.clock.now += 10.0
    return instrument


def ask(instrument: SimulatedSR860, message: str, after_s: float = 0.0) -> str | None:
    instrument.clock.now += after_s
    return asyncio.run(instrument.execute(message))


@pytest.mark.parametrize("model, name", [(SimulatedSR860, "SR860"), (SimulatedSR865A, "SR865A")])
def test_it_says_who_it_is(model: type[SimulatedSR860], name: str):
    assert ask(lock_in(model=model), "*IDN?") == f"Stanford_Research_Systems,{name},000111,v1.47"


def test_its_outputs_are_numbered_from_0():
    instrument = lock_in()
    read = [float(ask(instrument, f"OUTP? {number}")) for number in range(4)]
    assert read == pytest.approx([3e-4, 4e-4, 5e-4, math.degrees(math.atan2(4, 3))], rel=1e-9)
    assert [float(text) for text in ask(instrument, "SNAP? 0,1,3").split(",")] == pytest.approx([*read[:2], read[3]])
    assert ask(instrument, "snapd?").count(",") == 3


def test_the_answers_of_a_message_are_joined_with_semicolons():
    assert ask(lock_in(), "SCAL?;IRNG?;RSRC?") == "0;0;0"


@pytest.mark.parametrize("message", ["OUTP ? 0", "OUTP?0", "FREQ1000", "SNAP? 0", "SYST:ERR?", "CUROVLDSTAT ?"])
def test_blanks_must_be_where_the_manual_has_them(message: str):
    instrument = lock_in()
    ask(instrument, "*CLS")
    assert ask(instrument, message) is None
    assert ask(instrument, "*ESR?") == "32"


@pytest.mark.parametrize("model, limit_hz", [(SimulatedSR860, 500e3), (SimulatedSR865A, 4e6)])
def test_each_model_has_its_own_limit(model: type[SimulatedSR860], limit_hz: float):
    instrument = lock_in(model=model)
    ask(instrument, "*CLS")
    assert float(ask(instrument, f"FREQ {limit_hz};FREQ?")) == limit_hz
    assert ask(instrument, f"FREQ {limit_hz + 1};*ESR?;FREQ?") == f"16;{limit_hz:g}".replace("4e+06", "4000000")
    assert ask(instrument, "HARM 2;*ESR?;HARM?") == "16;1"
    ask(instrument, "FREQ 0.0009")
    assert float(ask(instrument, "FREQ?")) == limit_hz


def test_a_harmonic_is_what_is_detected():
    world = World()
    instrument = lock_in(world)
    ask(instrument, "FREQ 1700;HARM 3")
    ask(instrument, "OUTP? 0", after_s=1.0)
    assert world.asked_hz == 5100


def test_beyond_the_input_range_the_signal_is_cut_off_and_it_is_told():
    world = World(0.1)
    instrument = lock_in(world)
    assert ask(instrument, "IRNG 2;CUROVLDSTAT?", after_s=1.0) == str(1 << 4)  # 0.1 V rms is more than 0.1 V of peak
    assert float(ask(instrument, "OUTP? 0", after_s=5.0)) == pytest.approx(0.1 / math.sqrt(2))
    assert ask(instrument, "IRNG 1;CUROVLDSTAT?") == "0"
    assert int(ask(instrument, "LIAS?")) & 16
    assert ask(instrument, "LIAS?", after_s=1.0) == "0"
    assert float(ask(instrument, "OUTP? 0", after_s=5.0)) == pytest.approx(0.1)


def test_beyond_the_scale_of_the_outputs_x_is_read_all_the_same():
    instrument = lock_in(World(1e-4 + 4e-4j))
    assert ask(instrument, "SCAL 11;CUROVLDSTAT?") == "2"  # Y is beyond 0.2 mV
    assert float(ask(instrument, "OUTP? 1")) == pytest.approx(4e-4)
    assert ask(instrument, "SCAL 10;CUROVLDSTAT?") == "0"


@pytest.mark.parametrize("volts, level", [(0.0, "0"), (0.1, "1"), (0.3, "2"), (0.6, "3"), (0.8, "4")])
def test_the_level_of_the_input_is_told(volts: float, level: str):
    assert ask(lock_in(World(volts)), "ILVL?") == level


def test_without_an_external_reference_it_is_unlocked():
    world = World()
    instrument = lock_in(world)
    assert ask(instrument, "RSRC 1;CUROVLDSTAT?") == "8"
    assert float(ask(instrument, "OUTP? 0", after_s=5.0)) == pytest.approx(0.0, abs=1e-9)
    world.reference = 123456.0
    assert ask(instrument, "CUROVLDSTAT?;FREQ?;FREQEXT?", after_s=5.0) == "0;123456;123456"
    assert float(ask(instrument, "OUTP? 0", after_s=5.0)) == pytest.approx(3e-4)


def test_the_internal_frequency_is_kept_while_the_reference_is_external():
    instrument = lock_in()
    assert ask(instrument, "RSRC 1;FREQ 2000;FREQINT?;FREQ?") == "2000;0"


@pytest.mark.parametrize("slope, bandwidth_hz", [(0, 2.5), (1, 1.25), (2, 0.9375), (3, 0.78125)])
def test_it_tells_the_bandwidth_of_its_noise(slope: int, bandwidth_hz: float):
    assert float(ask(lock_in(), f"OFSL {slope};ENBW?")) == pytest.approx(bandwidth_hz)


def test_phases_have_seven_places_and_come_back_within_half_a_turn():
    assert ask(lock_in(), "PHAS 370.12345678;PHAS?") == "10.1234568"
    assert ask(lock_in(), "PHAS -359999;PHAS?") == "1"


def test_one_bit_of_a_register_can_be_asked_for():
    instrument = lock_in(World(2.0))
    ask(instrument, "SCAL 3;LIAS?")
    assert ask(instrument, "LIAS? 4;LIAS? 4;LIAS?", after_s=1.0) == "1;0;1"


def test_capture_rate_is_told_at_once():
    assert float(ask(lock_in(), "CAPTURERATEMAX?")) == 1.25e6


def test_all_that_has_a_number_is_answered_except_noise():
    world = World()
    world.reference = 500.0
    instrument = lock_in(world)
    ask(instrument, "*CLS;PHAS 0;SLVL 0.5;SOFF 0.25;FREQ 2000")
    assert ask(instrument, "SNAP? 13,14,15;SNAP? 12,16;OUTP? 4") == "0.5,0.25,2000;0,500;0"
    assert ask(instrument, "OUTP? 8;*ESR?") == "16"


@pytest.mark.parametrize("message", ["FREQ", "FREQ 1,2", "LIAS? 1,2", "SNAP? 0,1,2,3"])
def test_too_few_or_too_many_arguments_are_an_illegal_command(message: str):
    instrument = lock_in()
    ask(instrument, "*CLS")
    assert ask(instrument, message) is None
    assert ask(instrument, "*ESR?") == "32"
