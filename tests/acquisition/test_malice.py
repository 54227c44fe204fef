"""Names and files that mean harm: nothing is read or written outside the folder of a run."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megabar.acquisition import frame_files
from megabar.acquisition.commands.main import main
from megabar.acquisition.errors import InputError
from megabar.acquisition.home import guard_folder
from megabar.acquisition.index import find_runs
from megabar.acquisition.lines import FRAMES, JOURNAL, seal
from megabar.acquisition.recovery import recover
from megabar.acquisition.run import read_run

from .test_frame_streams import record

NAMES = ["../../x", "/etc/passwd", "a/../../b", "x\0y", "..", "", "\x1b[2J", "x" * 300, "a\nb", "~root", "con:", "é"]
Attack = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("whole"), 4)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "data" / "run")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change documents of a journal, and seal them again as its owner would."""
    lines = (folder / JOURNAL).read_bytes().splitlines()
    with (folder / JOURNAL).open("wb") as journal:
        for line in lines:
            content = json.loads(line[9:])
            change(content)
            journal.write(seal(content))


def as_link(file: Path, secret: Path) -> None:
    file.unlink()
    file.symlink_to(secret)


def as_linked_folder(file: Path, secret: Path) -> None:
    secret.rename(secret.parent / file.name)
    shutil.rmtree(file.parent)
    file.parent.symlink_to(secret.parent)


def replaced(file: Path, secret: Path, fill: Callable[[h5py.File, h5py.File], None]) -> None:
    """A file with the same attributes that holds nothing itself."""
    with h5py.File(secret, "r") as right:
        file.unlink()
        with h5py.File(file, "x", libver="latest") as made:
            made.attrs.update(right.attrs)
            fill(made, right)


def with_external_links(file: Path, secret: Path) -> None:
    def fill(made: h5py.File, right: h5py.File) -> None:
        for name in right:
            made[name] = h5py.ExternalLink(secret, name)

    replaced(file, secret, fill)


def with_soft_links_to_external_ones(file: Path, secret: Path) -> None:
    def fill(made: h5py.File, right: h5py.File) -> None:
        made["elsewhere"] = h5py.ExternalLink(secret, "/")
        for name in right:
            made[name] = h5py.SoftLink(f"/elsewhere/{name}")

    replaced(file, secret, fill)


def with_virtual_datasets(file: Path, secret: Path) -> None:
    def fill(made: h5py.File, right: h5py.File) -> None:
        for name, dataset in right.items():
            layout = h5py.VirtualLayout(dataset.shape, dataset.dtype)
            layout[...] = h5py.VirtualSource(secret, name, dataset.shape)
            made.create_virtual_dataset(name, layout)

    replaced(file, secret, fill)


def with_bytes_elsewhere(file: Path, secret: Path) -> None:
    def fill(made: h5py.File, right: h5py.File) -> None:
        for name, dataset in right.items():
            size = dataset.size * dataset.dtype.itemsize
            made.create_dataset(name, dataset.shape, dataset.dtype, external=[(str(secret), 0, size)])

    replaced(file, secret, fill)


ATTACKS: list[Attack] = [
    as_link,
    as_linked_folder,
    with_external_links,
    with_soft_links_to_external_ones,
    with_virtual_datasets,
    with_bytes_elsewhere,
]


def attacked(folder: Path, attack: Attack) -> Any:
    """What is read of the frames of a run once they have been put elsewhere."""
    (file,) = (folder / FRAMES).iterdir()
    elsewhere = folder.parents[1] / "elsewhere"
    elsewhere.mkdir()
    secret = shutil.copy(file, elsewhere / "secret.h5")
    attack(file, Path(secret))
    return read_run(folder)


@pytest.mark.row(35, control="test_without_looking_what_a_file_refers_to_the_secret_is_read")
@pytest.mark.parametrize("attack", ATTACKS)
def test_frames_that_are_elsewhere_are_not_read(folder: Path, attack: Attack) -> None:
    run = attacked(folder, attack)
    assert len(run.streams["shots"]) == 0
    assert len(run.damaged) == 4


