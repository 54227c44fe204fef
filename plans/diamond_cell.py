"""Steps that experiments in a diamond cell share: conditions, light of lamps, pressure by ruby, the membrane."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, Self

import bluesky.plan_stubs as bps
from bluesky.utils import Msg, MsgGenerator, short_uid
from pydantic import Field, model_validator

from ..devices.detectors import SpectralCamera
from ..devices.gathered import Gathered
from ..devices.pressure_controllers import PressureController
from ..devices.shutters import HeatingShutter, Shutter
from ..devices.spectrometers import Spectrometer
from . import parameters as declared
from .beamline import move, record
from .frames import Frames
from .parameters import quantity
from .results import Result

REPLY_S = 10.0
"""Lasers, gates, shutters and the camera's settings have answered, or failed, within this."""
TURN_S = 120.0
"""The spectrograph has turned."""
LAMP_S = 10.0
"""Longest exposure of what is cold."""
SETTLING_S = 5.0
"""The cell creeps so long after a step of the membrane."""
NEXT_STEP = 0.9
"""Share of what is missing that one step of the membrane makes up for at most."""


class NoPressure(RuntimeError):
    """The cell does not come to the pressure asked for."""


class Station(Protocol):
    """The roles of every experiment in a diamond cell."""

    @property
    def shutter(self) -> HeatingShutter:
        """Of both heating lasers."""
        ...

    @property
    def membrane(self) -> PressureController:
        """The gas on the membrane."""
        ...

    @property
    def spectrograph(self) -> Spectrometer:
        """For thermal radiation and ruby."""
        ...

    @property
    def camera(self) -> SpectralCamera:
        """Behind it."""
        ...

    @property
    def excitation(self) -> Shutter:
        """Of the laser that excites the ruby."""
        ...

    @property
    def lamp(self) -> Shutter:
        """Of known temperature, in the sample's place while open."""
        ...

    @property
    def pen_lamp(self) -> Shutter:
        """Of known lines, in the sample's place while open."""
        ...

    @property
    def conditions(self) -> Gathered:
        """What is read into the stream `conditions`; one object, always the same."""
        ...


class CellParameters(declared.Parameters):
    """Which pressure, and how light is looked at."""

    sample: str = Field("iron", pattern=r"^[^\x00-\x1f]{1,200}$", description="name of the sample, for the catalogue")
    pressure_gpa: float = quantity(50.0, "GPa", 0.0, 200.0, "pressure by ruby before heating, cold")
    pressure_tolerance_gpa: float = quantity(1.0, "GPa", 0.1, 20.0, "how far the pressure may be off")
    step_bar: float = quantity(5.0, "bar", 0.5, 10.0, "largest step of the membrane")
    steepest_gpa_per_bar: float = quantity(
        1.5, "GPa/bar", 0.05, 20.0, "most that the cell gains, once the piston moves"
    )
    slew_bar_per_s: float = quantity(0.5, "bar/s", 0.01, 1.0, "rate of the membrane")
    ruby_scale: Literal["Ruby2020", "Mao1986"] = Field("Ruby2020", description="scale of the pressure by ruby")
    ruby_grating: int = Field(2, ge=1, le=9, description="number of the grating for ruby")
    ruby_centre_nm: float = quantity(715.0, "nm", 680.0, 780.0, "centre of the spectrograph for ruby")
    thermal_grating: int = Field(1, ge=1, le=9, description="number of the grating for thermal radiation")
    thermal_centre_nm: float = quantity(720.0, "nm", 400.0, 1000.0, "centre of the spectrograph for it")
    shortest_nm: float = quantity(600.0, "nm", 400.0, 1000.0, "shortest wavelength that is fitted")
    longest_nm: float = quantity(850.0, "nm", 400.0, 1100.0, "longest wavelength that is fitted")
    lamp_k: float = quantity(2900.0, "K", 1000.0, 4000.0, "temperature of the calibration lamp's spectrum")
    lamp_error_k: float = quantity(15.0, "K", 0.0, 200.0, "its standard uncertainty")

    @model_validator(mode="after")
    def _wavelengths_in_order(self) -> Self:
        if not self.shortest_nm < self.longest_nm:
            raise ValueError(f"shortest_nm = {self.shortest_nm:g} is not below longest_nm = {self.longest_nm:g}")
        return self


def check_cell(station: Station, parameters: CellParameters) -> None:
    """Raises LimitError for what an instrument would refuse."""
    station.membrane.slew_rate.check_value(parameters.slew_bar_per_s)
    station.spectrograph.wavelength.check_value(parameters.thermal_centre_nm)
    station.spectrograph.wavelength.check_value(parameters.ruby_centre_nm)
    station.camera.exposure.check_value(LAMP_S)


