"""Optical pressure scales of the diamond anvil cell, by name: the R1 line of ruby and the Raman edge of the anvil.

Scales differ (Ruby2020 gives 5.6 GPa more than Mao1986 at 100 GPa): every pressure carries the name of its scale, and
no scale is used outside the range of its calibration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from .estimate import Estimate, Quantity

Floats = NDArray[np.float64]

REFERENCE_K = 300.0
SHIFT_ERROR = 0.1
"""Relative standard uncertainty of ruby's shift with temperature: about what forms in use differ by near 300 K,
straight lines of 0.0062-0.007 nm/K (not verified) against the 0.0066 below and 0.0075 above 296 K of
`temperature_shift_nm`."""
SHIFT_RANGE_K = (50.0, 900.0)

_DATCHI_K = 296.0
_COLD = Polynomial([0.0, 6.64e-3, 6.76e-6, -2.33e-8])
_HOT = Polynomial([0.0, 7.46e-3, -3.01e-6, 8.76e-9])


@dataclass(frozen=True)
class Quadratic:
    """P = c0 + c1 x + c2 x^2 in GPa on its rising branch."""

    c0: float
    c1: float
    c2: float

    def pressure(self, x: ArrayLike) -> Floats:
        """Pressure in GPa at a relative shift."""
        shift = np.asarray(x, dtype=float)
        return np.asarray(self.c0 + shift * (self.c1 + shift * self.c2))

    def slope(self, x: ArrayLike) -> Floats:
        """dP/dx in GPa."""
        return np.asarray(self.c1 + 2.0 * self.c2 * np.asarray(x, dtype=float))

    def shift(self, pressure_gpa: ArrayLike) -> Floats:
        """Relative shift at a pressure."""
        root = np.sqrt(self.c1**2 + 4.0 * self.c2 * (np.asarray(pressure_gpa, dtype=float) - self.c0))
        return np.asarray((root - self.c1) / (2.0 * self.c2))


@dataclass(frozen=True)
class Power:
    """P = a/b [(1 + x)^b - 1] in GPa."""

    a: float
    b: float

    def pressure(self, x: ArrayLike) -> Floats:
        """Pressure in GPa at a relative shift."""
        return np.asarray(self.a / self.b * np.expm1(self.b * np.log1p(np.asarray(x, dtype=float))))

    def slope(self, x: ArrayLike) -> Floats:
        """dP/dx in GPa."""
        return np.asarray(self.a * (1.0 + np.asarray(x, dtype=float)) ** (self.b - 1.0))

    def shift(self, pressure_gpa: ArrayLike) -> Floats:
        """Relative shift at a pressure."""
        return np.asarray(np.expm1(np.log1p(np.asarray(pressure_gpa, dtype=float) * self.b / self.a) / self.b))


@dataclass(frozen=True)
class PressureScale:
    """A named scale of one `gauge`: pressure against x = position/reference - 1, position and reference in `unit`.

    `range_gpa` is that of the calibration, for scales that begin at zero with 1 GPa below it for the error of a
    reading at ambient pressure; `relative_error` the standard uncertainty of the pressure that the scale gives, an
    assumption where the source states none.
    """

    name: str
    gauge: str
    form: Quadratic | Power
    reference: float
    unit: str
    range_gpa: tuple[float, float]
    relative_error: float

    def pressure(self, position: ArrayLike, reference: float | None = None) -> Floats:
        """Pressure in GPa at wavelengths or wavenumbers, any shape; `reference` replaces that of the scale.

        Raises:
            ValueError: a position is outside the range of the scale or no number.
        """
        at = np.asarray(position, dtype=float)
        zero = self.reference if reference is None else reference
        low, high = (float(zero * (1.0 + self.form.shift(end))) for end in self.range_gpa)
        inside = (at >= low) & (at <= high)
        if not np.all(inside):
            raise ValueError(
                f"{self.name} is a scale from {self.range_gpa[0]:g} to {self.range_gpa[1]:g} GPa, "
                f"{low:.6g} to {high:.6g} {self.unit}, not at {at[~inside].flat[0]:.6g} {self.unit}"
            )
        return self.form.pressure(at / zero - 1.0)

    def position(self, pressure_gpa: ArrayLike, reference: float | None = None) -> Floats:
        """Wavelength or wavenumber at pressures, any shape: the inverse of `pressure`.

        Raises:
            ValueError: a pressure is outside the range of the scale or no number.
        """
        pressure = np.asarray(pressure_gpa, dtype=float)
        inside = (pressure >= self.range_gpa[0]) & (pressure <= self.range_gpa[1])
        if not np.all(inside):
            raise ValueError(
                f"{self.name} is a scale from {self.range_gpa[0]:g} to {self.range_gpa[1]:g} GPa, "
                f"not at {pressure[~inside].flat[0]:.6g} GPa"
            )
        return np.asarray((self.reference if reference is None else reference) * (1.0 + self.form.shift(pressure)))

    def per_unit(self, position: float, reference: float | None = None) -> float:
        """dP/dposition in GPa per nm or cm^-1."""
        zero = self.reference if reference is None else reference
        return float(self.form.slope(position / zero - 1.0)) / zero

    def quantity(
        self, position: float, error: float, *, systematic: float = 0.0, reference: float | None = None
    ) -> Quantity:
        """Pressure with the errors of the position and that of the scale; `model` is the name of the scale.

        Raises:
            ValueError: as `pressure`, or an error that is negative or no number.
        """
        if not (error >= 0.0 and systematic >= 0.0):
            raise ValueError(f"errors of a {self.gauge} gauge are >= 0, not {error} and {systematic} {self.unit}")
        pressure = float(self.pressure(position, reference))
        slope = self.per_unit(position, reference)
        common = float(np.hypot(slope * systematic, self.relative_error * pressure))
        return Quantity(pressure, slope * error, common, "GPa", self.name)

    def estimate(
        self,
        readings: Estimate,
        name: str,
        *,
        shift: float = 0.0,
        systematic: float = 0.0,
        reference: float | None = None,
    ) -> Estimate:
        """`pressure` from the quantity `name`, before all that `readings` holds and with the covariance of both.

        `shift` is taken off the position first; `systematic` is added to its systematic error.

        Raises:
            ValueError: as `pressure`, or there is no such quantity.
        """
        reading = readings.quantity(name)
        position, common = reading.value - shift, float(np.hypot(reading.systematic, systematic))
        pressure = self.quantity(position, reading.error, systematic=common, reference=reference)
        transform = np.vstack([np.zeros(len(readings.names)), np.eye(len(readings.names))])
        transform[0, readings.names.index(name)] = self.per_unit(position, reference)
        return replace(
            readings,
            names=("pressure", *readings.names),
            values=np.append(pressure.value, readings.values),
            covariance=transform @ readings.covariance @ transform.T,
            systematic=np.append(pressure.systematic, readings.systematic),
            units=(pressure.unit, *readings.units),
            scale=self.name,
        )


RUBY_2020 = PressureScale("Ruby2020", "ruby", Quadratic(0.0, 1870.0, 1870.0 * 5.63), 694.25, "nm", (-1.0, 150.0), 0.01)
"""P = 1870(10) x [1 + 5.63(3) x], hydrostatic, to 150 GPa; with 1 % for its calibration.

