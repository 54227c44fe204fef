"""Columns of a stream: what its events say, key by key, with large arrays left on the disk until they are asked for."""

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from .lines import Stored


class Frames(Protocol):
    """Where frames are read from."""

    def load(self, stored: Stored) -> np.ndarray:
        """A frame."""
        ...

    def chunk(self, stored: Stored) -> tuple[int, bytes]:
        """A frame as it lies in its file: which of the filters shuffle and deflate were skipped, and its bytes."""
        ...


class ArrayStack:
    """Equal arrays of many events, read from the disk when indexed; stands for an ndarray (n, ...) to read from.

    `stack[3]` is one array, `stack[2:5]` and `np.asarray(stack)` are several in memory.
    """

    def __init__(self, stored: Sequence[Stored], frames: Frames) -> None:
        self._stored = tuple(stored)
        self._frames = frames
        self.dtype = np.dtype(self._stored[0].dtype)
        self.shape = (len(self._stored), *self._stored[0].shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions, events included."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(stored.nbytes for stored in self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._frames.load, self._stored)

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """The arrays as they lie in their files, packed or not."""
        return map(self._frames.chunk, self._stored)

    def __getitem__(self, index: Any) -> np.ndarray:
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if isinstance(first, int | np.integer):
            return self._frames.load(self._stored[first])[rest]
        chosen = np.arange(len(self))[first]
        out = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for row, number in enumerate(chosen):
            out[row] = self._frames.load(self._stored[number])
        return out[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("arrays on the disk cannot become one array in memory without a copy")
        return self[:] if dtype is None else self[:].astype(dtype)


class Events:
    """Gathers the events of one stream while a journal is read."""

    def __init__(self, descriptor: dict[str, Any]) -> None:
        self.name = str(descriptor.get("name") or "primary")
        self.descriptor = descriptor
        self._units: dict[str, str] = {}
        self._seq_num: list[int] = []
        self._wall = array("d")
        self._time = array("d")
        self._data: dict[str, list[Any]] = {}
        self._timestamps: dict[str, array[float]] = {}

    def declare(self, descriptor: dict[str, Any]) -> None:
        """Take in one more descriptor of the same stream (devices may be configured again on the way)."""
        for key, declared in descriptor["data_keys"].items():
            self._units[key] = str(declared.get("units") or "")
            self._data.setdefault(key, [None] * len(self._seq_num))
            self._timestamps.setdefault(key, array("d", [math.nan]) * len(self._seq_num))

    def append(self, event: dict[str, Any]) -> None:
        """Add one event."""
        data, stamps = event["data"], event["timestamps"]
        self._seq_num.append(event["seq_num"])
        self._wall.append(event["time"])
        self._time.append(max(stamps.values(), default=event["time"]))
        for key, values in self._data.items():
            values.append(data.get(key))
            self._timestamps[key].append(stamps.get(key, math.nan))

    def stream_fields(self, frames: Frames) -> dict[str, Any]:
        """The fields of a `Stream`: one column per key, in the order of the sequence numbers.

        An engine that went back to a checkpoint uses a sequence number again: the later event replaces the earlier.
        """
        latest = {number: row for row, number in enumerate(self._seq_num)}
        rows = [latest[number] for number in sorted(latest)]
        return {
            "descriptor": self.descriptor,
            "seq_num": np.array(sorted(latest), dtype=np.int64),
            "time": np.array(self._time)[rows],
            "wall": np.array(self._wall)[rows],
            "data": {key: column([values[row] for row in rows], frames) for key, values in self._data.items()},
            "timestamps": {key: np.array(stamps)[rows] for key, stamps in self._timestamps.items()},
            "units": dict(self._units),
        }


def column(values: list[Any], frames: Frames) -> np.ndarray | ArrayStack:
    """One array of the values of many events: (n, ...) where they are alike, else (n,) of objects; None becomes NaN."""
    kinds = {(value.dtype, value.shape) if isinstance(value, Stored) else None for value in values}
    if len(kinds) == 1 and None not in kinds:
        return ArrayStack(values, frames)
    values = [frames.load(value) if isinstance(value, Stored) else value for value in values]
    numbers = [np.nan if value is None else value for value in values]
    try:
        stacked = np.asarray(numbers)
    except (ValueError, OverflowError):  # arrays of different shapes
        return _objects(values)
    mixed = stacked.dtype.kind == "U" and not all(isinstance(value, str | np.ndarray) for value in values)
    return _objects(values) if mixed or stacked.dtype.kind == "O" else stacked


def _objects(values: list[Any]) -> np.ndarray:
    objects = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        objects[row] = value
    return objects
