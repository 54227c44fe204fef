"""Source-meters: what plans know of a current that is driven through a sample, and of the voltage across it."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status

from ..lasers import Switch
from ..limits import Limited


@runtime_checkable
class SourceMeter(Readable[Any], Protocol):
    """Drives a current and measures the voltage between two leads of its own, which carry none (four wires).

    Reads `<name>_voltage` (V), `<name>_measured_current` (A), `<name>_tripped`, `<name>_current` (A, as set) and
    `<name>_output`; `trigger` measures. Voltage and measured current are NaN while the output is off.
    """

    name: str
    voltage: Readable[Any]
    measured_current: Readable[Any]
    """What flows; while the compliance is tripped it is less than what is set."""
    tripped: Readable[Any]
    """1 where the voltage limit has held the current back."""
    current: Limited
    """A; either sign, at once, whether the output is on or off."""
    voltage_limit: Limited
    """V; the compliance."""
    output: Switch
    """1 lets the current flow that is set, 0 opens the circuit."""

    def trigger(self) -> Status:
        """Measure."""
        ...
