"""Live analyses of energy-dispersive patterns: angles of the detector, spacings, stress, pressure, texture."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..deformation_pattern import IRON_HKL, MGO_HKL, Pattern, reduce_pattern
from ..energy_dispersive import Elements, calibrate_two_theta
from ..estimate import Estimate, Quantity
from ..phases import HCP_IRON, MGO, mgo_standard_lines
from ..texture import Ring, fit_texture, plane_tilt, relative_to
from .analysis import LiveAnalysis, independent

NOMINAL_TWO_THETA_ERROR_DEG = 0.01
"""How far an element may stand from its nominal angle."""

AXIAL_RATIO = 1.605


PATTERNS = "patterns"
"""The stream of all results of a pattern."""


class DetectorCalibration(LiveAnalysis):
    """Two theta of every element from the standard (MgO at ambient conditions)."""

    name = "detector_calibration"
    listens = frozenset({"standard"})
    recorded_after = frozenset({"standard"})

    def __init__(self, detector: str, n_elements: int) -> None:
        super().__init__()
        self.detector = detector
        self.quantities = {f"two_theta_{i + 1}": "deg" for i in range(n_elements)}
        self.elements: Elements | None = None

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate:
        """Angles from one spectrum of the standard."""
        nominal = nominal_elements(self._configuration, self.detector)
        self.elements = calibrate_two_theta(event[f"{self.detector}_spectra"], nominal, mgo_standard_lines())
        angles, errors = self.elements.two_theta_deg, self.elements.two_theta_error_deg
        return independent(
            tuple(self.quantities),
            angles,
            errors,
            np.zeros_like(angles),
            ["deg"] * len(angles),
            "MgO at 300 K and 1 bar",
        )


class Patterns(LiveAnalysis):
    """Spacings and intensities of all lines in all elements; recorded as tables, and used by the analyses below."""

    name = "spacings"
    stream = PATTERNS
    listens = frozenset({"conditions", "diffraction"})
    recorded_after = frozenset({"diffraction"})
    quantities: Mapping[str, str] = {}

    def __init__(self, detector: str, press: str, calibration: DetectorCalibration, temperature: LiveAnalysis) -> None:
        super().__init__()
        self.detector, self.press = detector, press
        self.calibration, self.temperature = calibration, temperature
        self.pattern: Pattern | None = None
        self._shape = (len(calibration.quantities), len(IRON_HKL) + len(MGO_HKL))
        self.live_time_s = np.ones(1)
        self.load_mn = 0.0
        self.expected_gpa = 0.0

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """Reduce one pattern."""
        if stream == "conditions":
            self.load_mn = event[f"{self.press}_load"]
            return None
        self.pattern = None
        self.live_time_s = np.asarray(event[f"{self.detector}_live_time"], dtype=float)
        self.pattern = reduce_pattern(
            event[f"{self.detector}_spectra"],
            self.elements(),
            pressure_gpa=self.expected_gpa or nominal_pressure(self.load_mn),
            temperature=self.temperature_k(),
        )
        self.expected_gpa = self.pattern.pressure.quantity("pressure").value
        return independent((), (), (), (), (), "Gaussian peaks on a linear background")

    def reduced(self) -> Pattern:
        """The latest pattern. Raises ValueError where it could not be reduced."""
        if self.pattern is None:
            raise ValueError("the pattern could not be reduced")
        return self.pattern

    def elements(self) -> Elements:
        """The calibrated elements, or the nominal ones with an error to match."""
        if self.calibration.elements is not None:
            return self.calibration.elements
        nominal = nominal_elements(self._configuration, self.detector)
        return replace(nominal, two_theta_error_deg=np.full(len(nominal), NOMINAL_TWO_THETA_ERROR_DEG))

    def temperature_k(self) -> Quantity:
        """The sample's temperature; room temperature before any is known."""
        if self.temperature.estimate is None:
            return Quantity(300.0, 0.0, 3.0, "K")
        return self.temperature.estimate.quantity("temperature")

    def read(self) -> dict[str, Any]:
        """The tables of the latest pattern."""
        readings = super().read()
        readings.pop(f"{self.name}_covariance")
        for key in ("d", "d_error", "intensity", "intensity_error"):
            value = np.full(self._shape, np.nan)
            if self.pattern is not None:
                value = np.asarray(getattr(self.pattern.spacings, key), dtype=float)
            readings[f"{self.name}_{key}"] = {"value": value, "timestamp": self._timestamp}
        return readings

    def describe(self) -> dict[str, Any]:
        """Tables are (n_elements, n_lines); the lines are named in the source."""
        keys = super().describe()
        keys.pop(f"{self.name}_covariance")
        lines = [f"{HCP_IRON} {_text(hkl)}" for hkl in IRON_HKL] + [f"{MGO} {_text(hkl)}" for hkl in MGO_HKL]
        for key, unit in (("d", "angstrom"), ("intensity", "counts")):
            for suffix in ("", "_error"):
                source = f"analysis:{self.name} of {', '.join(lines)}"
                keys[f"{self.name}_{key}{suffix}"] = {
                    "source": source,
                    "dtype": "array",
                    "shape": list(self._shape),
                    "units": unit,
                }
        return keys


