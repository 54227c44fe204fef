"""Spectrometer files of Princeton Instruments (`.spe`): WinSpec 2.x and LightField 3.0.

Source: Princeton Instruments, "SPE 3.0 File Format Specification", and the header of version 2.5 in the manual of
WinSpec; neither was at hand, offsets and units are compared with files of both programs. The gate of an intensifier is
in ns, ExposureTime in ms. Regions of WinSpec that do not begin at the first column have no wavelengths here.
"""

import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[np.float64]

_HEADER = 4100
_MAGIC = {2996: ("<i", 0x01234567), 4098: ("<H", 0x5555)}
_WINSPEC_TYPES: dict[int, DTypeLike] = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2"}
_LIGHTFIELD_TYPES: dict[str, DTypeLike] = {
    "MonochromeUnsigned16": "<u2",
    "MonochromeUnsigned32": "<u4",
    "MonochromeFloating32": "<f4",
}
_WINSPEC_ADC_BITS = 16
_FLIPPED = "FlippedHorizontally"


@dataclass(frozen=True)
class SpectrometerFrames:
    """One region of a file as it was written; nothing is corrected.

    `counts` (n_frames, n_rows, n_columns); `wavelength_nm` (n_columns,), None where the file holds no calibration in nm
    of these columns; `exposure_s` and `centre_nm` None, `grating` and `detector` "" where the file does not say;
    `saturation` counts at which converter or number is full (inf where neither is known; where `background_subtracted`
    a full pixel reads less, by its background); `origin` and `binning` (rows, columns) of the region on the sensor.
    """

    path: Path
    counts: Floats
    wavelength_nm: Floats | None
    exposure_s: float | None
    centre_nm: float | None
    grating: str
    detector: str
    saturation: float
    background_subtracted: bool
    region: int
    n_regions: int
    origin: tuple[int, int]
    binning: tuple[int, int]


