"""Files made by processes that were started beforehand: the same file, a word when it fails, no process left over."""

from pathlib import Path

import pytest

from megabar.acquisition.derived import Derivation
from megabar.acquisition.export import export


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
