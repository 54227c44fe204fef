"""Pieces of the deformation plan, with devices of a facility that are not ours."""

import math
from typing import Any

import pytest
from bluesky import RunEngine
from ophyd import Component, Device, Signal
from ophyd.sim import SynSignal
from ophyd.status import Status

from megabar.devices.presses import DifferentialRam, Press
from megabar.plans.beamline import BlowOut, watch
from megabar.plans.deformation import Parameters, Roles, compress, finished, first_speed, steered


class Limited(Signal):
    """A facility's own set-point: an ordinary ophyd Signal with a check."""

    def check_value(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError("not a number")


class FacilityRam(Device):
    speed = Component(Limited, value=0.0)


class FacilityPress(Device):
    """A press of another make, on ophyd's own classes."""

    load = Component(Limited, value=0.0)
    load_rate = Component(Limited, value=1.0)
    blown_out = Component(Signal, value=0)
    top = Component(FacilityRam)
    bottom = Component(FacilityRam)

    def trigger(self) -> Status:
        return finished_status()

    def hold(self) -> Status:
        return finished_status()


def finished_status() -> Status:
    status = Status()
    status.set_finished()
    return status


@pytest.fixture
def roles() -> Roles:
    def meter(name: str) -> Any:
        return SynSignal(name=name, func=lambda: 1.0)

    ring = Device(name="ring")
    ring.current = SynSignal(name="ring_current", func=lambda: 60.0)
    ring.trigger = finished_status
    ring.read = ring.current.read
    ring.describe = ring.current.describe
    furnace = meter("furnace")
    return Roles(
        press=FacilityPress(name="press"),
        furnace=furnace,
        thermocouple=meter("thermocouple"),
        detector=meter("detector"),
        camera=meter("camera"),
        shutter=Signal(name="shutter", value=""),
        slits=Signal(name="slits", value=""),
        stage=Device(name="stage"),
        ring=ring,
        i0=meter("i0"),
    )


def run(plan: Any) -> list[tuple[str, Any]]:
    import bluesky.preprocessors as bpp

    documents: list[tuple[str, Any]] = []
    engine = RunEngine({}, context_managers=[])
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    engine(bpp.run_wrapper(plan))
    return documents


def test_press_of_another_make_satisfies_the_protocol_and_compresses(roles: Roles) -> None:
    assert isinstance(roles.press, Press)
    assert isinstance(roles.press.top, DifferentialRam)
    run(compress(roles, Parameters(load_mn=3.0, slow_poll_s=5.0)))
    assert roles.press.load.get() == 3.0
    assert roles.press.load_rate.get() == 2.0


def test_blow_out_in_the_readings_ends_the_plan(roles: Roles) -> None:
    roles.press.blown_out.put(1)
    with pytest.raises(BlowOut, match="heater is cut first"):
        run(watch(roles))


class Known:
    """A result of live analysis that says what it is told to."""

    name, seq_num = "strain", 1

    def __init__(self, **values: float) -> None:
        self.values = values

    def value(self, quantity: str) -> float:
        return self.values.get(quantity, math.nan)

    def error(self, quantity: str) -> float:
        return self.values.get(f"{quantity}_error", math.nan)


def test_rams_go_faster_where_the_sample_shortens_too_slowly() -> None:
    p = Parameters()
    speed = first_speed(p)
    slow = Known(strain=0.05, strain_rate=0.8e-5, strain_rate_error=2e-7)
    fast = Known(strain=0.05, strain_rate=1.2e-5, strain_rate_error=2e-7)
    assert steered(speed, p, slow) > speed > steered(speed, p, fast)
    assert steered(speed, p, slow) < 1.1 * speed, "small steps"


@pytest.mark.parametrize(
    "strain",
    [
        Known(strain=0.05),
        Known(strain=0.05, strain_rate=3e-5, strain_rate_error=2e-5),
        Known(strain=0.001, strain_rate=1e-6, strain_rate_error=1e-8),
    ],
    ids=["unknown", "uncertain", "elastic"],
)
def test_rams_keep_their_speed_where_the_rate_says_nothing(strain: Known) -> None:
    assert steered(0.005, Parameters(), strain) == 0.005


def test_deformation_ends_at_the_strain_or_when_steady_if_so_asked() -> None:
    steady = {"strain": Known(strain=0.1), "steadiness": Known(steady=1.0)}
    assert not finished(steady, Parameters())
    assert finished(steady, Parameters(until="steady"))
    assert not finished({**steady, "steadiness": Known(steady=0.0)}, Parameters(until="steady"))
    assert finished({**steady, "strain": Known(strain=0.3)}, Parameters())
