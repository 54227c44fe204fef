"""Spectrometer files as WinSpec and LightField write them, for tests."""

import struct
from pathlib import Path

import numpy as np

CODES = {"f4": 0, "i4": 1, "i2": 2, "u2": 3}
FORMATS = {"u2": "MonochromeUnsigned16", "u4": "MonochromeUnsigned32", "f4": "MonochromeFloating32"}


def header(version: float) -> bytearray:
    made = bytearray(4100)
    struct.pack_into("<f", made, 1992, version)
    struct.pack_into("<i", made, 2996, 0x01234567)
    struct.pack_into("<H", made, 4098, 0x5555)
    return made


def winspec(path: Path, counts: np.ndarray, *, polynomial=(600.0, 0.2), unit=b"Wavelength [nm]", left=1) -> Path:
    """Version 2.5, counts (n_frames, n_rows, n_columns) of the type that is stored."""
    made = header(2.5)
    kind = counts.dtype.str[1:]
    n_frames, n_rows, n_columns = counts.shape
    for offset, form, value in (
        (10, "<f", 0.25),
        (42, "<H", n_columns),
        (72, "<f", 700.0),
        (108, "<h", CODES[kind]),
        (650, "<f", 300.0),
        (656, "<H", n_rows),
        (668, "<i", 2),
        (1446, "<i", n_frames),
        (1510, "<h", 1),
        (3098, "<b", 1),
        (3101, "<b", len(polynomial) - 1),
    ):
        struct.pack_into(form, made, offset, value)
    struct.pack_into("<6H", made, 1512, left, left + n_columns - 1, 1, 1, n_rows, 1)
    made[3018 : 3018 + len(unit)] = unit
    struct.pack_into(f"<{len(polynomial)}d", made, 3263, *polynomial)
    path.write_bytes(bytes(made) + counts.astype(f"<{kind}").tobytes())
    return path


def lightfield(
    path: Path,
    regions: list[np.ndarray],
    wavelength_nm: np.ndarray,
    *,
    origins: tuple[tuple[int, int], ...] = ((0, 0),),
    binning: tuple[int, int] = (1, 1),
    padding: int = 0,
    orientation: tuple[str, str] = ("Normal", "Normal"),
    settings: str = "",
    subtracted: bool = False,
    grating: str = "860nm,300",
    centre_nm: float = 750.0,
    exposure_ms: float = 500.0,
    prologue: str = "",
    element: str = "Wavelength",
) -> Path:
    """Version 3.0; each region (n_frames, n_rows, n_columns) has an origin (row, column); frames end in `padding`."""
    kind = regions[0].dtype.str[1:]
    blocks, mappings = "", ""
    for i, (region, (y, x)) in enumerate(zip(regions, origins, strict=True)):
        _, n_rows, n_columns = region.shape
        size = n_rows * n_columns * region.itemsize
        blocks += (
            f'<DataBlock type="Region" calibrations="2,{3 + i}" count="1" width="{n_columns}" height="{n_rows}" '
            f'size="{size}" stride="{size}" />'
        )
        mappings += (
            f'<SensorMapping id="{3 + i}" x="{x}" y="{y}" width="{n_columns * binning[1]}" '
            f'height="{n_rows * binning[0]}" xBinning="{binning[1]}" yBinning="{binning[0]}" />'
        )
    size = sum(region[0].nbytes for region in regions)
    wavelengths = ",".join(str(value) for value in wavelength_nm)
    if element == "WavelengthError":
        wavelengths = " ".join(f"{value},0.01" for value in wavelength_nm)
    xml = f"""{prologue}<SpeFormat version="3.0" xmlns="http://www.princetoninstruments.com/spe/2009">
<DataFormat><DataBlock type="Frame" count="{len(regions[0])}" pixelFormat="{FORMATS[kind]}" size="{size}"
 stride="{size + padding}" calibrations="1">{blocks}</DataBlock></DataFormat>
<Calibrations><WavelengthMapping id="1" orientation="{orientation[0]}"><{element}>{wavelengths}</{element}>
</WavelengthMapping><SensorInformation id="2" orientation="{orientation[1]}" />{mappings}</Calibrations>
<DataHistories><DataHistory><Origin><Experiment xmlns="http://www.princetoninstruments.com/experiment/2009">
<System><Cameras><Camera model="PIXIS: 100BR" serialNumber="0805" /></Cameras></System><Devices><Cameras><Camera>
<ShutterTiming><ExposureTime>{exposure_ms}</ExposureTime></ShutterTiming><Adc><BitDepth>16</BitDepth></Adc>{settings}
<Experiment><OnlineCorrections><BackgroundCorrection><Enabled>{subtracted}</Enabled></BackgroundCorrection>
</OnlineCorrections></Experiment></Camera></Cameras><Spectrometers><Spectrometer><Grating>
<Selected>[{grating}][1][0]</Selected><CenterWavelength>{centre_nm}</CenterWavelength></Grating></Spectrometer>
</Spectrometers></Devices></Experiment></Origin></DataHistory></DataHistories></SpeFormat>"""
    frames = b"".join(
        b"".join(region[i].astype(f"<{kind}").tobytes() for region in regions) + bytes(padding)
        for i in range(len(regions[0]))
    )
    made = header(3.0)
    struct.pack_into("<Q", made, 678, 4100 + len(frames))
    path.write_bytes(bytes(made) + frames + xml.encode())
    return path
