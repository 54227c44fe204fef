"""Links over byte streams opened by PyVISA: TCP sockets and serial lines, with messages that end in a terminator."""

import os
import re
import select
import socket
from collections.abc import Sequence
from typing import Any

import pyvisa

from .clock import Clock
from .errors import GarbledReply, LinkError, LinkTimeout, WrongInstrument
from .link import Link

_OUTSIDE_QUOTES = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')
"""A semicolon that an even number of quotes comes after."""


class StreamLink(Link):
    """Bytes out, bytes in, over a `TCPIP::host::port::SOCKET` or `ASRL/dev/...::INSTR` address.

    After a time-out or a reply that makes no sense the link is *dirty*: late bytes may still come, and would be
    taken for the answer to the next question. It is drained and identified again before its next use, as it is where
    more has come than was asked for. Where that fails a socket is closed, and opened anew by its next use; on a serial
    line the next identification is followed by another silence, for two answers to it may come.
    """

    def __init__(
        self,
        name: str,
        address: str,
        clock: Clock,
        *,
        timeout_s: float = 2.0,
        baud_rate: int = 9600,
        identity: str | None = None,
    ) -> None:
        super().__init__(name, address, clock, timeout_s=timeout_s)
        self.baud_rate = baud_rate
        self.identity = identity
        self.dirty = self._asked_in_vain = False
        self._buffer = b""
        self._resource: Any = None
        self._descriptor = -1

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._resource is not None

    @property
    def _is_socket(self) -> bool:
        return self.address.upper().startswith("TCPIP")

    def open(self) -> None:
        """Connect and check who answers. Raises LinkError, WrongInstrument."""
        if self._is_socket:
            self.clock.connected(self.name)
        resource: Any = None
        try:
            manager = pyvisa.ResourceManager("@py")
            resource = manager.open_resource(self.address, open_timeout=5000)
            interface = resource.visalib.sessions[resource.session].interface
            if self._is_socket:
                interface.getpeername()  # PyVISA-py opens a session even where the connection was refused
                interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                interface.exclusive = self.exclusive
                interface.baudrate = self.baud_rate
        except Exception as error:  # PyVISA, pyserial and the socket module raise their own kinds
            if resource is not None:
                resource.close()
            raise LinkError(f"{self.name}: nothing answers at {self.known_as} ({_reason(error)})") from error
        self._resource, self._descriptor, self._buffer = resource, interface.fileno(), b""
        self.dirty = self._asked_in_vain = False
        try:
            self.identify()
        except LinkError:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        if self._resource is not None:
            self._resource.close()
            self._resource, self._descriptor = None, -1

    def identify(self) -> None:
        """Compare who answers with `identity`. Raises WrongInstrument."""

    def port(self) -> dict[str, Any]:
        """The address, and how long a reply may take."""
        kind, *where = self.address.removesuffix("::SOCKET").removesuffix("::INSTR").split("::")
        if kind.upper().startswith("TCPIP"):
            address: list[Any] = ["tcp", where[0], int(where[1])]
        else:
            address = ["serial", kind[len("ASRL") :], self.baud_rate]
        return {"address": address, "reply_s": self.timeout_s}

    def ready(self) -> None:
        """Reopen or clean the link where the last use left it unfit. Raises LinkError."""
        if self._resource is None:
            self.open()
        elif self.dirty or self._buffer:  # what has come unasked is nobody's answer
            self.drain()
            try:
                self.identify()
            except LinkError:
                self._asked_in_vain = self.dirty = True
                if self._is_socket:  # nothing late comes through a new connection
                    self.close()
                raise
            if self._asked_in_vain:  # that may have been the answer to an earlier time, and this one's still to come
                self.drain()
            self._asked_in_vain = self.dirty = False

    def send(self, data: bytes) -> None:
        """Write all of `data`. Raises NotPermitted, LinkError."""
        self.give_way()
        self.permit(self.name)
        if self._resource is None:
            raise LinkError(f"{self.name}: not connected to {self.known_as}")
        self.clock.sent(self.name, len(data))
        view = memoryview(data)
        try:
            while view:
                select.select([], [self._descriptor], [], self.timeout_s)
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._lost(error) from error

    def receive_until(self, terminator: bytes, timeout_s: float | None = None) -> bytes:
        """Bytes up to `terminator`, without it. Raises LinkTimeout, LinkError."""
        deadline = self.clock.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while terminator not in self._buffer:
            self._more(deadline)
        message, _, self._buffer = self._buffer.partition(terminator)
        return message

    def receive(self, n_bytes: int, timeout_s: float | None = None) -> bytes:
        """Exactly `n_bytes`. Raises LinkTimeout, LinkError."""
        deadline = self.clock.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while len(self._buffer) < n_bytes:
            self._more(deadline)
        message, self._buffer = self._buffer[:n_bytes], self._buffer[n_bytes:]
        return message

    def drain(self) -> None:
        """Read and forget until the line has been silent for one time-out."""
        self._buffer = b""
        try:
            while True:
                self._more(self.clock.monotonic() + self.timeout_s)
        except LinkTimeout:
            self._buffer = b""

    def _more(self, deadline: float) -> None:
        remaining = deadline - self.clock.monotonic()
        if remaining < 0 or not self.clock.wait_readable(self._descriptor, remaining, self.name):
            self.dirty = True
            raise LinkTimeout(f"{self.name}: no complete reply from {self.known_as} within {self.timeout_s:g} s")
        try:
            data = os.read(self._descriptor, 65536)
        except OSError as error:
            raise self._lost(error) from error
        self.clock.received(self.name, len(data) or 1)  # both ends count the end of the stream as one byte
        if not data:
            raise self._lost(ConnectionResetError("end of file"))
        self._buffer += data

    def _lost(self, error: OSError) -> LinkError:
        self.close()
        return LinkError(f"{self.name}: connection to {self.known_as} lost ({_reason(error)})")


