"""Large arrays are written by a process of their own, and the journal names them when they are on the disk."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd import Signal

from megabar.acquisition import frame_files, frame_writer
from megabar.acquisition.export import export
from megabar.acquisition.frame_files import AS_IT_IS, PACKED, FrameFile, FrameFiles
from megabar.acquisition.journal import Journal, JournalError
from megabar.acquisition.lines import FRAMES, JOURNAL, Stored, seal
from megabar.acquisition.recovery import recover
from megabar.acquisition.run import Line, lines, read_run

CLOCK = SimpleNamespace(monotonic=lambda: 0.0)
START = {"uid": "u", "time": 0.0}
STOP = {"uid": "z", "run_start": "u", "time": 9.0, "exit_status": "success"}


def descriptor(**data_keys: dict[str, Any]) -> dict[str, Any]:
    filled = {key: {"dtype": "array", "source": "s", **said} for key, said in data_keys.items()}
    return {"uid": "d", "run_start": "u", "time": 0.0, "name": "shots", "data_keys": filled, "configuration": {}}


def event(seq_num: int, **data: Any) -> dict[str, Any]:
    stamps = dict.fromkeys(data, float(seq_num))
    document = {"uid": f"e{seq_num}", "descriptor": "d", "seq_num": seq_num, "time": 0.0}
    return document | {"data": data, "timestamps": stamps}


def image(number: int, shape: tuple[int, ...] = (128, 128)) -> np.ndarray:
    """Noise that only this number gives."""
    return np.random.default_rng(number).poisson(1000.0, shape).astype(np.uint16)


IMAGES = descriptor(image={"shape": [128, 128], "dtype_numpy": "<u2"}, n={"dtype": "integer", "shape": []})


def recorded(folder: Path, *names: str) -> list[Line]:
    return [line for line in lines(folder / JOURNAL) if not names or line.name in names]


def record(folder: Path, n: int, shown: dict[str, Any] = IMAGES, **options: Any) -> Path:
    with Journal(folder, CLOCK, **options) as journal:
        journal("start", START)
        journal("descriptor", shown)
        for number in range(1, n + 1):
            journal("event", event(number, image=image(number), n=number))
        journal("stop", STOP)
    return folder


def test_frames_come_back_and_their_documents_are_those_of_event_model(tmp_path: Path) -> None:
    run = read_run(record(tmp_path, 20))
    assert (run.damaged, run.exit_status) == ((), "success")
    stack = run.streams["shots"].data["image"]
    assert (stack.shape, stack.dtype) == ((20, 128, 128), np.uint16)
    for number, frame in enumerate(stack, 1):
        np.testing.assert_array_equal(frame, image(number))
    np.testing.assert_array_equal(run.streams["shots"].timestamps["image"], np.arange(1.0, 21.0))
    (declared,) = recorded(tmp_path, "descriptor")
    assert {key: said.get("external") for key, said in declared.doc["data_keys"].items()} == {
        "image": "STREAM:",
        "n": None,
    }
    (resource,) = recorded(tmp_path, "stream_resource")
    data = recorded(tmp_path, "stream_datum")
    assert [datum.doc["seq_nums"]["start"] for datum in data] == list(range(1, 21))
    for line in (declared, resource, *data):
        event_model.schema_validators[event_model.DocumentNames[line.name]].validate(line.doc)
    assert all(set(line.doc["data"]) == {"n"} for line in recorded(tmp_path, "event"))
    assert recorded(tmp_path)[-1].name == "stop"


def test_a_frame_is_on_the_disk_before_the_journal_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, seen = Journal._refer, []

    def refer(self: Journal, name: str, doc: Any) -> None:
        if name == "stream_datum":
            (file,) = (tmp_path / FRAMES).iterdir()
            with h5py.File(file, "r", libver="latest", swmr=True) as root:
                index = doc["indices"]["start"]
                np.testing.assert_array_equal(root["data"][index], image(doc["seq_nums"]["start"]))
                seen.append(index)
        whole(self, name, doc)

    monkeypatch.setattr(Journal, "_refer", refer)
    record(tmp_path, 12)
    assert seen == list(range(12))


def test_each_frame_is_confirmed_before_the_next_step_where_a_plan_asks_for_it(tmp_path: Path) -> None:
    with Journal(tmp_path, CLOCK, durability="event") as journal:
        journal("start", START)
        journal("descriptor", IMAGES)
        for number in range(1, 6):
            journal("event", event(number, image=image(number), n=number))
            assert len(recorded(tmp_path, "stream_datum")) == number
        journal("stop", STOP)


def test_the_engine_does_not_wait_for_frames_and_observers_get_them_whole(tmp_path: Path) -> None:
    seen: list[Any] = []
    signal_ = Signal(name="image", value=image(1))
    engine = RunEngine({}, during_task=None, context_managers=[])
    with Journal(tmp_path, CLOCK) as journal:
        engine.subscribe(journal)
        engine.subscribe(lambda name, doc: seen.append(doc["data"]["image"]), "event")
        engine(bpp.run_wrapper(bps.repeat(lambda: bps.trigger_and_read([signal_]), 3)))
    np.testing.assert_array_equal(seen, [image(1)] * 3)
    np.testing.assert_array_equal(read_run(tmp_path).streams["primary"].data["image"], [image(1)] * 3)


def test_what_is_not_as_declared_stays_in_its_event_and_another_type_gets_another_file(tmp_path: Path) -> None:
    values = [image(1), image(2).astype(float), image(3, (64, 64)), None, image(5)]
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", descriptor(image={"shape": [128, 128]}))
        for number, value in enumerate(values, 1):
            journal("event", event(number, image=value))
        journal("stop", STOP)
    assert len(list((tmp_path / FRAMES).iterdir())) == 2
    run = read_run(tmp_path)
    assert run.damaged == ()
    for back, value in zip(run.streams["shots"].data["image"], values, strict=True):
        assert getattr(back, "dtype", None) == getattr(value, "dtype", None)
        np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize(
    "said",
    [{"shape": []}, {"shape": [-1, 9999]}, {"shape": [None]}, {"shape": [100]}, {"shape": [9999], "external": "X:"}],
)
def test_small_or_shapeless_arrays_need_no_process(tmp_path: Path, said: dict[str, Any]) -> None:
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", descriptor(x=said))
        assert journal._frames.writer is None
        journal("event", event(1, x=np.arange(9999.0)))
        journal("stop", STOP)
    np.testing.assert_array_equal(read_run(tmp_path).streams["shots"].data["x"][0], np.arange(9999.0))


def test_an_event_that_is_refused_hands_no_frame_over(tmp_path: Path) -> None:
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", IMAGES)
        with pytest.raises(ValueError, match=r"^event\.data\.n is a set"):
            journal("event", event(1, image=image(1), n={1}))
        journal("event", event(2, image=image(2), n=2))
        journal("stop", STOP)
    run = read_run(tmp_path)
    assert run.damaged == ()
    np.testing.assert_array_equal(run.streams["shots"].data["image"], [image(2)])


def test_frames_that_are_taken_again_replace_the_first(tmp_path: Path) -> None:
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", IMAGES)
        for number, seq_num in enumerate([1, 2, 3, 2, 3], 1):
            journal("event", event(seq_num, image=image(number), n=number))
        journal("stop", STOP)
    stream = read_run(tmp_path).streams["shots"]
    assert list(stream.data["n"]) == [1, 4, 5]
    np.testing.assert_array_equal(stream.data["image"], [image(1), image(4), image(5)])


@pytest.mark.row(27, control="test_a_viewer_of_a_file_that_is_not_for_many_readers_is_locked_out")
def test_a_viewer_that_holds_a_file_open_disturbs_nobody_and_sees_it_grow(tmp_path: Path) -> None:
    with Journal(tmp_path, CLOCK, durability="event") as journal:
        journal("start", START)
        journal("descriptor", IMAGES)
        journal("event", event(1, image=image(1), n=1))
        (file,) = (tmp_path / FRAMES).iterdir()
        with h5py.File(file, "r", libver="latest", swmr=True) as viewer:
            for number in range(2, 10):
                journal("event", event(number, image=image(number), n=number))
                viewer["data"].id.refresh()
                np.testing.assert_array_equal(viewer["data"][-1], image(number))
            journal("stop", STOP)
    assert len(read_run(tmp_path).streams["shots"]) == 9


def test_frames_are_packed_when_there_is_time_and_right_either_way(tmp_path: Path) -> None:
    (tmp_path / FRAMES).mkdir()
    file = FrameFile(tmp_path / FRAMES / "a.h5", "<u2", (128, 128), {})
    crcs = [file.append(n, image(n).tobytes(), packed=bool(n % 2))[1] for n in range(6)]
    file.close()
    files = FrameFiles(tmp_path)
    stored = [Stored(f"{FRAMES}/a.h5", n, "<u2", (128, 128), crc) for n, crc in enumerate(crcs)]
    assert [files.chunk(frame)[0] for frame in stored] == [AS_IT_IS, PACKED] * 3
    assert all(files.fault(frame, verify=True) == "" for frame in stored)
    with h5py.File(tmp_path / FRAMES / "a.h5") as root:
        for n, frame in enumerate(stored):
            np.testing.assert_array_equal(files.load(frame), image(n))
            np.testing.assert_array_equal(root["data"][n], image(n))
    assert files.fault(Stored(f"{FRAMES}/a.h5", 2, "<u2", (128, 128), 1), verify=True) == "does not match its checksum"


def test_every_flipped_bit_of_a_frame_is_found(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", 4)
    stack = read_run(folder).streams["shots"].data["image"]
    file = folder / stack._stored[0].file
    raw, chunk = file.read_bytes(), list(stack.chunks())[2][1]
    rng = random.Random(29)
    wrong = 0
    for trial in range(60):
        spoilt = bytearray(raw)
        spoilt[raw.index(chunk) + rng.randrange(len(chunk))] ^= 1 << rng.randrange(8)
        copy = tmp_path / str(trial)
        (copy / FRAMES).mkdir(parents=True)
        (copy / JOURNAL).write_bytes((folder / JOURNAL).read_bytes())
        (copy / FRAMES / file.name).write_bytes(spoilt)
        assert read_run(copy).damaged == ("shots event 3: image does not match its checksum",)
        wrong += len(read_run(copy, verify=False).streams["shots"]) == 4
    assert wrong == 60, "without the checksum each would pass"


class Dying:
    """Records images through an engine while its writer is killed at some moment."""

    def __init__(self, folder: Path, after_s: float) -> None:
        self.safe: list[bool] = []
        self.seen = 0
        camera, n = Signal(name="image", value=image(0)), Signal(name="n", value=0)
        engine = RunEngine({}, during_task=None, context_managers=[])
        with Journal(folder, CLOCK) as journal:

            def plan() -> Any:
                yield from bps.open_run({})
                killed_at = time.monotonic() + after_s
                for number in range(1, 10_000):
                    camera.put(image(number))
                    n.put(number)
                    yield from bps.trigger_and_read([camera, n], name="shots")
                    self.seen += 1
                    if time.monotonic() > killed_at:
                        assert journal._frames.writer is not None
                        os.kill(journal._frames.writer.pid, signal.SIGKILL)
                        killed_at += 1e6

            def made_safe() -> Any:
                self.safe.append(True)
                yield from bps.null()

            inside = bpp.finalize_wrapper(plan(), made_safe)
            with pytest.raises(JournalError, match=r"the frame writer has ended.*; the run must stop"):
                engine(bpp.contingency_wrapper(inside, else_plan=bps.close_run), journal)


def check_dying(folder: Path, after_s: float) -> None:
    dying = Dying(folder, after_s)
    assert dying.safe == [True]
    run = read_run(folder)
    assert (run.exit_status, run.torn) == ("fail", "")
    assert all("image was not written" in line for line in run.damaged)
    stream = run.streams["shots"]
    kept = [int(number) for number in stream.data["n"]]
    flushed = [datum.doc["seq_nums"]["start"] for datum in recorded(folder, "stream_datum")]
    assert set(flushed) <= set(kept)
    assert len(kept) + len(run.damaged) >= dying.seen
    for number, frame in zip(kept, stream.data["image"], strict=True):
        np.testing.assert_array_equal(frame, image(number))
    export(folder, folder / "run.nxs")


@pytest.mark.row(25, control="test_a_frame_that_is_named_before_it_is_flushed_would_be_missing")
@pytest.mark.parametrize("trial", range(8))
def test_a_writer_that_is_killed_fails_the_run_and_every_flushed_frame_is_right(tmp_path: Path, trial: int) -> None:
    check_dying(tmp_path, 0.35 + 0.05 * trial + random.Random(trial).random() * 0.05)


@pytest.mark.row(25)
@pytest.mark.soak
def test_200_writers_are_killed(tmp_path: Path) -> None:
    rng = random.Random(25)
    for trial in range(200):
        check_dying(tmp_path / str(trial), 0.3 + rng.random() * 0.5)


def test_a_writer_that_is_stuck_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_writer, "DEADLINE_S", 0.3)
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", IMAGES)
        assert journal._frames.writer is not None
        os.kill(journal._frames.writer.pid, signal.SIGSTOP)
        with pytest.raises(JournalError, match=r"takes nothing for 0\.3 s|has ended"):
            for number in range(1, 1000):
                journal("event", event(number, image=image(number), n=number))
        journal("stop", STOP | {"exit_status": "fail"})
    assert read_run(tmp_path).exit_status == "fail"


def test_a_writer_that_dies_last_leaves_no_success(tmp_path: Path) -> None:
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", IMAGES)
        assert journal._frames.writer is not None
        os.kill(journal._frames.writer.pid, signal.SIGSTOP)  # so that the frame waits in the pipe
        journal("event", event(1, image=image(1), n=1))
        os.kill(journal._frames.writer.pid, signal.SIGKILL)
        with pytest.raises(JournalError, match="1 frames are not confirmed"):
            journal("stop", STOP)
    run = read_run(tmp_path)
    assert run.stop is not None
    assert (run.exit_status, run.stop["reason"]) == ("fail", "the frame writer has ended; 1 frames are not confirmed")
    assert run.damaged == ("shots event 1: image was not written",)


def test_a_writer_that_cannot_write_says_why(tmp_path: Path) -> None:
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", IMAGES)
        (tmp_path / FRAMES).mkdir()
        (tmp_path / FRAMES / "00-shots-image.h5").touch()
        journal("event", event(1, image=image(1), n=1))
        with pytest.raises(JournalError, match=r"the frame writer failed: .*exists"):
            journal("stop", STOP)


FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from types import SimpleNamespace
from megabar.acquisition.journal import Journal, JournalError
journal = Journal(Path(sys.argv[1]), SimpleNamespace(monotonic=lambda: 0.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
journal("start", {"uid": "u", "time": 0.0})
data_keys = {"image": {"dtype": "array", "source": "s", "shape": [128, 128], "dtype_numpy": "<u2"}}
journal("descriptor", {"uid": "d", "time": 0.0, "data_keys": data_keys, "configuration": {}})
try:
    for n in range(1, 2000):
        image = np.random.default_rng(n).poisson(1000.0, (128, 128)).astype(np.uint16)
        event = {"descriptor": "d", "uid": str(n), "seq_num": n, "time": 0.0, "timestamps": {"image": 0.0}}
        journal("event", event | {"data": {"image": image}})
except JournalError as error:
    print(error)
journal("stop", {"uid": "z", "run_start": "u", "time": 0.0, "exit_status": "fail"})
journal.close()
"""


