"""The simulated SR830: its grammar, its filter on a world's signal, its status."""

import asyncio
import math

import numpy as np
import pytest

from megabar.simulators.instruments.lockins.sr830 import SimulatedSR830
from megabar.simulators.noise import Noise


class World:
    """A signal that steps from 0 to `signal` at `on_s`; a reference whose frequency steps to `then_hz` at `step_s`."""

    def __init__(self, signal: complex = 3e-4 + 4e-4j, on_s: float = -1.0) -> None:
        self.signal, self.on_s = signal, on_s
        self.reference, self.then_hz, self.step_s = 0.0, 0.0, math.inf

    def signal_v(self, t: float, frequency_hz: float, sine_out_v: float) -> complex:
        return self.signal if t >= self.on_s else 0.0

    def reference_hz(self, t: float) -> float:
        return self.reference if t < self.step_s else self.then_hz


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


PERFECT = {"density_v": 0.0, "gain": 0.0, "phase_deg": 0.0}


def lock_in(world: World | None = None, *, settled: bool = True, seed: int = 1, **parameters) -> SimulatedSR830:
    instrument = SimulatedSR830(
        name="lock in", world=world or World(), clock=Clock(), noise=Noise(seed, "lock in"), **PERFECT | parameters
    )
    if settled:
        instrument.clock.now += 10.0
    return instrument


def ask(instrument: SimulatedSR830, message: str, after_s: float = 0.0) -> str:
    instrument.clock.now += after_s
    return asyncio.run(instrument.reply(message.encode())).decode()


def numbers(instrument: SimulatedSR830, message: str, after_s: float = 0.0) -> list[float]:
    return [float(text) for text in ask(instrument, message, after_s).replace("\r", ",").rstrip(",").split(",")]


def test_it_says_who_it_is():
    assert ask(lock_in(), "*IDN?") == "Stanford_Research_Systems,SR830,s/n00111,ver1.07\r"


@pytest.mark.parametrize("message", ["OUTP?1", "OUTP? 1", "OUTP ? 1", "outp?1", " OuTp ?1 ", "OUTP?1;", ";OUTP? 1.0"])
def test_a_question_may_have_blanks_and_either_case(message: str):
    assert numbers(lock_in(), message) == [pytest.approx(3e-4, rel=1e-3)]


@pytest.mark.parametrize("message", ["FREQ10E3", "FREQ 10E3", "freq  10000.0", "PHAS5;FREQ1E4", "FREQ 1.0e4;SENS26;"])
def test_a_command_needs_no_blank(message: str):
    assert ask(lock_in(), message + ";FREQ?").endswith("10000\r")


def test_every_answer_of_a_message_has_its_own_terminator():
    instrument = lock_in()
    assert ask(instrument, "SENS?;OFLT?;FMOD?") == "26\r8\r1\r"
    assert ask(lock_in(reply_terminator="\n"), "SENS?;OFLT?") == "26\n8\n"


def test_messages_may_end_in_either_terminator():
    buffer = bytearray(b"*IDN?\rFREQ?\nSENS")
    instrument = lock_in()
    assert instrument.take_message(buffer) == b"*IDN?"
    assert instrument.take_message(buffer) == b"FREQ?"
    assert instrument.take_message(buffer) is None


def test_x_y_r_and_theta_are_those_of_the_signal():
    x, y, r, theta, frequency = numbers(lock_in(), "SNAP?1,2,3,4,9")
    assert (x, y, r) == (pytest.approx(3e-4, rel=1e-3), pytest.approx(4e-4, rel=1e-3), pytest.approx(5e-4, rel=1e-3))
    assert theta == pytest.approx(53.1301, abs=0.05)
    assert frequency == 1000


def test_the_phase_setting_turns_the_signal_back():
    instrument = lock_in()
    ask(instrument, "PHAS 53.13")
    x, y = numbers(instrument, "SNAP?1,2", after_s=5.0)
    assert x == pytest.approx(5e-4, rel=1e-3) and y == pytest.approx(0.0, abs=1e-6)
    assert ask(instrument, "PHAS 270;PHAS?") == "-90\r"


