"""Meters: what plans know of a voltmeter at a thermocouple."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status


@runtime_checkable
class Voltmeter(Readable[Any], Protocol):
    """A voltmeter that reads `<name>_emf` (V) and `<name>_cold_junction` (deg C); `trigger` measures."""

    name: str
    emf: Readable[Any]
    cold_junction: Readable[Any]

    def trigger(self) -> Status:
        """Measure."""
        ...
