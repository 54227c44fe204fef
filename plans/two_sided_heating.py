"""Heating from both sides, steered by the temperatures that are measured: arm, ramp, hold, cool."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

from bluesky.utils import Msg, MsgGenerator
from pydantic import model_validator

from ..devices.lasers import Gate, Laser
from .beamline import move
from .diamond_cell import REPLY_S, CellParameters, Station, turn, watch
from .frames import ATTEMPTS, Frames
from .parameters import quantity
from .results import Result

START_S = 10.0
"""Emission has started, or failed, within this; so long are the gates closed meanwhile, at no current."""
PULSES = 3.0
"""Length of a pulse of the gates, in times between frames."""
READOUT_S = 1.5
"""What a frame takes beside its exposure, at most."""
GAIN = 0.3
FALL = 5.0
"""A current may fall by so many seconds of its fastest rise at once."""
STEADY_FRAMES = 3
OVER_K = 200.0
"""So much hotter than asked for, and the plan ends."""
ROOM_K = 300.0
HIGHEST_K = 4500.0


class NoLight(RuntimeError):
    """A laser does not emit although it should, or the sample does not glow."""


class TooHot(RuntimeError):
    """The temperature has run away."""


class NotAtTemperature(RuntimeError):
    """The temperature does not come to what was asked for, or does not stay there."""


class HeatedStation(Station, Protocol):
    """The roles of every experiment that heats from both sides."""

    @property
    def lasers(self) -> tuple[Laser, Laser]:
        """Upstream, downstream."""
        ...

    @property
    def gates(self) -> tuple[Gate, Gate]:
        """Upstream, downstream."""
        ...


class HeatingParameters(CellParameters):
    """How hot, how steadily, and how well that is to be known."""

    temperature_k: float = quantity(2500.0, "K", 1300.0, 4300.0, "temperature that is held, mean of both sides")
    tolerance_k: float = quantity(60.0, "K", 5.0, 300.0, "how far each side may be off")
    balance_k: float = quantity(250.0, "K", 20.0, 1000.0, "how far the sides may be apart while they are heated")
    ramp_percent_per_s: float = quantity(1.5, "%/s", 0.1, 4.0, "fastest rise of the diode currents")
    blind_percent: float = quantity(30.0, "%", 0.0, 40.0, "diode current up to which a sample may stay dark")
    target_error_k: float = quantity(3.0, "K", 0.2, 100.0, "statistical error of the mean temperature to stop at")
    shortest_hold_s: float = quantity(20.0, "s", 0.0, 3600.0, "least length of the hold")
    longest_hold_s: float = quantity(300.0, "s", 1.0, 36000.0, "longest hold, whatever the error is by then")
    heating_s: float = quantity(300.0, "s", 10.0, 3600.0, "time within which the temperature must be reached")
    longest_exposure_s: float = quantity(0.5, "s", 0.01, 10.0, "longest exposure while the lasers are on")

    @model_validator(mode="after")
    def _hold_in_order(self) -> Self:
        if not self.shortest_hold_s <= self.longest_hold_s:
            raise ValueError(
                f"shortest_hold_s = {self.shortest_hold_s:g} is longer than longest_hold_s = {self.longest_hold_s:g}"
            )
        return self

    @property
    def pulse_s(self) -> float:
        """How long the gates are closed by one pulse."""
        return PULSES * self.cycle_s

    @property
    def cycle_s(self) -> float:
        """How long a frame and what it is good for take, at most."""
        return self.longest_exposure_s + READOUT_S


def check_heating(station: HeatedStation, parameters: HeatingParameters) -> None:
    """Raises LimitError for what an instrument would refuse."""
    station.camera.exposure.check_value(parameters.longest_exposure_s)
    station.shutter.highest.check_value(trip_k(parameters))
    for gate in station.gates:
        gate.pulse.check_value(parameters.pulse_s)
        gate.pulse.check_value(START_S)
    for laser in station.lasers:
        laser.current.check_value(parameters.blind_percent)


def trip_k(parameters: HeatingParameters) -> float:
    """What the box at the shutter does not stand: its photodiodes are known to some per cent."""
    return min(1.1 * parameters.temperature_k + OVER_K, HIGHEST_K)


def heated(
    station: HeatedStation, results: Mapping[str, Result], parameters: HeatingParameters, frames: Frames
) -> MsgGenerator[None]:
    """Arm, heat, hold, cool, disarm."""
    yield from turn(station, parameters.thermal_grating, parameters.thermal_centre_nm)
    yield from move((station.shutter.highest, trip_k(parameters)), limit_s=REPLY_S)
    yield from arm(station)
    currents = yield from heat(station, results, parameters, frames)
    currents = yield from hold(station, results, parameters, frames, currents)
    yield from cool(station, parameters, currents)
    yield from disarm(station)


def arm(station: HeatedStation) -> MsgGenerator[None]:
    """Start both emissions at no current, with the gates closed, then open the shutter."""
    yield from move(*((laser.current, 0.0) for laser in station.lasers), limit_s=REPLY_S)
    yield from move(*((gate.pulse, START_S) for gate in station.gates), limit_s=REPLY_S)
    yield from move(*((laser.emission, 1) for laser in station.lasers), limit_s=START_S)
    yield from move((station.shutter, "open"), limit_s=REPLY_S)


def disarm(station: HeatedStation) -> MsgGenerator[None]:
    """Close the shutter, end both emissions, open both gates; each is verified by its device."""
    yield from move((station.shutter, "closed"), limit_s=REPLY_S)
    yield from move(*((laser.emission, 0) for laser in station.lasers), limit_s=REPLY_S)
    yield from move(*((gate.closed, 0) for gate in station.gates), limit_s=REPLY_S)


def heat(
    station: HeatedStation, results: Mapping[str, Result], parameters: HeatingParameters, frames: Frames
) -> MsgGenerator[list[float]]:
    """Raise both currents until both surfaces have the temperature; returns them. Raises NoLight, NotAtTemperature."""
    currents, steady = [0.0, 0.0], 0
    began_s = last_s = yield from watch_light(station)
    while steady < STEADY_FRAMES:
        kelvin, now_s = yield from look(station, results, parameters, frames, "heating")
        if now_s - began_s > parameters.heating_s:
            raise NotAtTemperature(f"{parameters.temperature_k:g} K was not reached within {parameters.heating_s:g} s")
        if any(math.isnan(side) for side in kelvin) and max(currents) >= parameters.blind_percent:
            raise NoLight(
                f"at {currents[0]:.1f} and {currents[1]:.1f} % the pyrometer sees {kelvin[0]:.0f} and {kelvin[1]:.0f} "
                "K: are both lasers on the sample, and in focus?"
            )
        off = [abs(side - parameters.temperature_k) for side in kelvin]
        steady = steady + 1 if max(off) <= parameters.tolerance_k else 0
        wanted = next_currents(currents, kelvin, parameters)
        currents = yield from go_to(station, parameters, currents, wanted, now_s - last_s)
        last_s = now_s
    return currents


def hold(
    station: HeatedStation,
    results: Mapping[str, Result],
    parameters: HeatingParameters,
    frames: Frames,
    currents: list[float],
) -> MsgGenerator[list[float]]:
    """Measure until the mean is known as well as was asked for; returns the currents. Raises NotAtTemperature."""
    held_s, strayed = 0.0, 0
    began_s = last_s = yield from watch_light(station)
    while held_s < parameters.longest_hold_s:
        kelvin, now_s = yield from look(station, results, parameters, frames, "hold")
        held_s = now_s - began_s
        astray = not max(abs(side - parameters.temperature_k) for side in kelvin) <= 2.0 * parameters.tolerance_k
        strayed = strayed + 1 if astray else 0
        if strayed > ATTEMPTS:
            raise NotAtTemperature(
                f"{kelvin[0]:.0f} and {kelvin[1]:.0f} K for {strayed} frames, and {parameters.temperature_k:g} K was "
                "asked for"
            )
        error_k = results["mean"].error("mean_temperature")
        if held_s >= parameters.shortest_hold_s and error_k <= parameters.target_error_k:
            break
        wanted = next_currents(currents, kelvin, parameters)
        currents = yield from go_to(station, parameters, currents, wanted, now_s - last_s)
        last_s = now_s
    return currents


def cool(station: HeatedStation, parameters: HeatingParameters, currents: Sequence[float]) -> MsgGenerator[None]:
    """Lower both currents, no faster than they may rise."""
    left = list(currents)
    while max(left) > 0.0:
        left = [max(0.0, current - parameters.ramp_percent_per_s) for current in left]
        yield from set_currents(station, parameters, left)
        yield Msg("sleep", None, 1.0)
        yield from watch(station)


def look(
    station: HeatedStation, results: Mapping[str, Result], parameters: HeatingParameters, frames: Frames, what: str
) -> MsgGenerator[tuple[tuple[float, float], float]]:
    """Temperatures of both sides, NaN for one that is dark, and when (s). Raises TooHot, NoLight."""
    now_s = yield from watch_light(station)
    yield from frames.take(what, parameters.longest_exposure_s)
    yield from frames.reduced(results[what], what)
    kelvin = tuple(results[what].value(f"temperature_{side}") for side in ("upstream", "downstream"))
    if max((side for side in kelvin if not math.isnan(side)), default=0.0) > parameters.temperature_k + OVER_K:
        raise TooHot(f"{kelvin[0]:.0f} and {kelvin[1]:.0f} K, {parameters.temperature_k:g} K was asked for")
    return (kelvin[0], kelvin[1]), now_s


def next_currents(currents: Sequence[float], kelvin: Sequence[float], parameters: HeatingParameters) -> list[float]:
    """What would bring both sides to their temperature, taken part of the way; a side that is far ahead waits."""
    wanted = []
    for current, side in zip(currents, kelvin, strict=True):
        if math.isnan(side):
            wanted.append(parameters.blind_percent)
            continue
        missing = GAIN * current * (parameters.temperature_k - side) / (side - ROOM_K)
        ahead = side - min(kelvin) > parameters.balance_k or any(math.isnan(other) for other in kelvin)
        wanted.append(current if missing > 0.0 and ahead else current + missing)
    return wanted


def go_to(
    station: HeatedStation,
    parameters: HeatingParameters,
    currents: Sequence[float],
    wanted: Sequence[float],
    elapsed_s: float,
) -> MsgGenerator[list[float]]:
    """Change both currents, rising no more than is allowed in the time since the last change; returns them."""
    rise = parameters.ramp_percent_per_s * min(elapsed_s, parameters.cycle_s)
    limited = [
        max(0.0, current + min(max(target - current, -FALL * parameters.ramp_percent_per_s), rise))
        for current, target in zip(currents, wanted, strict=True)
    ]
    yield from set_currents(station, parameters, limited)
    return limited


def set_currents(
    station: HeatedStation, parameters: HeatingParameters, currents: Sequence[float]
) -> MsgGenerator[None]:
    """Both currents, and new pulses for both gates."""
    moves = [(laser.current, round(current, 1)) for laser, current in zip(station.lasers, currents, strict=True)]
    pulses = [(gate.pulse, parameters.pulse_s) for gate in station.gates]
    yield from move(*moves, *pulses, limit_s=REPLY_S)


def watch_light(station: HeatedStation) -> MsgGenerator[float]:
    """Record the conditions; there is light from both lasers, and nothing has run away. Returns when (s) that was so.

    Raises TooHot, NoLight.
    """
    readings = yield from watch(station)
    if readings[station.shutter.tripped.name]["value"]:
        raise TooHot(
            "a surface ran away, or was too hot: the box has closed the shutter; see what became of the sample"
        )
    checks: list[tuple[Any, int, str]] = [
        (station.shutter.is_open, 1, "the shutter has closed; nothing opens it again but a new run")
    ]
    for laser, gate in zip(station.lasers, station.gates, strict=True):
        checks += [
            (laser.fault, 0, "the laser reports a fault"),
            (laser.emission, 1, "the emission went off; nothing switches it on again but a new run"),
            (gate.closed, 1, "the gate has opened; nothing closes it again but a new run"),
        ]
    for signal, right, otherwise in checks:
        if (value := readings[signal.name]["value"]) != right:
            raise NoLight(f"{signal.name} = {value:g}: {otherwise}")
    return float(readings[station.shutter.tripped.name]["timestamp"])