@pytest.mark.parametrize("limit", [200_000, 500_000, 777_777])
def test_frames_that_find_no_room_end_the_run_and_those_before_are_right(tmp_path: Path, limit: int) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", FULL, str(tmp_path), str(limit)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the frame writer failed" in done.stdout
    run = read_run(tmp_path)
    assert (run.exit_status, run.torn) == ("fail", "")
    stream = run.streams["primary"]
    assert len(stream) >= len(recorded(tmp_path, "stream_datum")) >= 1
    for number, frame in zip(stream.seq_num, stream.data["image"], strict=True):
        np.testing.assert_array_equal(frame, image(int(number)))


def test_frames_that_the_journal_could_not_name_any_more_are_found_in_their_file(tmp_path: Path) -> None:
    record(tmp_path, 6)
    kept = [line for line in (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True) if b'"stream_' not in line]
    content = [json.loads(line[9:]) | {"seq": seq} for seq, line in enumerate(kept)]
    (tmp_path / JOURNAL).write_bytes(b"".join(map(seal, content[:-1])))
    recover(tmp_path)
    run = read_run(tmp_path)
    assert (run.damaged, run.exit_status) == ((), "fail")
    for number, frame in enumerate(run.streams["shots"].data["image"], 1):
        np.testing.assert_array_equal(frame, image(number))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core")
