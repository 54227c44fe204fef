"""What a run may be recorded on, and what it still says when the disk is full or breaks."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd import Signal

from megabar.acquisition import disk
from megabar.acquisition import journal as journal_module
from megabar.acquisition.disk import RESERVE_BYTES, Reserve, check_disk, file_system
from megabar.acquisition.errors import InputError
from megabar.acquisition.journal import Journal, JournalError
from megabar.acquisition.lines import JOURNAL
from megabar.acquisition.run import lines, read_run

CLOCK = SimpleNamespace(monotonic=lambda: 12.5)
START = {"uid": "u", "time": 0.0}
STOP = {"uid": "z", "run_start": "u", "time": 9.0, "exit_status": "fail"}

MOUNTS = r"""22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
31 22 0:27 / /home rw - nfs4 server:/home rw
32 31 8:1 / /home/me/local rw - xfs /dev/sda1 rw
33 22 0:30 / /mnt/with\040blank rw - cifs //server/share rw
34 22 0:31 / /mnt/remote rw - fuse.sshfs me@there: rw
35 22 0:32 / /mnt/remote rw - tmpfs none rw
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "mounts")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/run", "nfs4"),
        ("/homes", "ext4"),
        ("/home/me/local/run", "xfs"),
        ("/mnt/with blank/run", "cifs"),
        ("/mnt/remote", "tmpfs"),
    ],
)
def test_the_nearest_and_latest_mount_says_the_file_system(mounts: None, path: str, kind: str) -> None:
    assert file_system(Path(path)) == kind


@pytest.mark.row(28, control="test_a_type_that_is_not_known_to_be_remote_is_accepted")
@pytest.mark.parametrize("kind", sorted(disk.REMOTE))
def test_a_network_file_system_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(disk, "file_system", lambda _: kind)
    with pytest.raises(InputError, match=rf"on a network file system \({kind}\); accepted is a local disk"):
        Journal(tmp_path / "run", CLOCK)
    assert not (tmp_path / "run").exists()


def test_a_type_that_is_not_known_to_be_remote_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "file_system", lambda _: "nfs4")
    monkeypatch.setattr(disk, "REMOTE", frozenset())
    Journal(tmp_path / "run", CLOCK).close()
    assert (tmp_path / "run" / JOURNAL).exists()


def test_where_the_system_does_not_list_its_mounts_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "none")
    assert file_system(tmp_path) == ""
    check_disk(tmp_path / "not" / "there")


@pytest.mark.parametrize(("spare", "accepted"), [(0, True), (-1, False)])
def test_twice_what_is_expected_must_be_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int, accepted: bool
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 2_000_000_000 + 2 * RESERVE_BYTES + spare)
    if accepted:
        check_disk(tmp_path, 1e9)
    else:
        with pytest.raises(InputError, match=r"2\.13 GB are free on its disk; accepted are 2\.13 GB"):
            check_disk(tmp_path, 1e9)


def test_the_reserve_is_really_there_and_given_back_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    assert os.fstat(reserve._descriptor).st_blocks * 512 >= RESERVE_BYTES
    assert list(tmp_path.iterdir()) == []
    assert [reserve.free(), reserve.free(), reserve.freed] == [True, False, True]


def test_no_room_for_the_reserve_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "posix_fallocate", refuse)
    with pytest.raises(InputError, match="no 64 MiB can be reserved"):
        Reserve(tmp_path)


WRITE, TRUNCATE = os.write, os.ftruncate


class SmallDisk:
    """A disk of so many bytes for the journal; what the reserve held is room once that is freed."""

    def __init__(self, room: int, error: int = errno.ENOSPC) -> None:
        self.room, self.error, self.refused, self.written_after = room, error, False, 0
        self.write, self.truncate = WRITE, TRUNCATE

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal_module.os, "write", self.on_write)
        monkeypatch.setattr(journal_module.os, "ftruncate", self.on_truncate)

    def on_write(self, descriptor: int, data: Any) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name != JOURNAL:
            return self.write(descriptor, data)
        if self.room == 0 and not (self.reserve_is_freed() and self.error in journal_module.FULL):
            self.written_after += self.refused
            self.refused = True
            raise OSError(self.error, os.strerror(self.error))
        data = data if self.reserve_is_freed() else data[: self.room]
        self.room = max(0, self.room - len(data))
        return self.write(descriptor, data)

    def on_truncate(self, descriptor: int, size: int) -> None:
        self.truncate(descriptor, size)

    def reserve_is_freed(self) -> bool:
        return self.journal._reserve.freed

    journal: Journal


