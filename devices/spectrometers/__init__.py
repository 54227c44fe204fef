"""Spectrometers: what plans know of one, whatever its camera."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable, Status

from ..limits import Limited


@runtime_checkable
class Spectrometer(Readable[Any], Protocol):
    """A spectrograph whose centre wavelength and grating are set; `trigger` fetches both, once it stands.

    Its configuration holds `<name>_gratings`, grooves per mm of the gratings by number from 1, 0 where there is none.
    """

    name: str
    wavelength: Limited
    """Centre in nm: `set` is done on arrival."""
    grating: Movable[int]
    """The number of the one in place: `set` is done on arrival, at the wavelength that was."""

    @property
    def at_rest(self) -> bool:
        """Whether nothing turns: the time to expose."""
        ...

    def trigger(self) -> Status:
        """Fetch the readings."""
        ...