def test_the_writer_leaves_the_core_of_a_rehearsal_to_the_engine(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with Journal(tmp_path, CLOCK, durability="event") as journal:
            journal("start", START)
            journal("descriptor", IMAGES)
            journal("event", event(1, image=image(1), n=1))
            assert journal._frames.writer is not None
            assert min(before) not in os.sched_getaffinity(journal._frames.writer.pid)
            journal("stop", STOP)
    finally:
        os.sched_setaffinity(0, before)


def test_the_engine_does_not_import_hdf5_for_the_journal() -> None:
    """It would cost a command a quarter of a second."""
    code = "import sys, megabar.acquisition.journal; sys.exit('h5py' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code]).returncode == 0


COUNTED = descriptor(count={"dtype": "integer", "shape": [], "frame_counter": 1}, x={"dtype": "number", "shape": []})


@pytest.mark.row(29)
@pytest.mark.parametrize(
    ("counts", "step", "said"),
    [
        ([7, 8, 9, 10], 1, ""),
        ([7, 8, 10], 1, "stream shots: count went from 8 to 10; 1 frames are missing"),
        ([7, 8, 8], 1, "stream shots: count went from 8 to 8"),
        ([7, 8, 0], 1, "stream shots: count went from 8 to 0"),
        ([4, 8, 12], 4, ""),
        ([4, 8, 11], 4, "stream shots: count went from 8 to 11"),
    ],
)
def test_a_gap_in_a_counter_of_frames_stops_the_run(tmp_path: Path, counts: list[int], step: int, said: str) -> None:
    declared = descriptor(count={"dtype": "integer", "shape": [], "frame_counter": step})
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", declared)
        for seq_num, count in enumerate(counts[:-1], 1):
            journal("event", event(seq_num, count=count))
        last = event(len(counts), count=np.int64(counts[-1]))
        if not said:
            journal("event", last)
            journal("stop", STOP)
        else:
            with pytest.raises(JournalError, match=rf"{said}; the run must stop"):
                journal("event", last)
            with pytest.raises(JournalError, match="the run is no success"):  # of a plan that went on all the same
                journal("stop", STOP)
    run = read_run(tmp_path)
    assert list(run.streams["shots"].data["count"]) == counts
    assert run.exit_status == ("fail" if said else "success")
    assert run.stop is not None
    assert run.stop.get("reason", "") == said


@pytest.mark.parametrize("step", [0, -1, 1.5, "image", None])
def test_a_counter_must_say_how_much_it_rises(tmp_path: Path, step: Any) -> None:
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        with pytest.raises(
            ValueError, match=r"^descriptor\.data_keys\.count\.frame_counter is .*; accepted is 1 or more"
        ):
            journal("descriptor", descriptor(count={"shape": [], "frame_counter": step}))


@pytest.mark.row(29, control="test_a_counter_that_is_not_declared_hides_the_gap")
def test_a_detector_that_drops_frames_is_always_found_out(tmp_path: Path) -> None:
    """One in a thousand, through an engine."""

    class Counter(Signal):
        def describe(self) -> dict[str, Any]:
            described = super().describe()
            described[self.name]["frame_counter"] = 1
            return described

    rng = random.Random(29)
    for trial in range(5):
        counter = Counter(name="count", value=0)
        dropped = rng.randrange(2, 200)

        def plan(counter: Signal = counter, dropped: int = dropped) -> Any:
            for number in range(250):
                yield from bps.mv(counter, number + (number >= dropped))
                yield from bps.trigger_and_read([counter], name="shots")

        engine = RunEngine({}, during_task=None, context_managers=[])
        with Journal(tmp_path / str(trial), CLOCK) as journal:
            with pytest.raises(
                JournalError, match=f"count went from {dropped - 1} to {dropped + 1}; 1 frames are missing"
            ):
                engine(bpp.run_wrapper(plan()), journal)
        run = read_run(tmp_path / str(trial))
        assert run.exit_status == "fail"
        assert len(run.streams["shots"]) == dropped + 1


def test_packing_is_what_hdf5_does(tmp_path: Path) -> None:
    array = image(3)
    back = frame_files.unpack(PACKED, frame_files.pack(array.tobytes(), 2), array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)
    with pytest.raises(ValueError, match="skips filters 1"):
        frame_files.unpack(1, b"", array.dtype, array.shape)


def test_a_frame_that_is_named_before_it_is_flushed_would_be_missing(tmp_path: Path) -> None:
    """The control: a file that ends before what its journal names."""
    record(tmp_path, 6)
    (file,) = (tmp_path / FRAMES).iterdir()
    with h5py.File(file, "r+") as root:
        root["data"].resize(4, axis=0)
        root["index"].resize(4, axis=0)
    run = read_run(tmp_path)
    assert len(run.streams["shots"]) == 4
    assert [line.partition(": ")[2] for line in run.damaged] == [
        f"image lies beyond the end of {FRAMES}/{file.name}"
    ] * 2


def test_a_viewer_of_a_file_that_is_not_for_many_readers_is_locked_out(tmp_path: Path) -> None:
    """The control: what HDF5 does by itself."""
    look = f"import h5py; h5py.File({str(tmp_path / 'plain.h5')!r}, 'r', libver='latest', swmr=True)"
    with h5py.File(tmp_path / "plain.h5", "w"):
        looked = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    assert "unable to lock file" in looked.stderr


def test_a_counter_that_is_not_declared_hides_the_gap(tmp_path: Path) -> None:
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", descriptor(count={"dtype": "integer", "shape": []}))
        for seq_num, count in enumerate([7, 8, 10], 1):
            journal("event", event(seq_num, count=count))
        journal("stop", STOP)
    assert read_run(tmp_path).exit_status == "success"
