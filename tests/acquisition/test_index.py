"""The list of runs is read from the ends of their journals."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.index import find_runs
from megabar.acquisition.journal import Journal
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.recovery import unfinished
from megabar.acquisition.run import read_run

Record = Callable[..., Path]


class Clock:
    def monotonic(self) -> float:
        return 0.0


def write(folder: Path, time: float, status: str | None = "success", **metadata: Any) -> Path:
    with Journal(folder, Clock()) as journal:
        journal("start", {"uid": f"uid-{folder.name}", "time": time} | metadata)
        if status:
            journal("stop", {"uid": "z", "time": time + 1, "exit_status": status})
            journal.append_truth({"text": '"name":"stop" and "name":"start"', "series": [0.0] * 20_000})
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "a", 1000.0, experiment="deformation", sample={"name": "hcp-Fe"})
    write(tmp_path / "campaign" / "b", 3000.0, "fail", experiment="diffusion", sample="bridgmanite")
    write(tmp_path / "c", 2000.0, None, plan_name="count")
    return tmp_path


def test_runs_are_listed_newest_first_wherever_they_are(data: Path) -> None:
    found = find_runs(data)
    assert [(run.uid, run.experiment, run.sample, run.exit_status) for run in found] == [
        ("uid-b", "diffusion", "bridgmanite", "fail"),
        ("uid-c", "count", "", "unfinished"),
        ("uid-a", "deformation", "hcp-Fe", "success"),
    ]
    assert found[0].folder == data / "campaign" / "b"
    assert found[0].date is not None
    assert found[0].date.timestamp() == 3000.0
    assert found[0].begun == f"{found[0].date:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("query", "uids"),
    [
        ("HCP", ["uid-a"]),
        ("diff fail", ["uid-b"]),
        ("diff success", []),
        ("unfinished", ["uid-c"]),
        ("1970", ["uid-b", "uid-c", "uid-a"]),
        ("uid-a", ["uid-a"]),
        ("", ["uid-b", "uid-c", "uid-a"]),
    ],
)
def test_a_query_keeps_the_runs_that_have_all_its_words(data: Path, query: str, uids: list[str]) -> None:
    assert [run.uid for run in find_runs(data, query)] == uids


def test_a_recorded_run_is_listed(recorded: Path) -> None:
    (run,) = find_runs(recorded.parent, "deformation")
    assert (run.sample, run.exit_status, run.folder) == ("hcp-Fe and MgO", "success", recorded)


def test_journals_that_cannot_be_read_are_listed_last(data: Path) -> None:
    for name, content in (
        ("empty", b""),
        ("rubbish", b"rubbish\n"),
        ("other", (data / "a" / JOURNAL).read_bytes()[7:]),
    ):
        (data / name).mkdir()
        (data / name / JOURNAL).write_bytes(content)
    assert [run.exit_status for run in find_runs(data)] == ["fail", "unfinished", "success"] + ["damaged"] * 3


def test_a_stop_document_that_was_spoilt_does_not_count(data: Path) -> None:
    journal = data / "a" / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"success"', b'"succeSs"'))
    assert find_runs(data, "hcp", verify=False)[0].exit_status == "unfinished"


def spoil(journal: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:number], change(lines[number]), *lines[number + 1 :]]))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'"uid":"', b'"uid":"x', 1),  # a wrong checksum
        lambda line: b"",  # a line that is not there
        lambda line: 2 * line,  # one that is there twice
        lambda line: line[: len(line) // 2],  # two that have run together
    ],
)
def test_damage_between_whole_ends_is_seen(data: Path, recorded: Path, change: Callable[[bytes], bytes]) -> None:
    journal = shutil.copytree(recorded, data / "recorded") / JOURNAL
    assert find_runs(data, "MgO")[0].exit_status == "success"
    spoil(journal, 40, change)
    (run,) = find_runs(data, "MgO")
    assert (run.exit_status, run.sample) == ("damaged", "hcp-Fe and MgO")
    assert run.folder in unfinished(data), "megabar recover finds it"
    assert read_run(run.folder).torn
    (unseen,) = find_runs(data, "MgO", verify=False)
    assert unseen.exit_status == "success", "the control: its ends are whole"


@pytest.mark.parametrize("n_bytes", [1, 30])
def test_a_last_line_that_is_cut_off_is_no_damage(data: Path, n_bytes: int) -> None:
    """So it is while a journal is written, and after its engine was killed."""
    journal = data / "c" / JOURNAL
    journal.write_bytes(journal.read_bytes() + journal.read_bytes()[:n_bytes])
    assert find_runs(data, "count")[0].exit_status == "unfinished"


def test_a_place_without_directory_is_refused(tmp_path: Path) -> None:
    assert find_runs(tmp_path) == []
    with pytest.raises(ValueError, match="is not a directory"):
        find_runs(tmp_path / "nowhere")
