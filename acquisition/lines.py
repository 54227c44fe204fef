"""The format of the journal: one document per line, sealed with a checksum, in strict JSON.

A line is `crc32 json` and a newline: eight lower-case hexadecimal digits, a space, one JSON object in ASCII. What JSON
cannot say is an object with one reserved key: `{"$float": "nan"}` (or `inf`, `-inf`), `{"$array": [...], "dtype": ...,
"shape": ...}` for a small array, `{"$base64": "...", "dtype": ..., "shape": ...}` for a longer one. A key of the
document itself that begins with `$` is written with one more `$`.
"""

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

JOURNAL = "run.journal"
"""Name of the journal inside the folder of a run."""
FRAMES = "frames"
"""Name of the folder of large arrays beside the journal."""
READABLE_BYTES = 1024
"""Arrays up to this size are written as numbers that a person can read."""
DEEPEST = 32
"""Documents nested deeper than this are refused; a structure that contains itself is one of them."""
ACCEPTED = "text, numbers, booleans, None, lists, mappings with text keys and arrays of numbers are accepted"

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_AS_THEY_ARE = frozenset((str, int, bool, type(None)))
_STRICT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Stored:
    """A large array in one of the files of frames, and what its chunk there must add up to."""

    file: str
    index: int
    dtype: str
    shape: tuple[int, ...]
    crc32: int

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return int(np.dtype(self.dtype).itemsize) * math.prod(self.shape)


class Unwritable(ValueError):
    """A value that the journal cannot hold; the message names the path of keys that leads to it."""

    def __init__(self, reason: str, keys: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys = list(reversed(keys))  # from the innermost outward, as it travels

    def __str__(self) -> str:
        path = ".".join(key if key.isprintable() else ascii(key) for key in reversed(self.keys))
        return f"{path or 'document'} {self.reason}"


def encode(value: Any, depth: int = 0) -> Any:
    """The value in terms of JSON.

    Raises Unwritable, naming the key, for anything that could not be read back: sets, bytes, objects, keys that are no
    text.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, float | np.floating):
        return _encode_float(float(value))
    if depth > DEEPEST:
        raise Unwritable(f"is nested more than {DEEPEST} deep; a flatter structure is needed")
    if isinstance(value, Mapping):
        return {_key(name): _inside(item, name, depth) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_inside(item, index, depth) for index, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    return _encode_scalar(value)


def _inside(item: Any, name: Any, depth: int) -> Any:
    kind = type(item)
    if kind in _AS_THEY_ARE:
        return item
    if kind is float:
        return _encode_float(item)
    try:
        return encode(item, depth + 1)
    except Unwritable as error:
        error.keys.append(str(name))
        raise


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise Unwritable(f"has the key {name!a:.40}, a {type(name).__name__}; keys must be text")
    return f"${name}" if name.startswith("$") else name


def _encode_float(value: float) -> float | dict[str, str]:
    if math.isfinite(value):
        return value
    return {"$float": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}


def _encode_scalar(value: Any) -> str | int | bool:
    if isinstance(value, str):
        return str.__str__(value)  # enumerations of text say their value, not their name
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    raise Unwritable(f"is a {type(value).__name__}; {ACCEPTED}")


def _encode_array(array: np.ndarray) -> dict[str, Any]:
    if array.dtype.kind not in "biufcU":
        raise Unwritable(f"is an array of {array.dtype}; {ACCEPTED}")
    exact_as_text = array.dtype.kind in "biuU" or array.dtype in (np.float16, np.float32, np.float64)
    form = {"dtype": array.dtype.str, "shape": list(array.shape)}
    if array.nbytes > READABLE_BYTES or not exact_as_text:
        return {"$base64": base64.b64encode(array.tobytes()).decode("ascii"), **form}
    return {"$array": encode(array.tolist()), **form}


def decode(text: bytes) -> Any:
    """What `encode` was given, from its JSON.

    Raises ValueError when the text is not strict JSON.
    """
    if b'"$' not in text:
        return _PLAIN.decode(text.decode("ascii"))

    def hook(items: dict[str, Any]) -> Any:
        if "$float" in items:
            return _FLOATS[items["$float"]]
        if "$array" in items:
            return np.array(items["$array"], dtype=items["dtype"]).reshape(items["shape"])
        if "$base64" in items:
            raw = base64.b64decode(items["$base64"], validate=True)
            return np.frombuffer(raw, dtype=items["dtype"]).reshape(items["shape"])
        return {_unescaped(name): item for name, item in items.items()}

    return json.loads(text, object_hook=hook, parse_constant=_refuse)


def _unescaped(name: str) -> str:
    if not name.startswith("$"):
        return name
    if not name.startswith("$$"):
        raise ValueError(f"has the form {name!a}, which this version does not know")
    return name[1:]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_PLAIN = json.JSONDecoder(parse_constant=_refuse)


def seal(value: Any) -> bytes:
    """One line of the journal: the checksum, the value in strict JSON, a newline."""
    text = _STRICT.encode(value).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def unseal(line: bytes) -> bytes | None:
    """The JSON of one line without its newline, or None when a single bit of it is wrong."""
    # The digits are compared as bytes: read as a number, "A" and "a" would be the same and a flipped bit would pass.
    return line[9:] if line[:9] == b"%08x " % zlib.crc32(line[9:]) else None
