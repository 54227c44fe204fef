"""What a Keithley 6221 answers."""

import math
import re

import numpy as np
from numpy.typing import NDArray

NUMBER = r"[+-]?\d+(?:\.\d*)?(?:E[+-]?\d{1,2})?"
READING = r"[+-]\d\.\d+E[+-]?\d{1,2}"
OVERFLOW = 9.9e37


def parse_number(reply: str) -> float:
    """A decimal number. Raises ValueError for any other text."""
    if not re.fullmatch(NUMBER, reply, re.ASCII):
        raise ValueError("not a decimal number")
    return float(reply)


def parse_whole(reply: str) -> int:
    """A whole number, however it is written. Raises ValueError for any other text."""
    value = parse_number(reply)
    if not value.is_integer():
        raise ValueError("not a whole number")
    return int(value)


def parse_count(reply: str) -> float:
    """A whole number; NaN where there is no end. Raises ValueError for any other text."""
    if reply in ("INF", "INFINITY"):
        return math.nan
    value = parse_number(reply)
    return math.nan if value >= OVERFLOW else float(parse_whole(reply))


def parse_flag(reply: str) -> int:
    """0 or 1. Raises ValueError for any other text."""
    if reply not in ("0", "1"):
        raise ValueError("neither 0 nor 1")
    return int(reply)


def parse_volts(reply: str) -> int:
    """1 where readings are in volts. Raises ValueError for what is no unit."""
    return int(("OHMS", "V", "W", "SIEM").index(reply) == 1)


def bits(reply: str) -> int:
    """A register of sixteen bits. Raises ValueError for any other text."""
    if not re.fullmatch(r"\+?\d{1,5}", reply, re.ASCII) or int(reply) >= 1 << 16:
        raise ValueError("not a register")
    return int(reply)


def parse_in_compliance(reply: str) -> int:
    """Bit 3 of the condition of what is measured. Raises ValueError for any other text."""
    return bits(reply) >> 3 & 1


def parse_series(reply: str, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Readings (n,) in V, NaN where they overflowed, and their times (n,) in s.

    Raises ValueError for other than `n` pairs, for a reading that has lost its end or its exponent, and for times that
    fall.
    """
    items = reply.split(",")
    if len(items) != 2 * n:
        raise ValueError(f"{len(items)} numbers, expected {2 * n}")
    for item in items[::2]:
        if not re.fullmatch(READING, item, re.ASCII):
            raise ValueError(f"{item[:20]!r} is no reading")
    delta_v = np.array(items[::2], dtype=float)
    time_s = np.array([parse_number(item) for item in items[1::2]])
    if time_s[0] < 0 or (np.diff(time_s) < 0).any():  # of four digits, so that neighbours may be equal
        raise ValueError("times that fall")
    return np.where(np.abs(delta_v) >= OVERFLOW, np.nan, delta_v), time_s
