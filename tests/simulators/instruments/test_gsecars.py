"""The press's records, read and put at chosen moments, without a wire."""

from typing import Any

import pytest

from megabar.simulators.instruments.presses.gsecars import MN_PER_TON, SimulatedGSECARSPress
from megabar.simulators.noise import Noise
from megabar.simulators.wire.records import MAJOR, NO_ALARM
from megabar.simulators.worlds.d111.world import D111


class Panel:
    """Puts and reads records as a client would."""

    def __init__(self, **world: Any) -> None:
        self.world = D111(3, **world)
        press = SimulatedGSECARSPress(name="press", world=self.world, clock=None, noise=Noise(3, "press"))  # type: ignore[arg-type]
        self.records = press.records()

    def get(self, t: float, name: str) -> Any:
        return self.records[name].read(t)

    def put(self, t: float, name: str, value: Any) -> None:
        self.records[name].write(t, value)

    def ramp(self, t: float, tons: float, hours: float) -> None:
        self.put(t, "Press_PID.FBON", 1)
        self.put(t, "Press_RampTarget", tons)
        self.put(t, "Press_RampTime", hours)
        self.put(t, "Press_StartRamp.PROC", 1)


def test_the_load_follows_a_ramp_to_its_target() -> None:
    panel = Panel()
    panel.ramp(10.0, 200.0, 1.0)
    assert panel.get(1810.0, "Press_CurrentPressure") == pytest.approx(100.0, abs=0.5)
    assert panel.get(1810.0, "Press_EnableRamp") == 1
    assert panel.get(3700.0, "Press_CurrentPressure") == pytest.approx(200.0, abs=0.2)
    assert panel.get(3700.0, "Press_EnableRamp") == 0
    assert panel.get(3700.0, "Press_PID.VAL") == pytest.approx(200.0, abs=0.01)


def test_the_setpoint_steps_once_a_second() -> None:
    panel = Panel()
    panel.ramp(0.0, 360.0, 0.1)
    assert [panel.get(t, "Press_RampCounter") for t in (0.9, 1.0, 1.9, 360.0, 400.0)] == [0, 1, 1, 360, 360]
    assert panel.get(10.5, "Press_PID.VAL") == pytest.approx(10.0, abs=0.2)


def test_a_paused_ramp_holds_and_goes_on() -> None:
    panel = Panel()
    panel.ramp(0.0, 200.0, 1.0)
    panel.put(900.0, "Press_EnableRamp", 0)
    assert panel.get(2000.0, "Press_CurrentPressure") == pytest.approx(50.0, abs=0.5)
    panel.put(2000.0, "Press_EnableRamp", 1)
    assert panel.get(4705.0, "Press_EnableRamp") == 0
    assert panel.get(4800.0, "Press_CurrentPressure") == pytest.approx(200.0, abs=0.2)


def test_without_feedback_a_ramp_moves_the_setpoint_and_not_the_press() -> None:
    panel = Panel()
    panel.put(0.0, "Press_RampTarget", 100.0)
    panel.put(0.0, "Press_RampTime", 0.5)
    panel.put(0.0, "Press_StartRamp.PROC", 1)
    assert panel.get(1900.0, "Press_PID.VAL") == pytest.approx(100.0, abs=0.1)
    assert panel.world.load_mn(1900.0) == 0.0


def test_feedback_chases_a_setpoint_that_is_far_from_the_load() -> None:
    """The hazard that a device must avoid: far faster than any ramp it may ask for."""
    panel = Panel()
    panel.put(0.0, "Press_PID.VAL", 100.0)
    panel.put(0.0, "Press_PID.FBON", 1)
    assert (panel.world.load_mn(60.0) - panel.world.load_mn(50.0)) * 360.0 > 10.0


def test_stopping_the_pumps_takes_the_feedback_off_and_keeps_the_load() -> None:
    panel = Panel()
    panel.ramp(0.0, 200.0, 1.0)
    panel.put(900.0, "Press_StopBoth.PROC", 1)
    assert panel.get(900.0, "Press_PID.FBON") == 0
    assert panel.world.load_mn(3000.0) == pytest.approx(panel.world.load_mn(910.0), abs=1e-6)


