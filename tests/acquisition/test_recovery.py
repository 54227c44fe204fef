"""An unfinished journal is closed up to its last good line; nothing is thrown away, twice is as good as once."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nexusformat.nexus import nxload

from megabar.acquisition.commands.main import main
from megabar.acquisition.errors import InputError
from megabar.acquisition.journal import Journal
from megabar.acquisition.lines import JOURNAL, seal, unseal
from megabar.acquisition.recovery import recover, unfinished
from megabar.acquisition.run import read_run

Record = Callable[..., Path]


@pytest.fixture(scope="module")
def whole(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("whole") / "run", steps=2)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def cut(folder: Path, end: int) -> bytes:
    """Leave `end` bytes of a journal, and give all that it was."""
    journal = folder / JOURNAL
    before = journal.read_bytes()
    journal.write_bytes(before[:end])
    return before


def lines_before_stop(folder: Path) -> int:
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    return len(b"".join(lines[: next(i for i, line in enumerate(lines) if b'"name":"stop"' in line)]))


def test_a_whole_journal_is_left_alone(copy: Path) -> None:
    before = (copy / JOURNAL).read_bytes()
    mended = recover(copy)
    assert (mended.aside, mended.stop) == (None, None)
    assert (copy / JOURNAL).read_bytes() == before


def test_a_run_without_stop_gets_one_that_counts_its_events(copy: Path) -> None:
    cut(copy, lines_before_stop(copy))
    mended = recover(copy)
    run = read_run(copy)
    assert mended.aside is None
    assert (run.exit_status, run.torn) == ("fail", "")
    assert run.stop is not None
    assert run.stop["reason"].startswith("recovered: the engine ended without a stop document")
    assert run.stop["run_start"] == run.uid
    assert run.stop["num_events"] == {name: len(stream) for name, stream in run.streams.items()}


@pytest.mark.row(24)
def test_cut_at_any_byte_what_was_whole_stays_and_the_rest_is_kept_aside(whole: Path, tmp_path: Path) -> None:
    size = (whole / JOURNAL).stat().st_size
    first = (whole / JOURNAL).read_bytes().index(b"\n") + 1
    rng = random.Random(5)
    for number, end in enumerate([first, first + 1, size - 1, *(rng.randrange(first, size) for _ in range(60))]):
        folder = shutil.copytree(whole, tmp_path / str(number))
        before = cut(folder, end)
        good = before[: before.rindex(b"\n", 0, end) + 1]
        mended = recover(folder)
        after = (folder / JOURNAL).read_bytes()
        assert after.startswith(good)
        assert (mended.aside.read_bytes() if mended.aside else b"") == before[len(good) : end]
        run = read_run(folder)
        assert (run.torn, run.stop is not None) == ("", True)
        again = recover(folder)
        assert (again.aside, again.stop) == (None, None)
        assert (folder / JOURNAL).read_bytes() == after
        shutil.rmtree(folder)


def test_a_flipped_bit_costs_what_follows_it_and_keeps_it_aside(whole: Path, tmp_path: Path) -> None:
    rng = random.Random(6)
    before = (whole / JOURNAL).read_bytes()
    for number in range(60):
        at, bit = rng.randrange(before.index(b"\n") + 1, len(before)), rng.randrange(8)
        folder = shutil.copytree(whole, tmp_path / str(number))
        spoilt = before[:at] + bytes([before[at] ^ (1 << bit)]) + before[at + 1 :]
        (folder / JOURNAL).write_bytes(spoilt)
        mended = recover(folder)
        begin = before.rindex(b"\n", 0, at) + 1
        assert mended.aside is not None
        assert mended.aside.read_bytes() == spoilt[begin:]
        assert (folder / JOURNAL).read_bytes().startswith(before[:begin])
        assert read_run(folder).torn == ""
        shutil.rmtree(folder)


def test_a_recovery_that_was_cut_short_is_done_again(copy: Path) -> None:
    cut(copy, lines_before_stop(copy) - 7)
    torn = (copy / JOURNAL).read_bytes()
    kept = torn[torn.rindex(b"\n") + 1 :]
    (copy / f"{JOURNAL}.tail-1").write_bytes(kept)  # the last one had got so far
    mended = recover(copy)
    assert mended.aside == copy / f"{JOURNAL}.tail-1"
    assert mended.aside.read_bytes() == kept
    assert read_run(copy).exit_status == "fail"


def test_another_tail_is_never_overwritten(copy: Path) -> None:
    (copy / f"{JOURNAL}.tail-1").write_bytes(b"older")
    cut(copy, lines_before_stop(copy) - 7)
    assert recover(copy).aside == copy / f"{JOURNAL}.tail-2"
    assert (copy / f"{JOURNAL}.tail-1").read_bytes() == b"older"


def test_a_run_that_goes_on_is_not_touched(tmp_path: Path) -> None:
    class Clock:
        def monotonic(self) -> float:
            return 0.0

    with Journal(tmp_path / "run", Clock()) as journal:
        journal("start", {"uid": "u", "time": 0.0})
        before = journal.path.read_bytes()
        with pytest.raises(InputError, match="its run goes on"):
            recover(tmp_path / "run")
        assert journal.path.read_bytes() == before
        assert unfinished(tmp_path) == []
    assert unfinished(tmp_path) == [tmp_path / "run"]
    assert recover(tmp_path / "run").stop is not None


@pytest.mark.parametrize(
    "content", [b"", b"garbage\n", seal({"seq": 0, "wall": 0, "clock": 0, "name": "event", "doc": {}})]
)
def test_where_no_run_begins_nothing_is_changed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(InputError, match="no run begins here"):
        recover(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == content
    assert not list(tmp_path.glob("*.tail-*"))


def test_the_command_mends_all_below_a_folder_and_makes_their_files(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [shutil.copytree(whole, tmp_path / name) for name in ("a", "b", "c")]
    for folder in folders[:2]:
        cut(folder, lines_before_stop(folder) - 3)
    with pytest.raises(SystemExit, match="0"):
        main(["recover", str(tmp_path)])
    said = capsys.readouterr().out
    assert said.count("ended as fail") == 2
    for folder in folders[:2]:
        assert (folder / "report.png").stat().st_size > 10_000
        with nxload(folder / "deformation.nxs") as root:
            assert root.plottable_data is not None
    assert not (folders[2] / "report.png").exists()
    with pytest.raises(SystemExit, match="0"):
        main(["recover", str(tmp_path)])
    assert "no run there is unfinished" in capsys.readouterr().out


def test_the_stop_is_sealed_like_every_line(copy: Path) -> None:
    cut(copy, lines_before_stop(copy))
    recover(copy)
    last = (copy / JOURNAL).read_bytes().splitlines()[-1]
    line = json.loads(unseal(last) or b"null")
    assert (line["name"], line["doc"]["exit_status"]) == ("stop", "fail")
