"""The smallest Channel Access client: one known server, values as numbers.

Channel Access Protocol Specification, version 4.13 (EPICS).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from .wire import connect

VERSION, WRITE, READ_NOTIFY, CREATE, CLIENT, HOST, ECHO, CREATE_FAILED, DISCONNECTED = 0, 4, 15, 18, 20, 21, 23, 26, 27
MINOR = 13
DOUBLE = 6
NORMAL = 1
HEADER = struct.Struct(">HHHHII")
ANSWER_S = 0.5


class Circuit:
    """One connection; everything asked of it is answered in order, or fails with OSError when it is lost."""

    def __init__(self, connection: socket.socket, lost: Callable[[], None]) -> None:
        self._connection, self._lost = connection, lost
        self._channels: dict[str, int] = {}
        self._waiting: dict[tuple[int, int], asyncio.Future[tuple[int, int, bytes]]] = {}
        self._number = 0
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self.closed = False
        self._loop.add_reader(connection, self._read)

    @classmethod
    async def open(cls, host: str, port: int, lost: Callable[[], None]) -> "Circuit":
        """Connect. Raises OSError, TimeoutError."""
        self = cls(await connect(host, port), lost)
        self._send(
            _message(VERSION, 0, MINOR), _message(HOST, payload=b"guard\0"), _message(CLIENT, payload=b"guard\0")
        )
        return self

    async def put(self, record: str, value: float) -> None:
        """Write a value, without waiting for what it sets going. Raises OSError, TimeoutError."""
        channel = await self._channel(record)
        self._number += 1
        self._send(_message(WRITE, DOUBLE, 1, channel, self._number, struct.pack(">d", value)))

    async def get(self, record: str) -> float:
        """The value; of an enum its number. Raises OSError, TimeoutError."""
        channel = await self._channel(record)
        self._number += 1
        status, _, body = await self._asked(
            (READ_NOTIFY, self._number), _message(READ_NOTIFY, DOUBLE, 1, channel, self._number)
        )
        if status != NORMAL or len(body) < 8:
            raise OSError(f"{record} cannot be read (status {status})")
        return float(struct.unpack_from(">d", body)[0])

    def close(self) -> None:
        """Disconnect; may be called twice."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._connection)
        self._connection.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(OSError("the circuit is lost"))
        self._waiting.clear()

    async def _channel(self, record: str) -> int:
        if record not in self._channels:
            self._number += 1
            request = _message(CREATE, 0, 0, self._number, MINOR, record.encode() + b"\0")
            _, server_id, _ = await self._asked((CREATE, self._number), request)
            self._channels[record] = server_id
        return self._channels[record]

    async def _asked(self, key: tuple[int, int], request: bytes) -> tuple[int, int, bytes]:
        future = self._waiting[key] = self._loop.create_future()
        self._send(request)
        try:
            return await asyncio.wait_for(future, ANSWER_S)
        finally:
            self._waiting.pop(key, None)

    def _send(self, *messages: bytes) -> None:
        if self.closed:
            raise OSError("the circuit is lost")
        try:
            sent = self._connection.send(b"".join(messages))
        except BlockingIOError as error:
            raise OSError("the server does not read") from error
        if sent != sum(map(len, messages)):
            self._end()
            raise OSError("the server does not read")

    def _read(self) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = self._connection.recv(65536)
        if not data:
            self._end()
            return
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            command, size, _, _, first, second = HEADER.unpack_from(self._buffer)
            if len(self._buffer) < HEADER.size + size:
                return
            body = bytes(self._buffer[HEADER.size : HEADER.size + size])
            del self._buffer[: HEADER.size + size]
            self._take(command, first, second, body)

    def _take(self, command: int, first: int, second: int, body: bytes) -> None:
        if command == DISCONNECTED:
            self._end()
            return
        key = (READ_NOTIFY, second) if command == READ_NOTIFY else (CREATE, first)
        future = self._waiting.get(key) if command in (READ_NOTIFY, CREATE, CREATE_FAILED) else None
        if future is None or future.done():
            return
        if command == CREATE_FAILED:
            future.set_exception(OSError("there is no such record"))
        else:
            future.set_result((first, second, body))

    def _end(self) -> None:
        if not self.closed:
            self.close()
            self._lost()


def _message(
    command: int, data_type: int = 0, count: int = 0, first: int = 0, second: int = 0, payload: bytes = b""
) -> bytes:
    payload += b"\0" * (-len(payload) % 8)
    return HEADER.pack(command, len(payload), data_type, count, first, second) + payload
