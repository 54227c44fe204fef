"""Live analyses of the deformation experiment, and its scalar results over the steady window."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimate import Estimate
from ..marker_profiles import Template
from ..markers import Markers, measure_markers
from ..radiography import FOIL_BENDING, sample_offset, strain, strain_rate
from ..steady_state import steady_window, window_average
from ..thermocouples import EMF_NOISE_V, sample_temperature
from .analysis import LiveAnalysis, RunResults, Series, independent
from .patterns import PATTERNS, DetectorCalibration, Patterns, Pressure, Stress, Texture

FIGURES = (
    {"title": "differential stress against strain", "stream": PATTERNS, "x": "strain", "y": "differential_stress"},
    {"title": "strain", "stream": "strain", "x": "time", "y": "strain"},
    {"title": "pressure", "stream": PATTERNS, "x": "time", "y": "pressure"},
    {"title": "temperature", "stream": PATTERNS, "x": "time", "y": "temperature"},
)

LEAST_RADIOGRAPHS = 4


class Temperature(LiveAnalysis):
    """Sample temperature from the thermocouple: the mean of its readings during the exposure of a pattern."""

    name = "temperature"
    stream = PATTERNS
    listens = frozenset({"conditions", "diffraction"})
    recorded_after = frozenset({"diffraction"})
    quantities: Mapping[str, str] = {"temperature": "K"}

    def __init__(self, thermocouple: str, detector: str) -> None:
        super().__init__()
        self.thermocouple, self.detector = thermocouple, detector
        self._readings: list[tuple[float, float, float]] = []

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """Temperature from the readings that have come together."""
        if stream == "conditions":
            emf_v, cold_c = event[f"{self.thermocouple}_emf"], event[f"{self.thermocouple}_cold_junction"]
            self._readings.append((time_s, emf_v, cold_c))
            return None
        if not self._readings:
            return None
        begun_s = time_s - float(np.max(event[f"{self.detector}_real_time"]))
        during = [reading for reading in self._readings if reading[0] >= begun_s] or self._readings[-1:]
        _, emf_v, cold_c = np.mean(during, axis=0)
        scatter_v = np.std([emf for _, emf, _ in during], ddof=1) if len(during) > 1 else 0.0
        error_v = max(scatter_v, EMF_NOISE_V) / math.sqrt(len(during))
        self._readings.clear()
        return sample_temperature(float(emf_v), float(error_v), float(cold_c))


class Foils:
    """The marker foils of one run: their profile is found in the first radiograph and kept for all others."""

    def __init__(self) -> None:
        self._templates: tuple[Template, Template] | None = None

    def measure(self, image: NDArray[np.uint16]) -> Markers:
        """Where the foils are. Raises ValueError."""
        markers = measure_markers(image, self._templates)
        self._templates = markers.templates
        return markers


class Position(LiveAnalysis):
    """Offset of the sample from the middle of the radiograph."""

    name = "position"
    listens = frozenset({"centring"})
    recorded_after = frozenset({"centring"})
    quantities: Mapping[str, str] = {"offset_x": "um", "offset_y": "um"}

    def __init__(self, camera: str, foils: Foils) -> None:
        super().__init__()
        self.camera, self.foils = camera, foils

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate:
        """Offset in one radiograph."""
        image, pixel_um = event[f"{self.camera}_image"], float(self._configuration[f"{self.camera}_pixel_size"])
        return sample_offset(image, pixel_um, self.foils.measure(image))


class Strain(LiveAnalysis):
    """Strain since the reference radiographs, and strain rate over the last `window_s`.

    Once the strain has passed `plastic_from`, the window no longer reaches back to the elastic loading before it. After
    a pause there is no rate before the strain has grown by that much again, and none that reaches back to the pause.
    """

    name = "strain"
    listens = frozenset({"reference", "radiograph", "pauses"})
    recorded_after = frozenset({"radiograph"})
    quantities: Mapping[str, str] = {"strain": "", "strain_rate": "1/s", "separation": "px"}

    def __init__(self, camera: str, foils: Foils, window_s: float, plastic_from: float) -> None:
        super().__init__()
        self.camera, self.foils = camera, foils
        self.window_s, self.plastic_from = window_s, plastic_from
        self.zero_s = math.nan
        self._reference: list[Markers] = []
        self.pauses_s: list[float] = []
        """When pauses of the run were over."""
        self._settled_from: float | None = None
        """The strain from which there is a rate again; None as long as no pause has come into the deformation."""
        self._points: list[tuple[float, float, float]] = []

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """Strain from one radiograph."""
        if stream == "pauses":
            self.pauses_s.append(event["pause_went_on"])
            if self._points:
                self._settled_from = self._points[-1][1] + self.plastic_from
            return None
        markers = self.foils.measure(event[f"{self.camera}_image"])
        if stream == "reference":
            self._reference.append(markers)
            self.zero_s = time_s
            return None
        common_px = self._reference[0].template_error_px if self._reference else 0.0
        now = strain(*self._zero(), markers.separation_px, markers.separation_error_px, template_error_px=common_px)
        shortened = now.quantity("strain")
        self._points.append((time_s, shortened.value, shortened.error))
        rate = self._rate()
        return independent(
            tuple(self.quantities),
            (shortened.value, rate[0], markers.separation_px),
            (shortened.error, rate[1], markers.separation_error_px),
            (shortened.systematic, rate[2], 0.0),
            tuple(self.quantities.values()),
            now.model,
        )

    def _zero(self) -> tuple[float, float]:
        """Separation at zero strain and its error. Raises ValueError before any reference."""
        if not self._reference:
            raise ValueError("no reference radiograph was taken")
        separations = np.array([markers.separation_px for markers in self._reference])
        errors = np.array([markers.separation_error_px for markers in self._reference])
        weight = errors**-2
        return float(weight @ separations / weight.sum()), float(weight.sum() ** -0.5)

    def _rate(self) -> tuple[float, float, float]:
        since_s = max(self._points[-1][0] - self.window_s, *self.pauses_s[-1:], -math.inf)
        recent = [point for point in self._points if point[0] >= since_s]
        plastic = [point for point in recent if point[1] >= (self._settled_from or self.plastic_from)]
        if len(plastic) >= LEAST_RADIOGRAPHS or self._settled_from is not None:
            recent = plastic
        if len(recent) < LEAST_RADIOGRAPHS:
            return math.nan, math.nan, math.nan
        rate = strain_rate(*np.array(recent).T).quantity("strain_rate")
        return rate.value, rate.error, rate.systematic


class Steadiness(LiveAnalysis):
    """Whether the stress has been steady over the declared span of strain; recorded when that changes."""

    name = "steadiness"
    listens = frozenset({"diffraction"})
    recorded_after = frozenset({"diffraction"})
    quantities: Mapping[str, str] = {"steady": ""}

    def __init__(self, stress: Stress, strain_: Strain, span: float, tolerance: float) -> None:
        super().__init__()
        self.stress, self.strain = stress, strain_
        self.span, self.tolerance = span, tolerance

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """1 for steady, 0 for not yet."""
        if self.strain.estimate is None:
            return None
        steady = self.window() is not None
        if steady == (self.value("steady") == 1.0) and self.estimate is not None:
            return None
        return independent(("steady",), (float(steady),), (0.0,), (0.0,), ("",), self.criterion)

    @property
    def criterion(self) -> str:
        """The declared criterion."""
        return f"stress changes by less than {self.tolerance:.0%} over the last {self.span:g} of strain"

    def window(self) -> tuple[float, float] | None:
        """First and last moment (s) of the steady stress; None while there is none."""
        stresses, strains = self._both()
        if len(stresses) < LEAST_RADIOGRAPHS:
            return None
        found = steady_window(strains, stresses.value, stresses.error, span=self.span, tolerance=self.tolerance)
        return None if found is None else (float(stresses.time_s[found][0]), float(stresses.time_s[found][-1]))

    def last_span(self) -> tuple[float, float] | None:
        """First and last moment of the last span of strain, steady or not."""
        stresses, strains = self._both()
        if not len(stresses):
            return None
        inside = strains >= strains[-1] - self.span
        return float(stresses.time_s[inside][0]), float(stresses.time_s[-1])

    def _both(self) -> tuple[Series, np.ndarray]:
        """Stress while the rams advanced, since the last pause if that is long ago, and the strain at its moments."""
        shortening, stresses = self.strain.series("strain"), self.stress.series("differential_stress")
        if not len(shortening):
            return stresses.within(math.inf, math.inf), np.empty(0)
        start_s, stop_s = self.strain.zero_s, float(shortening.time_s[-1])
        edges = [start_s, *(moment for moment in self.strain.pauses_s if start_s < moment < stop_s), stop_s]
        stretches = [stresses.within(*between) for between in itertools.pairwise(edges)]
        stresses = next((part for part in stretches[::-1] if len(part) >= LEAST_RADIOGRAPHS), max(stretches, key=len))
        return stresses, np.interp(stresses.time_s, shortening.time_s, shortening.value)


class Results(RunResults):
    """The scalar results of the run: averages over the steady window, or over the last span of strain where none is."""

    quantities: Mapping[str, str] = {
        "pressure": "GPa",
        "temperature": "K",
        "strain": "",
        "strain_rate": "1/s",
        "differential_stress": "GPa",
        "texture_index": "",
    }
    WINDOW = ("window_start", "window_stop", "window_zero")

    def __init__(self, analyses: Mapping[str, LiveAnalysis], steadiness: Steadiness) -> None:
        super().__init__()
        self.analyses, self.steadiness = analyses, steadiness

    def conclude(self) -> None:
        """Average."""
        span = self.steadiness.window() or self.steadiness.last_span()
        if span is None:
            return
        self.window = (*span, self.steadiness.strain.zero_s)
        steady = self.steadiness.window() is not None
        final = self.analyses["strain"].value("strain")
        model = (
            f"mean over the window; {'steady' if steady else 'NOT steady'}: {self.steadiness.criterion}; "
            f"the deformation ended at a strain of {final:.4f}"
        )
        means = [self._mean(name, span) for name in self.quantities]
        values, errors, systematic = zip(*means, strict=True)
        self.estimate = independent(tuple(self.quantities), values, errors, systematic, self.units, model)

    @property
    def units(self) -> tuple[str, ...]:
        """Units in the order of the quantities."""
        return tuple(self.quantities.values())

    def _mean(self, quantity: str, span: tuple[float, float]) -> tuple[float, float, float]:
        """Mean of a quantity over the window, its statistical and systematic error."""
        owner = next(a for a in self.analyses.values() if quantity in a.quantities)
        if quantity == "strain_rate":
            part = owner.series("strain").within(*span)
            if len(part) < 2:
                return math.nan, math.nan, math.nan
            return mean_rate(part, span)
        part = owner.series(quantity)
        if quantity == "texture_index":
            return plain_mean(part.within(*span))
        try:
            mean = window_average(part.time_s, part.value, part.error, part.systematic, span, self.quantities[quantity])
        except ValueError:  # nothing of it was measured in the window
            return math.nan, math.nan, math.nan
        return mean.value, mean.error, mean.systematic


def plain_mean(part: Series) -> tuple[float, float, float]:
    """Mean of a quantity that grows with the square of another, as the texture index with strain, and its two errors.

    Its error grows with its value, so that weights would prefer low values, and a straight line would miss its bend.
    """
    if not len(part):
        return math.nan, math.nan, math.nan
    error = float(np.sqrt(np.mean(part.error**2) / len(part)))
    return float(part.value.mean()), error, float(part.systematic.mean())


def mean_rate(part: Series, span: tuple[float, float]) -> tuple[float, float, float]:
    """Mean strain rate over a window, its statistical and systematic error.

    A cubic through the strains is taken at both ends of the window: where the rate changes within it, the slope of a
    straight line would not be the mean.
    """
    degree = min(3, len(part) - 1)
    half = 0.5 * (span[1] - span[0])
    scaled = (part.time_s - span[0] - half) / half
    design = np.vander(scaled, degree + 1) / part.error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    coefficients = covariance @ design.T @ (part.value / part.error)
    chi2 = float(np.sum((part.value / part.error - design @ coefficients) ** 2))
    ends = (np.vander(np.array([1.0]), degree + 1) - np.vander(np.array([-1.0]), degree + 1))[0] / (2.0 * half)
    scale = max(1.0, chi2 / (len(part) - degree - 1)) if len(part) > degree + 1 else 1.0
    value = float(ends @ coefficients)
    return value, float(np.sqrt(ends @ covariance @ ends * scale)), FOIL_BENDING * abs(value)


def analyses(names: Mapping[str, str], parameters: Any) -> Sequence[LiveAnalysis]:
    """The live analyses of a run, in the order in which they take documents; `names` are the devices of the roles."""
    temperature = Temperature(names["thermocouple"], names["detector"])
    calibration = DetectorCalibration(names["detector"], 10)
    patterns = Patterns(names["detector"], names["press"], calibration, temperature)
    pressure = Pressure(patterns)
    stress = Stress(patterns)
    texture = Texture(patterns)
    foils = Foils()
    position = Position(names["camera"], foils)
    strain_ = Strain(names["camera"], foils, parameters.rate_window_s, parameters.steer_from_strain)
    steadiness = Steadiness(stress, strain_, parameters.steady_span, parameters.steady_tolerance)
    measured = (temperature, calibration, patterns, pressure, stress, texture, position, strain_, steadiness)
    return (*measured, Results({analysis.name: analysis for analysis in measured}, steadiness))
