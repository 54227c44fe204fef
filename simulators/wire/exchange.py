"""One instrument's side of a line: it takes messages off the bytes, acts on one at a time, and replies."""

import asyncio
from typing import Protocol

from ..clock import Clock
from .faults import Faults


class Instrument(Protocol):
    """What a simulated instrument offers to the line that serves it."""

    wire: str
    """`tcp` or `serial`: how it is served."""
    baud: int
    """Speed of its serial line."""
    name: str
    """Names the line on the clock; both ends count their bytes under it."""
    latency_s: float
    """Time between the last byte of a message and any action; above zero, so that one instant has an order."""
    silence_characters: float
    """Pause, in character times, that ends a message of unknown length; 0 when messages have terminators."""

    def take_message(self, buffer: bytearray) -> bytes | None:
        """Remove one complete message from the front of `buffer`; None when there is none yet."""
        ...

    async def reply(self, message: bytes) -> bytes:
        """Act on one message; the bytes to send back, none when the instrument says nothing."""
        ...


class Line(Protocol):
    """The transport under an exchange."""

    open: bool

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        ...

    def hang_up(self) -> None:
        """Close the connection."""
        ...


class Exchange:
    """Serves one connection of one instrument.

    Bytes are counted on the clock when they arrive and before they leave, so that simulated time cannot pass them.
    Messages that have arrived are acted on even when the client is gone, as an instrument would; their replies are
    dropped. `busy` is shared by the connections of an instrument: it does one thing at a time.
    """

    def __init__(
        self,
        instrument: Instrument,
        clock: Clock,
        faults: Faults,
        line: Line,
        busy: asyncio.Lock,
        *,
        character_s: float = 0.0,
    ) -> None:
        if not instrument.latency_s > 0:
            raise ValueError(f"{instrument.name}: latency_s = {instrument.latency_s}; accepted: above zero")
        self._instrument = instrument
        self._clock = clock
        self._faults = faults
        self._line = line
        self._busy = busy
        self._character_s = character_s
        self._silence_s = instrument.silence_characters * character_s
        self._buffer = bytearray()
        self._n_received = 0
        self._arrived = asyncio.Event()

    def receive(self, data: bytes) -> None:
        """Take bytes from the line, at once."""
        self._clock.received(self._instrument.name, len(data))
        self._clock.trace(self._instrument.name, "in", data)
        self._n_received += len(data)
        self._buffer += data
        self._arrived.set()

    def closed(self) -> None:
        """The client is gone: finish what has arrived, then end."""
        self._arrived.set()

    async def run(self) -> None:
        """Serve until the line is closed and nothing is left to do."""
        while (message := await self._next_message()) is not None:
            async with self._busy:
                await self._serve(*message)

    async def _next_message(self) -> tuple[bytes, int] | None:
        """The next message and the bytes it took on the line."""
        while True:
            before = len(self._buffer)
            message = self._instrument.take_message(self._buffer)
            if message is not None:
                return message, before - len(self._buffer)
            if self._buffer and self._silence_s:
                message = await self._ended_by_silence()
                if message is not None:
                    return message, len(message)
            elif not self._line.open:
                return None
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def _ended_by_silence(self) -> bytes | None:
        before = self._n_received
        await self._clock.sleep(self._silence_s, self._instrument.name)
        if self._n_received != before:
            return None
        message = bytes(self._buffer)
        self._buffer.clear()
        return message

    async def _serve(self, message: bytes, n_bytes: int) -> None:
        await self._clock.sleep(self._instrument.latency_s + n_bytes * self._character_s, self._instrument.name)
        try:
            reply = await self._instrument.reply(message)
        except Exception as error:  # a defect of the simulator must be seen, and must not silence the instrument
            context = {"message": f"{self._instrument.name} could not act on {message!r}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            return
        if self._faults.disconnects():
            self._hang_up()
        elif reply:
            await self._send(reply)

    async def _send(self, reply: bytes) -> None:
        for piece in self._faults.pieces(reply):
            wait_s = piece.wait_s + len(piece.data) * self._character_s
            if wait_s:
                await self._clock.sleep(wait_s, self._instrument.name)
            if self._line.open and piece.data:
                self._clock.sent(self._instrument.name, len(piece.data))
                self._clock.trace(self._instrument.name, "out", piece.data)
                self._line.write(piece.data)

    def _hang_up(self) -> None:
        if self._line.open:
            self._clock.sent(self._instrument.name, 1)  # the end of the stream counts as one byte at both ends
            self._line.hang_up()
