"""Diffraction images: measured standards, made-up stressed samples, and inputs that cannot be used."""

import sys
from pathlib import Path

import numpy as np
import pytest

from megabar.analysis import angle_dispersive, image_settings
from megabar.analysis.readers import images

fabio = pytest.importorskip("fabio", reason="images need the extra: pip install megabar[images]")
pytest.importorskip("pyFAI", reason="images need the extra: pip install megabar[images]")

SIZE, PIXEL_M, DISTANCE_M, WAVELENGTH_A = 400, 3e-4, 0.22, 0.35
BEAM = (0.0540, 0.0630)  # m along rows and columns: not in the middle, so that a flip shows
PONI = """poni_version: 2
Detector: Detector
Detector_config: {{"pixel1": {pixel}, "pixel2": {pixel}, "max_shape": {shape}}}
Distance: {distance}
Poni1: {poni1}
Poni2: {poni2}
Rot1: 0.0
Rot2: 0.0
Rot3: 0.0
Wavelength: {wavelength}
"""
PROPERTIES = """# Name
 {name}
# Symmetry
 {symmetry}
# EOS
 23.5 160.0 5.0
# model
 1
# isotropic
 0 0 0 0 0 0
# Cij
 {stiffness}
# first
 {zeros}
# second
 {zeros}
"""


def write_poni(folder: Path, **changes) -> Path:
    values = {
        "pixel": PIXEL_M,
        "shape": [SIZE, SIZE],
        "distance": DISTANCE_M,
        "poni1": BEAM[0],
        "poni2": BEAM[1],
        "wavelength": WAVELENGTH_A * 1e-10,
    }
    path = folder / "detector.poni"
    path.write_text(PONI.format(**(values | changes)))
    return path


def write_properties(folder: Path, c11=230.0, c12=130.0, c44=120.0, symmetry="cubic", name="BCC-Fe") -> Path:
    matrix = np.zeros((6, 6))
    matrix[:3, :3] = c12
    matrix[np.diag_indices(6)] = [c11] * 3 + [c44] * 3
    text = [" ".join(map(str, m.ravel())) for m in (matrix, np.zeros((6, 6)))]
    path = folder / "properties.txt"
    path.write_text(PROPERTIES.format(name=name, symmetry=symmetry, stiffness=text[0], zeros=text[1]))
    return path


def write_image(path: Path, image: np.ndarray, **header) -> Path:
    fabio.edfimage.EdfImage(data=image, header={k: str(v) for k, v in header.items()}).write(str(path))
    return path


def rings_of(a_angstrom: float, t_gpa: float, axis_deg: float, seed: int, spots=0) -> np.ndarray:
    """Counts of bcc iron under stress, isotropic shear modulus 75 GPa, as a detector would see them; own geometry."""
    rng = np.random.default_rng(seed)
    y, x = (np.arange(SIZE) + 0.5)[:, None] * PIXEL_M - BEAM[0], (np.arange(SIZE) + 0.5) * PIXEL_M - BEAM[1]
    angle, azimuth = np.arctan2(np.hypot(x, y), DISTANCE_M), np.arctan2(y, x)
    q = t_gpa / (6.0 * 75.0)
    mean = np.full((SIZE, SIZE), 6.0)
    for hkl, height in (((1, 1, 0), 300.0), ((2, 0, 0), 60.0), ((2, 1, 1), 100.0)):
        d_p = a_angstrom / np.sqrt(sum(i * i for i in hkl))
        cos_psi = np.cos(0.5 * angle) * np.cos(azimuth - np.radians(axis_deg))
        d = d_p * (1.0 + (1.0 - 3.0 * cos_psi**2) * q)
        place = 2.0 * np.arcsin(0.5 * WAVELENGTH_A / d)
        mean += height * np.exp(-0.5 * ((angle - place) / 0.0015) ** 2)
    d_other = 2.08  # another phase's ring close to 110
    place = 2.0 * np.arcsin(0.5 * WAVELENGTH_A / d_other)
    mean += 60.0 * np.exp(-0.5 * ((angle - place) / 0.0015) ** 2)
    image = rng.poisson(mean).astype(np.int32)
    for row, column in rng.integers(0, SIZE, (spots, 2)):
        image[row : row + 2, column : column + 2] = 50000
    return image


@pytest.fixture(scope="module")
def measured(data):
    folder = data / "diffraction-2d"
    fe = {"elasticity": str(folder / "Properties_Fe-BCC.txt"), "mask": str(folder / "DiffractionMask_Dioptas.mask")}
    return {
        "CeO2": angle_dispersive.analyse_image(folder / "CeO2_Pil207_E30_2Nov2016_001.tif", {"phase": "CeO2"}),
        "Fe": angle_dispersive.analyse_image(folder / "BCC1_2GPa_10s_001_00001.tif", fe),
    }


