"""Several devices as one: triggered together, read in one event."""

from collections.abc import Mapping, Sequence
from typing import Any

from .instrument import Instrument, fetch_together
from .status import AllOf


class Gathered:
    """Devices that are always read together: one message instead of many."""

    parent = None

    def __init__(self, name: str, devices: Sequence[Any]) -> None:
        self.name = name
        self.devices = tuple(devices)
        self.expected: dict[str, tuple[float, float]] = {}
        """What a plan relies on for the time being: lowest and highest value of a data key."""

    def trigger(self) -> AllOf:
        """Trigger all; done when all are, failed as soon as one is.

        Instruments on one circuit are asked in one transaction.
        """
        shared: dict[int, list[Instrument]] = {}
        statuses = []
        for device in self.devices:
            if isinstance(device, Instrument) and device.answers_at_once:
                shared.setdefault(id(device.link), []).append(device)
            else:
                statuses.append(device.trigger())
        return AllOf([*statuses, *map(fetch_together, shared.values())])

    def read(self) -> dict[str, Any]:
        """What all of them read."""
        return self._merged("read")

    def surprise(self, readings: Mapping[str, Any]) -> str:
        """What in `readings` is not as expected, in one line; nothing when all is well."""
        for key, (low, high) in self.expected.items():
            value = readings[key]["value"]
            if not low <= value <= high:
                return f"{key} = {value:g} is outside the {low:g}..{high:g} that this part of the experiment relies on"
        return ""

    def describe(self) -> dict[str, Any]:
        """The data keys of all."""
        return self._merged("describe")

    def read_configuration(self) -> dict[str, Any]:
        """The configuration of all."""
        return self._merged("read_configuration")

    def describe_configuration(self) -> dict[str, Any]:
        """The data keys of the configuration of all."""
        return self._merged("describe_configuration")

    def _merged(self, method: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for device in self.devices:
            merged |= getattr(device, method)()
        return merged