@pytest.mark.parametrize("attack", [with_external_links, with_soft_links_to_external_ones])
def test_without_looking_what_a_file_refers_to_the_secret_is_read(
    folder: Path, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_files, "_is_here", lambda file, name: True)
    assert len(attacked(folder, attack).streams["shots"]) == 4


@pytest.mark.row(35)
@pytest.mark.parametrize("n", [100, pytest.param(500, marks=pytest.mark.soak)])
def test_no_reference_of_a_journal_leads_out_of_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, measured: Any, n: int
) -> None:
    opened: list[Path] = []
    whole_open = h5py.File

    def watch(path: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(Path(path))
        return whole_open(path, *arguments, **options)

    monkeypatch.setattr(frame_files.h5py, "File", watch)
    (file,) = (folder / FRAMES).iterdir()
    shutil.copy(file, folder.parents[1] / "secret.h5")
    shutil.copy(file, folder.parent / "secret.h5")
    chance = random.Random(35)
    parts = ["..", ".", "frames", "", "secret.h5", "\0", "/", "data", "~", file.name, "file:", "%2e%2e", "\\"]
    for _ in range(n):
        uri = "/".join(chance.choices(parts, k=chance.randrange(1, 6)))
        uri = chance.choice([uri, f"{FRAMES}/{uri}", f"{FRAMES}/../{uri}", f"file://localhost/{uri}"])

        def misdirect(content: dict[str, Any], uri: str = uri) -> None:
            if content["name"] == "stream_resource":
                content["doc"]["uri"] = uri

        rewrite(folder, misdirect)
        read_run(folder)
    outside = sum("\0" in str(path) or path.resolve().parent != folder / FRAMES for path in opened)
    assert outside == 0
    measured(35, f"{n} journals with references that lead elsewhere: files opened outside", "none", outside, "files")


@pytest.mark.row(35)
def test_a_journal_that_is_a_link_is_neither_read_nor_mended(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "precious.journal"
    (folder / JOURNAL).rename(other)
    other.write_bytes(other.read_bytes()[:-20])
    before = other.read_bytes()
    (folder / JOURNAL).symlink_to(other)
    for use in (read_run, recover):
        with pytest.raises(InputError, match="is a link; accepted is the journal itself"):
            use(folder)
    assert find_runs(folder.parent) == []
    assert other.read_bytes() == before


@pytest.mark.row(35)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["export", "recover"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_name_in_a_journal_is_no_path(folder: Path, tmp_path: Path, name: str, command: str) -> None:
    def rename(content: dict[str, Any]) -> None:
        if content["name"] == "start":
            content["doc"] |= {"experiment": name, "sample": name}

    rewrite(folder, rename)
    with pytest.raises(SystemExit):
        main([command, str(folder)])
    made = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".nxs", ".part")}
    assert {path.parent for path in made} <= {folder}


@pytest.mark.row(35)
def test_a_name_of_a_rig_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGABAR_HOME", str(tmp_path))

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.sampled_from([*NAMES, "\udcff"]), st.text(max_size=40)))
    def place(name: str) -> None:
        folder = guard_folder(SimpleNamespace(name=name.replace("\0", "")))  # type: ignore[arg-type]
        assert folder.parent == tmp_path / "guards"
        assert folder.name.isprintable() and folder.name not in (".", "..")

    place()


@pytest.mark.row(35)
@pytest.mark.parametrize("experiment", ["../deformation", "irradiation/../x", "irradiation\n", "/etc/passwd"])
def test_a_name_of_an_experiment_is_no_path(
    tmp_path: Path, experiment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", experiment, "--simulate", "--out", str(tmp_path / "data")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.row(35)
def test_an_array_of_a_journal_is_no_program(folder: Path) -> None:
    """Types of objects, which numpy would unpickle, are no arrays."""

    def change(content: dict[str, Any]) -> None:
        if content["name"] == "start":
            content["doc"]["odd"] = {"$base64": "AAAAAAAAAAA=", "dtype": "|O", "shape": [1]}

    rewrite(folder, change)
    with pytest.raises(InputError):
        read_run(folder)
    assert np.dtype("|O").hasobject
