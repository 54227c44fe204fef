"""How long the journal takes for a document, and what share of the engine's rate it costs; run by `make bench`.

Both figures are ratios to, or percentiles of, what this machine does at the same time: bare and recorded events
alternate. Time is that of the thread where others would disturb it, and wall time where the disk counts.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from ophyd import Signal

from megabar.acquisition.clock import RealClock
from megabar.acquisition.engine import make_engine
from megabar.acquisition.journal import Journal

N_SIGNALS = 20
RATE_PER_S = 500.0
LATENCY_MS = 5.0
LOST = 0.10


def plan(signals: list[Signal], n: int, costs: list[float]) -> Iterator[Any]:
    """A run of n events; `costs` gets the engine's CPU seconds between the first and the last."""
    yield from bps.open_run()
    for number in range(n):
        if number == 1:
            began = time.thread_time()
        yield from bps.checkpoint()
        yield from bps.create()
        for signal in signals:
            yield from bps.read(signal)
        yield from bps.save()
    costs.append(time.thread_time() - began)
    yield from bps.close_run()


def lost_share(folder: Path, rounds: int = 10, n: int = 500) -> tuple[float, float]:
    """Bare rate (1/s of CPU time) of the engine and the share of it that the journal takes.

    Bare and recorded runs alternate; what is compared is the time of the engine's thread, in which the journal writes.
    """
    signals = [Signal(name=f"signal_{i:02d}", value=i * 1.000123) for i in range(N_SIGNALS)]
    bare: list[float] = []
    recorded: list[float] = []
    for number in range(rounds):
        make_engine(RealClock(), [])(plan(signals, n, bare))
        with Journal(folder / str(number), RealClock()) as journal:
            make_engine(RealClock(), [journal])(plan(signals, n, recorded))
    one = statistics.median(bare)
    return (n - 1) / one, 1.0 - one / statistics.median(recorded)


def latencies_ms(folder: Path, seconds: float) -> np.ndarray:
    """Wall time (n,) ms of each event in the journal, at a steady rate."""
    keys = [f"signal_{i:02d}" for i in range(N_SIGNALS)]
    data_keys = {key: {"source": "bench", "dtype": "number", "shape": []} for key in keys}
    found = []
    with Journal(folder, RealClock()) as journal:
        journal("start", {"uid": "u", "time": 0.0})
        journal("descriptor", {"uid": "d", "time": 0.0, "data_keys": data_keys, "configuration": {}})
        began = time.monotonic()
        for number in range(int(seconds * RATE_PER_S)):
            time.sleep(max(0.0, began + number / RATE_PER_S - time.monotonic()))
            event = {"uid": f"{number:032x}", "descriptor": "d", "seq_num": number + 1, "time": time.time()}
            event["data"] = {key: number * 1.000123 + i for i, key in enumerate(keys)}
            event["timestamps"] = dict.fromkeys(keys, event["time"])
            asked = time.perf_counter()
            journal("event", event)
            found.append(1e3 * (time.perf_counter() - asked))
    return np.array(found)


def main() -> int:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        rate, lost = lost_share(Path(name))
        took = latencies_ms(Path(name) / "steady", 20.0)
    p50, p99 = np.percentile(took, [50, 99])
    print(
        f"journal: {RATE_PER_S:g} events/s of {N_SIGNALS} signals: p50 {p50:.2f} ms, p99 {p99:.2f} ms (<= {LATENCY_MS})"
    )
    print(f"engine:  {rate:.0f} events per second of its own, {lost:.1%} of that to the journal (<= {LOST:.0%})")
    return int(p99 > LATENCY_MS or lost > LOST)


if __name__ == "__main__":
    sys.exit(main())
