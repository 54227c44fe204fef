"""Faults of the line: what can happen to the bytes of a reply between an instrument and its reader."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..noise import Noise

KINDS: Final = ("delay", "drop", "truncate", "garble", "split", "merge", "disconnect")
SELECTORS: Final = ("at", "every", "probability")
OPTIONS: Final[Mapping[str, Mapping[str, float]]] = {
    "delay": {"seconds": 1.0},
    "split": {"seconds": 0.1},
    "truncate": {"bytes": 0},
    "garble": {"bytes": 1},
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that leave together, `wait_s` seconds after what went before."""

    wait_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of fault and the replies it befalls (numbered from 1)."""

    kind: str
    at: frozenset[int] = frozenset()
    every: int = 0
    probability: float = 0.0
    seconds: float = 0.0
    bytes: int = 0

    def selects(self, number: int, chance: float) -> bool:
        """Whether reply `number` is hit; `chance` is a uniform number in [0, 1)."""
        return number in self.at or (self.every > 0 and number % self.every == 0) or chance < self.probability


class Faults:
    """Scripted or random faults on the replies of one instrument; the first rule that selects a reply is applied.

    A rule is a mapping with `kind` and one of `at` (a list of reply numbers from 1), `every` (each k-th reply) or
    `probability` (drawn from the instrument's noise). Kinds: `delay` by `seconds` (default 1); `drop`; `truncate`
    to the first `bytes` (default half); `garble`, which changes `bytes` of them (default 1); `split` into two
    segments `seconds` apart (default 0.1); `merge` with the next reply in one segment; `disconnect`, which closes the
    connection instead of replying and counts commands, whether or not they have a reply.

    Raises ValueError for a rule that cannot be understood.
    """

    def __init__(self, rules: Iterable[Mapping[str, Any]] = (), noise: Noise | None = None) -> None:
        self.rules = tuple(_rule(entry) for entry in rules)
        self._noise = noise
        if noise is None and any(rule.probability or rule.kind == "garble" for rule in self.rules):
            raise ValueError("faults: rules with a probability, and garble, need a noise to draw from")
        self._n_commands = 0
        self._n_replies = 0
        self._held = b""

    def disconnects(self) -> bool:
        """Count one command; whether the connection is closed instead of a reply."""
        self._n_commands += 1
        return self._select(self._n_commands, disconnect=True) is not None

    def pieces(self, reply: bytes) -> list[Piece]:
        """What becomes of the next reply: the segments that leave the instrument, and when."""
        self._n_replies += 1
        held, self._held = self._held, b""
        rule = self._select(self._n_replies, disconnect=False)
        if rule is None:
            return [Piece(0.0, held + reply)]
        pieces = self._apply(rule, reply)
        return [Piece(0.0, held), *pieces] if held else pieces

    def _select(self, number: int, *, disconnect: bool) -> Rule | None:
        for index, rule in enumerate(self.rules):
            if (rule.kind == "disconnect") is disconnect and rule.selects(number, self._chance(index, rule, number)):
                return rule
        return None

    def _chance(self, index: int, rule: Rule, number: int) -> float:
        if not rule.probability or self._noise is None:
            return 1.0
        return float(self._noise.generator(f"fault {index} {number}").random())

    def _apply(self, rule: Rule, reply: bytes) -> list[Piece]:
        middle = len(reply) // 2
        match rule.kind:
            case "delay":
                return [Piece(rule.seconds, reply)]
            case "truncate":
                return [Piece(0.0, reply[: rule.bytes or middle])]
            case "garble":
                return [Piece(0.0, self._garbled(reply, rule.bytes))]
            case "split":
                return [Piece(0.0, reply[:middle]), Piece(rule.seconds, reply[middle:])]
            case "merge":
                self._held = reply
        return []

    def _garbled(self, reply: bytes, n_bytes: int) -> bytes:
        assert self._noise is not None
        generator = self._noise.generator(f"garble {self._n_replies}")
        changed = bytearray(reply)
        for position in generator.choice(len(changed), size=min(n_bytes, len(changed)), replace=False):
            changed[position] ^= int(generator.integers(1, 256))  # never zero: a garbled byte differs
        return bytes(changed)


def _rule(entry: Mapping[str, Any]) -> Rule:
    kind = entry.get("kind")
    if kind not in KINDS:
        raise ValueError(f"faults: kind {kind!r} is unknown; accepted: {', '.join(KINDS)}")
    options = OPTIONS.get(kind, {})
    unknown = sorted(set(entry) - {"kind", *SELECTORS, *options})
    if unknown:
        raise ValueError(f"faults: {kind} has no {', '.join(unknown)}; accepted: {', '.join((*SELECTORS, *options))}")
    if sum(selector in entry for selector in SELECTORS) != 1:
        raise ValueError(f"faults: {kind} needs exactly one of {', '.join(SELECTORS)}")
    values = {option: _amount(kind, option, entry.get(option, default)) for option, default in options.items()}
    return Rule(kind, **_selector(kind, entry), **values)


def _selector(kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if "at" in entry:
        numbers = entry["at"] if isinstance(entry["at"], Sequence) else [entry["at"]]
        if not all(isinstance(number, int) and number > 0 for number in numbers):
            raise ValueError(f"faults: {kind} at {entry['at']!r}; accepted: whole numbers from 1")
        return {"at": frozenset(numbers)}
    if "every" in entry:
        if not isinstance(entry["every"], int) or entry["every"] < 1:
            raise ValueError(f"faults: {kind} every {entry['every']!r}; accepted: a whole number from 1")
        return {"every": entry["every"]}
    probability = entry["probability"]
    if not isinstance(probability, int | float) or not 0 < probability <= 1:
        raise ValueError(f"faults: {kind} with probability {probability!r}; accepted: above 0, at most 1")
    return {"probability": float(probability)}


def _amount(kind: str, option: str, value: Any) -> Any:
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"faults: {kind} with {option} = {value!r}; accepted: a number from 0")
    return int(value) if option == "bytes" else float(value)
