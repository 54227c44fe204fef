"""Links to EPICS instruments: a Channel Access client (protocol 4.13) over one TCP connection to a known server.

caproto's protocol core does the talking in the link's own thread, but for the reads themselves. There is no search, no
repeater, no hidden thread, no process-wide environment and no monitor: values are asked for, so that a rehearsal in
simulated time is the same every time. The sockets' time-outs are real: the link's thread keeps simulated time still
during a call, and a call takes none of it.
"""

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import caproto
import numpy as np

from .channel_access_frames import INVALID, NORMAL, STRING, ReadReply, Receiver, read_request
from .clock import Clock
from .errors import GarbledReply, LinkError, LinkTimeout, Refused
from .link import Link

PORT = 5064
"""Where a Channel Access server listens unless its address says otherwise."""
CHUNK = 1 << 20
IOIDS = 1 << 31
"""Reads are numbered up to here, and from zero again."""


@dataclass(frozen=True)
class AsText:
    """Asks for a record's value as text: the name of an enum's state, where a plain name gives its number."""

    record: str


class ChannelAccessLink(Link):
    """One circuit to one server, shared by its instruments.

    `fetch` sends all its requests in one segment and then collects the replies; `assign` waits until the record has
    processed. Channels are made once and kept. A lost circuit is a LinkError, and the next use connects again.
    """

    def __init__(self, name: str, address: str, clock: Clock, *, timeout_s: float = 2.0) -> None:
        super().__init__(name, address, clock, timeout_s=timeout_s)
        self._server, _ = split_address(address)
        self._socket: socket.socket | None = None
        self._circuit: caproto.VirtualCircuit | None = None
        self._receiver = Receiver()
        self._channels: dict[str, caproto.ClientChannel] = {}
        self._n_reads = 0

    @classmethod
    def key(cls, address: str, name: str) -> str:
        """The server: `host:port`."""
        (host, port), _ = split_address(address)
        return f"{host}:{port}"

    @property
    def is_open(self) -> bool:
        """Whether there is a circuit."""
        return self._socket is not None

    def open(self) -> None:
        """Connect. Raises LinkError."""
        self.close()
        try:
            connection = socket.create_connection(self._server, self.timeout_s)
        except OSError as error:
            raise LinkError(f"{self.name}: no EPICS server answers at {self.known_as} ({error})") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._circuit = caproto.VirtualCircuit(caproto.CLIENT, self._server, 0)
        self._circuit.our_address = connection.getsockname()
        self._send(
            caproto.VersionRequest(0, caproto.DEFAULT_PROTOCOL_VERSION),
            caproto.HostNameRequest(socket.gethostname()),
            caproto.ClientNameRequest("megabar"),
        )

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._circuit = None
        self._receiver = Receiver()
        self._channels = {}

    def fetch(self, queries: Sequence[Any]) -> list[Any]:
        """The values of records: numbers and text as such, arrays as numpy arrays, a tuple for a tuple of queries.

        Raises LinkError, also for a record that does not exist or whose value is INVALID.
        """
        values = iter(self._read([*_flatten(queries)]))
        return [_gather(query, values) for query in queries]

    def assign(self, command: str, value: Any) -> None:
        """Put `value` and wait until the record has processed. Raises Refused, NotPermitted, LinkError."""
        self.permit(command)
        (channel,) = self._connected([command])
        self._check_writable(channel)
        request = channel.write(*_wire_value(value), notify=True)
        self._send(request)
        for reply in self._replies():
            if isinstance(reply, caproto.ErrorResponse):
                raise Refused(f"{self.name}: {command} = {value} is refused ({_text_of(reply)})")
            if isinstance(reply, caproto.WriteNotifyResponse) and reply.ioid == request.ioid:
                if (status := reply.header.parameter1) != NORMAL:
                    raise Refused(f"{self.name}: {command} = {value} is refused ({_status_name(status)})")
                return

    def tell(self, command: str, value: Any) -> None:
        """Put `value` without waiting for what it sets going. Raises Refused, LinkError."""
        self.start(command, value)

    def port(self) -> dict[str, Any]:
        """The server. Nothing can be put into this line: a guard stands beside it, with a circuit of its own."""
        return {"address": ["ca", *self._server], "kind": "epics", "reply_s": self.timeout_s}

    def command_words(self, command: str, value: Any) -> list[Any]:
        """Record and value."""
        return [command, value]

    def query_words(self, query: str) -> list[Any]:
        """The record."""
        return [query]

    def start(self, command: str, value: Any) -> Any:
        """Put `value` without waiting for what it sets going, and read the record back: a server does both in order.

        For records that are done only when a motor has arrived or an exposure is over. Raises Refused, NotPermitted,
        LinkError.
        """
        self.permit(command)
        (channel,) = self._connected([command])
        self._check_writable(channel)
        write = channel.write(*_wire_value(value), notify=False)
        (answer,) = self._exchange([channel], [command], [write])
        return answer

    def _read(self, queries: Sequence[str | AsText]) -> list[Any]:
        channels = self._connected([query.record if isinstance(query, AsText) else query for query in queries])
        return self._exchange(channels, queries)

    def _exchange(
        self, channels: Sequence[caproto.ClientChannel], queries: Sequence[str | AsText], first: Sequence[Any] = ()
    ) -> list[Any]:
        """Send `first` and a request for each channel in one segment; the values of the replies."""
        ioids = range(self._n_reads % IOIDS, self._n_reads % IOIDS + len(channels))
        self._n_reads += len(channels)
        requests = [
            read_request(_requested(channel, query), channel.native_data_count, channel.sid, ioid)
            for channel, query, ioid in zip(channels, queries, ioids, strict=True)
        ]
        self._send_bytes(b"".join([*map(bytes, first), *requests]))
        found: dict[int, ReadReply] = {}
        for reply in self._replies() if requests else ():
            if isinstance(reply, caproto.ErrorResponse):
                self.close()
                failure: type[Exception] = Refused if first else GarbledReply
                raise failure(f"{self.name}: the server answers with an error ({_text_of(reply)})")
            if isinstance(reply, ReadReply) and reply.ioid in ioids:
                found[reply.ioid] = reply
                if len(found) == len(ioids):
                    break
        return [self._value(found[ioid], channel) for ioid, channel in zip(ioids, channels, strict=True)]

    def _value(self, reply: ReadReply, channel: caproto.ClientChannel) -> Any:
        if reply.status != NORMAL:
            raise GarbledReply(f"{self.name}: {channel.name} cannot be read ({_status_name(reply.status)})")
        try:
            severity, first = reply.severity_and_first()
            value = first if channel.native_data_count == 1 else reply.elements()
        except ValueError as error:
            raise GarbledReply(f"{self.name}: the reply of {channel.name} is not understood ({error})") from error
        if severity == INVALID:
            raise GarbledReply(f"{self.name}: the value of {channel.name} is INVALID")
        return value

    def _check_writable(self, channel: caproto.ClientChannel) -> None:
        if caproto.AccessRights.WRITE not in channel.access_rights:
            raise Refused(f"{self.name}: {channel.name} cannot be written")

    def _connected(self, names: Sequence[str]) -> list[caproto.ClientChannel]:
        """The channels of `names`; those that are new are made in one go. Raises LinkError."""
        if self._socket is None:
            self.open()
        if new := dict.fromkeys(name for name in names if name not in self._channels):
            channels = {name: caproto.ClientChannel(name, self._circuit) for name in new}
            self._send(*(channel.create() for channel in channels.values()))
            missing = {channel.cid: name for name, channel in channels.items()}
            for reply in self._replies():
                if isinstance(reply, caproto.CreateChFailResponse):
                    name = missing.get(reply.cid, "as asked for")
                    raise self._lost(LinkError(f"{self.name}: there is no record {name} at {self.known_as}"))
                if isinstance(reply, caproto.CreateChanResponse):
                    missing.pop(reply.cid, None)
                    if not missing:
                        break
            self._channels |= channels
        return [self._channels[name] for name in names]

    def _send(self, *commands: Any) -> None:
        assert self._circuit is not None
        self._send_bytes(b"".join(self._circuit.send(*commands)))

    def _send_bytes(self, data: bytes) -> None:
        assert self._socket is not None
        self.give_way()
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(self._broken(error)) from error

    def _replies(self) -> Iterator[Any]:
        """What the server sends, command by command, until the asker has enough. Raises LinkTimeout, LinkError."""
        deadline = time.monotonic() + self.timeout_s
        while self._socket is not None and self._circuit is not None:
            try:
                self._socket.settimeout(max(1e-3, deadline - time.monotonic()))
                messages = [*self._messages(self._socket.recv(CHUNK))]
            except TimeoutError as error:
                reason = f"{self.name}: no complete reply from {self.known_as} within {self.timeout_s:g} s"
                raise self._lost(LinkTimeout(reason)) from error
            except Exception as error:  # of the socket, or whatever caproto's parsers make of bytes that are no message
                raise self._lost(self._broken(error)) from error
            yield from messages

    def _messages(self, data: bytes) -> Iterator[Any]:
        """What `data` completes: replies to reads, and caproto's commands. Raises OSError, CaprotoError."""
        assert self._circuit is not None
        if not data:
            raise ConnectionResetError("the server has closed it")
        for message in self._receiver.take(data):
            if isinstance(message, ReadReply):
                yield message
                continue
            commands, _ = self._circuit.recv(message)
            for command in commands:
                if isinstance(command, caproto.ServerDisconnResponse):
                    raise ConnectionResetError("the server has closed it")
                self._circuit.process_command(command)
                yield command

    def _broken(self, error: Exception) -> LinkError:
        return LinkError(f"{self.name}: connection to {self.known_as} lost ({error})")

    def _lost(self, error: LinkError) -> LinkError:
        """Close the circuit, so that a late reply can reach nobody, and hand `error` back."""
        self.close()
        return error


