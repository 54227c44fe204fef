"""Files of frames: large arrays of one data key of one stream, in HDF5, one packed chunk per frame.

A file is written in SWMR mode (single writer, multiple readers), so that others may look at it meanwhile, and so that
every flushed frame can be read when its writer was killed. The dataset `data` (n, ...) holds the frames, `index` (n, 2)
the number of the event and the CRC-32 of the chunk, as it lies in the file, of each.
"""

import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .lines import FRAMES, Stored

PACKED, AS_IT_IS = 0, 0b11
"""Which of the two filters of a chunk, shuffle and deflate, are skipped."""


class FrameFile:
    """A new file for frames of one type and shape. Raises OSError when there is one of that name."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...], attributes: Mapping[str, Any]) -> None:
        self._file = h5py.File(path, "x", libver="latest")
        self._file.attrs.update(attributes)
        self._itemsize = np.dtype(dtype).itemsize
        self._data = self._file.create_dataset(
            "data",
            (0, *shape),
            dtype,
            maxshape=(None, *shape),
            chunks=(1, *shape),
            shuffle=True,
            compression="gzip",
            compression_opts=1,
        )
        self._index = self._file.create_dataset("index", (0, 2), np.int64, maxshape=(None, 2), chunks=(1024, 2))
        self._file.swmr_mode = True
        self._n = 0

    def append(self, seq_num: int, frame: bytes | bytearray, *, packed: bool) -> tuple[int, int]:
        """Write and flush the bytes of one frame; gives its index and the checksum of its chunk. Raises OSError."""
        chunk = pack(frame, self._itemsize) if packed else bytes(frame)
        index, crc32 = self._n, zlib.crc32(chunk)
        self._data.resize(index + 1, axis=0)
        offset = (index,) + (0,) * (self._data.ndim - 1)
        self._data.id.write_direct_chunk(offset, chunk, filter_mask=PACKED if packed else AS_IT_IS)
        self._data.flush()
        self._index.resize(index + 1, axis=0)  # only now: what is in the index is in the file
        self._index[index] = seq_num, crc32
        self._index.flush()
        self._n += 1
        return index, crc32

    def sync(self) -> None:
        """Wait until everything flushed so far is on the disk. Raises OSError."""
        os.fdatasync(self._file.id.get_vfd_handle())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FrameFiles:
    """Reads the frames of a run in `folder`, also those of a writer that was killed, or goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._open: dict[str, h5py.File] = {}

    def fault(self, stored: Stored, *, verify: bool) -> str:
        """What is wrong with a frame; nothing when it can be had."""
        try:
            if stored.index >= len(self._file(stored.file)["data"]):
                return f"lies beyond the end of {stored.file}"
            if verify and zlib.crc32(self.chunk(stored)[1]) != stored.crc32:
                return "does not match its checksum"
        except (OSError, KeyError, ValueError, RuntimeError, TypeError):  # all that HDF5 may say of what is no file
            return f"cannot be read from {stored.file}"
        return ""

    def load(self, stored: Stored) -> np.ndarray:
        """A frame. Raises OSError when it cannot be had."""
        try:
            return unpack(*self.chunk(stored), np.dtype(stored.dtype), stored.shape)
        except (KeyError, ValueError, RuntimeError, TypeError, zlib.error) as error:
            raise OSError(f"{self._folder / stored.file}: frame {stored.index} cannot be read: {error}") from error

    def chunk(self, stored: Stored) -> tuple[int, bytes]:
        """A frame as it lies in its file: which filters were skipped, and its bytes."""
        data = self._file(stored.file)["data"]
        mask, chunk = data.id.read_direct_chunk((stored.index,) + (0,) * (data.ndim - 1))
        return int(mask), bytes(chunk)

    def left(self, descriptor: str, key: str, referenced: Mapping[str, int]) -> Iterator[tuple[int, Stored]]:
        """Frames that follow the `referenced` first ones of each file, with the numbers of their events.

        They are those whose journal ended before it could say that they were flushed.
        """
        for path in sorted((self._folder / FRAMES).glob("*.h5")):
            name = f"{FRAMES}/{path.name}"
            try:
                file = self._file(name)
                if (file.attrs["descriptor"], file.attrs["data_key"]) != (descriptor, key):
                    continue
                dtype, shape = file["data"].dtype.str, file["data"].shape[1:]
                index = file["index"][()]
            except (OSError, KeyError, RuntimeError):
                continue
            for row in range(referenced.get(name, 0), len(index)):
                yield int(index[row, 0]), Stored(name, row, dtype, shape, int(index[row, 1]))

    def _file(self, name: str) -> h5py.File:
        if name not in self._open:
            folder, _, file = name.partition("/")
            if folder != FRAMES or "/" in file or file in ("", ".", ".."):
                raise OSError(f"{name} is not in {FRAMES}")
            path = self._folder / FRAMES / file
            if path.is_symlink() or path.parent.is_symlink():
                raise OSError(f"{name} is a link; accepted is a file in {FRAMES}")
            opened = h5py.File(path, "r", libver="latest", swmr=True)
            if not all(_is_here(opened, dataset) for dataset in ("data", "index")):
                opened.close()
                raise OSError(f"{name} refers to other files; accepted is one that holds its frames itself")
            self._open[name] = opened
        return self._open[name]


def _is_here(file: h5py.File, name: str) -> bool:
    """Whether a dataset is in the file itself: no link to another, no view of others, no raw bytes elsewhere."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return False
    dataset = file[name]
    return isinstance(dataset, h5py.Dataset) and not dataset.is_virtual and dataset.external is None


def pack(frame: bytes | bytearray, itemsize: int) -> bytes:
    """What HDF5's shuffle and deflate make of a chunk; here, because HDF5 would hold the interpreter meanwhile.

    Frames are mostly noise, so only runs of equal bytes are looked for: that takes half the time of the quickest search
    for more, for a twentieth more bytes.
    """
    by_byte = np.frombuffer(frame, np.uint8).reshape(-1, itemsize)
    packing = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packing.compress(np.ascontiguousarray(by_byte.T).data) + packing.flush()


def unpack(mask: int, chunk: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a chunk. Raises ValueError, zlib.error."""
    if mask == AS_IT_IS:
        return np.frombuffer(chunk, dtype).reshape(shape)
    if mask != PACKED:
        raise ValueError(f"its chunk skips filters {mask:b}")
    by_byte = np.frombuffer(zlib.decompress(chunk), np.uint8).reshape(dtype.itemsize, -1)
    array = np.ascontiguousarray(by_byte.T).view(dtype).reshape(shape)
    array.flags.writeable = False
    return array
