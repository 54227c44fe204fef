"""Files made by processes that were started beforehand: the same file, a word when it fails, no process left over."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from megabar.acquisition.derived import Derivation
from megabar.acquisition.export import export
from megabar.acquisition.journal import Journal
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.run import Tail, read_run

CLOCK = SimpleNamespace(monotonic=lambda: 0.0)


def test_the_file_is_that_of_the_export(recorded: Path, tmp_path: Path) -> None:
    with Derivation("export") as derivation:
        derivation.prepare()
        derivation.make(recorded, tmp_path / "run.nxs")
        assert derivation.made() == tmp_path / "run.nxs"
    made = (tmp_path / "run.nxs").read_bytes()
    assert made == export(recorded, tmp_path / "run.nxs").read_bytes()


def test_a_failure_is_told_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Derivation("report") as derivation:
        derivation.prepare()
        derivation.make(tmp_path, tmp_path / "report.png")
        assert derivation.made() is None
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert f"megabar report {tmp_path} tries again" in said


def test_one_that_is_not_needed_ends() -> None:
    with Derivation("export") as derivation:
        pass
    assert derivation.made() is None


def image(number: int) -> np.ndarray:
    return np.full((128, 128), number, dtype=np.uint16)


def events(first: int, last: int) -> Iterator[dict[str, Any]]:
    for number in range(first, last + 1):
        data = {"stress": 0.1 * number, "stress_error": 0.1, "pair": [number, -number], "word": "w", "odd-key": None}
        yield {
            "uid": f"e{number}",
            "descriptor": "d",
            "seq_num": number,
            "time": 0.0,
            "data": data,
            "timestamps": dict.fromkeys(data, 1000.0 + number),
        }


SCALAR = {"dtype": "number", "shape": [], "source": "s"}
KEYS = {
    "stress": SCALAR | {"units": "GPa"},
    "stress_error": SCALAR,
    "pair": SCALAR | {"dtype": "array", "shape": [2]},
    "word": SCALAR | {"dtype": "string"},
    "odd-key": SCALAR,
}
DESCRIPTOR = {"uid": "d", "time": 0.0, "name": "stress", "data_keys": KEYS, "configuration": {}}
SHOTS = DESCRIPTOR | {
    "uid": "f",
    "name": "shots",
    "data_keys": {"image": {"dtype": "array", "shape": [128, 128], "source": "s", "dtype_numpy": "<u2"}},
}
FIGURES = [{"title": "Stress in time", "stream": "stress", "x": "time", "y": "stress"}]


def until(seen: Callable[[], bool]) -> None:
    """Wait until something is so; files that are just being replaced count as not yet."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        try:
            if seen():
                return
        except (OSError, KeyError):
            pass
        time.sleep(0.05)
    pytest.fail("it never came about")


def test_a_run_that_goes_on_can_be_looked_at_and_ends_in_the_file_of_the_export(tmp_path: Path) -> None:
    folder, live = tmp_path / "run", tmp_path / "run" / "run.live.nxs"

    def n_events() -> int:
        with h5py.File(live, "r", libver="latest", swmr=True) as root:
            return len(root["entry/streams/stress/time"])

    with Derivation("export") as derivation, Journal(folder, CLOCK) as journal:
        derivation.prepare()
        derivation.follow(folder, live)
        journal("start", {"uid": "u", "time": 0.0, "experiment": "test", "figures": FIGURES})
        journal("descriptor", DESCRIPTOR)
        for event in events(1, 5):
            journal("event", event)
        until(lambda: n_events() == 5)
        with h5py.File(live, "r", libver="latest", swmr=True) as viewer:
            stress = viewer["entry/streams/stress"]
            for event in events(6, 250):
                journal("event", event)
            until(lambda: stress["time"].id.refresh() is None and len(stress["time"]) == 250)
            for column in stress.values():
                column.id.refresh()
            np.testing.assert_array_equal(stress["time"], np.arange(250.0))
            np.testing.assert_array_equal(stress["seq_num"], np.arange(1, 251))
            np.testing.assert_allclose(stress["stress"], 0.1 * np.arange(1, 251))
            np.testing.assert_array_equal(stress["pair"][-1], [250, -250])
            assert np.isnan(stress["odd_key"]).all()
            assert "word" not in stress
            journal("descriptor", SHOTS)
            shot = {"uid": "s", "descriptor": "f", "seq_num": 1, "time": 0.0, "timestamps": {"image": 1300.0}}
            journal("event", shot | {"data": {"image": image(7)}})

            def shown() -> bool:
                with h5py.File(live, "r", libver="latest", swmr=True) as root:
                    frames = root["entry/streams"].get("shots/image")
                    return frames is not None and np.array_equal(frames[0], image(7))

            until(shown)
        with h5py.File(live, "r", libver="latest", swmr=True) as root:
            assert root[root.attrs["default"]].attrs["default"] == "streams"
            assert root["entry/streams"].attrs["default"] == "stress"
            stress = root["entry/streams/stress"]
            assert (stress.attrs["NX_class"], stress.attrs["signal"], list(stress.attrs["axes"])) == (
                "NXdata",
                "stress",
                ["time"],
            )
            assert stress["stress"].attrs["units"] == "GPa"
            assert len(stress["stress"]) == 250
        journal("stop", {"uid": "z", "run_start": "u", "time": 9.0, "exit_status": "success"})
        journal.close()
        derivation.make(folder, folder / "run.nxs")
        assert derivation.made() == folder / "run.nxs"
    assert not list(folder.glob("*live*"))
    made = (folder / "run.nxs").read_bytes()
    assert made == export(folder, folder / "run.nxs").read_bytes()


