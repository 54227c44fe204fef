"""Wire transcripts: what must be sent, byte for byte, and what is answered, without any simulator."""

import contextlib
import os
import pty
import select
import socket
import threading
import tty
from collections.abc import Callable, Iterator

import pytest

from megabar.acquisition.clock import RealClock
from megabar.devices.instrument import Instrument

Exchange = tuple[bytes, bytes]


class Transcript:
    """Answers each expected request; anything else, or more than was expected, is kept in `surprises`."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self.left = list(exchanges)
        self.n_bytes = 0
        self.surprises: list[bytes] = []
        self.address = ""
        self._buffer = b""

    def hear(self, data: bytes) -> bytes:
        """The answer to what has arrived."""
        self.n_bytes += len(data)
        self._buffer += data
        answer = b""
        while self._buffer and self.left and self._buffer.startswith(self.left[0][0]):
            request, reply = self.left.pop(0)
            self._buffer = self._buffer[len(request) :]
            answer += reply
        if self._buffer and not (self.left and self.left[0][0].startswith(self._buffer)):
            self.surprises.append(self._buffer)
            self._buffer = b""
        return answer

    def done(self) -> None:
        """Everything was asked, and nothing else."""
        assert not self.surprises
        assert not self.left


@pytest.fixture
def on_socket() -> Iterator[Callable[[list[Exchange]], Transcript]]:
    """Serve a transcript on a socket; `address` is its VISA address."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = [listener]
    threads: list[threading.Thread] = []

    def serve(exchanges: list[Exchange]) -> Transcript:
        transcript = Transcript(exchanges)
        transcript.address = f"TCPIP::127.0.0.1::{listener.getsockname()[1]}::SOCKET"

        def run() -> None:
            try:
                connection, _ = listener.accept()
                ends.append(connection)
                while data := connection.recv(4096):
                    connection.sendall(transcript.hear(data))
            except OSError:
                return

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return transcript

    yield serve
    for end in list(ends):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(5)
    for end in ends:
        end.close()


@pytest.fixture
def on_serial_line() -> Iterator[Callable[[list[Exchange]], Transcript]]:
    """Serve a transcript on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    threads: list[threading.Thread] = []
    stop_read, stop_write = os.pipe()

    def serve(exchanges: list[Exchange]) -> Transcript:
        transcript = Transcript(exchanges)
        transcript.address = f"ASRL{os.ttyname(theirs)}::INSTR"

        def run() -> None:
            while True:
                ready = select.select([ours, stop_read], [], [])[0]
                if stop_read in ready:
                    return
                os.write(ours, transcript.hear(os.read(ours, 4096)))

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return transcript

    yield serve
    os.write(stop_write, b"x")
    for thread in threads:
        thread.join(5)
    for descriptor in (ours, theirs, stop_read, stop_write):
        os.close(descriptor)


@pytest.fixture
def attach() -> Iterator[Callable[..., Instrument]]:
    """Make a device on a real clock, connect it, and disconnect it at the end."""
    links = []

    def make(device_class: type[Instrument], address: str, name: str, **options) -> Instrument:
        link = device_class.link_type(name, address, RealClock(), **{**device_class.link_options, **options})
        links.append(link)
        link.call(link.open)
        device = device_class(name=name, link=link, address=address)
        link.call(device.connect)
        return device

    yield make
    for link in links:
        link.call(link.close)
