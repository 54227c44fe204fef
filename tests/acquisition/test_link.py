"""A link in simulated time: one transaction at a time, exact time-outs, no reply taken for another's."""

import contextlib
import os
import pty
import random
import socket
import threading
import time
import tty

import pytest

from megabar.acquisition.clock import RealClock
from megabar.acquisition.guard.wire import open_serial
from megabar.devices.errors import LinkError, LinkTimeout, WrongInstrument
from megabar.devices.visa import MessageLink


class Echo:
    """A server that answers each line by `answer(line)`: bytes, or None for silence."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.lines: list[str] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"TCPIP::127.0.0.1::{self.server.getsockname()[1]}::SOCKET"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self._connections.append(connection)
            buffer = b""
            while data := self._receive(connection):
                buffer += data
                while b"\n" in buffer:
                    line, _, buffer = buffer.partition(b"\n")
                    self.lines.append(line.decode())
                    reply = self.answer(line.decode())
                    if reply == b"hang up":
                        connection.shutdown(socket.SHUT_RDWR)
                        break
                    if reply is not None:
                        with contextlib.suppress(OSError):  # who asked has given up
                            connection.sendall(reply)

    @staticmethod
    def _receive(connection: socket.socket) -> bytes:
        try:
            return connection.recv(4096)
        except OSError:
            return b""

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        for end in (self.server, *self._connections):
            end.close()


@pytest.fixture
def serve():
    made: list = []

    def start(answer, **options):
        server = Echo(answer)
        link = MessageLink("dmm", server.address, RealClock(), **({"timeout_s": 0.2} | options))
        made.append((server, link))
        return server, link

    yield start
    for server, link in made:
        link.end()
        server.close()


def ask(link: MessageLink, question: str) -> str:
    replies: list[str] = []
    link.call(lambda: replies.append(link.query(question)))
    return replies[0]


def test_other_instrument_at_the_address_is_refused(serve) -> None:
    server, link = serve(lambda line: b"ACME,TOASTER,0,1\n", identity="2182A")
    with pytest.raises(WrongInstrument, match="TOASTER"):
        link.call(link.open)
    assert server.lines == ["*IDN?"]


@pytest.mark.row(12, control="test_without_draining_the_late_reply_would_be_taken")
def test_late_reply_is_never_taken_for_the_next_one(serve) -> None:
    def answer(line: str) -> bytes | None:
        if line == "SLOW?":
            time.sleep(0.3)
        return f"reply to {line}\n".encode()

    _, link = serve(answer, identity="reply")
    link.call(link.open)
    for _ in range(3):
        with pytest.raises(LinkTimeout):
            ask(link, "SLOW?")
        assert ask(link, "A?") == "reply to A?"


def test_without_draining_the_late_reply_would_be_taken(serve) -> None:
    def answer(line: str) -> bytes | None:
        if line == "SLOW?":
            time.sleep(0.3)
        return f"reply to {line}\n".encode()

    _, link = serve(answer)
    link.call(link.open)
    with pytest.raises(LinkTimeout):
        ask(link, "SLOW?")
    link.dirty = False
    time.sleep(0.2)
    assert ask(link, "A?") == "reply to SLOW?"


@pytest.mark.row(12, control="test_without_draining_the_late_reply_would_be_taken")
@pytest.mark.parametrize("n", [1000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_of_many_questions_with_one_in_a_hundred_answered_late_none_is_shifted(serve, measured, n: int) -> None:
    chance = random.Random(12)

    def answer(line: str) -> bytes:
        if line.startswith("Q") and chance.random() < 0.01:
            time.sleep(0.03 + 0.04 * chance.random())
        return f"reply to {line}\n".encode()

    _, link = serve(answer, identity=r"to \*IDN", timeout_s=0.02)
    link.call(link.open)
    late = wrong = 0
    for number in range(n):
        try:
            wrong += ask(link, f"Q{number}?") != f"reply to Q{number}?"
        except LinkError:
            late += 1
    assert wrong == 0
    assert late > n // 200
    measured(12, f"{n:,} questions on a link, {late} answered late: shifted", "none", wrong, "values")


def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_one(serve) -> None:
    _, link = serve(lambda line: f"reply to {line}\n".encode() * (1 + (line == "TWICE?")), identity="reply")
    link.call(link.open)
    assert ask(link, "TWICE?") == "reply to TWICE?"
    assert ask(link, "A?") == "reply to A?"


def test_lost_connection_is_made_again_and_identified(serve) -> None:
    server, link = serve(lambda line: b"hang up" if line == "DIE" else b"2182A\n", identity="2182A")
    link.call(link.open)
    with pytest.raises(LinkError):
        ask(link, "DIE")
    assert ask(link, "X?") == "2182A"
    assert server.lines == ["*IDN?", "DIE", "*IDN?", "X?"]


def test_address_where_nobody_listens_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    link = MessageLink("dmm", f"TCPIP::127.0.0.1::{port}::SOCKET", RealClock())
    with pytest.raises(LinkError, match="nothing answers at TCPIP") as error:
        link.call(link.open)
    assert "\n" not in str(error.value)


@pytest.mark.row(13, control="test_without_the_owner_thread_replies_are_mixed")
def test_threads_on_one_link_get_their_own_replies(serve, measured) -> None:
    _, link = serve(lambda line: f"reply to {line}\n".encode())
    link.call(link.open)
    wrong: list[str] = []

    def many(name: str) -> None:
        for i in range(1000):
            question = f"{name}{i}?"
            done = threading.Event()

            def job(question: str = question) -> None:
                if link.query(question) != f"reply to {question}":
                    wrong.append(question)

            status = link.submit(job)
            status.add_callback(lambda _, done=done: done.set())
            assert done.wait(5.0)

    threads = [threading.Thread(target=many, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    measured(13, "8 threads with 1,000 questions each on one link: wrong", "none", len(wrong), "values")


def test_without_the_owner_thread_replies_are_mixed(serve) -> None:
    _, link = serve(lambda line: f"reply to {line}\n".encode(), timeout_s=0.02)
    link.call(link.open)
    wrong: list[str] = []

    def many(name: str) -> None:
        for i in range(200):
            try:
                if link.query(f"{name}{i}?") != f"reply to {name}{i}?":
                    wrong.append(f"{name}{i}")
            except LinkError:
                wrong.append("late")
            if wrong:
                return

    threads = [threading.Thread(target=many, args=(name,), daemon=True) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2.0)
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(link._descriptor)) as line:
        line.shutdown(socket.SHUT_RDWR)  # for one whose reply another has taken: it would wait for ever
    for thread in threads:
        thread.join(5.0)
    assert wrong and not any(thread.is_alive() for thread in threads)


@pytest.fixture
def serial_line():
    """A pseudo-terminal on which nobody answers; its address."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield f"ASRL{os.ttyname(theirs)}::INSTR"
    os.close(ours)
    os.close(theirs)


