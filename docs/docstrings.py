"""Turns our docstrings, plain text with `code` in single backquotes, into reStructuredText that means the same."""

import re
from typing import Any

CODE = re.compile(r"`([^`]+)`")
MARKUP = re.compile(r"[*|\\]|_(?!\w)")
CONTINUED = re.compile(r"\s*((Args|Returns|Raises|Yields|Attributes):$|\d+\. |- |\S.*: )")
"""Lines after which deeper ones belong to the same block: heads of sections, items of lists."""


def as_restructured_text(lines: list[str]) -> list[str]:
    """The same lines with code as literals and everything else without markup."""
    parts = CODE.split("\n".join(lines))  # plain, code, plain, code, ..., plain
    made = [MARKUP.sub(r"\\\g<0>", parts[0])]
    for code, after in zip(parts[1::2], parts[2::2], strict=True):
        before_letter = made[-1][-1:].isalnum()
        made.append(("\\ " if before_letter else "") + f"``{' '.join(code.split())}``")
        made.append(("\\ " if after[:1].isalnum() else "") + MARKUP.sub(r"\\\g<0>", after))
    return separated("".join(made).split("\n"))


def separated(lines: list[str]) -> list[str]:
    """With an empty line wherever the indentation changes inside a paragraph, so that blocks are seen as blocks."""
    found: list[str] = []
    for line in lines:
        before = found[-1] if found else ""
        deeper = bool(before.strip() and line.strip()) and indent(line) > indent(before)
        if deeper and not CONTINUED.match(before):
            found.append("")
        found.append(line)
    return found


def indent(line: str) -> int:
    """Blanks at the start of a line."""
    return len(line) - len(line.lstrip())


def process(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """For Sphinx's `autodoc-process-docstring`, before napoleon."""
    lines[:] = as_restructured_text(lines)
