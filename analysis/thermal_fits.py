"""Least squares for models of heat conduction: free parameters, and known ones that are uncertain."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from .estimate import Estimate, Floats

Values = Mapping[str, float]

_STEP = 1e-4  # of a logarithm, or of a free parameter's scale, for derivatives


@dataclass(frozen=True)
class Free:
    """A parameter to be found: its name, unit, and where to begin.

    Without `scale` it is positive and its logarithm is varied; with `scale` it may have either sign, and `scale` is a
    change of it that matters.
    """

    name: str
    unit: str
    start: float
    scale: float | None = None


@dataclass(frozen=True)
class ThermalFit:
    """What was found, the fitted curve (n,), and the systematic terms: {what is uncertain: change of the values (m,)}.

    A term is the change of the results when the known parameter is one standard uncertainty larger, with its sign.
    """

    estimate: Estimate
    curve: Floats
    terms: dict[str, Floats]


def fit(
    model: Callable[[Values], Floats],
    known: Values,
    free: Sequence[Free],
    measured: ArrayLike,
    error: ArrayLike | None,
    *,
    relative_errors: Values,
    absolute_errors: Values | None = None,
    name: str,
    difference: Callable[[Floats], Floats] = lambda residual: residual,
) -> ThermalFit:
    """Fit `model`, a function of all parameters by name, to `measured` (n,).

    Args:
        model: gives (n,) for values of the parameters `known` and `free` together.
        known: parameters that are not varied; one that is also `free` is.
        free: parameters to be found.
        measured: (n,).
        error: statistical standard uncertainty of each point, (n,) or one for all; None takes it from the scatter.
        relative_errors: {name: standard uncertainty of a known parameter over its value}, common to all points; those
            of parameters that are free are passed over.
        absolute_errors: likewise, in the parameter's unit.
        name: of the model, for the result.
        difference: what measured minus model means, where it is not itself (an angle).

    Raises:
        ValueError: fewer points than parameters, points or errors that are no numbers, an uncertainty of something that
            is not known, no convergence, or parameters that these data cannot tell apart.
    """
    data = np.asarray(measured, dtype=float)
    if data.ndim != 1 or len(data) <= len(free):
        raise ValueError(f"{name}: {data.shape} points for {len(free)} parameters: more points are needed")
    weight = 1.0 / _errors(error, data.shape, name)
    if not np.all(np.isfinite(data)):
        raise ValueError(f"{name}: {np.sum(~np.isfinite(data))} of {len(data)} points are no numbers")
    spreads = _spreads(known, free, relative_errors, absolute_errors or {}, name)

    def values(x: Floats) -> dict[str, float]:
        return {**known, **{p.name: _value(p, float(xi)) for p, xi in zip(free, x, strict=True)}}

    def residual(x: Floats) -> Floats:
        return difference(data - model(values(x))) * weight

    def jacobian(x: Floats) -> Floats:
        steps = _STEP * np.eye(len(x))
        return np.column_stack([(residual(x + step) - residual(x - step)) / (2.0 * _STEP) for step in steps])

    found = least_squares(residual, np.zeros(len(free)), method="lm", diff_step=1e-6, xtol=1e-9, max_nfev=400)
    if not found.success or not np.all(np.isfinite(found.jac)):
        raise ValueError(f"{name}: no fit after {found.nfev} steps: {found.message}")
    slope = jacobian(found.x)
    size = np.linalg.norm(slope, axis=0)
    if not np.all(size > 0.0) or np.linalg.cond(slope / size) > 1e7:
        raise ValueError(f"{name}: these data cannot tell {', '.join(p.name for p in free)} apart: fix one of them")
    inverse = np.linalg.pinv(slope)
    best = values(found.x)
    units = np.array([best[p.name] if p.scale is None else p.scale for p in free])
    chi2_red = 2.0 * float(found.cost) / (len(data) - len(free))
    covariance = inverse @ inverse.T * np.outer(units, units)
    terms = {}
    for key, spread in spreads.items():
        high, low = ({**best, key: best[key] + sign * spread} for sign in (0.5, -0.5))
        terms[key] = inverse @ (difference(model(high) - model(low)) * weight) * units
    systematic = np.sqrt(sum((term**2 for term in terms.values()), np.zeros(len(free))))
    estimate = Estimate(
        names=tuple(p.name for p in free),
        values=np.array([best[p.name] for p in free]),
        covariance=covariance if error is not None else covariance * chi2_red,
        systematic=systematic,
        units=tuple(p.unit for p in free),
        model=name,
        chi2_red=chi2_red if error is not None else math.nan,
        n_points=len(data),
    )
    return ThermalFit(estimate, model(best), terms)


def _value(parameter: Free, x: float) -> float:
    if parameter.scale is not None:
        return parameter.start + parameter.scale * x
    return parameter.start * math.exp(min(x, 50.0))


def _errors(error: ArrayLike | None, shape: tuple[int, ...], name: str) -> Floats:
    if error is None:
        return np.ones(shape)
    errors = np.asarray(error, dtype=float)
    if errors.shape not in ((), shape) or not np.all((errors > 0.0) & np.isfinite(errors)):
        raise ValueError(
            f"{name}: errors of shape {errors.shape} must be positive, one for all or one per point {shape}"
        )
    return np.broadcast_to(errors, shape)


def _spreads(
    known: Values, free: Sequence[Free], relative_errors: Values, absolute_errors: Values, name: str
) -> dict[str, float]:
    """Standard uncertainties of what is known and not free."""
    spreads = {}
    for key, error in [*relative_errors.items(), *absolute_errors.items()]:
        if key not in known or not 0.0 <= error < math.inf:
            raise ValueError(f"{name}: error {key} = {error:g}: 0 or more is accepted, of {', '.join(known)}")
        if key not in [parameter.name for parameter in free]:
            spreads[key] = error * abs(known[key]) if key in relative_errors and error else error
    return {key: spread for key, spread in spreads.items() if 0.0 < spread < math.inf}
