"""Stories run the command as a user does, in a process of its own."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.rig import shipped

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


INTERLOCK = '[[interlocks]]\nreading = "{}"\nbetween = {}\ninstruments = ["{}"]\n'


def guarded_bench(folder: Path, *more: str) -> str:
    """The shipped laser bench with both instruments hazardous, and more lines."""
    text = shipped()["laser_bench"].read_text(encoding="utf-8")
    for name in ("laser", "relay"):
        text = text.replace(f"[instruments.{name}]\n", f"[instruments.{name}]\nhazardous = true\n")
    file = folder / "bench.toml"
    file.write_text("\n".join([text, *more]), encoding="utf-8")
    return str(file)


def rehearse(folder: Path, *arguments: str, experiment: str = "deformation") -> Command:
    return Command(["run", experiment, "--simulate", "--json", "--out", str(folder), *arguments], folder)


@contextlib.contextmanager
def irradiating(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A rehearsal of ten hours of irradiation that has begun to hold."""
    command = [sys.executable, "-P", "-m", "megabar.acquisition.commands.main", "run", "irradiation", "--simulate"]
    command += ["--seed", "2", "--json", "--out", str(folder), "--set", "duration_s=36000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120.0
        while not any(b'"dose_seq_num":9' in path.read_bytes() for path in folder.glob("*/run.journal")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield process
        finally:
            process.kill()


def pulls(told: dict[str, Any]) -> dict[str, float]:
    """How far each result is from the truth, in combined standard uncertainties."""
    return {
        name: (entry["value"] - told["truth"][name]) / (entry["error"] ** 2 + entry["systematic"] ** 2) ** 0.5
        for name, entry in told["results"].items()
    }
