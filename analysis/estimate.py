"""What a reduction hands back: values with statistical covariance, systematic error, unit and model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One value with its statistical (`error`) and systematic standard uncertainty, both in `unit`."""

    value: float
    error: float
    systematic: float
    unit: str
    model: str = ""

    @property
    def combined(self) -> float:
        """Statistical and systematic standard uncertainty added in quadrature."""
        return math.hypot(self.error, self.systematic)


@dataclass(frozen=True)
class Estimate:
    """Several values that one reduction found together.

    `values` (n,), statistical `covariance` (n, n), `systematic` (n,) standard uncertainties common to every point of a
    run, `units` (n,), `model` identifier, reduced chi squared, number of points used, and the `scale` or calibration
    that the values rest on (a pressure scale, an elastic model).

    Raises:
        ValueError: the shapes disagree, or a name comes twice.
    """

    names: tuple[str, ...]
    values: Floats
    covariance: Floats
    systematic: Floats
    units: tuple[str, ...]
    model: str
    chi2_red: float
    n_points: int
    scale: str = ""

    def __post_init__(self) -> None:
        n = len(self.names)
        for field, shape in (("values", (n,)), ("covariance", (n, n)), ("systematic", (n,))):
            array = np.asarray(getattr(self, field), dtype=float)
            if array.shape != shape:
                raise ValueError(f"Estimate.{field} has shape {array.shape}, needs {shape} for {self.names}")
            object.__setattr__(self, field, array)
        if len(self.units) != n or len(set(self.names)) != n:
            raise ValueError(f"Estimate needs one unit for each of its distinct names: {self.names}, {self.units}")

    def quantity(self, name: str) -> Quantity:
        """One of the values by name.

        Raises:
            ValueError: no such name.
        """
        i = self._row(name)
        error = math.sqrt(max(float(self.covariance[i, i]), 0.0))
        return Quantity(float(self.values[i]), error, float(self.systematic[i]), self.units[i], self.model)

    def pick(self, names: Sequence[str]) -> "Estimate":
        """Some of the values, in the given order, with their covariance.

        Raises:
            ValueError: no such name.
        """
        rows = [self._row(name) for name in names]
        return replace(
            self,
            names=tuple(names),
            values=self.values[rows],
            covariance=self.covariance[np.ix_(rows, rows)],
            systematic=self.systematic[rows],
            units=tuple(self.units[i] for i in rows),
        )

    def quantities(self) -> dict[str, Quantity]:
        """Every value by name, in the order of `names`."""
        return {name: self.quantity(name) for name in self.names}

    def _row(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"no quantity {name!r} in this estimate: it has {', '.join(self.names)}")
        return self.names.index(name)
