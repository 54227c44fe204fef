"""The simulator's side of discrete-event time: what it does with a grant."""

import mmap
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megabar.simulators.clock import NEVER, GrantedClock, GrantedLoop

SECOND = 10**9


class Owner:
    """Grants, and hears reports; three instruments sleep 1, 2 and 3 s and say when they woke."""

    def __init__(self, folder: Path, at_waking: Callable[[GrantedClock, int], None]) -> None:
        (folder / "now").write_bytes(bytes(mmap.PAGESIZE))
        self.control, theirs = socket.socketpair()
        self.clock = GrantedClock(folder / "now", theirs, ["wire"])
        self.loop = GrantedLoop(self.clock)
        self.woken: list[float] = []
        self.clock.attach(self.loop)
        self.tasks = [self.loop.create_task(self.sleeper(seconds, at_waking)) for seconds in (3, 1, 2)]
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.sockets = (self.control, theirs)

    async def sleeper(self, seconds: int, at_waking: Callable[[GrantedClock, int], None]) -> None:
        await self.clock.sleep(seconds, f"{seconds}")
        self.woken.append(self.clock.monotonic())
        at_waking(self.clock, seconds)

    def report(self) -> tuple[int, int]:
        """Number of the grant that is answered, and the next deadline."""
        self.control.settimeout(5.0)
        grant, deadline, *_ = struct.unpack("<qq3q", self.control.recv(40))
        return grant, deadline

    def grant(self, number: int, until: int) -> tuple[int, int]:
        self.control.send(struct.pack("<qq", number, until))
        return self.report()

    def close(self) -> None:
        self.control.shutdown(socket.SHUT_RDWR)
        self.thread.join(5.0)
        self.loop.close()
        for end in self.sockets:
            end.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Owner]]:
    owners: list[Owner] = []

    def make(at_waking: Callable[[GrantedClock, int], None] = lambda clock, seconds: None) -> Owner:
        owners.append(Owner(tmp_path, at_waking))
        return owners[-1]

    yield make
    for owner in owners:
        owner.close()


def test_it_goes_on_by_itself_up_to_the_moment_it_was_granted(own) -> None:
    owner = own()
    assert owner.report() == (0, SECOND)
    assert owner.grant(1, 2 * SECOND) == (1, 3 * SECOND)
    assert owner.woken == [1.0, 2.0]
    assert owner.grant(2, NEVER) == (2, NEVER)
    assert owner.woken == [1.0, 2.0, 3.0]


def test_it_stops_as_soon_as_it_has_sent_something(own) -> None:
    owner = own(lambda clock, seconds: clock.sent("wire", 1))
    owner.report()
    assert owner.grant(1, NEVER) == (1, 2 * SECOND)
    assert owner.woken == [1.0]


def test_without_a_new_grant_it_waits(own) -> None:
    owner = own()
    owner.report()
    owner.grant(1, SECOND)
    owner.loop.call_soon_threadsafe(lambda: None)  # as bytes of a request would, it has something to do, and reports
    assert owner.report() == (1, 2 * SECOND)
    assert owner.woken == [1.0]
