"""The journal records everything, loses nothing that it accepted, and says when it cannot."""

import fcntl
import json
import os
import subprocess
import sys
import zlib
from enum import StrEnum
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import numpy as np
import pytest
from bluesky import RunEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from ophyd import Signal

from megabar.acquisition import journal as journal_module
from megabar.acquisition.journal import AppendOnlyFile, Journal, JournalError, check_metadata
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.run import read_run


class Clock:
    def monotonic(self) -> float:
        return 12.5


START = {"uid": "u", "time": 1.0}
DESCRIPTOR = {
    "uid": "d",
    "run_start": "u",
    "time": 2.0,
    "name": "primary",
    "data_keys": {"x": {"dtype": "number", "shape": [], "source": "s", "units": "mm"}},
    "configuration": {},
}
STOP = {"uid": "z", "run_start": "u", "time": 9.0, "exit_status": "success"}


def event(value: Any, seq_num: int = 1) -> dict[str, Any]:
    return {
        "uid": f"e{seq_num}",
        "descriptor": "d",
        "seq_num": seq_num,
        "time": 3.0,
        "data": {"x": value},
        "timestamps": {"x": 100.0 + seq_num},
    }


def write(folder: Path, *values: Any, start: dict[str, Any] = START) -> Path:
    with Journal(folder, Clock()) as journal:
        journal("start", start)
        journal("descriptor", DESCRIPTOR)
        for seq_num, value in enumerate(values, 1):
            journal("event", event(value, seq_num))
        journal("stop", STOP)
    return folder


