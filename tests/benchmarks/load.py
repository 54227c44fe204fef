"""The load that the parts of a run hold, printed by `make bench`: rates, losses and delays beside what is promised.

    python -P tests/benchmarks/load.py [--seconds 10] [--events 100000]

With `--seconds 60 --events 864000` it is what is promised in full. Shares are ratios within one run, of the time of the
engine's own thread; delays and frames depend on what else the machine does.
"""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.utils import Msg
from ophyd import Component, Signal

from megabar.acquisition.clock import RealClock
from megabar.acquisition.engine import make_engine
from megabar.acquisition.export import export
from megabar.acquisition.journal import Journal
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.observers import Observers
from megabar.acquisition.run import read_run
from megabar.devices.instrument import Instrument, Reading
from megabar.devices.link import Link

KEYS = [f"signal_{i:02d}" for i in range(10)]
NUMBERS = {key: {"source": "bench", "dtype": "number", "shape": []} for key in KEYS}
EVENTS_PER_S = 5000.0
FRAMES_PER_S = 100.0
SIDE = 1024
"""Frames are square, of 2 bytes a pixel: 2 MB."""
N_DEVICES, POLLS_PER_S, LAG_MS = 50, 10.0, 50.0
N_OBSERVERS, LOST = 20, 0.05
DAY_EVENTS, REBUILD_S = 864_000, 30.0


def declare(journal: Journal, data_keys: Mapping[str, Any]) -> None:
    journal("start", {"uid": "u", "time": 0.0, "plan_name": "load"})
    entry = {"uid": "d", "time": 0.0, "name": "primary", "data_keys": data_keys, "configuration": {}}
    journal("descriptor", entry)