@pytest.mark.row(37, control="test_a_line_that_nobody_holds_can_be_opened_again")
@pytest.mark.parametrize("n", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_a_serial_line_is_opened_by_one_link_alone(serial_line, measured, n: int) -> None:
    first = MessageLink("first", serial_line, RealClock())
    first.call(first.open)
    for _ in range(n):
        second = MessageLink("second", serial_line, RealClock())
        with pytest.raises(LinkError, match="nothing answers at ASRL"):
            second.call(second.open)
        with pytest.raises(OSError):
            open_serial(serial_line[4:].partition("::")[0], 9600)
    first.call(first.close)
    measured(37, f"second openings of a serial line, of {n}: let in", "none", 0.0, "links")


def test_a_line_that_nobody_holds_can_be_opened_again(serial_line) -> None:
    for _ in range(2):
        link = MessageLink("link", serial_line, RealClock())
        link.call(link.open)
        link.call(link.close)
    os.close(open_serial(serial_line[4:].partition("::")[0], 9600))


@pytest.mark.row(16)
def test_a_serial_line_that_is_unplugged_is_an_error_within_a_second(measured) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    link = MessageLink("link", f"ASRL{os.ttyname(theirs)}::INSTR", RealClock(), timeout_s=5.0)
    link.call(link.open)
    began: list[float] = []

    def unplug() -> None:
        began.append(time.monotonic())
        os.close(ours)
        os.close(theirs)

    threading.Timer(0.1, unplug).start()
    with pytest.raises(LinkError):
        ask(link, "A?")
    took_s = time.monotonic() - began[0]
    assert took_s < 1.0
    assert not link.is_open
    measured(16, "a serial line without a guard: error of the question under way", "<= 1 s", 1e3 * took_s)


def test_long_job_leaves_the_link_free_between_its_steps(serve) -> None:
    _, link = serve(lambda line: f"reply to {line}\n".encode())
    link.call(link.open)
    order: list[str] = []

    def long_job():
        for i in range(2):
            order.append(link.query(f"step {i}"))
            yield 0.05

    status = link.submit(long_job)
    link.call(lambda: order.append(link.query("between")))
    status.wait(5.0)
    assert order == ["reply to step 0", "reply to between", "reply to step 1"]


def test_what_is_urgent_goes_first_and_nothing_else_comes_after_it(serve) -> None:
    """A job under way ends its transaction and sends no more; those that are queued are not begun."""
    asked, go_on = threading.Event(), threading.Event()

    def answer(line: str) -> bytes:
        if line == "reading 1?":
            asked.set()
            go_on.wait(5.0)
        return b"ok\n"

    server, link = serve(answer)
    link.call(link.open)

    def job() -> None:
        link.query("reading 1?")
        link.query("set 1")

    under_way, queued = link.submit(job), link.submit(lambda: link.query("set 2") and None)
    assert asked.wait(5.0)
    urgent = [link.submit(lambda name=name: link.query(name) and None, urgent=True) for name in ("off", "closed")]
    later = link.submit(lambda: link.query("later") and None)
    go_on.set()
    for status in (*urgent, later):
        status.wait(5.0)
    for status in (under_way, queued):
        with pytest.raises(LinkError, match="broken off"):
            status.wait(5.0)
    assert server.lines == ["reading 1?", "off", "closed", "later"]


def test_what_is_not_urgent_waits_for_its_turn(serve) -> None:
    """The control: the same job, without its being urgent, comes after what was under way and queued."""
    server, link = serve(lambda line: b"ok\n")
    link.call(link.open)
    begun, go_on = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        go_on.wait(5.0)
        link.query("set 1")

    link.submit(job)
    assert begun.wait(5.0)
    link.submit(lambda: link.query("set 2") and None)
    off = link.submit(lambda: link.query("off") and None)
    go_on.set()
    off.wait(5.0)
    assert server.lines == ["set 1", "set 2", "off"]


def test_a_link_that_is_ended_leaves_no_connection_and_no_thread(serve) -> None:
    before = threading.enumerate()
    _, link = serve(lambda line: b"ok\n")
    link.call(link.open)
    owner = next(thread for thread in threading.enumerate() if thread.name == "link dmm" and thread not in before)
    link.end()
    owner.join(5.0)
    assert not link.is_open and not owner.is_alive()
    link.end()


def test_a_thread_outlives_those_who_wait_for_its_jobs(serve) -> None:
    """The loop of an engine whose run has ended is closed; what calls it raises."""

    def closed(status) -> None:
        raise RuntimeError("Event loop is closed")

    _, link = serve(lambda line: b"ECHO\n")
    status = link.submit(lambda: None)
    status.add_callback(closed)
    status.wait(5.0)
    link.submit(lambda: None).wait(5.0)
