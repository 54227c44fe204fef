"""The simulated oscilloscope RTO."""

import asyncio
import math

import numpy as np
import pytest

from megabar.simulators.instruments.oscilloscopes.rto import SimulatedRTO
from megabar.simulators.noise import Noise

DECAY_S = 2e-7


class World:
    """A pulse of 100 mV that falls off, while triggers come."""

    def __init__(self, height_v: float = 0.1) -> None:
        self.height_v, self.stops_s, self.rate_hz, self.grows_per_s = height_v, math.inf, 1000.0, 0.0

    def waveform_v(self, t: float, times_s: np.ndarray) -> np.ndarray:
        height = self.height_v * (1 + self.grows_per_s * t)
        return np.where(times_s < 0, 0.0, height * np.exp(-np.maximum(times_s, 0.0) / DECAY_S))

    def trigger_rate_hz(self, t: float) -> float:
        return self.rate_hz if t < self.stops_s else 0.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float, name: str) -> None:
        self.now += delay_s


def scope(world: World | None = None, set_up: str = "", **parameters) -> SimulatedRTO:
    exact = {"gain": 0.0, "offset_share": 0.0, "noise_v": 0.0, **parameters}
    made = SimulatedRTO(name="scope", world=world or World(), clock=Clock(), noise=Noise(1, "scope"), **exact)
    ask(made, "*CLS;:CHAN1:RANG 0.5;:TIM:RANG 2E-6;:TIM:HOR:POS 8E-7;:ACQ:SRAT 1E9;:FORM REAL,32" + set_up)
    return made


def ask(instrument: SimulatedRTO, message: str) -> str | None:
    return asyncio.run(instrument.execute(message))


def taken(instrument: SimulatedRTO, n: int, *, average: bool = True) -> np.ndarray:
    """The waveform of `n` acquisitions, V."""
    ask(instrument, f":CHAN1:ARIT {'AVER' if average else 'OFF'};:ACQ:COUN {n};:SING")
    instrument.clock.now += n / instrument.world.rate_hz + 1e-3
    return np.frombuffer(data_of(instrument), "<f4").astype(float)


def data_of(instrument: SimulatedRTO, channel: int = 1) -> bytes:
    """What a definite-length block holds, its head checked."""
    reply = asyncio.run(instrument.reply(f":CHAN{channel}:DATA?".encode()))
    digits = int(reply[1:2])
    length = int(reply[2 : 2 + digits])
    assert reply[:1] == b"#" and reply[-1:] == b"\n" and len(reply) == 2 + digits + length + 1
    return reply[2 + digits : -1]


def truth(instrument: SimulatedRTO) -> np.ndarray:
    times = instrument.first_s + np.arange(instrument.points) / instrument.sample_rate
    return instrument.world.waveform_v(0.0, times)


def test_it_says_who_it_is():
    assert ask(scope(), "*IDN?;:DIAG:SERV:WFAM?") == "Rohde&Schwarz,RTO,1316.1000k44/200153,3.70.1.0;RTO1044"
    assert ask(scope(model="RTO1002"), "*IDN?").startswith("Rohde&Schwarz,RTO,1316.1000k02/")


@pytest.mark.parametrize(
    "parameters, accepted",
    [({"model": "RTB2004"}, "accepted: RTO1002"), ({"model": "RTO1002", "input_channel": 3}, "accepted: 1 to 2")],
)
def test_parameters_are_checked(parameters: dict, accepted: str):
    with pytest.raises(ValueError, match=accepted):
        scope(**parameters)


def test_the_channels_are_set_apart_and_a_header_remembers_its_own():
    made = scope()
    ask(made, ":CHANnel2:SCALe 0.2;OFFSet -1;:CHAN1:POS 2;:chan3:coup dc")
    assert ask(made, ":CHAN1:RANG?;:CHAN2:RANG?;OFFS?;:CHAN1:OFFS?;POS?;:CHAN3:COUP?") == "0.5;2;-1;0;2;DC"
    assert ask(scope(model="RTO1002"), ":CHAN3:RANG?;:SYST:ERR?").startswith("-222,")


def test_the_axis_is_position_reference_and_rate():
    made = scope()
    assert taken(made, 1).size == 2000
    assert [float(part) for part in ask(made, ":CHAN1:DATA:HEAD?").split(",")] == [
        -2e-7,
        pytest.approx(1.799e-6),
        2000,
        1,
    ]
    assert ask(made, ":ACQ:POIN?;:ACQ:RES?;:TIM:SCAL?;:TIM:DIV?") == "2000;1E-09;2E-07;10"
    ask(made, ":TIM:REF 10")
    assert made.first_s == pytest.approx(6e-7)


