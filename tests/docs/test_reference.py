"""What the documentation says about names is what the code has."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from megabar.acquisition import experiments
from megabar.acquisition.commands.main import app
from megabar.simulators.worlds.d111.parameters import Parameters as World

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("[!_]*.md")]
PAGES = [page for page in PAGES if not any(part.startswith("_") for part in page.relative_to(ROOT).parts)]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables() -> dict[str, str]:
    return load("tables").tables()


@pytest.mark.parametrize("name", experiments.names())
def test_every_parameter_stands_in_its_table_with_default_and_unit(name: str, tables: dict[str, str]) -> None:
    section = re.split(r"^## ", tables["parameters.md"], flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{name}\n")]
    fields = experiments.find(name).parameters.model_fields
    rows = [[cell.strip() for cell in line[1:-1].split(" |")] for line in text.splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == list(fields)
    for row, field in zip(rows, fields.values(), strict=True):
        assert row[1].strip("`") == str(field.default)
        assert row[-2] == (field.json_schema_extra or {}).get("unit", "")


def test_every_parameter_of_the_world_stands_in_its_table(tables: dict[str, str]) -> None:
    named = re.findall(r"^\| `(\w+)`", tables["world.md"], re.MULTILINE)
    assert named == [field.name for field in dataclasses.fields(World)]


def test_every_shipped_device_has_a_table_of_signals(tables: dict[str, str]) -> None:
    assert "| `load` | MN | 0 to 9.5 |" in tables["devices.md"]
    assert "| `speed` " not in tables["devices.md"]  # parts of a device keep their dotted names
    assert "| `top.speed` | um/s |" in tables["devices.md"]


def test_every_command_has_its_section_and_every_option_its_row(tables: dict[str, str]) -> None:
    text = (DOCS / "reference/command-line.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## megabar (\w+)$", text, re.MULTILINE)) == set(COMMANDS)
    for name, command in COMMANDS.items():
        assert f"_generated/command-{name}.md" in text
        for parameter in command.params:
            if parameter.name != "help":
                shown = parameter.opts[0] if parameter.param_type_name == "option" else (parameter.metavar or "")
                assert f"| `{shown.strip('[]')}" in tables[f"command-{name}.md"]


def usages() -> list[tuple[str, str]]:
    """Every use of `megabar ...` in pages and snippets: where, and the rest of the command."""
    meant_to_be_refused = DOCS / "snippets/first_run/refused.sh"
    files = [*PAGES, *({*DOCS.rglob("snippets/**/*.sh")} - {meant_to_be_refused}), ROOT / "Makefile"]
    uses = []
    for file in files:
        text = file.read_text(encoding="utf-8").replace("\\\n", " ")
        found = re.findall(r"`megabar ([a-z][^`]*)`", text) if file.suffix == ".md" else []
        found += re.findall(r"^(?:\t\S*/)?megabar ([a-z].*)$", text, re.MULTILINE) if file.suffix != ".md" else []
        uses += [(str(file.relative_to(ROOT)), " ".join(use.split())) for use in found]
    return sorted(uses)


@pytest.mark.parametrize("where, use", usages())
def test_every_command_line_that_is_shown_exists(where: str, use: str) -> None:
    name, _, rest = use.partition(" ")
    assert name in COMMANDS, f"{where}: megabar {use}"
    command = COMMANDS[name]
    if hasattr(command, "commands"):
        inner, _, rest = rest.partition(" ")
        assert inner in command.commands, f"{where}: megabar {use}"
        command = command.commands[inner]
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z]+", rest)) <= options, f"{where}: megabar {use}"
    for setting in re.findall(r"--set ([a-z]\w*(?:\.\w+)?)=", rest):
        assert setting in known_settings(name, rest), f"{where}: --set {setting}"


def known_settings(command: str, rest: str) -> set[str]:
    """What --set accepts for a command line."""
    world = {f"world.{field.name}" for field in dataclasses.fields(World)}
    if command == "analyse":
        return {setting for accepted in load("tables").ACCEPTED.values() for setting in accepted}
    fields: set[str] = set()
    for name in experiments.names():
        if name in rest.split():
            fields |= set(experiments.find(name).parameters.model_fields)
    return fields | world


def test_the_check_of_command_lines_can_fail() -> None:
    with pytest.raises(AssertionError):
        test_every_command_line_that_is_shown_exists("here", "run deformation --simulate --set temprature_k=700")
    with pytest.raises(AssertionError):
        test_every_command_line_that_is_shown_exists("here", "run deformation --sedd 1")
    assert len(usages()) > 15


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8")):
            assert target in targets, f"{page}: make {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http", "../_generated")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_picture_is_that_of_the_tutorials_first_command() -> None:
    assert load("picture").arguments()[:3] == ["run", "deformation", "--simulate"]


def test_docstrings_become_text_without_accidental_markup() -> None:
    convert: Any = load("docstrings").as_restructured_text
    assert convert(["Takes `Register`s, *RST and a|b."]) == ["Takes ``Register``\\ s, \\*RST and a\\|b."]
    assert convert(["One.", "    Two."]) == ["One.", "", "    Two."]
    assert convert(["Args:", "    x: one."]) == ["Args:", "    x: one."]


def test_loading_pages_leaves_nothing_behind() -> None:
    assert not {"tables", "picture", "docstrings"} & set(sys.modules)