def test_the_radial_pump_works_below_the_switchover_and_the_syringe_pump_above() -> None:
    panel = Panel()
    panel.put(0.0, "Press_SwitchoverPressure", 100.0)
    panel.ramp(0.0, 200.0, 1.0)
    assert (panel.get(900.0, "m56.JOGF"), panel.get(900.0, "m54.JOGF")) == (1, 0)
    assert (panel.get(2700.0, "m56.JOGF"), panel.get(2700.0, "m54.JOGF")) == (0, 1)
    panel.put(2800.0, "Press_StopBoth.PROC", 1)
    assert (panel.get(2800.0, "m56.DMOV"), panel.get(2800.0, "m54.DMOV")) == (1, 1)


@pytest.mark.parametrize("asked", [[], [600.0, 2500.4], list(range(2400, 2600, 7))])
def test_the_latch_falls_whoever_asks(asked: list[float]) -> None:
    panel = Panel(blow_out_at_s=2500.3)
    panel.ramp(0.0, 300.0, 1.0)
    for t in asked:
        panel.get(float(t), "Press_BlowoutLatch")
    assert panel.get(2700.0, "Press_BlowoutLatch") == 1
    assert panel.records["Press_BlowoutLatch"].severity(2700.0) == MAJOR
    assert panel.get(2700.0, "Press_PID.FBON") == 0
    after = panel.world.load_mn(2502.0)
    assert panel.world.load_mn(5000.0) == pytest.approx(after, abs=1e-6), "nothing pumps any more"


def test_the_latch_is_judged_once_a_second() -> None:
    panel = Panel(blow_out_at_s=2500.3)
    panel.ramp(0.0, 300.0, 1.0)
    assert [panel.get(t, "Press_BlowoutLatch") for t in (2500.2, 2500.9, 2501.1)] == [0, 0, 1]


def test_a_fall_within_the_threshold_is_no_blow_out() -> None:
    panel = Panel(blow_out_at_s=2500.3)
    panel.ramp(0.0, 300.0, 1.0)
    panel.put(2000.0, "Press_Blowout.C", 1000.0)
    assert panel.get(2700.0, "Press_BlowoutLatch") == 0
    assert panel.records["Press_BlowoutLatch"].severity(2700.0) == NO_ALARM


def test_a_latch_that_was_reset_stays_reset() -> None:
    panel = Panel(blow_out_at_s=2500.3)
    panel.ramp(0.0, 300.0, 1.0)
    assert panel.get(2700.0, "Press_BlowoutLatch") == 1
    panel.put(2700.0, "Press_BlowoutLatch", 0)
    assert panel.get(2800.0, "Press_BlowoutLatch") == 0
    assert panel.get(2800.0, "Press_PID.FBON") == 0


def test_a_ram_jogs_and_stops_at_its_limit() -> None:
    panel = Panel()
    panel.put(0.0, "DDIA30:m1.JVEL", 1e-4)
    panel.put(0.0, "DDIA30:m1.JOGF", 1)
    assert (panel.get(10.0, "DDIA30:m1.DMOV"), panel.get(10.0, "DDIA30:m2.DMOV")) == (0, 1)
    assert panel.get(1000.0, "DDIA30:m1.RBV") == pytest.approx(0.1)
    panel.put(1000.0, "DDIA30:m1.JVEL", 2e-4)
    assert panel.get(2000.0, "DDIA30:m1.RBV") == pytest.approx(0.3)
    panel.put(2000.0, "DDIA30:m1.JOGF", 0)
    assert panel.get(3000.0, "DDIA30:m1.RBV") == pytest.approx(0.3)
    panel.put(3000.0, "DDIA30:m1.JVEL", 2e-3)
    panel.put(3000.0, "DDIA30:m1.JOGR", 1)
    assert panel.get(9000.0, "DDIA30:m1.RBV") == -2.0
    assert (panel.get(9000.0, "DDIA30:m1.JOGR"), panel.get(9000.0, "DDIA30:m1.DMOV")) == (0, 1)


@pytest.mark.parametrize(
    ("name", "value"), [("Press_RampTime", 0.0), ("Press_RampTarget", float("nan")), ("DDIA30:m2.JVEL", -1.0)]
)
def test_what_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="is accepted"):
        Panel().put(1.0, name, value)


def test_the_meter_resolves_a_tenth_of_a_ton_once_a_second() -> None:
    panel = Panel()
    panel.ramp(0.0, 300.0, 0.5)
    readings = [panel.get(1000.0 + t / 10, "Press_CurrentPressure") for t in range(20)]
    assert len(set(readings[:10])) == 1
    assert readings[0] != readings[10]
    assert all(abs(10 * reading - round(10 * reading)) < 1e-6 for reading in readings)
    assert readings[0] * MN_PER_TON == pytest.approx(panel.world.load_mn(1000.0), abs=1e-3)
