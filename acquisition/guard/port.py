"""A port that the guard owns: it passes the engine's messages on, whole, and speaks for itself between them."""

import asyncio
import collections
import contextlib
import errno
import os
import pty
import re
import socket
import termios
import tty
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from .log import Log, now
from .specification import Action, Check, PortSpecification
from .wire import Wire, connect, open_serial, owner_of_peer
from .words import Lines, Rtu, Words, holds

PSEUDO_TERMINALS = "/dev/pts/"
SILENCE_S = 0.02
"""A line that has said nothing for so long has said what it had to say."""
AGAIN_S = 0.02
"""Between attempts at a step that has not been seen to work, at first."""
LATER_S = 1.0
"""Between attempts at one that takes long."""
OPEN_REPLY_S = 0.25
"""How long the answer to the engine's last question is waited for on a half-duplex line before it is made safe."""
BETWEEN_FRAMES_S = 0.004
"""Half-duplex lines are left alone for so long before somebody else speaks."""
FRAME_GAP_S = 0.1
"""Bytes that come so long after one another are of different frames."""


class NotSeen(Exception):
    """A safe action was sent, and what it does is not seen."""


class Interlocks(Protocol):
    """What a port depends on at others."""

    def obstacle(self, name: str) -> str:
        """Why a command may not pass to a port now; empty where it may."""
        ...

    async def look(self, name: str) -> None:
        """Read what a port depends on; for a short time only."""
        ...


class Port(Protocol):
    """What the guard does with a port, whatever its protocol."""

    name: str
    specification: PortSpecification
    address: str
    """Where the engine reaches it; empty where it goes there by itself."""
    in_use: bool
    """Whether the engine, as far as the guard sees it, has done something that it has not made safe again."""

    async def start(self) -> None:
        """Open both ends; an instrument that does not answer is tried again later. Raises OSError."""
        ...

    async def ensure_open(self) -> None:
        """Connect to the instrument where that is lost. Raises OSError, TimeoutError."""
        ...

    def open_to_engine(self) -> None:
        """The lease is held: commands pass."""
        ...

    def shut(self) -> None:
        """The lease is lost: from now on not a byte of the engine's passes."""
        ...

    def leave(self) -> None:
        """All is safe, or held: questions pass again."""
        ...

    async def ask(self, check: Check) -> float:
        """Make a check. Raises OSError, TimeoutError, ValueError."""
        ...

    async def kick(self, message: Any) -> None:
        """Keep a watchdog from dropping out. Raises OSError, TimeoutError."""
        ...

    async def bring_about(self, action: Action, sent: asyncio.Event) -> None:
        """Send an action at once, then again until it is seen to have worked; the caller bounds it."""
        ...


class Abandoned(OSError):
    """The lease was lost in the middle of a question of ours."""


async def until_seen(attempt: Callable[[], Awaitable[None]], tell: Callable[[str], None]) -> None:
    """Attempt it until it does not raise, more and more slowly; each new reason why it did is told once."""
    told, wait_s = "", AGAIN_S
    while True:
        try:
            await attempt()
            return
        except Exception as error:  # whatever it is: nothing ends the attempts but their time
            if (why := f"{type(error).__name__} {error}"[:120]) != told:
                tell(why)
            told = why
        await asyncio.sleep(wait_s)
        wait_s = min(1.1 * wait_s, LATER_S)


