"""Radiographs of the column: two dark foils, the sample between them, the gasket at its sides."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from .counting import counts
from .parameters import Parameters

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
N_PIXELS = 512
CENTRE = 0.5 * (N_PIXELS - 1)
BLUR_PX = 1.5
FULL_WELL = 65535
SAMPLE_PER_MM, PISTON_PER_MM, GASKET_PER_MM = 0.9, 0.25, 0.12  # absorption at the mean energy, 1/mm [S]
GASKET_MM = 2.0
SLIT_PENUMBRA_PX = 4.0
NORMAL_ABOVE = 1000.0  # counts from which a normal distribution stands in for Poisson's


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """Where things are in one image; um off its centre, x along growing columns, y up (against growing rows)."""

    x_um: float
    y_um: float
    separation_um: float
    radius_um: float
    tilt: float
    horizontal_mm: float
    vertical_mm: float
    beam_centre_px: float
    photons: float  # of one pixel in the open field


def transmission_across(x_um: float, radius_um: float, per_mm: float, pixel_um: float) -> Floats:
    """Transmission of each column through a body of circular section within the gasket, blurred by the camera."""
    across = (np.arange(N_PIXELS) - CENTRE) * pixel_um - x_um
    chord = 2e-3 * np.sqrt(np.maximum(radius_um**2 - across**2, 0.0))
    sharp = np.exp(-per_mm * chord - GASKET_PER_MM * (GASKET_MM - chord))
    return blurred(sharp)


def blurred(profile: Floats) -> Floats:
    """A profile seen through the camera's point spread."""
    reach = math.ceil(4 * BLUR_PX)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / BLUR_PX) ** 2)
    return np.convolve(np.pad(profile, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def _slit(gap_mm: float, pixel_um: float) -> Floats:
    """Light of each pixel behind one pair of blades."""
    away = (0.5e3 * gap_mm - np.abs((np.arange(N_PIXELS) - CENTRE) * pixel_um)) / pixel_um
    return np.asarray(0.5 * (1.0 + erf(away / SLIT_PENUMBRA_PX)))


class Camera:
    """Scintillator and camera: 512 x 512 pixels, Poisson and readout noise, an offset."""

    def __init__(self, p: Parameters) -> None:
        self.p = p

    def expect(self, view: View) -> Image:
        """Mean counts above the offset."""
        pixel = self.p.pixel_um
        rows = np.arange(N_PIXELS) - (CENTRE - view.y_um / pixel)
        half = 0.5 * view.separation_um / pixel
        between = 0.5 * (erf((rows + half) / (BLUR_PX * 2**0.5)) - erf((rows - half) / (BLUR_PX * 2**0.5)))
        beam = 1.0 - 0.12 * ((np.arange(N_PIXELS) - view.beam_centre_px) / 256.0) ** 2
        light = view.photons * beam * _slit(view.vertical_mm, pixel)
        across = _slit(view.horizontal_mm, pixel) * (1.0 - 0.05 * ((np.arange(N_PIXELS) - CENTRE) / 256.0) ** 2)
        sample = across * transmission_across(view.x_um, view.radius_um, SAMPLE_PER_MM, pixel)
        piston = across * transmission_across(view.x_um, view.radius_um, PISTON_PER_MM, pixel)
        rows_of_light = np.stack([light * between, light * (1.0 - between)], axis=1, dtype=np.float32)
        image = rows_of_light @ np.stack([sample, piston], dtype=np.float32)
        self._shade_foils(image, view, half)
        return image

    def _shade_foils(self, image: Image, view: View, half: float) -> None:
        """Each foil is opaque, thinner than the blur and tilted a little."""
        p = self.p
        across = np.arange(N_PIXELS) - CENTRE - view.x_um / p.pixel_um
        inside = 0.5 * (erf((0.97 * view.radius_um / p.pixel_um - np.abs(across)) / (BLUR_PX * 2**0.5)) + 1.0)
        columns = np.flatnonzero(inside > 1e-6)
        if not columns.size:
            return
        cut = slice(columns[0], columns[-1] + 1)
        thick = 0.5 * p.foil_thickness_um / p.pixel_um
        for side in (-half, half):
            middle = CENTRE - view.y_um / p.pixel_um + side
            first, last = max(0, math.floor(middle) - 12), min(N_PIXELS, math.floor(middle) + 14)
            if first >= last:
                continue
            away = np.arange(first, last)[:, None] - middle - view.tilt * across[cut]
            dark = 0.5 * (erf((away + thick) / (BLUR_PX * 2**0.5)) - erf((away - thick) / (BLUR_PX * 2**0.5)))
            image[first:last, cut] *= 1.0 - dark * inside[cut]

    def expose(self, view: View, rng: np.random.Generator) -> NDArray[np.uint16]:
        """One image with noise; pixels saturate at the full well."""
        image = self.expect(view)
        if view.photons > 0:
            image = self._with_noise(image, rng)
        else:
            image += np.float32(self.p.camera_readout) * rng.standard_normal(image.shape, dtype=np.float32)
        image += np.float32(self.p.camera_offset)
        np.rint(image, out=image)
        return np.clip(image, 0, FULL_WELL, out=image).astype(np.uint16)

    def _with_noise(self, expected: Image, rng: np.random.Generator) -> Image:
        """Poisson's and the readout's noise, as one normal number where every pixel has many counts."""
        readout = np.float32(self.p.camera_readout)
        if expected.min() < NORMAL_ABOVE:
            return counts(expected, rng) + readout * rng.standard_normal(expected.shape, dtype=np.float32)
        noise = rng.standard_normal(expected.shape, dtype=np.float32)
        noise *= np.sqrt(expected + readout**2)
        noise += expected
        return noise
