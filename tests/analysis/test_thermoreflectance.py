"""`analyse thermoreflectance` on files: measured delay scans, transients as text, settings, bad files."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from megabar.analysis.embedded_samples import EmbeddedSample
from megabar.analysis.readers.tdtr import read_tdtr
from megabar.analysis.thermoreflectance import analyse_files
from megabar.analysis.transients import RELATIVE_ERRORS, transient

OXIDE = {
    "layers": "Al:237:2.42e6:77.34e-9, G:1.29e8, SiO2:1.3:1.86e6:100e-9, Si:124:1.63e6",
    "fit": "thermal_conductivity_SiO2",
    "modulation_hz": "2e6",
    "repetition_hz": "75.8e6",
    "pump_radius_um": "36",
    "probe_radius_um": "14.7",
}
CELL = {"thickness_um": "2", "heat_capacity": "5.1e6", "pulse_fwhm_ns": "2", "time_unit": "ns"}


def test_measured_scan_of_an_oxide_is_analysed_as_files_are(data):
    path = data / "thermoreflectance" / "Si_100nmSiO2_2MHz_180423_180256_FIN_NoNaNs.mat"
    answer = analyse_files([path], OXIDE)
    kappa = answer["results"]["thermal_conductivity_SiO2"]
    assert kappa["value"] == pytest.approx(1.04, rel=0.1)
    assert kappa["unit"] == "W/m/K"
    assert 0.0 < kappa["error"] < kappa["systematic"] < 0.1
    assert answer["results"]["reference_phase"]["unit"] == "deg"
    assert answer["history"] == ["thermal_conductivity_SiO2", "reference_phase"]
    assert answer["files"][0]["file"] == str(path)
    assert any("largest systematic terms" in note for note in answer["files"][0]["notes"])
    json.dumps(answer, allow_nan=False)


def test_scans_with_columns_in_a_matrix_and_rows_that_are_no_numbers_are_read(tmp_path):
    delay = np.array([-10.0, -5.0, np.nan, 5.0])
    savemat(tmp_path / "matrix.mat", {"Data": np.column_stack([np.zeros(4), delay, delay + 1.0, delay + 2.0])})
    columns = {name: delay[:, None] + i for i, name in enumerate(("tdelay", "Vin", "Vout"))}
    savemat(tmp_path / "struct.mat", {"Data": columns})
    for name in ("matrix.mat", "struct.mat"):
        scan = read_tdtr(tmp_path / name)
        np.testing.assert_allclose(scan.delay_s, [-1e-11, -5e-12, 5e-12])
        np.testing.assert_allclose(scan.in_phase, [-9.0, -4.0, 6.0])
        np.testing.assert_allclose(scan.out_of_phase, [-8.0, -3.0, 7.0])


def write_transient(path, seed, head="time signal\n"):
    time = np.arange(-20, 600) * 10.0
    signal = 1e-3 * transient(EmbeddedSample(2e-6, 5.1e6, pulse_fwhm=2e-9), 12.0, 5000.0, time * 1e-9)
    noisy = signal + 0.01 * np.ptp(signal) * np.random.default_rng(seed).normal(size=len(time))
    path.write_text(head + "".join(f"{t:.1f}, {y:.6e}  # comment\n" for t, y in zip(time, noisy, strict=True)))


def test_transients_in_text_files_give_their_conductivity_and_its_mean(tmp_path):
    for seed in (1, 2):
        write_transient(tmp_path / f"{seed}.txt", seed, "" if seed == 1 else "t_ns, dR\n")
    answer = analyse_files([tmp_path / "1.txt", tmp_path / "2.txt"], {**CELL, "relative_errors": "thickness:0.02"})
    for entry in (answer["results"], *(file["results"] for file in answer["files"])):
        kappa = entry["thermal_conductivity"]
        assert abs(kappa["value"] - 12.0) < 3.5 * kappa["error"]
        assert kappa["systematic"] == pytest.approx(12.0 * np.hypot(0.04, 0.03), rel=0.05)
    json.dumps(answer, allow_nan=False)


def test_nothing_is_said_of_systematic_terms_where_everything_is_exact(tmp_path):
    write_transient(tmp_path / "a.txt", 3)
    exact = ",".join(f"{name}:0" for name in RELATIVE_ERRORS)
    file = analyse_files([tmp_path / "a.txt"], {**CELL, "relative_errors": exact})["files"][0]
    assert file["notes"] == []
    assert file["results"]["thermal_conductivity"]["systematic"] == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit": None}, "setting fit is missing for delay scans"),
        ({"colour": "red"}, "unknown setting 'colour' for delay scans: accepted are layers"),
        ({"layers": "Al:237:2.42e6:-7e-8,Si:124:1.63e6"}, "Al: layer: thickness must be positive, not -7e-08"),
        ({"layers": "Al:-237:2.42e6:7e-8,Si:124:1.63e6"}, "Al: layer: conductivity must be positive, not -237"),
        ({"layers": "Al:237:-1:7e-8,Si:124:1.63e6"}, "Al: layer: heat capacity must be positive, not -1"),
        ({"layers": "G:-1e8,Si:124:1.63e6"}, "G: interface: conductance must be positive"),
        ({"layers": "Al"}, "'Al' is not NAME and 1 to 3 numbers"),
        (
            {"layers": "Si:124:1.63e6,Al:237:2.42e6:7e-8"},
            "element 2 lies behind one of infinite thickness",
        ),
        ({"modulation_hz": "-2e6"}, "setting modulation_hz=-2e6: not a number > 0"),
        ({"delays_ps": "500-75"}, "not LOW-HIGH"),
        ({"delays_ps": "5000-9000"}, "0 delays from 5e-09 to 9e-09 s"),
        ({"delayed_beam": "both"}, "setting delayed_beam=both"),
        ({"fit": "thermal_conductivity_Au"}, "cannot fit 'thermal_conductivity_Au'"),
        ({"pump_radius_um": "inf"}, "setting pump_radius_um=inf: not a number > 0"),
        ({"layers": "Al:237:2.42e6:7e-8,Al:124:1.63e6"}, "each name once"),
        ({"relative_errors": "thickness:-0.1"}, "not a number >= 0"),
        ({"relative_errors": "width:0.1"}, "relative error of 'width'"),
    ],
)
def test_bad_settings_of_scans_are_refused_in_one_line(tmp_path, settings, message):
    delay = np.concatenate([np.linspace(-60, -5, 20), np.geomspace(4, 3000, 60)])
    rng = np.random.default_rng(1)
    signal = np.where(delay > 0, 5.0, 1.0) + 0.01 * rng.normal(size=80)
    columns = {"tdelay": delay, "Vin": signal, "Vout": -1.0 + 0.01 * rng.normal(size=80)}
    savemat(tmp_path / "scan.mat", {"Data": columns})
    given = {name: value for name, value in {**OXIDE, **settings}.items() if value is not None}
    with pytest.raises(ValueError, match=message) as failure:
        analyse_files([tmp_path / "scan.mat"], given)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("a.txt", "1 2\n2 x\n", {}, "line 2: expected a time and a signal, found '2 x'"),
        ("a.txt", "1 2 3\n", {}, "line 1: expected a time and a signal"),
        ("a.txt", "# nothing\n", {}, "no row with a time and a signal"),
        ("a.txt", "1 2\n2 nan\n", {}, "line 2"),
        ("a.txt", "1 2\n2 3\n", {}, "points after the pulse"),
        ("a.txt", "1 2\n", {"thickness_um": "-2"}, "setting thickness_um=-2: not a number > 0"),
        ("a.txt", "1 2\n", {"heat_capacity": "0"}, "setting heat_capacity=0: not a number > 0"),
        ("a.txt", "1 2\n", {"film_capacity": "-1"}, "setting film_capacity=-1: not a number >= 0"),
        ("a.txt", "1 2\n", {"time_unit": "h"}, "setting time_unit=h"),
        ("a.pdf", "1 2\n", {}, "cannot analyse .pdf here"),
        ("a.mat", "1 2\n", {}, "unknown setting 'thickness_um' for delay scans"),
    ],
)
def test_bad_text_files_are_refused_in_one_line(tmp_path, name, content, settings, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as failure:
        analyse_files([tmp_path / name], {**CELL, **settings})
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no MATLAB file", "not a MATLAB file"),
        ({"Other": np.ones(3)}, "no variable Data, but Other"),
        ({"Data": {"tdelay": np.ones(3)}}, "Data has no columns tdelay, Vin, Vout"),
        ({"Data": np.ones((5, 3))}, "Data has no"),
        ({"Data": np.full((5, 6), np.nan)}, "no row of numbers"),
    ],
)
def test_files_that_are_no_scans_are_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "scan.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(ValueError, match=message) as failure:
        analyse_files([path], OXIDE)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_no_file_and_files_of_two_kinds_are_refused():
    with pytest.raises(ValueError, match="no file to analyse"):
        analyse_files([], CELL)
    with pytest.raises(ValueError, match=r"cannot analyse \.mat, \.txt here"):
        analyse_files(["a.mat", "b.txt"], CELL)
