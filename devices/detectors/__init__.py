"""Detectors: what plans know of them."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Readable, Status

from ..limits import Limited


@runtime_checkable
class Detector(Readable[Any], Protocol):
    """Something that is exposed: `trigger` takes one exposure, done when it can be read."""

    name: str
    exposure: Limited
    """Real time of the exposure in s."""

    def trigger(self) -> Status:
        """Take one exposure."""
        ...


@runtime_checkable
class EnergyDispersiveDetector(Detector, Protocol):
    """Elements with multichannel analysers.

    Reads `<name>_spectra` (n_elements, n_channels), `<name>_live_time` and `<name>_real_time` (n_elements,) s;
    its configuration holds `<name>_offset`, `_slope`, `_quad` (keV per power of the channel number), `_two_theta` and
    `_azimuth` (deg), each (n_elements,).
    """

    spectra: Readable[Any]


@runtime_checkable
class Camera(Detector, Protocol):
    """An imaging detector: reads `<name>_image` (n_rows, n_columns) and `<name>_exposure` (s).

    Its configuration holds `<name>_pixel_size` in um at the sample.
    """

    image: Readable[Any]


@runtime_checkable
class SpectralCamera(Camera, Protocol):
    """The camera of a spectrograph: columns of its image are wavelengths, two strips of rows the sides of a cell.

    Its configuration holds `<name>_focal_length` (mm), `_included_angle` (deg), `_pixel_size` (um, on the chip),
    `_upstream_rows` and `_downstream_rows` (first and last), `_gain` (electrons per count) and `_read_noise`
    (electrons).
    """

    upstream_rows: Readable[Any]
    downstream_rows: Readable[Any]
