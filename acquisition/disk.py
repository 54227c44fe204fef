"""The disk that a run is recorded on: what is refused before the run begins, and room kept for its end.

A disk that is full must not keep a run from saying how it ended. The `Reserve` takes room while there is some and gives
it back when the disk refuses a line.
"""

import os
import tempfile
from pathlib import Path

from .errors import InputError

RESERVE_BYTES = 64 << 20
"""Room kept for the documents that follow when the disk is full; with less than this left, a run is stopped."""
REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs"))
"""Types of file systems whose server may go away, or whose flush may promise what is not so."""
MOUNTS = Path("/proc/self/mountinfo")


def check_disk(folder: Path, expected_bytes: float = 0.0) -> None:
    """Refuse a folder on the network, and one whose disk has less than twice `expected_bytes` and two reserves free.

    The folder need not be there yet. Raises InputError.
    """
    existing = next(there for there in (Path(folder).absolute(), *Path(folder).absolute().parents) if there.exists())
    if not existing.is_dir():
        raise InputError(f"{folder}: {existing} is no folder; accepted is one, or a place where one can be made")
    kind = file_system(existing)
    if kind in REMOTE:
        raise InputError(f"{folder} is on a network file system ({kind}); accepted is a local disk, to be copied later")
    free, needed = free_bytes(existing), 2 * expected_bytes + 2 * RESERVE_BYTES
    if free < needed:
        raise InputError(f"{folder}: {free / 1e9:.2f} GB are free on its disk; accepted are {needed / 1e9:.2f} GB")


def free_bytes(folder: Path) -> int:
    """What a user may still write there. Raises OSError."""
    there = os.statvfs(folder)
    return there.f_bavail * there.f_frsize


def file_system(path: Path) -> str:
    """Type of the file system that holds a path, as the system names it; empty where it does not say."""
    if not MOUNTS.exists():
        return ""
    path = path.resolve()
    found: list[tuple[int, str]] = []
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        mount, _, source = line.partition(" - ")
        point = Path(_unescaped(mount.split()[4]))
        if path.is_relative_to(point):
            found.append((len(point.parts), source.split()[0]))
    return max(reversed(found), key=lambda entry: entry[0], default=(0, ""))[1]  # of two on one point, the later


def _unescaped(text: str) -> str:
    """A path of the list of mounts, where blanks and the like are written as octal numbers."""
    for code in (" ", "\t", "\n", "\\"):
        text = text.replace(f"\\{ord(code):03o}", code)
    return text


class Reserve:
    """Room on the disk of a folder, really allocated, in a file without a name: it goes when this process does.

    Raises InputError when there is not so much.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor, name = tempfile.mkstemp(dir=folder)
        self.freed = False
        Path(name).unlink()
        try:
            os.posix_fallocate(self._descriptor, 0, RESERVE_BYTES)
        except OSError as error:
            self.free()
            raise InputError(f"{folder}: no {RESERVE_BYTES >> 20} MiB can be reserved ({error.strerror})") from error

    def free(self) -> bool:
        """Give the room back; False when that was done before."""
        if self.freed:
            return False
        self.freed = True
        os.close(self._descriptor)
        return True