Source: Shen et al., High Press. Res. 40, 299 (2020), doi:10.1080/08957959.2020.1791107."""

MAO_1986 = PressureScale("Mao1986", "ruby", Power(1904.0, 7.665), 694.25, "nm", (-1.0, 100.0), 0.04)
"""P = 1904/7.665 [(1 + x)^7.665 - 1], quasi-hydrostatic; calibrated to 80 GPa (not verified), much used beyond; its
error is about its distance from Ruby2020. Source: Mao et al., J. Geophys. Res. 91, 4673 (1986),
doi:10.1029/JB091iB05p04673."""

AKAHAMA_2006 = PressureScale(
    "Akahama2006", "raman", Quadratic(0.0, 547.0, 547.0 * 0.5 * (3.75 - 1.0)), 1334.0, "cm^-1", (-1.0, 310.0), 0.03
)
"""P = 547 x [1 + (3.75 - 1) x / 2], x from 1334 cm^-1, to 310 GPa. Source: Akahama and Kawamura, J. Appl. Phys. 100,
043516 (2006), doi:10.1063/1.2335683; figures and range not verified, the error is an assumption."""

AKAHAMA_2010 = PressureScale(
    "Akahama2010",
    "raman",
    Quadratic(*Polynomial([3141.0, -4.157, 1.429e-3])(Polynomial([1334.0, 1334.0])).coef),
    1334.0,
    "cm^-1",
    (200.0, 410.0),
    0.03,
)
"""P = 3141 - 4.157 nu + 1.429e-3 nu^2 from 200 to 410 GPa. Source: Akahama and Kawamura, J. Phys. Conf. Series 215,
012195 (2010), doi:10.1088/1742-6596/215/1/012195; figures and range not verified, the error is an assumption."""

SCALES: Mapping[str, PressureScale] = {s.name: s for s in (RUBY_2020, MAO_1986, AKAHAMA_2006, AKAHAMA_2010)}


def scale_named(name: str, gauge: str = "") -> PressureScale:
    """The scale of that name, of that gauge where one is given.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    names = [scale.name for scale in SCALES.values() if gauge in ("", scale.gauge)]
    if name not in names:
        raise ValueError(f"no pressure scale {name!r}{f' for {gauge}' if gauge else ''}: there are {', '.join(names)}")
    return SCALES[name]


