"""The guard's keeper: a parent with nothing in it, which forks a new guard at once when one dies or hangs."""

import asyncio
import contextlib
import ctypes
import gc
import os
import select
import signal
import traceback
from typing import NoReturn

from .guard import Guard
from .specification import Specification

SILENT_S = 1.0
"""A guard that has shown no life for so long hangs, and is killed."""
PRIORITY = 10
LEFT, ANOTHER = 0, 2
"""Exit codes that end the keeper too."""
LOCK_ALL = 3
"""MCL_CURRENT | MCL_FUTURE of mlockall(2)."""


def keep(specification: Specification) -> int:
    """Run guards, one after another, until one leaves because it may, or cannot begin; returns its exit code."""
    child = 0
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            if child:
                os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    restarted = has_lived = False
    while True:
        life, alive = os.pipe()
        os.set_blocking(alive, False)
        child = os.fork()
        if not child:
            os.close(life)
            _guard(specification, alive, restarted)
        os.close(alive)
        has_lived |= _until_silent(life, child)
        os.close(life)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code in (LEFT, ANOTHER) or (code > 0 and not has_lived):
            return code
        restarted = True


def _guard(specification: Specification, alive: int, restarted: bool) -> NoReturn:
    """Be the guard, never to return."""
    code = 1
    try:
        _take_precedence()
        asyncio.run(Guard(specification, alive).serve(restarted=restarted))
    except BlockingIOError:
        print(f"another guard of {specification['rig']} runs", flush=True)
        code = ANOTHER
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


def _until_silent(life: int, child: int) -> bool:
    """Until the child is dead; one that hangs is helped. Whether it has shown any life."""
    has_lived = False
    while True:
        if not select.select([life], [], [], SILENT_S)[0]:
            os.kill(child, signal.SIGKILL)
            return True
        if not os.read(life, 4096):
            return has_lived
        has_lived = True
