"""Drivers that nobody here wrote, talking to the simulated laser and its gate."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from megabar.simulators.instruments.lasers.gate_relay import SimulatedGateRelay
from megabar.simulators.instruments.lasers.ipg_ylr import SimulatedIPGYLR
from megabar.simulators.worlds.laser_bench.world import LaserBench

pytestmark = pytest.mark.clients


@pytest.fixture
def world() -> LaserBench:
    world = LaserBench(1)
    world.close_gate(0.0, 1e9)
    return world


@pytest.fixture(params=["tcp", "serial"])
def laser(request: pytest.FixtureRequest, serve_world, world: LaserBench) -> Iterator[Any]:
    """PyMeasure's driver of another series of IPG, whose framing and some of whose readings a YLR shares.

    Its constructor asks for power limits, which a YLR does not have, and its status bits are others: it is made
    without the one, and the other is not asked.
    """
    ipgphotonics = pytest.importorskip("pymeasure.instruments.ipgphotonics", reason="install megabar[clients]")
    instruments = pytest.importorskip("pymeasure.instruments")

    class SharedWithYLR(ipgphotonics.YAR):
        def __init__(self, address: str) -> None:
            ends = {"read_termination": "\r", "write_termination": "\r"}
            instruments.Instrument.__init__(
                self, address, "laser", includeSCPI=False, visa_library="@py", timeout=2000, **ends
            )

    made = SharedWithYLR(serve_world(SimulatedIPGYLR, world, wire=request.param))
    yield made
    made.adapter.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pymeasure_reads_and_switches_the_laser(laser, world: LaserBench):
    assert laser.firmware.startswith("1.")
    assert laser.temperature == pytest.approx(26.0)
    assert laser.power == 0
    assert laser.ask("SDC 30") == "30.0"
    laser.emission_enabled = True
    assert laser.power == 0.1  # Low, during the safety start
    time.sleep(3.2 / 20)
    assert laser.power == pytest.approx(22.0, rel=0.2)
    assert laser.current == pytest.approx(3.3)
    laser.emission_enabled = False
    assert laser.power == 0
    assert not world.emitting(1e6)
    laser.clear()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pymeasure_sees_an_error_as_one(laser):
    with pytest.raises(ConnectionError):
        laser.ask("RNP")
    laser.write("SDC 101")
    with pytest.raises(ConnectionError):
        laser.check_set_errors()


def test_minimalmodbus_switches_the_relay(serve_world, world: LaserBench):
    minimalmodbus = pytest.importorskip("minimalmodbus", reason="install megabar[clients]")
    address = serve_world(SimulatedGateRelay, world)
    relay = minimalmodbus.Instrument(address.removeprefix("ASRL").removesuffix("::INSTR"), 1)
    relay.serial.baudrate = 9600
    relay.serial.timeout = 2
    try:
        assert relay.read_register(0x8000, 2) == 2.0
        assert relay.read_bits(0, 8, functioncode=1) == [0] * 8
        relay.write_bit(0, 1)
        assert relay.read_bit(0, functioncode=1) == 1
        relay.write_bit(3, 1)
        assert relay.read_bits(0, 8, functioncode=1) == [1, 0, 0, 1, 0, 0, 0, 0]
        relay.write_bit(0, 0)
        assert relay.read_bit(0, functioncode=1) == 0
        with pytest.raises(minimalmodbus.SlaveReportedException):
            relay.write_bit(8, 1)
        with pytest.raises(minimalmodbus.SlaveReportedException):
            relay.write_bit(0x0200, 0)  # a pulse of no length
        with pytest.raises(minimalmodbus.SlaveReportedException):
            relay.read_bit(0, functioncode=2)
    finally:
        relay.serial.close()
