"""Going on with an interrupted run: what was recorded counts once, whatever is counted."""

import dataclasses
import fcntl
import gc
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import Msg, MsgGenerator

from megabar.acquisition.errors import InputError
from megabar.acquisition.experiments import Experiment
from megabar.acquisition.resumption import find_interrupted
from megabar.acquisition.rig import load_rig
from megabar.acquisition.run import read_run
from megabar.acquisition.session import Outcome, Session
from megabar.acquisition.simulation import Simulation
from megabar.analysis.estimate import Estimate
from megabar.analysis.live.analysis import LiveAnalysis, independent
from megabar.plans.beamline import record
from megabar.plans.parameters import Parameters, quantity

EPOCH_S = 1_767_225_600.0


class Counted(LiveAnalysis):
    """Counts thermal cycles: how often the sample was taken through one."""

    name = "cycles"
    listens = frozenset({"cycle"})
    recorded_after = frozenset({"cycle"})
    quantities: Mapping[str, str] = {"cycles": ""}

    def __init__(self) -> None:
        super().__init__()
        self.n = 0
        self.seen: list[int] = []

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate:
        self.n += 1
        self.seen.append(int(event["cycled"]))
        return independent(("cycles",), (self.n,), (0.0,), (0.0,), ("",), "counted")


class Cycled:
    """What one cycle reads."""

    name, parent = "cycled", None

    def __init__(self, now: Any) -> None:
        self.n, self.now = 0, now

    def read(self) -> dict[str, Any]:
        self.n += 1
        return {"cycled": {"value": self.n, "timestamp": self.now()}}

    def describe(self) -> dict[str, Any]:
        return {"cycled": {"source": "test", "dtype": "integer", "shape": []}}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        return {}


@dataclasses.dataclass(frozen=True)
class Roles:
    """None are needed."""


class Settings(Parameters):
    cycles: float = quantity(7.0, "", 1.0, 1000.0, "how many cycles")


def cycling(clock: Any, fails_at: int = 0) -> Experiment:
    """Cycles until enough are counted; fails before one of them."""

    def plan(roles: Roles, *, results: Any, parameters: Settings, md: Any = None) -> MsgGenerator[None]:
        device = Cycled(clock.time)

        @bpp.run_decorator(md={"plan_name": "cycling", **(md or {})})
        def run() -> MsgGenerator[None]:
            while not results["cycles"].value("cycles") >= parameters.cycles:
                if fails_at and device.n + 1 == fails_at:
                    raise RuntimeError("the engine is lost")
                yield Msg("sleep", None, 60.0)
                yield from record("cycle", (device,))

        return run()

    return Experiment(
        name="cycling",
        title="",
        plan=plan,
        roles=Roles,
        parameters=Settings,
        analyses=lambda names, parameters: (Counted(),),
        figures=(),
        expected_duration_s=lambda parameters: 600.0,
        dwell_s=lambda parameters: 120.0,
        rig="d111",
        resumable=True,
    )


def run(folder: Path, fails_at: int = 0, resumed: Any = None) -> Outcome:
    folder.mkdir(parents=True)
    began_s = EPOCH_S if resumed is None else resumed.ended_s + 300.0
    rig = load_rig("d111")
    with Simulation(rig, 1, epoch_s=began_s) as simulation, Session(rig, ["furnace"], simulation=simulation) as session:
        experiment = cycling(session.clock, fails_at)
        return session.run(experiment, Settings(), folder, seed=1, resumed=resumed)


def test_cycles_are_counted_on_over_three_runs(tmp_path: Path) -> None:
    assert run(tmp_path / "a", fails_at=4).exit_status == "fail"
    assert run(tmp_path / "b", 3, find_interrupted(str(tmp_path / "a"), tmp_path)).exit_status == "fail"
    last = find_interrupted(str(tmp_path / "b"), tmp_path)
    assert [run.journal.parent.name for run in last.runs] == ["a", "b"]
    assert run(tmp_path / "c", 0, last).exit_status == "success"
    cycles = [len(read_run(tmp_path / name).streams["cycle"]) for name in "abc"]
    assert cycles == [3, 2, 2]
    counts = [read_run(tmp_path / name).streams["cycles"].data["cycles"].tolist() for name in "abc"]
    assert counts == [[1, 2, 3], [4, 5], [6, 7]]
    seq_nums = [read_run(tmp_path / name).streams["cycles"].data["cycles_seq_num"].tolist() for name in "abc"]
    assert seq_nums == [[1, 2, 3], [1, 2], [1, 2]]


