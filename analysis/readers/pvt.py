"""Tables of pressure, volume and temperature with their errors, as printed in papers on equations of state."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLUMNS = ("temperature", "temperature_error", "", "pressure", "pressure_error", "volume", "volume_error")
"""Columns of a table with the marker's lattice parameter in the third, which is left out."""


@dataclass(frozen=True)
class PVT:
    """Points (n,) in GPa, K and A3 of the unit cell, each with its standard uncertainty, 0 where exactly known."""

    pressure: Floats
    pressure_error: Floats
    volume: Floats
    volume_error: Floats
    temperature: Floats
    temperature_error: Floats

    def __post_init__(self) -> None:
        """Refuse what no fit can use.

        Raises:
            ValueError: the arrays do not match, a number is not finite, a volume or temperature not positive, an error
                negative, or a point without any error.
        """
        arrays = [np.asarray(getattr(self, name), dtype=float) for name in self.__dataclass_fields__]
        if arrays[0].ndim != 1 or len({array.shape for array in arrays}) != 1:
            raise ValueError(f"P-V-T points are six arrays of one length, not {[array.shape for array in arrays]}")
        for name, array in zip(self.__dataclass_fields__, arrays, strict=True):
            object.__setattr__(self, name, array)
        total = self.pressure_error + self.volume_error + self.temperature_error
        bad = ~(np.isfinite(arrays).all(axis=0) & (np.min(arrays[1::2], axis=0) >= 0.0) & (total > 0.0))
        bad |= ~((self.volume > 0.0) & (self.temperature > 0.0))
        if bad.any():
            raise ValueError(
                f"P-V-T point {int(np.argmax(bad)) + 1} of {len(bad)}: volume, temperature and one of the errors must "
                "be above 0, no error below"
            )


def read_pvt(path: str | Path, columns: Sequence[str] = COLUMNS) -> PVT:
    """Read a table of numbers in columns, `#` before comments.

    Args:
        path: text file.
        columns: what its columns are: names of `PVT`, "" for one to leave out.

    Raises:
        ValueError: the columns do not name each array of `PVT` once, or a line is not of this kind.
        OSError: the file cannot be opened.
    """
    wanted = tuple(PVT.__dataclass_fields__)
    if sorted(name for name in columns if name) != sorted(wanted):
        raise ValueError(f"columns of a P-V-T table name each of {', '.join(wanted)} once, not {', '.join(columns)}")
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != len(columns):
            raise ValueError(f"{path}: line {number}: expected {len(columns)} numbers, got {line.strip()!r:.60}")
    if not rows:
        raise ValueError(f"{path}: no point in the table")
    table = np.array(rows).T
    try:
        return PVT(**{name: table[columns.index(name)] for name in wanted})
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