def read_spe(path: str | Path, *, region: int | None = None) -> SpectrometerFrames:
    """Read a file of WinSpec 2.x or LightField 3.0; of several regions of the sensor one (from 0) has to be chosen.

    Raises:
        ValueError: not such a file, cut short, contradicting itself, or no such region; one line with the path.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise ValueError(f"{path}: cannot be read: {problem.strerror}") from None
    if len(raw) < _HEADER or any(_at(raw, offset, form) != mark for offset, (form, mark) in _MAGIC.items()):
        raise ValueError(f"{path}: not a .spe file of WinSpec or LightField: its header of {_HEADER} bytes is missing")
    try:
        version = float(_at(raw, 1992, "<f"))
        if version >= 3.0:
            return _read_lightfield(path, raw, region)
        if version >= 2.0:
            return _read_winspec(path, raw, region)
        raise ValueError(f"version {version:g} is not read, 2.x and 3.0 are")
    except ValueError as problem:
        raise ValueError(f"{path}: {str(problem).splitlines()[0]}") from None


def _at(raw: bytes, offset: int, form: str) -> float:
    return float(struct.unpack_from(form, raw, offset)[0])


def _read_winspec(path: Path, raw: bytes, region: int | None) -> SpectrometerFrames:
    code = int(_at(raw, 108, "<h"))
    if code not in _WINSPEC_TYPES:
        raise ValueError(f"data type {code} is not known, {', '.join(map(str, _WINSPEC_TYPES))} are")
    kind = np.dtype(_WINSPEC_TYPES[code])
    n_frames, n_rows, n_columns = (int(_at(raw, *place)) for place in ((1446, "<i"), (656, "<H"), (42, "<H")))
    if int(_at(raw, 1510, "<h")) > 1:
        raise ValueError("several regions in a WinSpec file are not read, one is")
    _check_region(region, 1)
    left, _, x_group, top, _, y_group = struct.unpack_from("<6H", raw, 1512)
    stride = n_rows * n_columns * kind.itemsize
    centre, grooves, exposure = (_at(raw, offset, "<f") for offset in (72, 650, 10))
    binning = max(y_group, 1), max(x_group, 1)
    origin = max(top, 1) - 1, max(left, 1) - 1
    return SpectrometerFrames(
        path=path,
        counts=_frames(raw, len(raw), kind, (n_frames, n_rows, n_columns), stride, _HEADER),
        wavelength_nm=_winspec_wavelength(raw, n_columns) if (origin[1], binning[1]) == (0, 1) else None,
        exposure_s=exposure if exposure > 0.0 else None,
        centre_nm=centre if centre > 0.0 else None,
        grating=f"{grooves:g} grooves per mm" if grooves > 0.0 else "",
        detector="",
        saturation=_saturation(kind, _WINSPEC_ADC_BITS, int(_at(raw, 668, "<i"))),
        background_subtracted=_at(raw, 150, "<h") != 0,
        region=0,
        n_regions=1,
        origin=origin,
        binning=binning,
    )


def _winspec_wavelength(raw: bytes, n_columns: int) -> Floats | None:
    """The calibration of x, a polynomial in the number of the pixel from 1; None where there is none in nm."""
    order = raw[3101]
    if not raw[3098] or b"nm" not in raw[3018:3058] or order > 5:
        return None
    coefficients = np.frombuffer(raw, "<f8", 6, 3263)[: order + 1]
    return np.asarray(np.polynomial.polynomial.polyval(np.arange(1.0, n_columns + 1.0), coefficients), dtype=float)


def _read_lightfield(path: Path, raw: bytes, region: int | None) -> SpectrometerFrames:
    start = struct.unpack_from("<Q", raw, 678)[0]
    root = _footer(raw, start)
    frame = root.find("./{*}DataFormat/{*}DataBlock")
    if frame is None:
        raise ValueError("its XML has no DataFormat")
    name = frame.get("pixelFormat", "")
    if name not in _LIGHTFIELD_TYPES:
        raise ValueError(f"pixel format {name!r} is not known, {', '.join(_LIGHTFIELD_TYPES)} are")
    kind = np.dtype(_LIGHTFIELD_TYPES[name])
    regions = frame.findall("./{*}DataBlock")
    chosen = _check_region(region, len(regions), regions)
    block = regions[chosen]
    n_rows, n_columns = _whole(block, "height"), _whole(block, "width")
    shape = _whole(frame, "count"), n_rows, n_columns
    offset = _HEADER + sum(_whole(before, "stride") for before in regions[:chosen])
    references = block.get("calibrations", "").split(",")
    mapping = next((m for m in root.iterfind(".//{*}SensorMapping") if m.get("id") in references), None)
    origin, binning = (0, 0), (1, 1)
    if mapping is not None:
        origin = _whole(mapping, "y", 0), _whole(mapping, "x", 0)
        binning = _whole(mapping, "yBinning"), _whole(mapping, "xBinning")
    experiment = root.find("./{*}DataHistories")
    settings = root if experiment is None else experiment
    centre = settings.findtext(".//{*}Grating/{*}CenterWavelength")
    camera = settings.find(".//{*}Camera[@model]")
    n_accumulated = settings.findtext(".//{*}ReadoutControl/{*}Accumulations", "1")
    return SpectrometerFrames(
        path=path,
        counts=_frames(raw, start, kind, shape, _whole(frame, "stride"), offset),
        wavelength_nm=_lightfield_wavelength(root, n_columns, origin[1], binning[1]),
        exposure_s=_exposure(settings),
        centre_nm=None if centre is None else float(centre),
        grating=settings.findtext(".//{*}Grating/{*}Selected", "").partition("]")[0].strip("["),
        detector="" if camera is None else f"{camera.get('model')} {camera.get('serialNumber', '')}".strip(),
        saturation=_saturation(kind, int(settings.findtext(".//{*}Adc/{*}BitDepth", "0")), int(n_accumulated)),
        background_subtracted=settings.findtext(".//{*}BackgroundCorrection/{*}Enabled") == "True",
        region=chosen,
        n_regions=len(regions),
        origin=origin,
        binning=binning,
    )


def _footer(raw: bytes, start: int) -> ET.Element:
    if not _HEADER <= start < len(raw):
        raise ValueError(f"the file is cut short: it ends at {len(raw)} bytes, its XML begins at {start}")
    try:
        text = raw[start:].decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("its XML is not text in UTF-8") from None
    if "<!DOCTYPE" in text:
        raise ValueError("its XML defines a document type, which LightField never does")
    try:
        return ET.fromstring(text.rstrip("\0"))
    except ET.ParseError as problem:
        raise ValueError(f"its XML is cut short or broken: {problem}") from None


def _lightfield_wavelength(root: ET.Element, n_columns: int, first: int, binning: int) -> Floats | None:
    """Wavelengths of the region's columns; the file has them for all columns of the sensor."""
    mapping = root.find("./{*}Calibrations/{*}WavelengthMapping")
    if mapping is None:
        return None
    words = mapping.findtext("./{*}Wavelength", "").split(",")
    if words == [""]:  # pairs "wavelength,error" with spaces between them: not verified with a file
        words = [pair.partition(",")[0] for pair in mapping.findtext("./{*}WavelengthError", "").split()]
    if not words:
        return None
    sensor = np.array([float(word) for word in words])
    last = first + n_columns * binning
    if last > len(sensor):
        raise ValueError(f"wavelengths of {len(sensor)} columns for columns {first} to {last - 1} of the sensor")
    sensor_information = root.find("./{*}Calibrations/{*}SensorInformation")
    flips = [_FLIPPED in part.get("orientation", "") for part in (mapping, sensor_information) if part is not None]
    if len(set(flips)) > 1 or (flips[0] and (first, last) != (0, len(sensor))):
        raise ValueError(
            "its wavelengths are those of a sensor read in the other direction, or of part of a flipped one"
        )
    return np.asarray(sensor[first:last].reshape(n_columns, binning).mean(axis=1))


