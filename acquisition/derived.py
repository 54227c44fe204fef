"""What is made of a journal when its run has ended, by processes that have done their imports during the run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self


class Derivation:
    """One file that will be made: a NeXus file (`export`) or a picture (`report`), in a process of its own."""

    def __init__(self, kind: Literal["export", "report"]) -> None:
        self.kind = kind
        self._file: Path | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "megabar.acquisition.derived", kind],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C ends the run, whose files are then made
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Do the imports now."""
        self._tell("")

    def make(self, folder: Path, file: Path) -> None:
        """Begin to make `file` of the journal in `folder`."""
        self._file = file
        self._tell(json.dumps([str(folder), str(file)]))

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

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it has ended, and its exit code tells
            return


def main() -> int:
    """`python -m megabar.acquisition.derived KIND`: a line to prepare, a line [FOLDER, FILE] to make."""
    kind = sys.argv[1]
    if not sys.stdin.readline():
        return 0
    make: Callable[[Path, Path], Path]
    if kind == "export":
        from .export import export as make
    else:
        from .report import report as make
    line = sys.stdin.readline()
    if not line:
        return 0
    folder, file = map(Path, json.loads(line))
    try:
        make(folder, file)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"the {kind} failed ({reason}); megabar {kind} {folder} tries again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
