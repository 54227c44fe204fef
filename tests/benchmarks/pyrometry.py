"""What a temperature with its full budget of errors costs beside scipy's curve_fit of the same spectrum alone.

The two alternate in one run, so that what else this machine does meets both.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from megabar.analysis.pyrometry import C1, C2, Spectrum, fit_planck, planck

RATIO = 1.0
N_SPECTRA = 400


def grey(wavelength_m: np.ndarray, temperature_k: float, emissivity: float) -> np.ndarray:
    return emissivity * C1 * wavelength_m**-5 / np.expm1(C2 / (wavelength_m * temperature_k))


def timed(work: Callable[[], Any], costs: list[float]) -> Any:
    began = time.thread_time()
    found = work()
    costs.append(time.thread_time() - began)
    return found


def main() -> int:
    rng = np.random.default_rng(1)
    wavelength = np.linspace(600e-9, 800e-9, 512)
    ours: list[float] = []
    theirs: list[float] = []
    worst = 0.0
    for truth in rng.uniform(1500.0, 4500.0, N_SPECTRA):
        clean = planck(wavelength, truth, 0.35)
        sigma = 0.01 * clean
        radiance = clean + sigma * rng.standard_normal(len(clean))
        filling, zero = clean / clean.max(), np.full(len(clean), 1e-3 * clean.max())
        response_error = np.full(len(clean), 0.002)

        def whole(radiance=radiance, sigma=sigma, filling=filling, zero=zero, response_error=response_error):
            spectrum = Spectrum(wavelength, radiance, sigma**2, None, filling, zero, response_error)
            return fit_planck(spectrum).estimate.quantity("temperature")

        def alone(radiance=radiance, sigma=sigma, guess=(truth + 300.0, 0.3)):
            values, covariance = curve_fit(grey, wavelength, radiance, guess, sigma, absolute_sigma=True)
            return values[0], covariance[0, 0] ** 0.5

        mine, (value, error) = timed(whole, ours), timed(alone, theirs)
        worst = max(worst, abs(mine.value - value) / error)
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"pyrometry: {1e6 * statistics.median(ours):.0f} us with the full budget, curve_fit alone "
        f"{1e6 * statistics.median(theirs):.0f} us: ratio {ratio:.2f} (<= {RATIO:g}); "
        f"they differ by {worst:.1g} standard errors at most"
    )
    return int(ratio > RATIO or worst > 0.01)


if __name__ == "__main__":
    sys.exit(main())
