"""A rig file that a person has approved is run as it was approved, or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.approval import approval_of, approve, require_approved
from megabar.acquisition.commands.main import main
from megabar.acquisition.errors import InputError
from megabar.acquisition.home import key_of
from megabar.acquisition.rig import Rig, load_rig
from megabar.acquisition.run import read_run

from .laser_bench import BENCH, QUICK, Bench

MEGABAR = (sys.executable, "-P", "-m", "megabar.acquisition.commands.main")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rig with hazards, and a home of its own; nobody listens at its addresses."""
    monkeypatch.setenv("MEGABAR_HOME", str(tmp_path / "home"))
    file = tmp_path / "bench.toml"
    address = "TCPIP::127.0.0.1::9::SOCKET"
    text = BENCH.format(laser=address, relay="ASRL/nowhere::INSTR", hazardous="false")
    file.write_text(f"# limits agreed on 3 March\n{text}", encoding="utf-8")
    return file


def started(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and complaint of a run, which finds nobody at its addresses if it gets so far."""
    with pytest.raises(SystemExit) as ended:
        main(["run", "irradiation", "--rig", str(file), "--out", str(file.parent / "data")])
    return int(str(ended.value.code)), capsys.readouterr().err


def altered(file: Path, n_flips: int) -> list[tuple[int, bytes]]:
    """The file with one bit flipped, at every byte: the byte's place, and the bytes."""
    whole = file.read_bytes()
    flips = [(place, 1 << bit) for place in range(len(whole)) for bit in range(n_flips)]
    return [(place, whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]) for place, flip in flips]


def refused(file: Path) -> str:
    """Why a rig file is not run: it is none, or it is not the one that was approved; empty where it would be."""
    try:
        require_approved(load_rig(str(file)))
    except InputError as error:
        return str(error)
    return ""


def test_the_approved_file_may_be_run_and_says_by_whom(file: Path) -> None:
    approve(load_rig(str(file)), "A. Tester")
    found = require_approved(load_rig(str(file)))
    assert found is not None and found.who == "A. Tester" and found.when.endswith("+00:00")
    assert refused(file) == ""


@pytest.mark.row(36, control="test_without_the_hash_altered_files_would_be_run")
@pytest.mark.parametrize("n_flips", [1, pytest.param(8, marks=pytest.mark.soak)])
def test_no_byte_of_an_approved_file_can_be_altered(file: Path, n_flips: int) -> None:
    rig = load_rig(str(file))
    approve(rig, "A. Tester")
    whole, n_rigs = file.read_bytes(), 0
    for place, content in altered(file, n_flips):
        file.write_bytes(content)
        why = refused(file)
        assert why, f"byte {place} of the file was altered, and it would be run"
        n_rigs += "was altered since A. Tester approved it" in why
    file.write_bytes(whole)
    assert refused(file) == ""
    assert n_rigs > 100 * n_flips, "the control: so many are rigs like any other, and the approval alone refuses them"


def test_without_the_hash_altered_files_would_be_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what refuses them is the comparison of the hashes."""
    rig = load_rig(str(file))
    approve(rig, "A. Tester")
    monkeypatch.setattr(Rig, "__init__", _of_one_hash(Rig.__init__, rig.sha256))
    run = 0
    for _, content in altered(file, 1):
        file.write_bytes(content)
        run += not refused(file)
    assert run > 100


def _of_one_hash(init: Any, sha256: str) -> Any:
    def made(self: Rig, *arguments: Any) -> None:
        init(self, *arguments)
        self.sha256 = sha256

    return made


def test_line_ends_are_part_of_the_file(file: Path) -> None:
    approve(load_rig(str(file)), "A. Tester")
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert "was altered" in refused(file)


def test_a_run_of_an_altered_file_is_refused_in_one_line_before_anything_is_asked(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    approve(load_rig(str(file)), "A. Tester")
    code, said = started(file, capsys)
    assert code == 2 and "instruments.laser.address" in said, "the approved file gets as far as its instruments"
    file.write_text(file.read_text().replace("3 March", "4 March"), encoding="utf-8")
    code, said = started(file, capsys)
    (line,) = said.strip().splitlines()
    assert code == 2 and "was altered since A. Tester approved it" in line and "--approve NAME" in line
    assert not list((file.parent / "data").glob("*"))


def test_a_rig_that_nobody_has_approved_is_told_of_and_goes_on(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = started(file, capsys)
    notice, failure = said.strip().splitlines()
    assert code == 2 and "nobody has approved" in notice and "laser, relay" in notice
    assert "instruments.laser.address" in failure


def test_a_rehearsal_needs_no_approval(file: Path) -> None:
    approve(load_rig(str(file)), "A. Tester")
    file.write_text(file.read_text().replace("3 March", "4 March"), encoding="utf-8")
    settings = [f"--set={name}={value}" for name, value in QUICK.items()]
    command = ["run", "irradiation", "--rig", str(file), "--simulate", "--out", str(file.parent / "data"), *settings]
    done = subprocess.run([*MEGABAR, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "approve" not in done.stderr, done.stderr


def test_an_approval_is_added_to_those_before(file: Path) -> None:
    first = approve(load_rig(str(file)), "A. Tester")
    file.write_text(file.read_text().replace("3 March", "4 March"), encoding="utf-8")
    second = approve(load_rig(str(file)), "  B. Tester ")
    (kept,) = (file.parent / "home" / "approvals").iterdir()
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["sha256"] for line in lines] == [first.sha256, second.sha256]
    assert approval_of(load_rig(str(file))) == second and second.who == "B. Tester"
    assert refused(file) == ""


def test_an_approval_that_is_torn_counts_as_none_that_can_be_believed(file: Path) -> None:
    approve(load_rig(str(file)), "A. Tester")
    (kept,) = (file.parent / "home" / "approvals").iterdir()
    os.truncate(kept, kept.stat().st_size - 10)
    assert "cannot be believed" in refused(file)


@pytest.mark.parametrize("who", ["", "  ", "two\nlines", "x" * 101])
def test_an_approval_has_the_name_of_a_person(file: Path, who: str) -> None:
    with pytest.raises(InputError, match="--approve"):
        approve(load_rig(str(file)), who)


def test_every_path_to_a_file_is_the_same_rig(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = file.parent / "link.toml"
    link.symlink_to(file)
    monkeypatch.chdir(file.parent)
    assert key_of(load_rig("link.toml")) == key_of(load_rig("bench.toml")) == key_of(load_rig(str(file)))


def test_a_bad_rig_is_not_approved(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text() + "[instruments.laser.limits]\ncurrent = [0.0, 90.0]\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(file), "--approve", "A. Tester"])
    assert "must lie within" in capsys.readouterr().err
    assert not (file.parent / "home" / "approvals").exists()


def test_check_approves_and_a_run_records_who_did(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(bench.file), "--approve", "A. Tester", "--json"])
    checks = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["approval"]["verdict"] == "ok"
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(bench.file)])
    assert "as A. Tester approved it" in capsys.readouterr().out
    settings = [f"--set={name}={value}" for name, value in QUICK.items()]
    command = ["run", "irradiation", "--rig", str(bench.file), "--json", "--out", str(bench.file.parent / "data")]
    done = subprocess.run([*MEGABAR, *command, *settings], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    start = read_run(Path(json.loads(done.stdout)["journal"])).start
    assert start["approval"]["who"] == "A. Tester"
    assert start["rig"]["sha256"] == load_rig(str(bench.file)).sha256
    bench.write(more="# altered\n")
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(bench.file)])
    said = capsys.readouterr().out
    assert "FAILED" in said and "was altered since A. Tester" in said
