"""Instruments on serial lines: pseudo-terminals that take the time of a line at their baud rate."""

import asyncio
import os
import pty
import tty

from ..clock import Clock
from .exchange import Exchange, Instrument
from .faults import Faults

BITS_PER_CHARACTER = 10  # start, eight data, stop


async def serve_pty(instrument: Instrument, clock: Clock, faults: Faults | None = None) -> str:
    """Serve an instrument until the loop ends; returns its VISA address `ASRL/dev/pts/N::INSTR`."""
    return PtyServer(instrument, clock, faults).start()


class PtyServer:
    """Serves one instrument on a pseudo-terminal.

    The server keeps the client's end open too: a client may close and open it again, and finds it raw. A
    pseudo-terminal passes bytes at once; the time that 10 bits per character take at the instrument's baud rate is
    waited for on the clock.
    """

    def __init__(self, instrument: Instrument, clock: Clock, faults: Faults | None = None) -> None:
        if instrument.baud <= 0:
            raise ValueError(f"{instrument.name}: baud = {instrument.baud}; accepted: above zero")
        faults = faults or Faults()
        if any(rule.kind == "disconnect" for rule in faults.rules):
            raise ValueError(f"{instrument.name}: faults: a serial line has no connection to close; accepted: drop")
        self.open = False
        character_s = BITS_PER_CHARACTER / instrument.baud
        self._exchange = Exchange(instrument, clock, faults, self, asyncio.Lock(), character_s=character_s)
        self._ends: tuple[int, int] = (-1, -1)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> str:
        """Open the pseudo-terminal and return the VISA address."""
        ours, theirs = self._ends = pty.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        self.open = True
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._readable)
        self._task = loop.create_task(self._exchange.run())
        return f"ASRL{os.ttyname(theirs)}::INSTR"

    async def close(self) -> None:
        """End all work and remove the pseudo-terminal."""
        if not self.open or self._task is None:
            return
        self.open = False
        asyncio.get_running_loop().remove_reader(self._ends[0])
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for end in self._ends:
            os.close(end)

    def write(self, data: bytes) -> None:
        """Send bytes to the client; what it leaves unread beyond the line's buffer is lost, as in an overrun."""
        try:
            os.write(self._ends[0], data)
        except BlockingIOError:
            pass

    def hang_up(self) -> None:
        """Nothing to close on a serial line."""

    def _readable(self) -> None:
        self._exchange.receive(os.read(self._ends[0], 4096))
