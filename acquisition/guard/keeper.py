"""The guard's keeper: a parent with nothing in it, which forks a new guard at once when one dies or hangs."""

import asyncio
import contextlib
import ctypes
import gc
import os
import select
import signal
import time
import traceback
from typing import NoReturn

from .claims import Claimed, claim
from .guard import SERVES, Guard
from .log import Log
from .specification import Specification

SILENT_S = 1.0
"""A guard that has shown no life for so long hangs, and is killed."""
AT_ONCE = 3
"""So many guards in a row that died before they served are replaced at once; the next ones after pauses that double."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
PRIORITY = 10
LEFT, ANOTHER = 0, 2
"""Exit codes that end the keeper too."""
LOCK_ALL = 3
"""MCL_CURRENT | MCL_FUTURE of mlockall(2)."""


def keep(specification: Specification) -> int:
    """Run guards, one after another, until one leaves because it may, or cannot begin; returns its exit code."""
    try:
        claim(specification)  # held to the end: by this process, and by a guard that outlives it
    except Claimed as error:
        print(error, flush=True)
        return ANOTHER
    keeper = _Keeper(specification)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, keeper.pass_on)
    return keeper.keep()


class _Keeper:
    """Never gives up: a guard that dies at every start is replaced more and more slowly, one that served at once."""

    def __init__(self, specification: Specification) -> None:
        self._specification = specification
        self._child = 0
        self._to_leave = False
        self._n_died = 0

    def pass_on(self, number: int, _frame: object) -> None:
        """A SIGTERM is the guard's; one that comes between two guards is the next one's."""
        self._to_leave = True
        if self._child:
            os.kill(self._child, number)

    def keep(self) -> int:
        """Returns the exit code of a guard that has left, or of the first where it cannot begin."""
        restarted = False
        while True:
            life = self._begin(restarted=restarted)
            if restarted:
                self._tell()
            has_lived, has_served = self._until_silent(life)
            os.close(life)
            child, self._child = self._child, 0  # from here on its number may be another's
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code in (LEFT, ANOTHER) or (code > 0 and not has_lived and not restarted):
                return code
            restarted = True
            self._n_died = 0 if has_served else self._n_died + 1
            time.sleep(pause_s(self._n_died))

    def _begin(self, *, restarted: bool) -> int:
        """Fork a guard; returns the end of a pipe that shows its life."""
        life, alive = os.pipe()
        os.set_blocking(alive, False)
        self._child = os.fork()
        if not self._child:
            os.close(life)
            _guard(self._specification, alive, restarted)
        os.close(alive)
        return life

    def _tell(self) -> None:
        """Write down that a guard was replaced; not before it was, for the disk may be slow."""
        log = Log(self._specification["log"])
        log.write("restarted", n=self._n_died, after_s=pause_s(self._n_died))
        log.close()

    def _until_silent(self, life: int) -> tuple[bool, bool]:
        """Until the child is dead; one that hangs is helped. Whether it has shown any life, and whether it served."""
        has_lived = has_served = False
        while True:
            if not select.select([life], [], [], SILENT_S)[0]:
                os.kill(self._child, signal.SIGKILL)
                return True, has_served
            shown = os.read(life, 4096)
            if not shown:
                return has_lived, has_served
            has_served |= SERVES in shown
            if self._to_leave and not has_lived:  # it hears signals from now on
                os.kill(self._child, signal.SIGTERM)
            has_lived = True


def pause_s(n_died: int) -> float:
    """How long to wait before a guard is replaced, when so many in a row have died."""
    if n_died <= AT_ONCE:
        return 0.0
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(n_died - AT_ONCE - 1, 10))


def _guard(specification: Specification, alive: int, restarted: bool) -> NoReturn:
    """Be the guard, never to return."""
    code = 1
    try:
        _take_precedence()
        asyncio.run(Guard(specification, alive).serve(restarted=restarted))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _take_precedence() -> None:
    """Before other processes, in memory that stays, without long pauses; each as far as it is allowed.

    What is there now is never looked at again by the garbage collector; what strangers leave behind is soon found.
    """
    gc.freeze()
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mlockall(LOCK_ALL)
