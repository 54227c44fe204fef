"""Settings of `analyse deformation` on diffraction images: phases, lines and elastic constants, text in, values out."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .elasticity import CubicElasticity
from .lattice_strain import StressSettings

Miller = tuple[int, int, int]
Floats = NDArray[np.float64]

ORIENTATIONS = ("auto", "dioptas", "pyfai")

ACCEPTED = {
    "calibration": "FILE.poni of the detector (default: the only .poni beside the image)",
    "mask": "FILE with the pixels to leave out, as Dioptas or fabio write it",
    "orientation": "dioptas (the image is turned upside down for the .poni), pyfai (as it is), or auto",
    "phase": "auto, CeO2, LaB6, bcc-Fe, MgO, Au, Pt; or any name with lattice_parameter_angstrom",
    "lattice_parameter_angstrom": "where to look for a cubic phase, within search",
    "lines": "Miller indices of the rings to use, 110,200,211",
    "search": "how far from where it is expected a ring is looked for, relative spacing (0.01)",
    "sectors": "number of azimuth sectors, 8 to 180 (36)",
    "axis_azimuth_deg": "azimuth of the compression axis (0 along columns, 90 along rows) or auto (smallest spacings)",
    "elasticity": "FILE with equation of state and elastic constants of a cubic phase",
    "pressure_gpa": "pressure for the elastic constants (default: from the lattice parameter, at 300 K)",
    "alpha": "weight of the Reuss bound, 0 to 1",
    "alpha_error": "its standard uncertainty",
    "elastic_error": "relative standard uncertainty of the elastic constants",
    "hkl_error": "relative standard uncertainty of each ring's lattice strain (plastic anisotropy)",
    "d_scale_error": "relative standard uncertainty of all spacings together",
    "two_theta_error_deg": "standard uncertainty of the geometry at one azimuth",
}

# centring and lattice parameter in angstrom at ambient conditions (CeO2: as the calibration image of the same beamline
# states it; the others not verified in a source): only where to look for rings
PHASES = {
    "CeO2": ("F", 5.4115),
    "LaB6": ("P", 4.1569),
    "bcc-Fe": ("I", 2.8665),
    "MgO": ("F", 4.2117),
    "Au": ("F", 4.0786),
    "Pt": ("F", 3.9236),
}
LINES: dict[str, tuple[Miller, ...]] = {
    "F": ((1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1), (2, 2, 2), (3, 3, 1)),
    "I": ((1, 1, 0), (2, 0, 0), (2, 1, 1), (2, 2, 0), (3, 1, 0)),
    "P": ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 0, 0), (2, 1, 0), (2, 1, 1)),
}


@dataclass(frozen=True)
class CubicProperties:
    """A cubic phase from a properties file: volume of the cell (A^3) and bulk modulus at zero pressure, C11 C12 C44.

    `constants_gpa`, `first`, `second` (3,): C11, C12, C44 in GPa at zero pressure and their derivatives by pressure.
    """

    name: str
    volume_a3: float
    bulk_modulus_gpa: float
    bulk_derivative: float
    constants_gpa: Floats
    first: Floats
    second: Floats

    @property
    def lattice_parameter_angstrom(self) -> float:
        """At zero pressure."""
        return float(np.cbrt(self.volume_a3))

    def pressure(self, lattice_parameter_angstrom: float) -> float:
        """Pressure in GPa at 300 K by the third-order Birch-Murnaghan equation of state.

        Source: Birch, Phys. Rev. 71, 809 (1947), doi:10.1103/PhysRev.71.809.
        """
        x = self.lattice_parameter_angstrom / lattice_parameter_angstrom
        bracket = 1.0 + 0.75 * (self.bulk_derivative - 4.0) * (x * x - 1.0)
        return 1.5 * self.bulk_modulus_gpa * (x**7 - x**5) * bracket

    def elasticity(self, pressure_gpa: float) -> CubicElasticity:
        """Elastic constants at a pressure. Raises ValueError where the crystal is not stable."""
        c11, c12, c44 = self.constants_gpa + self.first * pressure_gpa + 0.5 * self.second * pressure_gpa**2
        return CubicElasticity(float(c11), float(c12), float(c44), f"{self.name} at {pressure_gpa:.2f} GPa")


@dataclass(frozen=True)
class ImageSettings(StressSettings):
    """What `ACCEPTED` describes, as values."""

    calibration: Path | None = None
    mask: Path | None = None
    orientation: str = "auto"
    phase: str = "auto"
    lattice_parameter_angstrom: float | None = None
    lines: tuple[Miller, ...] = ()
    search: float = 0.01
    sectors: int = 36
    axis_azimuth_deg: float | None = None
    elasticity: CubicProperties | None = None
    pressure_gpa: float | None = None
    d_scale_error: float = 1e-4
    two_theta_error_deg: float = 0.003


def read_image_settings(settings: Mapping[str, str]) -> ImageSettings:
    """Settings from text.

    Raises:
        ValueError: a name is not known (the message lists the accepted ones) or a value cannot be read.
    """
    values: dict[str, object] = {}
    for name, text in settings.items():
        if name not in ACCEPTED:
            raise ValueError(f"unknown setting {name!r} for images: accepted are {', '.join(ACCEPTED)}")
        try:
            values[name] = _READERS.get(name, _number)(str(text).strip())
        except (ValueError, OSError) as problem:
            raise ValueError(f"setting {name}={text!s:.60}: {problem}; expected {ACCEPTED[name]}") from None
    return ImageSettings(**values)  # type: ignore[arg-type]


def read_properties(path: Path) -> CubicProperties:
    """Equation of state and elastic constants of a cubic phase: blocks of numbers, each under a line starting with #.

    Blocks in order: name, symmetry, V0 K0 K0', kind of elastic model, isotropic constants, then Cij (6 x 6, GPa) and
    its first and second derivatives by pressure.

    Raises:
        ValueError: a block is missing or short, the phase is not cubic, or a value is impossible; file and block named.
        OSError: the file cannot be opened.
    """
    blocks = _blocks(path)
    name, symmetry = blocks[0][0] if blocks[0] else path.stem, (blocks[1] or [""])[0].lower()
    if symmetry != "cubic":
        raise ValueError(f"{path}: symmetry {symmetry!r}; only cubic phases are reduced from images")
    v0, k0, k_prime = _numbers(path, blocks[2], 3, "equation of state (V0, K0, K0')")
    stiffness = [_cubic_constants(path, block) for block in blocks[5:8]]
    if not (v0 > 0.0 and k0 > 0.0):
        raise ValueError(f"{path}: V0 and K0 are positive, not {v0} and {k0}")
    return CubicProperties(name, v0, k0, k_prime, *stiffness)


def _blocks(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            blocks.append([])
        elif blocks:
            blocks[-1].extend(line.split())
    if len(blocks) < 8:
        raise ValueError(
            f"{path}: {len(blocks)} blocks under # lines, 8 are needed (name ... second derivatives of Cij)"
        )
    return blocks


def _numbers(path: Path, words: list[str], count: int, what: str) -> list[float]:
    try:
        numbers = [_number(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ValueError(f"{path}: {what}: {count} numbers are needed, not {' '.join(words)[:60]!r}")
    return numbers


def _cubic_constants(path: Path, words: list[str]) -> Floats:
    matrix = np.array(_numbers(path, words, 36, "elastic constants Cij")).reshape(6, 6)
    c11, c12, c44 = matrix[0, 0], matrix[0, 1], matrix[3, 3]
    cubic = np.zeros((6, 6))
    cubic[:3, :3] = c12
    cubic[np.diag_indices(6)] = [c11] * 3 + [c44] * 3
    if not np.allclose(matrix, cubic):
        raise ValueError(f"{path}: elastic constants Cij are not those of a cubic crystal")
    return np.array([c11, c12, c44])


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _orientation(text: str) -> str:
    if text.lower() not in ORIENTATIONS:
        raise ValueError("not an orientation")
    return text.lower()


def _sectors(text: str) -> int:
    number = int(text)
    if not 8 <= number <= 180:
        raise ValueError("out of range")
    return number


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0.0:
        raise ValueError("not above 0")
    return value


def _lines(text: str) -> tuple[Miller, ...]:
    lines: list[Miller] = []
    for word in (w for w in re.split(r"[,;\s]+", text) if w):
        if not re.fullmatch(r"\d{3}", word) or word == "000":
            raise ValueError(f"{word!r} is not three Miller indices of one figure")
        lines.append((int(word[0]), int(word[1]), int(word[2])))
    if not lines:
        raise ValueError("no line")
    return tuple(lines)


_READERS: dict[str, Callable[[str], object]] = {
    "calibration": Path,
    "mask": Path,
    "orientation": _orientation,
    "phase": str,
    "lattice_parameter_angstrom": _positive,
    "lines": _lines,
    "search": _positive,
    "sectors": _sectors,
    "axis_azimuth_deg": lambda text: None if text.lower() == "auto" else _number(text),
    "elasticity": lambda text: read_properties(Path(text)),
}
