"""Instruments on pseudo-terminals, seen by pyserial."""

import asyncio
import contextlib
import os
import select
import time
from collections.abc import AsyncIterator

import pytest
import serial

from megabar.simulators.clock import WallClock
from megabar.simulators.wire.faults import Faults
from megabar.simulators.wire.pty_serial import PtyServer


@contextlib.asynccontextmanager
async def served(echo, clock) -> AsyncIterator[str]:
    server = PtyServer(echo, clock)
    address = server.start()
    assert address.startswith("ASRL/dev/pts/") and address.endswith("::INSTR")
    try:
        yield address.removeprefix("ASRL").removesuffix("::INSTR")
    finally:
        await server.close()


def ask(path: str, question: bytes) -> bytes:
    with serial.Serial(path, 9600, timeout=2) as port:
        port.write(question)
        return port.read_until(b"\n")


def test_a_client_opens_asks_closes_and_opens_again(echo, clock):
    async def run() -> list[bytes]:
        async with served(echo, clock) as path:
            return [await asyncio.to_thread(ask, path, f"{i}\n".encode()) for i in range(3)]

    assert asyncio.run(run()) == [b"0\n", b"1\n", b"2\n"]
    assert clock.of("received") == [("received", "echo", 2)] * 3
    assert clock.of("sent") == [("sent", "echo", 2)] * 3
    assert not clock.of("connected")


def test_the_line_is_raw_for_a_client_that_sets_nothing(echo, clock):
    """No echo, no signals from control characters, no carriage return turned into a line feed."""

    def plain(path: str) -> bytes:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        os.write(descriptor, b"\x03a\rb\n")
        ready, _, _ = select.select([descriptor], [], [], 2)
        answer = os.read(descriptor, 100) if ready else b""
        os.close(descriptor)
        return answer

    async def run() -> bytes:
        async with served(echo, clock) as path:
            return await asyncio.to_thread(plain, path)

    assert asyncio.run(run()) == b"\x03a\rb\n"
    assert echo.heard == [b"\x03a\rb"]


def test_the_line_is_raw_for_pyserial(echo, clock):
    control = bytes(byte for byte in range(256) if byte != 0x0A)

    async def run() -> bytes:
        async with served(echo, clock) as path:
            return await asyncio.to_thread(ask, path, control + b"\n")

    assert asyncio.run(run()) == control + b"\n"
    assert echo.heard == [control]


def test_characters_take_their_time_at_the_baud_rate(echo):
    echo.baud = 1200

    async def run() -> float:
        async with served(echo, WallClock()) as path:
            start = time.monotonic()
            await asyncio.to_thread(ask, path, b"x" * 23 + b"\n")
            return time.monotonic() - start

    assert 2 * 24 * 10 / 1200 <= asyncio.run(run()) < 1.5


def test_a_disconnect_makes_no_sense_on_a_serial_line(echo, clock):
    with pytest.raises(ValueError, match="no connection to close"):
        PtyServer(echo, clock, Faults([{"kind": "disconnect", "at": [1]}]))


@pytest.mark.parametrize("baud", [0, -9600])
def test_a_baud_rate_that_makes_no_sense_is_refused(echo, clock, baud: int):
    echo.baud = baud
    with pytest.raises(ValueError, match="baud"):
        PtyServer(echo, clock)


def test_replies_that_nobody_reads_do_not_stop_the_instrument(echo, clock):
    async def run() -> int:
        async with served(echo, clock) as path:
            with serial.Serial(path, 9600, timeout=1) as port:
                for _ in range(200):
                    port.write(b"y" * 1000 + b"\n")
                    await asyncio.sleep(0.001)
                while len(echo.heard) < 200:
                    await asyncio.sleep(0.001)
        return len(echo.heard)

    assert asyncio.run(run()) == 200
