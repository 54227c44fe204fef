"""The computer's own clock: whether it is synchronised, and whether it jumps."""

import ctypes
import sys
import time

UNSYNCHRONISED = 0x40
"""STA_UNSYNC of adjtimex(2)."""


class _Timex(ctypes.Structure):
    """The beginning of `struct timex`, with room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


def synchronised() -> bool | None:
    """Whether something such as NTP keeps the system clock right; None where the system does not say."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        told = _Timex()  # modes 0: only asked
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else not told.status & UNSYNCHRONISED


class Steadiness:
    """Compares the wall clock with the monotonic one from now on."""

    def __init__(self) -> None:
        self._apart = self._difference()

    def jumped_s(self) -> float:
        """How far the wall clock has jumped since, in seconds."""
        return self._difference() - self._apart

    @staticmethod
    def _difference() -> float:
        name = time.CLOCK_BOOTTIME if hasattr(time, "CLOCK_BOOTTIME") else time.CLOCK_MONOTONIC
        return time.time() - time.clock_gettime(name)
