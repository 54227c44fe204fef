"""What a guard is told of a rig: the declarations of its hazardous devices, put into the words of their lines."""

import math
from collections.abc import Mapping
from typing import Any

from ..devices.instrument import Instrument, Setpoint
from ..devices.safe_state import Beat, SafeAction, SafeState, Seen, Way
from ..plans.safety import ORDER
from .errors import InputError
from .rig import InterlockEntry, Rig

PATIENCE = 3.0
"""How much longer than the engine the guard waits for a reply."""


def guarded_ports(rig: Rig, devices: Mapping[str, Instrument], *, factor: float = 1.0) -> dict[str, dict[str, Any]]:
    """The port of each device that the rig marks hazardous, by name; times of instruments that run `factor` times as
    fast as life are shortened. Raises InputError.
    """
    entries = rig.content.instruments
    marked = [name for name in devices if entries[name].hazardous]
    for name in devices:
        if entries[name].on_loss is not None and not entries[name].hazardous:
            raise InputError(f"{rig.name}: instruments.{name}.on_loss: accepted only with hazardous = true")
    ports = {name: _port(rig, name, devices[name], factor) for name in marked}
    for number, interlock in enumerate(rig.content.interlocks, start=1):
        where = f"{rig.name}: interlock {number}"
        if strange := [name for name in interlock.instruments if name not in entries]:
            raise InputError(f"{where}: there is no instrument {strange[0]!r}; there are {', '.join(entries)}")
        if depending := [name for name in interlock.instruments if name in ports]:
            owner, watched = _interlock(where, interlock, devices, depending)
            if owner not in ports:
                raise InputError(f"{where}: {owner} must be marked hazardous too: the guard reads it")
            ports[owner]["watch"].append(watched)
    return ports


def _interlock(
    where: str, interlock: InterlockEntry, devices: Mapping[str, Instrument], depending: list[str]
) -> tuple[str, dict[str, Any]]:
    """Which instrument is asked, and what."""
    owner, _, signal = interlock.reading.partition(".")
    device = devices.get(owner)
    readings = {} if device is None else {reading.dotted_name: reading for reading in device.readings()}
    if device is None or signal not in readings:
        known = ", ".join(f"{owner}.{name}" for name in readings) or ", ".join(devices)
        raise InputError(f"{where}: reading = {interlock.reading!r}; accepted are {known}")
    check = _check(device, Seen(signal, readings[signal].query, *interlock.between))
    return owner, {**check, "every_s": interlock.every_s, "stale_s": interlock.stale_s, "while_on": depending}


def _port(rig: Rig, name: str, device: Instrument, factor: float) -> dict[str, Any]:
    where, safe_state = f"{rig.name}: instruments.{name}", device.safe_state
    if safe_state is None:
        raise InputError(f"{where}.hazardous: {type(device).__name__} declares no safe state, so it cannot be guarded")
    on_loss = rig.content.instruments[name].on_loss or safe_state.on_loss
    if on_loss not in safe_state.ways:
        raise InputError(f"{where}.on_loss = {on_loss!r}: accepted are {', '.join(safe_state.ways)}")
    try:
        line = device.link.port()
    except NotImplementedError as error:
        raise InputError(f"{where}.hazardous: {error}") from error
    return {
        "terminator": "",
        "answers_all": False,
        "refusal": "",
        "identity": None,
        **line,
        # a reply that the engine no longer waits for may still come, and is not the guard's
        "reply_s": PATIENCE * line["reply_s"] / factor,
        "stage": ORDER.index(device.hazard) if device.hazard else len(ORDER),
        "on_loss": on_loss,
        "ways": {way: _way(device, safe_state.ways[way], factor) for way in safe_state.ways},
        "reads": []
        if line["kind"] == "epics"
        else [device.link.query_words(device.locate(query)) for query in _queries(device, safe_state)],
        "commands": [] if line["kind"] == "epics" else _commands(device, safe_state, factor),
        "watch": [
            {
                **_check(device, watched.seen),
                "every_s": watched.every_s,
                "stale_s": watched.stale_s,
                "while_on": [name] if watched.while_on else [],
            }
            for watched in safe_state.watched
        ],
        "kick": None if safe_state.beat is None else _kick(device, safe_state.beat, factor),
    }


def _way(device: Instrument, way: Way, factor: float) -> dict[str, Any]:
    actions = [
        {
            "name": action.name,
            "send": [device.link.command_words(device.locate(command), value) for command, value in action.commands],
            "seen": [_check(device, seen) for seen in action.seen],
            # what a line takes is not shortened, only what a process takes
            "within_s": action.within_s if action.commands else max(2.0, action.within_s / factor),
        }
        for action in way.actions
    ]
    return {"actions": actions, "otherwise": way.otherwise, "grace_s": way.grace_s / factor}


def _check(device: Instrument, seen: Seen) -> dict[str, Any]:
    return {
        "name": seen.name,
        "ask": device.link.query_words(device.locate(seen.query)),
        "low": seen.low,
        "high": seen.high,
        "mask": seen.mask,
        "pattern": seen.pattern,
        "signed": getattr(seen.query, "signed", False),
        "scale": getattr(seen.query, "scale", 1.0),
    }


def _queries(device: Instrument, safe_state: SafeState) -> list[Any]:
    """Every question that the device or its safe state asks."""
    readings = [reading.query for reading in device.readings()]
    return [*readings, *(seen.query for action in _actions(safe_state) for seen in action.seen)]


def _actions(safe_state: SafeState) -> list[SafeAction]:
    return [action for way in safe_state.ways.values() for action in way.actions]


def _commands(device: Instrument, safe_state: SafeState, factor: float) -> list[dict[str, Any]]:
    """What may pass: set-points within their limits, and declared commands as they are."""
    setpoints = [walk.item for walk in device.walk_signals() if isinstance(walk.item, Setpoint)]
    limited = [
        {
            "name": setpoint.name,
            **words,
            "low": setpoint.limits[0],
            "high": setpoint.limits[1],
            **({"rate_per_s": factor * setpoint.rise_per_s} if math.isfinite(setpoint.rise_per_s) else {}),
        }
        for setpoint in setpoints
        if setpoint.command is not None and (words := device.link.setpoint_words(device.locate(setpoint.command)))
    ]
    plain = [*safe_state.commands, *(pair for action in _actions(safe_state) for pair in action.commands)]
    exact = [
        {"name": f"{device.name}: {command}", "exact": device.link.command_words(device.locate(command), value)}
        for command, value in plain
    ]
    return [*exact, *limited]


def _kick(device: Instrument, beat: Beat, factor: float) -> dict[str, Any]:
    value = beat.value * factor if beat.timed else beat.value
    return {"send": device.link.command_words(device.locate(beat.command), value), "every_s": beat.every_s}
