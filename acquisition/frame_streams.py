"""Large arrays of a run's streams on their way from documents into files, and the documents that say where they are."""

import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .frame_writer import FrameWriter, FrameWriterError
from .lines import FRAMES

FRAME_BYTES = 32 << 10
"""Arrays of a declared shape and at least this size go into files of their own."""
EXTERNAL = "STREAM:"


@dataclass
class _Key:
    """A data key whose arrays are frames."""

    stream: str
    shape: tuple[int, ...]
    files: dict[str, int] = field(default_factory=dict)
    """Number of the file for each type of array."""


@dataclass
class _File:
    """A file of frames; its resource is in the journal when a frame of it is."""

    uid: str
    resource: dict[str, Any]
    recorded: bool = False


class FrameStreams:
    """Takes the frames out of documents.

    `record` is called from another thread with each `stream_resource` and `stream_datum`, once their frames are on the
    disk; `failed` with the reason when frames were lost. `lock` is kept by the process that writes, while it does.
    """

    def __init__(
        self, folder: Path, record: Callable[[str, dict[str, Any]], None], failed: Callable[[str], None], lock: int
    ) -> None:
        self._folder, self._record, self._failed, self._lock = folder, record, failed, lock
        self._keys: dict[tuple[str, str], _Key] = {}
        self._files: list[_File] = []
        self._descriptor_of: list[str] = []
        self._handing = threading.Lock()
        self._broken = False
        self.writer: FrameWriter | None = None

    def declared(self, descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
        """A descriptor with the keys marked whose arrays will be frames; starts the writer at the first of them."""
        ours = {key: said for key, said in descriptor["data_keys"].items() if _holds_frames(said)}
        for key, said in ours.items():
            stream = str(descriptor.get("name") or "primary")
            self._keys[descriptor["uid"], key] = _Key(stream, tuple(said["shape"]))
        if not ours:
            return descriptor
        if self.writer is None and not self._broken:
            self.writer = FrameWriter(self._flushed, self._lost, self._lock)
        marked = {key: {**said, "external": EXTERNAL} for key, said in ours.items()}
        return {**descriptor, "data_keys": {**descriptor["data_keys"], **marked}}

    def split(self, event: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
        """An event without its frames, and those."""
        frames = {key: value for key, value in event["data"].items() if self._is_frame(event["descriptor"], key, value)}
        if not frames:
            return event, frames
        return {**event, "data": {key: value for key, value in event["data"].items() if key not in frames}}, frames

    def hand_over(self, event: Mapping[str, Any], frames: Mapping[str, np.ndarray]) -> None:
        """Have the frames of an event written. The event is in the journal by now: no frame is named before it."""
        with self._handing:
            for key, frame in frames.items():
                self._hand_over(event["descriptor"], key, event["seq_num"], frame)

    def settle(self) -> None:
        """Wait until every frame is on the disk, or said to be lost."""
        if self.writer is not None:
            self.writer.settle()

    def finish(self) -> None:
        """Let the writer write what it has, and end."""
        if self.writer is not None:
            self.writer.finish()
            self.writer = None

    def _is_frame(self, descriptor: str, key: str, value: Any) -> bool:
        """Whether a value is what was declared; if not, it stays in its event."""
        declared = self._keys.get((descriptor, key))
        if declared is None or not isinstance(value, np.ndarray):
            return False
        return value.shape == declared.shape and value.dtype.kind in "biuf"

    def _hand_over(self, descriptor: str, key: str, seq_num: int, frame: np.ndarray) -> None:
        if self.writer is None or self._broken:
            return  # lost, as has been said
        try:
            file = self._file(self.writer, self._keys[descriptor, key], frame.dtype, descriptor, key)
            self.writer.write(file, seq_num, np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data)
        except FrameWriterError as error:
            self._lost(str(error))

    def _file(self, writer: FrameWriter, declared: _Key, dtype: np.dtype, descriptor: str, key: str) -> int:
        if dtype.str not in declared.files:
            number = len(self._files)
            (self._folder / FRAMES).mkdir(exist_ok=True)
            name = f"{number:02d}-{re.sub(r'[^A-Za-z0-9_-]', '_', f'{declared.stream}-{key}')[:100]}.h5"
            attributes = {"descriptor": descriptor, "data_key": key, "stream": declared.stream}
            writer.open(self._folder / FRAMES / name, dtype.str, declared.shape, attributes)
            self._files.append(
                _File(uid := str(uuid.uuid4()), _resource(uid, f"{FRAMES}/{name}", declared, dtype, key))
            )
            self._descriptor_of.append(descriptor)
            declared.files[dtype.str] = number
        return declared.files[dtype.str]

    def _flushed(self, number: int, index: int, seq_num: int, crc32: int) -> None:
        file = self._files[number]
        if not file.recorded:
            file.recorded = True
            self._record("stream_resource", file.resource)
        datum = {
            "uid": f"{file.uid}/{index}",
            "stream_resource": file.uid,
            "descriptor": self._descriptor_of[number],
            "indices": {"start": index, "stop": index + 1},
            "seq_nums": {"start": seq_num, "stop": seq_num + 1},
            "crc32": crc32,
        }
        self._record("stream_datum", datum)

    def _lost(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            self._failed(reason)


def _holds_frames(declared: Mapping[str, Any]) -> bool:
    shape = declared.get("shape") or ()
    if declared.get("external") or not all(isinstance(length, int) and length > 0 for length in shape):
        return False
    said = declared.get("dtype_numpy")
    item = np.dtype(said) if isinstance(said, str) and said else np.dtype(float)
    return item.kind in "biuf" and bool(shape) and prod(shape) * item.itemsize >= FRAME_BYTES


def _resource(uid: str, uri: str, declared: _Key, dtype: np.dtype, key: str) -> dict[str, Any]:
    return {
        "uid": uid,
        "data_key": key,
        "mimetype": "application/x-hdf5",
        "uri": uri,
        "parameters": {
            "dataset": "data",
            "swmr": True,
            "dtype_numpy": dtype.str,
            "shape": list(declared.shape),
            "chunk_shape": [1, *declared.shape],
        },
    }
