"""The grammar of program messages: headers, units, arguments (SCPI-99 volume 1; IEEE 488.2-1992 chapter 7)."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

ERRORS: Final = {
    -101: "Invalid character",
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -151: "Invalid string data",
    -200: "Execution error",
    -221: "Settings conflict",
    -222: "Parameter data out of range",
    -224: "Illegal parameter value",
    -230: "Data corrupt or stale",
    -241: "Hardware missing",
    -350: "Queue overflow",
    -363: "Input buffer overrun",
}

_NODE = re.compile(r"\[:?([A-Za-z]+\d*)\]|:?([A-Za-z]+\d*)")
_UNIT = re.compile(r"(\*[A-Za-z]+|:?[A-Za-z]\w*(?::[A-Za-z]\w*)*)\s*(\?)?(?:(?:\s+|(?<=\?))(\S.*))?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class ScpiError(Exception):
    """An entry for the error queue."""

    def __init__(self, code: int) -> None:
        super().__init__(f'{code},"{ERRORS[code]}"')
        self.code = code


@dataclass(frozen=True, slots=True)
class Unit:
    """One program message unit: a header in upper case, whether it asks, and its arguments."""

    header: str
    query: bool
    arguments: tuple[str, ...]


def mnemonics(node: str) -> tuple[str, ...]:
    """The accepted forms of one node, in upper case: short (its capitals) and long; a suffix of 1 may be left out.

    Only these: `VOLT` and `VOLTAGE` stand for `VOLTage`, `VOLTA` does not.
    """
    name, suffix = re.fullmatch(r"([A-Za-z]+)(\d*)", node).groups()  # type: ignore[union-attr]
    short = "".join(itertools.takewhile(str.isupper, name))
    forms = dict.fromkeys((short, name.upper()))
    suffixes = (suffix, "") if suffix == "1" else (suffix,)
    return tuple(form + ending for form in forms for ending in suffixes)


def headers(pattern: str) -> Iterator[str]:
    """Every header that `pattern` accepts, as in `[:SENSe]:VOLTage[:DC]:NPLCycles`; without the leading colon."""
    if pattern.startswith("*"):
        yield pattern.upper()
        return
    alternatives: list[tuple[str, ...]] = []
    for optional, required in _NODE.findall(pattern):
        alternatives.append(("", *mnemonics(optional)) if optional else mnemonics(required))
    for nodes in itertools.product(*alternatives):
        yield ":".join(node for node in nodes if node)


def split(text: str, separator: str) -> list[str]:
    """Parts of `text` between separators that are not quoted. Raises ScpiError for a quote that is never closed."""
    parts, start, quote = [], 0, ""
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == separator:
            parts.append(text[start:position])
            start = position + 1
    if quote:
        raise ScpiError(-151)
    return [*parts, text[start:]]


def parse_unit(text: str) -> Unit:
    """Take one unit apart; blanks before the question mark are accepted. Raises ScpiError."""
    match = _UNIT.fullmatch(text.strip())
    if match is None:
        raise ScpiError(-102)
    header, question, rest = match.groups()
    arguments = tuple(argument.strip() for argument in split(rest, ",")) if rest else ()
    return Unit(header.upper(), question is not None, arguments)


class Parameter(Protocol):
    """One argument of a command: how its text becomes a value, and back."""

    def parse(self, text: str) -> Any:
        """The value; raises ScpiError."""
        ...

    def format(self, value: Any) -> str:
        """The reply to the query."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal number between two limits, or MINimum, MAXimum, DEFault."""

    minimum: float
    maximum: float
    default: float
    integer: bool = False

    def parse(self, text: str) -> float:
        """The number. Raises ScpiError -104 for other text, -222 beyond the limits."""
        named = {"MIN": self.minimum, "MAX": self.maximum, "DEF": self.default}
        word = text.upper()
        for long, short in (("MINIMUM", "MIN"), ("MAXIMUM", "MAX"), ("DEFAULT", "DEF")):
            if word in (long, short):
                return named[short]
        if not _NUMBER.fullmatch(text):
            raise ScpiError(-104)
        value = float(text)
        if not self.minimum <= value <= self.maximum:
            raise ScpiError(-222)
        return float(round(value)) if self.integer else value

    def format(self, value: float) -> str:
        """NR1 or NR3 form."""
        return f"{value:.0f}" if self.integer else f"{value:+.8E}"


@dataclass(frozen=True, slots=True)
class Boolean:
    """ON, OFF or a number, of which 0 is off."""

    def parse(self, text: str) -> bool:
        """The state. Raises ScpiError -104."""
        word = text.upper()
        if word in ("ON", "OFF"):
            return word == "ON"
        if not _NUMBER.fullmatch(text):
            raise ScpiError(-104)
        return round(min(abs(float(text)), 1.0)) != 0

    def format(self, value: bool) -> str:
        """1 or 0."""
        return "1" if value else "0"


class Choice:
    """One of several mnemonics, short or long; `quoted` where the value is a header in quotes."""

    def __init__(self, patterns: Sequence[str], *, quoted: bool = False) -> None:
        self._quoted = quoted
        self._values: dict[str, str] = {}
        for pattern in patterns:
            # the value is the short form with every node in it
            value = ":".join(mnemonics(a or b)[0] for a, b in _NODE.findall(pattern))
            self._values.update(dict.fromkeys(headers(pattern), value))

    def parse(self, text: str) -> str:
        """The short form. Raises ScpiError -104 where quotes are missing, -224 for another word."""
        if self._quoted:
            if text[0] not in "\"'" or text[0] != text[-1] or len(text) < 2:
                raise ScpiError(-104)
            text = text[1:-1]
        value = self._values.get(text.upper().removeprefix(":"))
        if value is None:
            raise ScpiError(-224)
        return value

    def format(self, value: str) -> str:
        """The short form, in quotes where it was set in quotes."""
        return f'"{value}"' if self._quoted else value


def block(data: bytes) -> bytes:
    """A definite-length block (IEEE 488.2-1992, 8.7.9): `#`, how many digits, the length in digits, the bytes."""
    length = b"%d" % len(data)
    return b"#%d%b%b" % (len(length), length, data)
