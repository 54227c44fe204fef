"""Source-meter and oscilloscope with their simulated twins, in simulated time and with faults on the line."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megabar.devices.errors import LinkError, Refused
from megabar.devices.oscilloscopes.rto import RTO
from megabar.devices.pause import Pause
from megabar.devices.source_meters.keithley2450 import Keithley2450
from megabar.simulators.instruments.oscilloscopes.rto import SimulatedRTO
from megabar.simulators.instruments.source_meters.keithley2450 import SimulatedKeithley2450
from megabar.simulators.noise import Noise
from megabar.simulators.wire.faults import Faults
from megabar.simulators.wire.tcp import TcpServer

from . import test_on_simulators

PAIRS = {"source": (Keithley2450, SimulatedKeithley2450), "scope": (RTO, SimulatedRTO)}
OHM, EMF_V = 0.05, 30e-6
HEIGHT_V, DECAY_S = 0.1, 2e-7
ONSET_S = 3e-10
"""Between two samples: which of them is the first is no matter of rounding."""


class World:
    """A foil with a thermoelectric voltage, and a pulse whose light decays."""

    def __init__(self) -> None:
        self.ohm, self.height_v, self.rate_hz, self.stops_s = OHM, HEIGHT_V, 1000.0, math.inf
        self.times, self.currents = [-math.inf], [0.0]

    @property
    def ampere(self) -> float:
        return self.currents[-1]

    def set_source_current(self, t: float, ampere: float) -> None:
        self.times.append(t)
        self.currents.append(ampere)

    def voltage_v(self, t: float) -> float:
        return self.ampere * self.ohm + EMF_V

    def trigger_rate_hz(self, t: float) -> float:
        return self.rate_hz if t < self.stops_s else 0.0

    def waveform_v(self, t: float, times_s: np.ndarray) -> np.ndarray:
        return np.where(times_s < ONSET_S, 0.0, self.height_v * np.exp(-np.maximum(times_s, 0.0) / DECAY_S))


class Rehearsal(test_on_simulators.Rehearsal):
    """Of these two; `parameters` are those of the simulated instruments."""

    parameters: dict[str, dict[str, Any]] = {}
    options: dict[str, dict[str, Any]] = {}

    def _server(self, name: str, _: Any, clock: Any, rules: list[dict[str, Any]], seed: int) -> Any:
        self.world, self.twins = getattr(self, "world", World()), getattr(self, "twins", {})
        given = self.parameters.get(name, {})
        self.twins[name] = PAIRS[name][1](name=name, world=self.world, clock=clock, noise=Noise(seed, name), **given)
        return TcpServer(self.twins[name], clock, Faults(rules, Noise(seed, f"faults of {name}")))

    def _device(self, name: str, address: str) -> Any:
        device_class = PAIRS[name][0]
        link: Any = device_class.link_type(name, address, self.clock, **device_class.link_options)
        link.call(link.open)
        device = device_class(name=name, link=link, **self.options.get(name, {}))
        link.call(device.connect)
        return device

    def took(self, status: Any) -> float:
        """How long it is until a status is done."""
        before = self.clock.monotonic()
        self.wait(status)
        return self.clock.monotonic() - before


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Callable[..., Rehearsal]]:
    made: list[Rehearsal] = []

    def make(
        *names: str,
        seed: int = 1,
        faults: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> Rehearsal:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        Rehearsal.parameters, Rehearsal.options = parameters, options or {}
        made.append(Rehearsal(folder, list(names), faults or {}, seed))
        return made[-1]

    yield make
    for rehearsal in made:
        rehearsal.close()


# ---- the source-meter


def sourcing(rehearse: Callable[..., Rehearsal], **given: Any) -> tuple[Rehearsal, Keithley2450]:
    """10 mA at 2 V at most."""
    here = rehearse("source", **given)
    source = here.devices["source"]
    here.wait(source.voltage_limit.set(2.0))
    here.wait(source.current.set(0.01))
    here.wait(source.output.set(1))
    return here, source


def test_reversed_currents_give_the_resistance_of_the_foil(rehearse):
    here, source = sourcing(rehearse)
    seen = []
    for ampere in (0.05, -0.05) * 8:
        here.wait(source.current.set(ampere))
        here.wait(source.trigger())
        seen.append((source.voltage.get(), source.measured_current.get()))
    volts, amperes = np.array(seen).T
    assert (volts[::2].mean() - volts[1::2].mean()) / np.ptp(amperes) == pytest.approx(OHM, rel=1e-3)
    assert 0.5 * (volts[::2].mean() + volts[1::2].mean()) == pytest.approx(EMF_V, abs=3e-4)  # and the meter's zero
    assert not here.failures


def test_a_measurement_takes_its_line_cycles(rehearse):
    here, source = sourcing(rehearse)
    quick = here.took(source.trigger())
    here.wait(source.integration.set(10.0))
    assert here.took(source.trigger()) - quick == pytest.approx(2 * 9 / 50, abs=0.01)


def test_as_delivered_its_limit_keeps_the_output_off(rehearse):
    here = rehearse("source")
    source = here.devices["source"]
    with pytest.raises(Refused, match="voltage_limit is 21 V"):
        here.wait(source.output.set(1))
    assert here.world.currents == [0.0]
    here.wait(source.trigger())
    assert math.isnan(source.voltage.get()) and source.output.get() == 0


def test_a_lead_that_breaks_trips_the_compliance_and_is_a_reading(rehearse):
    here, source = sourcing(rehearse)
    here.wait(source.trigger())
    assert source.tripped.get() == 0
    here.world.ohm = 1e6
    here.wait(source.trigger())
    assert source.tripped.get() == 1 and source.voltage.get() == pytest.approx(2.0, rel=1e-3)
    assert abs(source.measured_current.get()) < 3e-6 and source.current.get() == 0.01
    here.world.ohm = OHM
    here.wait(source.trigger())
    assert source.tripped.get() == 0 and source.measured_current.get() == pytest.approx(0.01)


def test_the_safe_state_ends_the_current_and_opens_the_relay(rehearse):
    here, source = sourcing(rehearse)
    ((_, action, limit_s),) = source.safe_steps()
    assert here.took(action()) < min(limit_s, 1.0)
    assert here.world.ampere == 0.0 and here.twins["source"].off_state == "HIMP"
    here.wait(source.trigger())
    assert (source.output.get(), source.current.get()) == (0, 0.0)


def test_in_a_pause_the_current_flows_on(rehearse):
    here, source = sourcing(rehearse)
    source.pause_for(Pause())
    for _, action, _ in source.pause_steps():
        here.wait(action())
    here.pause(60.0)
    assert here.world.ampere == 0.01


@pytest.mark.parametrize("kind", ["drop", "truncate", "garble"])
@pytest.mark.parametrize("first", [16, 17, 18, 19])
def test_two_bad_replies_do_not_keep_the_current_from_ending(rehearse, kind: str, first: int):
    here, source = sourcing(rehearse, faults={"source": [{"kind": kind, "at": [first, first + 1]}]})
    for _ in range(2):
        source.trigger()
    ((_, action, limit_s),) = source.safe_steps()
    assert here.took(action()) <= limit_s
    assert here.world.ampere == 0.0


# ---- the oscilloscope


def watching(rehearse: Callable[..., Rehearsal], averages: int = 1000, **given: Any) -> tuple[Rehearsal, RTO]:
    """2 us at 1 GS/s, a tenth of it before the pulse."""
    here = rehearse("scope", **given)
    scope = here.devices["scope"]
    for setpoint, value in (
        (scope.acquisition_time, 2e-6),
        (scope.sample_rate, 1e9),
        (scope.horizontal_position, 8e-7),
        (scope.vertical_range, 0.5),
        (scope.averages, averages),
    ):
        here.wait(setpoint.set(value))
    return here, scope


def residual_v(here: Rehearsal, scope: RTO) -> np.ndarray:
    """The waveform less the truth, at the times that the device tells."""
    times = scope.start.get() + scope.step.get() * np.arange(len(scope.waveform.get()))
    return scope.waveform.get() - here.world.waveform_v(0.0, times)


EXACT = {"gain": 0.0, "offset_share": 0.0, "noise_v": 0.0}


@pytest.mark.parametrize("n, rate_hz", [(100, 50.0), (1000, 1000.0), (10_000, 2000.0)])
def test_n_averages_take_n_triggers_and_give_a_quieter_waveform(rehearse, n: int, rate_hz: float):
    here, scope = watching(rehearse, n, scope=EXACT)
    here.world.rate_hz = rate_hz
    assert n / rate_hz <= here.took(scope.trigger()) <= n / rate_hz + 0.6
    assert scope.acquired.get() == n and scope.clipped.get() == 0
    residual = residual_v(here, scope)
    assert len(residual) == 2000 and scope.start.get() == pytest.approx(-2e-7, abs=1e-15)
    single = math.hypot(0.004 * 0.5, 0.5 / 253 / math.sqrt(12))
    assert np.std(residual) == pytest.approx(single / math.sqrt(n), rel=0.06)
    assert not here.failures


def test_the_decay_time_comes_back_within_its_error(rehearse):
    here, scope = watching(rehearse)
    here.wait(scope.trigger())
    times = scope.start.get() + scope.step.get() * np.arange(2000)
    volts = scope.waveform.get() - scope.waveform.get()[:190].mean()
    late = (times > 0) & (times < 4e-7)
    slope = np.polyfit(times[late], np.log(volts[late]), 1, w=volts[late])[0]
    assert -1 / slope == pytest.approx(DECAY_S, rel=2e-3)


def test_the_link_is_free_during_a_series(rehearse):
    here, scope = watching(rehearse, 10_000)
    series = scope.trigger()
    here.pause(3.0)
    assert here.took(scope.link.submit(lambda: scope.fetch(scope.acquired))) < 0.1
    assert scope.acquired.get() == pytest.approx(3000, abs=20) and not series.done
    here.wait(series)


def test_triggers_that_stop_end_the_series_in_a_clear_error_and_the_next_one_is_whole(rehearse):
    here, scope = watching(rehearse, options={"scope": {"patience_s": 3.0}})
    begun = here.clock.monotonic()
    here.world.stops_s = begun + 0.4
    with pytest.raises(Refused, match=r"scope: (39|40)\d of 1000 acquisitions came, and no trigger for 3 s"):
        here.wait(scope.trigger())
    assert 3.4 < here.clock.monotonic() - begun < 4.5
    here.pause(0.1)
    assert not here.twins["scope"]._series.running
    here.world.stops_s = math.inf
    here.wait(scope.trigger())
    assert scope.acquired.get() == 1000


def test_a_laser_that_never_fires_is_an_error_and_no_old_waveform(rehearse):
    here, scope = watching(rehearse, 100)
    here.wait(scope.trigger())
    old = scope.waveform.get()
    here.world.rate_hz = 0.0
    with pytest.raises(Refused, match="0 of 100 acquisitions came"):
        here.wait(scope.trigger())
    assert scope.waveform.get() is old  # nothing was taken for a new one


def test_slow_triggers_are_waited_for(rehearse):
    here, scope = watching(rehearse, 12)
    here.world.rate_hz = 0.25
    assert here.took(scope.trigger()) == pytest.approx(48.0, abs=0.6)


def test_somebody_who_stops_it_at_the_front_panel_ends_the_series(rehearse):
    here, scope = watching(rehearse, 5000)
    series = scope.trigger()
    here.pause(1.0)
    here.twins["scope"]._stop()
    with pytest.raises(Refused, match="somebody has stopped the series"):
        here.wait(series)


def test_another_trigger_ends_the_series_before(rehearse):
    here, scope = watching(rehearse, 1000)
    first = scope.trigger()
    here.pause(0.5)
    second = scope.trigger()
    with pytest.raises(Refused, match="another series has been begun"):
        here.wait(first)
    here.wait(second)
    assert scope.acquired.get() == 1000


def test_in_another_trigger_mode_nothing_is_begun(rehearse):
    here, scope = watching(rehearse)
    here.twins["scope"].trigger_mode = "AUTO"
    with pytest.raises(Refused, match="not Normal"):
        here.wait(scope.trigger())
    assert not here.twins["scope"]._series.running


def test_a_pulse_beyond_the_screen_is_flagged_until_the_range_is_larger(rehearse):
    here, scope = watching(rehearse, 200)
    here.world.height_v = 0.3
    here.wait(scope.trigger())
    assert scope.clipped.get() == 1
    here.wait(scope.vertical_range.set(1.0))
    here.wait(scope.trigger())
    assert scope.clipped.get() == 0 and scope.waveform.get().max() == pytest.approx(0.3, rel=0.05)
    here.wait(scope.vertical_range.set(0.4))
    here.wait(scope.vertical_offset.set(0.15))
    here.wait(scope.trigger())
    assert scope.clipped.get() == 0 and scope.waveform.get().max() == pytest.approx(0.3, rel=0.05)


FAULTS = {
    "source": [
        {"kind": "drop", "at": [21]},
        {"kind": "truncate", "at": [34]},
        {"kind": "garble", "at": [40, 53]},
        {"kind": "disconnect", "at": [60]},
        {"kind": "split", "every": 5, "seconds": 0.05},
    ],
    "scope": [
        {"kind": "drop", "at": [25, 52]},
        {"kind": "truncate", "at": [31, 61, 80]},
        {"kind": "delay", "at": [44], "seconds": 2.5},
        {"kind": "disconnect", "at": [100]},
        {"kind": "split", "every": 3, "seconds": 0.05},
    ],
}


def series(here: Rehearsal, n: int) -> list[tuple[Any, ...]]:
    """Values and times of both, arrays as their bytes."""
    rows = []
    source, scope = here.devices["source"], here.devices["scope"]
    here.wait(source.voltage_limit.set(2.0))
    here.wait(source.current.set(0.02))
    here.wait(source.output.set(1))
    here.wait(scope.averages.set(200))
    here.wait(scope.acquisition_time.set(2e-6))
    here.wait(scope.sample_rate.set(1e9))
    for _ in range(n):
        row: dict[str, Any] = {}
        for device in (source, scope):
            here.wait(device.trigger())
            row |= {name: (entry["value"], entry["timestamp"]) for name, entry in device.read().items()}
        assert row["source_voltage"][0] == pytest.approx(0.02 * OHM + EMF_V, abs=5e-4)
        assert (row["source_measured_current"][0], row["source_tripped"][0]) == (0.02, 0)
        assert (row["scope_acquired"][0], row["scope_clipped"][0], row["scope_points"][0]) == (200, 0, 2000)
        assert np.std(residual_v(here, scope)) < 1.5e-3
        waveform, stamp = row.pop("scope_waveform")
        rows.append((waveform.tobytes(), stamp, *row.values()))
    return rows


def test_on_a_faulty_line_no_reading_is_wrong_and_the_same_seed_gives_the_same_run(rehearse):
    names = ("source", "scope")
    first = series(rehearse(*names, faults=FAULTS), 12)
    clean = series(rehearse(*names), 12)
    assert first[-1][1] - clean[-1][1] > 5.0  # the faults cost time-outs and drained lines
    assert series(rehearse(*names, faults=FAULTS), 12) == first
    assert series(rehearse(*names, faults=FAULTS, seed=2), 12) != first


@pytest.mark.parametrize("name", PAIRS)
def test_an_instrument_that_has_fallen_silent_is_an_error(rehearse, name: str):
    here = rehearse(name, faults={name: [{"kind": "drop", "at": list(range(8, 100))}]})
    with pytest.raises(LinkError):
        for _ in range(5):
            here.wait(here.devices[name].trigger())