def test_automatic_phase_takes_effect_after_some_time_constants():
    instrument = lock_in()
    ask(instrument, "SENS 17;OFLT 10", after_s=1.0)
    ask(instrument, "APHS", after_s=20.0)
    assert numbers(instrument, "PHAS?") == [pytest.approx(53.13, abs=0.02)]
    assert numbers(instrument, "OUTP?4")[0] == pytest.approx(53.13, abs=0.05)
    assert numbers(instrument, "OUTP?4", after_s=20.0)[0] == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("slope", range(4))
@pytest.mark.parametrize("number, tau_s", [(8, 0.1), (10, 1.0)])
def test_a_step_settles_as_the_filter_has_it(slope: int, number: int, tau_s: float):
    """1 - exp(-x) sum x^i / i! over the poles, with x = t/tau."""
    instrument = lock_in(World(1e-3, on_s=5.0), settled=False)
    ask(instrument, f"OFLT {number};OFSL {slope}")
    instrument.clock.now = 5.0
    for share in (0.3, 1.0, 2.5, 4.0, 9.0):
        expected = 1 - math.exp(-share) * sum(share**i / math.factorial(i) for i in range(slope + 1))
        after_s = 5.0 + share * tau_s - instrument.clock.now
        assert numbers(instrument, "OUTP?1", after_s)[0] == pytest.approx(1e-3 * expected, abs=2e-6)


def test_a_step_long_before_a_question_is_found():
    often, once = (lock_in(World(1e-3, on_s=3.217), settled=False) for _ in range(2))
    for _ in range(40):
        ask(often, "OUTP?1", after_s=0.1)
    assert numbers(once, "OUTP?1", after_s=4.0)[0] == pytest.approx(numbers(often, "OUTP?1")[0], abs=1e-6)


def test_what_the_filter_holds_outlives_a_change_of_settings():
    instrument = lock_in()
    ask(instrument, "OFLT 12")
    assert numbers(instrument, "OUTP?1")[0] == pytest.approx(3e-4, rel=1e-3)


@pytest.mark.parametrize("slope, share", [(0, 1 / 4), (1, 1 / 8), (2, 3 / 32), (3, 5 / 64)])
def test_noise_has_the_bandwidth_of_the_filter(slope: int, share: float):
    instrument = lock_in(World(0.0), density_v=1e-6)
    ask(instrument, f"SENS 17;OFSL {slope}")
    read = np.array([numbers(instrument, "SNAP?1,2", after_s=1.0) for _ in range(800)])
    assert read.std(axis=0) == pytest.approx(1e-6 * math.sqrt(share / 0.1), rel=0.1)


def test_gain_and_phase_are_wrong_by_what_belongs_to_the_run():
    def read(seed: int) -> complex:
        return complex(*numbers(lock_in(seed=seed, gain=2e-3, phase_deg=0.1), "SNAP?1,2")) / (3e-4 + 4e-4j)

    errors = np.array([read(seed) for seed in range(100)])
    assert np.std(np.abs(errors)) == pytest.approx(2e-3, rel=0.2)
    assert np.std(np.degrees(np.angle(errors))) == pytest.approx(0.1, rel=0.2)
    assert read(3) == read(3) != read(4)


def test_a_reading_comes_in_steps_of_the_scale():
    instrument = lock_in(World(1e-8))
    x = numbers(instrument, "OUTP?1")[0]
    assert x == 0.0
    ask(instrument, "SENS 11;RMOD 0")
    assert numbers(instrument, "OUTP?1", after_s=5.0)[0] == pytest.approx(1e-8, rel=1e-4)


