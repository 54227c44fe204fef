"""Rig files: which instruments there are, how they are reached, what they may do, which role each one fills."""

import difflib
import hashlib
import importlib
import importlib.resources
import itertools
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from .errors import InputError


def _is_number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("a number is accepted")
    return value


LONGEST_STALE_S = 60.0
"""An interlock that is looked at more seldom is none."""

Number = Annotated[float, BeforeValidator(_is_number), AllowInfNan(False)]
Baud = Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400]


class _Table(BaseModel):
    """A table of a rig file: unknown keys are errors, so that a misspelt limit is never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class InstrumentEntry(_Table):
    """One instrument of a rig."""

    device: str = Field(description="device class, package.module:Class")
    address: str | None = Field(None, description="VISA resource, or ca://host:port/PREFIX: for EPICS")
    baud: Baud | None = Field(
        None, description="of its serial line, where that is not the one the instrument comes with"
    )
    limits: dict[str, tuple[Number, Number]] = Field({}, description="lowest and highest set-points; only tighter ones")
    options: dict[str, Any] = Field({}, description="options of the device class")
    hazardous: bool = Field(False, description="a guard owns its port, and makes it safe when the engine is lost")
    on_loss: str | None = Field(
        None, min_length=1, description="the way to safety that is gone when the engine is lost"
    )
    simulated: str | None = Field(None, description="simulated instrument, package.module:Class")
    part: str | None = Field(None, description="part of the world that the simulated instrument has to do with")
    simulated_parameters: dict[str, Any] = {}
    faults: list[dict[str, Any]] = Field([], description="faults on the simulated wire")


class InterlockEntry(_Table):
    """A reading of one guarded instrument on which others depend."""

    reading: str = Field(description="instrument.signal; the instrument is one that is marked hazardous")
    between: tuple[Number, Number] = Field(description="where it must lie, in the unit of the signal")
    every_s: Annotated[Number, Field(gt=0)] = 0.25
    stale_s: Annotated[Number, Field(gt=0, le=LONGEST_STALE_S)] = Field(
        2.0, validate_default=True, description="how old the reading may be"
    )
    instruments: list[str] = Field(
        min_length=1, description="what is not switched on, and is made safe, unless the reading is so"
    )

    @field_validator("between")
    @classmethod
    def _lowest_first(cls, between: tuple[float, float]) -> tuple[float, float]:
        if between[0] > between[1]:
            raise ValueError(f"{between[0]:g}..{between[1]:g} holds no value; accepted is the lowest first")
        return between

    @field_validator("stale_s")
    @classmethod
    def _read_in_time(cls, stale_s: float, others: ValidationInfo) -> float:
        if stale_s <= (every_s := others.data.get("every_s", 0.0)):
            raise ValueError(f"{stale_s:g} is over before the next reading, after every_s = {every_s:g}")
        return stale_s


class WorldEntry(_Table):
    """The physics that the simulated instruments share."""

    model: str = Field(description="world class, package.module:Class")
    parameters: dict[str, Any] = {}


class RigFile(_Table):
    """The content of a rig file."""

    title: str
    instruments: dict[str, InstrumentEntry]
    roles: dict[str, str] = Field({}, description="role of an experiment: instrument that fills it")
    interlocks: list[InterlockEntry] = []
    world: WorldEntry | None = None


class Rig:
    """A rig file that was read and checked."""

    def __init__(self, name: str, text: str, content: RigFile) -> None:
        self.name = name
        self.text = text
        self.content = content
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()

    def instrument_for(self, role: str) -> str:
        """The name of the instrument that fills a role. Raises InputError."""
        name = self.content.roles.get(role, role)
        if name not in self.content.instruments:
            known = ", ".join(sorted(self.content.instruments))
            raise InputError(f"{self.name}: no instrument fills the role {role!r}; instruments are {known}")
        return name


def shipped() -> dict[str, Path]:
    """The rig files that come with the package, by name."""
    folder = Path(str(importlib.resources.files("megabar.acquisition"))) / "rigs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_rig(name: str) -> Rig:
    """Read a rig: the name of a shipped one, or a path. Raises InputError with file, key and line."""
    path = shipped().get(name, Path(name))
    try:
        text = path.read_bytes().decode("utf-8")  # as it is, for its hash
        return Rig(name, text, RigFile.model_validate(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}") from error
    except ValidationError as error:
        raise InputError(_complaint(path, text, error)) from error
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped())
        raise InputError(f"rig {name!r} cannot be read ({error}); shipped rigs are {known}") from error


def load_class(path: str, where: str) -> Any:
    """The class that `package.module:Class` names. Raises InputError."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{where} = {path!r} cannot be imported ({error}); accepted is package.module:Class"
        ) from error


def _complaint(path: Path, text: str, error: ValidationError) -> str:
    """The first problem of a rig file in one line."""
    # a key that is not known explains one that is missing
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    location = [str(part + 1) if isinstance(part, int) else part for part in problem["loc"]]
    key, table = location[-1], ".".join(location[:-1]) or "the file"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        accepted = _accepted(location[:-1])
        guess = difflib.get_close_matches(key, accepted, 1)
        hint = f"did you mean {guess[0]!r}? " if guess else ""
        message = f"unknown key; {hint}accepted are {', '.join(accepted)}"
    return f"{path}, line {_line_of(text, problem['loc'])}, {table}: {key}: {message}"


def _accepted(location: list[str]) -> list[str]:
    if not location:
        return list(RigFile.model_fields)
    tables: dict[str, type[_Table]] = {"world": WorldEntry, "interlocks": InterlockEntry}
    return list(tables.get(location[0], InstrumentEntry).model_fields)


def _line_of(text: str, location: Sequence[str | int]) -> int:
    """The line of a key: each part is mentioned after the one before; a number counts the tables of that name."""
    lines, start = text.splitlines(), 0
    for before, part in itertools.pairwise(("", *location)):
        if isinstance(part, int):
            tables = [i for i, line in enumerate(lines) if line.strip().startswith(f"[[{before}]]")]
            start = tables[part] if part < len(tables) else start
            continue
        pattern = re.compile(rf"(^|[\[.\s\"'{{,]){re.escape(part)}($|[\].\s\"'=])")
        start = next((i for i in range(start, len(lines)) if pattern.search(lines[i])), start)
    return start + 1
