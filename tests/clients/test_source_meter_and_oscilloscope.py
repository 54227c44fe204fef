"""Drivers that nobody here wrote, talking to the simulated source-meter and oscilloscope over TCP."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pyvisa.constants import ResourceAttribute

from megabar.simulators.instruments.oscilloscopes.rto import SimulatedRTO
from megabar.simulators.instruments.source_meters.keithley2450 import SimulatedKeithley2450

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

OHM = 0.05
HEIGHT_V, DECAY_S = 0.1, 2e-7
ONSET_S = 3e-10
"""Between two samples: which of them is the first is no matter of rounding."""
EXACT = {"gain": 0.0, "offset_share": 0.0}


class World:
    """A foil, and a pulse that falls off."""

    def __init__(self, ohm: float = OHM) -> None:
        self.ohm, self.ampere = ohm, 0.0

    def set_source_current(self, t: float, ampere: float) -> None:
        self.ampere = ampere

    def voltage_v(self, t: float) -> float:
        return self.ampere * self.ohm

    def trigger_rate_hz(self, t: float) -> float:
        return 500.0

    def waveform_v(self, t: float, times_s: np.ndarray) -> np.ndarray:
        return np.where(times_s < ONSET_S, 0.0, HEIGHT_V * np.exp(-np.maximum(times_s, 0.0) / DECAY_S))


@contextlib.contextmanager
def reading_to_the_end(handle: Any) -> Iterator[None]:
    """QCoDeS's driver takes what comes to be a whole message, as with VXI-11; a socket ends it at a line feed."""
    handle.read_termination = None
    handle.set_visa_attribute(ResourceAttribute.suppress_end_enabled, False)
    yield
    handle.read_termination = "\n"
    handle.set_visa_attribute(ResourceAttribute.suppress_end_enabled, True)


def test_pymeasure_sources_a_current_and_measures_a_voltage(pymeasure):
    world = World()
    source = pymeasure("keithley:Keithley2450", SimulatedKeithley2450, world, offset_v=0.0)
    assert "MODEL 2450" in source.id
    source.apply_current(compliance_voltage=2.0)
    assert source.source_mode == "current" and source.compliance_voltage == 2.0
    source.measure_voltage(nplc=0.1)
    assert source.voltage_nplc == 0.1
    source.source_current = 0.02
    assert source.source_current == 0.02 and world.ampere == 0.0
    source.enable_source()
    assert source.source_enabled is True and world.ampere == 0.02
    assert source.voltage == pytest.approx(0.02 * OHM, rel=0.02)
    source.voltage_range = 0.2
    assert source.voltage_range == 0.2
    source.source_current_range = 0.1
    assert source.source_current_range == 0.1
    source.current_output_off_state = "HIMP"
    assert source.current_output_off_state == "HIMP"
    source.use_front_terminals()
    source.ramp_to_current(-0.01, steps=3, pause=0.0)
    assert source.check_errors() == []
    assert world.ampere == -0.01
    source.source_current = 2.0
    assert source.check_errors()[0][0] == -222
    source.ramp_to_current(0.0, steps=2, pause=0.0)
    source.disable_source()
    assert source.source_enabled is False and world.ampere == 0.0


def test_qcodes_asks_for_the_language_and_then_sources_a_current(qcodes):
    world = World()
    source = qcodes("Keithley:Keithley2450", SimulatedKeithley2450, world, offset_v=0.0)
    assert source.get_idn()["model"] == "2450"
    assert (source.source_function(), source.sense_function()) == ("current", "voltage")
    source.source.limit(2.0)
    source.source.current(0.02)
    source.sense.four_wire_measurement(True)
    source.sense.nplc(0.1)
    source.sense.auto_range(True)
    source.output_enabled(True)
    assert (source.source.limit(), source.source.current()) == (2.0, 0.02)
    assert world.ampere == 0.02
    assert source.sense.four_wire_measurement() is True and source.sense.nplc() == "+1.00000000E-01"
    assert source.sense.voltage() == pytest.approx(0.02 * OHM, rel=0.02)
    assert source.source.limit_tripped() is False
    world.ohm = 1e6
    assert source.source.limit_tripped() is True
    assert source.sense.voltage() == pytest.approx(2.0, rel=1e-3)
    assert source.source.read_back_enabled() is True and source.line_frequency() == "50"
    source.sense_function("current")
    assert source.sense.current() == pytest.approx(2e-6, rel=1e-3)
    source.output_enabled(False)
    assert source.output_enabled() is False and world.ampere == 0.0
    source.reset()
    assert source.source_function() == "voltage"


