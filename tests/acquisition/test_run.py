"""A run is read back from its journal: whole, torn, with damaged arrays, rewound."""

import json
import shutil
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd import Signal

from megabar.acquisition import run as run_module
from megabar.acquisition.columns import ArrayStack
from megabar.acquisition.journal import Journal
from megabar.acquisition.lines import FRAMES, JOURNAL, seal
from megabar.acquisition.run import Line, lines, read_run


class Clock:
    def monotonic(self) -> float:
        return 0.0


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three readings of one signal: a journal of 2 kB."""
    folder = tmp_path_factory.mktemp("small")
    with Journal(folder, Clock()) as journal:
        RunEngine({}, during_task=None, context_managers=[])(bp.count([Signal(name="x", value=1.5)], 3), journal)
    return folder / JOURNAL


def documents(journal: Path) -> list[Line]:
    return list(lines(journal))


@pytest.mark.row(24)
def test_a_journal_cut_at_any_byte_gives_the_documents_before_the_cut(small: Path, tmp_path: Path) -> None:
    whole, raw = documents(small), small.read_bytes()
    cut = tmp_path / JOURNAL
    for size in range(len(raw)):
        cut.write_bytes(raw[:size])
        complete = raw[:size].count(b"\n")
        trouble: list[str] = []
        assert list(lines(cut, trouble.append)) == whole[:complete]
        clean = size == 0 or raw[size - 1 : size] == b"\n"
        assert trouble == [] if clean else "is cut off" in trouble[0]
        if complete and raw[size - 2 : size + 2].count(b"\n"):  # around the ends of lines the whole reader too
            run = read_run(cut)
            assert run.exit_status == "unfinished"
            assert bool(run.torn) is not clean
        elif not complete:
            with pytest.raises(ValueError, match="no run begins here"):
                read_run(cut)


def flipped(small: Path, target: Path, flips: int) -> list[tuple[int, list[Line]]]:
    raw = small.read_bytes()
    rng = np.random.default_rng(24)
    found = []
    for position, bit in zip(rng.integers(0, len(raw), flips), rng.integers(0, 8, flips), strict=True):
        changed = bytearray(raw)
        changed[position] ^= 1 << int(bit)
        target.write_bytes(changed)
        found.append((raw[:position].count(b"\n"), documents(target)))
    return found


@pytest.mark.row(24, control="test_without_the_checksum_flipped_bits_would_pass")
def test_a_flipped_bit_ends_the_journal_before_its_line(small: Path, tmp_path: Path) -> None:
    whole = documents(small)
    for line, read in flipped(small, tmp_path / JOURNAL, 2000):
        assert read == whole[:line]


def test_without_the_checksum_flipped_bits_would_pass(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = documents(small)
    monkeypatch.setattr(run_module, "unseal", lambda line: line[9:])
    wrong = [read for line, read in flipped(small, tmp_path / JOURNAL, 200) if read != whole[:line]]
    assert len(wrong) > 50


def test_rubbish_at_the_end_is_left_out_and_named(small: Path, tmp_path: Path) -> None:
    whole, raw = documents(small), small.read_bytes()
    rng = np.random.default_rng(1)
    for tail in (b"\0" * 4096, rng.bytes(4096), raw, raw.splitlines(keepends=True)[0], b"\n", b"00000000 \n"):
        (tmp_path / JOURNAL).write_bytes(raw + tail)
        run = read_run(tmp_path)
        assert run.exit_status == "success"
        assert f"line {len(whole) + 1} at byte {len(raw)}" in run.torn
        assert documents(tmp_path / JOURNAL) == whole


def test_a_form_of_another_version_is_not_taken_for_a_value(small: Path, tmp_path: Path) -> None:
    raw = small.read_bytes()
    seq = raw.count(b"\n")
    later = {"seq": seq, "wall": 0, "clock": 0, "name": "note", "doc": {"kind": "x", "content": {"$stored": {}}}}
    (tmp_path / JOURNAL).write_bytes(raw + seal(later))
    assert "has the form '$stored', which this version does not know" in read_run(tmp_path).torn


def test_lines_of_another_run_do_not_fit(small: Path, tmp_path: Path) -> None:
    lines = small.read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(b"".join(lines[:3] + lines[4:]))
    assert "has number 4 where 3 should follow" in read_run(tmp_path).torn


def test_a_recorded_run_reads_back(recorded: Path) -> None:
    run = read_run(recorded)
    assert (run.experiment, run.exit_status, run.torn, run.damaged) == ("deformation", "success", "", ())
    assert run.start["parameters"]["load"] == {"value": 4.7, "unit": "MN"}
    assert {name: len(stream) for name, stream in run.streams.items()} == {
        "standard": 1,
        "conditions": 24,
        "radiograph": 24,
        "diffraction": 12,
        "temperature": 12,
        "pressure": 12,
        "strain": 12,
        "stress": 12,
        "texture": 12,
        "results": 1,
    }
    conditions = run.streams["conditions"]
    assert conditions.units["press_load"] == "MN"
    np.testing.assert_allclose(np.diff(conditions.time), 200.0)
    assert conditions.wall[0] > conditions.time[0]  # one is the wall's, the other the run's own
    assert run.streams["stress"].data["stress_covariance"].shape == (12, 2, 2)
    assert set(run.streams["stress"].data["stress_model"]) == {"soft stress, scale of the test"}
    assert run.streams["diffraction"].configuration["detector_slope"].shape == (10,)
    assert run.results["pressure"] == {"value": 18.1, "error": 0.04, "systematic": 0.25, "unit": "GPa"}
    assert set(run.results) == {
        "pressure",
        "temperature",
        "strain",
        "strain_rate",
        "differential_stress",
        "texture_index",
    }
    assert run.truth is not None
    assert run.truth["values"] == {"pressure": 18.2}
    np.testing.assert_array_equal(run.truth["series"]["time"], np.arange(500.0))


def test_a_stack_of_images_indexes_like_an_array(recorded: Path) -> None:
    stack = read_run(recorded).streams["radiograph"].data["camera_image"]
    assert isinstance(stack, ArrayStack)
    whole = np.asarray(stack)
    assert (stack.shape, stack.ndim, stack.dtype, stack.nbytes) == (whole.shape, 3, np.uint16, whole.nbytes)
    for index in (0, -1, np.int64(3), slice(2, 9, 3), slice(20, None), [4, 1], (5, 10), (slice(0, 2), 7, slice(3, 9))):
        np.testing.assert_array_equal(stack[index], whole[index])
    np.testing.assert_array_equal(list(stack)[17], whole[17])
    assert np.asarray(stack, dtype=float).dtype == float
    assert not stack[0].flags.writeable
    with pytest.raises(IndexError):
        stack[24]
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(stack, copy=False)


def test_any_file_beside_the_journal_stands_for_the_run(recorded: Path) -> None:
    assert read_run(recorded / JOURNAL).uid == read_run(recorded).uid == read_run(recorded / "deformation.nxs").uid
    with pytest.raises(ValueError, match=r"no journal \(run.journal\) is here"):
        read_run(recorded.parent)


def test_an_array_with_a_flipped_bit_leaves_out_its_event_and_no_other(recorded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(recorded, tmp_path / "copy")
    original = read_run(recorded).streams["radiograph"]
    chunk = list(original.data["camera_image"].chunks())[11][1]
    file = folder / original.data["camera_image"]._stored[11].file
    raw = bytearray(file.read_bytes())
    raw[raw.index(chunk) + 1234] ^= 16
    file.write_bytes(raw)
    run = read_run(folder)
    assert run.damaged == ("radiograph event 12: camera_image does not match its checksum",)
    assert list(run.streams["radiograph"].seq_num) == [number for number in range(1, 25) if number != 12]
    np.testing.assert_array_equal(run.streams["radiograph"].data["camera_image"][11], original.data["camera_image"][12])
    believed = read_run(folder, verify=False)
    assert believed.damaged == ()
    assert len(believed.streams["radiograph"]) == 24


def test_arrays_that_are_not_there_leave_out_their_events_and_no_others(recorded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(recorded, tmp_path / "copy")
    whole = read_run(recorded)
    file = folder / whole.streams["radiograph"].data["camera_image"]._stored[0].file
    with h5py.File(file, "r+") as frames_file:
        frames_file["data"].resize(16, axis=0)
    for verify in (True, False):
        run = read_run(folder, verify=verify)
        assert len(run.streams["radiograph"]) == 16
        assert run.damaged[0] == f"radiograph event 17: camera_image lies beyond the end of {FRAMES}/{file.name}"
        assert run.torn == ""
        assert run.stop == whole.stop
    for content in (b"rubbish", None):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        run = read_run(folder)
        assert len(run.streams["radiograph"]) == 0
        assert "camera_image cannot be read from" in run.damaged[0]
        assert run.results == whole.results


@pytest.mark.row(35)
def test_no_file_is_read_outside_the_folder_of_frames(recorded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(recorded, tmp_path / "copy")
    stolen = tmp_path / "elsewhere.h5"
    name = read_run(folder).streams["radiograph"].data["camera_image"]._stored[0].file
    (folder / name).rename(stolen)
    lines = (folder / JOURNAL).read_bytes().splitlines()
    with (folder / JOURNAL).open("wb") as journal:
        for line in lines:
            content = json.loads(line[9:])
            if content["name"] == "stream_resource" and content["doc"]["uri"] == name:
                content["doc"]["uri"] = f"{FRAMES}/../../{stolen.name}"
            journal.write(seal(content))
    assert len(read_run(folder).streams["radiograph"]) == 0


def test_events_that_are_taken_again_after_a_pause_replace_the_first(tmp_path: Path) -> None:
    signal = Signal(name="x", value=0)
    engine = RunEngine({}, during_task=None, context_managers=[])
    paused: list[bool] = []

    def plan() -> Any:
        yield from bps.open_run()
        yield from bps.checkpoint()
        for number in range(3):
            yield from bps.abs_set(signal, number + 10 * len(paused), wait=True)
            yield from bps.trigger_and_read([signal], name="primary")
        if not paused:
            paused.append(True)
            yield from bps.pause()
        yield from bps.close_run()

    with Journal(tmp_path, Clock()) as journal:
        engine.subscribe(journal)
        with pytest.raises(Exception, match="paused"):
            engine(plan())
        engine.resume()
    events = [line.doc for line in documents(tmp_path / JOURNAL) if line.name == "event"]
    stream = read_run(tmp_path).streams["primary"]
    assert [event["seq_num"] for event in events] == [1, 2, 3, 1, 2, 3]
    assert list(stream.seq_num) == [1, 2, 3]
    assert list(stream.wall) == [event["time"] for event in events[3:]]


def test_a_stream_that_is_declared_twice_with_more_keys_fills_the_gap(tmp_path: Path) -> None:
    def descriptor(uid: str, *keys: str) -> dict[str, Any]:
        data_keys = {key: {"dtype": "number", "shape": [], "source": "s"} for key in keys}
        return {"uid": uid, "time": 0.0, "name": "primary", "data_keys": data_keys, "configuration": {}}

    def event(uid: str, seq_num: int, **data: Any) -> dict[str, Any]:
        stamps = dict.fromkeys(data, 1.0)
        return {
            "uid": f"e{seq_num}",
            "descriptor": uid,
            "seq_num": seq_num,
            "time": 1.0,
            "data": data,
            "timestamps": stamps,
        }

    page = {
        "descriptor": "b",
        "uid": ["e3", "e4"],
        "seq_num": [3, 4],
        "time": [1.0, 2.0],
        "data": {"x": [3.0, 4.0], "y": [5, 6]},
        "timestamps": {"x": [1.0, 2.0], "y": [1.0, 2.0]},
    }
    with Journal(tmp_path, Clock()) as journal:
        journal("start", {"uid": "u", "time": 0.0})
        journal("descriptor", descriptor("a", "x"))
        journal("event", event("a", 1, x=1.0))
        journal("descriptor", descriptor("b", "x", "y"))
        journal("event", event("b", 2, x=None, y=2))
        journal("event_page", page)
        journal("event", event("c", 5, x=1.0))
    run = read_run(tmp_path)
    np.testing.assert_array_equal(run.streams["primary"].data["x"], [1.0, np.nan, 3.0, 4.0])
    np.testing.assert_array_equal(run.streams["primary"].data["y"], [np.nan, 2.0, 5.0, 6.0])
    assert run.damaged == ("event e5 belongs to no stream of this journal",)


def test_values_of_different_shapes_stay_apart(tmp_path: Path) -> None:
    keys = {"x": {"dtype": "array", "shape": [2], "source": "s"}, "y": {"dtype": "string", "shape": [], "source": "s"}}
    with Journal(tmp_path, Clock()) as journal:
        journal("start", {"uid": "u", "time": 0.0})
        journal("descriptor", {"uid": "d", "time": 0.0, "data_keys": keys, "configuration": {}})
        for seq_num, (x, y) in enumerate([(np.zeros(2), "a"), (np.zeros(300), None), (np.zeros((2, 2)), "b")], 1):
            data, stamps = {"x": x, "y": y}, {"x": 0.0, "y": 0.0}
            document = {"descriptor": "d", "uid": str(seq_num), "seq_num": seq_num, "time": 0.0}
            journal("event", document | {"data": data, "timestamps": stamps})
    data = read_run(tmp_path).streams["primary"].data
    assert [value.shape for value in data["x"]] == [(2,), (300,), (2, 2)]
    assert list(data["y"]) == ["a", None, "b"]


def test_a_journal_that_is_empty_or_has_no_start_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).touch()
    with pytest.raises(ValueError, match="no run begins here: the file is empty"):
        read_run(tmp_path)
    (tmp_path / JOURNAL).write_bytes(small.read_bytes()[1:])
    with pytest.raises(ValueError, match="no run begins here: line 1 at byte 0 does not match its checksum"):
        read_run(tmp_path)