@pytest.mark.parametrize(
    "value",
    [1, -2.5, 1e-300, 2**53 + 1, True, None, "Ωmega \u2028 \n", "", [1, [2, "a"]], {"a": {"b": []}}, {"$float": "nan"}],
)
def test_a_value_comes_back_as_it_was(tmp_path: Path, value: Any) -> None:
    run = read_run(write(tmp_path, start=START | {"value": value, "$dollar": {"$array": 1, "$$": 2}}))
    assert run.start == START | {"value": value, "$dollar": {"$array": 1, "$$": 2}}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named_in_strict_json_and_come_back(tmp_path: Path, value: float) -> None:
    folder = write(tmp_path, value, value)
    for line in (folder / JOURNAL).read_bytes().splitlines():
        json.loads(line[9:], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    np.testing.assert_array_equal(read_run(folder).streams["primary"].data["x"], [value, value])


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "f4", "f8", "c16", "?", "U3"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (40, 50)])
def test_an_array_comes_back_with_its_type_and_shape(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    run = read_run(write(tmp_path, array, array[::-1] if shape else array, start=START | {"array": array}))
    kept = run.start["array"]
    assert (kept.dtype, kept.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(kept, array)
    column = np.asarray(run.streams["primary"].data["x"])
    assert column.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(column[1], array[::-1] if shape else array)


def test_arrays_that_are_views_are_stored_as_they_look(tmp_path: Path) -> None:
    image = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    stack = read_run(write(tmp_path, image.T, image[::2, ::-1][:, :50])).streams["primary"].data["x"]
    np.testing.assert_array_equal(stack[0], image.T)
    np.testing.assert_array_equal(stack[1], image[::2, ::-1][:, :50])


def test_numpy_scalars_and_tuples_become_plain(tmp_path: Path) -> None:
    values = {
        "a": np.float32(0.5),
        "b": np.int16(-3),
        "c": np.bool_(True),
        "d": (1, np.str_("s")),
        "e": np.float64(2.5),
    }
    kept = read_run(write(tmp_path, start=START | values)).start
    assert {key: kept[key] for key in values} == {"a": 0.5, "b": -3, "c": True, "d": [1, "s"], "e": 2.5}


def test_every_line_carries_number_clocks_and_checksum(tmp_path: Path) -> None:
    lines = (write(tmp_path, 1.0) / JOURNAL).read_bytes().splitlines()
    contents = [json.loads(line[9:]) for line in lines]
    assert [content["name"] for content in contents] == ["start", "descriptor", "event", "stop"]
    assert [content["seq"] for content in contents] == [0, 1, 2, 3]
    assert {content["clock"] for content in contents} == {12.5}
    assert all(line[:8] == b"%08x" % zlib.crc32(line[9:]) for line in lines)


@pytest.mark.parametrize(("length", "form"), [(128, "$array"), (129, "$base64")])
def test_arrays_of_more_than_a_kilobyte_are_written_shorter(tmp_path: Path, length: int, form: str) -> None:
    folder = write(tmp_path, np.arange(float(length)))
    written = json.loads((folder / JOURNAL).read_bytes().splitlines()[2][9:])["doc"]["data"]["x"]
    assert sorted(written) == sorted([form, "dtype", "shape"])


@pytest.mark.parametrize("durability", ["group", "event"])
def test_documents_are_flushed_as_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Any) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(AppendOnlyFile, "flush", lambda self: flushed.append(self.name))
    monkeypatch.setattr(journal_module, "COMMIT_S", 1e6)
    with Journal(tmp_path / "run", Clock(), durability=durability) as journal:
        for name, document, expected in (
            ("start", START, 1),
            ("descriptor", DESCRIPTOR, 1),
            ("event", event(1.0), 1 if durability == "event" else 0),
            ("stop", STOP, 1),
        ):
            flushed.clear()
            journal(name, document)
            assert flushed == [JOURNAL] * expected, name


def test_scalar_events_are_flushed_soon_without_another_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(journal_module, "COMMIT_S", 0.005)
    with Journal(tmp_path, Clock()) as journal:
        journal("start", START)
        journal("descriptor", DESCRIPTOR)
        flushed = threading.Event()
        monkeypatch.setattr(AppendOnlyFile, "flush", lambda self: flushed.set())
        journal("event", event(1.0))
        assert flushed.wait(5.0)


class FailingFile(AppendOnlyFile):
    """Refuses from the given call on."""

    method, left = "append", 0

    def _tell(self, method: str) -> None:
        if method == FailingFile.method:
            FailingFile.left -= 1
            if FailingFile.left < 0:
                raise OSError(28, "No space left on device")

    def append(self, data: Any) -> None:
        self._tell("append")
        super().append(data)

    def flush(self) -> None:
        self._tell("flush")
        super().flush()


@pytest.mark.row(22)
@pytest.mark.parametrize("method", ["append", "flush"])
@pytest.mark.parametrize("good", range(6))
def test_a_disk_that_refuses_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, good: int
) -> None:
    monkeypatch.setattr(journal_module, "AppendOnlyFile", FailingFile)
    monkeypatch.setattr(FailingFile, "method", method)
    monkeypatch.setattr(FailingFile, "left", good)
    seen: list[int] = []
    safe: list[bool] = []
    signal = Signal(name="x", value=0.0)

    def plan() -> Any:
        yield from bps.open_run({})
        for number in range(100):
            yield from bps.create()
            yield from bps.read(signal)
            yield from bps.save()
            seen.append(number)
        yield from bps.close_run()

    def made_safe() -> Any:
        safe.append(True)
        yield from bps.null()

    engine = RunEngine({}, during_task=None, context_managers=[])
    with Journal(tmp_path, Clock(), durability="event") as journal:
        with pytest.raises(JournalError, match=r"must stop|takes no more"):
            engine(bpp.finalize_wrapper(plan(), made_safe), journal)
        with pytest.raises(JournalError, match=r"takes no more documents: .*No space left"):
            journal("event", event(1.0))
    assert len(seen) < 4
    assert safe == [True]
    assert engine.state == "idle"
    if good >= 2:  # start and at least one more document are there
        assert read_run(tmp_path).exit_status == "unfinished"


def test_a_failed_flush_in_the_background_stops_the_next_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "COMMIT_S", 0.001)
    with Journal(tmp_path, Clock()) as journal:
        journal("start", START)
        journal("descriptor", DESCRIPTOR)

        def refuse(_: Any) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(AppendOnlyFile, "flush", refuse)
        journal("event", event(1.0))
        committer = journal._committer
        assert committer is not None
        committer.join(5.0)
        with pytest.raises(JournalError, match="Input/output error"):
            journal("event", event(2.0, 2))


def test_a_write_that_is_cut_short_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    with monkeypatch.context() as patched:
        patched.setattr(journal_module.os, "write", lambda descriptor, data: whole(descriptor, data[:7]))
        write(tmp_path, np.arange(1000), 2.0)
    run = read_run(tmp_path)
    assert not run.torn
    assert not run.damaged