@pytest.mark.parametrize("ring", ["111", "200", "220", "311", "222", "331"])
def test_measured_ceria_has_its_lattice_parameter_in_every_ring(measured, ring):
    a = measured["CeO2"]["results"][f"a_{ring}"]
    assert a["value"] == pytest.approx(5.4115, rel=2e-4)
    assert a["unit"] == "angstrom"
    assert abs(a["value"] - 5.4115) < 3 * np.hypot(a["error"], a["systematic"])


def test_measured_ceria_is_flipped_and_says_so(measured):
    assert any("flipped vertically" in note and "Dioptas" in note for note in measured["CeO2"]["notes"])
    assert any("only .poni beside" in note for note in measured["CeO2"]["notes"])
    assert measured["CeO2"]["results"]["lattice_parameter"]["value"] == pytest.approx(5.4115, rel=1e-4)


def test_measured_iron_gives_one_lattice_parameter_in_all_rings(measured):
    results = measured["Fe"]["results"]
    rings = [results[f"a_{hkl}"]["value"] for hkl in ("110", "200", "211")]
    assert np.ptp(rings) / np.mean(rings) < 3e-4
    assert results["lattice_parameter"]["value"] == pytest.approx(2.8589, abs=1e-3)
    assert 0.0 < results["pressure"]["value"] < 3.0


def test_measured_iron_is_stressed_and_its_neighbours_are_fitted_along(measured):
    results, notes = measured["Fe"]["results"], measured["Fe"]["notes"]
    stress = results["differential_stress"]
    assert stress["unit"] == "GPa"
    assert 0.3 < stress["value"] < 0.8
    assert stress["value"] > 5 * np.hypot(stress["error"], stress["systematic"])
    for hkl in ("110", "200", "211"):
        assert results[f"q_{hkl}"]["value"] > 5 * results[f"q_{hkl}"]["error"]
        assert results[f"t_{hkl}"]["value"] == pytest.approx(stress["value"], rel=0.3)
    assert any("ring 110" in note and "11.19" in note for note in notes)  # the neighbour near 11.2 degrees
    assert any("smallest" in note and "t > 0" in note for note in notes)


def test_measured_iron_swings_around_the_ring(measured):
    results = measured["Fe"]["results"]
    axis = results["axis_azimuth"]["value"]
    sectors = {
        float(name.rpartition("_")[2]): entry
        for name, entry in results.items()
        if name.startswith("lattice_parameter_azimuth_")
    }
    assert len(sectors) > 25
    along = np.mean([s["value"] for z, s in sectors.items() if abs(np.cos(np.radians(z - axis))) > 0.9])
    across = np.mean([s["value"] for z, s in sectors.items() if abs(np.cos(np.radians(z - axis))) < 0.3])
    assert 1.001 < across / along < 1.005
    assert all(0.0 < entry["error"] < 0.002 and entry["systematic"] > 0.0 for entry in sectors.values())


@pytest.mark.parametrize(("turned", "orientation"), [(False, "auto"), (True, "auto"), (True, "dioptas")])
def test_known_stress_is_recovered_the_right_way_up(tmp_path, turned, orientation):
    image = rings_of(2.85, 0.6, axis_deg=90.0, seed=1, spots=40)
    path = write_image(tmp_path / "sample.edf", image[::-1] if turned else image)
    settings = {
        "calibration": str(write_poni(tmp_path)),
        # isotropic: C11 - C12 = 2 C44 = 150
        "elasticity": str(write_properties(tmp_path, c11=250.0, c12=100.0, c44=75.0)),
        "axis_azimuth_deg": "90",
        "orientation": orientation,
        "lines": "110,200,211",
    }
    answer = angle_dispersive.analyse_image(path, settings)
    results = answer["results"]
    for name, truth in (("differential_stress", 0.6), ("lattice_parameter", 2.85), ("q_110", 0.6 / 450.0)):
        entry = results[name]
        assert abs(entry["value"] - truth) < 3 * np.hypot(entry["error"], entry["systematic"]), name
    assert results["differential_stress"]["error"] < 0.05
    assert abs(abs(results["axis_azimuth"]["value"]) - 90.0) < 5.0
    assert any(
        ("flipped vertically" in note) == turned for note in answer["notes"] if note.startswith(("image", "orient"))
    )
    assert any("single-crystal spots" in note for note in answer["notes"])


