"""Links to instruments that answer some questions with a block of bytes instead of text."""

from collections.abc import Sequence
from typing import Any, NoReturn

from .errors import GarbledReply
from .visa import MessageLink


class Block(str):
    """A question that is answered by a definite-length block (IEEE 488.2-1992, 8.7.9).

    A block is `#`, one digit n that is not 0, n digits, as many bytes as these say, and the terminator of the message.
    """

    __slots__ = ()


class BlockLink(MessageLink):
    """Text messages as in `MessageLink`, and questions of type `Block`, each in a message of its own.

    The bytes of a block are counted, never looked at: what looks like a terminator may be one of them. A block whose
    length or end is wrong is garbled, and the line is drained; a byte that differs is for the reading to find.
    """

    def fetch(self, queries: Sequence[str]) -> list[Any]:
        """One reply per query, text first: str to text, bytes to a `Block`. Raises GarbledReply, LinkError."""
        texts = [query for query in queries if not isinstance(query, Block)]
        answers: dict[str, Any] = dict(zip(texts, super().fetch(texts), strict=True)) if texts else {}
        answers |= {query: self.query_block(query) for query in dict.fromkeys(queries) if isinstance(query, Block)}
        return [answers[query] for query in queries]

    def query_block(self, message: str) -> bytes:
        """The bytes of the block that answers a question. Raises LinkTimeout, GarbledReply, LinkError."""
        self.ready()
        self.send(message.encode("ascii") + self.terminator)
        start = self.receive(2)
        if not (start[:1] == b"#" and start[1:] in b"123456789"):
            self._refuse(message, f"{start!r}, which begins no block")
        length = self.receive(int(start[1:]))
        if not length.isdigit():
            self._refuse(message, f"a block of {length!r} bytes")
        data = self.receive(int(length))
        end = self.receive(len(self.terminator))
        if end != self.terminator:
            self._refuse(message, f"a block of {len(data)} bytes that {end!r} comes after")
        return data

    def port(self) -> dict[str, Any]:
        """Raises NotImplementedError: a guard takes messages apart at their terminators."""
        raise NotImplementedError(f"{self.name}: no guard can stand in a line that carries blocks of bytes")

    def _refuse(self, message: str, answer: str) -> NoReturn:
        self.dirty = True
        raise GarbledReply(f"{self.name}: {message!r} was answered by {answer}")
