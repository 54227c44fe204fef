"""Where megabar keeps what outlives a run: `MEGABAR_HOME`, or the user's data directory."""

import hashlib
import os
import re
from pathlib import Path

from .errors import InputError
from .rig import Rig, shipped


def home() -> Path:
    """The folder of state; it need not be there yet. Raises InputError where it cannot be."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    folder = Path(os.environ.get("MEGABAR_HOME") or Path(data) / "megabar")
    try:
        if folder.is_dir() or not folder.exists():
            return folder
        reason = "it is no folder"
    except OSError as error:
        reason = str(error)
    raise InputError(f"{folder}, where megabar keeps its state: {reason}; accepted is a folder, as MEGABAR_HOME")


def guard_folder(rig: Rig) -> Path:
    """Where the guard of a rig is told what to do, is reached, and writes down what it did: one for each rig file."""
    return home() / "guards" / key_of(rig)


def key_of(rig: Rig) -> str:
    """What is kept of a rig is kept under this name: the same for every path that leads to its file."""
    path = shipped().get(rig.name, Path(rig.name)).resolve()
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)
    return f"{name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
