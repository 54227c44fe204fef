"""Gaussian peaks on a straight background in counted spectra: many windows fitted at once by maximum likelihood.

Counts are Poisson, so the fit maximises the Poisson likelihood by Fisher scoring with Levenberg-Marquardt damping: no
weights are taken from the data, which is what keeps it unbiased where channels hold few counts or none. Errors come
from the Fisher matrix at the solution, so they are the Cramer-Rao bound of the model.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FWHM_PER_SIGMA = 2.0 * float(np.sqrt(2.0 * np.log(2.0)))
_LEVEL_FLOOR = 1e-2  # counts per channel; a background of exactly zero would forbid the one stray count beside it
_COMMON = 3  # parameters before the peaks: background at the left and right end, common width


@dataclass(frozen=True)
class Peaks:
    """Fitted peaks of n_w windows with up to n_k peaks each.

    `centre`, `area` and their errors (n_w, n_k) in channels of the window and counts; NaN where no peak was asked for.
    `sigma`, `sigma_error` (n_w,) the width common to a window's peaks, `background` (n_w, 2) counts per channel at the
    first and last channel, `covariance` (n_w, p, p) in the order left, right, sigma, area 0, centre 0, area 1, ...,
    `chi2_red` (n_w,) Pearson's chi squared over the degrees of freedom with its expected standard deviation
    `chi2_red_sd`, `converged` (n_w,), `model` (n_w, n_ch).
    """

    centre: Floats
    centre_error: Floats
    area: Floats
    area_error: Floats
    sigma: Floats
    sigma_error: Floats
    background: Floats
    covariance: Floats
    chi2_red: Floats
    chi2_red_sd: Floats
    dof: NDArray[np.int64]
    converged: Bools
    model: Floats


@dataclass(frozen=True)
class _Batch:
    """The data of one call: counts, used channels, peaks present, width of each peak relative to the common one."""

    counts: Floats
    used: Bools
    present: Bools
    ratio: Floats
    expected: Floats
    precision: Floats

    def pick(self, rows: Bools) -> "_Batch":
        return _Batch(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class _State(NamedTuple):
    """Parameters of the windows with the deviance, its gradient and the Fisher matrix there."""

    values: Floats
    deviance: Floats
    gradient: Floats
    fisher: Floats

    @classmethod
    def at(cls, batch: _Batch, values: Floats) -> "_State":
        mu, jacobian = _model(batch, values)
        weight = batch.used / mu
        return cls(
            values,
            _deviance(batch, mu, values),
            _gradient(batch, values, weight, mu, jacobian),
            _fisher(batch, weight, jacobian),
        )


def fit_peaks(
    counts: ArrayLike,
    centre: ArrayLike,
    sigma: ArrayLike,
    *,
    used: ArrayLike | None = None,
    width_ratio: ArrayLike | None = None,
    sigma_error: ArrayLike | None = None,
    max_iterations: int = 40,
) -> Peaks:
    """Fit Gaussian peaks on straight backgrounds to all windows together.

    Args:
        counts: (n_w, n_ch) counts; windows narrower than n_ch are padded and marked in `used`.
        centre: (n_w, n_k) starting positions in channels from the window's first; NaN where there is no such peak.
        sigma: (n_w,) starting width in channels, common to the peaks of a window.
        used: (n_w, n_ch) channels to fit; default all.
        width_ratio: (n_w, n_k) width of each peak relative to the common one (resolution against energy); default 1.
        sigma_error: (n_w,) how well the starting width is known (resolution measured on strong lines), one standard
            uncertainty in channels; infinite (the default) leaves the width free. Peaks of a few sigma need it.
        max_iterations: limit; a window that needs more is marked as not converged.

    Returns:
        The fitted peaks. A window with fewer channels than parameters, or whose fit ran into a bound of the width
        (a third to 3 times the start) or left the window, is not converged and its numbers mean nothing.

    Raises:
        ValueError: shapes disagree, or counts are negative or not finite.

    Source: Poisson likelihood and Fisher scoring as in Cash, ApJ 228, 939 (1979), doi:10.1086/156922.
    """
    batch, start = _prepare(counts, centre, sigma, used, width_ratio, sigma_error)
    values, converged = _climb(batch, start, max_iterations)
    return _report(batch, values, converged)


def _prepare(
    counts: ArrayLike,
    centre: ArrayLike,
    sigma: ArrayLike,
    used: ArrayLike | None,
    width_ratio: ArrayLike | None,
    sigma_error: ArrayLike | None,
) -> tuple[_Batch, Floats]:
    n = np.asarray(counts, dtype=float)
    position = np.asarray(centre, dtype=float)
    width = np.asarray(sigma, dtype=float)
    if n.ndim != 2 or position.ndim != 2 or width.shape != (len(n),) or len(position) != len(n):
        raise ValueError(f"fit_peaks needs (n_w, n_ch), (n_w, n_k), (n_w,): {n.shape}, {position.shape}, {width.shape}")
    keep = np.ones(n.shape, dtype=bool) if used is None else np.asarray(used, dtype=bool)
    if keep.shape != n.shape or not np.all(np.isfinite(n[keep])) or np.any(n[keep] < 0):
        raise ValueError("fit_peaks: counts of used channels must be finite and not negative, `used` shaped like them")
    ratio = np.ones(position.shape) if width_ratio is None else np.asarray(width_ratio, dtype=float)
    present = np.isfinite(position)
    precision = np.zeros(len(n)) if sigma_error is None else 1.0 / np.asarray(sigma_error, dtype=float) ** 2
    batch = _Batch(np.where(keep, n, 0.0), keep, present, np.where(present, ratio, 1.0), width, precision)
    return batch, _start(batch, np.where(present, position, 0.0), width)


def _start(batch: _Batch, centre: Floats, sigma: Floats) -> Floats:
    """Background from the quieter half of the channels, areas from what rises above it at the given positions."""
    level = np.nanmedian(np.where(batch.used, batch.counts, np.nan), axis=1)
    level = np.maximum(np.nan_to_num(level), 0.1)
    x = np.arange(batch.counts.shape[1])
    near = np.abs(x[None, None, :] - centre[:, :, None]) < 1.2 * (sigma[:, None] * batch.ratio)[:, :, None]
    height = (near * (batch.counts - level[:, None])[:, None, :]).sum(2) / np.maximum(near.sum(2), 1)
    area = np.maximum(height, 0.3 * np.sqrt(level)[:, None] + 0.3) * 3.2 * sigma[:, None] * batch.ratio
    values = np.empty((len(sigma), _COMMON + 2 * centre.shape[1]))
    values[:, 0] = values[:, 1] = level
    values[:, 2] = sigma
    values[:, 3::2] = np.where(batch.present, area, 0.0)
    values[:, 4::2] = centre
    return values


def _model(batch: _Batch, values: Floats) -> tuple[Floats, Floats]:
    """Expected counts (n_w, n_ch) and their derivatives (n_w, p, n_ch)."""
    x = np.arange(batch.counts.shape[1], dtype=float)
    ramp = x / x[-1]
    sigma = (values[:, 2, None] * batch.ratio)[:, :, None]
    area, centre = values[:, 3::2, None], values[:, 4::2, None]
    z = (x - centre) / sigma
    unit = np.exp(-0.5 * z * z) * (batch.present[:, :, None] / (sigma * np.sqrt(2.0 * np.pi)))
    peaks = area * unit
    mu = values[:, 0, None] * (1.0 - ramp) + values[:, 1, None] * ramp + peaks.sum(1)
    jacobian = np.empty((len(values), values.shape[1], len(x)))
    jacobian[:, 0] = 1.0 - ramp
    jacobian[:, 1] = ramp
    jacobian[:, 2] = (peaks * (z * z - 1.0)).sum(1) / values[:, 2, None]
    jacobian[:, 3::2] = unit
    jacobian[:, 4::2] = peaks * z / sigma
    return mu, jacobian


def _deviance(batch: _Batch, mu: Floats, values: Floats) -> Floats:
    """Poisson deviance up to a constant plus what is known of the width, (n_w,)."""
    terms = np.where(batch.used, mu - batch.counts * np.log(mu), 0.0)
    prior: Floats = (values[:, 2] - batch.expected) ** 2 * batch.precision
    return np.asarray(2.0 * np.sum(terms, axis=1) + prior)


def _fisher(batch: _Batch, weight: Floats, jacobian: Floats) -> Floats:
    fisher = (jacobian * weight[:, None, :]) @ jacobian.transpose(0, 2, 1)
    diagonal = np.einsum("wii->wi", fisher)
    diagonal[:, _COMMON:] += np.repeat(~batch.present, 2, axis=1)  # absent peaks stay where they are
    diagonal[:, 2] += batch.precision
    diagonal += 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
    return np.asarray(fisher, dtype=float)


def _gradient(batch: _Batch, values: Floats, weight: Floats, mu: Floats, jacobian: Floats) -> Floats:
    """Derivative of the log likelihood, (n_w, p)."""
    gradient: Floats = (jacobian @ ((batch.counts - mu) * weight)[:, :, None])[:, :, 0]
    gradient[:, 2] -= (values[:, 2] - batch.expected) * batch.precision
    return gradient


def _project(batch: _Batch, values: Floats) -> Floats:
    """The nearest values that give a positive expectation everywhere and a width within its bounds."""
    values = values.copy()
    values[:, :2] = np.maximum(values[:, :2], _LEVEL_FLOOR)
    values[:, 2] = np.clip(values[:, 2], batch.expected / 3.0, 3.0 * batch.expected)
    values[:, 3::2] = np.maximum(values[:, 3::2], 0.0)
    values[:, 4::2] = np.clip(values[:, 4::2], -1.0, batch.counts.shape[1])
    return values


def _climb(batch: _Batch, values: Floats, max_iterations: int) -> tuple[Floats, Bools]:
    """Damped Fisher scoring; a window leaves the batch when its step is far below its own error."""
    result = _project(batch, values)
    converged = np.zeros(len(result), dtype=bool)
    rows = np.arange(len(result))
    state = _State.at(batch, result)
    damping = np.full(len(rows), 1e-4)
    for _ in range(max_iterations):
        scale = np.einsum("wii->wi", state.fisher)
        free = ~_held(state)
        damped = state.fisher * (free[:, :, None] & free[:, None, :])
        np.einsum("wii->wi", damped)[:] = scale * (1.0 + damping[:, None])
        step = np.linalg.solve(damped, (state.gradient * free)[:, :, None])[:, :, 0]
        trial = _State.at(batch, _project(batch, state.values + step))
        better = trial.deviance <= state.deviance + 1e-9 * np.abs(state.deviance)
        # steps are judged in units of the standard deviation: moving by 1e-3 of it changes no result
        moved = np.max(np.abs(trial.values - state.values) * np.sqrt(scale), axis=1)
        small = (moved < 1e-3) | ((np.einsum("wi,wi->w", state.gradient * free, step) < 1e-6) & (damping < 1.0))
        state = _State(*(np.where(_like(better, new), new, old) for new, old in zip(trial, state, strict=True)))
        damping = np.where(better, np.maximum(0.1 * damping, 1e-9), np.clip(damping * 10.0, 1e-3, 1e6))
        result[rows] = state.values
        converged[rows] = small
        left = ~small
        if not left.any():
            break
        if not left.all():
            rows, damping, batch = rows[left], damping[left], batch.pick(left)
            state = _State(*(part[left] for part in state))
    return result, converged


def _held(state: _State) -> Bools:
    """Parameters at a bound that the likelihood would push further: they stay while the others move."""
    held = np.zeros(state.values.shape, dtype=bool)
    held[:, :2] = (state.values[:, :2] <= _LEVEL_FLOOR) & (state.gradient[:, :2] < 0)
    held[:, 3::2] = (state.values[:, 3::2] <= 0) & (state.gradient[:, 3::2] < 0)
    return held


def _like(flags: Bools, array: Floats) -> Bools:
    return flags.reshape((-1,) + (1,) * (array.ndim - 1))


def _report(batch: _Batch, values: Floats, converged: Bools) -> Peaks:
    mu, jacobian = _model(batch, values)
    covariance = np.asarray(np.linalg.inv(_fisher(batch, batch.used / mu, jacobian)), dtype=float)
    error = np.sqrt(np.maximum(np.einsum("wii->wi", covariance), 0.0))
    free = _COMMON + 2 * batch.present.sum(1)
    dof = batch.used.sum(1) - free
    pearson = np.sum(np.where(batch.used, (batch.counts - mu) ** 2 / mu, 0.0), axis=1)
    variance = np.sum(np.where(batch.used, 2.0 + 1.0 / mu, 0.0), axis=1)
    at_bound = np.abs(np.log(values[:, 2] / batch.expected)) > 1.09  # ln 3 = 1.0986
    last = batch.counts.shape[1] - 1 - np.argmax(batch.used[:, ::-1], axis=1)
    first = np.argmax(batch.used, axis=1)
    inside = (values[:, 4::2] > first[:, None]) & (values[:, 4::2] < last[:, None])
    good = converged & (dof > 0) & ~at_bound & np.all(inside | ~batch.present, axis=1)

    def each(column: Floats) -> Floats:
        return np.where(batch.present, column, np.nan)

    return Peaks(
        centre=each(values[:, 4::2]),
        centre_error=each(error[:, 4::2]),
        area=each(values[:, 3::2]),
        area_error=each(error[:, 3::2]),
        sigma=values[:, 2],
        sigma_error=error[:, 2],
        background=values[:, :2],
        covariance=covariance,
        chi2_red=pearson / np.maximum(dof, 1),
        chi2_red_sd=np.sqrt(variance) / np.maximum(dof, 1),
        dof=dof,
        converged=good,
        model=mu,
    )
