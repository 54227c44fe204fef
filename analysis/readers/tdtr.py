"""Delay scans of time-domain thermoreflectance as MATLAB files: `Data` with tdelay (ps), Vin and Vout."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from ..tdtr import DelayScan

_COLUMNS = ("tdelay", "Vin", "Vout")


def read_tdtr(path: str | Path) -> DelayScan:
    """One scan: `Data` is a structure with these columns, or a matrix whose columns 2 to 4 they are.

    Rows in which one of them is no number are left out.

    Raises:
        ValueError: the file is not of this kind, named.
        OSError: the file cannot be opened.

    Source: the layout is that of the scripts of D. G. Cahill's group and those derived from them.
    """
    try:
        content = loadmat(str(path))
    except (ValueError, TypeError, NotImplementedError, MatReadError, EOFError) as problem:
        raise ValueError(f"{path}: not a MATLAB file of version 5: {str(problem).splitlines()[0]}") from None
    if "Data" not in content:
        names = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
        raise ValueError(f"{path}: no variable Data, but {names}: expected Data with {', '.join(_COLUMNS)}")
    data = content["Data"]
    try:
        if data.dtype.names:
            columns = [np.asarray(data[name][0, 0], dtype=float).ravel() for name in _COLUMNS]
        else:
            columns = list(np.asarray(data, dtype=float).T[1:4])
        table = np.stack(columns)
    except (ValueError, IndexError, TypeError):
        raise ValueError(f"{path}: Data has no columns {', '.join(_COLUMNS)} of one length") from None
    table = table[:, np.all(np.isfinite(table), axis=0)] if table.shape[0] == 3 else table[:0]
    if not table.size:
        raise ValueError(f"{path}: Data has no row of numbers for {', '.join(_COLUMNS)}")
    return DelayScan(table[0] * 1e-12, table[1], table[2])
