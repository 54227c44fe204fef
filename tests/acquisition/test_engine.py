"""The engine: events after the first of a stream are checked for their keys, as quickly as that goes."""

from typing import Any

import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import Msg
from event_model import EventModelValidationError

from megabar.acquisition.clock import RealClock
from megabar.acquisition.engine import Isolated, make_engine


class Fickle:
    """Reads what it is told to, whatever it has declared."""

    name, parent = "fickle", None

    def __init__(self, *readings: dict[str, Any]) -> None:
        self.readings = list(readings)

    def read(self) -> dict[str, Any]:
        return {key: {"value": value, "timestamp": 1.0} for key, value in self.readings.pop(0).items()}

    def describe(self) -> dict[str, Any]:
        return {"x": {"source": "test", "dtype": "number", "shape": []}}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    describe_configuration = read_configuration


def run(*readings: dict[str, Any]) -> list[tuple[str, Any]]:
    documents: list[tuple[str, Any]] = []

    @bpp.run_decorator()
    def plan():
        device = Fickle(*readings)
        for _ in readings:
            yield Msg("create", None, name="primary")
            yield Msg("read", device)
            yield Msg("save")

    make_engine(RealClock(), [lambda name, doc: documents.append((name, doc))])(plan())
    return documents


def test_events_of_a_stream_are_numbered() -> None:
    events = [doc for name, doc in run({"x": 1.0}, {"x": 2.0}, {"x": 3.0}) if name == "event"]
    assert [(event["seq_num"], event["data"]) for event in events] == [
        (1, {"x": 1.0}),
        (2, {"x": 2.0}),
        (3, {"x": 3.0}),
    ]
    assert len({event["uid"] for event in events}) == 3


@pytest.mark.parametrize("later", [{"x": 1.0, "y": 2.0}, {"y": 2.0}, {}])
def test_later_event_with_other_keys_than_declared_is_refused(later: dict[str, Any]) -> None:
    with pytest.raises(EventModelValidationError, match=r"primary.*'[xy]'"):
        run({"x": 1.0}, later)


@pytest.mark.row(31, control="test_an_observer_that_is_not_isolated_ends_the_run")
def test_observer_that_fails_is_dropped() -> None:
    heard: list[str] = []

    def fail(name: str, document: Any) -> None:
        heard.append(name)
        raise ValueError("no")

    observer = Isolated(fail)
    observer("start", {})
    observer("stop", {})
    assert heard == ["start"]


def test_an_observer_that_is_not_isolated_ends_the_run() -> None:
    """The control: what the engine does by itself."""

    def fail(name: str, document: Any) -> None:
        raise ValueError("no")

    engine = make_engine(RealClock(), [fail])
    with pytest.raises(ValueError, match="no"):
        engine(bpp.run_wrapper(iter([])))
