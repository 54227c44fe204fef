"""Counters of frames: a detector that numbers its frames shows by that whether one is missing."""

from collections.abc import Mapping
from typing import Any

COUNTER = "frame_counter"
"""In a data key: the value is the detector's own count, and rises by so much from event to event."""


class FrameCounters:
    """Follows the counters that the descriptors of a run declare."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, int]] = {}
        self._streams: dict[str, str] = {}
        self._last: dict[tuple[str, str], int] = {}

    def declared(self, descriptor: Mapping[str, Any]) -> None:
        """Take in a descriptor; counting begins anew. Raises ValueError, naming the key, for no whole number."""
        found = {key: said[COUNTER] for key, said in descriptor["data_keys"].items() if COUNTER in said}
        for key, step in found.items():
            if not isinstance(step, int) or step < 1:
                raise ValueError(f"descriptor.data_keys.{key}.{COUNTER} is {step!r}; accepted is 1 or more per event")
        if found:
            self._steps[descriptor["uid"]] = found
            self._streams[descriptor["uid"]] = str(descriptor.get("name") or "primary")

    def gap(self, event: Mapping[str, Any]) -> str:
        """What does not follow in the counters of an event; empty when all do."""
        gaps = []
        uid = event["descriptor"]
        for key, step in self._steps.get(uid, {}).items():
            count = int(event["data"][key])
            last = self._last.get((uid, key), count - step)
            self._last[uid, key] = count
            if count != last + step:
                missing = f"; {count - last - step} frames are missing" if count > last + step else ""
                gaps.append(f"stream {self._streams[uid]}: {key} went from {last} to {count}{missing}")
        return "; ".join(gaps)
