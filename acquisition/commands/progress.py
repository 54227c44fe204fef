"""How far a run is, on standard error."""

import sys
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar


class Progress:
    """An observer of documents that draws a bar of experimental time and tells the latest results."""

    def __init__(self, name: str, expected_s: float, *, quiet: bool) -> None:
        console = Console(file=sys.stderr, quiet=quiet and not sys.stderr.isatty())
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
        self._bar = Bar(*columns, TimeElapsedColumn(), console=console, refresh_per_second=4)
        self._name, self._expected_s = name, expected_s
        self._task = self._bar.add_task(name, total=expected_s)
        self._streams: dict[str, Mapping[str, Any]] = {}
        self._first_s: float | None = None
        self._latest: dict[str, str] = {}
        self._elapsed_s = 0.0
        self._paused = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._first_s is not None:
            self._bar.stop()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            self._bar.start()
        elif name == "descriptor":
            self._streams[document["uid"]] = document
        elif name == "event":
            self._event(self._streams[document["descriptor"]], document)
        elif name == "stop":
            self._bar.update(self._task, completed=self._expected_s, description=self._describe())

    def tell(self, line: str, paused: bool) -> None:
        """Print a line above the bar, which says whether the run is paused."""
        self._paused = " paused" if paused else ""
        self._bar.update(self._task, description=self._describe(self._elapsed_s))
        if self._bar.console.quiet:
            print(line, file=sys.stderr)
        else:
            self._bar.console.print(line, markup=False, soft_wrap=True)

    def _event(self, descriptor: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        now_s = max(event["timestamps"].values())
        self._first_s = now_s if self._first_s is None else self._first_s
        for key, entry in descriptor["data_keys"].items():
            if entry["dtype"] == "number" and f"{key}_error" in event["data"]:
                self._latest[key] = f"{key} {event['data'][key]:.3g} {entry.get('units', '')}".strip()
        self._elapsed_s = now_s - self._first_s
        self._bar.update(
            self._task,
            completed=min(self._elapsed_s, 0.99 * self._expected_s),
            description=self._describe(self._elapsed_s),
        )

    def _describe(self, elapsed_s: float | None = None) -> str:
        hours = "" if elapsed_s is None else f" {elapsed_s / 3600:.1f} h"
        shown = [self._latest[key] for key in ("strain", "differential_stress") if key in self._latest]
        return f"{self._name}{self._paused}{hours} {', '.join(shown)}".rstrip()
