"""Sub-pixel position of thin dark foils: least squares of pixel-integrated profiles, many short columns at once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import erf

from .estimate import Floats

_STEPS = 12
_LONGEST_STEP = 0.7
_LEAST_BLUR_PX = 0.3
_FIRST_PX = np.array([1.2, 2.0])  # spread of the whole profile, width of the slab
_BOUNDS_PX = ((0.4, 4.0), (0.2, 8.0))
_PRIOR_PX = np.array([1.0, 2.0])  # known this well before any image
_TEMPLATE_STEP_PX = np.array([0.01, 0.1])
_REACH_PX, _PER_PX = 32, 128
_POINTS = 2 * _REACH_PX * _PER_PX + 1


@dataclass(frozen=True)
class Template:
    """Profile of one foil: a slab `width_px` thick seen through a Gaussian blur of standard deviation `blur_px`.

    Where the foil lies between unlike materials, the camera blurs the step and the foil `together`; a foil that is
    tilted along the beam is smeared on its own, and the two blurs count apart. `centre_error_px`: what the uncertainty
    of the profile leaves in the foil's position, in all images alike.
    """

    width_px: float
    blur_px: float
    together: bool = True
    centre_error_px: float = 0.0


@dataclass(frozen=True)
class ProfileFits:
    """Fits of m profiles: `centre`, `centre_error` (m,) in px from the window's middle, `depth` (m,), `chi2` (m,).

    `light` (m, 4): the background's three coefficients and the height of the step.
    """

    centre: Floats
    centre_error: Floats
    depth: Floats
    light: Floats
    chi2: Floats


def fit_profiles(
    profiles: Floats,
    variance_per_count: float,
    floor_variance: float,
    templates: Sequence[Template],
    *,
    start: ProfileFits | None = None,
    tolerance: float = 1e-3,
) -> ProfileFits:
    """Positions of foils in `profiles` (m, n), each a column of n pixels (counts) with a foil near its middle.

    With several `templates` the profiles come in as many equal groups, one for each. `start`: a fit of the same
    profiles with similar templates.

    Model: quadratic light * (1 + height * step) * (1 - depth * slab), for a foil often lies between materials of
    different absorption; step, slab and their product are blurred and integrated over each pixel, so that no position
    within a pixel is favoured. Variance of a pixel: `variance_per_count` * model + `floor_variance`.
    """
    m, n = profiles.shape
    tables = np.concatenate([_table(t.width_px, t.blur_px, t.together) for t in templates], axis=1)
    first_entry = np.repeat(np.arange(len(templates)) * _POINTS, m // len(templates))[:, None]
    u = np.arange(n) - (n - 1) / 2.0
    powers = np.stack([np.ones(n), u, u * u])
    if start is None:
        centre, depth, light = _first_guess(profiles, tables[0, first_entry[:, 0] + _POINTS // 2])
    else:
        centre, depth, light = start.centre, start.depth, start.light
    darkest = 0.05 * light[:, :1]  # a start that overshoots below zero shall not weigh more than all else
    for _ in range(_STEPS):
        shapes = _look_up(tables, first_entry, u - centre[:, None])
        model, jacobian = _model(powers, shapes, depth[:, None], light)
        weight = 1.0 / (variance_per_count * np.maximum(model, darkest) + floor_variance)
        weighted = jacobian * weight[:, None, :]
        inverse = np.linalg.inv(weighted @ jacobian.transpose(0, 2, 1))
        step = (inverse @ (weighted @ (profiles - model)[:, :, None]))[:, :, 0]
        # a long step is shortened as a whole: its parts are right only together
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(np.abs(step[:, :2]).max(axis=1), 1e-9))[:, None]
        centre = np.clip(centre + step[:, 0], u[2], u[-3])
        depth = np.clip(depth + step[:, 1], 1e-3, 1.5)
        light = light + step[:, 2:]
        if np.max(np.abs(step[:, :2])) < tolerance:  # Newton's method: what remains is about its square
            break
    chi2 = np.sum(weight * (profiles - model) ** 2, axis=1)
    return ProfileFits(centre, np.sqrt(inverse[:, 0, 0]), depth, light, chi2)


def fit_template(profiles: Floats, variance_per_count: float, floor_variance: float) -> Template:
    """The slab width and blur that describe `profiles` (m, n) of one foil best, all together."""

    last: ProfileFits | None = None

    def fit(x: Floats, together: bool) -> ProfileFits:
        nonlocal last
        template = _template(x, together)
        last = fit_profiles(profiles, variance_per_count, floor_variance, [template], start=last, tolerance=1e-5)
        return last

    def best(together: bool, start: Floats, size: Floats) -> tuple[float, Floats]:
        simplex = start + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) * size
        options = {"xatol": 2e-3, "fatol": 0.05, "maxfev": 150, "initial_simplex": simplex}
        found = minimize(
            lambda x: float(fit(x, together).chi2.sum()),
            start,
            method="Nelder-Mead",
            bounds=_BOUNDS_PX,
            options=options,
        )
        return float(found.fun), found.x

    joint = best(True, _FIRST_PX, np.array([0.3, 0.5]))
    apart = best(False, joint[1], np.array([0.02, 0.1]))
    together = joint[0] <= apart[0]
    x = joint[1] if together else apart[1]
    return replace(_template(x, together), centre_error_px=_centre_error(lambda at: fit(at, together), x))


def _template(x: Floats, together: bool) -> Template:
    # standard deviation of the whole profile and width of the slab: blur and width would trade one for the other
    width = min(float(x[1]), 0.98 * math.sqrt(12.0) * float(x[0]))
    return Template(width, max(math.sqrt(float(x[0]) ** 2 - width**2 / 12.0), _LEAST_BLUR_PX), together)


def _centre_error(fit: Callable[[Floats], ProfileFits], best: Floats) -> float:
    """Error of the mean centre that comes from the template's two parameters, by their curvature of chi squared."""

    def at(*shift: float) -> Floats:
        fits = fit(best + np.array(shift) * _TEMPLATE_STEP_PX)
        weight = fits.centre_error**-2.0
        return np.array([fits.centre @ weight / weight.sum(), 0.5 * fits.chi2.sum()])

    here, right, left, up, down = at(0, 0), at(1, 0), at(-1, 0), at(0, 1), at(0, -1)
    mixed = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))[1] / 4.0
    second = np.array([[(right - 2 * here + left)[1], mixed], [mixed, (up - 2 * here + down)[1]]])
    step = np.diag(1.0 / _TEMPLATE_STEP_PX)
    curvature = step @ second @ step + np.diag(_PRIOR_PX**-2.0)
    gradient = step @ np.array([right[0] - left[0], up[0] - down[0]]) / 2.0
    values, vectors = np.linalg.eigh(curvature)
    return float(np.sqrt(np.sum((gradient @ vectors) ** 2 / np.maximum(values, _PRIOR_PX.max() ** -2.0))))


