"""Rig files say in one line what is wrong with them, and where."""

from pathlib import Path

import pytest

from megabar.acquisition.errors import InputError
from megabar.acquisition.rig import load_class, load_rig, shipped
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation

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


def test_limit_that_is_no_pair_of_numbers_names_its_line(tmp_path: Path) -> None:
    assert "line 8" in complaint(tmp_path, GOOD.replace("[20, 1800]", "20"))
    assert "line 8" in complaint(tmp_path, GOOD.replace("[20, 1800]", "[nan, 1800]"))
    assert "line 8" in complaint(tmp_path, GOOD.replace("[20, 1800]", "[20, inf]") + "x = [0, 1]\n")


INTERLOCK = """
[[interlocks]]
reading = "furnace.temperature"
between = [0, 100]
instruments = ["furnace"]
"""


def test_the_second_interlock_has_lines_of_its_own(tmp_path: Path) -> None:
    assert "line 17, interlocks.2: between" in complaint(
        tmp_path, GOOD + INTERLOCK + INTERLOCK.replace("[0, 100]", "[9, 1]")
    )


def at_rate(folder: Path, baud: str, text: str = GOOD) -> str:
    return written(folder, text.replace('::INSTR"', f'::INSTR"\nbaud = {baud}'))


@pytest.mark.parametrize("baud", ["0", "-9600", "12345", "true", "9600.5", '"9600"', "nan"])
def test_a_rate_that_no_line_has_is_refused(tmp_path: Path, baud: str) -> None:
    with pytest.raises(InputError, match=r"rig.toml, line 6, instruments.furnace: baud: ") as error:
        load_rig(at_rate(tmp_path, baud))
    assert "\n" not in str(error.value)


def test_a_rate_is_of_serial_lines_only(tmp_path: Path) -> None:
    rig = load_rig(written(tmp_path, GOOD.replace('"ASRL/dev/ttyUSB0::INSTR"', '"TCPIP::h::1::SOCKET"\nbaud = 9600')))
    with pytest.raises(InputError, match=r"instruments.furnace: baud = 9600 .* accepted is a serial line"):
        Session(rig)


@pytest.mark.parametrize("baud", [1200, 38400])
def test_a_serial_line_is_as_fast_as_the_rig_says(tmp_path: Path, baud: int) -> None:
    rig = load_rig(written(tmp_path, shipped()["d111"].read_text().replace("baud = 19200", f"baud = {baud}")))
    with Simulation(rig, 1) as simulation, Session(rig, ["furnace"], simulation=simulation) as session:
        furnace = session.devices["furnace"]
        assert furnace.link.port()["address"][2] == baud
        begun_s = session.clock.monotonic()
        furnace.link.call(lambda: furnace.fetch(furnace.temperature))
        took_s, characters = session.clock.monotonic() - begun_s, 8 + 7
        assert characters * 10 / baud < took_s < (characters + 2 * 3.5) * 10 / baud + 0.01


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