class PatternResult(LiveAnalysis):
    """A result of the latest pattern; its moment is the middle of the exposure."""

    stream = PATTERNS
    listens = frozenset({"diffraction"})
    recorded_after = frozenset({"diffraction"})

    def __init__(self, patterns: Patterns) -> None:
        super().__init__()
        self.patterns = patterns

    def moment(self, event: Mapping[str, Any]) -> float:
        """The middle of the exposure."""
        real_time_s = event["data"].get(f"{self.patterns.detector}_real_time", 0.0)
        return super().moment(event) - 0.5 * float(np.max(real_time_s))


class Pressure(PatternResult):
    """Pressure from the volume of the MgO marker."""

    name = "pressure"
    quantities: Mapping[str, str] = {"pressure": "GPa", "volume": "angstrom^3", "lattice_parameter": "angstrom"}

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate:
        """Pressure from one pattern."""
        return self.patterns.reduced().pressure


class Stress(PatternResult):
    """Differential stress of the sample from its lattice strains, per line and combined (positive in compression)."""

    name = "stress"

    def __init__(self, patterns: Patterns) -> None:
        super().__init__(patterns)
        self.quantities = {
            "differential_stress": "GPa",
            **{f"t_{_text(hkl)}": "GPa" for hkl in IRON_HKL},
            **{f"q_{_text(hkl)}": "" for hkl in IRON_HKL},
        }

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """Stress from one pattern; none while the sample is not hcp iron."""
        stress = self.patterns.reduced().stress
        return None if stress is None else with_names(stress, self.quantities)


SPECTRUM_SLOPE = 3.0
"""d ln I / d ln E of the white beam and the detectors is between this and its negative, about (not verified)."""


class Texture(PatternResult):
    """March-Dollase r and texture index of the sample's c axes, relative to the pattern before the deformation."""

    name = "texture"
    listens = frozenset({"reference", "diffraction"})
    quantities: Mapping[str, str] = {"march_r": "", "texture_index": ""}

    def __init__(self, patterns: Patterns) -> None:
        super().__init__(patterns)
        self._reference: tuple[np.ndarray, np.ndarray] | None = None
        self._reference_kev: np.ndarray | None = None
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._last_kev: np.ndarray | None = None

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """Texture from one pattern; the last one before the reference radiographs counts as untextured."""
        if stream == "reference":
            self._reference, self._reference_kev = self._last, self._last_kev
            return None
        iron = self.patterns.reduced().spacings.of_phase(HCP_IRON)
        rates = self.patterns.live_time_s[:, None]
        self._last = iron.intensity / rates, iron.intensity_error / rates
        self._last_kev = iron.energy_kev
        if self._reference is None or self._reference_kev is None:
            return None
        # stress moves lines along the incident spectrum, more or less by azimuth, as texture would change them
        spurious = SPECTRUM_SLOPE * np.log(iron.energy_kev / self._reference_kev)
        intensity, error = relative_to(*self._last, *self._reference)
        psi_deg = np.degrees(iron.elements.psi_rad)
        rings = [
            Ring(
                psi_deg,
                intensity[:, i],
                error[:, i],
                plane_tilt(line.hkl, AXIAL_RATIO),
                _text(line.hkl),
                spurious[:, i],
            )
            for i, line in enumerate(iron.lines)
            if np.isfinite(intensity[:, i]).sum() >= 4
        ]
        estimate = with_names(fit_texture(rings), self.quantities)
        share = self._share_of_reference()
        return replace(
            estimate,
            covariance=estimate.covariance * (1.0 - share),
            systematic=np.sqrt(np.diag(estimate.covariance) * share + estimate.systematic**2),
        )

    def _share_of_reference(self) -> float:
        """The part of the variance that the reference brings: it is common to all patterns of a run."""
        assert self._last is not None
        assert self._reference is not None
        own, common = ((error / intensity) ** 2 for intensity, error in (self._last, self._reference))
        return float(np.nanmedian(common / (own + common)))


def nominal_elements(configuration: Mapping[str, Any], detector: str) -> Elements:
    """The elements as the detector's records describe them. Raises ValueError where a record is missing."""
    keys = ("azimuth", "two_theta", "offset", "slope", "quad")
    missing = [key for key in keys if f"{detector}_{key}" not in configuration]
    if missing:
        raise ValueError(f"the configuration of {detector} has no {missing[0]}")
    azimuth, two_theta, offset, slope, quad = (np.asarray(configuration[f"{detector}_{key}"], float) for key in keys)
    return Elements(azimuth, two_theta, offset, slope, quad, slope > 0.0, np.zeros_like(azimuth))


def nominal_pressure(load_mn: float) -> float:
    """About the pressure (GPa) that a cell has at a load: only to know where lines are looked for."""
    return float(32.0 * (1.0 - np.exp(-load_mn / 4.6)))


def with_names(estimate: Estimate, quantities: Mapping[str, str]) -> Estimate:
    """The same estimate with exactly these quantities, in this order; those that it does not have are NaN."""
    names: Sequence[str] = tuple(quantities)
    index = [estimate.names.index(name) if name in estimate.names else -1 for name in names]
    values = np.append(estimate.values, np.nan)[index]
    systematic = np.append(estimate.systematic, np.nan)[index]
    padded = np.pad(estimate.covariance, (0, 1), constant_values=np.nan)
    return replace(
        estimate,
        names=tuple(names),
        values=values,
        covariance=padded[np.ix_(index, index)],
        systematic=systematic,
        units=tuple(quantities.values()),
    )


def _text(hkl: tuple[int, int, int]) -> str:
    return "".join(str(index) for index in hkl)