def test_beyond_the_scale_x_is_cut_off_and_it_is_told():
    instrument = lock_in(World(2e-3))
    assert ask(instrument, "LIAS?") == "0\r"
    ask(instrument, "SENS 17;LIAS?")
    assert numbers(instrument, "OUTP?1;LIAS?", after_s=1.0) == [pytest.approx(1.09e-3), 4]
    assert numbers(instrument, "OUTP?1;LIAS? 2") == [pytest.approx(1.09e-3), 1]
    ask(instrument, "SENS 18;LIAS?")
    assert numbers(instrument, "OUTP?1;LIAS?", after_s=1.0) == [pytest.approx(2e-3, rel=1e-3), 0]


def test_beyond_the_reserve_the_input_is_overloaded():
    instrument = lock_in(World(0.2))
    ask(instrument, "SENS 20;RMOD 1;LIAS?")
    assert int(ask(instrument, "LIAS?", after_s=1.0)) == 4  # output only
    ask(instrument, "RMOD 2;LIAS?")
    assert int(ask(instrument, "LIAS?", after_s=1.0)) == 1 | 4


def test_an_overload_that_is_over_stays_told_until_it_is_asked_for():
    world = World(2e-3)
    instrument = lock_in(world)
    ask(instrument, "SENS 17;LIAS?")
    ask(instrument, "FREQ?", after_s=1.0)
    world.signal = 1e-4
    ask(instrument, "FREQ?", after_s=5.0)
    assert ask(instrument, "LIAS?;LIAS?") == "4\r0\r"


def external(reference_hz: float = 500.0) -> tuple[SimulatedSR830, World]:
    world = World()
    world.reference = reference_hz
    instrument = lock_in(world)
    ask(instrument, "FMOD 0")
    ask(instrument, "LIAS?", after_s=5.0)
    return instrument, world


def test_an_external_reference_is_followed_and_cannot_be_set():
    instrument, _ = external()
    assert ask(instrument, "FREQ?;LIAS?") == "500\r0\r"
    assert ask(instrument, "FREQ 700;FREQ?") == "500\r"
    assert int(ask(instrument, "*ESR?")) & 16


@pytest.mark.parametrize("then_hz", [0.0, 103e3])
def test_without_a_reference_that_it_can_follow_it_is_unlocked_and_nothing_adds_up(then_hz: float):
    instrument, world = external()
    world.step_s, world.then_hz = instrument.clock.now + 1.0, then_hz
    assert int(ask(instrument, "LIAS?", after_s=0.9)) == 0
    ask(instrument, "LIAS?", after_s=5.0)
    x, y, status = numbers(instrument, "SNAP?1,2;LIAS?", after_s=5.0)
    assert (x, y) == (pytest.approx(0.0, abs=1e-6), pytest.approx(0.0, abs=1e-6))
    assert int(status) & 8


def test_after_a_new_reference_it_locks_again():
    instrument, world = external()
    world.step_s, world.then_hz = instrument.clock.now + 1.0, 1200.0
    assert int(ask(instrument, "LIAS?", after_s=1.01)) & 8
    assert ask(instrument, "LIAS?;FREQ?", after_s=1.0).startswith("8")
    assert ask(instrument, "LIAS?;FREQ?", after_s=1.0) == "0\r1200\r"


@pytest.mark.parametrize(
    "message", ["FREQ 102001", "FREQ 0.0009", "FREQ -5", "PHAS 730", "SENS 27", "OFLT 20", "OUTP? 5"]
)
def test_what_is_beyond_a_limit_sets_a_bit_and_nothing_else(message: str):
    instrument = lock_in()
    ask(instrument, "*CLS")
    assert ask(instrument, message) == ""
    assert ask(instrument, "*ESR? 4;FREQ?;PHAS?;SENS?;OFLT?") == "1\r1000\r0\r26\r8\r"


@pytest.mark.parametrize("message", ["FREK?", "SYST:ERR?", "*OPC?", "FREQ ten", "SNAP? 1", "OUTP?", "SENS?1", "FREQ"])
def test_what_it_does_not_know_sets_another_bit(message: str):
    instrument = lock_in()
    ask(instrument, "*CLS")
    assert ask(instrument, message) == ""
    assert ask(instrument, "*ESR?;*ESR?") == "32\r0\r"


