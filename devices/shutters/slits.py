"""Slits that have a few named openings."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ophyd import Component as Cpt

from ..epics import EpicsInstrument
from ..errors import LimitError
from ..motion.motor import Motor, travel
from ..status import JobStatus

OPENINGS: Mapping[str, tuple[float, float]] = MappingProxyType({"wide": (2.0, 2.0), "narrow": (0.2, 0.2)})


class EpicsSlits(EpicsInstrument):
    """Two gaps in mm, H and V, each a motor record; `set` takes the name of one of the `openings` (h, v).

    Raises:
        LimitError: an opening lies beyond the gaps' limits.
    """

    h = Cpt(Motor, record="H", limits=(0.0, 5.0))
    v = Cpt(Motor, record="V", limits=(0.0, 5.0))

    def __init__(self, *, openings: Mapping[str, tuple[float, float]] = OPENINGS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.openings = {name: (float(h), float(v)) for name, (h, v) in openings.items()}
        for h, v in self.openings.values():
            self.h.check_value(h)
            self.v.check_value(v)

    def set(self, opening: str) -> JobStatus:
        """Move both gaps to an opening. Raises LimitError for a name that is not known."""
        self.check_value(opening)
        h, v = self.openings[opening]
        return travel({self.h: h, self.v: v})

    def check_value(self, opening: str) -> None:
        """Raises LimitError for a name that is not known."""
        if opening not in self.openings:
            raise LimitError(f"{self.name} has no opening {opening!r}; accepted are {', '.join(self.openings)}")

    def stop(self, *, success: bool = False) -> None:
        """Stop both gaps where they are."""
        self.h.stop(success=success)
        self.v.stop(success=success)