def record(folder: Path, disk_: SmallDisk | None = None) -> tuple[list[tuple[str, Any]], list[str], RunEngine]:
    """Run a plan that is made safe on its way out; gives what was acknowledged, what the plan did, and the engine."""
    acknowledged: list[tuple[str, Any]] = []
    did: list[str] = []
    signal, image = Signal(name="x", value=0.0), Signal(name="image", value=np.arange(300.0))
    report = Signal(name="report", value="CONFIRMED")

    def plan() -> Any:
        yield from bps.open_run({})
        for number in range(6):
            did.append(f"step {number}")
            yield from bps.trigger_and_read([signal, image] if number % 2 else [signal], name=f"odd {number % 2}")

    def made_safe() -> Any:
        did.append("safe")
        yield from bps.trigger_and_read([report], name="safety")

    engine = RunEngine({}, during_task=None, context_managers=[])
    with Journal(folder, CLOCK, durability="event") as journal:
        if disk_ is not None:
            disk_.journal = journal

        def recorder(name: str, document: Any) -> None:
            journal(name, document)
            acknowledged.append((name, document["uid"]))

        def hazards() -> Any:
            journal.note("hazard", {"press": "armed"})
            acknowledged.append(("note", "hazard"))
            yield from bps.null()

        def inside() -> Any:
            yield from bpp.finalize_wrapper(bpp.pchain(plan(), hazards()), made_safe)

        try:
            engine(bpp.contingency_wrapper(inside(), else_plan=bps.close_run), recorder)
        except JournalError:
            did.append("JournalError")
    return acknowledged, did, engine


def kept(folder: Path) -> list[tuple[str, Any]]:
    return [(line.name, line.doc.get("uid", line.doc.get("kind"))) for line in lines(folder / JOURNAL)]


