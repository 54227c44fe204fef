"""Lock-in amplifiers: what plans know of any of them."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status

from ..limits import Limited


class Stepped(Limited, Protocol):
    """A set-point that takes some values only."""

    values: tuple[float, ...]
    """What is accepted, lowest first."""


@runtime_checkable
class LockIn(Readable[Any], Protocol):
    """A lock-in reads `<name>_x`, `_y`, `_r` (V rms), `_theta` (deg), `_frequency` (Hz), `_overload` and `_unlocked`.

    `trigger` fetches all of them in one exchange, X and Y of one instant. X, Y, R and theta are NaN while the input or
    an output that they are read from is overloaded, or the reference is lost. Nothing waits for the low-pass filter:
    after a step it is for the plan to wait until its `poles` of `time_constant` have settled.
    """

    name: str
    x: Readable[Any]
    y: Readable[Any]
    r: Readable[Any]
    theta: Readable[Any]
    """Phase of the signal against the reference, within -180..180 deg; a signal that lags has a negative one."""
    overload: Readable[Any]
    """1 while X and Y cannot be told."""
    unlocked: Readable[Any]
    """1 while there is no reference, or it has changed too lately."""
    frequency: Limited
    """Frequency of the reference; it can be set while the reference is internal."""
    phase: Limited
    """What is taken from the phase of the signal, in deg."""
    sensitivity: Stepped
    """Full scale in V rms."""
    time_constant: Stepped
    poles: Stepped
    """How many low-pass filters of that time constant there are in a row."""
    external: Readable[Any]
    """1 where the reference comes from outside."""
    sine_out: Limited
    """Amplitude of the lock-in's own sine in V rms."""

    def trigger(self) -> Status:
        """Fetch the readings."""
        ...
