"""Steps that X-ray experiments at a press share: conditions, beam, exposures.

They are written in messages, not in Bluesky's plan stubs: a stub formats the whole call stack each time it is made
(0.3 ms and more), and these steps are done thousands of times in a run.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

from bluesky.protocols import Movable, Readable
from bluesky.utils import Msg, MsgGenerator, short_uid

from ..devices.detectors import Detector
from ..devices.gathered import Gathered
from ..devices.monitors import RingCurrent
from ..devices.presses import Press
from ..devices.shutters import Shutter

MOVE_LIMIT_S = 120.0
"""Slits and shutter arrive within this."""

READING_LIMIT_S = 60.0
"""Every instrument has answered, or failed, within this."""


class BlowOut(RuntimeError):
    """The press has lost its gaskets."""


class Surprise(RuntimeError):
    """Something that the experiment relies on is no longer so."""


class NoBeam(RuntimeError):
    """The beam did not come back in time."""


class Station(Protocol):
    """The roles that every experiment at a press has."""

    @property
    def press(self) -> Press:
        """The press, for its blow-out latch."""
        ...

    @property
    def conditions(self) -> Gathered:
        """What is read into the stream `conditions`; one object, always the same."""
        ...


class Hutch(Station, Protocol):
    """Those of every X-ray experiment at a press."""

    @property
    def ring(self) -> RingCurrent:
        """The storage ring."""
        ...

    @property
    def shutter(self) -> Shutter:
        """The shutter of the beam."""
        ...

    @property
    def slits(self) -> Movable[Any]:
        """Set to `wide` and `narrow`."""
        ...


def watch(station: Station) -> MsgGenerator[dict[str, Any]]:
    """Record the conditions once; returns the readings. Raises BlowOut, Surprise."""
    yield from _triggered(station.conditions)
    readings = yield from record("conditions", (station.conditions,))
    if readings[station.press.blown_out.name]["value"]:
        raise BlowOut(
            "blow-out: the pressure fell at once; the heater is cut first, the rams are held, nothing is chased"
        )
    if surprise := station.conditions.surprise(readings):
        raise Surprise(surprise)
    return readings


def record(stream: str, readables: Sequence[Readable[Any]]) -> MsgGenerator[dict[str, Any]]:
    """One event of `stream` with what the readables tell; returns their readings."""
    readings: dict[str, Any] = {}
    yield Msg("create", None, name=stream)
    for readable in readables:
        readings |= yield Msg("read", readable)
    yield Msg("save")
    return readings


def move(*moves: tuple[Movable[Any], Any], limit_s: float = MOVE_LIMIT_S) -> MsgGenerator[None]:
    """Set several things together and wait for all of them."""
    group = short_uid("move")
    for movable, target in moves:
        yield Msg("set", movable, target, group=group)
    yield Msg("wait", None, group=group, timeout=limit_s)


def watch_for(hutch: Hutch, duration_s: float, every_s: float) -> MsgGenerator[float]:
    """Record the conditions at least every `every_s` for `duration_s`; returns the lowest ring current seen (mA)."""
    times, lowest_ma = math.ceil(duration_s / every_s), math.inf
    for _ in range(times):
        yield Msg("sleep", None, duration_s / times)
        readings = yield from watch(hutch)
        lowest_ma = min(lowest_ma, readings[hutch.ring.current.name]["value"])
    return lowest_ma


def wait_for_beam(hutch: Hutch, *, threshold_ma: float, every_s: float, timeout_s: float) -> MsgGenerator[None]:
    """Wait until the ring holds `threshold_ma`. The press goes on meanwhile. Raises NoBeam."""
    waited_s = 0.0
    while (yield from _beam(hutch))[0] < threshold_ma:
        if waited_s >= timeout_s:
            raise NoBeam(f"the ring current stayed below {threshold_ma:g} mA for {timeout_s / 3600:g} h")
        yield from watch_for(hutch, every_s, every_s)
        waited_s += every_s


def expose(
    hutch: Hutch,
    detector: Detector,
    *,
    exposure_s: float,
    slits: str,
    stream: str,
    threshold_ma: float,
    every_s: float,
    beam_timeout_s: float,
) -> MsgGenerator[None]:
    """Take one exposure with beam into `stream`; one during which beam was lost, or the shutter closed, is taken again.

    The detector has been set to `exposure_s` before. The conditions are recorded every `every_s` meanwhile.
    """
    while True:
        yield from move((hutch.slits, slits), (hutch.shutter, "open"))
        group = short_uid("exposure")
        yield Msg("trigger", detector, group=group)
        lowest_ma = math.inf
        if exposure_s >= every_s:
            lowest_ma = yield from watch_for(hutch, exposure_s, every_s)
        yield Msg("wait", None, group=group, timeout=exposure_s + MOVE_LIMIT_S)
        current_ma, is_open = yield from _beam(hutch)
        if min(lowest_ma, current_ma) < threshold_ma:
            yield from wait_for_beam(hutch, threshold_ma=threshold_ma, every_s=every_s, timeout_s=beam_timeout_s)
        elif is_open:
            break
    yield from record(stream, (detector,))


def _beam(hutch: Hutch) -> MsgGenerator[tuple[float, bool]]:
    """Ring current (mA), and whether the shutter is open."""
    beam = Gathered("beam", (hutch.ring, hutch.shutter))
    yield from _triggered(beam)
    readings = yield Msg("read", beam)
    return float(readings[hutch.ring.current.name]["value"]), bool(readings[hutch.shutter.is_open.name]["value"])


def _triggered(device: Any) -> MsgGenerator[None]:
    group = short_uid("trigger")
    yield Msg("trigger", device, group=group)
    yield Msg("wait", None, group=group, timeout=READING_LIMIT_S)
