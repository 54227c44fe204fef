"""Something that stands in a beam or not."""

import math
from collections.abc import Callable

from ..switch import Switch


class Blade:
    """A shutter, or a mirror that lets light in. `changed` is called before each change with its time."""

    def __init__(self, changed: Callable[[float], None] = lambda t: None) -> None:
        self._open, self._changed = Switch(), changed

    def shutter_open(self, t: float) -> bool:
        """Whether light passes."""
        return self._open.at(t)

    def set_shutter(self, t: float, open: bool) -> None:
        """Open or close."""
        self._changed(t)
        if not open:
            self.close(t)
        elif not self._open.at(t):
            self._open.on(t, math.inf)

    def close(self, t: float) -> None:
        """Close at a time that may lie ahead."""
        self._open.off(t)

    def changes(self, start_s: float, stop_s: float) -> set[float]:
        """Moments between two others at which it opens or closes."""
        return {t for t in self._open.changes() if start_s < t < stop_s}
