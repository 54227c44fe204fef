"""Temperatures from the ratio of two wavelengths: one pair, and a pair that slides along a spectrum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .estimate import Estimate, Floats
from .pyrometry import C2, Spectrum

FLAT = 3.0
"""A slope of up to this many standard errors counts as none."""
_LEAST_PAIRS = 4
_STEPS = 50


@dataclass(frozen=True)
class SlidingTwoColour:
    """`temperature_k` and statistical `error_k` (m,) at the middle `wavelength_m` (m,) of each pair; neighbours share
    light, so that their errors are correlated. `estimate` has the mean `temperature` (K) and `slope` (K/nm) of the
    weighted straight line, its covariance from the single pixels. A grey body of one temperature is flat; a slope tells
    of a gradient or of an emissivity that changes with wavelength, but not which. `left_out` pairs had no light.
    """

    wavelength_m: Floats
    temperature_k: Floats
    error_k: Floats
    estimate: Estimate
    left_out: int

    @property
    def flat(self) -> bool:
        """Whether the slope is no larger than `FLAT` of its standard errors."""
        slope = self.estimate.quantity("slope")
        return abs(slope.value) <= FLAT * slope.error


def two_colour(
    short_m: ArrayLike, long_m: ArrayLike, short_radiance: ArrayLike, long_radiance: ArrayLike, *, law: str = "planck"
) -> Floats:
    """Temperature in K of a grey body from its radiances (one unit) at two wavelengths; shapes broadcast.

    `law` is `wien`, T = C2 (1/long - 1/short) / [ln(I_short/I_long) + 5 ln(short/long)], or `planck`, where the
    equation is solved by Newton's method.

    Raises:
        ValueError: unknown law, wavelengths in the wrong order, a radiance that is not positive, or a ratio bluer than
            that of any temperature.
    """
    if law not in ("planck", "wien"):
        raise ValueError(f"law {law!r} is unknown: give planck or wien")
    short, long = np.asarray(short_m, dtype=float), np.asarray(long_m, dtype=float)
    if not np.all((short > 0.0) & (long > short)):
        raise ValueError("two colours need 0 < short wavelength < long wavelength")
    blue, red = np.asarray(short_radiance, dtype=float), np.asarray(long_radiance, dtype=float)
    if not (np.all(blue > 0.0) and np.all(red > 0.0)):
        raise ValueError("two colours need radiances > 0")
    spread = _spread(short, long, blue, red)
    if law == "wien":
        if not np.all(spread < 0.0):
            raise ValueError("the ratio of two colours is bluer than that of any temperature by Wien's law")
        return np.asarray(C2 * (1.0 / long - 1.0 / short) / spread)
    if not np.all(spread < np.log(short / long)):
        raise ValueError("the ratio of two colours is bluer than that of any temperature")
    return _planck_root(short, long, spread)[0]


def sliding_two_colour(spectrum: Spectrum, *, separation_m: float, pixels: int = 1) -> SlidingTwoColour:
    """Two-colour temperatures by Planck's law along a spectrum, from means of so many `pixels`, `separation_m` apart.

    Raises:
        ValueError: the spectrum has no variance, `pixels` is below 1, or fewer than 4 pairs of positive radiances lie
            `separation_m` apart.
    """
    if spectrum.variance is None:
        raise ValueError("sliding two-colour temperatures need the variance of every pixel")
    if pixels < 1 or not separation_m > 0.0:
        raise ValueError(f"pairs of {pixels} pixels, {separation_m} m apart: both are > 0")
    used = spectrum.used
    n = int(used.sum()) // pixels
    wavelength, radiance, variance = (
        array[used][: n * pixels].reshape(n, pixels).mean(axis=1)
        for array in (spectrum.wavelength_m, spectrum.radiance, spectrum.variance / pixels)
    )
    blue = np.flatnonzero(wavelength + separation_m <= wavelength[-1] + 1e-6 * separation_m)
    red = np.abs(wavelength - wavelength[blue, np.newaxis] - separation_m).argmin(axis=1)
    lit = (radiance[blue] > 0.0) & (radiance[red] > 0.0) & (red > blue)
    n_pairs, blue, red = len(blue), blue[lit], red[lit]
    spread = _spread(wavelength[blue], wavelength[red], radiance[blue], radiance[red])
    possible = spread < np.log(wavelength[blue] / wavelength[red])
    blue, red, spread = blue[possible], red[possible], spread[possible]
    if len(blue) < _LEAST_PAIRS:
        raise ValueError(
            f"{len(blue)} pairs of thermal light lie {1e9 * separation_m:g} nm apart, {_LEAST_PAIRS} are needed"
        )
    temperature, per_spread = _planck_root(wavelength[blue], wavelength[red], spread)
    middle = 0.5 * (wavelength[blue] + wavelength[red])
    of_pixels = np.zeros((len(blue), n))  # dT / d ln radiance
    rows = np.arange(len(blue))
    of_pixels[rows, blue], of_pixels[rows, red] = per_spread, -per_spread
    noise = variance / np.where(radiance > 0.0, radiance, np.inf) ** 2
    error = np.sqrt(of_pixels**2 @ noise)
    weight = 1.0 / error**2
    centred_nm = 1e9 * (middle - weight @ middle / weight.sum())
    line = np.stack((weight / weight.sum(), weight * centred_nm / (weight @ centred_nm**2)))
    gains = line @ of_pixels
    estimate = Estimate(
        names=("temperature", "slope"),
        values=line @ temperature,
        covariance=(gains * noise) @ gains.T,
        systematic=np.zeros(2),
        units=("K", "K/nm"),
        model=f"sliding two-colour, Planck, {1e9 * separation_m:g} nm apart",
        chi2_red=float("nan"),
        n_points=len(blue),
    )
    return SlidingTwoColour(middle, temperature, error, estimate, n_pairs - len(blue))


def _spread(short: Floats, long: Floats, blue: Floats, red: Floats) -> Floats:
    return np.asarray(np.log(blue / red) + 5.0 * np.log(short / long))


def _planck_root(short: Floats, long: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """T and dT / d spread, where spread = ln expm1(C2 / long T) - ln expm1(C2 / short T)."""
    steep, gentle, spread = np.broadcast_arrays(C2 / short, C2 / long, spread)
    u = spread / (gentle - steep)
    for _ in range(_STEPS):
        below_one = -np.expm1(-gentle * u), -np.expm1(-steep * u)
        difference = (gentle - steep) * u + np.log(below_one[0] / below_one[1]) - spread
        slope = gentle / below_one[0] - steep / below_one[1]
        step = difference / slope
        u = np.maximum(u - step, 0.25 * u)
        if np.all(np.abs(step) <= 1e-12 * u):
            break
    return np.asarray(1.0 / u), np.asarray(-1.0 / (u**2 * slope))