def _exposure(settings: ET.Element) -> float | None:
    """Exposure in s: the gate of an intensifier where it repeats one, else that of the shutter."""
    if settings.findtext(".//{*}Gating/{*}Mode") == "Repetitive":
        pulse = settings.find(".//{*}RepetitiveGate/{*}Pulse")
        if pulse is not None and "width" in pulse.attrib:
            return float(pulse.attrib["width"]) * 1e-9
    text = settings.findtext(".//{*}ShutterTiming/{*}ExposureTime")
    return None if text is None else float(text) * 1e-3


def _check_region(region: int | None, n: int, blocks: list[ET.Element] | None = None) -> int:
    if region is None and n > 1 and blocks:
        sizes = ", ".join(f"{block.get('width')} x {block.get('height')}" for block in blocks)
        raise ValueError(f"{n} regions of the sensor ({sizes} pixels): choose one, from 0")
    if not 0 <= (region or 0) < n:
        raise ValueError(f"region {region} is not there: the file has {n}, counted from 0")
    return region or 0


def _whole(element: ET.Element, name: str, least: int = 1) -> int:
    text = element.get(name, "")
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise ValueError(f"{name} is {text[:20]!r} in its XML, a whole number from {least} is needed")
    return int(text)


def _frames(raw: bytes, end: int, kind: np.dtype, shape: tuple[int, int, int], stride: int, offset: int) -> Floats:
    n_frames, n_rows, n_columns = shape
    if min(shape) < 1:
        raise ValueError(f"{n_frames} frames of {n_columns} x {n_rows} pixels are none")
    needed = offset + (n_frames - 1) * stride + n_rows * n_columns * kind.itemsize
    if needed > end or (n_frames > 1 and stride < n_rows * n_columns * kind.itemsize):
        raise ValueError(
            f"{n_frames} frames of {n_columns} x {n_rows} pixels need {needed} bytes, the data end at {end}: cut short?"
        )
    strides = stride, n_columns * kind.itemsize, kind.itemsize
    return np.ndarray(shape, kind, raw, offset, strides).astype(float)


def _saturation(kind: np.dtype, adc_bits: int, n_accumulated: int) -> float:
    """Counts at which the converter (0 bits: not known) or the stored number is full."""
    converter = (2.0**adc_bits - 1.0) * max(n_accumulated, 1) if 0 < adc_bits <= 32 else np.inf
    return float(min(converter, np.iinfo(kind).max if kind.kind in "iu" else np.inf))
