"""The process that writes frames: large arrays go through a pipe to it, and it answers when they are on the disk.

Packing an image takes longer than the engine may wait, so it is done on another core. A frame that has gone into the
pipe is written even when the engine dies: the process ends when the pipe does, and not before it is empty. Until then
it holds the lock of the journal.
"""

import collections
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

DEADLINE_S = 30.0
"""How long the process may take nothing and answer nothing, in real seconds."""
BUFFERED_BYTES = 256 << 20
"""How many bytes of frames wait in the process before the pipe is left to fill."""
TOGETHER = 16
"""So many frames at most share one wait for the disk."""
BEHIND = 4
"""With so many frames waiting, they are written as they are: packing takes longer than writing."""
PIPE_BYTES = 1 << 20

Flushed = Callable[[int, int, int, int], None]


class FrameWriterError(RuntimeError):
    """Frames cannot be written any more; those whose flush was answered are safe."""


class FrameWriter:
    """The process, from the engine's side.

    `flushed` is called in a thread of its own with (file, index, seq_num, crc32) of each frame that is on the disk,
    `failed` once with the reason when frames were lost. `lock` is the descriptor whose lock the process keeps.
    """

    def __init__(self, flushed: Flushed, failed: Callable[[str], None], lock: int) -> None:
        self._flushed, self._failed = flushed, failed
        self._writing = threading.Lock()
        self._answered = threading.Condition()
        self._waiting = self._answers = 0
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "megabar.acquisition.frame_writer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=(lock,),
            start_new_session=True,  # a Ctrl-C ends the run, whose last frames are then written
            env={**os.environ, "PYTHONWARNINGS": "ignore", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._listener = threading.Thread(target=self._listen, name="frames", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def open(self, path: Path, dtype: str, shape: Sequence[int], attributes: Mapping[str, Any]) -> None:
        """Begin a new file; files are numbered from 0 in this order. Raises FrameWriterError."""
        with self._writing:
            self._send({"path": str(path), "dtype": dtype, "shape": list(shape), "attributes": dict(attributes)})

    def write(self, file: int, seq_num: int, frame: memoryview) -> None:
        """Hand over one frame of a file, as bytes. Raises FrameWriterError when the process is gone or stuck."""
        with self._answered:
            self._waiting += 1
        with self._writing:
            self._send({"file": file, "seq_num": seq_num, "nbytes": frame.nbytes}, frame)

    def settle(self) -> None:
        """Wait until every frame that was handed over is on the disk, or said to be lost."""
        with self._answered:
            while not self._ended and self._waiting:
                if not self._answered.wait(DEADLINE_S):
                    self._process.kill()

    def finish(self) -> None:
        """Wait until all is written and the process has ended; harmless when it has."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        answers = -1
        while self._listener.is_alive() and answers != self._answers:
            answers = self._answers
            self._listener.join(DEADLINE_S)
        self._process.kill()  # it has ended, or is stuck
        self._listener.join()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _send(self, header: Mapping[str, Any], frame: memoryview | None = None) -> None:
        for part in (memoryview(json.dumps(header).encode() + b"\n"), frame):
            rest = part
            while rest:
                if not select.select([], [self._pipe], [], DEADLINE_S)[1]:
                    self._process.kill()
                    raise FrameWriterError(f"the frame writer takes nothing for {DEADLINE_S:g} s")
                try:
                    rest = rest[os.write(self._pipe, rest) :]
                except OSError as error:
                    self._listener.join(DEADLINE_S)  # it may have heard why
                    raise FrameWriterError(f"the frame writer has ended ({error.strerror})") from error

    def _listen(self) -> None:
        assert self._process.stdout is not None
        reason = "the frame writer has ended"
        for line in self._process.stdout:
            answer = json.loads(line)
            if "error" in answer:
                reason = f"the frame writer failed: {answer['error']}"
                continue
            for entry in answer["flushed"]:
                self._flushed(*entry)
            with self._answered:
                self._waiting -= len(answer["flushed"])
                self._answers += 1
                self._answered.notify_all()
        if self._process.wait() or self._waiting:
            self._failed(f"{reason}; {self._waiting} frames are not confirmed")
        with self._answered:
            self._ended = True
            self._answered.notify_all()


class _Incoming:
    """What comes through the pipe, read by a thread of its own: so the engine never waits for packing or the disk."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._frames: collections.deque[tuple[dict[str, Any], bytearray]] = collections.deque()
        self._nbytes = 0
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def __len__(self) -> int:
        return len(self._frames)

    def take(self) -> list[tuple[dict[str, Any], bytearray]]:
        """Wait for frames; nothing when the pipe has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._ended)
            taken = [self._frames.popleft() for _ in range(min(TOGETHER, len(self._frames)))]
            self._nbytes -= sum(len(frame) for _, frame in taken)
            self._changed.notify_all()
            return taken

    def _read(self) -> None:
        while (header := self._pipe.readline()).endswith(b"\n"):
            content = json.loads(header)
            frame = bytearray(content.get("nbytes", 0))
            if frame and self._pipe.readinto(frame) != len(frame):  # type: ignore[attr-defined]
                break  # the engine died in the middle of it
            with self._changed:
                self._changed.wait_for(lambda: self._nbytes < BUFFERED_BYTES)
                self._frames.append((content, frame))
                self._nbytes += len(frame)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def main() -> None:
    """`python -m megabar.acquisition.frame_writer`: a line opens a file or announces the bytes of a frame."""
    if hasattr(os, "sched_setaffinity"):
        _leave_core()
    incoming = _Incoming(sys.stdin.buffer)
    try:
        _write_all(incoming)
    except Exception as error:
        _tell({"error": " ".join(str(error).split()) or type(error).__name__})
        os._exit(1)  # to close a file that could not be written is more than HDF5 can bear


def _leave_core() -> None:
    """Leave the one core on which the engine of a rehearsal stays to it, where there are others."""
    ours, there_are = os.sched_getaffinity(0), set(range(os.cpu_count() or 1))
    if len(ours) == 1:
        os.sched_setaffinity(0, there_are - ours or ours)


def _write_all(incoming: _Incoming) -> None:
    from .frame_files import FrameFile  # while the first frames come

    files: list[FrameFile] = []
    while taken := incoming.take():
        flushed: list[tuple[int, int, int, int]] = []
        try:
            for place, (header, frame) in enumerate(taken, 1):
                if "path" in header:
                    path, shape = Path(header["path"]), tuple(header["shape"])
                    files.append(FrameFile(path, header["dtype"], shape, header["attributes"]))
                    continue
                behind = len(taken) - place + len(incoming) >= BEHIND
                index, crc32 = files[header["file"]].append(header["seq_num"], frame, packed=not behind)
                flushed.append((header["file"], index, header["seq_num"], crc32))
        finally:  # also what was written before something failed
            for file in {entry[0] for entry in flushed}:
                files[file].sync()
            _tell({"flushed": flushed})
    for opened in files:
        opened.close()


def _tell(answer: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the engine has died; its frames are written all the same
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
