"""Tungsten-rhenium thermocouples, types C and D: emf to temperature and back, cold junction, sample temperature."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.constants import zero_Celsius

from .estimate import Estimate, Floats

EMF_SCALE = 0.005
"""Standard uncertainty of the wire's emf scale, as a fraction of the temperature in degrees Celsius."""
AXIAL_GRADIENT = 0.01
"""Standard uncertainty of sample against junction, as a fraction of the rise above 300 K."""
COLD_JUNCTION_K = 0.5
"""Standard uncertainty of the offset of the cold-junction sensor, K."""
EMF_NOISE_V = 2e-7
"""Least statistical uncertainty of one reading of the emf, V."""

_ROOM_K = 300.0
_NEWTON_STEPS = 4


@dataclass(frozen=True)
class ReferenceFunction:
    """A thermocouple's emf referred to 0 degC: polynomials in degC giving mV, one for each range between `limits_c`."""

    name: str
    scale: str
    limits_c: tuple[float, float, float]
    coefficients_mv: tuple[tuple[float, ...], tuple[float, ...]]


TYPE_C = ReferenceFunction(
    "type C (W5Re/W26Re)",
    "IEC 60584-1:2013, ITS-90",
    (0.0, 630.615, 2315.0),
    (
        (0.0, 1.3406032e-2, 1.1924992e-5, -7.9806354e-9, -5.0787515e-12, 1.3164197e-14, -7.9197332e-18),
        (4.0528823e-1, 1.1509355e-2, 1.5696453e-5, -1.3704412e-8, 5.2290873e-12, -9.2082758e-16, 4.5245112e-20),
    ),
)
"""IEC 60584-1:2013; coefficients compared with ASTM E988 (within 9 uV), not verified in the standard itself."""

TYPE_D = ReferenceFunction(
    "type D (W3Re/W25Re)",
    "ASTM E988 as tabulated by OMEGA z202, IPTS-68 or ITS-90 not stated",
    (0.0, 783.0, 2320.0),
    (
        (0.0, 9.5685256e-3, 2.0592621e-5, -1.8464573e-8, 7.9498033e-12, -1.4240735e-15),
        (0.0, 9.9109462e-3, 1.8666488e-5, -1.4935266e-8, 5.3743821e-12, -7.9026726e-16),
    ),
)
"""OMEGA z202; the two ranges meet at 783 degC within 0.05 uV with no constant term in the upper one."""

KINDS = {"C": TYPE_C, "D": TYPE_D}


def emf(temperature_c: ArrayLike, kind: str = "C") -> Floats:
    """Emf in V at a junction of `temperature_c` (any shape, degC), the other one at 0 degC.

    Raises:
        ValueError: unknown kind, or a temperature outside the range of the reference function.
    """
    function = _function(kind)
    return _emf(_within(temperature_c, function), function)


def seebeck(temperature_c: ArrayLike, kind: str = "C") -> Floats:
    """Seebeck coefficient dE/dt in V/K at `temperature_c` (any shape, degC).

    Raises:
        ValueError: as `emf`.
    """
    function = _function(kind)
    return _seebeck(_within(temperature_c, function), function)


def temperature_c(emf_v: ArrayLike, cold_junction_c: ArrayLike = 0.0, kind: str = "C") -> Floats:
    """Temperature in degC of the hot junction from the measured emf (V) and the cold junction's temperature (degC).

    Solves E(t) = emf + E(cold junction) by Newton's method; exact to 1e-9 K. Shapes broadcast.

    Raises:
        ValueError: unknown kind, a cold junction or a result outside the reference function, or a value that is no
            number (a broken thermocouple reads full scale or nothing).
    """
    function = _function(kind)
    total = np.asarray(emf_v, dtype=float) + emf(cold_junction_c, kind)
    low, _, high = function.limits_c
    lowest, highest = _emf(np.array([low, high]), function)
    if not np.all((total >= lowest) & (total <= highest)):
        worst = np.ravel(total)[np.argmax(~((np.ravel(total) >= lowest) & (np.ravel(total) <= highest)))]
        raise ValueError(
            f"thermocouple emf {worst * 1e3:.4g} mV (cold junction added) is not on the curve of {function.name}: "
            f"{lowest * 1e3:.4g} to {highest * 1e3:.4g} mV"
        )
    grid = np.linspace(low, high, 128)
    t = np.interp(total, _emf(grid, function), grid)
    for _ in range(_NEWTON_STEPS):
        t = t - (_emf(t, function) - total) / _seebeck(t, function)
    return np.asarray(t, dtype=float)