class MessageLink(StreamLink):
    """Text messages with a terminator, as SCPI instruments speak them."""

    terminator = b"\n"

    def __init__(self, *args: Any, chained: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.chained = chained
        """Whether several queries may go in one message, as IEEE 488.2 has it: `A?;B?` is answered by `a;b`."""

    def identify(self) -> None:
        """Compare the reply to `*IDN?` with `identity`, a regular expression. Raises WrongInstrument."""
        if self.identity is None:
            return
        reply = self._exchange("*IDN?")
        if not re.search(self.identity, reply):
            raise WrongInstrument(
                f"{self.name}: {reply[:80]!r} answers at {self.known_as}, expected a reply matching {self.identity!r}"
            )

    def query(self, message: str) -> str:
        """Ask one question. Raises LinkTimeout, LinkError."""
        self.ready()
        return self._exchange(message)

    def write(self, message: str) -> None:
        """Send a message that has no reply."""
        self.ready()
        self.send(message.encode("ascii") + self.terminator)

    def fetch(self, queries: Sequence[str]) -> list[str]:
        """One reply per query; in one message where the instrument takes chains. Raises GarbledReply, LinkError."""
        asked = list(dict.fromkeys(queries))  # once where several readings are taken from one answer
        replies = _answers(self.query(";".join(asked))) if self.chained else [self.query(query) for query in asked]
        if len(replies) != len(asked):
            self.dirty = True
            raise GarbledReply(f"{self.name}: {len(replies)} answers to {len(asked)} questions")
        answers = dict(zip(asked, replies, strict=True))
        return [answers[query] for query in queries]

    def assign(self, command: str, value: Any) -> None:
        """Send `command`, a format string, with `value` filled in."""
        self.write(command.format(value))

    def port(self) -> dict[str, Any]:
        """Text that ends in a terminator, and the question that identifies."""
        identity = {"ask": self.query_words("*IDN?"), "expect": self.identity} if self.identity else None
        terminator = self.terminator.decode()
        return {**super().port(), "kind": "line", "terminator": terminator, "identity": identity}

    def command_words(self, command: str, value: Any) -> str:
        """The bytes, in hexadecimal."""
        return (command.format(value).encode("ascii") + self.terminator).hex()

    def query_words(self, query: str) -> str:
        """The bytes, in hexadecimal."""
        return (query.encode("ascii") + self.terminator).hex()

    def setpoint_words(self, command: str) -> dict[str, Any]:
        """What stands before and after the value."""
        head, brace, rest = command.partition("{")
        return {"head": head, "tail": rest.partition("}")[2]} if brace else {}

    def _exchange(self, message: str) -> str:
        self.send(message.encode("ascii") + self.terminator)
        try:
            return self.receive_until(self.terminator).decode("ascii").strip()
        except UnicodeDecodeError as error:
            self.dirty = True
            raise GarbledReply(f"{self.name}: {message!r} was answered with bytes that are not text") from error


def _answers(message: str) -> list[str]:
    """What is between semicolons; those in quotes, as in the text of an error, do not count."""
    return _OUTSIDE_QUOTES.split(message) if '"' in message else message.split(";")


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
