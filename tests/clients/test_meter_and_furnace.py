"""Drivers that nobody here wrote, talking to the simulated voltmeter and furnace over sockets and serial lines."""

from collections.abc import Callable
from typing import Any

import pytest

from megabar.simulators.instruments.furnaces.eurotherm import SimulatedEurotherm3504
from megabar.simulators.instruments.meters.keithley2182a import SimulatedKeithley2182A

pytestmark = pytest.mark.clients

EMF_V = 0.0173864912


class World:
    def __init__(self) -> None:
        self.target_c, self.done = 25.0, []

    def emf_v(self, t: float) -> float:
        return EMF_V

    def cold_junction_c(self, t: float) -> float:
        return 24.5

    def controller_celsius(self, t: float) -> float:
        return 812.3

    def working_setpoint_c(self, t: float) -> float:
        return self.target_c

    def output_percent(self, t: float) -> float:
        return 0.0

    def sensor_break(self, t: float) -> bool:
        return False

    def set_furnace(self, t: float, target_c: float, ramp_k_per_min: float) -> None:
        self.target_c = target_c
        self.done.append((target_c, ramp_k_per_min))

    def set_furnace_manual(self, t: float, output_percent: float) -> None:
        self.done.append(output_percent)

    def heater_off(self, t: float) -> None:
        self.done.append("off")


@pytest.fixture
def serve(serve_world) -> Callable[..., tuple[str, World]]:
    """Serve an instrument in a world of its own; returns its VISA address and its world."""

    def make(instrument_class: type, **parameters: Any) -> tuple[str, World]:
        world = World()
        return serve_world(instrument_class, world, **parameters), world

    return make


@pytest.mark.parametrize("wire, terminator", [("tcp", "\n"), ("serial", "\n"), ("serial", "\r"), ("serial", "\r\n")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pymeasure_reads_the_voltmeter(serve, wire: str, terminator: str):
    keithley = pytest.importorskip("pymeasure.instruments.keithley", reason="install megabar[clients]")
    address, _ = serve(SimulatedKeithley2182A, wire=wire, reply_terminator=terminator)
    meter = keithley.Keithley2182(
        address, visa_library="@py", read_termination=terminator, write_termination=terminator, timeout=5000
    )
    try:
        assert "MODEL 2182A" in meter.id
        assert meter.active_channel == 1
        assert meter.channel_function == "voltage"
        meter.voltage_nplc = 1
        assert meter.voltage_nplc == 1
        assert meter.voltage == pytest.approx(EMF_V, abs=5e-6)
        assert meter.internal_temperature == pytest.approx(24.5, abs=0.1)
        meter.ch_1.voltage_range = 1
        assert meter.ch_1.voltage_range == 1
        assert meter.ch_1.voltage_range_auto_enabled is False
        meter.ch_1.setup_voltage(auto_range=True, nplc=0.1)
        assert meter.ch_1.voltage_range_auto_enabled is True
        assert meter.voltage == pytest.approx(EMF_V, abs=5e-6)
        meter.active_channel = 0
        assert meter.channel_function == "temperature"
        assert meter.temperature == pytest.approx(24.5, abs=0.1)
        assert meter.line_frequency == 50
        assert meter.auto_zero_enabled is True
        assert meter.check_errors() == []
    finally:
        meter.adapter.close()


def test_minimalmodbus_reads_and_writes_the_furnace(serve):
    minimalmodbus = pytest.importorskip("minimalmodbus", reason="install megabar[clients]")
    address, world = serve(SimulatedEurotherm3504)
    furnace = minimalmodbus.Instrument(address.removeprefix("ASRL").removesuffix("::INSTR"), 1)
    furnace.serial.baudrate = 9600
    furnace.serial.timeout = 2
    try:
        assert furnace.read_register(122) == 0xE440
        assert furnace.read_register(1, 1, signed=True) == pytest.approx(812.3, abs=0.3)
        assert furnace.read_register(1, 1, functioncode=4) == pytest.approx(812.3, abs=0.3)
        furnace.write_register(35, 50, 1, functioncode=6)
        furnace.write_register(2, 950.5, 1)  # function 16
        furnace.write_register(273, 0)
        assert furnace.read_registers(2, 4) == [9505, 0, 0, 9505]
        assert world.done == [(950.5, 50.0)]
        furnace.write_register(273, 1, functioncode=6)
        assert world.done[-1] == "off"
        with pytest.raises(minimalmodbus.SlaveReportedException):
            furnace.read_register(999)
        with pytest.raises(minimalmodbus.SlaveReportedException):
            furnace.write_register(2, 2600, 1)
        with pytest.raises(minimalmodbus.SlaveReportedException):
            furnace.read_bit(0)
    finally:
        furnace.serial.close()


def test_minimalmodbus_at_another_address_hears_nothing(serve):
    minimalmodbus = pytest.importorskip("minimalmodbus", reason="install megabar[clients]")
    address, _ = serve(SimulatedEurotherm3504, address=5)
    path = address.removeprefix("ASRL").removesuffix("::INSTR")
    for unit in (1, 5):
        furnace = minimalmodbus.Instrument(path, unit)
        furnace.serial.baudrate = 9600
        furnace.serial.timeout = 0.2
        try:
            if unit == 5:
                assert furnace.read_register(273) == 1
            else:
                with pytest.raises(minimalmodbus.NoResponseError):
                    furnace.read_register(273)
        finally:
            furnace.serial.close()
