"""Live analyses of a spectrograph's frames: wavelengths, response, pressure by ruby, temperatures of both sides."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..estimate import Estimate, Floats, Quantity
from ..pyrometer_response import Lamp, Noise, Response, calibrate, fit_counts, fitted_radiance
from ..pyrometry import SpectralFit, Spectrum, SystematicTerms
from ..ruby import CALIBRATION_ERROR_NM, fit_lines, ruby_pressure
from ..strips import FULL_SCALE, Strip, cut_strips
from ..wavelength_calibration import Spectrograph, WavelengthScale, calibrate_wavelengths
from .analysis import LiveAnalysis, independent

SIDES = ("upstream", "downstream")
TEMPERATURES = ("temperature", "temperature_upstream", "temperature_downstream")
SAME_CENTRE_NM = 0.05
LARGEST_ERROR = 0.1
"""A temperature less well known than that is none."""


class Camera:
    """Reads frames as the camera's and the spectrograph's readings and configuration describe them."""

    def __init__(self, names: Mapping[str, str], full_scale: float = FULL_SCALE) -> None:
        self.camera, self.spectrograph = names["camera"], names["spectrograph"]
        self.full_scale = full_scale

    def strips(self, event: Mapping[str, Any], configuration: Mapping[str, Any]) -> list[Strip]:
        """Upstream and downstream."""
        rows = [
            (int(first), int(last)) for first, last in (configuration[f"{self.camera}_{side}_rows"] for side in SIDES)
        ]
        exposure_s = float(event[f"{self.camera}_exposure"])
        return cut_strips(event[f"{self.camera}_image"], rows, exposure_s, full_scale=self.full_scale)

    def setting(self, event: Mapping[str, Any], configuration: Mapping[str, Any]) -> tuple[float, float]:
        """Centre in nm and grooves per mm."""
        installed = configuration[f"{self.spectrograph}_gratings"]
        grooves = float(installed[int(event[f"{self.spectrograph}_grating"]) - 1])
        return float(event[f"{self.spectrograph}_wavelength"]), grooves

    def nominal_nm(self, setting: tuple[float, float], configuration: Mapping[str, Any], n: int) -> Floats:
        """By its data sheet."""
        focal, included, pixel = (
            float(configuration[f"{self.camera}_{key}"]) for key in ("focal_length", "included_angle", "pixel_size")
        )
        return Spectrograph(focal, included, pixel).wavelengths(*setting, n)

    def noise(self, configuration: Mapping[str, Any]) -> Noise:
        """Of a pixel."""
        return Noise(float(configuration[f"{self.camera}_gain"]), float(configuration[f"{self.camera}_read_noise"]))


class FrameAnalysis(LiveAnalysis):
    """An analysis of the frames of one stream."""

    taken: str
    """The stream."""

    def __init__(self, camera: Camera) -> None:
        super().__init__()
        self.camera = camera
        self.listens = self.recorded_after = frozenset({self.taken})

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """The result of one frame."""
        return self.reduce_frame(event, self.camera.strips(event, self._configuration))

    def moment(self, event: Mapping[str, Any]) -> float:
        """The middle of the exposure."""
        return super().moment(event) - 0.5 * float(event["data"][f"{self.camera.camera}_exposure"])

    def reduce_frame(self, event: Mapping[str, Any], strips: list[Strip]) -> Estimate | None:
        """The result of one frame of these strips. Raises ValueError."""
        raise NotImplementedError


class SpectralAnalysis(FrameAnalysis):
    """One that records the spectra too that its latest result derives from, as arrays beside it."""

    UNITS: Mapping[str, str]
    """Of each array, by what it is."""

    def __init__(self, camera: Camera) -> None:
        super().__init__(camera)
        self.arrays: dict[str, Floats] = {}

    def read(self) -> dict[str, Any]:
        """The latest result, and its spectra."""
        arrays = {f"{self.name}_{key}": {"value": v, "timestamp": self._timestamp} for key, v in self.arrays.items()}
        return {**super().read(), **arrays}

    def describe(self) -> dict[str, Any]:
        """The data keys."""
        source = f"analysis:{self.name}"
        arrays = {
            f"{self.name}_{key}": {"source": source, "dtype": "array", "shape": list(v.shape), "units": self.UNITS[key]}
            for key, v in self.arrays.items()
        }
        return {**super().describe(), **arrays}


class Filling(FrameAnalysis):
    """How full the fullest pixel of each frame of a stream is: what exposures are chosen by."""

    def __init__(self, camera: Camera, what: str) -> None:
        self.taken, self.name = f"{what}_frames", f"{what}_filling"
        self.quantities = {self.name: ""}
        super().__init__(camera)

    def reduce_frame(self, event: Mapping[str, Any], strips: list[Strip]) -> Estimate:
        """As a share of full scale."""
        full = max(float(strip.filling.max()) for strip in strips)
        return independent((self.name,), (full,), (0.0,), (0.0,), ("",), "fullest pixel over full scale")


class Wavelengths(FrameAnalysis):
    """Wavelengths of the columns at each setting of the spectrograph, from the lines of a pencil lamp."""

    name = "wavelengths"
    taken = "pen_lamp_frames"
    quantities: Mapping[str, str] = {"centre_wavelength": "nm", "dispersion": "nm"}

    def __init__(self, camera: Camera) -> None:
        super().__init__(camera)
        self._scales: dict[tuple[float, float], WavelengthScale] = {}

    def reduce_frame(self, event: Mapping[str, Any], strips: list[Strip]) -> Estimate:
        """The centre, and nm per column there; both sides share the grating."""
        setting = self.camera.setting(event, self._configuration)
        counts = np.sum([strip.counts for strip in strips], axis=0)
        nominal = self.camera.nominal_nm(setting, self._configuration, len(counts))
        scale = calibrate_wavelengths(counts, nominal)
        self._scales[setting_key(setting)] = scale
        middle = len(nominal) // 2
        per_column = float(np.gradient(scale.wavelength_nm)[middle])
        error = float(scale.error_nm[middle])
        return independent(
            tuple(self.quantities),
            (float(scale.wavelength_nm[middle - 1 : middle + 1].mean()), per_column),
            (error, error / middle),
            (0.0, 0.0),
            tuple(self.quantities.values()),
            f"{len(scale.lines_nm)} lines of mercury and neon, scatter {scale.scatter_nm:.3f} nm",
        )

    def at(self, setting: tuple[float, float]) -> WavelengthScale:
        """Those of a setting. Raises ValueError where no lamp was seen with it."""
        if setting_key(setting) not in self._scales:
            raise ValueError(f"{setting[0]:.2f} nm with {setting[1]:g} grooves/mm: no lamp was seen with this setting")
        return self._scales[setting_key(setting)]


class Responses(FrameAnalysis):
    """Response of both sides from a lamp of known temperature."""

    name = "response"
    taken = "lamp_frames"
    quantities: Mapping[str, str] = {"lamp_upstream": "1/s", "lamp_downstream": "1/s"}

    def __init__(self, camera: Camera, wavelengths: Wavelengths, lamp: Lamp, range_nm: tuple[float, float]) -> None:
        super().__init__(camera)
        self.lamp, self._range_nm, self._wavelengths = lamp, range_nm, wavelengths
        self.setting: tuple[float, float] | None = None
        self.sides: list[Response] = []
        """Counts per second and radiance."""

    def reduce_frame(self, event: Mapping[str, Any], strips: list[Strip]) -> Estimate:
        """Counts per second in the fitted range; `sides` have the response."""
        setting = self.camera.setting(event, self._configuration)
        nm, columns = self.columns(setting)
        noise, sides, rates = self.camera.noise(self._configuration), [], []
        for name, strip in zip(SIDES, strips, strict=True):
            counts = strip.counts[columns]
            if strip.full[columns].any():
                raise ValueError(f"the lamp saturates {int(strip.full[columns].sum())} columns {name}: expose less")
            response = calibrate(1e-9 * nm, counts, self.lamp, noise.variance(counts, strip.n_rows))
            sides.append(replace(response, counts_per_radiance=response.counts_per_radiance / strip.exposure_s))
            rates.append((counts.sum() / strip.exposure_s, math.sqrt(noise.variance(counts, strip.n_rows).sum())))
        self.sides, self.setting = sides, setting
        values, errors = zip(*rates, strict=True)
        return independent(
            tuple(self.quantities),
            values,
            [error / strip.exposure_s for error, strip in zip(errors, strips, strict=True)],
            (0.0, 0.0),
            tuple(self.quantities.values()),
            f"black body of {self.lamp.temperature_k:g} K",
        )

    def columns(self, setting: tuple[float, float]) -> tuple[Floats, slice]:
        """Wavelengths of the fitted range, and its columns. Raises ValueError."""
        nm = self._wavelengths.at(setting).wavelength_nm
        low, high = self._range_nm
        if not nm[0] <= low < high <= nm[-1]:
            raise ValueError(f"the camera sees {nm[0]:.0f}-{nm[-1]:.0f} nm, not {low:g}-{high:g} nm")
        columns = slice(int(np.searchsorted(nm, low)), int(np.searchsorted(nm, high, side="right")))
        return nm[columns], columns


class Ruby(SpectralAnalysis):
    """Pressure of the cold cell from the fluorescence of ruby."""

    name = "ruby"
    taken = "ruby_frames"
    quantities: Mapping[str, str] = {"ruby_pressure": "GPa", "ruby_wavelength": "nm"}
    UNITS: Mapping[str, str] = {"spectrum_wavelength": "nm", "spectrum_counts": "counts"}

    def __init__(self, camera: Camera, wavelengths: Wavelengths, scale: str) -> None:
        super().__init__(camera)
        self._wavelengths, self._scale = wavelengths, scale

    def reduce_frame(self, event: Mapping[str, Any], strips: list[Strip]) -> Estimate:
        """From the upstream side, where ruby is excited."""
        known = self._wavelengths.at(self.camera.setting(event, self._configuration))
        error_nm = math.hypot(CALIBRATION_ERROR_NM, float(known.error_nm.max()))
        strip = strips[0]
        self.arrays = {"spectrum_wavelength": known.wavelength_nm, "spectrum_counts": strip.counts}
        lines = fit_lines(known.wavelength_nm, strip.counts, saturated=strip.full, calibration_error_nm=error_nm)
        pressure = ruby_pressure(lines, scale=self._scale)
        found = (pressure.quantity("pressure"), lines.quantity("wavelength"))
        return Estimate(
            names=tuple(self.quantities),
            values=np.array([quantity.value for quantity in found]),
            covariance=np.diag([quantity.error**2 for quantity in found]),
            systematic=np.array([quantity.systematic for quantity in found]),
            units=tuple(self.quantities.values()),
            model=lines.model,
            chi2_red=lines.chi2_red,
            n_points=lines.n_points,
            scale=pressure.scale,
        )


class Pyrometer(SpectralAnalysis):
    """Temperatures of both sides from their thermal radiation; NaN for a side without enough light.

    Records radiance and fitted radiance (2, n) at the wavelengths (n,) too, NaN where a pixel was full.
    """

    UNITS: Mapping[str, str] = {"wavelength": "nm", "radiance": "W/m^3/sr", "fitted": "W/m^3/sr"}

    def __init__(self, camera: Camera, responses: Responses, terms: SystematicTerms, name: str) -> None:
        self.taken, self.name = f"{name}_frames", name
        grey = [f"emissivity_{side}" for side in SIDES]
        self.quantities = {**dict.fromkeys(TEMPERATURES, "K"), **dict.fromkeys(grey, "")}
        super().__init__(camera)
        self._responses, self._terms = responses, terms
        self.seen: list[tuple[float, Estimate]] = []
        """Middle of the exposure, and result, of each frame that has both temperatures."""
        self._time_s = 0.0

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """The temperatures of one frame."""
        self._time_s = time_s
        return super().reduce(stream, event, time_s)

    def reduce_frame(self, event: Mapping[str, Any], strips: list[Strip]) -> Estimate:
        """Planck fits; what is common to both sides is in the systematic error of both, and of their mean."""
        nm, columns = self._columns(event)
        fits = []
        self.arrays = {"wavelength": nm, **{key: np.full((2, len(nm)), np.nan) for key in ("radiance", "fitted")}}
        for side, strip in enumerate(strips):
            fits.append(self._fit(nm, columns, strip, side))
        sides = [_temperature(fit) for fit in fits]
        grey = [math.nan if fit is None else float(fit.estimate.values[1]) for fit in fits]
        values = np.array([np.mean([side.value for side in sides]), *(side.value for side in sides), *grey])
        (up, down) = (side.error**2 for side in sides)
        covariance = np.zeros((5, 5))
        covariance[:3, :3] = [[0.25 * (up + down), 0.5 * up, 0.5 * down], [0.5 * up, up, 0.0], [0.5 * down, 0.0, down]]
        systematic = [side.systematic for side in sides]
        estimate = Estimate(
            names=tuple(self.quantities),
            values=values,
            covariance=covariance,
            systematic=np.array([np.mean(systematic), *systematic, math.nan, math.nan]),
            units=tuple(self.quantities.values()),
            model="Planck, grey body, each side",
            chi2_red=math.nan if None in fits else float(np.mean([fit.estimate.chi2_red for fit in fits if fit])),
            n_points=sum(fit.estimate.n_points for fit in fits if fit),
            scale=f"lamp of {self._responses.lamp.temperature_k:g} K",
        )
        if np.isfinite(values[0]):
            self.seen.append((self._time_s, estimate))
        return estimate

    def _columns(self, event: Mapping[str, Any]) -> tuple[Floats, slice]:
        """Wavelengths of the fitted range, and its columns. Raises ValueError for a setting without a lamp."""
        setting = self.camera.setting(event, self._configuration)
        if self._responses.setting is None or setting_key(setting) != setting_key(self._responses.setting):
            raise ValueError(f"{setting[0]:.2f} nm with {setting[1]:g} grooves/mm: no lamp was seen with this setting")
        return self._responses.columns(setting)

    def _fit(self, nm: Floats, columns: slice, strip: Strip, side: int) -> SpectralFit | None:
        """Of one side; None where there is too little light."""
        known = self._responses.sides[side]
        response = replace(known, counts_per_radiance=known.counts_per_radiance * strip.exposure_s)
        per_radiance, full = response.counts_per_radiance, strip.full[columns]
        radiance = strip.counts[columns] / per_radiance
        self.arrays["radiance"][side, ~full] = radiance[~full]
        try:
            spectrum = Spectrum(
                1e-9 * nm,
                radiance,
                saturated=full,
                filling=strip.filling[columns],
                zero_error=strip.level_error / per_radiance,
                response_error=response.relative_error,
            )
            noise = self.camera.noise(self._configuration)
            fit, _ = fit_counts(spectrum, response, noise, strip.n_rows, self._terms, scale=self._responses.lamp.name)
        except ValueError:  # no thermal light in it, or hardly any pixel that is not full
            return None
        temperature = fit.estimate.quantity("temperature")
        if not temperature.error < LARGEST_ERROR * temperature.value:
            return None
        self.arrays["fitted"][side] = fitted_radiance(spectrum, fit)
        return fit


def setting_key(setting: tuple[float, float]) -> tuple[float, float]:
    """What settings have in common that the spectrograph cannot tell apart."""
    return round(setting[0] / SAME_CENTRE_NM), setting[1]


def _temperature(fit: SpectralFit | None) -> Quantity:
    return Quantity(math.nan, math.nan, math.nan, "K") if fit is None else fit.estimate.quantity("temperature")
