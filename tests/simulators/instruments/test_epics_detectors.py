"""Records of detectors, monitors, shutter, slits and stage at chosen moments, without a wire."""

from typing import Any

import numpy as np
import pytest

from megabar.simulators.instruments.detectors.camera import SimulatedAreaDetector
from megabar.simulators.instruments.detectors.mca import SimulatedMultiElementDetector
from megabar.simulators.instruments.monitors.ring import SimulatedRing
from megabar.simulators.instruments.monitors.scaler import SimulatedScaler
from megabar.simulators.instruments.motion.motor import SimulatedStage
from megabar.simulators.instruments.shutters.beam_shutter import SimulatedBeamShutter
from megabar.simulators.instruments.shutters.slits import SimulatedSlits
from megabar.simulators.noise import Noise
from megabar.simulators.worlds.d111.world import D111


class Panel:
    """Puts and reads records as a client would."""

    def __init__(self, instrument: type, world: D111 | None = None, **parameters: Any) -> None:
        self.world = world or D111(3, shutter_open_at_start=True)
        made = instrument(name="it", world=self.world, clock=None, noise=Noise(3, "it"), **parameters)
        self.records = made.records()

    def get(self, t: float, name: str) -> Any:
        return self.records[name].read(t)

    def put(self, t: float, name: str, value: Any) -> None:
        self.records[name].write(t, value)


def test_an_exposure_ends_by_itself_and_keeps_its_counts() -> None:
    panel = Panel(SimulatedMultiElementDetector)
    panel.put(0.0, "PresetReal", 20.0)
    panel.put(5.0, "EraseStart", 1)
    assert [panel.get(t, "Acquiring") for t in (5.0, 24.9, 25.0, 99.0)] == [1, 1, 0, 0]
    first, later = panel.get(25.0, "mca1.VAL"), panel.get(99.0, "mca1.VAL")
    assert first.sum() > 1000
    assert np.array_equal(first, later)
    assert panel.get(99.0, "mca10.ERTM") == panel.get(99.0, "ElapsedReal") == pytest.approx(20.0)
    assert 0 < panel.get(99.0, "mca10.ELTM") < 20.0


def test_counts_do_not_depend_on_who_watches() -> None:
    watched, alone = Panel(SimulatedMultiElementDetector), Panel(SimulatedMultiElementDetector)
    for panel in (watched, alone):
        panel.put(0.0, "PresetReal", 20.0)
        panel.put(5.0, "EraseStart", 1)
    for t in range(6, 25):
        watched.get(float(t), "mca3.VAL")
    assert np.array_equal(watched.get(30.0, "mca3.VAL"), alone.get(30.0, "mca3.VAL"))


def test_every_exposure_has_its_own_noise() -> None:
    panel = Panel(SimulatedMultiElementDetector)
    spectra = []
    for t in (0.0, 0.0):  # the same moment of the world twice
        panel.put(t, "EraseStart", 1)
        spectra.append(panel.get(10.0, "mca1.VAL"))
    assert not np.array_equal(*spectra)


def test_an_exposure_can_be_stopped_and_erased() -> None:
    panel = Panel(SimulatedMultiElementDetector)
    panel.put(0.0, "PresetReal", 0.0)
    panel.put(0.0, "EraseStart", 1)
    assert panel.get(1000.0, "Acquiring") == 1
    panel.put(1000.0, "StopAll", 1)
    assert panel.get(2000.0, "ElapsedReal") == pytest.approx(1000.0)
    panel.put(2000.0, "EraseAll", 1)
    assert panel.get(2000.0, "mca1.VAL").sum() == 0
    assert panel.get(2000.0, "ElapsedReal") == 0.0


def test_the_calibration_is_what_the_beamline_believes() -> None:
    panel = Panel(SimulatedMultiElementDetector)
    believed = panel.world.element_calibration()
    for field, key in (("CALO", "offset_kev"), ("CALS", "slope_kev"), ("CALQ", "quad_kev"), ("TTH", "two_theta_deg")):
        assert [panel.get(0.0, f"mca{i}.{field}") for i in range(1, 11)] == list(believed[key])


def test_a_frame_is_the_worlds_radiograph() -> None:
    panel = Panel(SimulatedAreaDetector, exposure_s=2.0)
    panel.put(1.0, "cam1:Acquire", 1)
    assert [panel.get(t, "cam1:DetectorState_RBV") for t in (1.0, 2.9, 3.0)] == [1, 1, 0]
    assert [panel.get(t, "cam1:ArrayCounter_RBV") for t in (2.9, 3.0)] == [0, 1]
    assert panel.get(2.9, "image1:ArrayData").max() == 0, "no image before the end of the exposure"
    image = panel.get(3.0, "image1:ArrayData")
    assert image.dtype == np.int16
    same = panel.world.image(1.0, 2.0, Noise(3, "it").generator(("image", 1)))
    assert np.array_equal(image.view(np.uint16), same.ravel())
    assert np.array_equal(panel.get(50.0, "image1:ArrayData"), image)


