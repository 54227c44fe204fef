"""Thermal conductivity from the transient after a nanosecond pulse: rear or front of a sample in a medium."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from .embedded_samples import FRONT, REAR, EmbeddedSample
from .estimate import Floats
from .heat_layers import pulse_response
from .thermal_fits import Free, ThermalFit, Values, fit

RELATIVE_ERRORS = {
    "thickness": 0.05,
    "heat_capacity": 0.03,
    "film_capacity": 0.1,
    "pulse_fwhm": 0.1,
    "effusivity_medium": 0.1,
}
"""Relative standard uncertainties assumed where none are given (simulation defaults, not from a source)."""

CONDUCTIVITIES = tuple(np.geomspace(0.3, 500.0, 16))
"""Where a fit looks first, W/m/K, whatever the medium."""
EFFUSIVITY_RATIOS = (0.1, 0.3, 0.6)
"""Where it looks for the medium's effusivity, over that of the sample."""

_LEAST_POINTS = 8


def transient(
    sample: EmbeddedSample, conductivity: float, effusivity_medium: float, time_s: ArrayLike, probed: str = REAR
) -> Floats:
    """Temperature of the probed side per absorbed fluence, K m2/J, at times (n,) from the middle of the pulse.

    Raises:
        ValueError: as `EmbeddedSample.stack`.
    """
    stack = sample.stack(conductivity, effusivity_medium, probed)
    return pulse_response(
        stack, time_s, sample.pulse_fwhm, pump_radius=sample.pump_radius, probe_radius=sample.probe_radius
    )


def fit_transient(
    time_s: ArrayLike,
    signal: ArrayLike,
    sample: EmbeddedSample,
    *,
    probed: str = REAR,
    error: ArrayLike | None = None,
    effusivity_medium: float | None = None,
    find_time_zero: bool = True,
    find_background: bool = True,
    relative_errors: Mapping[str, float] = RELATIVE_ERRORS,
) -> ThermalFit:
    """Conductivity of a sample, and effusivity of the medium, from the change of reflectivity after a pulse.

    A rear transient is the same for a medium of effusivity e and of e_s^2/e, e_s that of the sample, but for its height
    and the films: the search begins with media that conduct worse than the sample. Near e = e_s it hardly tells e at
    all. Media of either kind need their effusivity given, or the front.

    Args:
        time_s: (n,) from about the middle of the pulse.
        signal: (n,) proportional to the rise of temperature, of either sign.
        sample: what is known.
        probed: `rear` or `front`.
        error: statistical standard uncertainty of the signal, (n,) or one for all; None takes it from the scatter.
        effusivity_medium: J/m2/K/s^0.5 where it is known, its uncertainty among `relative_errors`; None finds it.
        find_time_zero: otherwise the middle of the pulse is at time 0.
        find_background: otherwise the signal is 0 without a pulse.
        relative_errors: relative standard uncertainties of what is known, by the names of `EmbeddedSample`'s fields and
            `effusivity_medium`.

    Returns:
        `thermal_conductivity` W/m/K, `amplitude` (signal per K m2/J: fluence times the change of reflectivity per
        kelvin), and as far as they are found `effusivity_medium`, `time_zero` s, `background`.

    Raises:
        ValueError: arrays that differ in length, points or errors that are no numbers, fewer than 8 points after the
            pulse, an uncertainty of something that is not known, or no fit.
    """
    time, data = np.asarray(time_s, dtype=float), np.asarray(signal, dtype=float)
    if time.ndim != 1 or time.shape != data.shape:
        raise ValueError(f"transient: times {time.shape} and signal {data.shape} must be two arrays of one length")
    if not (np.all(np.isfinite(time)) and np.all(np.isfinite(data))):
        raise ValueError(f"transient: {np.sum(~np.isfinite(time + data))} of {len(time)} points are no numbers")
    conductivity, effusivity, amplitude = _start(time, data, sample, probed, effusivity_medium)

    @lru_cache(maxsize=4)
    def shape(changed: EmbeddedSample, conductivity: float, effusivity: float, zero: float) -> Floats:
        return transient(changed, conductivity, effusivity, time - zero, probed)

    def model(values: Values) -> Floats:
        curve = shape(
            sample.changed(values), values["thermal_conductivity"], values["effusivity_medium"], values["time_zero"]
        )
        return values["amplitude"] * curve + values["background"]

    free = [Free("thermal_conductivity", "W/m/K", conductivity), Free("amplitude", "J/m2/K", amplitude, abs(amplitude))]
    if effusivity_medium is None:
        free.append(Free("effusivity_medium", "J/m2/K/s^0.5", effusivity))
    if find_time_zero:
        free.append(Free("time_zero", "s", 0.0, max(sample.pulse_fwhm, float(np.ptp(time)) / len(time))))
    if find_background:
        free.append(Free("background", "signal", 0.0, float(np.ptp(data))))
    known = {**sample.known(), "effusivity_medium": effusivity, "time_zero": 0.0, "background": 0.0}
    name = f"layered heat conduction, pulse, {probed}"
    return fit(model, known, free, data, error, relative_errors=relative_errors, name=name)


def _start(
    time: Floats, data: Floats, sample: EmbeddedSample, probed: str, effusivity: float | None
) -> tuple[float, float, float]:
    """Conductivity, effusivity of the medium and amplitude of the best of a coarse set of curves.

    Raises:
        ValueError: too few points after the pulse.
    """
    after = np.flatnonzero(time > 2.0 * sample.pulse_fwhm)
    if len(after) < _LEAST_POINTS:
        raise ValueError(f"transient: {len(after)} points after the pulse, {_LEAST_POINTS} at least are needed")
    chosen = after[:: max(len(after) // 60, 1)]
    simple = replace(sample, pulse_fwhm=0.0, pump_radius=math.inf, probe_radius=math.inf)
    ratios = (*EFFUSIVITY_RATIOS, 1.5, 4.0) if probed == FRONT else EFFUSIVITY_RATIOS
    best = (math.inf, 0.0, 0.0, 0.0)
    for conductivity in CONDUCTIVITIES:
        own = math.sqrt(conductivity * sample.heat_capacity)
        for medium in [own * ratio for ratio in ratios] if effusivity is None else [effusivity]:
            curve = transient(simple, conductivity, medium, time[chosen], probed)
            height = float(np.ptp(curve))
            basis = np.column_stack([curve / height, np.ones_like(curve)])
            factors = np.linalg.lstsq(basis, data[chosen], rcond=None)[0]
            misfit = float(np.sum((data[chosen] - basis @ factors) ** 2))
            if misfit < best[0]:
                best = (misfit, float(conductivity), float(medium), float(factors[0]) / height)
    return best[1:]
