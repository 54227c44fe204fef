"""Rig files: which instruments there are, how they are reached, what they may do, which role each one fills."""

import difflib
import hashlib
import importlib
import importlib.resources
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from .errors import InputError


def _is_no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is accepted")
    return value


Number = Annotated[float, BeforeValidator(_is_no_truth_value), AllowInfNan(False)]


class _Table(BaseModel):
    """A table of a rig file: unknown keys are errors, so that a misspelt limit is never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class InstrumentEntry(_Table):
    """One instrument of a rig."""

    device: str = Field(description="device class, package.module:Class")
    address: str | None = Field(None, description="VISA resource, or ca://host:port/PREFIX: for EPICS")
    limits: dict[str, tuple[Number, Number]] = Field({}, description="lowest and highest set-points; only tighter ones")
    options: dict[str, Any] = Field({}, description="options of the device class")
    hazardous: bool = Field(False, description="a guard owns its port, and makes it safe when the engine is lost")
    on_loss: str | None = Field(None, description="the way to safety that is gone when the engine is lost")
    simulated: str | None = Field(None, description="simulated instrument, package.module:Class")
    simulated_parameters: dict[str, Any] = {}
    faults: list[dict[str, Any]] = Field([], description="faults on the simulated wire")


class InterlockEntry(_Table):
    """A reading of one guarded instrument on which others depend."""

    reading: str = Field(description="instrument.signal; the instrument is one that is marked hazardous")
    between: tuple[Number, Number] = Field(description="where it must lie, in the unit of the signal")
    every_s: Annotated[Number, Field(gt=0)] = 0.25
    stale_s: Annotated[Number, Field(gt=0)] = Field(2.0, description="how old the reading may be")
    instruments: list[str] = Field(
        min_length=1, description="what is not switched on, and is made safe, unless the reading is so"
    )

    @field_validator("between")
    @classmethod
    def _lowest_first(cls, between: tuple[float, float]) -> tuple[float, float]:
        if between[0] > between[1]:
            raise ValueError(f"{between[0]:g}..{between[1]:g} holds no value; accepted is the lowest first")
        return between


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
    location = [str(part) for part in problem["loc"]]
    key, table = location[-1], ".".join(location[:-1]) or "the file"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        accepted = _accepted(location[:-1])
        guess = difflib.get_close_matches(key, accepted, 1)
        hint = f"did you mean {guess[0]!r}? " if guess else ""
        message = f"unknown key; {hint}accepted are {', '.join(accepted)}"
    return f"{path}, line {_line_of(text, location)}, {table}: {key}: {message}"


def _accepted(location: list[str]) -> list[str]:
    if not location:
        return list(RigFile.model_fields)
    tables: dict[str, type[_Table]] = {"world": WorldEntry, "interlocks": InterlockEntry}
    return list(tables.get(location[0], InstrumentEntry).model_fields)


def _line_of(text: str, location: list[str]) -> int:
    """The line of a key: the last mention of each part after the one before."""
    lines, start = text.splitlines(), 0
    for part in location:
        pattern = re.compile(rf"(^|[\[.\s\"'{{,]){re.escape(part)}($|[\].\s\"'=])")
        start = next((i for i in range(start, len(lines)) if pattern.search(lines[i])), start)
    return start + 1
