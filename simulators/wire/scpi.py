"""Instruments that speak SCPI: declared commands, chained messages, error queue and status (IEEE 488.2-1992, SCPI-99).

Left out: arbitrary blocks as arguments, expressions and channel lists, non-decimal numbers, unit suffixes, and the
questionable/operation register sets beyond `:STATus:PRESet` and the error queue.
"""

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar, overload

from ..clock import Clock
from .scpi_grammar import Number, Parameter, ScpiError, headers, parse_unit, split

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
T = TypeVar("T")

OPERATION_COMPLETE, QUERY_ERROR, DEVICE_ERROR, EXECUTION_ERROR, COMMAND_ERROR, POWER_ON = 1, 4, 8, 16, 32, 128
ERROR_AVAILABLE, MESSAGE_AVAILABLE, EVENT_SUMMARY, MASTER_SUMMARY = 4, 16, 32, 64
QUEUE_LENGTH = 10
BYTE = Number(0, 255, 0, integer=True)


def command(pattern: str, *parameters: Parameter) -> Callable[[H], H]:
    """Declare a method as the action of `pattern`; it is called with the parsed arguments."""
    return _declare(pattern, parameters)


def query(pattern: str, *parameters: Parameter) -> Callable[[H], H]:
    """Declare a method (plain or async) as the answer to `pattern` with a question mark; it returns text or a block."""
    return _declare(pattern + "?", parameters)


def listed(pattern: str) -> Callable[[H], H]:
    """Declare a method that takes its arguments as they come, in text; the pattern of a question has its mark."""
    return _declare(pattern, None)


def _declare(pattern: str, parameters: tuple[Parameter, ...] | None) -> Callable[[H], H]:
    def declare(method: H) -> H:
        declared = [*getattr(method, "scpi", ()), (pattern, parameters)]
        method.scpi = declared  # type: ignore[attr-defined]
        return method

    return declare


