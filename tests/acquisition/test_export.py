"""The NeXus file of a run opens on a plot, holds what the journal holds, and appears whole or not at all."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from nexusformat.nexus import nxload
from nexusformat.nexus.validate import validate_file
from ophyd import Signal

from megabar.acquisition import export as export_module
from megabar.acquisition.errors import InputError
from megabar.acquisition.export import export
from megabar.acquisition.journal import Journal
from megabar.acquisition.lines import FRAMES, JOURNAL
from megabar.acquisition.run import read_run

Record = Callable[..., Path]


class Clock:
    def monotonic(self) -> float:
        return 0.0


@pytest.fixture(scope="module")
def file(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(recorded, tmp_path_factory.mktemp("export") / "run.nxs")


def complaints(file: Path) -> tuple[int, int]:
    """Warnings and errors of nxvalidate."""
    logging.getLogger("NXValidate").disabled = True
    warnings, errors = validate_file(str(file))
    return warnings, errors


def test_the_file_is_valid_nexus(file: Path) -> None:
    assert complaints(file) == (0, 0)


def test_the_validator_finds_what_is_wrong(file: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.nxs"
    spoilt.write_bytes(file.read_bytes())
    with h5py.File(spoilt, "r+") as root:
        root["entry/stress_against_strain"].attrs["axes"] = ["nothing"]
    assert complaints(spoilt)[1] > 0


def test_it_opens_on_the_first_figure_with_errors(file: Path, recorded: Path) -> None:
    stress, strain = (read_run(recorded).streams[name] for name in ("stress", "strain"))
    with nxload(file) as root:
        plot = root.plottable_data
        assert plot.nxpath == "/entry/stress_against_strain"
        assert plot.nxsignal.nxname == "differential_stress"
        assert [axis.nxname for axis in plot.nxaxes] == ["strain"]
        assert plot.nxsignal.attrs["units"] == "GPa"
        np.testing.assert_array_equal(plot.nxsignal.nxdata, stress.data["differential_stress"])
        np.testing.assert_array_equal(plot.nxerrors.nxdata, stress.data["differential_stress_error"])
        np.testing.assert_allclose(plot.nxaxes[0].nxdata, strain.data["strain"], rtol=1e-9)
        assert "stream strain" in plot.nxaxes[0].attrs["note"]


def test_silx_finds_the_same_curve(file: Path) -> None:
    nxdata = pytest.importorskip("silx.io.nxdata", reason="silx is not installed")
    with h5py.File(file) as root:
        shown = nxdata.get_default(root)
        assert shown.is_curve
        assert shown.title == "Stress against strain"
        assert shown.errors is not None
        assert shown.axes_names == ["strain"]
        images = nxdata.get_default(root["entry/streams/radiograph"])
        assert images.signal.shape == (24, 512, 512)
        assert images.axes_names == ["time since the first event", None, None]


def test_every_figure_is_there(file: Path) -> None:
    with h5py.File(file) as root:
        figures = {name: item for name, item in root["entry"].items() if item.attrs.get("NX_class") == "NXdata"}
        titles = {item["title"][()].decode() for item in figures.values()}
        assert titles == {"Stress against strain", "Pressure and temperature", "Strain in time"}
        path = figures["pressure_and_temperature"]
        assert (path.attrs["signal"], list(path.attrs["axes"])) == ("pressure", ["temperature"])
        assert path["temperature_errors"][()] == pytest.approx(0.4)
        assert figures["strain_in_time"]["time"][-1] == 200.0 * 24


def test_every_column_is_there(file: Path, recorded: Path) -> None:
    run = read_run(recorded)
    with h5py.File(file) as root:
        assert set(root["entry/streams"]) == set(run.streams)
        for name, stream in run.streams.items():
            group = root["entry/streams"][name]
            np.testing.assert_array_equal(group["seq_num"][()], stream.seq_num)
            np.testing.assert_allclose(group["time"][()] + group["time"].attrs["epoch"], stream.time, rtol=0, atol=1e-6)
            for key, column in stream.data.items():
                written = group[key].asstr()[()] if group[key].dtype.kind == "O" else group[key][()]
                np.testing.assert_array_equal(written, np.asarray(column))
                assert group[key].attrs.get("units", "") == stream.units[key]


def test_results_truth_and_provenance_are_there(file: Path, recorded: Path) -> None:
    run = read_run(recorded)
    with h5py.File(file) as root:
        entry = root["entry"]
        assert entry["results/pressure"][()] == 18.1
        assert entry["results/pressure"].attrs["units"] == "GPa"
        table = entry["results/table"]
        row = list(table["name"].asstr()).index("strain_rate")
        assert [table[part][row] for part in ("value", "error", "systematic")] == [3e-5, 2e-7, 1.5e-7]
        assert table["unit"].asstr()[row] == "1/s"
        assert entry["truth/pressure"][()] == 18.2
        assert entry["truth/pressure"].attrs["units"] == "GPa"
        assert entry["truth/series/time"].shape == (500,)
        assert entry["entry_identifier_uuid"].asstr()[()] == run.uid
        assert entry["rig/data"].asstr()[()] == run.start["rig"]["text"]
        assert entry["rig/checksum"].asstr()[()] == run.start["rig"]["sha256"]
        assert entry["versions/bluesky"].asstr()[()] == "1.15"
        assert "compression" in entry["definitions/differential_stress"].asstr()[()]
        assert entry["parameters/load"][()] == 4.7
        assert entry["parameters/load"].attrs["units"] == "MN"
        assert entry["instrument/roles/press"].asstr()[()] == "press"
        assert entry["sample/name"].asstr()[()] == "hcp-Fe and MgO"
        assert entry["user/name"].asstr()[()] == "A. Tester"
        assert entry["status/exit_status"].asstr()[()] == "success"
        assert run.uid in entry["document_start/data"].asstr()[()]


def test_the_same_journal_gives_the_same_bytes(file: Path, recorded: Path, tmp_path: Path) -> None:
    assert export(recorded / JOURNAL, tmp_path / "run.nxs").read_bytes() == file.read_bytes()


def test_images_are_kept_in_the_chunks_in_which_they_were_recorded(file: Path, recorded: Path) -> None:
    stack = read_run(recorded).streams["radiograph"].data["camera_image"]
    with h5py.File(file) as root:
        images = root["entry/streams/radiograph/camera_image"]
        assert (images.compression, images.shuffle, images.chunks) == ("gzip", True, (1, 512, 512))
        assert [images.id.read_direct_chunk((row, 0, 0)) for row in range(24)] == list(stack.chunks())
        np.testing.assert_array_equal(images[()], stack)


def test_what_was_written_wrongly_is_noticed(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = export_module.lay_out

    def spoil(root: h5py.File, *arguments: Any, **options: Any) -> Any:
        written = whole(root, *arguments, **options)
        root["entry/streams/radiograph/camera_image"][3, 100, 100] += 1
        return written

    monkeypatch.setattr(export_module, "lay_out", spoil)
    with pytest.raises(OSError, match="camera_image is not what the journal holds"):
        export(recorded, tmp_path / "run.nxs")
    assert not (tmp_path / "run.nxs").exists()


def test_an_interrupted_export_leaves_the_old_file(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.nxs").write_text("old")

    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "lay_out", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(recorded, tmp_path / "run.nxs")
    assert (tmp_path / "run.nxs").read_text() == "old"


def cut(folder: Path, target: Path, lines: int) -> Path:
    target.mkdir()
    kept = (folder / JOURNAL).read_bytes().splitlines(keepends=True)[:lines]
    (target / JOURNAL).write_bytes(b"".join(kept) + b"torn")
    shutil.copytree(folder / FRAMES, target / FRAMES)
    return target


@pytest.mark.parametrize("lines", [1, 2, 3, 5, 40])
def test_a_run_that_was_cut_short_exports_too(recorded: Path, tmp_path: Path, lines: int) -> None:
    file = export(cut(recorded, tmp_path / "cut", lines), tmp_path / "cut.nxs")
    assert complaints(file) == (0, 0)
    with h5py.File(file) as root:
        assert root["entry/status/exit_status"].asstr()[()] == "unfinished"
        assert "is cut off" in root["entry/status/torn"].asstr()[()]
        assert ("default" in root["entry"].attrs) is (lines >= 3)  # the first event is in the third line
    if lines >= 3:
        with nxload(file) as root:
            assert root.plottable_data is not None


def test_any_run_opens_on_a_plot(tmp_path: Path) -> None:
    signals = [Signal(name="odd-name", value=1.0), Signal(name="odd_name", value=2), Signal(name="word", value="a\0b")]
    with Journal(tmp_path / "run", Clock()) as journal:
        RunEngine({}, during_task=None, context_managers=[])(bp.count(signals, 3), journal, weird={"a b": [1, "x"]})
    file = export(tmp_path / "run", tmp_path / "run.nxs")
    assert complaints(file) == (0, 0)
    with nxload(file) as root:
        assert root.plottable_data.nxsignal.shape == (3,)
    with h5py.File(file) as root:
        primary = root["entry/streams/primary"]
        recorded_as = {
            item.attrs.get("recorded_as", name): float(item[0]) for name, item in primary.items() if "odd" in name
        }
        assert recorded_as == {"odd-name": 1.0, "odd_name": 2.0}
        assert list(primary["word"].asstr()) == ["a\\0b"] * 3


def test_notes_are_a_table(file: Path, recorded: Path) -> None:
    (note,) = read_run(recorded).notes
    with h5py.File(file) as root:
        notes = root["entry/journal_notes"]
        assert (notes["kind"].asstr()[0], notes["content"].asstr()[0]) == ("guard", '{"press": "held"}')
        assert (notes["clock"][0], notes["wall_time"][0]) == (note.clock, note.wall)


def test_bad_input_is_said_in_one_line(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no journal"):
        export(tmp_path, tmp_path / "x.nxs")
    with pytest.raises(InputError, match="is not a directory; make it first"):
        export(recorded, tmp_path / "missing" / "x.nxs")


def test_130_images_export_within_seconds(tmp_path: Path) -> None:
    image = np.random.default_rng(0).poisson(20000.0, (512, 512)).astype(np.uint16)
    data_keys = {"image": {"dtype": "array", "shape": [512, 512], "source": "s"}}
    with Journal(tmp_path / "run", Clock()) as journal:
        journal("start", {"uid": "u", "time": 0.0})
        journal("descriptor", {"uid": "d", "time": 0.0, "data_keys": data_keys, "configuration": {}})
        for seq_num in range(1, 131):
            event = {"uid": str(seq_num), "descriptor": "d", "seq_num": seq_num, "time": 0.0}
            journal("event", event | {"data": {"image": image + seq_num}, "timestamps": {"image": float(seq_num)}})
    began = time.monotonic()
    export(tmp_path / "run", tmp_path / "run.nxs")
    assert time.monotonic() - began < 3.0  # 0.5 s on an idle machine
    assert (tmp_path / "run.nxs").stat().st_size < 1.01 * 130 * image.nbytes
