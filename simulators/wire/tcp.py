"""Instruments on TCP sockets, on the loopback interface only."""

import asyncio
from typing import cast

from ..clock import Clock
from .exchange import Exchange, Instrument
from .faults import Faults

HOST = "127.0.0.1"


async def serve_tcp(instrument: Instrument, clock: Clock, faults: Faults | None = None) -> str:
    """Serve an instrument until the loop ends; returns its VISA address `TCPIP::127.0.0.1::PORT::SOCKET`."""
    return await TcpServer(instrument, clock, faults).start()


class TcpServer:
    """Serves one instrument on a port of the loopback interface, with TCP_NODELAY (asyncio's default).

    One client at a time: a new connection takes the place of the one before, so that a client that died without
    closing its socket can come back.
    """

    def __init__(self, instrument: Instrument, clock: Clock, faults: Faults | None = None) -> None:
        self.instrument = instrument
        self.clock = clock
        self.faults = faults or Faults()
        self.busy = asyncio.Lock()
        self.client: _Connection | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> str:
        """Listen on `port` (0: any that is free) and return the VISA address."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), HOST, port)
        return f"TCPIP::{HOST}::{self._server.sockets[0].getsockname()[1]}::SOCKET"

    async def close(self) -> None:
        """Stop listening, drop the client and end all work."""
        if self._server is not None:
            self._server.close()
        if self.client is not None:
            self.client.drop()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class _Connection(asyncio.Protocol):
    """One client of a server: a Line for its Exchange."""

    def __init__(self, server: TcpServer) -> None:
        self.open = False
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._exchange = Exchange(server.instrument, server.clock, server.faults, self, server.busy)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place of the client before; both ends count the bytes of this connection from zero."""
        self._transport = cast(asyncio.Transport, transport)
        if self._server.client is not None:
            self._server.client.drop()
        self._server.client = self
        self.open = True
        self._server.clock.connected(self._server.instrument.name)
        task = asyncio.get_running_loop().create_task(self._exchange.run())
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def data_received(self, data: bytes) -> None:
        """Count and keep the bytes, unless another client has taken this one's place."""
        if self._server.client is self:
            self._exchange.receive(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """Let the exchange finish."""
        self.open = False
        if self._server.client is self:
            self._server.client = None
        self._exchange.closed()

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self._transport is not None:
            self._transport.write(data)

    def hang_up(self) -> None:
        """Close the connection after what has been written."""
        self.open = False
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Close the connection at once."""
        self.open = False
        self._exchange.closed()
        if self._transport is not None:
            self._transport.abort()