def event(number: int, data: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time()
    stamps = dict.fromkeys(data, now)
    one = {"uid": f"{number:032x}", "descriptor": "d", "seq_num": number, "time": now, "filled": {}}
    return {**one, "data": data, "timestamps": stamps}


def numbers(number: int) -> dict[str, float]:
    return {key: number * 1.000123 + i for i, key in enumerate(KEYS)}


def journal_rate(folder: Path, n: int) -> float:
    """Events per second of wall time that the journal takes when nothing else is done."""
    with Journal(folder, RealClock()) as journal:
        declare(journal, NUMBERS)
        began = time.monotonic()
        for number in range(1, n + 1):
            journal("event", event(number, numbers(number)))
        took = time.monotonic() - began
        journal("stop", {"uid": "z", "time": 1.0, "exit_status": "success"})
    return n / took


def frames_lost(folder: Path, seconds: float) -> tuple[int, int, float]:
    """Frames that were sent at the steady rate, how many of them are not in the record, the longest delay (s)."""
    n, late_s = int(seconds * FRAMES_PER_S), 0.0
    images = np.random.default_rng(1).poisson(1000.0, (8, SIDE, SIDE)).astype(np.uint16)
    image = {"source": "bench", "dtype": "array", "shape": [SIDE, SIDE], "dtype_numpy": "<u2"}
    with Journal(folder, RealClock()) as journal:
        declare(journal, {"image": image})
        began = time.monotonic()
        for number in range(n):
            due = began + number / FRAMES_PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            journal("event", event(number + 1, {"image": images[number % 8]}))
            late_s = max(late_s, time.monotonic() - due)
        journal("stop", {"uid": "z", "time": 1.0, "exit_status": "success"})
    run = read_run(folder)
    return n, n - len(run.streams["primary"]) + len(run.damaged), late_s


class SoftLink(Link):
    """A line whose instrument takes 2 ms to answer."""

    is_open = True

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def fetch(self, queries: Sequence[Any]) -> list[Any]:
        time.sleep(0.002)
        return [1.0 for _ in queries]

    def assign(self, command: Any, value: Any) -> None:
        pass


class SoftInstrument(Instrument):
    value = Component(Reading, query="VALUE?", unit="V")


def loop_lags_ms(seconds: float) -> tuple[float, np.ndarray]:
    """Polls per second that were reached, and by how much (n,) ms the engine's loop came late to a timer of 5 ms."""
    clock = RealClock()
    links = [SoftLink(f"soft {i}", "", clock) for i in range(N_DEVICES)]
    devices = [SoftInstrument(name=f"soft_{i:02d}", link=link) for i, link in enumerate(links)]
    lags: list[float] = []
    polls: list[float] = []

    async def watch() -> None:
        while True:
            asked = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append(1e3 * (time.monotonic() - asked - 0.005))

    def plan() -> Iterator[Any]:
        yield from bps.open_run()
        began = time.monotonic()
        for number in range(int(seconds * POLLS_PER_S)):
            yield Msg("sleep", None, max(0.0, began + number / POLLS_PER_S - time.monotonic()))
            for device in devices:
                yield Msg("trigger", device, group="poll")
            yield Msg("wait", None, group="poll", timeout=10.0)
            yield Msg("create", None, name="primary")
            for device in devices:
                yield Msg("read", device)
            yield Msg("save")
            polls.append(time.monotonic())
        yield from bps.close_run()

    engine = make_engine(clock, [])
    watching = asyncio.run_coroutine_threadsafe(watch(), engine.loop)
    engine(plan())
    watching.cancel()
    for link in links:
        link.end()
    return (len(polls) - 1) / (polls[-1] - polls[0]), np.array(lags)


def engine_time(subscribers: Sequence[Any], n: int) -> float:
    """CPU seconds of the engine's thread for n events of ten signals."""
    signals = [Signal(name=key, value=1.000123) for key in KEYS]
    costs: list[float] = []

    def plan() -> Iterator[Any]:
        yield from bps.open_run()
        for number in range(n):
            if number == 1:
                began = time.thread_time()
            yield from bps.create()
            for signal in signals:
                yield from bps.read(signal)
            yield from bps.save()
        costs.append(time.thread_time() - began)
        yield from bps.close_run()

    make_engine(RealClock(), subscribers)(plan())
    return costs[0]


def raises(name: str, document: Mapping[str, Any]) -> None:
    raise ValueError("an observer that fails")


def counts(name: str, document: Mapping[str, Any]) -> None:
    json.dumps(document["time"])


def lost_to_observers(rounds: int = 7, n: int = 400) -> float:
    """Share of the engine's rate that observers take: one raises, one blocks, one is slow, the others keep up."""
    logging.getLogger("megabar").setLevel(logging.CRITICAL)
    blocked = threading.Event()
    slow: Callable[[str, Mapping[str, Any]], None] = lambda *_: time.sleep(0.1)  # noqa: E731
    observers = [raises, lambda *_: blocked.wait(), slow, *[counts] * (N_OBSERVERS - 3)]
    bare, watched = [], []
    for _ in range(rounds):
        bare.append(engine_time([], n))
        with Observers(observers) as observed:
            watched.append(engine_time([observed], n))
    blocked.set()
    return 1.0 - statistics.median(bare) / statistics.median(watched)


def rebuild_s(folder: Path) -> tuple[float, float]:
    """CPU seconds to make the file of a journal, and how many times as long as to decode its lines that is."""
    began = time.process_time()
    decoder = json.JSONDecoder()
    with (folder / JOURNAL).open("rb") as lines:
        for line in lines:
            decoder.decode(line[9:].decode("ascii"))
    decoding = time.process_time() - began
    began = time.process_time()
    export(folder, folder / "run.nxs")
    took = time.process_time() - began
    return took, took / decoding


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long frames come and devices are polled")
    parser.add_argument("--events", type=int, default=100_000, help="events of the journal that is rebuilt")
    asked = parser.parse_args()
    held = []

    def tell(what: str, text: str, holds: bool) -> None:
        held.append(holds)
        print(f"{what:10}{text}{'' if holds else '  NOT HELD'}", flush=True)

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        rate = journal_rate(folder / "events", asked.events)
        tell("journal:", f"{rate:.0f} events/s of ten signals (>= {EVENTS_PER_S:.0f})", rate >= EVENTS_PER_S)
        cpu, ratio = rebuild_s(folder / "events")
        day_s = cpu * DAY_EVENTS / asked.events
        text = f"{asked.events} events in {cpu:.1f} s of CPU time, {ratio:.1f} times their decoding; "
        tell("rebuild:", f"{text}{DAY_EVENTS} in {day_s:.0f} s (<= {REBUILD_S:g} s)", day_s <= REBUILD_S)
        n, lost, late_s = frames_lost(folder / "frames", asked.seconds)
        text = f"{n} of 2 MB at {FRAMES_PER_S:g}/s, {lost} lost (0), taken {1e3 * late_s:.0f} ms late at most"
        tell("frames:", text, lost == 0)
    polls, lags = loop_lags_ms(asked.seconds)
    p50, p99 = np.percentile(lags, [50, 99])
    text = f"{N_DEVICES} devices polled {polls:.1f} times a second; loop lag p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    tell("devices:", f"{text} (<= {LAG_MS:g})", p99 <= LAG_MS)
    share = lost_to_observers()
    tell("observers:", f"{share:.1%} of the engine's time to {N_OBSERVERS} of them (<= {LOST:.0%})", share <= LOST)
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
