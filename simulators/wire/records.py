"""What a simulated EPICS instrument consists of: records that are computed when they are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

NO_ALARM, MINOR, MAJOR, INVALID = range(4)
"""Alarm severities, as EPICS numbers them."""


@dataclass(frozen=True)
class Record:
    """One process variable of an instrument.

    `read(t)` gives the value at the simulated time t; `write(t, value)` applies a put at t, and raises ValueError to
    refuse it. `kind` is "double", "short", "long", "enum" or "string"; an enum's value is the index of one of its
    `states`. `count` above one makes an array. `severity(t)` is the alarm severity, 0 to 3; `limits()` are told to
    clients, and enforced by nobody but `write`.

    Channel Access has no unsigned 16-bit type: an image is served as a "short" of the same bits, or as a "long".
    """

    read: Callable[[float], Any]
    write: Callable[[float, Any], None] | None = None
    kind: str = "double"
    count: int = 1
    unit: str = ""
    states: tuple[str, ...] = ()
    precision: int = 4
    severity: Callable[[float], int] | None = None
    limits: Callable[[], tuple[float, float]] | None = None


class Instrument(Protocol):
    """What a simulated instrument offers to this server."""

    name: str

    def records(self) -> Mapping[str, Record]:
        """The records by their suffix: the name without the instrument's prefix, with a field where it has one."""
        ...


@runtime_checkable
class Ticking(Protocol):
    """An instrument that acts by itself when a time has passed."""

    def tick(self, t: float) -> None:
        """Look at the time, often."""
        ...


def command(action: Callable[[float], None]) -> Record:
    """A record that acts when anything but zero is put, and reads as zero: a button, or a `.PROC` field."""
    return Record(lambda t: 0, lambda t, value: action(t) if value else None, kind="long")


def constant(value: Any, unit: str = "") -> Record:
    """A record that never changes, of the kind that `value` has: a number or a string."""
    return Record(lambda t: value, kind="string" if isinstance(value, str) else "double", unit=unit)
