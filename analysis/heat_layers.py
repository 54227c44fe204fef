"""Heat conduction through a stack of layers, after a pulse or under modulated heating of one of its planes.

Layers are thermal quadrupoles in the Laplace variable s, chained as admittances Y (heat flux over temperature) so that
no exponential grows: Y = kappa q (Y' + kappa q tanh qd) / (kappa q + Y' tanh qd), where q = sqrt(s/alpha + k^2), k is
the radial wave number and Y' belongs to what follows.

Sources: Cahill, Rev. Sci. Instrum. 75, 5119 (2004), doi:10.1063/1.1819431; Maillet et al., Thermal Quadrupoles (Wiley
2000), not verified there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline

from .estimate import Floats

Complexes = NDArray[np.complex128]

SIGMA_PER_FWHM = 1.0 / math.sqrt(8.0 * math.log(2.0))

_CONTOUR = 20  # points of the whole contour; its lower half mirrors the upper one
_ANGLES = np.pi * np.arange(1, _CONTOUR, 2) / _CONTOUR
_POINTS = _CONTOUR * (0.5017 * _ANGLES / np.tan(0.6407 * _ANGLES) - 0.6122 + 0.2645j * _ANGLES)
_SLOPES = 0.5017 / np.tan(0.6407 * _ANGLES) - 0.5017 * 0.6407 * _ANGLES / np.sin(0.6407 * _ANGLES) ** 2 + 0.2645j
_WEIGHTS = -2j * np.exp(_POINTS) * _SLOPES

_RADIAL, _RADIAL_WEIGHTS = np.polynomial.legendre.leggauss(32)
_HERMITE, _HERMITE_WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_PER_DECADE = 32
_EARLY = 14.0  # standard deviations of the pulse within which its shape is resolved on the logarithmic grid of times


@dataclass(frozen=True, slots=True)
class Layer:
    """`conductivity` W/m/K, `heat_capacity` per volume J/m3/K, `thickness` m; without thickness it has no end."""

    conductivity: float
    heat_capacity: float
    thickness: float = math.inf

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class Film:
    """A film thin and conductive enough to be of one temperature: `areal_heat_capacity` J/m2/K."""

    areal_heat_capacity: float

    def __post_init__(self) -> None:
        _check(self, least=0.0)


@dataclass(frozen=True, slots=True)
class Interface:
    """A thermal boundary of `conductance` W/m2/K; infinite where nothing hinders the heat."""

    conductance: float

    def __post_init__(self) -> None:
        _check(self)


Element = Layer | Film | Interface


@dataclass(frozen=True, slots=True)
class Stack:
    """What lies behind the heated plane and before it, each listed outwards from that plane.

    A side whose last element has an end is adiabatic there. The probed plane is the heated one, or that after the first
    `depth` elements behind it.

    Raises:
        ValueError: a layer without end is not the last of its side, or the probed plane lies beyond the stack.
    """

    behind: Sequence[Element]
    before: Sequence[Element] = ()
    depth: int = 0

    def __post_init__(self) -> None:
        for side in (self.behind, self.before):
            for i in range(1, len(side)):
                if _endless(side[i - 1]):
                    raise ValueError(
                        f"stack: element {i + 1} lies behind one of infinite thickness, which must be last"
                    )
        finite = len(self.behind) - (1 if self.behind and _endless(self.behind[-1]) else 0)
        if not 0 <= self.depth <= finite:
            raise ValueError(f"stack: the probed plane {self.depth} is none of 0 to {finite}")


def transfer(stack: Stack, s: ArrayLike, wave_number: ArrayLike = 0.0) -> Complexes:
    """Temperature of the probed plane over heat flux into the heated one, K m2/W, at complex s (1/s).

    `wave_number` (1/m) of the radial variation; the shapes broadcast.
    """
    s, k2 = np.asarray(s, dtype=complex), np.asarray(wave_number, dtype=float) ** 2
    admittance, gain = _side(stack.behind, s, k2, stack.depth)
    return np.asarray(gain / (admittance + _side(stack.before, s, k2, 0)[0]))


def spot_transfer(stack: Stack, s: ArrayLike, pump_radius: float, probe_radius: float) -> Complexes:
    """`transfer` as Gaussian spots see it, averaged over the probe; 1/e2 radii in m.

    The flux is that of a uniform pulse of fluence 2 E / pi (w0^2 + w1^2) for a pulse of energy E, so that the result is
    `transfer` itself where heat does not spread sideways; with an infinite radius it is `transfer`. Good to 2e-5 until
    heat has spread to about five radii.

    Raises:
        ValueError: a radius is not positive.
    """
    if not (pump_radius >= 0.0 and probe_radius >= 0.0 and pump_radius + probe_radius > 0.0):
        raise ValueError(f"1/e2 radii of the spots must be positive, not {pump_radius:g} and {probe_radius:g} m")
    square = pump_radius**2 + probe_radius**2
    if math.isinf(square):
        return transfer(stack, s)
    highest = 15.0 / math.sqrt(square)  # exp(-k^2 square / 8) is 6e-13 there
    root = 0.5 * (_RADIAL + 1.0)  # of k over the highest: small wave numbers matter at late times
    k = highest * root**2
    weights = highest * root * _RADIAL_WEIGHTS * k * np.exp(-square * k**2 / 8.0) * square / 4.0
    return np.asarray(transfer(stack, np.asarray(s, dtype=complex)[..., None], k) @ weights)


def frequency_response(
    stack: Stack, frequency_hz: ArrayLike, *, pump_radius: float = math.inf, probe_radius: float = math.inf
) -> Complexes:
    """Complex temperature of the probed plane per heat flux, K m2/W, under heating as exp(2 pi i f t); any shape.

    Its argument is the phase: negative where the temperature lags. Radii as in `spot_transfer`.

    Raises:
        ValueError: a frequency or a radius is not positive.
    """
    f = np.asarray(frequency_hz, dtype=float)
    if not np.all(usable := (f > 0.0) & np.isfinite(f)):
        raise ValueError(f"frequencies of heating must be positive, not {f[~usable].flat[0]:g} Hz")
    return spot_transfer(stack, 2j * np.pi * f, pump_radius, probe_radius)


def impulse_response(
    stack: Stack, time_s: ArrayLike, *, pump_radius: float = math.inf, probe_radius: float = math.inf
) -> Floats:
    """Temperature of the probed plane per fluence, K m2/J, a time after an infinitely short pulse; any shape.

    Zero before the pulse. The Laplace transform is inverted on the cotangent contour of Trefethen, Weideman and
    Schmelzer, BIT 46, 653 (2006), doi:10.1007/s10543-006-0077-9; 20 points give 1e-12 of the heated plane's response.

    Raises:
        ValueError: a radius is not positive.
    """
    time = np.asarray(time_s, dtype=float)
    response = np.zeros(time.shape)
    after = time > 0.0
    s = _POINTS / time[after][..., None]
    response[after] = np.real(spot_transfer(stack, s, pump_radius, probe_radius) @ _WEIGHTS) / time[after]
    return response


def pulse_response(
    stack: Stack,
    time_s: ArrayLike,
    fwhm_s: float,
    *,
    pump_radius: float = math.inf,
    probe_radius: float = math.inf,
) -> Floats:
    """Temperature of the probed plane per fluence, K m2/J, after a Gaussian pulse whose middle is at time zero; (n,).

    `fwhm_s` is that of the pump pulse and of the detector's own response together, added in quadrature; with 0 this is
    `impulse_response`.

    Raises:
        ValueError: the width is negative or no number, or a radius is not positive.
    """
    if not 0.0 <= fwhm_s < math.inf:
        raise ValueError(f"full width of the pulse must be 0 or positive, not {fwhm_s:g} s")
    time = np.asarray(time_s, dtype=float)
    radii = {"pump_radius": pump_radius, "probe_radius": probe_radius}
    if fwhm_s == 0.0 or time.size == 0:
        return impulse_response(stack, time, **radii)
    sigma = fwhm_s * SIGMA_PER_FWHM
    first, last = 1e-5 * sigma, max(float(time.max()), _EARLY * sigma) + 10.0 * sigma
    u = np.linspace(math.log(first), math.log(last), math.ceil(_PER_DECADE * math.log10(last / first)))
    grid = np.exp(u)
    impulse = impulse_response(stack, grid, **radii)
    response = np.zeros(time.shape)
    early, late = np.abs(time) <= _EARLY * sigma, time > _EARLY * sigma
    weights = np.full(len(grid), u[1] - u[0]) * grid
    weights[0] *= 0.5
    power = (math.log(impulse[1] / impulse[0]) / (u[1] - u[0])) if impulse[0] > 0.0 and impulse[1] > 0.0 else 0.0
    weights[0] += grid[0] / (1.0 + power)  # what came before the grid begins, where the response is a power of time
    pulse = np.exp(-0.5 * ((time[early][:, None] - grid) / sigma) ** 2) / (sigma * math.sqrt(2.0 * np.pi))
    response[early] = pulse @ (weights * impulse)
    if late.any():
        spline = make_interp_spline(u, impulse, k=5)
        delays = np.log(time[late][:, None] - sigma * _HERMITE)
        response[late] = spline(delays) @ _HERMITE_WEIGHTS / math.sqrt(2.0 * np.pi)
    return response


def _endless(element: Element) -> bool:
    return isinstance(element, Layer) and math.isinf(element.thickness)


def _side(elements: Sequence[Element], s: Complexes, k2: Floats, depth: int) -> tuple[Complexes, Complexes]:
    """Admittance of one side, and the temperature after its first `depth` elements over that of the heated plane."""
    admittance, gain = np.zeros((), dtype=complex), np.ones((), dtype=complex)
    for i, element in reversed(list(enumerate(elements))):
        if isinstance(element, Film):
            admittance = admittance + s * element.areal_heat_capacity
            continue
        if isinstance(element, Interface):
            passed = 1.0 / (1.0 + admittance / element.conductance)
            admittance = admittance * passed
        else:
            q = np.sqrt(s * (element.heat_capacity / element.conductivity) + k2)
            own = element.conductivity * q
            if math.isinf(element.thickness):
                admittance = own
                continue
            decay = np.exp(-q * element.thickness)
            square = decay**2
            total = own * (1.0 + square) + admittance * (1.0 - square)
            passed = 2.0 * own * decay / total
            admittance = own * (admittance * (1.0 + square) + own * (1.0 - square)) / total
        if i < depth:
            gain = gain * passed
    return admittance, gain


def _check(element: Element, least: float | None = None) -> None:
    for field in fields(element):
        value = getattr(element, field.name)
        name = field.name.replace("_", " ")
        if least is not None and not least <= value < math.inf:
            raise ValueError(f"{type(element).__name__.lower()}: {name} must be {least:g} or more, not {value:g}")
        if least is None and not value > 0.0:
            raise ValueError(f"{type(element).__name__.lower()}: {name} must be positive, not {value:g}")
