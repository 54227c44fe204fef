"""A port under EPICS: nothing can be put into its wire, so the guard holds a circuit of its own beside the engine's."""

import asyncio
from collections.abc import Callable
from typing import Any

from .circuit import Circuit
from .log import Log
from .port import Interlocks, NotSeen, until_seen
from .specification import Action, Check, PortSpecification
from .words import holds


class EpicsPort:
    """The guard's own circuit to the server of a hazardous device.

    The engine's puts cannot be held back here. The server does that, which sees the guard's beat: it acts when the
    beat stops, and refuses set-points until it comes again.
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
        self._log, self._lost = log, lost
        self._circuit: Circuit | None = None
        self._connecting = asyncio.Lock()
        self._epoch = 0
        self.in_use = True

    async def start(self) -> None:
        """Connect, and find every record that will be needed. Raises OSError, TimeoutError."""
        await self.ensure_open()
        for way in self.specification["ways"].values():
            for action in way["actions"]:
                for check in action["seen"]:
                    await self.ask(check)
        for check in self.specification["watch"]:
            await self.ask(check)

    async def ensure_open(self) -> None:
        """Connect where the circuit is lost. Raises OSError, TimeoutError."""
        async with self._connecting:
            if self._circuit is None or self._circuit.closed:
                _, host, port = self.specification["address"]
                self._circuit = await Circuit.open(host, port, self._circuit_lost)

    def open_to_engine(self) -> None:
        """The beat says it."""

    def shut(self) -> None:
        """The beat stops, also one that is under way."""
        self._epoch += 1

    def leave(self) -> None:
        """Nothing was held back."""

    async def ask(self, check: Check) -> float:
        """The value of a record; of an enum its number. Raises OSError, TimeoutError, ValueError."""
        await self.ensure_open()
        return await self._opened().get(check["ask"][0])

    async def kick(self, message: Any) -> None:
        """Beat. Raises OSError, TimeoutError."""
        epoch = self._epoch
        await self.ensure_open()
        if self._epoch == epoch:
            await self._opened().put(*message)

    async def bring_about(self, action: Action, sent: asyncio.Event) -> None:
        """Put, and put again until it is seen to have worked."""

        async def attempt() -> None:
            await self.ensure_open()
            for message in action["send"]:
                await self._opened().put(*message)
            sent.set()
            for check in action["seen"]:
                if not holds(value := await self.ask(check), check):
                    raise NotSeen(f"{check['name']} is {value:g}")

        await until_seen(attempt, lambda why: self._log.write("again", port=self.name, action=action["name"], why=why))

    def _opened(self) -> Circuit:
        if self._circuit is None:
            raise OSError(f"{self.name} is not connected")
        return self._circuit

    def _circuit_lost(self) -> None:
        self._lost(f"{self.name}: the EPICS server has gone")
