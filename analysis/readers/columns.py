"""Text tables whose first line names the columns."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..estimate import Floats


def read_columns(path: Path, names: Sequence[str]) -> Floats:
    """The named columns (rows, names) of a table separated by commas, semicolons, tabs or blanks.

    The first line that is not empty names the columns, in any order and among others; it may begin with `#`, and so do
    comments after it. Every number must be finite.

    Raises:
        ValueError: a column or all rows are missing, or a row has no number there; file and line are named.
        OSError: the file cannot be opened.
    """
    lines = [(n, line.strip()) for n, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line]
    head = _words(lines[0][1].lstrip("# ")) if lines else []
    missing = [name for name in names if name not in head]
    if missing:
        raise ValueError(f"{path}: line 1: no column {', '.join(missing)}: the first line names {', '.join(names)}")
    places, rows = [head.index(name) for name in names], []
    for number, line in lines[1:]:
        words = _words(line.partition("#")[0].strip())
        if not words:
            continue
        try:
            row = [float(words[place]) for place in places]
        except (ValueError, IndexError):
            row = [np.nan]
        if not np.isfinite(row).all():
            raise ValueError(f"{path}: line {number}: expected finite numbers for {', '.join(names)}")
        rows.append(row)
    if not rows:
        raise ValueError(f"{path}: no row of numbers below the names of the columns")
    return np.array(rows)


def _words(line: str) -> list[str]:
    return re.split(r"\s*[,;\t]\s*|\s+", line) if line else []
