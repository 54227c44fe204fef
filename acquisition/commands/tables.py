"""Tables on standard output: nothing is cut off, and numbers have the digits that they deserve."""

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table


def table(*columns: str, title: str) -> Table:
    """An empty table whose cells fold instead of being cut."""
    made = Table(title=title)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def digits_of(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """Value, statistical and systematic error, the value to two digits of both together."""
    value, error, systematic = (float(entry[part]) for part in ("value", "error", "systematic"))
    whole = math.hypot(error, systematic)
    if not (math.isfinite(value) and math.isfinite(whole) and whole > 0.0):
        return f"{value:.6g}", f"{error:.2g}", f"{systematic:.2g}"
    figures = max(1, math.floor(math.log10(max(abs(value), whole))) - math.floor(math.log10(whole)) + 2)
    return f"{value:#.{figures}g}", f"{error:.2g}", f"{systematic:.2g}"