def test_the_detected_frequency_is_limited_also_for_a_harmonic():
    instrument = lock_in()
    ask(instrument, "FREQ 40000;HARM 3;HARM?")
    assert ask(instrument, "HARM?") == "1\r"
    assert ask(instrument, "HARM 2;HARM?;FREQ 60000;FREQ?") == "2\r40000\r"


def test_frequencies_have_five_digits():
    assert ask(lock_in(), "FREQ 12345.67;FREQ?;FREQ 7.12345678;FREQ?") == "12346\r7.1235\r"


def test_above_200_hz_no_time_constant_is_longer_than_30_s():
    instrument = lock_in()
    assert ask(instrument, "OFLT 15;OFLT?") == "8\r"
    ask(instrument, "FREQ 150;OFLT 15;LIAS?")
    assert ask(instrument, "OFLT?;FREQ 201;OFLT?;LIAS?") == "15\r15\r0\r"
    assert ask(instrument, "FREQ 204;OFLT?", after_s=1.0) == "13\r"
    assert int(ask(instrument, "LIAS?")) == 16 | 32


def test_a_sample_may_hang_on_the_lock_in_s_own_sine():
    class Resistor(World):
        def signal_v(self, t: float, frequency_hz: float, sine_out_v: float) -> complex:
            return 1e-3 * sine_out_v

    instrument = lock_in(Resistor())
    ask(instrument, "SLVL 0.5")
    assert numbers(instrument, "OUTP?1", after_s=2.0)[0] == pytest.approx(5e-4, rel=1e-3)


def test_displays_show_what_they_are_set_to():
    instrument = lock_in()
    assert ask(instrument, "DDEF ? 1") == "0,0\r"
    assert numbers(instrument, "DDEF 1,1,0;DDEF?1;OUTR?1;OUTR?2") == [
        1,
        0,
        pytest.approx(5e-4, rel=1e-3),
        pytest.approx(4e-4, rel=1e-3),
    ]


def test_the_serial_poll_status_sums_up_what_is_enabled():
    instrument = lock_in(World(2e-3))
    ask(instrument, "*CLS")
    assert ask(instrument, "*STB?") == "3\r"
    ask(instrument, "LIAE 4;*ESE 32;*SRE 8;SENS 17;NOPE")
    ask(instrument, "OUTP?1", after_s=1.0)
    assert int(ask(instrument, "*STB?")) == 3 | 8 | 32 | 64


def test_reset_brings_back_the_standard_settings():
    instrument = lock_in()
    ask(instrument, "FREQ 5;PHAS 10;SENS 3;OFLT 2;HARM 2;FMOD 0;SLVL 2;DDEF 1,1,0;*RST")
    assert ask(instrument, "FREQ?;PHAS?;SENS?;OFLT?;HARM?;FMOD?;SLVL?;DDEF?1") == "\r".join(
        ("1000", "0", "26", "8", "1", "1", "1", "0,0", "")
    )


def test_the_same_seed_reads_the_same_numbers():
    def series(seed: int) -> list[str]:
        instrument = lock_in(seed=seed, density_v=6e-9, gain=2e-3)
        return [ask(instrument, "SNAP?1,2", after_s=0.3) for _ in range(5)]

    assert series(3) == series(3) != series(4)


def test_what_is_not_modelled_is_answered_as_nothing():
    assert ask(lock_in(), "OEXP? 1;OAUX ? 2;SPTS ?;ERRS?") == "0,0\r0\r0\r0\r"


def test_a_message_longer_than_its_buffer_is_lost_and_told():
    instrument = lock_in()
    ask(instrument, "*CLS")
    buffer = bytearray(b"FREQ " + b"1" * 300 + b"\r*ESR?\r")
    assert instrument.take_message(buffer) == b"*ESR?"
    assert ask(instrument, "*ESR? 0") == "1\r"
