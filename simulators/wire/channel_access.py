"""An EPICS server (Channel Access, protocol 4.13) for simulated instruments, on loopback only.

It lives in real time, on a thread and an asyncio loop of its own: a client that keeps simulated time still during its
call finds every value computed at that moment, and every put applied at it. No simulated time passes on this wire.
Nothing is broadcast: searches are answered on loopback, beacons are not sent.
"""

import asyncio
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from caproto.asyncio.server import Context, VirtualCircuit
from caproto.server.common import DisconnectedCircuit

from .channel_frames import ReadRequest, read_reply, read_request
from .channels import Channel, channels_of, tell
from .records import Instrument, Ticking

if TYPE_CHECKING:
    from ..clock import Clock

HOST = "127.0.0.1"
CHUNK = 1 << 16
START_S = 10.0
"""How long the server's thread may take to start, in real seconds."""
TICK_S = 0.01
"""How often an instrument with a watchdog looks at the time, in real seconds."""
MONITOR_S = 0.1
"""How often values that somebody monitors are looked at, in real seconds."""


class ChannelAccessServer:
    """Serves the records of several instruments on one port; `addresses` says where each one is.

    `n_commands` counts what clients have sent since the start.

    Raises:
        RuntimeError: the server did not start.
    """

    def __init__(self, instruments: Mapping[str, Instrument], clock: "Clock") -> None:
        self._clock = clock
        self._ticks = [instrument.tick for instrument in instruments.values() if isinstance(instrument, Ticking)]
        self._monitored: set[Channel] = set()
        self._channels = channels_of(instruments, clock, self._monitored)
        listener = _listen()
        port = listener.getsockname()[1]
        self.addresses = {name: f"ca://{HOST}:{port}/MB:{name}:" for name in instruments}
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._context: _Context | None = None
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="Channel Access", daemon=True)
        self._thread.start()
        if not self._started.wait(START_S):
            raise RuntimeError(f"the Channel Access server did not start on {HOST}:{port} within {START_S:g} s")

    @property
    def n_commands(self) -> int:
        """Commands received from clients."""
        return self._context.n_commands if self._context is not None else 0

    def close(self) -> None:
        """Stop serving; connections are lost."""
        self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(START_S)

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _serve(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._main = self._loop.create_task(self._run(listener))
        try:
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        finally:
            self._end_tasks()
            self._loop.close()

    async def _run(self, listener: socket.socket) -> None:
        self._context = _Context(dict(self._channels), listener)
        watchers = [asyncio.create_task(work) for work in (self._update_monitors(), self._tick())]
        try:
            await self._context.run(startup_hook=self._tell_started)
        finally:
            for watcher in watchers:
                watcher.cancel()
            for circuit in list(self._context.circuits):
                circuit.client.close()

    async def _tell_started(self, _: Any) -> None:
        self._started.set()

    async def _update_monitors(self) -> None:
        """Other people's clients subscribe; ours never do."""
        while True:
            await asyncio.sleep(MONITOR_S)
            await tell(self._monitored)

    async def _tick(self) -> None:
        """Let instruments with a watchdog look at the time."""
        while True:
            for tick in self._ticks:
                tick(self._clock.monotonic())
            await asyncio.sleep(TICK_S)

    def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def serve_channel_access(instruments: Mapping[str, Instrument], clock: "Clock") -> dict[str, str]:
    """Serve until the process ends; returns by name `ca://127.0.0.1:port/MB:name:`, which ends in the prefix."""
    return ChannelAccessServer(instruments, clock).addresses


def _listen() -> socket.socket:
    """A listening socket on a port whose UDP twin is free too: searches go to the same number."""
    while True:
        # Named as TCP, or asyncio would leave Nagle's algorithm on and stall every exchange by 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind((HOST, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as twin:
            try:
                twin.bind((HOST, listener.getsockname()[1]))
            except OSError:
                listener.close()
                continue
        listener.listen()
        listener.setblocking(False)
        return listener


class _Context(Context):
    """caproto's server on a socket that exists already, without beacons."""

    def __init__(self, channels: Mapping[str, Any], listener: socket.socket) -> None:
        super().__init__(channels, [HOST])
        self.CircuitClass = _Circuit
        self.ca_server_port = listener.getsockname()[1]
        self.n_commands = 0
        self._listener = listener

    async def _bind_tcp_sockets_with_consistent_port_number(self, make_socket: Any) -> tuple[int, dict[str, Any]]:
        return self.ca_server_port, {HOST: self._listener}

    async def broadcast_beacon_loop(self) -> None:
        """Announce nothing: beacons would leave the loopback interface."""


class _Written(asyncio.Event):
    """Set while no put is under way."""

    async def wait(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        return await super().wait()  # no timer: a read waits for the put before it, however long


class _Circuit(VirtualCircuit):
    """One client's connection. Plain reads are answered as they come; whatever else comes goes to caproto's queue.

    Reads that come after it go there too until it is done, so that everything is done in the order of its arrival.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.write_event = _Written()
        self._n_queued = 0

    async def recv(self) -> None:
        """Take one segment. Raises DisconnectedCircuit."""
        try:
            data = await self.client.recv(CHUNK)
            if data and self._is_idle() and not (data := await self._answered(data)):
                return
        except OSError:
            data = b""
        commands, _ = self.circuit.recv(data)
        self._n_queued += len(commands)
        for command in commands:
            await self.command_queue.put(command)
        if not data:
            await self._on_disconnect()
            raise DisconnectedCircuit

    async def _command_queue_iteration(self, command: Any) -> None:
        self.context.n_commands += 1
        try:
            response = await super()._command_queue_iteration(command)
            if response is not None:
                await self.send(*response)
        finally:
            self._n_queued -= 1

    def _is_idle(self) -> bool:
        """Whether caproto holds no command, no beginning of one, and no put that is under way."""
        return not self._n_queued and not self.circuit._data and self.write_event.is_set()

    async def _answered(self, data: bytes) -> bytes:
        """Answer the plain reads that `data` begins with, in one segment; what follows them."""
        start = 0
        replies = []
        while (request := read_request(data, start)) and (reply := self._reply(request)):
            replies.append(reply)
            start = request.end
        if replies:
            self.context.n_commands += len(replies)
            await self.client.send(b"".join(replies))
        return data[start:]

    def _reply(self, request: ReadRequest) -> bytes | None:
        """The reply to a plain read; None leaves it to caproto."""
        channel = self.circuit.channels_sid.get(request.sid)
        record = channel and self.context.pvdb.get(channel.name)
        if record is None:
            return None
        try:
            return read_reply(request, record.record, record.clock.monotonic())
        except Exception:  # whatever it is, it happens again in caproto's hands, which tell the client
            return None
