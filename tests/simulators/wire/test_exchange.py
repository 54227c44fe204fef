"""The rules that keep simulated time right: what is counted when, and in which order."""

import asyncio

import pytest

from megabar.simulators.wire.exchange import Exchange
from megabar.simulators.wire.faults import Faults


class Line:
    """Writes down what is sent, in the clock's list, so that the order shows."""

    def __init__(self, clock) -> None:
        self.open, self.clock = True, clock

    def write(self, data: bytes) -> None:
        self.clock.calls.append(("write", data))

    def hang_up(self) -> None:
        self.open = False
        self.clock.calls.append(("hang up",))


def serve(clock, instrument, *segments: bytes, rules=(), character_s: float = 0.0, close: bool = True) -> Line:
    """Deliver segments, each after the exchange has had its turns, then close."""

    async def run() -> Line:
        line = Line(clock)
        exchange = Exchange(instrument, clock, Faults(rules), line, asyncio.Lock(), character_s=character_s)
        task = asyncio.create_task(exchange.run())
        for segment in segments:
            exchange.receive(segment)
            for _ in range(20):
                await asyncio.sleep(0)
        if close:
            line.open = False
            exchange.closed()
        await asyncio.wait_for(task, 1)
        return line

    return asyncio.run(run())


def test_bytes_are_counted_on_arrival_and_before_they_leave(clock, echo):
    serve(clock, echo, b"hello\n")
    assert clock.calls == [
        ("received", "echo", 6),
        ("sleep", "echo", 0.001),
        ("sent", "echo", 6),
        ("write", b"hello\n"),
    ]


def test_bytes_of_a_message_that_is_not_complete_are_counted_too(clock, echo):
    serve(clock, echo, b"abc")
    assert clock.calls == [("received", "echo", 3)]


def test_a_message_in_pieces_and_two_messages_in_one_piece(clock, echo):
    serve(clock, echo, b"on", b"e\ntwo\nthr", b"ee\n")
    assert echo.heard == [b"one", b"two", b"three"]


def test_every_message_waits_for_the_latency(clock, echo):
    serve(clock, echo, b"one\n-two\nthree\n")
    assert clock.of("sleep") == [("sleep", "echo", 0.001)] * 3
    assert clock.of("write") == [("write", b"one\n"), ("write", b"three\n")]


def test_an_instrument_without_latency_is_refused(clock, make_echo):
    with pytest.raises(ValueError, match="latency"):
        serve(clock, make_echo(latency_s=0.0), b"one\n")


def test_a_line_takes_the_time_of_its_characters_both_ways(clock, echo):
    serve(clock, echo, b"hello\n", character_s=0.01)
    assert clock.of("sleep") == [("sleep", "echo", 0.061), ("sleep", "echo", 0.06)]


def test_what_has_arrived_is_acted_on_when_the_client_is_gone_but_not_answered(clock, echo):
    async def run() -> None:
        line = Line(clock)
        exchange = Exchange(echo, clock, Faults(), line, asyncio.Lock())
        exchange.receive(b"one\ntwo\n")
        line.open = False
        exchange.closed()
        await asyncio.wait_for(exchange.run(), 1)

    asyncio.run(run())
    assert echo.heard == [b"one", b"two"]
    assert not clock.of("sent") and not clock.of("write")


def test_two_connections_of_one_instrument_take_turns(clock, make_echo):
    echo = make_echo()
    echo.pause = 5

    async def run() -> None:
        busy = asyncio.Lock()
        exchanges = [Exchange(echo, clock, Faults(), Line(clock), busy) for _ in range(2)]
        tasks = [asyncio.create_task(exchange.run()) for exchange in exchanges]
        for exchange in exchanges:
            exchange.receive(b"one\ntwo\n")
        while len(echo.heard) < 4:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    asyncio.run(run())
    assert echo.most_at_once == 1


def test_a_defect_is_reported_and_the_instrument_goes_on(clock, echo):
    seen = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
        line = Line(clock)
        exchange = Exchange(echo, clock, Faults(), line, asyncio.Lock())
        exchange.receive(b"boom\nnext\n")
        task = asyncio.create_task(exchange.run())
        while not clock.of("write"):
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())
    assert [str(error) for error in seen] == ["defect"]
    assert clock.of("write") == [("write", b"next\n")]


def test_a_disconnect_comes_instead_of_the_reply_and_its_end_is_counted(clock, echo):
    line = serve(clock, echo, b"-one\ntwo\nthree\n", rules=[{"kind": "disconnect", "at": [2]}], close=False)
    assert not line.open
    assert clock.calls[-4:-1] == [("sleep", "echo", 0.001), ("sent", "echo", 1), ("hang up",)]
    assert echo.heard == [b"-one", b"two", b"three"]
    assert not clock.of("write")


def test_a_pause_ends_a_message_without_terminator(clock, make_echo):
    echo = make_echo(silence_characters=3.5)
    serve(clock, echo, b"garbage", character_s=0.001)
    assert echo.heard == [b"garbage"]
    assert clock.of("sleep")[0] == ("sleep", "echo", 0.0035)


def test_bytes_that_keep_coming_are_one_message(clock, make_echo):
    echo = make_echo(silence_characters=3.5)

    async def run() -> None:
        exchange = Exchange(echo, clock, Faults(), Line(clock), asyncio.Lock(), character_s=0.001)
        task = asyncio.create_task(exchange.run())
        for _ in range(3):
            exchange.receive(b"bit")
            await asyncio.sleep(0)
        while not echo.heard:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())
    assert echo.heard == [b"bitbitbit"]