@pytest.mark.parametrize("rate_hz, n", [(1000.0, 1000), (50.0, 100), (2000.0, 10_000)])
def test_a_series_takes_the_time_of_its_triggers(rate_hz: float, n: int):
    world = World()
    world.rate_hz = rate_hz
    made = scope(world, f";:ACQ:COUN {n};*ESE 1;:SING;*OPC")
    made.clock.now = 0.5 * n / rate_hz
    assert int(ask(made, ":ACQ:CURR?")) == pytest.approx(n / 2, abs=1)
    assert ask(made, "*STB?;:STAT:OPER:COND?") == ("0;16" if rate_hz > 100 else "0;24")
    made.clock.now = 0.999 * n / rate_hz
    assert ask(made, "*STB?") == "0"
    made.clock.now = 1.001 * n / rate_hz
    assert ask(made, "*STB?;:STAT:OPER:COND?;:ACQ:CURR?") == f"32;0;{n}"
    assert made._series.begun_s == 0.0


@pytest.mark.parametrize("looks", [1, 7, 400])
def test_triggers_that_stop_leave_the_series_incomplete_however_often_it_is_looked_at(looks: int):
    world = World()
    world.stops_s = 0.5
    made = scope(world, ";:ACQ:COUN 1000;*ESE 1;:SING;*OPC")
    for look in range(1, looks + 1):
        made.clock.now = 20.0 * look / looks
        told = ask(made, "*STB?;:ACQ:CURR?;:STAT:OPER:COND?")
    status, count, operation = map(int, told.split(";"))
    assert count == pytest.approx(500, abs=11) and (status, operation) == (0, 24)
    ask(made, ":STOP")
    assert ask(made, "*STB?") == "32" and len(data_of(made)) == 4 * 2000


def test_without_a_trigger_there_is_no_waveform():
    world = World()
    world.rate_hz = 0.0
    made = scope(world, ";:ACQ:COUN 10;:SING")
    made.clock.now = 5.0
    ask(made, ":STOP")
    assert asyncio.run(made.reply(b":CHAN1:DATA?")) == b"" and ask(made, ":CHAN1:DATA:HEAD?") is None
    assert ask(made, ":SYST:ERR?").startswith("-230,")


def test_operation_complete_waits_for_the_series_and_not_for_ever():
    made = scope(None, ";:ACQ:COUN 500;:SING")
    assert ask(made, "*OPC?") == "1" and made.clock.now == pytest.approx(0.5, abs=0.03)
    assert ask(made, ":ACQ:CURR?") == "500"
    made.world.rate_hz = 0.0
    before = made.clock.now
    assert ask(made, ":SING;*OPC?;:ACQ:CURR?") == "1;0" and made.clock.now - before == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("n", [1, 16, 100, 1000, 10_000])
def test_the_noise_of_an_averaged_waveform_falls_as_one_over_the_root_of_n(n: int):
    made = scope(noise_share=0.004)
    residual = taken(made, n) - truth(made)
    code_v = 0.5 / 253
    single = math.hypot(0.004 * 0.5, code_v / math.sqrt(12))
    assert np.std(residual) == pytest.approx(single / math.sqrt(n), rel=0.06)


def test_a_single_acquisition_has_eight_bits_and_an_average_has_more():
    made = scope()
    code_v = 0.5 / 253
    for n, average in [(1, True), (1000, False)]:
        codes = taken(made, n, average=average) / code_v
        np.testing.assert_allclose(codes, np.rint(codes), atol=2e-3)
    codes = taken(made, 16) / code_v
    np.testing.assert_allclose(16 * codes, np.rint(16 * codes), atol=2e-2)
    assert np.ptp(codes - np.rint(codes)) > 0.5


def test_without_noise_an_average_is_as_coarse_as_a_single_one():
    made = scope(noise_share=0.0)
    codes = taken(made, 10_000) / (0.5 / 253)
    np.testing.assert_allclose(codes, np.rint(codes), atol=2e-3)


def test_the_same_waveform_is_told_as_often_as_it_is_asked_for_and_the_next_is_another():
    made = scope()
    first = taken(made, 10)
    assert np.array_equal(np.frombuffer(data_of(made), "<f4"), first.astype("<f4"))
    ask(made, ":CHAN1:RANG 1;:TIM:RANG 1E-6")  # for the next
    assert np.array_equal(np.frombuffer(data_of(made), "<f4"), first.astype("<f4"))
    assert not np.array_equal(taken(made, 10)[:1000], first[:1000])


def test_what_changes_during_a_series_is_averaged():
    world = World()
    world.grows_per_s = 0.5
    made = scope(world, noise_share=0.002)
    assert np.max(taken(made, 2000)) == pytest.approx(0.1 * (1 + 0.5 * 1.0), rel=0.02)


