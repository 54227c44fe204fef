"""A day of ten events per second through an engine into a journal: memory, rate, and the time to make its file."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bluesky.utils import Msg

from megabar.acquisition.clock import RealClock
from megabar.acquisition.engine import make_engine
from megabar.acquisition.export import export
from megabar.acquisition.journal import Journal
from megabar.acquisition.run import read_run

EVENTS = int(os.environ.get("MEGABAR_EVENTS", "864000"))


class TenSignals:
    """Ten numbers that change with every reading."""

    name, parent = "ten", None

    def __init__(self) -> None:
        self.count = 0

    def read(self) -> dict[str, Any]:
        self.count += 1
        return {f"s{i}": {"value": self.count * 0.1 + i, "timestamp": self.count * 0.1} for i in range(10)}

    def describe(self) -> dict[str, Any]:
        return {f"s{i}": {"source": "soak", "dtype": "number", "shape": []} for i in range(10)}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    describe_configuration = read_configuration


def used() -> tuple[int, int, int]:
    """Bytes of memory, open files and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.soak
def test_a_day_at_ten_hertz(tmp_path: Path) -> None:
    marks: list[tuple[int, float, float, int, int, int]] = []
    every = max(1, EVENTS // 100)

    def plan() -> Iterator[Msg]:
        ten = TenSignals()
        yield Msg("open_run")
        for number in range(EVENTS):
            if number % every == 0:
                marks.append((number, time.monotonic(), time.process_time(), *used()))
            yield Msg("checkpoint")
            yield Msg("create", None, name="primary")
            yield Msg("read", ten)
            yield Msg("save")
        yield Msg("close_run")

    with Journal(tmp_path, RealClock()) as journal:
        make_engine(RealClock(), [journal])(plan())
    count, wall_s, cpu_s, memory, files, threads = np.array(marks).T
    warm = len(marks) // 5
    slope = np.polyfit(count[warm:], memory[warm:], 1)[0]
    fifths = [np.ptp(cpu_s[first : first + warm + 1]) for first in (0, len(marks) - warm - 1)]
    print(f"\n{EVENTS} events in {np.ptp(wall_s):.0f} s; memory {slope:+.1f} bytes per event after the first fifth")
    print(f"CPU time of the last fifth {fifths[1] / fifths[0]:.3f} of the first")
    began = time.monotonic(), time.process_time()
    export(tmp_path, tmp_path / "run.nxs")
    took = time.monotonic() - began[0], time.process_time() - began[1]
    print(f"file made in {took[0]:.1f} s, {took[1]:.1f} s of CPU time")
    assert slope <= 20.0
    assert fifths[0] / fifths[1] >= 0.9
    assert np.ptp(files[warm:]) <= 2
    assert np.ptp(threads[warm:]) <= 2
    assert took[1] <= 30.0
    run = read_run(tmp_path)
    assert (run.exit_status, run.torn, run.damaged) == ("success", "", ())
    with h5py.File(tmp_path / "run.nxs") as root:
        np.testing.assert_array_equal(root["entry/streams/primary/seq_num"], np.arange(1, EVENTS + 1))
        np.testing.assert_allclose(root["entry/streams/primary/s3"], np.arange(1, EVENTS + 1) * 0.1 + 3)
