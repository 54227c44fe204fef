"""Bad input: exit code 2 and one line that says what, where, and what would be accepted."""

import socket
import threading
from pathlib import Path

import pytest

from megabar.acquisition.rig import shipped

from .conftest import INTERLOCK, guarded_bench


def one_line(command) -> str:
    assert command.code == 2, (command.code, command.output, command.messages)
    lines = command.messages.strip().splitlines()
    assert len(lines) == 1, command.messages
    assert "Traceback" not in command.messages
    return lines[0]


def test_unknown_experiment_names_the_experiments(megabar) -> None:
    assert "deformation" in one_line(megabar("run", "deformaton", "--simulate"))


def test_unknown_parameter_is_guessed(megabar) -> None:
    said = one_line(megabar("run", "deformation", "--simulate", "--set", "temprature_k=900"))
    assert "did you mean temperature_k" in said


@pytest.mark.parametrize(
    "setting", ["strain_rate_per_s=0.1", "load_mn=-1", "strain=much", "temperature_k=nan", "strain"]
)
def test_parameter_out_of_range_says_the_range(megabar, setting: str) -> None:
    said = one_line(megabar("run", "deformation", "--simulate", "--set", setting))
    assert "accepted" in said or "valid number" in said


def test_unknown_world_parameter_names_the_known_ones(megabar) -> None:
    assert "blow_out_at_s" in one_line(megabar("run", "deformation", "--simulate", "--set", "world.blowout=3"))


def test_steadiness_that_could_never_be_seen_is_refused(megabar) -> None:
    said = one_line(megabar("run", "deformation", "--set", "until=steady", "--set", "strain_rate_per_s=1e-4"))
    assert "needs 4 patterns within steady_span = 0.03" in said


@pytest.mark.parametrize(
    ("setting", "accepted"),
    [
        ("beam_losses=soon", "accepted is a list"),
        ("dead_elements=[99]", "less than 10"),
        ("blow_out_at_s=-5", "greater than or equal to 0"),
        ("load_lag_s=0", "greater than 0"),
    ],
)
def test_world_parameter_out_of_range_says_the_range(megabar, setting: str, accepted: str) -> None:
    said = one_line(megabar("run", "deformation", "--simulate", "--set", f"world.{setting}"))
    assert f"world.{setting.partition('=')[0]}" in said
    assert accepted in said


def test_unknown_option_is_one_line(megabar) -> None:
    one_line(megabar("run", "deformation", "--simulte"))


def altered(folder: Path, *changes: tuple[str, str]) -> str:
    text = shipped()["d111"].read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_misspelt_key_of_a_rig_names_file_and_line(megabar, tmp_path: Path) -> None:
    rig = altered(tmp_path, ("[instruments.furnace.limits]", "[instruments.furnace.limit]"))
    said = one_line(megabar("run", "deformation", "--simulate", "--rig", rig))
    assert "mine.toml, line" in said
    assert "'limits'" in said


def test_limit_wider_than_the_device_allows_is_refused(megabar, tmp_path: Path) -> None:
    rig = altered(tmp_path, ("load = [0.0, 9.5]", "load = [0.0, 12.0]"))
    assert "must lie within" in one_line(megabar("run", "deformation", "--simulate", "--rig", rig))


