"""Simulated time moves only when nothing can still happen, and then in one order."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from megabar.acquisition.clock import NEVER, RealClock, SimulatedClock


@pytest.fixture
def clock(tmp_path: Path):
    made = SimulatedClock(tmp_path / "now", ["wire"])
    yield made
    made.close()


def let_run(clock: SimulatedClock) -> None:
    """Give the main thread's token away until everything else has been done."""
    done = threading.Event()
    clock.call_later(1e6, "zz end", lambda: done.set())
    clock.block(done)


def test_waiters_are_released_by_deadline_then_name_then_order(clock: SimulatedClock) -> None:
    seen: list[tuple[str, float]] = []

    def note(label: str):
        return lambda: seen.append((label, clock.monotonic()))

    clock.call_later(2.0, "b", note("b first"))
    clock.call_later(2.0, "b", note("b second"))
    clock.call_later(2.0, "a", note("a"))
    clock.call_later(1.0, "z", note("z"))
    let_run(clock)
    assert seen == [("z", 1.0), ("a", 2.0), ("b first", 2.0), ("b second", 2.0)]


def test_time_stands_still_while_an_actor_works(clock: SimulatedClock) -> None:
    clock.hold("worker")
    moved = threading.Event()
    clock.call_later(1.0, "x", moved.set)
    threading.Thread(target=lambda: (time.sleep(0.05), clock.release("worker"))).start()
    began = time.monotonic()
    clock.block(moved)
    assert time.monotonic() - began >= 0.04
    assert clock.monotonic() == 1.0


def test_time_out_costs_no_real_time(clock: SimulatedClock) -> None:
    read_end, write_end = os.pipe()
    outcome: list[bool] = []
    finished = threading.Event()

    def wait() -> None:
        outcome.append(clock.wait_readable(read_end, 3600.0, "reader"))
        finished.set()
        clock.release("reader")

    clock.hold("reader")
    threading.Thread(target=wait).start()
    began = time.monotonic()
    clock.block(finished)
    assert outcome == [False]
    assert clock.monotonic() == 3600.0
    assert time.monotonic() - began < 1.0
    os.close(read_end)
    os.close(write_end)


def test_bytes_under_way_hold_time_even_when_everybody_waits(clock: SimulatedClock) -> None:
    ours, theirs = socket.socketpair()
    clock.attach(ours)
    import struct

    def report(grant: int, deadline: int, received: int, sent: int) -> None:
        theirs.send(struct.pack("<qq3q", grant, deadline, 0, received, sent))

    clock.sent("wire", 5)
    fired = threading.Event()
    clock.call_later(1.0, "x", fired.set)
    report(0, NEVER, 3, 0)  # three of five bytes have arrived
    waiting = threading.Thread(target=lambda: clock.block(fired))
    waiting.start()
    time.sleep(0.05)
    assert not fired.is_set()
    report(0, NEVER, 5, 0)
    waiting.join(2.0)
    assert fired.is_set()
    theirs.close()


def test_waiting_for_ever_is_reported_at_once(clock: SimulatedClock) -> None:
    reasons: list[str] = []
    failed = threading.Event()
    clock.on_failure = lambda reason: (reasons.append(reason), failed.set())
    threading.Thread(target=clock.block, args=(failed,), daemon=True).start()
    assert failed.wait(2.0)
    assert "nothing has a deadline" in reasons[0]


def test_token_released_twice_is_an_error(clock: SimulatedClock) -> None:
    with pytest.raises(RuntimeError, match="twice"):
        clock.release("nobody")


def test_real_clock_has_the_same_calls() -> None:
    clock = RealClock()
    called = threading.Event()
    clock.call_later(0.01, "x", called.set)
    clock.block(called)
    read_end, write_end = os.pipe()
    assert not clock.wait_readable(read_end, 0.01, "x")
    os.write(write_end, b"x")
    assert clock.wait_readable(read_end, 1.0, "x")
    os.close(read_end)
    os.close(write_end)
    public = {name for name in vars(RealClock) if not name.startswith("_")}
    assert public <= set(dir(SimulatedClock))