def recording(folder: Path, n: int) -> float:
    """Record n events; gives the seconds."""
    with Journal(folder, CLOCK) as journal:
        began = time.monotonic()
        journal("start", {"uid": "u", "time": 0.0, "experiment": "test"})
        journal("descriptor", DESCRIPTOR)
        for event in events(1, n):
            journal("event", event)
        journal("stop", {"uid": "z", "run_start": "u", "time": 9.0, "exit_status": "success"})
        return time.monotonic() - began


@pytest.mark.row(26, control="test_an_export_in_the_engine_would_hold_it_up")
@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_a_follower_that_hangs_or_dies_changes_nothing(tmp_path: Path, fault: signal.Signals) -> None:
    folder, live = tmp_path / "run", tmp_path / "run" / "run.live.nxs"
    with Derivation("export") as derivation:
        derivation.follow(folder, live)
        recording(tmp_path / "before", 10)
        os.kill(derivation._process.pid, fault)
        assert recording(folder, 3000) < 10.0
        if fault == signal.SIGSTOP:
            os.kill(derivation._process.pid, signal.SIGCONT)
        else:
            derivation._process.wait()
        derivation.make(folder, folder / "run.nxs")
        assert derivation.made() == folder / "run.nxs"
    assert sorted(path.name for path in folder.iterdir()) == ["run.journal", "run.nxs"]
    assert (folder / "run.nxs").read_bytes() == export(folder, folder / "run.nxs").read_bytes()


def test_a_live_file_that_cannot_be_written_costs_a_word_and_no_final_file(
    recorded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Derivation("export") as derivation:
        derivation.follow(recorded, tmp_path / "missing" / "run.live.nxs")
        time.sleep(2.0)
        derivation.make(recorded, tmp_path / "run.nxs")
        assert derivation.made() == tmp_path / "run.nxs"
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "there is no live file" in said


def test_an_engine_that_dies_leaves_no_live_file(recorded: Path, tmp_path: Path) -> None:
    with Derivation("export") as derivation:
        derivation.follow(recorded, tmp_path / "run.live.nxs")
        until((tmp_path / "run.live.nxs").exists)
        assert derivation._process.stdin is not None
        derivation._process.stdin.close()
        derivation._process.wait()
        assert list(tmp_path.iterdir()) == []


def test_the_tail_of_a_journal_is_read_as_it_grows_and_when_its_end_is_replaced(recorded: Path, tmp_path: Path) -> None:
    raw = (recorded / JOURNAL).read_bytes()
    growing = tmp_path / JOURNAL
    tail = Tail(growing)
    assert list(tail.lines()) == []
    found = []
    for end in (100, 5000, 5001, 30_000, len(raw)):
        growing.write_bytes(raw[:end])
        found += tail.lines()
        assert len(found) == raw[:end].count(b"\n")
        growing.write_bytes(raw[:end] + b"torn line that is cut off again")
        found += tail.lines()
        assert len(found) == raw[:end].count(b"\n")
    assert [line.seq for line in found] == list(range(raw.count(b"\n")))


def test_a_line_longer_than_what_is_read_at_once_is_read(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from megabar.acquisition import run as run_module

    monkeypatch.setattr(run_module, "TAIL_BYTES", 64)
    tail = Tail(recorded / JOURNAL)
    found = [line for _ in range(2000) for line in tail.lines()]
    assert len(found) == (recorded / JOURNAL).read_bytes().count(b"\n")


def test_the_live_file_of_a_whole_run_has_its_streams(recorded: Path) -> None:
    live, run = recorded / "run.live.nxs", read_run(recorded)

    def complete() -> bool:
        with h5py.File(live, "r", libver="latest", swmr=True) as root:
            return len(root["entry/streams/results/time"]) == 1

    with Derivation("export") as derivation:
        derivation.follow(recorded, live)
        until(complete)
        with h5py.File(live, "r", libver="latest", swmr=True) as root:
            streams = root["entry/streams"]
            assert set(streams) == set(run.streams)
            stress = run.streams["stress"].data["differential_stress"]
            np.testing.assert_array_equal(streams["stress/differential_stress"], stress)
            image = run.streams["radiograph"].data["camera_image"][3]
            np.testing.assert_array_equal(streams["radiograph/camera_image"][3], image)
            assert streams.attrs["default"] == "stress"
    assert not live.exists()


def test_an_export_in_the_engine_would_hold_it_up(recorded: Path, tmp_path: Path) -> None:
    """The control: a subscriber of the run that exports, and is slow."""
    began = time.monotonic()
    with Journal(tmp_path / "run", CLOCK) as journal:
        journal("start", {"uid": "u", "time": 0.0, "experiment": "test"})
        journal("descriptor", DESCRIPTOR)
        for event in events(1, 20):
            journal("event", event)
            export(recorded, tmp_path / "run.nxs")
    assert time.monotonic() - began > 10 * recording(tmp_path / "apart", 20)
