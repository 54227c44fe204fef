"""Configuration of the documentation site; `make docs` builds it, and warnings are errors."""

import shutil
import sys
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # tables.py, docstrings.py and picture.py belong to the documentation alone

import docstrings  # noqa: E402
import picture  # noqa: E402
import tables  # noqa: E402

project = "megabar"
author = "The megabar developers"
copyright = "2026, the megabar developers"
release = version = installed_version("megabar")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated/*.md", "_templates", "snippets"]
templates_path = ["_templates"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "megabar"

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_mock_imports = [name for name in ("pyFAI", "fabio") if find_spec(name) is None]
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False


def setup(app: Any) -> None:
    """Make what is taken from the code, and read docstrings our way."""
    shutil.rmtree(HERE / "_generated" / "api", ignore_errors=True)  # pages of modules that are gone would be orphans
    tables.write()
    picture.draw_if_missing()
    app.connect("autodoc-process-docstring", docstrings.process, priority=400)