def test_axis_chosen_across_the_compression_gives_negative_stress(tmp_path):
    path = write_image(tmp_path / "sample.edf", rings_of(2.85, 0.6, axis_deg=90.0, seed=2))
    settings = {"elasticity": str(write_properties(tmp_path)), "axis_azimuth_deg": "0", "lines": "110,211"}
    write_poni(tmp_path)
    assert angle_dispersive.analyse_image(path, settings)["results"]["differential_stress"]["value"] < -0.2


def test_several_images_share_means_and_keep_the_systematic_term(tmp_path):
    write_poni(tmp_path)
    paths = [write_image(tmp_path / f"{i}.edf", rings_of(2.85, 0.3, 0.0, seed=i)) for i in (3, 4)]
    answer = angle_dispersive.analyse_images(paths, {"phase": "bcc-Fe", "lines": "110,211", "sectors": "18"})
    each = [file["results"]["lattice_parameter"] for file in answer["files"]]
    mean = answer["results"]["lattice_parameter"]
    assert mean["value"] == pytest.approx(np.mean([e["value"] for e in each]))
    assert mean["error"] == pytest.approx(np.hypot(each[0]["error"], each[1]["error"]) / 2)
    assert mean["systematic"] == pytest.approx(each[0]["systematic"], rel=1e-3)


def test_lines_that_are_not_there_are_named(tmp_path):
    write_poni(tmp_path)
    path = write_image(tmp_path / "sample.edf", rings_of(2.85, 0.3, 0.0, seed=5))
    answer = angle_dispersive.analyse_image(path, {"phase": "bcc-Fe", "lines": "110,211,222,987"})
    assert [text[:8] for text in answer["left_out"] if "no ring" in text] == ["ring 222", "ring 987"]
    with pytest.raises(ValueError, match=r"no ring of bcc-Fe .* can be used: ring 222"):
        angle_dispersive.analyse_image(path, {"phase": "bcc-Fe", "lines": "222"})
    with pytest.raises(ValueError, match="no standard is recognised in these 400 x 400 pixels"):
        angle_dispersive.analyse_image(path, {})


def test_calibration_of_another_detector_is_refused(tmp_path):
    image = rings_of(2.85, 0.0, 0.0, seed=6)
    path = write_image(tmp_path / "sample.edf", image)
    write_poni(tmp_path, shape=[500, 400])
    with pytest.raises(ValueError, match=r"400 x 400 pixels, but detector\.poni is for a detector of 500 x 400"):
        angle_dispersive.analyse_image(path, {"phase": "bcc-Fe"})
    write_poni(tmp_path)
    path = write_image(tmp_path / "other.edf", image, PSize_1=1e-4, PSize_2=1e-4)
    with pytest.raises(ValueError, match=r"pixels of 100 x 100 um, but detector\.poni has 300 x 300 um"):
        angle_dispersive.analyse_image(path, {"phase": "bcc-Fe"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Distance, Poni1, Poni2, Wavelength missing"),
        ("Distance: 0.3\nPoni1: 0\nPoni2: 0\n", "Wavelength missing"),
        ("Distance: far\n", "line 1: Distance is 'far', not a number"),
        ("Distance: -1\nPoni1: 0\nPoni2: 0\nWavelength: 1e-11\n", "positive"),
        ("Distance: nan\nPoni1: 0\nPoni2: 0\nWavelength: 1e-11\n", "positive"),
        ("Distance: 0.3\nPoni1: 0\nPoni2: 0\nWavelength: 1e-11\n", "no pixel size"),
        ("Detector: Nonsense9\nDistance: 0.3\nPoni1: 0\nPoni2: 0\nWavelength: 1e-11\n", "cannot use|no pixel size"),
    ],
)
def test_incomplete_poni_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "bad.poni"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as failure:
        images.read_calibration(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_unreadable_files_are_refused_in_one_line(tmp_path):
    garbage = tmp_path / "bad.tif"
    garbage.write_bytes(b"\x00\x01not an image at all" * 100)
    binary = tmp_path / "bad.poni"
    binary.write_bytes(b"\xff\xfe\x80" * 30)
    missing = tmp_path / "missing.tif"
    for read, path in ((images.read_image, garbage), (images.read_image, missing), (images.read_calibration, binary)):
        with pytest.raises(ValueError, match=path.name) as failure:
            read(path)
        assert "\n" not in str(failure.value)
    binary.unlink()
    image = write_image(tmp_path / "image.edf", np.ones((50, 50)))
    with pytest.raises(ValueError, match=r"0 \.poni files beside the image; set calibration="):
        angle_dispersive.analyse_image(image, {})


def test_mask_of_another_size_is_refused_and_a_turned_one_is_turned(tmp_path):
    write_poni(tmp_path)
    image = rings_of(2.85, 0.3, 0.0, seed=7)
    image[30:40] = -1  # a dead module
    path = write_image(tmp_path / "sample.edf", image)
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    mask[25:45] = 1
    write_image(tmp_path / "mask.edf", mask[::-1])
    settings = {"phase": "bcc-Fe", "lines": "110,211", "mask": str(tmp_path / "mask.edf")}
    answer = angle_dispersive.analyse_image(path, settings)
    assert any("mask.edf: 5.0% of the pixels, flipped vertically to the image" in note for note in answer["notes"])
    write_image(tmp_path / "mask.edf", mask[:100])
    with pytest.raises(ValueError, match="mask of 100 x 400 pixels for an image of 400 x 400"):
        angle_dispersive.analyse_image(path, settings)


def test_dioptas_mask_is_read(data):
    mask = images.read_mask(data / "diffraction-2d" / "DiffractionMask_Dioptas.mask", (1043, 981))
    assert 0.15 < mask.mean() < 0.25


@pytest.mark.parametrize("missing", ["fabio", "pyFAI"])
def test_a_missing_extra_is_named_with_its_remedy(tmp_path, monkeypatch, missing):
    path = write_image(tmp_path / "sample.edf", np.ones((50, 50)))
    write_poni(tmp_path)
    for module in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"images need {missing}.*pip install megabar\[images\]"):
        angle_dispersive.analyse_image(path, {"phase": "bcc-Fe"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": "red"}, "unknown setting 'colour' for images: accepted are calibration"),
        ({"orientation": "sideways"}, "dioptas"),
        ({"lines": "11"}, "three Miller indices"),
        ({"lines": "000"}, "three Miller indices"),
        ({"sectors": "3"}, "8 to 180"),
        ({"alpha": "nan"}, "not a finite number"),
        ({"search": "-1"}, "not above 0"),
        ({"elasticity": "nowhere.txt"}, "FILE with equation of state"),
    ],
)
def test_settings_that_cannot_be_read_are_named(settings, message):
    with pytest.raises(ValueError, match=message) as failure:
        image_settings.read_image_settings(settings)
    assert "\n" not in str(failure.value)


