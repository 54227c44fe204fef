"""Settings of `analyse deformation` on energy-dispersive files: names with units, text in, values out."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .elasticity import CubicElasticity
from .equations_of_state import D_SCALE_ERROR, EOS_ERROR
from .estimate import Quantity
from .lattice_strain import StressSettings
from .phases import CORUNDUM, MGO
from .readers.med import MedFile

Miller = tuple[int, int, int]
Floats = NDArray[np.float64]

_TEN_ELEMENTS = np.append(22.5 * np.arange(9), 270.0)

ACCEPTED = {
    "phase": "auto, MgO, corundum or any name (then lines= with spacings, or lattice_parameter_angstrom= if cubic)",
    "lines": "Miller indices to use, 200,220; of a phase that is not cubic with spacings in angstrom, 012:3.4797",
    "other_lines_angstrom": "spacings of other phases' lines to fit in the same windows",
    "windows_kev": "energy windows of lines, 200:51.2-53.3",
    "lattice_parameter_angstrom": "where to look for a cubic phase, within 2 %",
    "azimuths": "FILE with number and azimuth in each row, or the azimuths in degrees",
    "axis_azimuth_deg": "azimuth of the compression axis in the frame of the azimuths",
    "two_theta_deg": "diffraction angle of all detectors, where the files have none",
    "two_theta_error_deg": "standard uncertainty of each detector's angle",
    "standard": "FILE with corundum at ambient conditions to calibrate two theta",
    "temperature_k": "temperature of the marker",
    "temperature_error_k": "its systematic standard uncertainty",
    "temperature_pv": "process variable in the header that holds the temperature in Celsius",
    "elastic_constants_gpa": "C11,C12,C44 of the cubic phase at the conditions of the experiment",
    "elastic_error": "relative standard uncertainty of the elastic constants",
    "alpha": "weight of the Reuss bound, 0 to 1",
    "alpha_error": "its standard uncertainty",
    "hkl_error": "relative standard uncertainty of each line's lattice strain (plastic anisotropy)",
    "d_scale_error": "relative standard uncertainty of all spacings together",
    "eos_error": "relative standard uncertainty of the pressure scale",
}


@dataclass(frozen=True)
class Settings(StressSettings):
    """What `ACCEPTED` describes, as values."""

    phase: str = "auto"
    lines: tuple[tuple[Miller, float | None], ...] = ()
    other_lines_angstrom: tuple[float, ...] = ()
    windows_kev: dict[Miller, tuple[float, float]] = field(default_factory=dict)
    lattice_parameter_angstrom: float = 4.17
    lattice_parameter_given: bool = False
    azimuths: Floats | None = None
    axis_azimuth_deg: float = 0.0
    two_theta_deg: float | None = None
    two_theta_error_deg: float = 0.001  # about what a standard shows between its lines
    standard: Path | None = None
    temperature_k: float | None = None
    temperature_error_k: float | None = None
    temperature_pv: str | None = None
    elasticity: CubicElasticity | None = None
    d_scale_error: float = D_SCALE_ERROR
    eos_error: float = EOS_ERROR

    search = 0.02

    @property
    def hkl(self) -> tuple[Miller, ...]:
        """Indices of the cubic lines to use."""
        return tuple(hkl for hkl, _ in self.lines) or ((1, 1, 1), (2, 0, 0), (2, 2, 0), (2, 2, 2))

    def cubic(self, phase: str) -> bool:
        """Whether lines follow from one lattice parameter."""
        return phase == MGO or (phase != CORUNDUM and self.lattice_parameter_given)

    def spaced_lines(self) -> list[tuple[Miller, float]]:
        """Lines of a phase that is not cubic.

        Raises:
            ValueError: a spacing is missing.
        """
        spaced = [(hkl, d) for hkl, d in self.lines if d is not None]
        if not spaced or len(spaced) != len(self.lines):
            raise ValueError(f"setting lines: phase {self.phase} needs spacings, such as 012:3.4797,104:2.5508")
        return spaced

    def azimuths_of(self, n_detectors: int) -> tuple[Floats, list[str]]:
        """Azimuth of each detector and what to say about it.

        Raises:
            ValueError: the settings give another number of detectors.
        """
        if self.azimuths is not None:
            if len(self.azimuths) != n_detectors:
                raise ValueError(f"setting azimuths: {len(self.azimuths)} azimuths for {n_detectors} detectors")
            return self.azimuths, []
        if n_detectors == len(_TEN_ELEMENTS):
            return _TEN_ELEMENTS, ["azimuths assumed: 0 to 180 in steps of 22.5, then 270 (set azimuths=FILE)"]
        return np.full(n_detectors, np.nan), [f"azimuths of {n_detectors} detectors unknown: set azimuths=FILE"]

    def temperature(self, med: MedFile) -> Quantity | None:
        """Temperature of the marker in K with a systematic error, from the settings or the file's header.

        Raises:
            ValueError: the process variable asked for is not in the header or is no number.
        """
        kelvin, pv = self.temperature_k, self.temperature_pv or _thermocouple(med)
        if kelvin is None and pv is not None:
            text = med.environment.get(pv, ("", ""))[0]
            try:
                kelvin = float(text) + 273.15
            except ValueError:
                raise ValueError(f"{med.path}: header has no number for temperature_pv {pv}: {text!r}") from None
        if kelvin is None:
            return None
        # 0.5 % of the emf scale and 1 % for the gradient between junction and sample
        default = float(np.hypot(0.005 * (kelvin - 273.15), 0.01 * (kelvin - 300.0)))
        error = default if self.temperature_error_k is None else self.temperature_error_k
        return Quantity(kelvin, 0.0, error, "K")


def _thermocouple(med: MedFile) -> str | None:
    for pv, (_, description) in med.environment.items():
        if re.search(r"thermocouple.*temperature", description, re.IGNORECASE):
            return pv
    return None


def read_settings(settings: Mapping[str, str]) -> Settings:
    """Settings from text.

    Raises:
        ValueError: a name is not known (the message lists the accepted ones) or a value cannot be read.
    """
    for name in settings:
        if name not in ACCEPTED:
            raise ValueError(f"unknown setting {name!r} for .med files: accepted are {', '.join(ACCEPTED)}")
    values: dict[str, object] = {}
    for name, text in settings.items():
        try:
            values[_FIELD.get(name, name)] = _READERS.get(name, _number)(str(text).strip())
        except (ValueError, OSError) as problem:
            raise ValueError(f"setting {name}={text!s:.60}: {problem}; expected {ACCEPTED[name]}") from None
    values["lattice_parameter_given"] = "lattice_parameter_angstrom" in values
    return Settings(**values)  # type: ignore[arg-type]


def _number(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", text) if word]


def _miller(text: str) -> Miller:
    if re.fullmatch(r"-?\d-?\d-?\d", text):
        h, k, m = (int(index) for index in re.findall(r"-?\d", text))
        return h, k, m
    raise ValueError(f"{text!r} is not three Miller indices of one figure")


def _lines(text: str) -> tuple[tuple[Miller, float | None], ...]:
    pairs = [word.partition(":") for word in _words(text)]
    return tuple((_miller(hkl), _number(d) if colon else None) for hkl, colon, d in pairs)


def _windows(text: str) -> dict[Miller, tuple[float, float]]:
    windows = {}
    for word in _words(text):
        match = re.fullmatch(r"([-\d]+):([\d.]+)-([\d.]+)", word)
        if not match or float(match[2]) >= float(match[3]):
            raise ValueError(f"{word!r} is not hkl:low-high")
        windows[_miller(match[1])] = (float(match[2]), float(match[3]))
    return windows


def _azimuths(text: str) -> Floats:
    try:
        return np.array([_number(word) for word in _words(text)])
    except ValueError:
        return read_azimuths(Path(text))


def read_azimuths(path: Path) -> Floats:
    """Azimuths in degrees from a file whose rows hold the detector's number and its azimuth; `#` begins a comment.

    Raises:
        ValueError: a row is not of this kind, or the numbers are not 1, 2, 3, ...; file and line are named.
        OSError: the file cannot be opened.
    """
    azimuths: list[float] = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        words = _words(line.partition("#")[0])
        if not words:
            continue
        try:
            detector, azimuth = int(words[0]), _number(words[1])
        except (ValueError, IndexError):
            raise ValueError(f"{path}: line {number}: expected a detector's number and its azimuth") from None
        if detector != len(azimuths) + 1:
            raise ValueError(f"{path}: line {number}: detector {detector} where {len(azimuths) + 1} was expected")
        azimuths.append(azimuth)
    if not azimuths:
        raise ValueError(f"{path}: line 1: no azimuth in the file")
    return np.array(azimuths)


def _elastic(text: str) -> CubicElasticity:
    constants = [_number(word) for word in _words(text)]
    if len(constants) != 3:
        raise ValueError(f"{len(constants)} numbers")
    c11, c12, c44 = constants
    return CubicElasticity(c11, c12, c44, f"C11, C12, C44 = {c11:g}, {c12:g}, {c44:g} GPa")


_FIELD = {"elastic_constants_gpa": "elasticity"}
_READERS: dict[str, Callable[[str], object]] = {
    "phase": str,
    "lines": _lines,
    "other_lines_angstrom": lambda text: tuple(_number(word) for word in _words(text)),
    "windows_kev": _windows,
    "azimuths": _azimuths,
    "standard": Path,
    "temperature_pv": str,
    "elastic_constants_gpa": _elastic,
}
