"""Spectrometer files: what they hold is read exactly, what is cut, foreign or malicious is refused in one line."""

import struct

import numpy as np
import pytest

from megabar.analysis.readers.spe import read_spe

from .spe_files import header, lightfield, winspec

COUNTS = np.arange(24).reshape(2, 3, 4)
NM = np.array([600.0, 600.25, 600.5, 601.0])


@pytest.mark.parametrize(("kind", "full"), [("u2", 65535.0), ("i2", 32767.0), ("i4", 131070.0), ("f4", 131070.0)])
def test_every_type_of_winspec_is_read(tmp_path, kind, full):
    found = read_spe(winspec(tmp_path / "a.spe", COUNTS.astype(kind)))
    assert np.array_equal(found.counts, COUNTS) and found.counts.dtype == float
    assert found.wavelength_nm == pytest.approx([600.2, 600.4, 600.6, 600.8])  # the polynomial counts pixels from 1
    assert (found.exposure_s, found.centre_nm, found.grating) == (0.25, 700.0, "300 grooves per mm")
    assert found.saturation == full  # of the number, or of the converter, two accumulations
    assert not found.background_subtracted


def test_winspec_gives_wavelengths_only_where_they_are_of_these_columns_and_in_nm(tmp_path):
    counts = COUNTS.astype("u2")
    assert read_spe(winspec(tmp_path / "a.spe", counts, unit=b"Raman shift [1/cm]")).wavelength_nm is None
    part = read_spe(winspec(tmp_path / "b.spe", counts, left=101))
    assert part.wavelength_nm is None and part.origin == (0, 100)


@pytest.mark.parametrize("kind", ["u2", "u4", "f4"])
def test_every_type_of_lightfield_is_read_between_what_else_a_frame_holds(tmp_path, kind):
    found = read_spe(lightfield(tmp_path / "a.spe", [COUNTS.astype(kind)], NM, padding=24))
    assert np.array_equal(found.counts, COUNTS)
    assert np.array_equal(found.wavelength_nm, NM)
    assert (found.exposure_s, found.centre_nm, found.grating) == (0.5, 750.0, "860nm,300")
    assert found.detector == "PIXIS: 100BR 0805" and found.saturation == 65535.0
    assert (found.region, found.n_regions, found.origin, found.binning) == (0, 1, (0, 0), (1, 1))


def test_wavelengths_with_errors_and_accumulations_and_the_gate_of_an_intensifier_are_understood(tmp_path):
    settings = (
        "<ReadoutControl><Accumulations>4</Accumulations></ReadoutControl><Gating><Mode>Repetitive</Mode>"
        '<RepetitiveGate><Pulse delay="30" width="2000000" /></RepetitiveGate></Gating>'
    )
    path = lightfield(tmp_path / "a.spe", [COUNTS.astype("f4")], NM, settings=settings, element="WavelengthError")
    found = read_spe(path)
    assert np.array_equal(found.wavelength_nm, NM)
    assert found.exposure_s == pytest.approx(2e-3) and found.saturation == 4 * 65535.0


def test_one_of_several_regions_is_chosen_with_the_wavelengths_of_its_binned_columns(tmp_path):
    sensor_nm = 600.0 + 0.5 * np.arange(20)
    regions = [np.full((2, 1, 3), 7, dtype="u2"), COUNTS.astype("u2")]
    path = lightfield(tmp_path / "a.spe", regions, sensor_nm, origins=((0, 1), (5, 10)), binning=(3, 2))
    with pytest.raises(ValueError, match=r"2 regions of the sensor \(3 x 1, 4 x 3 pixels\): choose one"):
        read_spe(path)
    found = read_spe(path, region=1)
    assert np.array_equal(found.counts, COUNTS)
    assert found.wavelength_nm == pytest.approx([605.25, 606.25, 607.25, 608.25])
    assert (found.origin, found.binning, found.n_regions) == ((5, 10), (3, 2), 2)
    assert np.all(read_spe(path, region=0).counts == 7)
    with pytest.raises(ValueError, match="region 2 is not there: the file has 2"):
        read_spe(path, region=2)


def test_a_file_without_wavelengths_has_none(tmp_path):
    assert read_spe(lightfield(tmp_path / "a.spe", [COUNTS.astype("u2")], np.array([]))).wavelength_nm is None
    path = lightfield(tmp_path / "b.spe", [COUNTS.astype("u2")], NM)
    path.write_bytes(path.read_bytes().replace(b"WavelengthMapping", b"Other"))
    assert read_spe(path).wavelength_nm is None


def refused(path, match):
    with pytest.raises(ValueError, match=match) as failure:
        read_spe(path)
    assert "\n" not in str(failure.value) and str(path) in str(failure.value)