def watch(station: Station) -> MsgGenerator[dict[str, Any]]:
    """Record the conditions once; a run can be paused before it."""
    yield Msg("checkpoint")
    group = short_uid("trigger")
    yield Msg("trigger", station.conditions, group=group)
    yield Msg("wait", None, group=group, timeout=REPLY_S)
    return (yield from record("conditions", (station.conditions,)))


def calibrate(station: Station, parameters: CellParameters, frames: Frames) -> MsgGenerator[None]:
    """Wavelengths of both settings by the pen lamp, response by the lamp of known temperature."""
    yield from close_all(station)
    for setting in ((parameters.ruby_grating, parameters.ruby_centre_nm), thermal_setting(parameters)):
        yield from turn(station, *setting)
        yield from seen(station.pen_lamp, frames.take_well("pen_lamp", LAMP_S))
    yield from seen(station.lamp, frames.take_well("lamp", LAMP_S))


def thermal_setting(parameters: CellParameters) -> tuple[int, float]:
    """Grating and centre for thermal radiation."""
    return parameters.thermal_grating, parameters.thermal_centre_nm


def turn(station: Station, grating: int, centre_nm: float) -> MsgGenerator[None]:
    """Put a grating in place, and turn it."""
    yield from move((station.spectrograph.grating, grating), limit_s=TURN_S)
    yield from move((station.spectrograph.wavelength, centre_nm), limit_s=TURN_S)


def seen(source: Shutter, frames: MsgGenerator[None]) -> MsgGenerator[None]:
    """Take frames while a source is seen."""
    yield from move((source, "open"), limit_s=REPLY_S)
    yield from frames
    yield from move((source, "closed"), limit_s=REPLY_S)


def close_all(station: Station) -> MsgGenerator[None]:
    """No light from anywhere."""
    yield from move(
        *((shutter, "closed") for shutter in (station.shutter, station.excitation, station.lamp, station.pen_lamp)),
        limit_s=REPLY_S,
    )


def pressure_gpa(
    station: Station, results: Mapping[str, Result], parameters: CellParameters, frames: Frames
) -> MsgGenerator[float]:
    """Pressure of the cold cell by ruby. Raises NoResult."""
    yield from turn(station, parameters.ruby_grating, parameters.ruby_centre_nm)
    yield from seen(station.excitation, frames.take_well("ruby", LAMP_S))
    yield from frames.reduced(results["ruby"], "ruby")
    return results["ruby"].value("ruby_pressure")


def compress(
    station: Station, results: Mapping[str, Result], parameters: CellParameters, frames: Frames
) -> MsgGenerator[None]:
    """Drive the membrane, step by step, until the ruby has the pressure asked for; cold. Raises NoPressure."""
    target, tolerance = parameters.pressure_gpa, parameters.pressure_tolerance_gpa
    gpa = yield from pressure_gpa(station, results, parameters, frames)
    if gpa > target + tolerance:
        raise NoPressure(
            f"the cell has {gpa:.1f} GPa already, more than the {target:g} GPa asked for: it is not let down"
        )
    if gpa >= target - tolerance:
        return
    yield from move((station.membrane.slew_rate, parameters.slew_bar_per_s), limit_s=REPLY_S)
    yield from move((station.membrane.control, 1), limit_s=REPLY_S)
    while gpa < target - tolerance:
        readings = yield from watch(station)
        bar = float(readings[station.membrane.pressure.name]["value"])
        step_bar = min(NEXT_STEP * (target - gpa) / parameters.steepest_gpa_per_bar, parameters.step_bar)
        station.membrane.setpoint.check_value(bar + step_bar)
        yield from drive(station, parameters, bar + step_bar)
        gpa = yield from pressure_gpa(station, results, parameters, frames)
        if gpa > target + tolerance:
            raise NoPressure(f"a step of {step_bar:.2g} bar has taken the cell to {gpa:.1f} GPa, beyond {target:g} GPa")


def drive(station: Station, parameters: CellParameters, bar: float) -> MsgGenerator[None]:
    """Ramp the membrane, recording the conditions, and let the cell come to rest."""
    arrived = yield from bps.abs_set(station.membrane.setpoint, bar, group="membrane")
    while not arrived.done:
        yield Msg("sleep", None, SETTLING_S)
        yield from watch(station)
    yield from bps.wait("membrane", timeout=REPLY_S)
    yield Msg("sleep", None, SETTLING_S)
