import json
from pathlib import Path

import numpy as np
import pytest

from megabar.analysis.deformation import analyse_files
from megabar.analysis.deformation_settings import ACCEPTED, read_azimuths, read_settings


@pytest.fixture(scope="module")
def folder(data):
    return data / "diffraction-ed"


@pytest.fixture(scope="module")
def history(folder):
    """The hot deformation of the measured series, analysed once."""
    files = sorted(folder.glob("COSI_022_*.med"))
    settings = {"azimuths": str(folder / "W2010_10element_moved.txt"), "axis_azimuth_deg": "10"}
    return analyse_files(files, settings)


def column(answer, name, key="value"):
    return np.array([entry["results"][name][key] for entry in answer["files"]])


def test_corundum_is_recognised_and_its_spacings_are_those_of_the_standard(folder):
    answer = analyse_files([folder / "COSI_021_0001.med"])
    entry = answer["files"][0]
    for hkl, d in (("012", 3.4797), ("104", 2.5508), ("113", 2.0853), ("116", 1.6014)):
        found = [entry["results"][f"d_{hkl}_detector_{i}"]["value"] for i in range(1, 11) if i != 5]
        assert np.max(np.abs(np.array(found) / d - 1)) < 8e-4
        assert f"d_{hkl}_detector_5" not in entry["results"]
    assert entry["left_out"] == ["detector 5: no energy calibration"]
    assert answer["results"]["d_113"]["unit"] == "angstrom"


def test_lattice_parameter_of_mgo_depends_on_the_azimuth(history):
    first = history["files"][0]["results"]
    along = [first[f"lattice_parameter_detector_{i}"]["value"] for i in (1, 2, 8, 9)]
    across = [first[f"lattice_parameter_detector_{i}"]["value"] for i in (4, 6, 10)]
    assert min(along) > 4.156 and max(along) < 4.164
    assert min(across) > 4.169
    assert "detector 5: no energy calibration" in history["files"][0]["left_out"]


def test_stress_history_is_compression_that_relaxes_on_heating(history):
    stress, error = column(history, "differential_stress"), column(history, "differential_stress", "error")
    temperature = column(history, "temperature")
    assert len(stress) == 13 and np.all(stress > 5 * error)
    assert np.all(np.diff(temperature) > 0)
    assert stress[0] > 0.7 and stress[-1] < 0.6
    assert np.corrcoef(temperature, stress)[0, 1] < -0.9
    assert np.all(column(history, "differential_stress", "systematic") > 0.05 * stress)
    assert all(any("t > 0: compression along the axis" in note for note in f["notes"]) for f in history["files"])


def test_the_sample_says_where_its_axis_is(history):
    """The detector was turned by ten degrees: smallest spacings at azimuth 10 of its file, here at 0."""
    axis = column(history, "axis_azimuth")
    assert abs(np.mean(axis)) < 6


def test_lines_of_another_phase_are_left_out_by_name(history):
    assert all(any(text.startswith("MgO 111") for text in f["left_out"]) for f in history["files"])
    assert all("t_111" not in f["results"] for f in history["files"])


def test_lines_agree_on_the_stress_within_what_plasticity_does(history):
    """Lines of deforming MgO differ by 10-30 %, and 200 is the weak one."""
    t_200, t_220 = column(history, "t_200"), column(history, "t_220")
    assert np.all(np.abs(t_200 - t_220) < 0.3 * t_220)
    assert np.mean(t_200 / t_220) < 1


def test_answer_is_strict_json_with_every_value_finite(history):
    text = json.dumps(history, allow_nan=False)
    assert "differential_stress" in json.loads(text)["results"]
    for entry in history["files"]:
        assert set(entry) >= {"file", "results", "left_out", "notes"}
        assert all(set(value) == {"value", "error", "systematic", "unit"} for value in entry["results"].values())


def test_calibration_on_the_standard_brings_detectors_together(folder):
    files = [folder / "COSI_022_0043.med"]
    settings = {"standard": str(folder / "COSI_021_0001.med")}
    plain = analyse_files(files)["files"][0]["results"]
    calibrated = analyse_files(files, settings)["files"][0]["results"]

    def pair(results):  # the same azimuth, half a turn apart
        one, nine = (results[f"lattice_parameter_detector_{i}"]["value"] for i in (1, 9))
        return abs(one - nine)

    assert pair(calibrated) < pair(plain) + 5e-4
    assert abs(calibrated["lattice_parameter"]["value"] - plain["lattice_parameter"]["value"]) < 2e-3


def test_opposite_sign_of_the_axis_gives_tension(folder):
    """The sign is not built in: with the axis put across, the same data are extension."""
    answer = analyse_files([folder / "COSI_022_0019.med"], {"axis_azimuth_deg": "90"})
    assert answer["results"]["differential_stress"]["value"] < 0
    assert any("check axis_azimuth_deg" in note for note in answer["files"][0]["notes"])


def test_windows_and_foreign_lines_can_be_given(folder):
    settings = {
        "phase": "MgO",
        "lines": "200,220",
        "windows_kev": "200:51.2-53.3 220:72-75.5",
        "elastic_constants_gpa": "270,97,150",
        "temperature_k": "810",
        "temperature_error_k": "6",
    }
    result = analyse_files([folder / "COSI_022_0019.med"], settings)["files"][0]
    assert result["results"]["lattice_parameter"]["value"] == pytest.approx(4.168, abs=2e-3)
    assert any("C11, C12, C44 = 270, 97, 150" in note for note in result["notes"])