def test_a_second_journal_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1.0)
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(FileExistsError):
        Journal(tmp_path, Clock())
    assert (tmp_path / JOURNAL).read_bytes() == before


@pytest.mark.row(35)
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / JOURNAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        Journal(tmp_path, Clock())
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_documents_come_in_the_order_of_one_run(tmp_path: Path) -> None:
    with Journal(tmp_path, Clock()) as journal:
        with pytest.raises(ValueError, match="event document cannot follow nothing"):
            journal("event", event(1.0))
        with pytest.raises(ValueError, match="truth follows the stop document"):
            journal.append_truth({})
        journal("start", START)
        journal("stop", STOP)
        with pytest.raises(ValueError, match="start document cannot follow stop"):
            journal("start", START)
        journal.append_truth({"pressure": 18.0, "series": np.arange(1000.0)})
        with pytest.raises(ValueError, match="truth follows the stop document"):
            journal.append_truth({})
    truth = read_run(tmp_path).truth
    assert truth is not None
    assert truth["pressure"] == 18.0
    np.testing.assert_array_equal(truth["series"], np.arange(1000.0))
    with pytest.raises(JournalError, match="closed"):
        journal.append_truth({})


def test_notes_stand_between_documents_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    with Journal(tmp_path, Clock()) as journal:
        with pytest.raises(ValueError, match="a hazard note belongs between start and stop"):
            journal.note("hazard", {})
        journal("start", START)
        journal("descriptor", DESCRIPTOR)
        with monkeypatch.context() as patched:
            patched.setattr(AppendOnlyFile, "flush", lambda self: flushed.append(self.name))
            journal.note("hazard", {"device": "laser", "to": np.float64(3.0), "$odd": np.nan})
            assert flushed == [JOURNAL]
        with pytest.raises(ValueError, match=r"^note\.content\.to is a set"):
            journal.note("hazard", {"to": {1}})
        journal("event", event(1.0))
        journal("stop", STOP)
        with pytest.raises(ValueError, match="only guard notes may follow"):
            journal.note("hazard", {})
        journal.note("guard", {"laser": "made safe"})
        journal.append_truth({"pressure": 1.0})
        journal.note("guard", {"laser": "still safe"})
    run = read_run(tmp_path)
    assert [note.kind for note in run.notes] == ["hazard", "guard", "guard"]
    assert {note.clock for note in run.notes} == {12.5}
    np.testing.assert_equal(run.notes[0].content, {"device": "laser", "to": 3.0, "$odd": np.nan})
    assert (run.exit_status, run.truth, len(run.streams["primary"])) == ("success", {"pressure": 1.0}, 1)
    with pytest.raises(JournalError, match="closed"):
        journal.note("guard", {})


def test_notes_of_another_thread_never_fall_into_a_line(tmp_path: Path) -> None:
    import threading

    with Journal(tmp_path, Clock()) as journal:
        journal("start", START)
        journal("descriptor", DESCRIPTOR)
        notes = threading.Thread(target=lambda: [journal.note("guard", {"n": n}) for n in range(200)])
        notes.start()
        for number in range(1, 1001):
            journal("event", event(np.arange(50.0), number))
        notes.join()
        journal("stop", STOP)
    run = read_run(tmp_path)
    assert (run.torn, len(run.notes), len(run.streams["primary"])) == ("", 200, 1000)


def test_a_document_that_cannot_be_held_is_refused_and_the_journal_goes_on(tmp_path: Path) -> None:
    with Journal(tmp_path, Clock()) as journal:
        journal("start", START)
        journal("descriptor", DESCRIPTOR)
        with pytest.raises(ValueError, match=r"^event\.data\.x is a set; text, numbers"):
            journal("event", event({1, 2}))
        journal("event", event(4.0))
        journal("stop", STOP)
    assert list(read_run(tmp_path).streams["primary"].data["x"]) == [4.0]


class Unknown:
    pass


class Word(StrEnum):
    ONE = "one"


