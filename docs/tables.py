"""Tables of the reference, taken from the code: parameters, devices, world, settings of files, options of commands."""

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from megabar.acquisition import experiments
from megabar.acquisition.commands.main import app
from megabar.acquisition.rig import load_class, load_rig, shipped
from megabar.analysis import (
    dac_conductivity_settings,
    deformation_settings,
    image_settings,
    laser_heating_settings,
    pressure_gauge,
    thermoreflectance_settings,
)
from megabar.devices.instrument import Reading, Setpoint
from megabar.plans.parameters import parameter_rows
from megabar.simulators.worlds.d111.parameters import Parameters as World

GENERATED = Path(__file__).parent / "_generated"


ACCEPTED: Mapping[str, Mapping[str, str]] = {
    "": deformation_settings.ACCEPTED,
    "image-": image_settings.ACCEPTED,
    "laser-heating-": laser_heating_settings.ACCEPTED,
    "ruby-": pressure_gauge.ACCEPTED["ruby"],
    "raman-": pressure_gauge.ACCEPTED["raman"],
    "delay-scan-": thermoreflectance_settings.DELAY_SCAN,
    "transient-": thermoreflectance_settings.TRANSIENT,
    "dac-conductivity-": dac_conductivity_settings.ACCEPTED,
}
"""Settings of `megabar analyse` on each kind of files."""


def write(folder: Path = GENERATED) -> None:
    """Write every table into `folder`."""
    folder.mkdir(exist_ok=True)
    for name, text in tables().items():
        (folder / name).write_text(text, encoding="utf-8")


def tables() -> dict[str, str]:
    """The text of each generated file, by name."""
    return {
        "parameters.md": parameters(),
        "world.md": world(),
        **{f"{kind}settings.md": settings(accepted) for kind, accepted in ACCEPTED.items()},
        "devices.md": devices(),
        **{f"command-{name}.md": options(command) for name, command in commands().items()},
    }


def parameters() -> str:
    """Parameters and roles of every experiment."""
    parts = []
    for name in experiments.names():
        experiment = experiments.find(name)
        roles = ", ".join(f"`{role}`" for role in experiment.role_names)
        rows = [
            (f"`{key}`", f"`{default}`", accepted, unit, meaning)
            for key, default, accepted, unit, meaning in parameter_rows(experiment.parameters)
        ]
        table = markdown(("name", "default", "accepted", "unit", "meaning"), rows)
        parts.append(f"## {name}\n\n{experiment.title}\n\nRoles: {roles}.\n\n{table}")
    return "\n".join(parts)


def world() -> str:
    """Parameters of the world D111, grouped as in its source."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    defaults = {field.name: field.default for field in dataclasses.fields(World)}
    for line in inspect.getsource(World).splitlines():
        text = line.strip()
        if text.startswith("# "):
            groups.append((text.removeprefix("# "), []))
        elif (name := text.partition(":")[0]) in defaults:
            comment = text.partition("  # ")[2]
            groups[-1][1].append((f"`{name}`", f"`{defaults[name]}`" + (f" ({comment})" if comment else "")))
    return "\n".join(f"**{title}**\n\n{markdown(('name', 'default'), rows)}" for title, rows in groups)


def settings(accepted: Mapping[str, str]) -> str:
    """Settings of `megabar analyse` on one kind of files."""
    rows = [(f"`{name}`", meaning) for name, meaning in accepted.items()]
    return markdown(("name", "meaning"), rows)


def devices() -> str:
    """Signals of every device that a shipped rig names."""
    parts = []
    for path in dict.fromkeys(
        entry.device for rig in shipped() for entry in load_rig(rig).content.instruments.values()
    ):
        device = load_class(path, "shipped rig")
        about = " ".join(inspect.getdoc(device).split("\n\n")[0].split())
        hazard = f" Hazard: {device.hazard}." if device.hazard else ""
        rows = list(signals(device))
        table = markdown(("signal", "unit", "limits"), rows) if rows else "No signals of its own.\n"
        parts.append(f"## {device.__name__}\n\n`{path}`. {about}{hazard}\n\n{table}")
    return "\n".join(parts)


def signals(device: type[Any]) -> Iterator[tuple[str, str, str]]:
    """Dotted name, unit and limits of each declared signal."""
    for walk in device.walk_components():
        declared = walk.item
        if isinstance(declared.cls, type) and issubclass(declared.cls, Reading):
            options = defaults_of(declared.cls) | declared.kwargs
            is_setpoint = issubclass(declared.cls, Setpoint) and "limits" in options
            low, high = options["limits"] if is_setpoint else (None, None)
            limits = f"{low:g} to {high:g}" if is_setpoint else "read only"
            yield f"`{walk.dotted_name}`", str(options.get("unit", "")), limits


def defaults_of(signal: type[Any]) -> dict[str, Any]:
    """Keyword defaults of a signal class, where a component gives none."""
    parameters = inspect.signature(signal.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def commands() -> dict[str, Any]:
    """The commands of `megabar` by name."""
    return dict(sorted(typer.main.get_command(app).commands.items()))  # type: ignore[attr-defined]


def options(command: Any) -> str:
    """Arguments and options of one command, or of each one of a group."""
    if hasattr(command, "commands"):
        return "\n".join(f"`{name}`\n\n{options(inner)}" for name, inner in command.commands.items())
    rows = [(f"`{name}`", meaning) for name, meaning in map(described, command.params) if name != "--help"]
    return markdown(("argument or option", "meaning"), rows)


def described(parameter: Any) -> tuple[str, str]:
    """An argument or option as it is typed, and what it means."""
    metavar = (parameter.metavar or parameter.name.upper()).strip("[]")
    if parameter.param_type_name == "argument":
        return metavar, parameter.help + ("" if parameter.required else " May be left out.")
    takes_value = not parameter.is_flag
    default = f" Default: {parameter.default}." if takes_value and parameter.default is not None else ""
    return " ".join([parameter.opts[0], *([metavar] if takes_value else [])]), parameter.help + default


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:], ""])


if __name__ == "__main__":
    write()
