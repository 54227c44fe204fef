"""Draws the tutorial's picture: the report of the run that its first command makes."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMMAND = HERE / "snippets" / "first_run" / "rehearse.sh"
PICTURE = HERE / "_generated" / "first-run.png"


def arguments() -> list[str]:
    """The arguments of the tutorial's `megabar run`."""
    (command,) = re.findall(r"^megabar (run .*)$", COMMAND.read_text(encoding="utf-8"), re.MULTILINE)
    return str(command).split()


def draw(file: Path = PICTURE) -> None:
    """Rehearse, and keep the report."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-P", "-m", "megabar.acquisition.commands.main", *arguments(), "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (report,) = Path(out).glob("*/report.png")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(report.read_bytes())


def draw_if_missing() -> None:
    """So that the site builds in one step."""
    if not PICTURE.exists():
        draw()


if __name__ == "__main__":
    draw()
