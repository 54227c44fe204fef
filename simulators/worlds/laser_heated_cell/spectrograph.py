"""The spectrograph behind the cell and its camera: two strips of light, one for each side."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .parameters import Parameters

ROWS, COLUMNS = 48, 1024
STRIPS = ((6, 18), (30, 42))
"""First row, and first row after it, of the strips: upstream, downstream."""
STRIP_SIGMA = 3.0
STEPS = 10
"""Moments of an exposure at which the light is looked at."""
FULL = 65535
STANDS_NM, STANDS_GROOVES = 700.0, 150.0

Floats = NDArray[np.float64]
Lit = Callable[[Floats, float], Floats]
"""Electrons per second and nm, (2, n), at wavelengths (n,) and a moment."""


class Spectrograph:
    """Frames of the camera: light through the grating, its noise, the readout."""

    def __init__(self, p: Parameters, lit: Lit, focal_mm: float) -> None:
        """`focal_mm` is what this one really has."""
        self._p, self._lit, self._focal_mm = p, lit, focal_mm
        self._moves = [(-math.inf, STANDS_NM, STANDS_NM, -math.inf, STANDS_GROOVES)]

    def set_spectrograph(self, t: float, nm: float, target_nm: float, arrives_s: float, grooves_per_mm: float) -> None:
        """From `t` on its centre goes from `nm` to `target_nm`, evenly, and stands there from `arrives_s` on."""
        self._moves.append((t, nm, target_nm, arrives_s, grooves_per_mm))

    def image(self, t_start: float, exposure_s: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        """A frame (48, 1024). Raises ValueError for an empty exposure."""
        if not 0.0 < exposure_s < math.inf:
            raise ValueError(f"exposure is {exposure_s!r} s: a finite number above 0 is accepted")
        p = self._p
        electrons = np.full((ROWS, COLUMNS), p.dark_per_s * exposure_s)
        for number in range(STEPS):
            t = t_start + (number + 0.5) * exposure_s / STEPS
            electrons += self._light(t) * exposure_s / STEPS
        detected = rng.poisson(electrons) + p.read_noise_electrons * rng.standard_normal(electrons.shape)
        counts = detected / p.gain_electrons
        counts = p.bias_counts + counts * (1.0 - p.nonlinearity * np.clip(counts / FULL, 0.0, 1.0))
        return np.clip(np.rint(counts), 0, FULL).astype(np.uint16)

    def _light(self, t: float) -> Floats:
        """Electrons per second (48, 1024)."""
        centre, grooves = self._at(t)
        nm = self.wavelengths(centre, grooves)
        per_pixel = np.gradient(nm)
        strips = self._lit(nm, t) * per_pixel
        blur_pixels = self._p.instrument_nm_times_grooves / grooves / float(per_pixel.mean()) / 2.355
        lit = np.zeros((ROWS, COLUMNS))
        for (first, after), spectrum in zip(STRIPS, strips, strict=True):
            rows = np.arange(first, after)
            profile = np.exp(-0.5 * ((rows - 0.5 * (first + after - 1)) / STRIP_SIGMA) ** 2)
            lit[rows] = np.outer(profile / profile.max(), _blurred(spectrum, blur_pixels))
        return lit

    def wavelengths(self, centre_nm: float, grooves_per_mm: float) -> Floats:
        """nm (1024,) at the columns: the grating stands between two mirrors that are a fixed angle apart."""
        half = math.radians(0.5 * self._p.included_deg)
        density = 1e-6 * grooves_per_mm  # 1/nm
        turned = math.asin(0.5 * density * centre_nm / math.cos(half))
        off = np.arctan(1e-3 * self._p.pixel_um * (np.arange(COLUMNS) - 0.5 * (COLUMNS - 1)) / self._focal_mm)
        return np.asarray((math.sin(turned - half) + np.sin(turned + half + off)) / density)

    def _at(self, t: float) -> tuple[float, float]:
        """Centre (nm) and grooves per mm."""
        start, nm, target, arrives, grooves = next(move for move in reversed(self._moves) if move[0] <= t)
        if t >= arrives:
            return target, grooves
        return nm + (target - nm) * (t - start) / (arrives - start), grooves


def _blurred(spectrum: Floats, sigma_pixels: float) -> Floats:
    """As the slit and the optics smear it."""
    reach = int(4.0 * sigma_pixels) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_pixels) ** 2)
    return np.convolve(np.pad(spectrum, reach, mode="edge"), kernel / kernel.sum(), mode="valid")