def sample_temperature(
    emf_v: float,
    emf_error_v: float,
    cold_junction_c: float,
    *,
    cold_junction_error_c: float = 0.0,
    kind: str = "C",
    emf_scale: float = EMF_SCALE,
    axial_gradient: float = AXIAL_GRADIENT,
    cold_junction_offset_k: float = COLD_JUNCTION_K,
) -> Estimate:
    """Temperature of the sample in K (name `temperature`) from one reading of its thermocouple.

    Statistical: noise of the meter and of the cold-junction sensor. Systematic, common to a run: the emf scale of the
    wire, the axial gradient between junction and sample, the offset of the cold-junction sensor (as it acts at the hot
    end, scaled by the two Seebeck coefficients). The effect of pressure on the emf is not corrected; it is said to
    reach some tens of K above 2000 K (not verified).

    Raises:
        ValueError: as `temperature_c`, or an error that is negative or no number.
    """
    if not (emf_error_v >= 0.0 and cold_junction_error_c >= 0.0):
        raise ValueError(f"errors of a thermocouple are >= 0, not {emf_error_v} V and {cold_junction_error_c} K")
    function = _function(kind)
    hot_c = float(temperature_c(emf_v, cold_junction_c, kind))
    slope = float(_seebeck(np.array(hot_c), function))
    cold_gain = float(seebeck(cold_junction_c, kind)) / slope
    temperature_k = hot_c + zero_Celsius
    variance = (emf_error_v / slope) ** 2 + (cold_gain * cold_junction_error_c) ** 2
    terms = (emf_scale * hot_c, axial_gradient * (temperature_k - _ROOM_K), cold_gain * cold_junction_offset_k)
    return Estimate(
        names=("temperature",),
        values=np.array([temperature_k]),
        covariance=np.array([[variance]]),
        systematic=np.array([np.hypot.reduce(terms)]),
        units=("K",),
        model=f"thermocouple {function.name}, no pressure correction",
        chi2_red=float("nan"),
        n_points=1,
        scale=function.scale,
    )


def _function(kind: str) -> ReferenceFunction:
    if kind not in KINDS:
        raise ValueError(f"thermocouple type {kind!r} is unknown: give one of {', '.join(KINDS)}")
    return KINDS[kind]


def _within(temperature: ArrayLike, function: ReferenceFunction) -> Floats:
    t = np.asarray(temperature, dtype=float)
    low, _, high = function.limits_c
    if not np.all((t >= low) & (t <= high)):
        raise ValueError(
            f"{function.name} is defined from {low} to {high} degC, not at {t[~((t >= low) & (t <= high))]}"
        )
    return t


def _emf(t: Floats, function: ReferenceFunction) -> Floats:
    lower, upper = (np.polynomial.polynomial.polyval(t, np.array(c)) for c in function.coefficients_mv)
    return np.asarray(np.where(t < function.limits_c[1], lower, upper) * 1e-3, dtype=float)


def _seebeck(t: Floats, function: ReferenceFunction) -> Floats:
    derivatives = (np.polynomial.polynomial.polyder(np.array(c)) for c in function.coefficients_mv)
    lower, upper = (np.polynomial.polynomial.polyval(t, c) for c in derivatives)
    return np.asarray(np.where(t < function.limits_c[1], lower, upper) * 1e-3, dtype=float)