def test_unknown_phase_needs_where_to_look(tmp_path):
    write_poni(tmp_path)
    path = write_image(tmp_path / "sample.edf", rings_of(2.85, 0.3, 0.0, seed=8))
    with pytest.raises(ValueError, match="phase 'unobtainium' is unknown: set phase"):
        angle_dispersive.analyse_image(path, {"phase": "unobtainium"})
    found = {"phase": "unobtainium", "lattice_parameter_angstrom": "2.86", "lines": "110 211"}
    assert angle_dispersive.analyse_image(path, found)["results"]["a_110"]["value"] == pytest.approx(2.85, abs=2e-3)


def test_properties_file_gives_elastic_constants_at_pressure(data, tmp_path):
    iron = image_settings.read_properties(data / "diffraction-2d" / "Properties_Fe-BCC.txt")
    assert (iron.name, iron.volume_a3, iron.bulk_modulus_gpa, iron.bulk_derivative) == ("BCC-Fe", 23.5, 159.9, 6.52)
    at_2_gpa = iron.elasticity(2.0)
    assert (at_2_gpa.c11_gpa, at_2_gpa.c12_gpa) == (pytest.approx(235.2449), pytest.approx(135.16326))
    assert at_2_gpa.c44_gpa == pytest.approx(126.89796)
    a0 = iron.lattice_parameter_angstrom
    assert iron.pressure(a0) == pytest.approx(0.0, abs=1e-12)
    assert iron.pressure(a0 * (1 - 1e-5)) == pytest.approx(3e-5 * 159.9, rel=1e-3)
    with pytest.raises(ValueError, match="symmetry 'hexagonal'; only cubic"):
        image_settings.read_properties(write_properties(tmp_path, symmetry="hexagonal"))
    short = tmp_path / "short.txt"
    short.write_text("# Name\nx\n# Symmetry\ncubic\n")
    with pytest.raises(ValueError, match="2 blocks under # lines, 8 are needed"):
        image_settings.read_properties(short)
    broken = write_properties(tmp_path)
    broken.write_text(broken.read_text().replace("23.5 160.0 5.0", "23.5 hard 5.0"))
    with pytest.raises(ValueError, match="3 numbers are needed"):
        image_settings.read_properties(broken)