def test_metadata_that_the_journal_can_hold_passes() -> None:
    check_metadata({"a": [1, 2.5, None, True, "ü", {"b": (1, np.float64(3.0))}], "c": np.arange(5), "d": Word.ONE})


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"sample": {"tags": {1, 2}}}, "metadata.sample.tags is a set; text, numbers"),
        ({"a": [0, Unknown()]}, "metadata.a.1 is a Unknown; text, numbers"),
        ({"a": {3: 1}}, "metadata.a has the key 3, a int; keys must be text"),
        ({"a": b"raw"}, "metadata.a is a bytes"),
        ({"a": Path("x")}, "metadata.a is a PosixPath"),
        ({"a": 1j}, "metadata.a is a complex"),
        ({"p": {"x": {"value": float("nan")}}}, "metadata.p.x.value is nan; a finite number is needed"),
        ({"a": [np.float32(-np.inf)]}, "metadata.a.0 is -inf"),
        ({"a": np.array([1.0, np.nan])}, "metadata.a.1 is nan"),
        ({"a": np.zeros(1000)}, "metadata.a is an array of shape [1000] (<f8); at most 1 kB fits"),
        ({"a": np.array([object()])}, "metadata.a is an array of object"),
        ({"a": "\ud800"}, r"metadata.a is '\ud800'; text must be valid Unicode"),
        ({"\ud800": 1}, r"metadata has the key '\ud800'; keys must be Unicode text without '.' and '/'"),
        ({"a": {"b/c": 1}}, "metadata.a has the key 'b/c'; keys must be Unicode text without '.' and '/'"),
        ({"": 1}, "metadata has the key ''; keys must be"),
        ({"time": 3}, "metadata has the key 'time', which the engine sets itself"),
        ({"hints": 3}, "metadata.hints does not fit a start document: 3 is not of type 'object'"),
        ({"a": LOOP}, "is nested more than 32 deep"),
        ({"two\nlines": {1}}, r"metadata.'two\nlines' is a set"),
    ],
)
def test_metadata_that_the_journal_cannot_hold_is_refused_in_one_line(metadata: Any, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_metadata(metadata)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=3)
    | st.complex_numbers()
    | st.builds(Unknown)
    | st.sampled_from([np.float32(1.5), np.int8(3), np.arange(3), np.array([np.nan]), np.zeros(400), {1, 2}, range(3)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(), max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.row(30)
@settings(max_examples=int(os.environ.get("MEGABAR_EXAMPLES", "200")), deadline=None)
@given(st.dictionaries(st.text(max_size=5), ANYTHING, max_size=3))
def test_metadata_is_either_refused_or_comes_back(metadata: dict[str, Any]) -> None:
    from megabar.acquisition.lines import decode, encode, seal, unseal

    try:
        check_metadata(metadata)
    except ValueError as refusal:
        assert "\n" not in str(refusal)
        return
    event_model.compose_run(metadata=metadata)
    line = seal(encode(metadata))
    text = unseal(line[:-1])
    assert text is not None
    back = decode(text)
    np.testing.assert_equal(back, plain(metadata))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


WRITER = """
import sys, itertools, numpy as np
from pathlib import Path
from types import SimpleNamespace
from megabar.acquisition.journal import Journal
journal = Journal(Path(sys.argv[1]), SimpleNamespace(monotonic=lambda: 0.0))
journal("start", {"uid": "u", "time": 0.0})
data_keys = {"x": {}, "image": {"shape": [64, 64]}}
journal("descriptor", {"uid": "d", "time": 0.0, "data_keys": data_keys, "configuration": {}})
for n in itertools.count(1):
    data, stamps = {"x": n, "image": np.full((64, 64), n)}, {"x": 0.0, "image": 0.0}
    journal("event", {"descriptor": "d", "uid": "", "seq_num": n, "time": 0.0, "data": data, "timestamps": stamps})
    print(n, flush=True)
"""


def wait_for_lock(journal: Path) -> None:
    """Wait until nobody writes any more: what was handed over is written after the death of the engine."""
    with journal.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)


@pytest.mark.parametrize("acknowledged", [1, 150])
def test_a_killed_process_loses_nothing_that_was_accepted(tmp_path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged):
            assert writer.stdout.readline()
        writer.kill()
        acknowledged += writer.stdout.read().count(b"\n")
    wait_for_lock(tmp_path / JOURNAL)
    run = read_run(tmp_path)
    stream = run.streams["primary"]
    assert len(run.damaged) <= 1, "the event that was about to be accepted"
    assert len(stream) >= acknowledged
    np.testing.assert_array_equal(stream.data["x"], np.arange(1, len(stream) + 1))
    np.testing.assert_array_equal(np.asarray(stream.data["image"])[:, 63, 63], stream.data["x"])