@pytest.mark.parametrize("height_v, state", [(0.1, 0), (0.26, 1), (-0.26, 2), (0.2525, 1)])
def test_a_pulse_beyond_the_converter_is_cut_off_and_flagged(height_v: float, state: int):
    made = scope(World(height_v))
    volts = taken(made, 100)
    assert ask(made, ":STAT:QUES:ADCS:COND?;:STAT:QUES:COND?") == f"{state};{32 if state else 0}"
    assert np.max(np.abs(volts)) <= 128.001 * 0.5 / 253
    made.world.height_v = 0.05
    taken(made, 100)
    assert ask(made, ":STAT:QUES:ADCS:COND?") == "0"


def test_an_offset_brings_a_high_voltage_back_onto_the_screen():
    made = scope(World(0.4), ";:CHAN1:OFFS 0.2")
    volts = taken(made, 1000)
    assert ask(made, ":STAT:QUES:ADCS:COND?") == "0"
    assert np.max(volts) == pytest.approx(0.4, abs=1e-3) and np.min(volts) == pytest.approx(0.0, abs=1e-3)


def test_the_signal_is_at_one_input_and_its_clipping_has_its_own_bits():
    made = scope(World(0.3), ";:CHAN2:STAT 1;RANG 0.5", input_channel=2)
    assert np.max(np.abs(taken(made, 1000))) < 1e-3
    assert np.max(np.frombuffer(data_of(made, 2), "<f4")) > 0.2
    assert ask(made, ":STAT:QUES:ADCS:COND?") == "4"


@pytest.mark.parametrize("order, dtype", [("LSBF", "<i2"), ("MSBFirst", ">i2")])
def test_integers_are_253_steps_of_256_over_ten_divisions(order: str, dtype: str):
    made = scope(None, ";:CHAN1:OFFS 0.05")
    volts = taken(made, 100)
    ask(made, f":FORM INT,16;:FORM:BORD {order}")
    words = np.frombuffer(data_of(made), dtype)
    np.testing.assert_allclose(words * 0.5 / (253 * 256) + 0.05, volts, atol=0.51 * 0.5 / 253 / 256)
    ask(made, ":FORM INT,8")
    np.testing.assert_allclose(np.frombuffer(data_of(made), "i1") * 0.5 / 253 + 0.05, volts, atol=0.51 * 0.5 / 253)
    ask(made, ":FORM ASC")
    np.testing.assert_allclose(
        [float(part) for part in ask(made, ":CHAN1:DATA?;:FORM?").split(";")[0].split(",")], volts, rtol=1e-5
    )


@pytest.mark.parametrize(
    "message, code",
    [
        (":FORM REAL,64", -224),
        (":FORM", -109),
        (":ACQ:COUN 0", -222),
        (":CHAN1:RANG 200", -222),
        (":TIM:RANG 1;:SING", -221),
    ],
)
def test_what_is_wrong_is_an_error(message: str, code: int):
    made = scope()
    ask(made, message)
    assert ask(made, ":SYST:ERR?").startswith(f"{code},")


def test_into_50_ohm_the_range_is_smaller():
    made = scope(None, ";:CHAN1:RANG 50")
    ask(made, ":CHAN1:COUP DC")
    assert ask(made, ":CHAN1:RANG?") == "10"
    ask(made, ":CHAN1:RANG 20")
    assert ask(made, ":CHAN1:RANG?;:SYST:ERR?").startswith("10;-222,")


def test_scale_and_zero_are_drawn_once_per_run():
    world = World(0.2)
    seen = []
    for seed in range(40):
        made = SimulatedRTO(name="scope", world=world, clock=Clock(), noise=Noise(seed, "scope"), noise_share=0.004)
        ask(made, ":CHAN1:RANG 0.5;:TIM:RANG 2E-6;:TIM:HOR:POS 8E-7;:ACQ:SRAT 1E9;:FORM REAL,32")
        volts = taken(made, 1000)
        seen.append((float(np.mean(volts[:190])), float(np.max(volts))))
    zeros, heights = np.array(seen).T
    assert np.std(zeros) == pytest.approx(0.005 * 0.5, rel=0.4)
    assert np.std(heights - zeros) == pytest.approx(0.01 * 0.2, rel=0.4)


def test_continuous_running_gives_what_has_come_so_far():
    made = scope(None, ";:ACQ:COUN 100;:RUN")
    made.clock.now = 1.0
    assert len(data_of(made)) == 8000 and int(ask(made, ":ACQ:CURR?")) == pytest.approx(1000, abs=2)
    assert ask(made, "*OPC?;:STAT:OPER:COND?") == "1;16"
    ask(made, "STOP")
    assert ask(made, ":STAT:OPER:COND?") == "0"


def test_a_reset_forgets_waveforms_and_settings():
    made = scope()
    taken(made, 10)
    ask(made, "*RST")
    assert ask(made, ":FORM?;:CHAN1:RANG?;:ACQ:COUN?;:TRIG:MODE?") == "ASC,0;0.5;1;AUTO"
    assert ask(made, ":CHAN1:DATA:HEAD?") is None