def test_an_aborted_frame_leaves_the_one_before() -> None:
    panel = Panel(SimulatedAreaDetector, exposure_s=2.0)
    panel.put(1.0, "cam1:Acquire", 1)
    panel.put(5.0, "cam1:Acquire", 1)  # the first frame was never read
    panel.put(6.0, "cam1:Acquire", 0)
    assert panel.get(9.0, "cam1:ArrayCounter_RBV") == 1
    first = panel.world.image(1.0, 2.0, Noise(3, "it").generator(("image", 1)))
    assert np.array_equal(panel.get(9.0, "image1:ArrayData").view(np.uint16), first.ravel())
    panel.put(10.0, "cam1:Acquire", 1)
    assert panel.get(12.0, "cam1:ArrayCounter_RBV") == 2


def test_the_scaler_counts_by_itself_and_on_demand() -> None:
    panel = Panel(SimulatedScaler)
    background = panel.get(10.7, "scaler1.S2")
    assert panel.get(10.7, "scaler1.T") == 1.0
    assert background == panel.get(10.9, "scaler1.S2") != panel.get(11.1, "scaler1.S2")
    rate = panel.world.i0_rate(9.5)
    assert abs(background - rate) < 5 * rate**0.5
    panel.put(20.0, "scaler1.TP", 4.0)
    panel.put(20.0, "scaler1.CNT", 1)
    assert [panel.get(t, "scaler1.CNT") for t in (20.0, 23.9, 24.0)] == [1, 1, 0]
    assert panel.get(24.5, "scaler1.T") == pytest.approx(4.0)
    assert panel.get(24.5, "scaler1.S1") == pytest.approx(4e7)


def test_the_ring_reads_zero_without_beam() -> None:
    panel = Panel(SimulatedRing, D111(3, beam_losses=((100.0, 50.0),)))
    assert panel.get(120.0, "SRcurrentAI") == 0.0
    assert panel.get(50.0, "SRcurrentAI") == panel.get(50.0, "SRcurrentAI") != panel.get(50.1, "SRcurrentAI")


def test_the_shutters_switch_follows_its_blade() -> None:
    panel = Panel(SimulatedBeamShutter, D111(3))
    panel.put(10.0, "Open", 1)
    assert panel.world.shutter_open(10.0)
    assert [panel.get(t, "Status") for t in (10.0, 10.2, 10.3)] == [0, 0, 1]
    panel.put(20.0, "Open", 1)
    assert panel.get(20.0, "Status") == 1, "already open: nothing moves"
    panel.put(30.0, "Close", 1)
    assert panel.get(31.0, "Status") == 0


def test_a_stuck_shutter_stays() -> None:
    panel = Panel(SimulatedBeamShutter, D111(3), stuck=True)
    panel.put(10.0, "Open", 1)
    assert panel.get(20.0, "Status") == 0


def test_a_motor_goes_at_its_speed_and_stops_on_demand() -> None:
    panel = Panel(SimulatedStage, velocity=2.0)
    panel.put(10.0, "X.VAL", -20.0)
    assert panel.get(15.0, "X.RBV") == pytest.approx(-10.0)
    assert [panel.get(t, "X.DMOV") for t in (10.0, 19.9, 20.0)] == [0, 0, 1]
    panel.put(30.0, "X.VAL", 0.0)
    panel.put(33.0, "X.STOP", 1)
    assert panel.get(40.0, "X.RBV") == panel.get(40.0, "X.VAL") == pytest.approx(-14.0)
    assert panel.get(40.0, "X.DMOV") == 1


def test_a_motor_flags_a_target_beyond_its_soft_limit_and_stays() -> None:
    panel = Panel(SimulatedStage)
    panel.put(0.0, "Y.HLM", 5.0)
    panel.put(0.0, "Y.VAL", 6.0)
    assert (panel.get(1.0, "Y.LVIO"), panel.get(1.0, "Y.VAL"), panel.get(1.0, "Y.DMOV")) == (1, 0.0, 1)
    panel.put(1.0, "Y.VAL", 4.0)
    assert (panel.get(1.0, "Y.LVIO"), panel.get(9.0, "Y.RBV")) == (0, 4.0)


def test_a_paused_motor_goes_on_and_a_stopped_one_does_not() -> None:
    panel = Panel(SimulatedStage, velocity=1.0)
    for mode, end in (("Pause", 10.0), ("Stop", 2.0)):
        panel.put(0.0, "Z.VAL", 10.0)
        panel.put(2.0, "Z.SPMG", ("Stop", "Pause").index(mode))
        assert panel.get(5.0, "Z.RBV") == pytest.approx(2.0)
        panel.put(5.0, "Z.SPMG", 3)
        assert panel.get(50.0, "Z.RBV") == pytest.approx(end)
        panel = Panel(SimulatedStage, velocity=1.0)


def test_slits_open_and_narrow() -> None:
    panel = Panel(SimulatedSlits, velocity=0.5)
    panel.put(0.0, "H.VAL", 0.2)
    assert panel.get(1.0, "H.RBV") == pytest.approx(1.5)
    assert panel.get(4.0, "H.RBV") == 0.2
    panel.put(4.0, "V.STOP", 1)
    assert panel.get(9.0, "V.RBV") == 2.0
