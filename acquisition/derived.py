"""What is made of a journal, by processes that have done their imports during the run.

The one that makes the NeXus file may also follow the journal while the run goes on, for live viewers. Nothing waits for
it: when it fails or lags, the run goes on, and the final file is made from the journal alone.
"""

import contextlib
import io
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

POLL_S = 0.2
"""How often a journal that is followed is looked at."""


class Derivation:
    """One file that will be made: a NeXus file (`export`) or a picture (`report`), in a process of its own."""

    def __init__(self, kind: Literal["export", "report"]) -> None:
        self.kind = kind
        self._file: Path | None = None
        self._live: Path | None = None
        self._process = self._begun()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Do the imports now."""
        self._tell("")

    def follow(self, folder: Path, file: Path) -> None:
        """Keep `file` up to date with the run that begins in `folder`, until the final file has been made."""
        self._live = file
        self._tell(json.dumps({"follow": str(folder), "file": str(file)}))

    def make(self, folder: Path, file: Path) -> None:
        """Begin to make `file` of the journal in `folder`."""
        self._file = file
        if self._process.poll() is not None:  # it ended while it followed
            self.close()
            self._process = self._begun()
            self.prepare()
        self._tell(json.dumps({"make": str(folder), "file": str(file)}))

    def made(self) -> Path | None:
        """Wait for the file; None when it could not be made, for reasons that were told on standard error."""
        self.close()
        if self._process.returncode < 0 and self._file is not None:
            print(f"the {self.kind} was killed; megabar {self.kind} {self._file.parent} tries again", file=sys.stderr)
        return self._file if self._process.returncode == 0 else None

    def close(self) -> None:
        """Tell it that nothing else comes, and wait for its end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:  # it has ended before it read the last line
            pass
        self._process.wait()
        if self._live is not None:
            self._live.unlink(missing_ok=True)  # it may have been killed

    def _begun(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "megabar.acquisition.derived", self.kind],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C ends the run, whose files are then made
        )

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it has ended, and its exit code tells
            return


def main() -> int:
    """`python -m megabar.acquisition.derived KIND`: a line to prepare, perhaps one to follow, one to make."""
    kind = sys.argv[1]
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    if not (line := asked.get()):
        return 0
    make: Callable[[Path, Path], Path]
    if kind == "export":
        from .export import export as make
    else:
        from .report import report as make
    while not line.strip():
        if not (line := asked.get()):
            return 0
    told = json.loads(line)
    if "follow" in told:
        line, end = _followed(Path(told["follow"]), Path(told["file"]), asked)
    else:
        end = _nothing
    try:
        return _made(kind, make, line)
    finally:
        end()


def _listen(asked: "queue.SimpleQueue[str]") -> None:
    # not through a buffer: its lock would be held when the interpreter ends
    for line in iter(io.FileIO(0, closefd=False).readline, b""):
        asked.put(line.decode())
    asked.put("")


def _made(kind: str, make: Callable[[Path, Path], Path], line: str) -> int:
    if not line:
        return 0
    told = json.loads(line)
    folder = told["make"]
    try:
        make(Path(folder), Path(told["file"]))
    except Exception as error:
        print(f"the {kind} failed ({_reason(error)}); megabar {kind} {folder} tries again", file=sys.stderr)
        return 1
    return 0


def _followed(folder: Path, file: Path, asked: "queue.SimpleQueue[str]") -> tuple[str, Callable[[], None]]:
    """Follow a journal until something else is asked for: that line, and what to do when that is done."""
    from .lines import JOURNAL
    from .live_file import LiveFile
    from .run import Tail

    live, tail = LiveFile(file), Tail(folder / JOURNAL)
    try:
        while True:
            new = 0
            for new, line in enumerate(tail.lines(), 1):  # noqa: B007
                live.take(line)
                live.write_due()
            live.write_due()
            try:
                return asked.get(timeout=0 if new else POLL_S), live.close
            except queue.Empty:
                continue
    except Exception as error:
        print(f"there is no live file {file} any more ({_reason(error)})", file=sys.stderr)
        with contextlib.suppress(Exception):
            live.close()
        return asked.get(), _nothing


def _nothing() -> None:
    pass


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
