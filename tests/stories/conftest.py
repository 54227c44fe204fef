"""Stories run the command as a user does, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHORT = ("--set", "strain=0.03", "--set", "soak_s=300", "--set", "standard_exposure_s=300")
"""A deformation of less than an hour."""


class Command:
    """`megabar` with everything it says."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "megabar.acquisition.commands.main", *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=900,  # a rehearsal shares its one core with whatever else the machine does
        )
        self.code, self.output, self.messages = done.returncode, done.stdout, done.stderr

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.output)


@pytest.fixture(scope="session")
def megabar(tmp_path_factory: pytest.TempPathFactory):
    def run(*arguments: str) -> Command:
        return Command(list(arguments), tmp_path_factory.mktemp("story"))

    return run


def rehearse(folder: Path, *arguments: str, experiment: str = "deformation") -> Command:
    return Command(["run", experiment, "--simulate", "--json", "--out", str(folder), *arguments], folder)


def pulls(told: dict[str, Any]) -> dict[str, float]:
    """How far each result is from the truth, in combined standard uncertainties."""
    return {
        name: (entry["value"] - told["truth"][name]) / (entry["error"] ** 2 + entry["systematic"] ** 2) ** 0.5
        for name, entry in told["results"].items()
    }