def temperature_shift_nm(temperature_k: ArrayLike) -> Floats:
    """Shift of ruby's R1 line in nm from 300 K at the same pressure, temperatures of any shape.

    Source: Datchi et al., High Press. Res. 27, 447 (2007), doi:10.1080/08957950701659593, referred to 296 K, a cubic
    on either side; the digits are not verified there. `SHIFT_ERROR` is the uncertainty to take with it.

    Raises:
        ValueError: a temperature is outside 50-900 K or no number.
    """
    t = np.asarray(temperature_k, dtype=float)
    low, high = SHIFT_RANGE_K
    if not np.all((t >= low) & (t <= high)):
        raise ValueError(f"ruby's shift with temperature is known from {low:g} to {high:g} K, not at {t} K")
    rise = t - _DATCHI_K
    return np.asarray(np.where(rise < 0.0, _COLD(rise), _HOT(rise)) - _HOT(REFERENCE_K - _DATCHI_K))


def convert(estimate: Estimate, scale: str) -> Estimate:
    """The same readings on another scale of the same gauge: `pressure` and `scale` change, all else stays.

    The error of the old scale gives way to that of the new one.

    Raises:
        ValueError: the estimate has no pressure or no known scale, the gauges differ, or the pressure is outside the
            range of a scale.
    """
    old = scale_named(estimate.scale)
    new = scale_named(scale, old.gauge)
    before = estimate.quantity("pressure")
    position = float(old.position(before.value))
    # both scales from one reference, so that x is the same whichever was used
    pressure = float(new.pressure(position, old.reference))
    ratio = new.per_unit(position, old.reference) / old.per_unit(position)
    of_position = np.sqrt(max(before.systematic**2 - (old.relative_error * before.value) ** 2, 0.0))
    row = estimate.names.index("pressure")
    values, systematic, factors = estimate.values.copy(), estimate.systematic.copy(), np.ones(len(estimate.names))
    values[row], factors[row] = pressure, ratio
    systematic[row] = np.hypot(ratio * of_position, new.relative_error * pressure)
    return replace(
        estimate,
        values=values,
        systematic=systematic,
        covariance=estimate.covariance * np.outer(factors, factors),
        scale=new.name,
    )
