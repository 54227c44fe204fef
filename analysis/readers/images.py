"""Diffraction images, their masks and calibrations (fabio and pyFAI, the extra `images`)."""

import contextlib
import importlib
import logging
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LOGGERS = ("fabio", "pyFAI", "silx")
_NEEDED = ("Distance", "Poni1", "Poni2", "Wavelength")
_PIXEL_TOLERANCE = 1e-3


class MissingExtra(ImportError, ValueError):
    """A package of an optional extra is not installed; the message says which."""


@dataclass(frozen=True)
class DiffractionImage:
    """Counts (rows, columns), `valid` pixels (False where the detector says it has none), pixel size in m if known."""

    path: Path
    counts: Floats
    valid: Bools
    pixel_m: tuple[float, float] | None


@dataclass(frozen=True)
class Calibration:
    """Geometry of a detector from a .poni file: wavelength in angstrom, pixel size in m, shape where it is given."""

    path: Path
    wavelength_angstrom: float
    pixel_m: tuple[float, float]
    shape: tuple[int, int] | None
    integrator: Any = field(repr=False)

    def angles(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Two theta and azimuth in degrees (rows, columns); azimuth 0 along columns, 90 along rows."""
        with _quiet():
            two_theta = self.integrator.center_array(shape, unit="2th_deg")
            azimuth = self.integrator.center_array(shape, unit="chi_deg")
        return np.asarray(two_theta, dtype=float), np.asarray(azimuth, dtype=float)


def read_image(path: str | Path) -> DiffractionImage:
    """An image in any format that fabio knows (.tif, .edf, .cbf, ...); negative pixels are not valid.

    Raises:
        ValueError: the file cannot be read or holds no two-dimensional image; one line with the path.
        MissingExtra: fabio is not installed.
    """
    opened = _open(Path(path))
    counts = np.asarray(opened.data, dtype=float)
    if counts.ndim != 2 or min(counts.shape) < 16:
        raise ValueError(f"{path}: an image has two dimensions of at least 16 pixels, not {counts.shape}")
    valid = np.isfinite(counts) & (counts >= 0.0)
    return DiffractionImage(Path(path), np.where(valid, counts, 0.0), valid, _pixel_size(opened.header))


def read_mask(path: str | Path, shape: tuple[int, int]) -> Bools:
    """Pixels to leave out (rows, columns) from a mask file such as Dioptas writes (.mask, a compressed TIFF).

    Raises:
        ValueError: the file cannot be read or has another shape than the image.
        MissingExtra: fabio is not installed.
    """
    mask = np.asarray(_open(Path(path)).data) != 0
    if mask.shape != shape:
        raise ValueError(f"{path}: mask of {_size(mask.shape)} pixels for an image of {_size(shape)}")
    return np.asarray(mask)


def read_calibration(path: str | Path) -> Calibration:
    """A .poni file of pyFAI or Dioptas.

    Raises:
        ValueError: the file cannot be read, lacks a value or holds an impossible one; one line with the path.
        MissingExtra: pyFAI is not installed.
    """
    values = _poni_values(Path(path))
    integrator_module = _extra("pyFAI.integrator.azimuthal")
    try:
        with _quiet():
            integrator = integrator_module.AzimuthalIntegrator()
            integrator.load(str(path))
    except Exception as problem:  # pyFAI raises whatever its parsers raise
        raise ValueError(f"{path}: pyFAI cannot use this .poni file: {_first_line(problem)}") from None
    detector = integrator.detector
    pixel = (float(detector.pixel1 or math.nan), float(detector.pixel2 or math.nan))
    if not all(size > 0.0 for size in pixel):
        raise ValueError(f"{path}: the .poni file names no pixel size (PixelSize1, PixelSize2 or a known Detector)")
    shape = None if detector.max_shape is None else (int(detector.max_shape[0]), int(detector.max_shape[1]))
    return Calibration(Path(path), values["Wavelength"] * 1e10, pixel, shape, integrator)


def check_match(image: DiffractionImage, calibration: Calibration) -> None:
    """That image and calibration are of one detector.

    Raises:
        ValueError: shape or pixel size differ.
    """
    if calibration.shape is not None and calibration.shape != image.counts.shape:
        raise ValueError(
            f"{image.path}: image of {_size(image.counts.shape)} pixels, but {calibration.path.name} is for a detector "
            f"of {_size(calibration.shape)}"
        )
    if image.pixel_m and not np.allclose(image.pixel_m, calibration.pixel_m, rtol=_PIXEL_TOLERANCE):
        sizes = [" x ".join(f"{1e6 * size:g}" for size in pixel) for pixel in (image.pixel_m, calibration.pixel_m)]
        raise ValueError(f"{image.path}: pixels of {sizes[0]} um, but {calibration.path.name} has {sizes[1]} um")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and log messages of fabio and pyFAI, which do not concern the user of a result."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _extra(module: str) -> Any:
    try:
        with _quiet():
            return importlib.import_module(module)
    except ImportError as missing:
        package = module.partition(".")[0]
        raise MissingExtra(f"images need {package}, which is missing: pip install megabar[images]") from missing


def _open(path: Path) -> Any:
    fabio = _extra("fabio")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with _quiet():
            opened = fabio.open(str(path))
            if opened.data is None:
                raise ValueError("it holds no data")
    except Exception as problem:  # fabio raises whatever its many parsers raise
        raise ValueError(f"{path}: not an image that fabio can read: {_first_line(problem)}") from None
    return opened


def _pixel_size(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Pixel size in m along rows and columns from the headers of Dectris and ESRF images; None where it is not said."""
    number = r"([\d.]+(?:[eE][-+]?\d+)?)\s*m"
    found = re.search(rf"{number}\s*x\s*{number}", str(header.get("Pixel_size", "")))
    if found:
        return float(found[2]), float(found[1])
    try:
        return float(header["PSize_2"]), float(header["PSize_1"])
    except (KeyError, ValueError, TypeError):
        return None


def _poni_values(path: Path) -> dict[str, float]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: not a readable .poni file: {_first_line(problem)}") from None
    values: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name, colon, value = line.partition(":")
        if colon and name.strip() in _NEEDED:
            try:
                values[name.strip()] = float(value)
            except ValueError:
                raise ValueError(f"{path}: line {number}: {name.strip()} is {value.strip()!r}, not a number") from None
    missing = [name for name in _NEEDED if name not in values]
    if missing:
        raise ValueError(f"{path}: not a complete .poni file: {', '.join(missing)} missing")
    if not (all(math.isfinite(v) for v in values.values()) and values["Distance"] > 0.0 and values["Wavelength"] > 0.0):
        raise ValueError(f"{path}: Distance and Wavelength are positive numbers in m, not {values}")
    return values


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _first_line(problem: BaseException) -> str:
    return (str(problem) or type(problem).__name__).splitlines()[0][:160]
