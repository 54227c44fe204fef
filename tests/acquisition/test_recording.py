"""Results of live analysis become streams of the run that they belong to."""

import math
from collections.abc import Mapping
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from ophyd import Signal

from megabar.acquisition.recording import recorded
from megabar.analysis.estimate import Estimate
from megabar.analysis.live.analysis import CLOSE, LiveAnalysis, RunResults, independent
from megabar.plans.results import wait_for_result


class Doubled(LiveAnalysis):
    """Twice the value; refuses negative ones."""

    name = "doubled"
    listens = frozenset({"primary"})
    recorded_after = frozenset({"primary"})
    quantities: Mapping[str, str] = {"double": "V"}

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        value = event["signal"]
        if value < 0:
            raise ValueError("negative")
        return independent(("double",), (2 * value,), (0.1,), (0.2,), ("V",), "doubling") if value else None


class Last(Doubled):
    name = "last"
    recorded_after = frozenset({CLOSE})
    quantities: Mapping[str, str] = {"double": "V"}


def run(values: list[float], *analyses: LiveAnalysis, steer: bool = False) -> list[tuple[str, Any]]:
    signal = Signal(name="signal", value=0.0)
    documents: list[tuple[str, Any]] = []
    waited: list[bool] = []

    @bpp.run_decorator()
    def plan():
        for i, value in enumerate(values, start=1):
            yield from bps.mv(signal, value)
            yield from bps.trigger_and_read([signal])
            if steer:
                waited.append((yield from wait_for_result(analyses[0], i, timeout_s=0.02, poll_s=0.01)))

    engine = RunEngine({}, context_managers=[])
    for subscriber in (*analyses, lambda name, doc: documents.append((name, doc))):
        engine.subscribe(subscriber)
    engine(recorded(plan(), analyses))
    documents.append(("waited", waited))
    return documents


def events(documents: list[tuple[str, Any]], stream: str) -> list[dict[str, Any]]:
    names = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    return [doc for name, doc in documents if name == "event" and names[doc["descriptor"]] == stream]


def test_each_result_is_an_event_that_names_the_one_it_derives_from() -> None:
    found = events(run([1.0, 2.0], Doubled()), "doubled")
    assert [e["data"]["double"] for e in found] == [2.0, 4.0]
    assert [e["data"]["doubled_seq_num"] for e in found] == [1, 2]
    assert found[0]["data"]["double_error"] == 0.1
    assert found[0]["data"]["double_systematic"] == 0.2
    assert found[0]["data"]["doubled_model"] == "doubling"
    assert found[0]["data"]["doubled_covariance"].shape == (1, 1)


def test_event_without_a_result_records_nothing_and_a_failure_ends_nothing() -> None:
    analysis = Doubled()
    found = events(run([1.0, 0.0, -1.0, 3.0], analysis), "doubled")
    assert [e["data"]["doubled_seq_num"] for e in found] == [1, 4]
    assert analysis.failures == ["doubled, primary 3: negative"]


def test_units_are_declared() -> None:
    documents = run([1.0], Doubled())
    keys = next(doc["data_keys"] for name, doc in documents if name == "descriptor" and doc["name"] == "doubled")
    assert keys["double"]["units"] == "V"
    assert keys["double_systematic"]["units"] == "V"


def test_closing_analysis_is_read_once_before_the_stop() -> None:
    documents = run([1.0, 2.0], Last())
    assert [e["data"]["double"] for e in events(documents, "last")] == [4.0]
    assert documents[-2][0] == "stop"


def test_plan_that_steers_gets_the_result_of_its_own_event_or_a_no() -> None:
    documents = run([1.0, -1.0, 2.0], Doubled(), steer=True)
    assert documents[-1][1] == [True, False, True]


def test_reading_before_any_result_says_nan() -> None:
    assert math.isnan(Doubled().read()["double"]["value"])
    assert math.isnan(Doubled().value("double"))


class Whole(RunResults):
    """What was doubled last, over the window of all values."""

    quantities: Mapping[str, str] = {"double": "V"}

    def __init__(self, doubled: Doubled) -> None:
        super().__init__()
        self.doubled = doubled

    def conclude(self) -> None:
        self.estimate = self.doubled.estimate
        times = self.doubled.series("double").time_s
        self.window = (*times[:1], *times[-1:])


@pytest.mark.parametrize(("values", "n_results"), [([], 0), ([0.0], 0), ([1.0], 0), ([1.0, 2.0], 1)])
def test_results_belong_to_a_window_that_has_a_length(values: list[float], n_results: int) -> None:
    doubled = Doubled()
    results = events(run(values, doubled, Whole(doubled)), "results")
    assert len(results) == n_results
    for event in results:
        assert event["data"]["window_start"] < event["data"]["window_stop"]
