"""What stands in the way of arming a port, found out by questions alone."""

from typing import TypedDict

from .port import Port
from .specification import Check
from .words import holds


class Inspection(TypedDict):
    """What a port says now: `wrong` keeps it from being armed, `hinders` from being switched on."""

    wrong: list[str]
    hinders: list[str]
    n_read: int


async def inspect(port: Port) -> Inspection:
    """Ask for all that will be watched, or looked at when it is made safe."""
    found = Inspection(wrong=[], hinders=[], n_read=0)
    specification = port.specification
    try:
        await port.ensure_open()
    except (OSError, TimeoutError) as error:
        found["wrong"].append(f"it cannot be reached ({_reason(error)})")
        return found
    for watched in specification["watch"]:
        value = await _value(port, watched, found)
        if value is not None and not holds(value, watched):
            what = f"{watched['name']} is {value:g}, beyond {watched['low']:g}..{watched['high']:g}"
            if watched["while_on"]:
                found["hinders"].append(f"{what}, without which {', '.join(watched['while_on'])} cannot be on")
            else:
                found["wrong"].append(what)
    actions = [action for way in specification["ways"].values() for action in way["actions"]]
    looked_at = {str(check["ask"]): check for action in actions for check in action["seen"]}
    if specification["kick"] is not None and specification["kind"] == "epics":
        record = specification["kick"]["send"][:1]
        looked_at[str(record)] = _readable(f"the watchdog {record[0]}", record)
    for asked in {str(watched["ask"]) for watched in specification["watch"]}:
        looked_at.pop(asked, None)
    for check in looked_at.values():
        await _value(port, check, found)
    return found


async def _value(port: Port, check: Check, found: Inspection) -> float | None:
    try:
        value = await port.ask(check)
    except (OSError, ValueError, TimeoutError) as error:
        found["wrong"].append(f"{check['name']} cannot be read ({_reason(error)})")
        return None
    found["n_read"] += 1
    return value


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _readable(name: str, record: list[str]) -> Check:
    """A check that every number passes."""
    return Check(
        name=name, ask=record, low=-float("inf"), high=float("inf"), mask=0, pattern="", signed=False, scale=1.0
    )
