"""Set-points with limits, as plans see them."""

from typing import Protocol

from bluesky.protocols import Movable


class Limited(Movable[float], Protocol):
    """A set-point with limits."""

    name: str

    def check_value(self, value: float) -> None:
        """Raises LimitError for a value that would be refused."""
        ...