def test_lines_with_spacings_are_enough_for_any_phase(folder):
    settings = {"phase": "alumina", "lines": "104:2.5508,113:2.0853"}
    result = analyse_files([folder / "COSI_021_0001.med"], settings)["files"][0]["results"]
    assert result["d_104"]["value"] == pytest.approx(2.5508, rel=3e-4)


def test_fewer_detectors_and_dos_line_ends_make_no_difference(folder, tmp_path):
    text = (folder / "COSI_021_0001.med").read_text()
    head, rows = text.split("DATA:", 1)
    keep = []
    for line in head.splitlines():
        key, _, values = line.partition(":")
        if key in ("REAL_TIME", "LIVE_TIME", "CAL_OFFSET", "CAL_SLOPE", "CAL_QUAD", "TWO_THETA"):
            line = f"{key}: {' '.join(values.split()[:3])}"
        elif key == "ELEMENTS":
            line = "ELEMENTS: 3"
        keep.append(line)
    body = [" ".join(row.split()[:3]) for row in rows.splitlines()[1:]]
    path = tmp_path / "three.med"
    path.write_bytes("\r\n".join([*keep, "DATA: ", *body, ""]).encode())
    few = analyse_files([path])["files"][0]
    whole = analyse_files([folder / "COSI_021_0001.med"])["files"][0]
    assert few["results"]["d_113_detector_2"]["value"] == pytest.approx(
        whole["results"]["d_113_detector_2"]["value"], rel=1e-5
    )
    assert any("azimuths of 3 detectors unknown" in note for note in few["notes"])


def test_without_azimuths_there_are_lattice_parameters_but_no_stress(folder, tmp_path):
    text = (folder / "COSI_022_0019.med").read_text()
    path = tmp_path / "nine.med"
    head, rows = text.split("DATA:", 1)
    lines = []
    for line in head.splitlines():
        key, _, values = line.partition(":")
        if key in ("REAL_TIME", "LIVE_TIME", "CAL_OFFSET", "CAL_SLOPE", "CAL_QUAD", "TWO_THETA"):
            line = f"{key}: {' '.join(values.split()[:9])}"
        lines.append("ELEMENTS: 9" if key == "ELEMENTS" else line)
    body = [" ".join(row.split()[:9]) for row in rows.splitlines()[1:]]
    path.write_text("\n".join([*lines, "DATA: ", *body, ""]))
    found = analyse_files([path])["files"][0]
    assert found["results"]["lattice_parameter_detector_9"]["value"] == pytest.approx(4.1574, abs=1e-3)
    assert "differential_stress" not in found["results"]
    assert any("no stress and no pressure" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"axis_azimut": "3"}, "unknown setting 'axis_azimut'.*axis_azimuth_deg.*elastic_constants_gpa"),
        ({"axis_azimuth_deg": "north"}, "axis_azimuth_deg=north"),
        ({"alpha": "nan"}, "alpha=nan"),
        ({"elastic_constants_gpa": "1,2"}, "2 numbers; expected C11,C12,C44"),
        ({"elastic_constants_gpa": "100,200,50"}, "stable cubic"),
        ({"windows_kev": "200:53-51"}, "hkl:low-high"),
        ({"lines": "20"}, "three Miller indices"),
        ({"azimuths": "/nowhere/at/all.txt"}, "azimuths=/nowhere"),
        ({"azimuths": "1,2,3"}, "3 azimuths for 10 detectors"),
        ({"phase": "olivine"}, "needs spacings"),
        ({"lattice_parameter_angstrom": "3.0"}, "neither corundum nor MgO|no line of MgO"),
        ({"temperature_pv": "no:such"}, "no:such"),
    ],
)
def test_bad_settings_are_refused_in_one_line(folder, settings, says):
    with pytest.raises(ValueError, match=says) as refused:
        analyse_files([folder / "COSI_022_0019.med"], settings)
    assert "\n" not in str(refused.value)


def test_every_accepted_setting_is_a_field():
    fields = set(read_settings({}).__dataclass_fields__) | {"elastic_constants_gpa"}
    assert set(ACCEPTED) <= fields


def test_no_files_and_mixed_files_are_refused():
    with pytest.raises(ValueError, match="no file"):
        analyse_files([])
    with pytest.raises(ValueError, match=r"cannot analyse \.tif"):
        analyse_files(["a.med", "b.tif"])
    with pytest.raises(ValueError, match=r"cannot analyse \.xyz"):
        analyse_files(["a.xyz"])


def test_azimuth_file_is_read_and_damage_named(folder, tmp_path):
    assert read_azimuths(folder / "W2010_10element_moved.txt") == pytest.approx(
        [10, 32.5, 55, 77.5, 100, 122.5, 145, 167.5, 190, 280]
    )
    path = tmp_path / "a.txt"
    path.write_text("# comment\n1, 10\n3, 30\n")
    with pytest.raises(ValueError, match=r"a\.txt: line 3: detector 3 where 2"):
        read_azimuths(path)


def test_calibration_may_come_as_a_setting_or_as_a_file_among_the_images(data: Path):
    folder = data / "diffraction-2d"
    image, poni = folder / "CeO2_Pil207_E30_2Nov2016_001.tif", folder / "CeO2_cal_Dioptas.poni"
    told = [analyse_files([image], {"poni": str(poni)}), analyse_files([image, poni], {"sectors": "36"})]
    for answer in told:
        assert answer["files"][0]["results"]["lattice_parameter"]["value"] == pytest.approx(5.4115, abs=1e-3)
    with pytest.raises(ValueError, match="given already"):
        analyse_files([image, poni], {"calibration": str(poni)})