def split_address(address: str) -> tuple[tuple[str, int], str]:
    """Host and port, and the prefix of the records, of `ca://host:port/PREFIX`.

    Raises:
        ValueError: the address is of another form.
    """
    try:
        parts = urlsplit(address)
        if parts.scheme != "ca" or not parts.hostname:
            raise ValueError
        return (parts.hostname, parts.port or PORT), parts.path.removeprefix("/")
    except ValueError:
        raise ValueError(f"address {address!r} is not understood; accepted is ca://host:port/PREFIX") from None


def _flatten(queries: Iterable[Any]) -> Iterator[str | AsText]:
    for query in queries:
        if isinstance(query, tuple):
            yield from _flatten(query)
        else:
            yield query


def _gather(query: Any, values: Iterator[Any]) -> Any:
    return tuple(_gather(one, values) for one in query) if isinstance(query, tuple) else next(values)


def _requested(channel: caproto.ClientChannel, query: str | AsText) -> int:
    """The plain type to ask for: the record's own, or text."""
    return STRING if isinstance(query, AsText) else channel.native_data_type


def _wire_value(value: Any) -> tuple[Any, caproto.ChannelType | None]:
    """Data and, for text, the type to send it as: the name of an enum's state is understood by its server."""
    if isinstance(value, str):
        return [value], caproto.ChannelType.STRING
    return (value if isinstance(value, np.ndarray) else [value]), None


def _text_of(reply: caproto.ErrorResponse) -> str:
    return bytes(reply.error_message).partition(b"\0")[0].decode("latin-1") or _status_name(reply.header.parameter2)


def _status_name(status: int) -> str:
    """The name of an ECA code."""
    names = (known.name for known in caproto.CAStatus if known.value.code_with_severity == status)
    return next(names, f"status {status:#x}, which there is not")
