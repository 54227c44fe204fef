"""Thermal conductivity from the phase of the temperature against the frequency of modulated heating."""

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from .embedded_samples import FRONT, REAR, EmbeddedSample
from .estimate import Floats
from .heat_layers import frequency_response
from .thermal_fits import Free, ThermalFit, Values, fit
from .transients import CONDUCTIVITIES, EFFUSIVITY_RATIOS, RELATIVE_ERRORS

LAG = "lag"


def phase(
    sample: EmbeddedSample, conductivity: float, effusivity_medium: float, frequency_hz: ArrayLike, probed: str = REAR
) -> Floats:
    """Phase in rad, within (-pi, pi], of the temperature against the heating, at frequencies of any shape.

    Negative where the temperature lags. `probed` is `rear`, `front`, or `lag`: of the rear against the front.

    Raises:
        ValueError: as `EmbeddedSample.stack`, or a frequency is not positive.
    """
    radii = {"pump_radius": sample.pump_radius, "probe_radius": sample.probe_radius}
    sides = (REAR, FRONT) if probed == LAG else (probed,)
    responses = [
        frequency_response(sample.stack(conductivity, effusivity_medium, side), frequency_hz, **radii) for side in sides
    ]
    return np.asarray(np.angle(responses[0] if len(responses) == 1 else responses[0] / responses[1]))


def fit_frequency_sweep(
    frequency_hz: ArrayLike,
    phase_rad: ArrayLike,
    sample: EmbeddedSample,
    *,
    probed: str = REAR,
    error: ArrayLike | None = None,
    effusivity_medium: float | None = None,
    find_offset: bool = False,
    find_delay: bool = False,
    relative_errors: Mapping[str, float] = RELATIVE_ERRORS,
) -> ThermalFit:
    """Conductivity of a sample, and effusivity of the medium, from phases of a lock-in.

    Args:
        frequency_hz: (n,) of the modulation.
        phase_rad: (n,) negative where the temperature lags behind the heating; whole turns do not matter.
        sample: what is known; the width of the pulse plays no part.
        probed: `rear`, `front` or `lag` (rear against front, in which the instrument's own phase cancels).
        error: statistical standard uncertainty of the phase, rad, (n,) or one for all; None takes it from scatter.
        effusivity_medium: J/m2/K/s^0.5 where it is known, its uncertainty among `relative_errors`; None finds it.
        find_offset: a phase common to all points is found too, otherwise it is 0.
        find_delay: a delay of the signal (cables, detector) is found too, otherwise it is 0.
        relative_errors: as for `transients.fit_transient`.

    Returns:
        `thermal_conductivity` W/m/K, and as far as they are found `effusivity_medium` J/m2/K/s^0.5, `phase_offset`
        rad, `delay` s.

    Raises:
        ValueError: arrays that differ in length, points or errors that are no numbers, a frequency that is not above 0,
            an uncertainty of something that is not known, or no fit.
    """
    f, data = np.asarray(frequency_hz, dtype=float), np.asarray(phase_rad, dtype=float)
    if f.ndim != 1 or f.shape != data.shape or len(f) < 2:
        raise ValueError(f"frequency sweep: {f.shape} frequencies and {data.shape} phases must be arrays of one length")
    if not np.all(np.isfinite(data)):
        raise ValueError(f"frequency sweep: {np.sum(~np.isfinite(data))} of {len(data)} phases are no numbers")

    @lru_cache(maxsize=4)
    def own(changed: EmbeddedSample, conductivity: float, effusivity: float) -> Floats:
        return phase(changed, conductivity, effusivity, f, probed)

    def model(values: Values) -> Floats:
        curve = own(sample.changed(values), values["thermal_conductivity"], values["effusivity_medium"])
        return curve + values["phase_offset"] - 2.0 * np.pi * f * values["delay"]

    conductivity, effusivity = _start(f, data, sample, probed, effusivity_medium, find_offset, find_delay)
    free = [Free("thermal_conductivity", "W/m/K", conductivity)]
    if effusivity_medium is None:
        free.append(Free("effusivity_medium", "J/m2/K/s^0.5", effusivity))
    if find_offset:
        free.append(Free("phase_offset", "rad", 0.0, 0.1))
    if find_delay:
        free.append(Free("delay", "s", 0.0, 0.1 / (2.0 * np.pi * float(f.max()))))
    known = {**sample.known(), "effusivity_medium": effusivity, "phase_offset": 0.0, "delay": 0.0}
    name = f"layered heat conduction, phase, {probed}"
    return fit(model, known, free, data, error, relative_errors=relative_errors, name=name, difference=_within_a_turn)


def _within_a_turn(angle: Floats) -> Floats:
    return np.asarray(np.angle(np.exp(1j * angle)))


def _start(
    f: Floats,
    data: Floats,
    sample: EmbeddedSample,
    probed: str,
    effusivity: float | None,
    offset: bool,
    delay: bool,
) -> tuple[float, float]:
    """Conductivity and effusivity of the medium of the best of a coarse set of curves."""
    basis = np.column_stack([np.ones_like(f) if offset else 0.0 * f, f / f.max() if delay else 0.0 * f])
    best = (math.inf, 0.0, 0.0)
    for conductivity in CONDUCTIVITIES:
        own = math.sqrt(conductivity * sample.heat_capacity)
        for medium in [own * ratio for ratio in EFFUSIVITY_RATIOS] if effusivity is None else [effusivity]:
            residual = np.unwrap(_within_a_turn(data - phase(sample, conductivity, medium, f, probed)))
            residual = residual - basis @ np.linalg.lstsq(basis, residual, rcond=None)[0]
            misfit = float(np.sum(_within_a_turn(residual) ** 2))
            if misfit < best[0]:
                best = (misfit, float(conductivity), float(medium))
    return best[1:]