def test_setpoint_beyond_a_limit_of_the_rig_is_refused_before_anything_moves(megabar, tmp_path: Path) -> None:
    rig = altered(tmp_path, ("load = [0.0, 9.5]", "load = [0.0, 5.0]"))
    out = tmp_path / "runs"
    said = one_line(megabar("run", "deformation", "--simulate", "--rig", rig, "--out", str(out)))
    assert "press_load = 7" in said
    assert "0..5 MN" in said
    assert not list(out.glob("*")), "nothing is left of a run that never began"


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ('[roles]\npress = "furnace"\n', ("role press", "Eurotherm3504", "accepted is a Press")),
        ('[roles]\ncamera = "detector"\n', ("role camera", "MultiElementDetector", "accepted is a Camera")),
        ('[roles]\nbogus = "press"\n', ("roles.bogus", "accepted are camera")),
    ],
)
def test_a_role_that_is_filled_by_the_wrong_kind_is_refused(megabar, tmp_path: Path, added: str, words) -> None:
    rig = Path(altered(tmp_path))
    rig.write_text(rig.read_text() + "\n" + added)
    out = tmp_path / "runs"
    said = one_line(megabar("run", "deformation", "--simulate", "--rig", str(rig), "--out", str(out)))
    assert all(word in said for word in words)
    assert not list(out.glob("*"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("180.0, 270.0]", "180.0, nan]", ("instruments.detector", "azimuths_deg", "finite")),
        ("load = [0.0, 9.5]", "load = [0.0, true]", ("line", "limits", "a number is accepted")),
        ("megabar.devices.furnaces.eurotherm:Eurotherm3504", "os:system", ("os:system", "class of Instrument")),
        ("title =", "tilte =", ("tilte", "did you mean 'title'")),
    ],
)
def test_what_a_rig_says_wrong_is_named(megabar, tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    said = one_line(megabar("check", altered(tmp_path, (old, new)), "--simulate"))
    assert all(word in said for word in words)


def test_parameters_without_an_experiment_are_refused(megabar) -> None:
    assert "--set strain" in one_line(megabar("check", "d111", "--set", "strain=0.1"))


ONE_METER = """\
title = "one meter"

[instruments.thermocouple]
device = "megabar.devices.meters.keithley2182a:Keithley2182A"
address = "TCPIP::127.0.0.1::{port}::SOCKET"
"""


def failed_check(command) -> str:
    """The one check that has failed; the others were made."""
    assert command.code == 1 and not command.messages, (command.code, command.messages)
    (failed,) = [line for line in command.output.splitlines() if " FAILED " in line]
    assert "clock " in command.output and "disk " in command.output
    return failed


def test_address_where_nobody_listens_is_named(megabar, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    rig = tmp_path / "meter.toml"
    rig.write_text(ONE_METER.format(port=port))
    said = failed_check(megabar("check", str(rig)))
    assert "instruments.thermocouple.address" in said
    assert f"TCPIP::127.0.0.1::{port}" in said


def test_wrong_instrument_at_an_address_is_refused(megabar, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(100))
                connection.sendall(b"ACME,TOASTER,0,1\n")
                heard.append(connection.recv(100))

        thread = threading.Thread(target=answer)
        thread.start()
        rig = tmp_path / "meter.toml"
        rig.write_text(ONE_METER.format(port=server.getsockname()[1]))
        said = failed_check(megabar("check", str(rig)))
        thread.join(10.0)
    assert "TOASTER" in said
    assert "2182A" in said
    assert heard == [b"*IDN?\n", b""], "nothing was written to the wrong instrument"


def test_simulated_settings_without_simulate_are_refused(megabar) -> None:
    assert "--simulate" in one_line(megabar("run", "deformation", "--seed", "1"))


def test_rig_without_addresses_points_to_the_rehearsal(megabar) -> None:
    assert "--simulate" in one_line(megabar("run", "deformation"))


def test_an_analysis_that_there_is_not_names_those_there_are(megabar) -> None:
    said = one_line(megabar("analyse", "irradiation", "x.spe"))
    assert "'irradiation' has no analysis of files; accepted are" in said and "laser_heating" in said


def test_cut_file_of_spectra_is_named(megabar, tmp_path: Path, data: Path) -> None:
    whole = (data / "diffraction-ed" / "COSI_022_0019.med").read_bytes()
    cut = tmp_path / "cut.med"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "cut.med" in one_line(megabar("analyse", "deformation", str(cut)))


def test_missing_file_is_named(megabar) -> None:
    assert "nothing.med" in one_line(megabar("analyse", "deformation", "nothing.med"))


def test_out_that_cannot_be_written_is_named(megabar, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--out" in one_line(megabar("run", "deformation", "--simulate", "--out", str(tmp_path / "file" / "x")))


def test_a_home_that_is_none_is_named(megabar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEGABAR_HOME", str(tmp_path / "file"))
    assert str(tmp_path / "file") in one_line(megabar("check", "d111", "--simulate", "--approve", "A. Tester"))
    rig = Path(guarded_bench(tmp_path))
    rig.write_text(rig.read_text().replace("hazardous", 'address = "TCPIP::127.0.0.1::9::SOCKET"\nhazardous'))
    assert str(tmp_path / "file") in one_line(megabar("check", str(rig)))
    assert str(tmp_path / "file") in one_line(megabar("guard", "status", "d111"))


@pytest.mark.parametrize("name", ["n" * 300, ""])
@pytest.mark.parametrize(
    "command",
    [
        "run deformation --simulate --out",
        "run --simulate --resume",
        "check d111 --simulate --out",
        "simulate d111 --trace",
        "recover",
        "report",
        "report . --out",
        "export",
        "export . --out",
        "runs --out",
    ],
)
def test_a_name_that_no_file_can_have_is_refused(megabar, command: str, name: str) -> None:
    assert "accepted is the" in one_line(megabar(*command.split(), name))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (INTERLOCK.format("nosuch.x", "[0, 1]", "laser"), "'nosuch.x'; accepted are"),
        (INTERLOCK.format("relay.nosuch", "[0, 1]", "laser"), "accepted are relay.closed"),
        (INTERLOCK.format("relay", "[0, 1]", "laser"), "accepted are relay.closed"),
        (INTERLOCK.format("relay.closed", "[0, 1]", "nosuch"), "there is no instrument 'nosuch'"),
        (INTERLOCK.format("relay.closed", "[2, 1]", "laser"), "accepted is the lowest first"),
        (INTERLOCK.format("relay.closed", "[1, 1]", "laser") + "every_s = 5", "2 is over before the next reading"),
        (INTERLOCK.format("relay.closed", "[1, 1]", "laser") + "stale_s = 0.1", "0.1 is over before the next reading"),
        (INTERLOCK.format("relay.closed", "[1, 1]", "laser") + "stale_s = 1e308", "less than or equal to 60"),
        (INTERLOCK.format("relay.closed", '["1", "1"]', "laser"), "a number is accepted"),
    ],
)
def test_what_a_guard_would_refuse_is_refused_before_it_is_approved(
    megabar, tmp_path: Path, more: str, words: str
) -> None:
    rig = guarded_bench(tmp_path, more)
    assert words in one_line(megabar("check", rig, "--simulate", "--approve", "A. Tester"))
    assert words in one_line(megabar("run", "irradiation", "--simulate", "--rig", rig))


def test_a_way_to_safety_that_there_is_not_is_refused(megabar, tmp_path: Path) -> None:
    file = Path(guarded_bench(tmp_path))
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("hazardous = true", 'hazardous = true\non_loss = "explode"', 1), encoding="utf-8")
    assert "on_loss = 'explode': accepted are off" in one_line(megabar("check", str(file), "--simulate"))
    file.write_text(text.replace("hazardous = true", 'on_loss = "off"', 1), encoding="utf-8")
    assert "only with hazardous = true" in one_line(megabar("check", str(file), "--simulate"))
    file.write_text(text.replace('gate = "relay"', 'gate = "nosuch"'), encoding="utf-8")
    assert "no instrument fills the role 'gate'" in one_line(megabar("check", str(file), "--simulate"))


@pytest.mark.parametrize(
    "told",
    [
        '{"addresses": {"laser": "TCPIP::127.0.0.1::9::SOCKET"}, "factor": -1, "started": 0, "epoch": 0}',
        '{"addresses": {}, "factor": NaN, "started": 0, "epoch": 0}',
        '{"addresses": {}, "factor": 1e300, "started": 0, "epoch": 0}',
        '{"addresses": {}, "factor": 1, "started": 1e12, "epoch": 0}',
        '{"addresses": [], "factor": 1, "started": 0, "epoch": 0}',
        '{"addresses": {"furnace": 7}, "factor": 1, "started": 0, "epoch": 0}',
        "{}",
        "",
    ],
)
def test_what_nobody_serves_is_refused(megabar, tmp_path: Path, told: str) -> None:
    file = tmp_path / "served.json"
    file.write_text(told, encoding="utf-8")
    said = one_line(megabar("run", "irradiation", "--served", str(file), "--out", str(tmp_path / "data")))
    assert "served" in said


def test_an_option_that_there_is_not_names_those_there_are(megabar, tmp_path: Path) -> None:
    rig = altered(
        tmp_path,
        ("[instruments.furnace.limits]", "[instruments.furnace.options]\ngraze_s = 5\n\n[instruments.furnace.limits]"),
    )
    said = one_line(megabar("check", rig, "--simulate"))
    assert "instruments.furnace" in said and "'graze_s' is no option" in said and "grace_s" in said