def test_qcodes_refuses_another_language(qcodes, caplog):
    class Emulating(SimulatedKeithley2450):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.language = "SCPI2400"

    source = qcodes("Keithley:Keithley2450", Emulating, World())
    assert not hasattr(source, "source_function")
    assert "unsupported language mode" in caplog.text


def test_qcodes_takes_an_averaged_waveform(qcodes):
    scope = qcodes("rohde_schwarz:RohdeSchwarzRTO1000", SimulatedRTO, World(), **EXACT)
    assert scope.model == "RTO1044" and scope.num_chans == 4
    scope.timebase_range(2e-6)
    scope.timebase_position(8e-7)
    scope.acquisition_sample_rate(1e9)
    scope.trigger_source("EXT")
    assert scope.trigger_source() == "EXT"
    assert scope.sampling_rate() == 10_000_000_000
    scope.ch1.state("ON")
    scope.ch1.coupling("DC")
    scope.ch1.range(0.5)
    scope.ch1.offset(0.05)
    assert (scope.ch1.scale(), scope.ch1.range(), scope.ch1.coupling()) == (0.05, 0.5, "DC")
    scope.ch1.arithmetics("AVERAGE")
    assert scope.ch1.arithmetics() == "AVERAGE"
    scope.num_acquisitions(1000)
    scope.run_single()
    assert scope.is_running()
    assert scope.opc() == "1"  # two seconds, twenty times as fast as life
    assert scope.completed_acquisitions() == 1000 and not scope.is_running()
    scope.ch1.trace.prepare_trace()
    scope.run_mode("RUN CONT")  # or it asks for the number of acquisitions in the state that follows
    with reading_to_the_end(scope.visa_handle):
        volts = scope.ch1.trace()
    (times,) = scope.ch1.trace.setpoints
    assert times[0] == pytest.approx(-2e-7) and times[1] - times[0] == pytest.approx(1e-9)
    truth = World().waveform_v(0.0, np.array(times))
    assert len(volts) == 2000 and np.std(volts - truth) < 2.0 * 0.5 * 0.004 / np.sqrt(1000)
    assert scope.error_next() == '0,"No error"'


def test_pyvisa_reads_blocks_with_line_feeds(serve_world):
    pyvisa = pytest.importorskip("pyvisa")
    manager = pyvisa.ResourceManager("@py")
    address = serve_world(SimulatedRTO, World(), **EXACT)
    with manager.open_resource(address, read_termination="\n", write_termination="\n", timeout=3000) as scope:
        scope.write("FORM REAL,32;:CHAN1:RANG 0.5;:TIM:RANG 1E-5;:TIM:HOR:POS 4E-6;:ACQ:SRAT 1E9;:CHAN1:ARIT AVER")
        scope.write("ACQ:COUN 500;:SING;*OPC?")
        assert scope.read() == "1"
        volts = scope.query_binary_values("CHAN1:DATA?", datatype="f", container=np.array)
        assert b"\n" in volts.astype("<f4").tobytes() and len(volts) == 10_000
        times = -1e-6 + 1e-9 * np.arange(10_000)
        assert np.std(volts - World().waveform_v(0.0, times)) < 2.0 * 0.5 * 0.004 / np.sqrt(500)
        assert scope.query("*OPC?") == "1"
    manager.close()


def test_the_maker_s_driver_takes_an_averaged_waveform(serve_world):
    rsrtx = pytest.importorskip("rsrtx", reason="install megabar[clients]")
    address = serve_world(SimulatedRTO, World(), **EXACT)
    scope = rsrtx.RsRtx(address, options="SelectVisa=SocketIo")
    try:
        assert scope.utilities.idn_string.startswith("Rohde&Schwarz,RTO,")
        scope.timebase.set_range(2e-6)
        scope.timebase.horizontal.set_position(8e-7)
        scope.acquire.set_symbol_rate(1e9)
        scope.channel.range.set(0.5)
        scope.channel.offset.set(0.05)
        scope.channel.waveform.arithmetics.set(rsrtx.enums.Arithmetics.AVERage)
        scope.acquire.set_count(1000)
        scope.acquire.areset.immediate.perform()
        scope.run.single_and_wait(10_000)
        assert scope.acquire.get_current() == 1000
        header = scope.channel.waveform.data.header.get()
        assert (header.Start, header.Stop, header.Record_Length) == (-2e-7, pytest.approx(1.799e-6), 2000)
        volts = np.array(scope.channel.waveform.data.values.get())
        times = np.linspace(header.Start, header.Stop, header.Record_Length)
        residual = volts - World().waveform_v(0.0, times)
        assert len(volts) == 2000 and np.std(residual) < 2.0 * 0.5 * 0.004 / np.sqrt(1000)
        assert scope.status.questionable.adcState.get_condition() == 0
        assert scope.utilities.query_all_errors() is None
    finally:
        scope.close()
