"""Instruments on loopback sockets."""

import asyncio
import socket

from megabar.simulators.wire.faults import Faults
from megabar.simulators.wire.tcp import TcpServer


def port_of(address: str) -> int:
    kind, host, port, suffix = address.split("::")
    assert (kind, host, suffix) == ("TCPIP", "127.0.0.1", "SOCKET")
    return int(port)


def with_server(echo, clock, client, faults: Faults | None = None):
    """Run `client(port)` against a served instrument."""

    async def run():
        server = TcpServer(echo, clock, faults)
        port = port_of(await server.start())
        try:
            return await asyncio.wait_for(client(port), 5)
        finally:
            await server.close()

    return asyncio.run(run())


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: bytes) -> bytes:
    writer.write(question + b"\n")
    return await reader.readline()


def test_an_instrument_answers_and_every_byte_is_counted(echo, clock):
    async def client(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = await ask(reader, writer, b"one") + await ask(reader, writer, b"two")
        writer.close()
        return answers

    assert with_server(echo, clock, client) == b"one\ntwo\n"
    assert clock.calls[0] == ("connected", "echo")
    assert clock.of("received") == [("received", "echo", 4)] * 2
    assert clock.of("sent") == [("sent", "echo", 4)] * 2


def test_it_listens_on_the_loopback_interface_only(echo, clock):
    async def run() -> list:
        server = TcpServer(echo, clock)
        await server.start()
        assert server._server is not None
        hosts = [sock.getsockname()[0] for sock in server._server.sockets]
        await server.close()
        return hosts

    assert asyncio.run(run()) == ["127.0.0.1"]


def test_replies_do_not_wait_for_acknowledgements(echo, clock):
    async def run() -> int:
        server = TcpServer(echo, clock)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(await server.start()))
        await ask(reader, writer, b"one")
        ours = server.client._transport.get_extra_info("socket")
        no_delay = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        await server.close()
        return no_delay

    assert asyncio.run(run())


def test_a_disconnected_client_comes_back(echo, clock):
    async def client(port: int) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer, b"one")
        lost = await ask(reader, writer, b"two")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        again = await ask(reader, writer, b"three")
        writer.close()
        return lost, again

    faults = Faults([{"kind": "disconnect", "at": [2]}])
    assert with_server(echo, clock, client, faults) == (b"", b"three\n")
    assert echo.heard == [b"one", b"two", b"three"]
    assert len(clock.of("connected")) == 2


def test_a_new_client_takes_the_place_of_one_that_never_closed(echo, clock):
    async def client(port: int) -> tuple[bytes, bytes]:
        first_reader, first_writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(first_reader, first_writer, b"one")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await ask(reader, writer, b"two")
        try:
            rest = await first_reader.read()
        except ConnectionResetError:
            rest = b""
        first_writer.close()
        writer.close()
        return answer, rest

    assert with_server(echo, clock, client) == (b"two\n", b"")


def test_late_bytes_of_a_client_that_was_replaced_are_neither_counted_nor_heard(echo, clock):
    async def run() -> None:
        server = TcpServer(echo, clock)
        port = port_of(await server.start())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer, b"one")
        replaced = server.client
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, second, b"two")
        replaced.data_received(b"late\n")
        await asyncio.sleep(0)
        writer.close()
        second.close()
        await server.close()

    asyncio.run(run())
    assert echo.heard == [b"one", b"two"]
    assert clock.of("received") == [("received", "echo", 4)] * 2


def test_commands_sent_just_before_closing_are_carried_out(echo, clock):
    async def client(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"-off\n-really\n")
        writer.close()
        await writer.wait_closed()
        while len(echo.heard) < 2:
            await asyncio.sleep(0.001)

    with_server(echo, clock, client)
    assert echo.heard == [b"-off", b"-really"]


def test_a_split_reply_comes_as_one_line(echo, clock):
    async def client(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await ask(reader, writer, b"+1.5E-03")
        writer.close()
        return answer

    faults = Faults([{"kind": "split", "at": [1], "seconds": 0.3}])
    assert with_server(echo, clock, client, faults) == b"+1.5E-03\n"
    assert clock.of("sleep")[-1] == ("sleep", "echo", 0.3)
    assert len(clock.of("sent")) == 2
