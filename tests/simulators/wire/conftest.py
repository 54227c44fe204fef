"""A clock without real time, and an instrument that repeats what it hears."""

import asyncio

import pytest


class SteppingClock:
    """Time jumps by what is slept; every call is written down."""

    factor = 1.0

    def trace(self, wire: str, direction: str, data: bytes) -> None:
        pass

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float, name: str) -> None:
        self.calls.append(("sleep", name, round(delay_s, 9)))
        await asyncio.sleep(0)
        self.now += delay_s

    def connected(self, wire: str) -> None:
        self.calls.append(("connected", wire))

    def sent(self, wire: str, n_bytes: int) -> None:
        self.calls.append(("sent", wire, n_bytes))

    def received(self, wire: str, n_bytes: int) -> None:
        self.calls.append(("received", wire, n_bytes))

    def of(self, kind: str) -> list[tuple]:
        return [call for call in self.calls if call[0] == kind]


class Echo:
    """Repeats each line; one that begins with a hyphen gets no reply, `boom` finds a defect."""

    def __init__(self, name: str = "echo", latency_s: float = 0.001, silence_characters: float = 0.0) -> None:
        self.name, self.latency_s, self.silence_characters = name, latency_s, silence_characters
        self.heard: list[bytes] = []
        self.acting = self.most_at_once = 0
        self.pause = 0
        self.baud = 9600

    def take_message(self, buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\n")
        if end < 0:
            return None
        message = bytes(buffer[:end])
        del buffer[: end + 1]
        return message

    async def reply(self, message: bytes) -> bytes:
        self.acting += 1
        self.most_at_once = max(self.most_at_once, self.acting)
        for _ in range(self.pause):
            await asyncio.sleep(0)
        self.heard.append(message)
        self.acting -= 1
        if message == b"boom":
            raise RuntimeError("defect")
        return b"" if message.startswith(b"-") else message + b"\n"


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def make_echo() -> type[Echo]:
    return Echo
