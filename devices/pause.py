"""A pause of a run, as the devices that it holds know of it."""

import dataclasses

LOOK_S = 1.0
"""A job that waits for the end of a pause looks so often."""


@dataclasses.dataclass
class Pause:
    """One pause: `over` when the run has gone on, `ended` when it never will."""

    over: bool = False
    ended: bool = False
