"""Simulated instruments for drivers that nobody here wrote."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from megabar.simulators.clock import WallClock
from megabar.simulators.noise import Noise
from megabar.simulators.wire.pty_serial import PtyServer
from megabar.simulators.wire.tcp import TcpServer


@pytest.fixture
def serve_world() -> Iterator[Callable[..., str]]:
    """Serve an instrument of a world from a thread, twenty times as fast as life; returns its VISA address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers: list[Any] = []

    def call(function: Callable[[], Any]) -> Any:
        async def run() -> Any:
            result = function()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), loop).result(5)

    def make(instrument_class: type, world: Any, **parameters: Any) -> str:
        clock = WallClock(20.0)
        instrument = instrument_class(name="client", world=world, clock=clock, noise=Noise(1, "client"), **parameters)
        server_class = TcpServer if instrument.wire == "tcp" else PtyServer
        servers.append(call(lambda: server_class(instrument, clock)))
        return call(servers[-1].start)

    yield make
    for server in servers:
        call(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()
