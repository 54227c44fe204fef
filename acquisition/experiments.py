"""Experiments: a plan, its live analyses and the roles that a rig must fill, found by the name they share.

`plans/NAME.py` holds the function `NAME`, a dataclass `Roles`, a class `Parameters` and the name of the shipped `RIG`,
and `DURABILITY = "event"` where each event must be on the disk before the next step ("group", at most 0.1 s, if not),
and `RESUMABLE = True` where it brings about states and asks its live analyses how far it is (see `resumption`);
`analysis/live/NAME.py` holds `analyses(names, parameters)`. Other packages add theirs with entry points: the group
`megabar.plans` names a plan module, the group `megabar.live` the module of live analyses, under the same name.
"""

import dataclasses
import difflib
import importlib
import importlib.metadata
import pkgutil
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from .. import plans
from ..analysis import live
from ..analysis.live.analysis import LiveAnalysis
from ..plans.parameters import Parameters, unit_of
from .errors import InputError
from .rig import Rig

DWELL_S = 120.0
"""How long a plan may go without a message unless its module has a function `dwell_s`."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment."""

    name: str
    title: str
    plan: Callable[..., Any]
    roles: type
    parameters: type[Parameters]
    analyses: Callable[[Mapping[str, str], Parameters], Sequence[LiveAnalysis]]
    figures: Sequence[Mapping[str, str]]
    expected_duration_s: Callable[[Any], float]
    dwell_s: Callable[[Any], float]
    """How long the plan may go without a message before it is taken to hang."""
    rig: str
    durability: Literal["group", "event"] = "group"
    resumable: bool = False
    """Whether a run can go on with one that was interrupted."""

    @property
    def role_names(self) -> tuple[str, ...]:
        """The roles that a rig must fill."""
        return tuple(field.name for field in dataclasses.fields(self.roles))

    @property
    def role_kinds(self) -> dict[str, type]:
        """What the instrument of each role must be able to do: a protocol."""
        hints = typing.get_type_hints(self.roles)
        return {role: typing.get_origin(hints[role]) or hints[role] for role in self.role_names}

    def parse(self, settings: Mapping[str, Any]) -> Parameters:
        """Parameters from `name=value` texts. Raises InputError, with what would be accepted."""
        fields = self.parameters.model_fields
        for name in settings:
            if name not in fields:
                guess = difflib.get_close_matches(name, fields, 1)
                hint = f"did you mean {guess[0]}? " if guess else ""
                raise InputError(f"{self.name} has no parameter {name!r}; {hint}accepted are {', '.join(fields)}")
        try:
            return self.parameters.model_validate(dict(settings))
        except ValidationError as error:
            problem = error.errors()[0]
            message = problem["msg"].replace("Input should be", "accepted is").removeprefix("Value error, ")
            if not problem["loc"]:
                raise InputError(f"{self.name}: {message}") from error
            name = str(problem["loc"][0])
            unit = unit_of(fields[name]) if name in fields else ""
            raise InputError(f"{self.name}: {name} = {problem['input']!r}: {message} {unit}".rstrip()) from error


def names() -> list[str]:
    """The experiments that there are."""
    return sorted(_modules())


def find(name: str) -> Experiment:
    """An experiment by name. Raises InputError."""
    modules = _modules()
    if name not in modules:
        raise InputError(f"there is no experiment {name!r}; there are {', '.join(sorted(modules))}")
    plan_module, live_module = (importlib.import_module(path) for path in modules[name])
    return _experiment(name, plan_module, live_module)


def check_roles(rig: Rig) -> None:
    """Refuse a rig that fills a role which no experiment has. Raises InputError."""
    known = sorted({role for name in names() for role in find(name).role_names})
    for role in rig.content.roles:
        if role not in known:
            raise InputError(f"{rig.name}: roles.{role}: no experiment has this role; accepted are {', '.join(known)}")
        rig.instrument_for(role)


def _experiment(name: str, plan_module: types.ModuleType, live_module: types.ModuleType) -> Experiment:
    durability: Any = getattr(plan_module, "DURABILITY", "group")
    if durability not in ("group", "event"):
        raise InputError(f"{plan_module.__name__}.DURABILITY = {durability!r}; accepted are 'group' and 'event'")
    return Experiment(
        name=name,
        title=(plan_module.__doc__ or name).splitlines()[0],
        plan=getattr(plan_module, name),
        roles=plan_module.Roles,
        parameters=plan_module.Parameters,
        analyses=live_module.analyses,
        figures=live_module.FIGURES,
        expected_duration_s=plan_module.expected_duration_s,
        dwell_s=getattr(plan_module, "dwell_s", lambda parameters: DWELL_S),
        rig=plan_module.RIG,
        durability=durability,
        resumable=getattr(plan_module, "RESUMABLE", False),
    )


def _modules() -> dict[str, tuple[str, str]]:
    """Module paths of plan and live analyses by experiment."""
    shipped_plans = {module.name: f"{plans.__name__}.{module.name}" for module in pkgutil.iter_modules(plans.__path__)}
    shipped_live = {module.name: f"{live.__name__}.{module.name}" for module in pkgutil.iter_modules(live.__path__)}
    entry_points = importlib.metadata.entry_points
    plan_paths = shipped_plans | {point.name: point.value for point in entry_points(group="megabar.plans")}
    live_paths = shipped_live | {point.name: point.value for point in entry_points(group="megabar.live")}
    return {name: (plan_paths[name], live_paths[name]) for name in plan_paths.keys() & live_paths.keys()}