def test_without_what_was_recorded_all_would_be_done_again(tmp_path: Path) -> None:
    run(tmp_path / "a", fails_at=4)
    assert run(tmp_path / "b").exit_status == "success"
    assert len(read_run(tmp_path / "b").streams["cycle"]) == 7


def test_the_new_run_says_which_one_it_goes_on_with(tmp_path: Path) -> None:
    lost = run(tmp_path / "a", fails_at=2)
    run(tmp_path / "b", 0, find_interrupted(lost.uid[:8], tmp_path))
    start = read_run(tmp_path / "b").start
    assert start["resumes"]["run"] == lost.uid and start["resumes"]["exit_status"] == "fail"


def test_what_cannot_be_gone_on_with_is_refused(tmp_path: Path) -> None:
    lost = run(tmp_path / "a", fails_at=2)
    run(tmp_path / "b", 0, find_interrupted(str(tmp_path / "a"), tmp_path))
    for name, message in (
        (str(tmp_path / "b"), "ended well"),
        (str(tmp_path / "a"), "has gone on with it; accepted is --resume"),
        (lost.uid[:3], "no run of that name"),
        ("0" * 32, "no run of that name"),
        (str(tmp_path), "no journal"),
    ):
        with pytest.raises(InputError, match=message):
            find_interrupted(name, tmp_path)


def test_a_run_that_goes_on_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path / "a", fails_at=3)
    journal = tmp_path / "a" / "run.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"name":"stop"' not in line))
    with journal.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="its run goes on"):
            find_interrupted(str(tmp_path / "a"), tmp_path)
    assert find_interrupted(str(tmp_path / "a"), tmp_path).lost.exit_status == "fail"
    assert read_run(tmp_path / "a").stop is not None


def test_torn_runs_count_as_far_as_they_can_be_believed(tmp_path: Path) -> None:
    run(tmp_path / "a", fails_at=6)
    journal = tmp_path / "a" / "run.journal"
    text = journal.read_bytes()
    events = [i for i in range(len(text)) if text.startswith(b'"cycled":3', i)]
    journal.write_bytes(text[: events[0] + 5])
    run(tmp_path / "b", 0, find_interrupted(str(tmp_path / "a"), tmp_path))
    assert [len(read_run(tmp_path / name).streams["cycle"]) for name in "ab"] == [2, 5]


def test_runs_leave_neither_threads_nor_descriptors_behind(tmp_path: Path) -> None:
    def left() -> tuple[int, int]:
        gc.collect()  # a clock keeps the page that it shares until then
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    run(tmp_path / "0", fails_at=1)
    before = left()
    for number in range(1, 4):
        run(tmp_path / str(number), fails_at=number)
    threads, descriptors = left()
    assert threads <= before[0] and descriptors <= before[1]  # others' may go meanwhile


def test_of_two_who_go_on_at_the_same_time_one_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a", fails_at=2)
    first, second = (find_interrupted(str(tmp_path / "a"), tmp_path) for _ in range(2))
    with first.claimed(tmp_path / "b"):
        with pytest.raises(InputError, match="somebody goes on with it just now"), second.claimed(tmp_path / "c"):
            pass
        run(tmp_path / "b", 0, first)
    with pytest.raises(InputError, match="has gone on with it"), second.claimed(tmp_path / "c"):
        pass


def test_who_has_gone_on_with_a_run_is_known_wherever_it_is_kept(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lost, elsewhere = tmp_path / "data" / "a", tmp_path / "b"
    run(lost, fails_at=2)
    with pytest.raises(RuntimeError), find_interrupted(str(lost), tmp_path).claimed(elsewhere):
        raise RuntimeError("nothing has begun")
    resumed = find_interrupted(str(lost), tmp_path)
    with resumed.claimed(elsewhere):
        run(elsewhere, 0, resumed)
    with pytest.raises(InputError, match=f"{elsewhere} has gone on with it"):
        find_interrupted(str(lost), tmp_path)
    elsewhere.rename(tmp_path / "c")
    with pytest.raises(InputError, match=r"and is there no more; .* without .*went_on.json"):
        find_interrupted(str(lost), tmp_path)
    (lost / "went_on.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        find_interrupted(str(lost), tmp_path)
