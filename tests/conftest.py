"""Fixtures that several rooms share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of measured data, or a skip that says so."""
    folder = Path(os.environ.get("MEGABAR_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"measured data are not here: {folder} (set MEGABAR_DATA)")
    return folder