def test_what_is_no_such_file_is_refused(tmp_path):
    refused(tmp_path / "absent.spe", "cannot be read")
    refused(tmp_path, "cannot be read")
    for name, content in (("a", b""), ("b", b"wavelength counts\n" * 400), ("c", bytes(9000))):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "not a .spe file")
    (tmp_path / "old.spe").write_bytes(bytes(header(1.43)))
    refused(tmp_path / "old.spe", "version 1.43 is not read")


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path):
    for made in (winspec(tmp_path / "2", COUNTS.astype("u2")), lightfield(tmp_path / "3", [COUNTS.astype("u2")], NM)):
        whole = made.read_bytes()
        for length in (100, 4099, 4100, 4120, len(whole) - 1):
            made.write_bytes(whole[:length])
            refused(made, "cut short|not a .spe file")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'width="4"', b'width="9"', "cut short"),
        (b'width="4"', b'width="-4"', "whole number"),
        (b'height="3"', b'height="0"', "whole number"),
        (b'count="2"', b'count="3"', "cut short"),
        (b"Unsigned16", b"Unsigned12", "pixel format"),
        (b"<DataFormat>", b"<NataFormat>", "broken"),
        (b"600.25", b"600.x5", "could not convert"),
        (b"600.0,600.25,", b"", "wavelengths of 2 columns for columns 0 to 3"),
        (b"DataFormat>", b"NataFormat>", "no DataFormat"),
        (b"Normal", b"FlippedHorizontally", "other direction"),
        (b"<SpeFormat", b"\xff\xfe", "not text in UTF-8"),
    ],
)
def test_contradictions_in_the_xml_are_refused(tmp_path, old, new, why):
    path = lightfield(tmp_path / "a.spe", [COUNTS.astype("u2")], NM)
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, 1 if new.startswith(b"Flipped") else -1))
    refused(path, why)


def test_part_of_a_flipped_sensor_is_refused_and_a_whole_one_is_read(tmp_path):
    both = ("FlippedHorizontally", "FlippedHorizontally")
    whole = lightfield(tmp_path / "a.spe", [COUNTS.astype("u2")], NM, orientation=both)
    assert np.array_equal(read_spe(whole).wavelength_nm, NM)
    part = lightfield(tmp_path / "b.spe", [COUNTS.astype("u2")], 600.0 + np.arange(9.0), orientation=both)
    refused(part, "part of a flipped one")


def test_a_document_type_is_refused_before_its_entities_are_expanded(tmp_path):
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    prologue = f'<!DOCTYPE lol [<!ENTITY a0 "ha">{entities}]>'
    refused(lightfield(tmp_path / "a.spe", [COUNTS.astype("u2")], NM, prologue=prologue), "document type")


def test_damage_anywhere_ends_in_one_line_or_in_counts(tmp_path):
    rng = np.random.default_rng(1)
    made = [winspec(tmp_path / "2", COUNTS.astype("i4")), lightfield(tmp_path / "3", [COUNTS.astype("f4")], NM)]
    meant = [10, 42, 108, 150, 650, 656, 668, 678, 1446, 1510, 1512, 1992, 3098, 3101, 3263]
    for path in made:
        whole = path.read_bytes()
        for _ in range(300):
            raw = bytearray(whole)
            place = int(rng.choice(meant) if rng.random() < 0.5 else rng.integers(4100, len(raw)))
            raw[place] = int(rng.integers(256))
            path.write_bytes(bytes(raw))
            try:
                assert read_spe(path).counts.ndim == 3
            except ValueError as problem:
                assert "\n" not in str(problem) and str(path) in str(problem)


def test_zero_frames_and_several_regions_of_winspec_are_refused(tmp_path):
    path = winspec(tmp_path / "a.spe", COUNTS.astype("u2"))
    whole = path.read_bytes()
    for offset, form, value, why in (
        (1446, "<i", 0, "are none"),
        (1446, "<i", -1, "are none"),
        (1510, "<h", 2, "regions"),
    ):
        raw = bytearray(whole)
        struct.pack_into(form, raw, offset, value)
        path.write_bytes(bytes(raw))
        refused(path, why)


@pytest.mark.parametrize(
    ("name", "shape", "edges_nm", "exposure_s", "centre_nm"),
    [
        ("pyrometry/test_measurement.spe", (1, 255, 1024), (611.770, 885.792), 0.5, 750.0),
        ("pyrometry/spe-formats/SPE_v2_PIXIS.SPE", (1, 100, 1340), (610.745, 887.298), 0.5, 750.0),
        ("pyrometry/spe-formats/SPE_v3_CustomRegions.spe", (1, 50, 500), (380.161, 485.319), 1.1, 500.0),
        ("pyrometry/spe-formats/SPE_v3_PIMAX.spe", (1, 100, 1024), (359.001, 573.912), 0.1, 500.0),
        ("ruby/Ruby.spe", (1, 100, 1340), (685.648, 713.457), 1.0, 700.0),
    ],
)
def test_measured_files_open(data, name, shape, edges_nm, exposure_s, centre_nm):
    found = read_spe(data / name)
    assert found.counts.shape == shape
    assert found.wavelength_nm[[0, -1]] == pytest.approx(edges_nm, abs=1e-3)
    assert (found.exposure_s, found.centre_nm) == (pytest.approx(exposure_s), centre_nm)
    assert found.saturation == 65535.0


def test_the_ruby_line_of_a_measured_file_is_where_its_author_found_it(data):
    found = read_spe(data / "ruby/Ruby.spe")
    spectrum = found.counts[0, 11:25, 82:753].sum(axis=0)
    assert found.wavelength_nm[82:753][spectrum.argmax()] == pytest.approx(694.32, abs=0.05)