class StreamPort:
    """An instrument on a socket or a serial line, with one engine in front of it.

    One transaction is open at a time: the engine's, or one of the guard's own. What arrives while the engine's is
    open, or none, is the engine's.
    """

    def __init__(
        self,
        name: str,
        specification: PortSpecification,
        log: Log,
        lost: Callable[[str], None],
        interlocks: Interlocks,
    ) -> None:
        self.name, self.specification, self.address = name, specification, ""
        self._log, self._lost, self._interlocks = log, lost, interlocks
        self._words: Words = Rtu(specification) if specification["kind"] == "rtu" else Lines(specification)
        self._half_duplex = specification["kind"] == "rtu"
        self._was_open = False
        self._instrument: Wire | None = None
        self._engine: Wire | None = None
        self._far_end = -1
        self._armed = self._playing = self.in_use = False
        ways = specification["ways"].values()
        self._safe = {bytes.fromhex(m) for way in ways for action in way["actions"] for m in action["send"]}
        self._incoming = bytearray()
        self._came = 0.0
        self._requests: collections.deque[tuple[float, bytes]] = collections.deque()
        self._looked_for: tuple[float, bytes] | None = None
        self._turn = ""
        self._in_doubt = self._asked_in_vain = self._attempting = False
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        self._replies = bytearray()
        self._heard = asyncio.Event()
        self._epoch = 0
        self._asked = 0.0
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the engine's end, and the instrument's if it answers. Raises OSError."""
        if self.specification["address"][0] == "tcp":
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(4)
            listener.setblocking(False)
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)
            self.address = f"TCPIP::127.0.0.1::{listener.getsockname()[1]}::SOCKET"
        else:
            ours, self._far_end = pty.openpty()  # the far end stays open here: ours outlives every engine
            tty.setraw(self._far_end)
            os.fchmod(self._far_end, 0o600)
            self._engine = Wire(ours, self._from_engine, lambda: None)
            self.address = f"ASRL{os.ttyname(self._far_end)}::INSTR"
        await self._try_to_open()

    async def ensure_open(self) -> None:
        """Connect to the instrument where that is lost. Raises OSError, TimeoutError."""
        async with self._connecting:
            if self._instrument is not None:
                return
            kind, where, number = self.specification["address"]
            self._replies.clear()
            if kind == "tcp":
                connection = await connect(where, number)
                self._instrument = Wire(connection.fileno(), self._from_instrument, self._instrument_lost, connection)
            elif self._was_open and where.startswith(PSEUDO_TERMINALS):
                raise OSError(errno.ENODEV, f"{where} was lost, and its number may be another's by now")
            else:
                self._instrument = Wire(open_serial(where, number), self._from_instrument, self._instrument_lost)
            self._was_open = True

    def open_to_engine(self) -> None:
        """The lease is held: commands pass."""
        self._words.limits.forget()
        self._armed = True

    def shut(self) -> None:
        """The lease is lost: drop the engine, and whatever it has not finished saying."""
        self._armed, self._playing, self._turn = False, True, "guard"
        self._epoch += 1
        self._stop_timer()
        self._drop_engine()
        self._heard.set()

    def leave(self) -> None:
        """Questions pass again."""
        self._playing = False
        if not self._attempting:
            self._give_back()

    # what the engine says

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
            known = owner_of_peer(connection) in (os.getuid(), 0)
        except OSError:
            return
        taken = self._armed and self._engine is not None and not self._engine.at_end()
        if self._playing or taken or not known:
            self._log.write("refused a connection", port=self.name)
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._drop_engine()
        self._engine = Wire(connection.fileno(), self._from_engine, self._drop_engine, connection)
        if self._instrument is None:
            self._start(self._try_to_open())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try_to_open(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            await self.ensure_open()

    def _drop_engine(self) -> None:
        """Forget what it has not finished saying, what waits to be passed on, and the answer that is still to come."""
        self._incoming.clear()
        self._requests.clear()
        if self._far_end >= 0:
            termios.tcflush(self._far_end, termios.TCIOFLUSH)
        elif self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._turn == "engine":
            self._not_answered()

    def _from_engine(self, data: bytes) -> None:
        if self._playing:
            return
        moment = now()
        if self._half_duplex and moment - self._came > FRAME_GAP_S:
            self._incoming.clear()
        self._came = moment
        self._incoming += data
        while (message := self._words.take(self._incoming)) is not None:
            self._requests.append((moment, message))
        self._next()

    def _next(self) -> None:
        """Pass the engine's next message on, if it may pass and nobody is waiting for an answer."""
        while not self._turn and self._requests:
            came, message = request = self._requests[0]
            makes_safe = message in self._safe
            if self._in_doubt and not makes_safe:
                self._turn = "guard"
                self._start(self._clear_up())
                return
            self._requests.popleft()
            patience_s = came + self.specification["reply_s"] - now()
            answered = self._words.is_answered(message)
            if answered and patience_s <= 0 and not makes_safe:
                continue  # who asked has given up; the answer would be taken for that to the next question
            judgement = self._words.judge(message)
            why = judgement.refused
            if not why and not judgement.reads and not self._armed:
                why = "no engine holds the lease"
            elif not why and not (judgement.reads or judgement.lowers or makes_safe):
                why = self._interlocks.obstacle(self.name)
                if why and self._looked_for is not request:
                    self._looked_for = request
                    self._requests.appendleft(request)
                    self._turn = "guard"
                    self._start(self._look())
                    return
            if why:
                self._log.write("refused", port=self.name, message=message.hex(), why=why)
                self._to_engine(self._words.refusal(message))
                continue
            if not judgement.reads:
                self._words.limits.passed(judgement)
                self._log.sample(judgement.name, [value for _, value in judgement.values])
                self.in_use = not makes_safe
            try:
                self._write(message)
            except OSError:
                self._instrument_lost()
                return
            if answered:
                self._turn, self._asked = "engine", now()
                self._replies.clear()
                self._timer = asyncio.get_running_loop().call_later(patience_s, self._not_answered)

    def _to_engine(self, data: bytes) -> None:
        if self._engine is not None and data:
            try:
                self._engine.write(data)
            except OSError:
                self._drop_engine()

    # what the instrument says

    def _from_instrument(self, data: bytes) -> None:
        if self._turn == "guard" or self._in_doubt:
            self._replies += data
            self._heard.set()
            return
        self._to_engine(data)
        if self._turn == "engine":
            self._replies += data
            if self._words.take_reply(self._replies) is not None:
                self._give_back()

    def _instrument_lost(self) -> None:
        if self._instrument is None:
            return
        self._instrument.close()
        self._instrument = None
        self._heard.set()
        if not self._playing:
            self._drop_engine()
        self._lost(f"{self.name}: the connection to the instrument is lost")

    def _write(self, message: bytes) -> None:
        if self._instrument is None:
            raise OSError(f"{self.name} is not connected")
        self._instrument.write(message)

    # whose turn it is

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _not_answered(self) -> None:
        """The engine's question has had no answer in its time; what comes now is nobody's."""
        self._in_doubt = True
        self._give_back()

    def _give_back(self) -> None:
        """A transaction is over: the guard's next question first, if one waits, then the engine's next message."""
        self._stop_timer()
        self._turn, self._asked = "", 0.0
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._turn = "guard"
                waiter.set_result(None)
                return
        self._next()

    async def _own(self, transaction: Callable[[], Awaitable[float]], epoch: int, *, cleared: bool = True) -> float:
        """Do something between two transactions of the engine, unless the lease is lost first."""
        if self._turn:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled() and not self._playing:
                    self._give_back()
                raise
        if self._epoch != epoch:
            if not self._playing:
                self._give_back()
            raise Abandoned("the lease was lost")
        self._turn = "guard"
        try:
            if self._in_doubt and cleared:
                await self._barrier()
            self._replies.clear()
            if self._half_duplex:
                await self._pause(epoch)
            value = await transaction()
            if self._half_duplex:
                await self._pause(epoch)
            return value
        except NotSeen:
            raise
        except BaseException:  # also where this is cancelled: a late answer of ours must not become the engine's
            self._in_doubt = True
            raise
        finally:
            if self._epoch == epoch:
                self._give_back()

    async def _pause(self, epoch: int) -> None:
        await asyncio.sleep(BETWEEN_FRAMES_S)
        if self._epoch != epoch:
            raise Abandoned("the lease was lost")

    async def _clear_up(self) -> None:
        """Before the engine speaks again: forget what may still come; while the instrument is mute all but what makes
        safe is dropped.
        """
        epoch = self._epoch
        try:
            await self._barrier()
        except (OSError, TimeoutError):
            safe = [request for request in self._requests if request[1] in self._safe]
            self._log.write("dropped", port=self.name, n=len(self._requests) - len(safe), why="it does not answer")
            self._requests = collections.deque(safe)
        finally:
            if self._epoch == epoch:
                self._give_back()

    async def _look(self) -> None:
        """Before a command is refused: what it depends on may have changed since it was read."""
        epoch = self._epoch
        try:
            await self._interlocks.look(self.name)
        finally:
            if self._epoch == epoch:
                self._give_back()

    async def ask(self, check: Check) -> float:
        """Make a check between two transactions of the engine. Raises OSError, TimeoutError, ValueError."""
        epoch = self._epoch
        await self.ensure_open()
        return await self._own(lambda: self._question(check), epoch)

    async def kick(self, message: Any) -> None:
        """Say something, and take its answer. Raises OSError, TimeoutError."""
        epoch = self._epoch
        await self.ensure_open()

        async def transaction() -> float:
            await self._say(bytes.fromhex(message))
            return 0.0

        await self._own(transaction, epoch)

    # the guard's own words

    async def bring_about(self, action: Action, sent: asyncio.Event) -> None:
        """Send an action at once, then again until it is seen twice to have worked."""

        async def attempt() -> None:
            if self._playing:
                await self._at_once(action, sent)
            else:
                await self._own(lambda: self._attempt(action, sent), self._epoch, cleared=False)

        await until_seen(attempt, lambda why: self._log.write("again", port=self.name, action=action["name"], why=why))

    async def _at_once(self, action: Action, sent: asyncio.Event) -> None:
        """The lease has just been lost, so that the turn is ours; all may be over before this is."""
        self._attempting = self._in_doubt = True
        try:
            await self._attempt(action, sent)
        finally:
            self._attempting = False
            if not self._playing:
                self._give_back()

    async def _attempt(self, action: Action, sent: asyncio.Event) -> float:
        await self.ensure_open()
        if self._half_duplex:
            await self._line_free()
        for message in action["send"]:
            await self._say(bytes.fromhex(message), awaited=self._half_duplex)
        sent.set()
        if not self._half_duplex:
            await self._barrier()
        for _ in range(2):  # one stale answer that happens to fit does not confirm
            for check in action["seen"]:
                if not holds(value := await self._question(check), check):
                    raise NotSeen(f"{check['name']} is {value:g}")
        if action["send"]:
            self.in_use = False
        return 0.0

    async def _say(self, message: bytes, *, awaited: bool = True) -> None:
        self._replies.clear()
        self._write(message)
        if awaited and self._words.is_answered(message):
            self._asked = now()
            await self._reply()

    async def _question(self, check: Check) -> float:
        if self._half_duplex and self._playing:
            await asyncio.sleep(BETWEEN_FRAMES_S)
        self._write(bytes.fromhex(check["ask"]))
        self._asked = now()
        return self._words.number(await self._reply(), check)

    async def _reply(self) -> bytes:
        epoch = self._epoch
        async with asyncio.timeout(self.specification["reply_s"]):
            while (reply := self._words.take_reply(self._replies)) is None:
                if self._instrument is None:
                    raise OSError("the instrument is lost")
                self._heard.clear()
                await self._heard.wait()
                if self._epoch != epoch:
                    raise Abandoned("the lease was lost")
        self._asked = 0.0
        return reply

    async def _quiet(self) -> None:
        """Wait until the line is silent, and forget what it said."""
        end = now() + self.specification["reply_s"]
        while now() < end:
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), SILENCE_S)
            except TimeoutError:
                break
        self._replies.clear()

    async def _barrier(self) -> None:
        """Answers that come before the identity belong to somebody else's questions."""
        await self._quiet()
        identity = self.specification["identity"]
        if identity is not None:
            in_vain, self._asked_in_vain = self._asked_in_vain, True
            self._write(bytes.fromhex(identity["ask"]))
            while not re.search(identity["expect"], (await self._reply()).decode("latin-1")):
                pass
            if in_vain:  # that may have been the answer to an earlier time, and this one's still to come
                await self._quiet()
            self._asked_in_vain = False
        self._in_doubt = False

    async def _line_free(self) -> None:
        """Half duplex: let the answer come that is under way, and throw it away."""
        end = self._asked + OPEN_REPLY_S
        while self._asked and now() < end and self._words.take_reply(self._replies) is None:
            self._heard.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), max(BETWEEN_FRAMES_S, end - now()))
        self._asked = 0.0
        await asyncio.sleep(BETWEEN_FRAMES_S)
        self._replies.clear()
