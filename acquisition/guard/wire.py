"""A file descriptor that never blocks: a socket, a serial line, one end of a pseudo-terminal."""

import asyncio
import errno
import fcntl
import os
import socket
import termios
import tty
from collections.abc import Callable
from pathlib import Path

LARGEST_BACKLOG = 1 << 20
OPEN_S = 0.5


class Wire:
    """Hands what arrives to `on_bytes`, and says once that it is `on_lost`."""

    def __init__(
        self,
        descriptor: int,
        on_bytes: Callable[[bytes], None],
        on_lost: Callable[[], None],
        owner: socket.socket | None = None,
    ) -> None:
        self._descriptor, self._on_bytes, self._on_lost, self._owner = descriptor, on_bytes, on_lost, owner
        self._backlog = bytearray()
        self._loop = asyncio.get_running_loop()
        self.closed = False
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_lost()
            return
        if self._owner is not None:  # acknowledge at once: a client that writes twice would wait 40 ms for it
            self._owner.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._on_bytes(data)

    def write(self, data: bytes) -> None:
        """Send now what can be sent now, and the rest as soon as possible. Raises OSError."""
        if self.closed:
            raise OSError(errno.ENOTCONN, "not connected")
        if not self._backlog:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                pass
        if data:
            if len(self._backlog) > LARGEST_BACKLOG:
                raise OSError(errno.ENOBUFS, "the other end does not read")
            self._backlog += data
            self._loop.add_writer(self._descriptor, self._flush)

    def _flush(self) -> None:
        try:
            del self._backlog[: os.write(self._descriptor, self._backlog)]
        except BlockingIOError:
            return
        except OSError:
            self._backlog.clear()
        if not self._backlog:
            self._loop.remove_writer(self._descriptor)

    def at_end(self) -> bool:
        """Whether the other end of a socket has been closed, noticed or not."""
        try:
            return self._owner is not None and not self._owner.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Let go of it; may be called twice."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        if self._owner is not None:
            self._owner.close()
        else:
            os.close(self._descriptor)


async def connect(host: str, port: int) -> socket.socket:
    """A TCP connection that sends at once. Raises OSError, TimeoutError."""
    connection = socket.socket()
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, (host, port)), OPEN_S)
    except BaseException:
        connection.close()
        raise
    return connection


def open_serial(path: str, baud: int) -> int:
    """A serial line of eight bits for this process alone. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # keeps out who asks, also one that may open anything
        fcntl.ioctl(descriptor, termios.TIOCEXCL)
        tty.setraw(descriptor)
        attributes = termios.tcgetattr(descriptor)
        attributes[4] = attributes[5] = getattr(termios, f"B{baud}")
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
        termios.tcflush(descriptor, termios.TCIFLUSH)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(errno.EBUSY, f"{path} is another's") from error
    except (termios.error, AttributeError) as error:
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{path}: {error}") from error
    return descriptor


def owner_of_peer(connection: socket.socket) -> int | None:
    """The user at the other end of a TCP connection on this machine, from /proc/net/tcp."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == theirs and int(fields[2].split(":")[1], 16) == ours:
            return int(fields[7])
    return None
