"""Oscilloscopes: what plans know of one channel whose averaged waveform is taken."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status

from ..limits import Limited


@runtime_checkable
class Oscilloscope(Readable[Any], Protocol):
    """One channel of an oscilloscope; `trigger` takes one averaged waveform, done when it is complete.

    Reads `<name>_waveform` (n,) V, `<name>_start` (s from the trigger to the first sample), `<name>_step` (s from one
    sample to the next), `<name>_points`, `<name>_acquired` (how many acquisitions were averaged) and `<name>_clipped`:
    sample k was taken at start + k step. A clipped waveform is told as it is, with the flag; it is for the plan to
    take another range. `trigger` fails where no triggers come.
    """

    name: str
    waveform: Readable[Any]
    start: Readable[Any]
    step: Readable[Any]
    acquired: Readable[Any]
    clipped: Readable[Any]
    """1 where the voltage has left the range of the converter in any of the acquisitions."""
    averages: Limited
    """How many acquisitions are averaged."""
    vertical_range: Limited
    """V from the lowest voltage to the highest."""
    vertical_offset: Limited
    """V in the middle of that range."""
    acquisition_time: Limited
    """s, of one acquisition."""
    horizontal_position: Limited
    """s from the trigger to the reference point of the acquisition, its middle as a rule."""
    sample_rate: Limited
    """Samples per second."""

    def trigger(self) -> Status:
        """Take one averaged waveform."""
        ...