@pytest.fixture(scope="module")
def size(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes of the journal of the whole run."""
    folder = tmp_path_factory.mktemp("whole")
    record(folder)
    assert read_run(folder).exit_status == "success"
    return (folder / JOURNAL).stat().st_size


CUTS = 60


@pytest.mark.row(21, control="test_without_the_reserve_there_would_be_no_stop")
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("cut", range(0, CUTS, 2))
def test_a_full_disk_loses_nothing_and_the_run_says_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, cut: int, error: int
) -> None:
    cut += error == errno.EDQUOT
    small = SmallDisk(size * cut // CUTS, error)
    small.install(monkeypatch)
    acknowledged, did, engine = record(tmp_path, small)
    assert small.refused
    run = read_run(tmp_path)
    assert (run.torn, run.damaged) == ("", ())
    written = kept(tmp_path)
    assert [entry for entry in written if entry in acknowledged] == acknowledged
    assert written[-1][0] == "stop"
    assert len(written) - len(acknowledged) <= 1, "what was refused is in the reserve, and nothing else"
    was_ending = len(written) == len(acknowledged)
    assert run.exit_status == ("success" if was_ending else "fail")
    assert ("JournalError" in did) is not was_ending
    assert "safe" in did
    assert list(run.streams["safety"].data["report"]) == ["CONFIRMED"]
    assert engine.state == "idle"


@pytest.mark.row(22, control="test_a_journal_that_tried_again_would_write_after_the_failure")
@pytest.mark.parametrize("cut", range(0, CUTS))
def test_a_disk_that_breaks_loses_nothing_and_is_never_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, cut: int
) -> None:
    small = SmallDisk(size * cut // CUTS, errno.EIO)
    small.install(monkeypatch)
    acknowledged, did, engine = record(tmp_path, small)
    assert small.refused
    assert small.written_after == 0
    assert kept(tmp_path) == acknowledged
    assert {"safe", "JournalError"} <= set(did)
    assert engine.state == "idle"


def spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, spoil: Callable[[SmallDisk], None]) -> list[str]:
    """Exit status of the runs on small disks, each with a protection taken away."""
    found = []
    for cut in range(20, CUTS, 4):
        small = SmallDisk(size * cut // CUTS)
        small.install(monkeypatch)
        spoil(small)
        record(tmp_path / str(cut), small)
        found.append(read_run(tmp_path / str(cut)).exit_status)
    return found


def test_without_cutting_off_the_torn_line_it_would_hide_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    found = spoilt(tmp_path, monkeypatch, size, lambda small: setattr(small, "truncate", lambda *_: None))
    assert found.count("unfinished") > 5


def test_without_the_reserve_there_would_be_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(Reserve, "free", lambda self: False)
    assert set(spoilt(tmp_path, monkeypatch, size, lambda small: None)) == {"unfinished"}


def test_a_journal_that_tried_again_would_write_after_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    small = SmallDisk(size // 2, errno.EIO)
    small.install(monkeypatch)
    monkeypatch.setattr(Journal, "_require_usable", lambda self: None)
    record(tmp_path, small)
    assert small.written_after > 0


def event(seq_num: int) -> dict[str, Any]:
    data, stamps = {"x": 1.0}, {"x": 0.0}
    return {
        "uid": f"e{seq_num}",
        "descriptor": "d",
        "seq_num": seq_num,
        "time": 0.0,
        "data": data,
        "timestamps": stamps,
    }


DESCRIPTOR = {"uid": "d", "time": 0.0, "data_keys": {"x": {}}, "configuration": {}}


def test_little_room_stops_the_run_before_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "COMMIT_S", 0.001)
    with Journal(tmp_path, CLOCK) as journal:
        journal("start", START)
        journal("descriptor", DESCRIPTOR)
        journal("event", event(1))
        monkeypatch.setattr(journal_module, "free_bytes", lambda _: RESERVE_BYTES - 1)
        while not journal._low:
            journal._closing.wait(0.001)
        with pytest.raises(JournalError, match="less than 64 MiB are free; the reserve is in use; the run must stop"):
            journal("event", event(2))
        journal._closing.wait(0.01)
        journal("event", event(3))
        journal("stop", STOP)
        journal.note("guard", {"laser": "safe"})
    run = read_run(tmp_path)
    assert run.exit_status == "fail"
    assert list(run.streams["primary"].seq_num) == [1, 2, 3]


def test_a_flush_without_room_is_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have dropped what it could not write, so nothing after it can be believed."""

    def refuse(_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path, CLOCK, durability="event") as journal:
        journal("start", START)
        journal("descriptor", DESCRIPTOR)
        with monkeypatch.context() as patched:
            patched.setattr(journal_module.AppendOnlyFile, "flush", refuse)
            with pytest.raises(JournalError, match="not recorded"):
                journal("event", event(1))
        with pytest.raises(JournalError, match="takes no more documents"):
            journal("stop", STOP)


CHILD = """
import sys
from pathlib import Path
from types import SimpleNamespace
from megabar.acquisition import disk, journal
from megabar.acquisition.journal import Journal, JournalError
disk.RESERVE_BYTES = int(sys.argv[3]) or disk.RESERVE_BYTES
journal.COMMIT_S = 1e6
journal = Journal(Path(sys.argv[1]), SimpleNamespace(monotonic=lambda: 0.0))
if limit := int(sys.argv[2]):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
acknowledged = 0
def tell(name, document):
    global acknowledged
    journal(name, document)
    acknowledged += 1
try:
    tell("start", {"uid": "u", "time": 0.0})
    tell("descriptor", {"uid": "d", "time": 0.0, "data_keys": {"x": {}}, "configuration": {}})
    for n in range(1, 100_000):
        event = {"descriptor": "d", "uid": "", "seq_num": n, "time": 0.0, "data": {"x": "y" * 200}, "timestamps": {}}
        tell("event", event)
except JournalError as error:
    print(error, file=sys.stderr)
try:
    tell("stop", {"uid": "z", "run_start": "u", "time": 0.0, "exit_status": "fail"})
except JournalError:
    pass
journal.close()
print(acknowledged)
"""


@pytest.mark.row(21)
@pytest.mark.parametrize("limit", [100, 20_000, 33_333])
def test_a_file_that_may_not_grow_keeps_all_that_was_accepted(tmp_path: Path, limit: int) -> None:
    command = [sys.executable, "-P", "-c", CHILD, str(tmp_path), str(limit), "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "File too large; the run must stop" in done.stderr
    assert len(kept(tmp_path)) == int(done.stdout)
    assert (tmp_path / JOURNAL).stat().st_size == limit


@pytest.mark.row(21)
def test_a_real_full_disk_ends_with_a_stop(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "child.py").write_text(CHILD)
    mount = "mount -t tmpfs -o size=4m none small"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    script = f'{mount} && "$0" -P child.py small/run 0 1000000 && cp -r small/run kept'
    command = ["unshare", "-rm", "sh", "-c", script, sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "No space left on device; the reserve is in use" in done.stderr
    run = read_run(tmp_path / "kept")
    assert (run.exit_status, run.torn) == ("fail", "")
    assert len(kept(tmp_path / "kept")) == int(done.stdout) + 1
    assert len(run.streams["primary"]) > 5_000
