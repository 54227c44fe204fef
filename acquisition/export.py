"""A NeXus file made from a journal alone: it opens on the experiment's first figure and can always be made again."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np

from .columns import ArrayStack
from .errors import InputError
from .layout import iso, lay_out
from .run import Run, read_run


def export(folder: Path, file: Path) -> Path:
    """Write the run in `folder` (or whose journal that is) to a NeXus file and return its path.

    The file appears complete or not at all: it is written under another name, read back and compared, flushed, then
    renamed. The same journal gives the same bytes.

    Raises InputError when there is no journal or no directory for the file, OSError when the disk refuses.
    """
    run = read_run(folder)
    file = Path(file)
    if not file.parent.is_dir():
        raise InputError(f"{file}: {file.parent} is not a directory; make it first")
    part = file.with_name(file.name + ".part")
    with h5py.File(part, "w") as root:
        root.attrs.update(_root_attributes(run, file.name))
        written = lay_out(root, run)
    _compare(part, written)
    _flush(part)
    part.replace(file)
    _flush(file.parent)
    return file


def _root_attributes(run: Run, name: str) -> dict[str, str]:
    return {
        "NX_class": "NXroot",
        "default": "entry",
        "file_name": name,
        "file_time": iso((run.stop or run.start)["time"]),  # of the run, so that an export can be repeated to the byte
        "creator": "megabar",
        "creator_version": version("megabar"),
        "HDF5_Version": h5py.version.hdf5_version,
        "h5py_version": h5py.version.version,
    }


def _compare(part: Path, written: Mapping[str, np.ndarray | ArrayStack]) -> None:
    """Read every column back. Raises OSError when one of them is not what the journal holds."""
    with h5py.File(part, "r") as root:
        for path, column in written.items():
            there = root[path]
            if there.shape != column.shape:
                raise OSError(f"{part}: {path} has shape {there.shape} where the journal has {column.shape}")
            same = _same_chunks(there, column) if isinstance(column, ArrayStack) else _same_values(there, column)
            if not same:
                raise OSError(f"{part}: {path} is not what the journal holds")


def _same_chunks(there: h5py.Dataset, column: ArrayStack) -> bool:
    rest = (0,) * (there.ndim - 1)
    return all(there.id.read_direct_chunk((row, *rest)) == chunk for row, chunk in enumerate(column.chunks()))


def _same_values(there: h5py.Dataset, column: np.ndarray) -> bool:
    return np.array_equal(there[()], column, equal_nan=column.dtype.kind == "f")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
