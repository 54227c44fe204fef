"""Rig files say in one line what is wrong with them, and where."""

from pathlib import Path

import pytest

from megabar.acquisition.errors import InputError
from megabar.acquisition.rig import load_class, load_rig, shipped

GOOD = """\
title = "a rig"

[instruments.furnace]
device = "megabar.devices.furnaces.eurotherm:Eurotherm3504"
address = "ASRL/dev/ttyUSB0::INSTR"

[instruments.furnace.limits]
setpoint = [20, 1800]
"""


def written(folder: Path, text: str) -> str:
    path = folder / "rig.toml"
    path.write_text(text)
    return str(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as error:
        load_rig(written(folder, text))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_good_rig_is_read_with_its_hash(tmp_path: Path) -> None:
    rig = load_rig(written(tmp_path, GOOD))
    assert rig.content.instruments["furnace"].limits == {"setpoint": (20.0, 1800.0)}
    assert len(rig.sha256) == 64
    assert rig.instrument_for("furnace") == "furnace"


def test_misspelt_key_names_file_line_and_what_is_accepted(tmp_path: Path) -> None:
    said = complaint(tmp_path, GOOD.replace("address =", "adress ="))
    assert "rig.toml, line 5" in said
    assert "did you mean 'address'" in said


def test_limit_that_is_no_pair_names_its_line(tmp_path: Path) -> None:
    assert "line 8" in complaint(tmp_path, GOOD.replace("[20, 1800]", "20"))


def test_broken_toml_names_its_line(tmp_path: Path) -> None:
    assert "line" in complaint(tmp_path, GOOD.replace('title = "a rig"', "title = "))


def test_unknown_rig_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="d111"):
        load_rig(str(tmp_path / "nothing.toml"))


def test_role_without_instrument_names_the_instruments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="furnace"):
        load_rig(written(tmp_path, GOOD)).instrument_for("press")


def test_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"package\.module:Class"):
        load_class("megabar.devices.nothing:Nothing", "here")


def test_rigs_are_shipped() -> None:
    assert "d111" in shipped()
