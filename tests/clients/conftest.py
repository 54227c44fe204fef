"""Simulated instruments for drivers that nobody here wrote."""

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
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


@pytest.fixture
def pymeasure(serve_world: Callable[..., str]) -> Iterator[Callable[..., Any]]:
    """A driver of PyMeasure on an instrument of its own."""
    made: list[Any] = []

    def make(driver: str, instrument_class: type, world: Any, terminator: str = "\n", **parameters: Any) -> Any:
        package, _, name = driver.partition(":")
        module = pytest.importorskip(f"pymeasure.instruments.{package}", reason="install megabar[clients]")
        ends = {"read_termination": terminator, "write_termination": terminator}
        address = serve_world(instrument_class, world, **parameters)
        made.append(getattr(module, name)(address, visa_library="@py", timeout=3000, **ends))
        return made[-1]

    yield make
    for each in made:
        each.adapter.close()


@pytest.fixture
def qcodes(
    serve_world: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """A driver of QCoDeS on an instrument of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    pytest.importorskip("qcodes", reason="install megabar[clients]", exc_type=ImportError)
    made: list[Any] = []

    def make(driver: str, instrument_class: type, world: Any, terminator: str = "\n", **parameters: Any) -> Any:
        package, _, name = driver.partition(":")
        module = importlib.import_module(f"qcodes.instrument_drivers.{package}")
        address = serve_world(instrument_class, world, **parameters)
        made.append(getattr(module, name)("client", address, visalib="@py", terminator=terminator, timeout=3))
        return made[-1]

    yield make
    for each in made:
        each.close()