def _first_guess(profiles: Floats, peak: Floats) -> tuple[Floats, Floats, Floats]:
    """Centre and depth (m,), light (m, 4) from the rims and a parabola through the darkest pixel and its neighbours."""
    m, n = profiles.shape
    light = np.zeros((m, 4))
    light[:, 0] = before = np.maximum(profiles[:, :4].mean(axis=1), 1.0)
    light[:, 3] = profiles[:, -4:].mean(axis=1) / before - 1.0
    row = np.arange(m)
    pixel = np.argmin(profiles[:, 2:-2], axis=1) + 2
    left, here, right = profiles[row, pixel - 1], profiles[row, pixel], profiles[row, pixel + 1]
    bend = np.maximum(left - 2.0 * here + right, 1e-9)
    centre = pixel + np.clip(0.5 * (left - right) / bend, -0.5, 0.5) - (n - 1) / 2.0
    depth = np.clip((1.0 - here / (before * (1.0 + 0.5 * light[:, 3]))) / peak, 0.05, 1.1)
    return centre, depth, light


def _model(powers: Floats, shapes: Floats, depth: Floats, light: Floats) -> tuple[Floats, Floats]:
    """Model (m, n) and derivatives (m, 6, n) by centre, depth, the light's three coefficients, height of the step."""
    slab, slab_slope, step, step_slope, both, both_slope = shapes
    level, height = light[:, :3] @ powers, light[:, 3:]
    through = 1.0 + height * step - depth * (slab + height * both)
    jacobian = np.empty((len(level), 6, powers.shape[1]))
    jacobian[:, 0] = level * (depth * (slab_slope + height * both_slope) - height * step_slope)
    jacobian[:, 1] = -level * (slab + height * both)
    jacobian[:, 2:5] = powers * through[:, None, :]
    jacobian[:, 5] = level * (step - depth * both)
    return level * through, jacobian


def _look_up(tables: Floats, first_entry: NDArray[np.intp], distance: Floats) -> Floats:
    """Slab, step and both at once, each with its slope (6, m, n), at `distance` (m, n) of a pixel from the foil."""
    place = (distance + _REACH_PX) * _PER_PX
    whole = place.astype(np.intp)
    part = place - whole
    entry = first_entry + whole
    values = tables[:, entry]
    return np.asarray(values + (tables[:, entry + 1] - values) * part, dtype=float)


@lru_cache(maxsize=16)
def _table(width_px: float, blur_px: float, together: bool) -> Floats:
    """Slab, step and both, with slopes (6, points), blurred, averaged over a pixel: erf in each fit is slow."""
    distance = np.arange(_POINTS) / _PER_PX - _REACH_PX
    half = 0.5 * width_px
    before, middle, behind = (_blurred_step(distance - edge, blur_px) for edge in (-half, 0.0, half))
    slab = before - behind
    apart = (slab[0] * middle[0], slab[1] * middle[0] + slab[0] * middle[1])
    return np.stack([*slab, *middle, *(middle - behind if together else apart)])


def _blurred_step(distance: Floats, blur_px: float) -> Floats:
    """Unit step and its slope (2, points) at `distance` of a pixel's middle from it."""
    edges = np.stack([distance + 0.5, distance - 0.5])
    scaled = edges / (math.sqrt(2.0) * blur_px)
    slope = erf(scaled)
    integral = edges * slope + blur_px * math.sqrt(2.0 / math.pi) * np.exp(-scaled * scaled)
    return np.stack([0.5 + 0.5 * (integral[0] - integral[1]), 0.5 * (slope[0] - slope[1])])
