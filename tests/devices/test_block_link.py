"""Blocks of bytes among text messages: what is taken for a block, and what is not."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megabar.acquisition.clock import RealClock
from megabar.devices.block_link import Block, BlockLink
from megabar.devices.errors import GarbledReply, LinkError, LinkTimeout
from megabar.devices.visa import MessageLink

TEXT, DATA = ":HEAD?", Block(":DATA?")


class Line:
    """Stands in for the connection: `replies` by question, and what comes late never does."""

    def __init__(self, link: Any, replies: dict[bytes, bytes]) -> None:
        self.replies, self.link, self.heard = replies, link, []
        link.send, link._more, link._resource = self._hear, self._late, self

    def _hear(self, question: bytes) -> None:
        self.heard.append(question)
        self.link._buffer += self.replies[question]

    def _late(self, deadline: float) -> None:
        self.link.dirty = True
        raise LinkTimeout("nothing more comes")

    def close(self) -> None:
        """As a resource has it."""


@pytest.fixture
def line() -> Callable[..., Line]:
    def make(data: bytes, link_type: type[MessageLink] = BlockLink) -> Line:
        link = link_type("scope", "ASRL/dev/null::INSTR", RealClock(), chained=True)
        return Line(link, {b":DATA?\n": data, b":HEAD?;:MORE?\n": b"1,2;3\n", b":HEAD?\n": b"1,2\n"})

    return make


def block(data: bytes) -> bytes:
    length = str(len(data))
    return f"#{len(length)}{length}".encode() + data + b"\n"


@pytest.mark.parametrize("data", [b"\n", b"\n\n#12\n", b"a\nb;c\n", bytes(range(256)) * 40, b""])
def test_line_feeds_are_bytes_like_any_other(line, data: bytes):
    assert line(block(data)).link.fetch([DATA]) == [data]


def test_a_link_that_knows_no_blocks_stops_at_the_first_line_feed(line):
    assert line(block(b"a\nb"), MessageLink).link.fetch([DATA]) == ["#13a"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_come_back_and_the_next_answer_is_its_own(line, first: bytes, second: bytes):
    here = line(block(first))
    assert here.link.fetch([DATA]) == [first]
    here.replies[b":DATA?\n"] = block(second)
    assert here.link.fetch([TEXT, DATA]) == ["1,2", second]


def test_text_is_asked_together_and_each_question_once(line):
    here = line(block(b"\n"))
    assert here.link.fetch([TEXT, DATA, ":MORE?", TEXT, DATA]) == ["1,2", b"\n", "3", "1,2", b"\n"]
    assert here.heard == [b":HEAD?;:MORE?\n", b":DATA?\n"]


def test_semicolons_in_quotes_separate_no_answers(line):
    here = line(b"")
    here.replies[b":HEAD?;:MORE?\n"] = b'1,2;-113,"Undefined header;:ACQ:ARES"\n'
    assert here.link.fetch([TEXT, ":MORE?"]) == ["1,2", '-113,"Undefined header;:ACQ:ARES"']
    here.replies[b":HEAD?;:MORE?\n"] = b'"1;2";3;4\n'
    with pytest.raises(GarbledReply, match="3 answers to 2 questions"):
        here.link.fetch([TEXT, ":MORE?"])


@pytest.mark.parametrize(
    "reply",
    [
        b"1.5E-3\n",
        b"#0abc\n",
        b"\n\n",
        b"#x3abc\n",
        b"#2-1\n",
        b"#2 3abc\n",
        b"#12abc\n",  # shorter than it is
        b"#13abc;",
    ],
)
def test_what_is_no_block_is_garbled_and_the_line_is_cleaned(line, reply: bytes):
    here = line(reply)
    with pytest.raises(GarbledReply, match="was answered by"):
        here.link.fetch([DATA])
    assert here.link.dirty
    here.replies[b":DATA?\n"] = block(b"\n1")
    assert here.link.fetch([DATA]) == [b"\n1"]


@pytest.mark.parametrize("reply", [b"", b"#", b"#3", b"#3100abc\n", b"#13ab", b"#13abc"])
def test_a_block_that_does_not_end_is_late(line, reply: bytes):
    here = line(reply)
    with pytest.raises(LinkTimeout):
        here.link.fetch([DATA])
    assert here.link.dirty


def test_over_a_socket_a_block_may_come_in_pieces(on_socket):
    data = bytes(range(256)) * 2000  # more than a socket hands over at once
    transcript = on_socket([(b":HEAD?\n", b"1,2\n"), (b":DATA?\n", block(data)), (b":HEAD?\n", b"3,4\n")])
    link: Any = BlockLink("scope", transcript.address, RealClock(), chained=True)
    told: list[Any] = []
    link.call(lambda: told.extend([*link.fetch([TEXT, DATA]), *link.fetch([TEXT])]))
    link.end()
    transcript.done()
    assert told == ["1,2", data, "3,4"]


def test_a_closed_line_is_a_link_error(on_socket):
    link: Any = BlockLink("scope", "TCPIP::127.0.0.1::9::SOCKET", RealClock())
    with pytest.raises(LinkError):
        link.call(lambda: link.fetch([DATA]) and None)
    link.end()


def test_no_guard_stands_in_a_line_with_blocks():
    link = BlockLink("scope", "TCPIP::127.0.0.1::5025::SOCKET", RealClock())
    with pytest.raises(NotImplementedError, match="no guard can stand"):
        link.port()
    link.end()
