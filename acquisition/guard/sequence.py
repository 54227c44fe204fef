"""The safe sequence: each port goes its way, the worst hazard first; one that fails or hangs keeps no other waiting."""

import asyncio
from collections.abc import Mapping
from typing import Any

from .log import Log, now
from .port import Port
from .specification import Action, Way
from .words import holds

NEXT_STAGE_S = 0.05
"""How long a step that hangs holds up the stage after it."""
AGAIN_S = 1.0
"""How often a step that was not confirmed is tried again, and one that was is looked at again."""

CONFIRMED, UNCONFIRMED, HELD, UNDER_WAY = "CONFIRMED", "UNCONFIRMED", "HELD", "UNDER WAY"


class Sequence:
    """Brings ports to safety, and keeps at it until each one is confirmed."""

    def __init__(self, ports: Mapping[str, Port], log: Log) -> None:
        self.ports, self._log = ports, log
        self.report: dict[str, str] = {}
        """By `port: action`: CONFIRMED, UNCONFIRMED, HELD (a grace runs), UNDER WAY (it takes its declared time)."""
        self.held_until: dict[str, float] = {}
        """Ports that are only held, and until when."""
        self.seen: list[tuple[float, str, float]] = []
        """What was read of them since then: when, `port.reading`, value."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def confirmed(self) -> bool:
        """Whether every step of every port has been seen to have worked."""
        return all(result == CONFIRMED for result in self.report.values())

    @property
    def over(self) -> bool:
        """Whether nothing is left to be done."""
        return self.confirmed and not self.held_until

    def abandon(self) -> None:
        """An engine has taken over: stop looking after the ports."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self.held_until.clear()

    async def play(self, ways: Mapping[str, str]) -> None:
        """Every port its way; returns when each first step has been confirmed, or its time is over."""
        self.abandon()
        begun = now()
        self.report = {
            f"{port}: {action['name']}": UNCONFIRMED
            for port, way in ways.items()
            for action in self._way(port, way)["actions"]
        }
        stages = sorted({self.ports[name].specification["stage"] for name in ways})
        first_steps = []
        for stage in stages:
            sent = []
            for name, way in ways.items():
                if self.ports[name].specification["stage"] == stage:
                    first_sent, first_done = asyncio.Event(), asyncio.Event()
                    self._start(self._go(name, self._way(name, way), begun, first_sent, first_done))
                    sent.append(asyncio.ensure_future(first_sent.wait()))
                    first_steps.append(asyncio.ensure_future(first_done.wait()))
            await asyncio.wait(sent, timeout=NEXT_STAGE_S)
        await asyncio.wait(first_steps)

    def _way(self, port: str, way: str) -> Way:
        return self.ports[port].specification["ways"][way]

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go(
        self, name: str, way: Way, begun: float, first_sent: asyncio.Event, first_done: asyncio.Event
    ) -> None:
        try:
            for action in way["actions"]:
                confirmed = await self._step(name, action, begun, first_sent, first_done)
                if not confirmed and way["otherwise"]:
                    await self._otherwise(name, way, f"not confirmed: {action['name']}")
                    return
        finally:
            first_sent.set()
            first_done.set()
        if way["grace_s"]:
            await self._hold(name, way)
        else:
            await self._look_after(name, way)

    async def _step(
        self, name: str, action: Action, begun: float, first_sent: asyncio.Event, first_done: asyncio.Event
    ) -> bool:
        what = f"{name}: {action['name']}"
        try:
            async with asyncio.timeout(action["within_s"]):
                await self.ports[name].bring_about(action, first_sent)
            self.report[what] = CONFIRMED
        except TimeoutError:
            self.report[what] = UNCONFIRMED
        self._log.write("step", step=what, result=self.report[what], after_s=now() - begun)
        first_done.set()
        return self.report[what] == CONFIRMED

    async def _hold(self, name: str, way: Way) -> None:
        """Watch over a port that is left as it is; when its grace is over, or it strays, it goes its other way."""
        if not self.held_until:
            self.seen.clear()
        self.held_until[name] = now() + way["grace_s"]
        for action in way["actions"]:
            self.report[f"{name}: {action['name']}"] = HELD
        self._log.write("held", port=name, for_s=way["grace_s"])
        why = ""
        while not why:
            await asyncio.sleep(min(AGAIN_S, way["grace_s"] / 10))
            why = "the grace is over" if now() > self.held_until[name] else await self._astray(name, way)
        del self.held_until[name]
        await self._otherwise(name, way, why)

    async def _otherwise(self, name: str, way: Way, why: str) -> None:
        for action in way["actions"]:
            del self.report[f"{name}: {action['name']}"]
        other = self._way(name, way["otherwise"])
        self.report |= {f"{name}: {action['name']}": UNDER_WAY for action in other["actions"]}
        self._log.write("goes another way", port=name, way=way["otherwise"], why=why)
        await self._go(name, other, now(), asyncio.Event(), asyncio.Event())

    async def _astray(self, name: str, way: Way) -> str:
        """What is not as it should be; a question that fails is asked three times."""
        reason = ""
        for action in way["actions"]:
            for check in action["seen"]:
                for _ in range(3):
                    try:
                        value = await self.ports[name].ask(check)
                        if name in self.held_until:
                            self.seen.append((now(), f"{name}.{check['name']}", value))
                        reason = "" if holds(value, check) else f"{check['name']} is {value:g}"
                        break
                    except (OSError, ValueError, TimeoutError) as error:
                        reason = f"{check['name']}: {error}"
                if reason:
                    return reason
        return ""

    async def _look_after(self, name: str, way: Way) -> None:
        """Try again what is not confirmed, and look again at what was; without end."""
        while True:
            await asyncio.sleep(AGAIN_S)
            if astray := await self._astray(name, {**way, "actions": way["actions"][-1:]}):
                self._log.write("not safe", port=name, why=astray)
                self.report |= {f"{name}: {action['name']}": UNCONFIRMED for action in way["actions"]}
            for action in way["actions"]:
                what = f"{name}: {action['name']}"
                if self.report[what] != CONFIRMED:
                    await self._step(name, action, now(), asyncio.Event(), asyncio.Event())
