"""How a Druck PACE is spoken to: replies that repeat a header, and an error queue."""

import re
from typing import Any

from ..errors import GarbledReply, Refused
from ..visa import MessageLink

NUMBER = r"([-+]?\d+(?:\.\d*)?)"
ERRORS = ":SYST:ERR?"
QUEUE_LENGTH = 5


def parse_number(reply: str) -> float:
    """A plain decimal number. Raises ValueError for any other text."""
    if not re.fullmatch(NUMBER, reply, re.ASCII):
        raise ValueError("not a plain decimal number")
    return float(reply)


def parse_in_limits(reply: str) -> int:
    """The flag in a reply such as `12.3450000, 1`. Raises ValueError for any other text."""
    found = re.fullmatch(NUMBER + r", ?([01])", reply, re.ASCII)
    if found is None:
        raise ValueError("not a pressure and a flag")
    return int(found[2])


def parse_digit(reply: str) -> int:
    """A state of one digit. Raises ValueError for any other text."""
    if not re.fullmatch(r"\d", reply, re.ASCII):
        raise ValueError("not a digit")
    return int(reply)


def parse_mode(reply: str) -> int:
    """1 where the slew is linear, 0 where it is as fast as can be. Raises ValueError for any other text."""
    return {"LIN": 1, "MAX": 0}.get(reply, -1)


def parse_bar(reply: str) -> int:
    """1 for `BAR`. Raises ValueError for another unit: all numbers would be others."""
    if reply != "BAR":
        raise ValueError("accepted is BAR; select it at the instrument")
    return 1


class PACELink(MessageLink):
    """A reply repeats the header of its question; one that repeats another is garbled.

    Over TCP messages end in CR LF, on the serial line in CR, where a NUL comes before each reply. A command is not
    answered: what the error queue says after it becomes Refused.
    """

    terminator = b"\r\n"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self._is_socket:
            self.terminator = b"\r"

    def assign(self, command: str, value: Any) -> None:
        """Send `command`, a format string, with `value` filled in. Raises Refused, LinkError."""
        self._errors()  # of others
        self.tell(command, value)
        if told := self._errors():
            raise Refused(f"{self.name}: {command.format(value)!r} was answered by {', '.join(told)[:160]}")

    def tell(self, command: str, value: Any) -> None:
        """As `assign`, without asking what became of it."""
        self.write(command.format(value))

    def _errors(self) -> list[str]:
        """What is in the error queue, which is empty then. Raises GarbledReply, LinkError."""
        told: list[str] = []
        while len(told) <= QUEUE_LENGTH:
            entry = self.query(ERRORS)
            found = re.match(r"([-+]?\d+) ?,", entry, re.ASCII)
            if found is None:
                raise GarbledReply(f"{self.name}: {entry[:60]!r} is no entry of an error queue")
            if int(found[1]) == 0:
                break
            told.append(entry)
        return told

    def _exchange(self, message: str) -> str:
        reply = super()._exchange(message).lstrip("\0")
        header = message.removesuffix("?") + " "
        if not reply.startswith(header):
            self.dirty = True
            raise GarbledReply(f"{self.name}: {message!r} was answered by {reply[:80]!r}")
        return reply.removeprefix(header).strip()
