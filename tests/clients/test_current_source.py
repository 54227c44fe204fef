"""PyMeasure's drivers of the 6221 and, behind its relay, of the 2182A, talking to the simulated source.

QCoDeS 0.58 has a driver of neither; `test_meter_and_furnace.py` has the 2182A on lines of its own.
"""

import time
from typing import Any

import pytest

from megabar.simulators.instruments.sources.keithley6221 import SimulatedKeithley6221

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

OHM = 0.012
OFFSET_V = 4e-6


class World:
    """A resistance with a thermoelectric voltage, and what was let flow through it."""

    def __init__(self) -> None:
        self.ampere, self.told = 0.0, []

    def set_source_current(self, t: float, ampere: float) -> None:
        self.ampere = ampere
        self.told.append(ampere)

    def voltage_v(self, t: float) -> float:
        return self.ampere * OHM + OFFSET_V


@pytest.fixture
def source_in_world(serve_world) -> Any:
    """The driver of PyMeasure on a source in a world of its own."""
    keithley = pytest.importorskip("pymeasure.instruments.keithley", reason="install megabar[clients]")
    world = World()
    address = serve_world(SimulatedKeithley6221, world)
    ends = {"read_termination": "\n", "write_termination": "\n"}
    source = keithley.Keithley6221(address, visa_library="@py", timeout=5000, **ends)
    yield source, world
    source.adapter.close()


def test_pymeasure_sets_a_steady_current(source_in_world):
    source, world = source_in_world
    assert "MODEL 6221" in source.id
    source.source_compliance = 1.5
    source.source_current = 0.0123
    assert (source.source_compliance, source.source_current) == (1.5, 0.0123)
    assert source.source_enabled is False and world.told == []
    source.enable_source()
    assert source.source_enabled is True and world.ampere == 0.0123
    source.source_range = 0.02
    assert source.source_auto_range is False
    source.source_auto_range = True
    assert source.source_auto_range is True
    source.source_delay = 0.01
    assert source.source_delay == 0.01
    source.output_low_grounded = True
    assert source.output_low_grounded is True
    source.shield_to_guard_enabled = True
    assert source.shield_to_guard_enabled is True
    source.disable_source()
    assert source.source_enabled is False and world.ampere == 0.0
    assert source.check_errors() == []


def test_pymeasure_takes_a_series_in_delta_mode(source_in_world):
    source, world = source_in_world
    assert source.delta_connected is True
    source.delta_unit = "V"
    source.delta_high_source = 0.01
    source.delta_delay = 0.02
    source.delta_cycles = 6
    source.delta_buffer_points = 6
    source.delta_compliance_abort_enabled = True
    source.delta_cold_switch_enabled = False
    assert (source.delta_unit, source.delta_high_source, source.delta_low_source) == ("V", 0.01, -0.01)
    assert (source.delta_delay, source.delta_cycles, source.delta_buffer_points) == (0.02, 6, 6)
    assert source.delta_compliance_abort_enabled is True and source.delta_cold_switch_enabled is False
    source.delta_arm()
    time.sleep(0.3)  # six seconds of the source
    source.delta_start()
    time.sleep(0.3)
    values = source.delta_values
    assert values[::2] == pytest.approx([0.01 * OHM] * 6, abs=1e-7)
    assert values[1] == 0.0 and values[1::2] == sorted(values[1::2])
    assert world.told[:4] == [0.01, -0.01, 0.01, -0.01] and world.ampere == 0.0
    assert source.measurement_events & 1 << 9  # the buffer is full
    source.delta_abort()
    assert source.source_enabled is False
    source.delta_unit = "Ohms"
    assert source.delta_values[0] == pytest.approx(OHM, rel=1e-3)
    assert source.check_errors() == []


def test_pymeasure_reads_the_latest_while_an_endless_series_runs(source_in_world):
    source, world = source_in_world
    source.delta_high_source = 0.005
    source.delta_cycles = "INF"
    source.write("TRAC:POIN 100")  # arming takes longer for a longer buffer
    source.delta_arm()
    time.sleep(0.3)
    source.delta_start()
    time.sleep(0.3)
    reading, since_s = source.delta_sense
    assert reading == pytest.approx(0.005 * OHM, abs=1e-7) and since_s > 0.0
    source.delta_abort()
    assert source.source_enabled is False and world.ampere == 0.0
    n = len(world.told)
    time.sleep(0.1)
    assert len(world.told) == n
    assert source.check_errors() == []


def test_pymeasure_reads_the_meter_through_the_relay(source_in_world):
    source, _ = source_in_world
    adapters = pytest.importorskip("pymeasure.adapters")
    keithley = pytest.importorskip("pymeasure.instruments.keithley")

    class Relay(adapters.Adapter):
        """What the driver of the meter says goes through the source."""

        def _write(self, command: str, **_: Any) -> None:
            source.write('SYST:COMM:SER:SEND "{}"'.format(command.replace('"', '""')))

        def _read(self, **_: Any) -> str:
            return source.ask("SYST:COMM:SER:ENT?").strip()

    meter = keithley.Keithley2182(Relay())
    assert "MODEL 2182A" in meter.id
    meter.voltage_nplc = 1
    assert meter.voltage_nplc == 1
    assert meter.channel_function == "voltage"
    source.source_current = 0.01
    source.enable_source()
    assert meter.voltage == pytest.approx(0.01 * OHM + OFFSET_V, abs=5e-6)
    meter.ch_1.voltage_range = 0.01
    assert meter.ch_1.voltage_range == 0.01 and meter.ch_1.voltage_range_auto_enabled is False
    assert meter.check_errors() == []
    assert source.check_errors() == []
