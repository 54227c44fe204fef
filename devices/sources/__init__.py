"""Current sources: what plans know of one that reverses its current while a meter reads."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status

from ..limits import Limited


@runtime_checkable
class ReversingSource(Readable[Any], Protocol):
    """A source that takes a series in delta mode: current reversal, with three voltages to each reading.

    `trigger` takes the series and reads `<name>_delta` (n,) in V, half the voltage that follows the current from peak
    to peak, with `<name>_delta_time` (n,) in s after the first. Neighbours overlap: reading j is made of the voltages
    j to j + 2, with weights of 1, 2 and 1 quarters. NaN is what overflowed, counted in `<name>_overflows`. No current
    flows when the series is over, however it has ended. Whoever stages the source ends a series by unstaging it.
    """

    name: str
    delta: Readable[Any]
    delta_time: Readable[Any]
    overflows: Readable[Any]
    in_compliance: Readable[Any]
    """1 where the compliance was reached in the series."""
    delta_current: Limited
    """Amplitude in A: the current is as high in the one direction as in the other."""
    delta_delay: Limited
    """Seconds between a reversal and the meter's conversion."""
    delta_count: Limited
    """How many readings a series has."""
    integration: Limited
    """Of one conversion, in power line cycles."""
    compliance: Limited
    """The highest voltage in V that the source gives."""

    def trigger(self) -> Status:
        """Take a series."""
        ...