class Setting(Generic[T]):
    """A value that one command sets and its query returns; `*RST` brings back the default."""

    def __init__(self, pattern: str, parameter: Parameter, default: T) -> None:
        self.pattern, self.parameter, self.default = pattern, parameter, default
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Setting[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> "Setting[T] | T":
        if instance is None:
            return self
        value: T = instance.__dict__.setdefault(self._name, self.default)
        return value

    def __set__(self, instance: object, value: T) -> None:
        instance.__dict__[self._name] = value

    def answer(self, instance: object, *arguments: str) -> str:
        """The reply to the query; `MIN`, `MAX` or `DEF` ask for the limits instead."""
        if not arguments:
            return self.parameter.format(self.__get__(instance, type(instance)))
        if len(arguments) > 1 or not isinstance(self.parameter, Number) or not arguments[0].isalpha():
            raise ScpiError(-108)
        return self.parameter.format(self.parameter.parse(arguments[0]))


class ScpiInstrument:
    """The base of simulated SCPI instruments: a subclass declares its commands and its identity.

    Messages end in a line feed, a carriage return or both; replies end in `reply_terminator`.
    """

    identity: ClassVar[str] = "MEGABAR,SCPI INSTRUMENT,0,0"
    message_limit: ClassVar[int] = 2048
    silence_characters: float = 0.0

    _table: ClassVar[dict[str, tuple[Handler, tuple[Parameter, ...] | None]]] = {}
    _settings: ClassVar[dict[str, Setting[Any]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._table, cls._settings = {}, {}
        for name in dir(cls):
            member = inspect.getattr_static(cls, name)
            if isinstance(member, Setting):
                cls._settings[name] = member
                cls._declare_setting(name, member)
            for pattern, parameters in getattr(member, "scpi", ()):
                mark = "?" if pattern.endswith("?") else ""
                cls._table.update({header + mark: (member, parameters) for header in headers(pattern.rstrip("?"))})

    @classmethod
    def _declare_setting(cls, name: str, setting: Setting[Any]) -> None:
        def assign(instance: object, value: Any) -> None:
            setattr(instance, name, value)

        for header in headers(setting.pattern):
            cls._table[header] = (assign, (setting.parameter,))
            cls._table[header + "?"] = (setting.answer, None)

    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        latency_s: float,
        wire: str = "tcp",
        baud: int = 9600,
        reply_terminator: str = "\n",
    ) -> None:
        self.wire = wire
        self.baud = baud
        self.name = name
        self.clock = clock
        self.latency_s = latency_s
        self._terminator = reply_terminator.encode("ascii")
        self._errors: deque[str] = deque()
        self._events = POWER_ON
        self._event_enable = self._service_enable = 0
        self._overrun = False
        self._answers: list[bytes] = []

    def take_message(self, buffer: bytearray) -> bytes | None:
        """One message without its terminator; an endless one is thrown away up to its end, with an error."""
        while True:
            ends = [end for end in (buffer.find(b"\n"), buffer.find(b"\r")) if end >= 0]
            if not ends and len(buffer) <= self.message_limit:
                return None
            message = bytes(buffer[: min(ends, default=len(buffer))])
            del buffer[: len(message) + bool(ends)]
            too_long = self._overrun or len(message) > self.message_limit
            if too_long and not self._overrun:
                self.fail(ScpiError(-363))
            self._overrun = too_long and not ends
            if message.strip() and not too_long:
                return message

    async def reply(self, message: bytes) -> bytes:
        """The answers to one message, on one line."""
        if not message.isascii():
            self.fail(ScpiError(-101))
            return b""
        answers = await self._carry_out(message.decode("ascii"))
        return b";".join(answers) + self._terminator if answers else b""

    async def execute(self, message: str) -> str | None:
        """The answers as text, without a terminator; None when nothing was asked."""
        answers = await self._carry_out(message)
        return b";".join(answers).decode("ascii") if answers else None

    async def _carry_out(self, message: str) -> list[bytes]:
        """Act on the units of a message in order; its answers.

        After a unit that cannot be understood the rest of the message is not executed; after one that cannot be
        carried out it is.
        """
        self._answers, path = [], ""
        try:
            for text in split(message, ";"):
                if text.strip():
                    path = await self._unit(text, path)
        except ScpiError as error:
            self.fail(error)
        return self._answers

    async def _unit(self, text: str, path: str) -> str:
        """Execute one unit; the header path for the next (IEEE 488.2 appendix A, SCPI-99 section 6.2.4)."""
        unit = parse_unit(text)
        header, common = unit.header, unit.header.startswith("*")
        if not common:
            header = header.removeprefix(":") if header.startswith(":") or not path else f"{path}:{header}"
        entry = self._table.get(header + ("?" if unit.query else ""))
        if entry is None:
            raise ScpiError(-113)
        try:
            await self._call(*entry, unit.arguments)
        except ScpiError as error:
            if error.code > -200:
                raise
            self.fail(error)
        return path if common else header.rpartition(":")[0]

    async def _call(
        self, handler: Handler, parameters: tuple[Parameter, ...] | None, arguments: tuple[str, ...]
    ) -> None:
        values: tuple[Any, ...] = arguments
        if parameters is not None:
            if len(arguments) != len(parameters):
                raise ScpiError(-109 if len(arguments) < len(parameters) else -108)
            if not all(arguments):
                raise ScpiError(-109)
            values = tuple(parameter.parse(text) for parameter, text in zip(parameters, arguments, strict=True))
        answer = handler(self, *values)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is not None:
            self._answers.append(answer if isinstance(answer, bytes) else answer.encode("ascii"))

    def fail(self, error: ScpiError) -> None:
        """Put an error into the queue and its class into the event register."""
        classes = {1: COMMAND_ERROR, 2: EXECUTION_ERROR, 3: DEVICE_ERROR, 4: QUERY_ERROR}
        self._events |= classes[-error.code // 100]
        if len(self._errors) >= QUEUE_LENGTH:
            self._errors[-1] = str(ScpiError(-350))
        else:
            self._errors.append(str(error))

    def reset(self) -> None:
        """What `*RST` does besides the settings."""

    @query("*IDN")
    def _identify(self) -> str:
        return self.identity

    @command("*RST")
    def _reset(self) -> None:
        for name, setting in self._settings.items():
            setattr(self, name, setting.default)
        self.reset()

    @command("*CLS")
    def _clear_status(self) -> None:
        self._errors.clear()
        self._events = 0

    @command(":STATus:QUEue:CLEar")
    def _clear_queue(self) -> None:
        self._errors.clear()

    @command(":STATus:PRESet")
    def _preset_status(self) -> None:
        """The register sets it presets are not modelled."""

    @query(":SYSTem:ERRor[:NEXT]")
    @query(":STATus:QUEue[:NEXT]")
    def _next_error(self) -> str:
        return self._errors.popleft() if self._errors else '0,"No error"'

    @query("*ESR")
    def _read_events(self) -> str:
        events, self._events = self._events, 0
        return str(events)

    @command("*ESE", BYTE)
    def _enable_events(self, mask: float) -> None:
        self._event_enable = int(mask)

    @query("*ESE")
    def _enabled_events(self) -> str:
        return str(self._event_enable)

    @command("*SRE", BYTE)
    def _enable_service(self, mask: float) -> None:
        self._service_enable = int(mask) & ~MASTER_SUMMARY

    @query("*SRE")
    def _enabled_service(self) -> str:
        return str(self._service_enable)

    @query("*STB")
    def _status_byte(self) -> str:
        status = ERROR_AVAILABLE if self._errors else 0
        status |= MESSAGE_AVAILABLE if self._answers else 0
        status |= EVENT_SUMMARY if self._events & self._event_enable else 0
        return str(status | (MASTER_SUMMARY if status & self._service_enable else 0))

    @command("*OPC")
    def _mark_complete(self) -> None:
        self._events |= OPERATION_COMPLETE

    @query("*OPC")
    def _complete(self) -> str:
        return "1"

    @query("*TST")
    def _self_test(self) -> str:
        return "0"

    @command("*WAI")
    def _wait(self) -> None:
        """Commands are carried out one after another in any case."""
