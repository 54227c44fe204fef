"""Power is lost: of what was not flushed each page may be on the disk, or not, or nothing of it.

A file system that really loses what was not flushed, and a machine that can be reset, are not to be had everywhere.
Here every write and every flush of a journal is noted with its moment; for moments at random a disk is made as a crash
may leave it.
"""

import os
import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from megabar.acquisition import journal as journal_module
from megabar.acquisition.journal import Journal
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.recovery import recover
from megabar.acquisition.run import read_run

SLACK = float(os.environ.get("MEGABAR_SLACK", "3"))
PAGE = 4096
CLOCK = SimpleNamespace(monotonic=time.monotonic)
DESCRIPTOR = {"uid": "d", "time": 0.0, "data_keys": {"x": {}}, "configuration": {}}
WRITE, FLUSH = os.write, os.fdatasync


class Disk:
    """Notes how long the journal was when, and how much of it was flushed."""

    def __init__(self, *, honest: bool = True) -> None:
        self.written: list[tuple[float, int]] = [(0.0, 0)]
        self.flushed: list[tuple[float, int]] = [(0.0, 0)]
        self.accepted: list[float] = []
        self._honest = honest

    def write(self, descriptor: int, data: Any) -> int:
        n = WRITE(descriptor, data)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == JOURNAL:
            self.written.append((time.monotonic(), self.written[-1][1] + n))
        return n

    def flush(self, descriptor: int) -> None:
        size = self.written[-1][1]
        FLUSH(descriptor)
        if self._honest:
            self.flushed.append((time.monotonic(), size))

    def after_a_crash(self, content: bytes, moment: float, chance: random.Random) -> bytes:
        """What may be found of a journal when power was lost at a moment."""
        there = max(size for when, size in self.written if when <= moment)
        safe = max(size for when, size in self.flushed if when <= moment)
        found = bytearray(content[: chance.randint(safe, there)])
        for page in range(safe // PAGE, len(found) // PAGE + 1):
            if chance.random() < 0.5:
                begin, end = max(safe, page * PAGE), min(len(found), (page + 1) * PAGE)
                found[begin:end] = bytes(max(0, end - begin))
        return bytes(found)


def losses(
    folder: Path, monkeypatch: pytest.MonkeyPatch, durability: Literal["group", "event"], n: int, disk: Disk
) -> list[float]:
    """How much earlier than each of `n` losses of power the last event was accepted that all before it survive (s)."""
    monkeypatch.setattr(journal_module.os, "write", disk.write)
    monkeypatch.setattr(journal_module.os, "fdatasync", disk.flush)
    with Journal(folder / "run", CLOCK, durability=durability) as journal:
        journal("start", {"uid": "u", "time": 0.0})
        journal("descriptor", DESCRIPTOR)
        for number in range(1, 501):
            event = {"uid": f"e{number}", "descriptor": "d", "seq_num": number, "time": 0.0}
            journal("event", event | {"data": {"x": float(number)}, "timestamps": {"x": 0.0}})
            disk.accepted.append(time.monotonic())
            time.sleep(0.002)
    monkeypatch.undo()
    content = (folder / "run" / JOURNAL).read_bytes()
    chance, lost = random.Random(23), []
    for trial in range(n):
        moment = chance.uniform(disk.accepted[0], disk.accepted[-1])
        copy = folder / str(trial)
        copy.mkdir()
        (copy / JOURNAL).write_bytes(disk.after_a_crash(content, moment, chance))
        recover(copy)
        run = read_run(copy)
        kept = [] if "primary" not in run.streams else list(run.streams["primary"].data["x"])
        assert kept == [float(number) for number in range(1, len(kept) + 1)], "a prefix, and all of it right"
        acknowledged = [when for when in disk.accepted if when <= moment]
        lost.append(moment - acknowledged[len(kept)] if len(kept) < len(acknowledged) else 0.0)
    return lost


@pytest.mark.row(23, control="test_on_a_disk_that_flushes_nothing_more_is_lost")
@pytest.mark.parametrize("n", [100, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("durability", "most_s"), [("group", 0.1), ("event", 0.0)])
def test_what_was_not_flushed_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Any, durability: Any, most_s: float, n: int
) -> None:
    """To the 100 ms comes the time that the disk itself takes for a flush."""
    lost = losses(tmp_path, monkeypatch, durability, n, Disk())
    assert max(lost) <= most_s * (1.0 + 0.5 * SLACK)
    passes = "<= 100 ms and a flush" if most_s else "none"
    measured(23, f"{n} losses of power, durability={durability!r}: lost at most", passes, 1e3 * max(lost))


def test_on_a_disk_that_flushes_nothing_more_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(honest=False)
    with pytest.raises(Exception, match="no run begins here"):
        losses(tmp_path, monkeypatch, "event", 20, disk)
