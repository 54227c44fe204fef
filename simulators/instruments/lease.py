"""A watchdog in an EPICS server: a record that somebody must keep beating, or the hazard is stopped and stays so.

As a station builds it from standard records: a `bo` with `HIGH` = 1 s that falls back by itself, a `calcout` on its
"Transition To Zero" that stops the hazard, and an access security group whose rule lets set-points be put only while
the first is 1.
"""

import dataclasses
from collections.abc import Callable, Mapping

from ..clock import Clock
from ..wire.records import Record

HIGH_S = 1.0
"""In real seconds: the one who beats lives in real time, however fast the instrument's time runs."""


class Lease:
    """Calls `stop(t)` when nobody has beaten for a second; until the next beat the set-points take no put.

    It acts from the first beat on, as a database that nobody beats would refuse everything.
    """

    def __init__(self, clock: Clock, stop: Callable[[float], None]) -> None:
        self._high_s = HIGH_S * clock.factor
        self._stop = stop
        self._until = -1.0

    def records(self, name: str, others: Mapping[str, Record], *, free: Callable[[str], bool]) -> dict[str, Record]:
        """The beaten record `name` beside the `others`, of which only the `free` ones can be put without a lease."""
        lease = Record(lambda t: int(self.held(t)), self._beat, kind="enum", states=("Lost", "Held"))
        return {name: lease} | {
            suffix: record if record.write is None or free(suffix) else self._leased(suffix, record)
            for suffix, record in others.items()
        }

    def held(self, t: float) -> bool:
        """Whether somebody beats."""
        return t <= self._until

    def tick(self, t: float) -> None:
        """Look at the time."""
        if 0.0 <= self._until < t:
            self._until = -1.0
            self._stop(t)

    def _beat(self, t: float, value: int) -> None:
        if value:
            self._until = t + self._high_s
        else:
            self._until = min(self._until, t)

    def _leased(self, suffix: str, record: Record) -> Record:
        write = record.write
        assert write is not None

        def put(t: float, value: object) -> None:
            if not self.held(t):
                raise ValueError(f"{suffix} takes no put while nobody holds the lease")
            write(t, value)

        return dataclasses.replace(record, write=put)
