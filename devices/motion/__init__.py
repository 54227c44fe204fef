"""Motion: what plans know of stages."""

from typing import Protocol, runtime_checkable

from ..limits import Limited


@runtime_checkable
class Stage(Protocol):
    """The stage under the press: x along the horizontal of the image, y up, z along the beam; mm."""

    name: str
    x: Limited
    y: Limited
    z: Limited
