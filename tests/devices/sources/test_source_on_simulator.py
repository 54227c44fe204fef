"""The current source with its simulated twin, in simulated time and with faults on the line; its readings reduced."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megabar.analysis.delta_readings import resistance_of_delta_readings
from megabar.devices.errors import LimitError, LinkError, Refused, WrongInstrument
from megabar.devices.sources.keithley6221 import Keithley6221
from megabar.simulators.instruments.sources.keithley6221 import SimulatedKeithley6221
from megabar.simulators.noise import Noise
from megabar.simulators.wire.faults import Faults
from megabar.simulators.wire.tcp import TcpServer

from ..test_on_simulators import Rehearsal

OHM, OFFSET_V, DRIFT_V_PER_S = 0.012, 4e-6, 2e-7


class Sample:
    """Between four leads, at a thermoelectric voltage that drifts; from `breaks_s` on it has `then_ohm`."""

    def __init__(self) -> None:
        self.currents: list[tuple[float, float]] = [(0.0, 0.0)]
        self.breaks_s, self.then_ohm = np.inf, 1e6

    def set_source_current(self, t: float, ampere: float) -> None:
        assert t >= self.currents[-1][0]
        self.currents.append((t, ampere))

    def voltage_v(self, t: float) -> float:
        ampere = next(ampere for begun, ampere in reversed(self.currents) if begun <= t)
        ohm = OHM if t < self.breaks_s else self.then_ohm
        return ampere * ohm + OFFSET_V + DRIFT_V_PER_S * t


class Bench(Rehearsal):
    """The source at a sample; `parameters` are those of its twin."""

    parameters: dict[str, Any] = {}

    def _server(self, name: str, _: Any, clock: Any, rules: list[dict[str, Any]], seed: int) -> Any:
        self.sample = Sample()
        self.twin = SimulatedKeithley6221(
            name=name, world=self.sample, clock=clock, noise=Noise(seed, name), **self.parameters
        )
        return TcpServer(self.twin, clock, Faults(rules, Noise(seed, f"faults of {name}")))

    def _device(self, name: str, address: str) -> Any:
        link: Any = Keithley6221.link_type(name, address, self.clock, **Keithley6221.link_options)
        link.call(link.open)
        device = Keithley6221(name=name, link=link)
        try:
            link.call(device.connect)
        except LinkError:
            link.call(link.close)
            raise
        return device

    def took(self, status: Any) -> float:
        """How long it is until a status is done."""
        before = self.clock.monotonic()
        self.wait(status)
        return self.clock.monotonic() - before

    @property
    def flows_a(self) -> float:
        """What flows last."""
        return self.sample.currents[-1][1]


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(faults: list[dict[str, Any]] | None = None, seed: int = 1, **parameters: Any) -> Bench:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        Bench.parameters = parameters
        made.append(Bench(folder, ["source"], {"source": faults or []}, seed))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def ready(rehearse: Callable[..., Bench]) -> Callable[..., tuple[Bench, Any]]:
    """A source that is set for `n` readings of 10 mA at 2 V, with one power line cycle."""

    def make(n: int = 20, faults: list[dict[str, Any]] | None = None, **parameters: Any) -> tuple[Bench, Any]:
        here = rehearse(faults, **parameters)
        source = here.devices["source"]
        for signal, value in (("compliance", 2.0), ("delta_current", 0.01), ("delta_delay", 0.02), ("delta_count", n)):
            here.wait(getattr(source, signal).set(value))
        here.wait(source.integration.set(1.0))
        return here, source

    return make


def test_a_series_gives_the_resistance_within_its_error_and_ends_without_current(ready):
    here, source = ready(60, noise_v=40e-9)
    each_s = 0.02 + 2 / 50 + 0.008
    seconds = here.took(source.trigger())
    assert 62 * each_s < seconds < 62 * each_s + 6.0  # two seconds to arm, two between looks
    assert source.delta.get().shape == source.delta_time.get().shape == (60,)
    assert source.delta_time.get() == pytest.approx(each_s * np.arange(60), abs=1e-3)
    assert (source.overflows.get(), source.in_compliance.get(), source.output.get()) == (0, 0, 0)
    found = resistance_of_delta_readings(source.delta.get(), 0.01).estimate.quantity("resistance")
    assert abs(found.value - OHM) < 4 * np.hypot(found.error, 5e-5 * OHM)
    assert found.error == pytest.approx(40e-9 / 0.01 / np.sqrt(60), rel=0.3)
    assert here.flows_a == 0.0 and not here.twin.circuit.on
    assert not here.failures


def test_the_current_is_reversed_for_every_voltage(ready):
    here, source = ready(5)
    here.wait(source.trigger())
    levels = [ampere for _, ampere in here.sample.currents[1:]]
    assert levels == [0.01, -0.01] * 3 + [0.01, 0.0]


def test_series_after_series_go_the_same_way(ready):
    here, source = ready(5)
    first = here.took(source.trigger())
    assert here.took(source.trigger()) == pytest.approx(first, abs=0.3)
    here.wait(source.delta_count.set(9))
    here.wait(source.trigger())
    assert source.delta.get().shape == (9,) and np.isfinite(source.delta.get()).all()


def test_a_longer_integration_time_scatters_less(ready):
    here, source = ready(100, noise_v=40e-9)
    here.wait(source.trigger())
    fast = np.std(source.delta.get())
    here.wait(source.integration.set(25.0))
    here.wait(source.trigger())
    assert fast / np.std(source.delta.get()) == pytest.approx(5.0, rel=0.35)


def test_the_link_is_free_while_a_series_runs(ready):
    here, source = ready(200)
    series = source.trigger()
    here.pause(6.0)
    before = here.clock.monotonic()
    here.wait(source.link.submit(lambda: source.fetch(source.stored)))
    assert here.clock.monotonic() - before < 0.1 and not series.done and 0 < source.stored.get() < 200
    here.wait(series)


def test_a_lead_that_breaks_ends_the_series_and_is_told(ready):
    here, source = ready(200)
    here.sample.breaks_s = here.clock.monotonic() + 8.0
    with pytest.raises(Refused, match=r"has stopped at \d+ of 200 readings: the source was in compliance at 2 V"):
        here.wait(source.trigger())
    assert here.flows_a == 0.0 and here.sample.currents[-1][0] < here.sample.breaks_s + 0.1
    assert not here.failures


def test_without_compliance_abort_nothing_would_have_ended_it(ready, monkeypatch):
    """The control of the one before: the twin is told that there is none, the device that there is."""
    here, source = ready(20)
    monkeypatch.setattr(type(here.twin.circuit), "limited", property(lambda _: False, lambda *_: None), raising=False)
    here.sample.breaks_s = here.clock.monotonic() + 3.0
    here.wait(source.trigger())
    assert source.in_compliance.get() == 1
    assert np.abs(source.delta.get()).max() == pytest.approx(2.0, rel=0.01)


def test_what_is_beyond_the_range_of_the_meter_is_no_number(ready):
    here, source = ready(12)
    answers: list[str] = []
    ask = ":SENS:VOLT:RANG 0.01;:SENS:VOLT:RANG?"
    here.wait(source.link.submit(lambda: answers.append(source.ask_meter(ask))))
    assert float(answers[0]) == 0.01
    here.wait(source.trigger())
    assert np.isfinite(source.delta.get()).all()
    here.sample.breaks_s, here.sample.then_ohm = here.clock.monotonic() + 2.7, 5.0  # some readings are through
    here.wait(source.trigger())
    n = int(np.isnan(source.delta.get()).sum())
    assert 0 < n < 12 and source.overflows.get() == n


def test_switching_off_ends_a_series_at_once(ready):
    here, source = ready(500)
    series = source.trigger()
    here.pause(6.0)
    assert here.flows_a != 0.0
    assert here.took(source.output.set(0)) < 1.0
    assert here.flows_a == 0.0
    with pytest.raises((Refused, LinkError), match=r"has stopped at \d+ of 500|urgent"):
        here.wait(series)
    here.pause(5.0)
    assert here.flows_a == 0.0 and not here.failures


def test_unstaging_ends_a_series(ready):
    here, source = ready(500)
    source.stage()
    series = source.trigger()
    here.pause(6.0)
    source.unstage()
    here.pause(1.0)
    assert here.flows_a == 0.0 and not here.twin.circuit.on
    with pytest.raises((Refused, LinkError)):
        here.wait(series)


def test_without_unstaging_the_series_would_have_gone_on(ready):
    here, source = ready(500)
    source.stage()
    source.trigger()
    here.pause(7.0)
    assert here.flows_a != 0.0


def test_a_source_without_a_meter_is_refused(rehearse):
    with pytest.raises(WrongInstrument, match="no nanovoltmeter"):
        rehearse(meter=False)


@pytest.mark.parametrize("terminator", ["", "\r", "\n", "\r\n"])
def test_whatever_the_meter_ends_its_answers_with_it_is_understood(rehearse, terminator: str):
    here = rehearse(meter_terminator=terminator)
    source = here.devices["source"]
    assert source.integration.get() == 5.0
    here.wait(source.integration.set(2.0))
    here.wait(source.link.submit(source.check_idle))
    assert source.integration.get() == 2.0


# ---- a steady current


def test_a_steady_current_is_ramped_and_ended(ready):
    here, source = ready()
    here.wait(source.output.set(1))
    assert here.took(source.current.set(0.005)) == pytest.approx(5.0, abs=0.5)
    steps = np.diff([ampere for _, ampere in here.sample.currents])
    assert here.flows_a == pytest.approx(0.005) and np.abs(steps).max() < 1.001e-4
    with pytest.raises(Refused, match="output is on"):
        here.wait(source.trigger())
    assert here.took(source.current.set(-0.001)) == pytest.approx(6.0, abs=0.5)
    here.wait(source.output.set(0))
    assert here.flows_a == 0.0 and source.current.get() == 0.0


def test_a_ramp_ends_with_the_output_and_where_it_is_stopped(ready):
    here, source = ready()
    here.wait(source.output.set(1))
    ramp = source.current.set(0.02)
    here.pause(2.05)
    source.current.stop()
    with pytest.raises(Refused, match=r"was ended, it stands at 0\.00[12]\d* A"):
        here.wait(ramp)
    ramp = source.current.set(0.02)
    here.pause(1.0)
    here.wait(source.output.set(0))
    with pytest.raises((Refused, LinkError), match=r"the output is off|urgent"):
        here.wait(ramp)
    here.pause(2.0)
    assert here.flows_a == 0.0


def test_a_current_that_is_set_is_not_switched_on_at_once(ready):
    here, source = ready()
    here.wait(source.current.set(0.01))
    with pytest.raises(Refused, match="to ramp from once the output is on"):
        here.wait(source.output.set(1))
    assert here.flows_a == 0.0


def test_the_compliance_of_the_instrument_as_delivered_is_too_high(rehearse):
    here = rehearse()
    source = here.devices["source"]
    assert source.compliance.get() == 10.0
    with pytest.raises(LimitError, match=r"accepted are 0\.1\.\.2 V"):
        here.wait(source.trigger())


# ---- faults


@pytest.mark.parametrize("kind", ["drop", "truncate", "garble", "delay"])
@pytest.mark.parametrize("first", range(10, 31))
def test_two_bad_replies_in_a_series_give_no_wrong_reading_and_no_current_after_it(ready, kind: str, first: int):
    late = {"seconds": 3.0} if kind == "delay" else {}
    here, source = ready(10, [{"kind": kind, "at": [first, first + 1], **late}])
    try:
        here.wait(source.trigger())
    except (LinkError, Refused):
        pass
    else:
        assert source.delta.get() == pytest.approx(0.01 * OHM, abs=1e-6)
    here.wait(source.output.set(0))
    assert here.flows_a == 0.0 and not here.failures


FAULTS = [
    {"kind": "drop", "at": [40]},
    {"kind": "truncate", "at": [62]},
    {"kind": "garble", "at": [80, 111]},
    {"kind": "split", "every": 5, "seconds": 0.05},
]


def series(here: Bench, source: Any, n: int) -> list[list[float]]:
    rows = []
    for _ in range(n):
        try:
            here.wait(source.trigger())
        except (LinkError, Refused):
            rows.append([np.inf])
            here.wait(source.output.set(0))
        else:
            rows.append([*source.delta.get(), *source.delta_time.get(), here.clock.monotonic()])
    return rows


def test_on_a_faulty_line_no_reading_is_wrong_and_the_same_seed_gives_the_same_series(ready):
    first = series(*ready(10, FAULTS), 12)
    whole = [row for row in first if len(row) > 1]
    assert len(whole) > 8
    for row in whole:
        assert row[:10] == pytest.approx([0.01 * OHM] * 10, abs=1e-6)
    assert series(*ready(10, FAULTS), 12) == first
    assert series(*ready(10, FAULTS, seed=2), 12) != first
