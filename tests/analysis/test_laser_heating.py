"""`analyse laser_heating` on spectrometer files: measured ones, and made ones whose temperature is known."""

import json

import numpy as np
import pytest

from megabar.analysis.laser_heating import analyse_files

from .spe_files import lightfield, winspec

NM = np.linspace(600.0, 860.0, 400)
GAIN, READ_NOISE, N_ROWS, LAMP_K = 2.0, 6.0, 12, 2850.0


def emission(temperature_k):
    """Planck's shape in wavelength, highest 1 in the range; from the decimal value of the constant."""
    radiance = NM**-5 / (np.exp(1.438776877e7 / (NM * temperature_k)) - 1.0)
    return radiance / radiance.max()


RESPONSE = np.exp(-(((NM - 740.0) / 110.0) ** 2)) * (1.0 + 0.1 * np.sin(NM / 20.0))


def counts(temperature_k, level, rng=None, n_frames=1, scale=1.0):
    """Frames of 20 rows, of which the rows 4 to 15 see the spot; `level` counts where it is brightest."""
    light = np.zeros((n_frames, 20, len(NM)))
    light[:, 4 : 4 + N_ROWS] = scale * level * RESPONSE * emission(temperature_k)
    if rng is None:
        return light.astype("f4")
    electrons = rng.poisson(GAIN * light) + READ_NOISE * rng.standard_normal(light.shape)
    return (electrons / GAIN).astype("f4")


@pytest.fixture
def bench(tmp_path):
    """Writes a measurement, and the settings with its calibration."""
    calibration = lightfield(tmp_path / "lamp.spe", [counts(LAMP_K, 50000.0)], NM, subtracted=True)
    settings = {"calibration": str(calibration), "lamp_k": f"{LAMP_K}", "rows": "4-15", "range_nm": "620-840"}

    def write(frames, name="hot.spe", **options):
        return lightfield(tmp_path / name, [frames], NM, **{"subtracted": True, **options})

    return write, settings


def value(answer, name="temperature"):
    return answer["results"][name]


def test_a_measured_spectrum_gives_its_known_temperature(data):
    """1047 K by those who published the file; recomputed independently 1046.9 +- 14.7 K, and 1029.5 K without a row."""
    folder = data / "pyrometry"
    settings = {
        "calibration": str(folder / "ds_calibration.spe"),
        "lamp": str(folder / "15A_lamp.txt"),
        "rows": "152-163",
        "range_nm": "666-836",
    }
    answer = analyse_files([folder / "test_measurement.spe"], settings)
    found = value(answer)
    assert round(found["value"]) == 1047 and found["unit"] == "K"
    assert found["value"] == pytest.approx(1046.9, abs=0.05)
    assert found["error"] == pytest.approx(14.7, rel=0.03)  # that error takes the same noise in all pixels
    less = value(analyse_files([folder / "test_measurement.spe"], {**settings, "rows": "152-162"}))
    assert less["value"] == pytest.approx(1029.5, abs=0.05)
    weighted = value(analyse_files([folder / "test_measurement.spe"], {**settings, "gain": "1", "read_noise": "10"}))
    assert abs(weighted["value"] - found["value"]) < found["error"]
    assert answer["history"] == ["temperature"]
    json.dumps(answer, allow_nan=False)


def test_light_of_a_known_temperature_is_found_whatever_the_response(bench):
    write, settings = bench
    found = analyse_files([write(counts(2400.0, 8000.0))], settings)
    assert value(found)["value"] == pytest.approx(2400.0, abs=0.1)
    assert value(found, "two_colour_temperature")["value"] == pytest.approx(2400.0, abs=1.0)
    assert abs(value(found, "temperature_slope")["value"]) < 0.1
    for name in ("emissivity", "window", "gradient", "lamp", "saturation", "zero"):
        assert any(f"{name} " in note for note in found["files"][0]["notes"])
    assert 20.0 < value(found)["systematic"] < 150.0


@pytest.mark.parametrize(("level", "known"), [(15.0, True), (2000.0, True), (15.0, False)])
def test_pulls_of_counted_light_are_normal(bench, level, known):
    write, settings = bench
    rng = np.random.default_rng(6)
    noise = {"gain": str(GAIN), "read_noise": str(READ_NOISE)} if known else {}
    answer = analyse_files([write(counts(1900.0, level, rng, n_frames=200))], {**settings, **noise})
    results = [file["results"]["temperature"] for file in answer["files"]]
    pulls = np.array([(found["value"] - 1900.0) / found["error"] for found in results])
    assert len(pulls) == 200
    assert abs(pulls.mean()) <= 0.25
    assert 0.85 < pulls.std() < 1.15


def test_frames_are_a_series(bench):
    write, settings = bench
    frames = np.concatenate([counts(kelvin, 5000.0) for kelvin in (2000.0, 2500.0)])
    answer = analyse_files([write(frames), write(counts(3000.0, 5000.0), "next.spe")], settings)
    assert [file["results"]["temperature"]["value"] for file in answer["files"]] == pytest.approx(
        [2000.0, 2500.0, 3000.0], abs=0.1
    )
    assert [file["file"].rpartition("/")[2] for file in answer["files"]] == [
        "hot.spe frame 0",
        "hot.spe frame 1",
        "next.spe",
    ]
    assert value(answer)["value"] == pytest.approx(2500.0, abs=0.1)


def test_rows_and_range_include_both_ends(bench):
    write, settings = bench
    frames = counts(2400.0, 8000.0)
    frames[0, 15] *= 3.0
    frames[0, 16, :] = 9e4  # the next row is saturated
    outer = {edge: int(np.abs(NM - edge).argmin()) for edge in (620.0, 840.0)}
    frames[0, 4, [outer[620.0] - 1, outer[840.0] + 1]] = 9e4
    path = write(frames)
    assert analyse_files([path], settings)["files"][0]["left_out"] == []
    frames[0, 4, list(outer.values())] = 9e4
    assert analyse_files([write(frames)], settings)["files"][0]["left_out"] == ["2 pixels are saturated"]
    assert analyse_files([path], {**settings, "rows": "4-16", "saturation": "1e6"})["files"][0]["left_out"] == []


def test_saturated_pixels_are_left_out_and_told_and_too_many_refused(bench):
    write, settings = bench
    spectrum = counts(2400.0, 8000.0)
    background = 900.0
    clipped = np.minimum(5.0 * spectrum, 24000.0 - background)  # the converter is full at 24000 counts
    chosen = {**settings, "saturation": "24000", "calibration": settings["calibration"]}
    lamp = counts(LAMP_K, 20000.0)
    answer = analyse_files([write(clipped)], {**chosen, "calibration": str(write(lamp, "weak_lamp.spe"))})
    assert value(answer)["value"] == pytest.approx(2400.0, abs=0.2)
    (told,) = answer["files"][0]["left_out"]
    assert int(told.split()[0]) == np.sum((5.0 * spectrum[0, 4] > 0.95 * 24000.0)[(NM > 619.6) & (NM < 840.2)])
    with pytest.raises(ValueError, match=r"hot.spe: 0 of \d+ pixels are not saturated"):
        analyse_files([write(np.full_like(spectrum, 65000.0))], settings)


def test_a_dark_file_is_subtracted_and_its_absence_refused(bench, tmp_path):
    write, settings = bench
    dark = np.full((3, 20, len(NM)), 600.0) + 5.0 * np.arange(len(NM)) / len(NM)
    hot = write((counts(2400.0, 8000.0) + dark[:1]).astype("u2"), subtracted=False)
    without_light = write(np.rint(dark).astype("u2"), "dark.spe", subtracted=False)
    with pytest.raises(ValueError, match=r"hot.spe: the background is not subtracted in the file: set dark"):
        analyse_files([hot], settings)
    by_file = analyse_files([hot], {**settings, "dark": str(without_light)})
    assert value(by_file)["value"] == pytest.approx(2400.0, abs=3.0)
    by_level = analyse_files([hot], {**settings, "dark": "602.5"})
    assert value(by_level)["value"] == pytest.approx(2400.0, abs=10.0)
    assert abs(value(analyse_files([hot], {**settings, "dark": "0"}))["value"] - 2400.0) > 50.0
    other = write(np.rint(dark).astype("u2"), "short.spe", subtracted=False, exposure_ms=100.0)
    with pytest.raises(ValueError, match=r"0.5 s, but short.spe 0.1 s"):
        analyse_files([hot], {**settings, "dark": str(other)})
    with pytest.raises(ValueError, match="is subtracted in the file: no dark"):
        analyse_files([write(counts(2400.0, 8000.0))], {**settings, "dark": "0"})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"grating": "500nm,1800"}, "grating 500nm,1800, but lamp.spe has 860nm,300"),
        ({"centre_nm": 700.0}, "centre wavelength in nm 700.0, but lamp.spe has 750.0"),
        ({"origins": ((2, 0),)}, r"region begins at \(2, 0\), but lamp.spe has \(0, 0\)"),
    ],
)
def test_a_calibration_of_another_setting_is_refused(bench, options, why):
    write, settings = bench
    with pytest.raises(ValueError, match=f"hot.spe: {why}"):
        analyse_files([write(counts(2400.0, 8000.0), **options)], settings)


def test_a_calibration_of_another_detector_or_wavelength_is_refused(bench, tmp_path):
    write, settings = bench
    frames = counts(2400.0, 8000.0)
    with pytest.raises(ValueError, match=r"detector size \(19, 400\), but lamp.spe has \(20, 400\)"):
        analyse_files([write(frames[:, :19])], settings)
    moved = lightfield(tmp_path / "moved.spe", [frames], NM + 0.5, subtracted=True)
    with pytest.raises(ValueError, match=r"other wavelengths than lamp\.spe"):
        analyse_files([moved], settings)
    raman = winspec(tmp_path / "raman.spe", frames, unit=b"Raman shift")
    with pytest.raises(ValueError, match="no calibration of wavelength in nm"):
        analyse_files([raman], {**settings, "calibration": str(raman)})
    falling = lightfield(tmp_path / "falling.spe", [frames], NM[::-1], subtracted=True)
    with pytest.raises(ValueError, match="rise from pixel to pixel"):
        analyse_files([falling], {**settings, "calibration": str(falling)})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rows": "4-20"}, "rows 4-20: the detector has rows 0-19"),
        ({"range_nm": "500-700"}, "range 500-700 nm: it has 600.0-860.0 nm"),
        ({"range_nm": "700-703"}, "pixels are not saturated: 16 at least"),
        ({"rows": "0-3"}, "the lamp gave no counts"),
        ({"rows": "15-4"}, "setting rows=15-4: not LOW-HIGH; expected"),
        ({"rows": "1.5-4"}, "not whole numbers"),
        ({"range_nm": "620"}, "not LOW-HIGH"),
        ({"gain": "0"}, "not a number > 0"),
        ({"gain": "nan"}, "not a number >= 0"),
        ({"read_noise": "3"}, "needs gain="),
        ({"emissivity": "0.3"}, "unknown setting 'emissivity' for spectra: accepted are calibration, lamp"),
        ({"lamp": "absent.txt"}, "setting lamp=absent.txt: absent.txt: not a table"),
        ({"lamp_k": "0"}, "not a number > 0"),
        ({"gradient": "1"}, "gradient is below 1"),
        ({"calibration": "absent.spe"}, "absent.spe: cannot be read"),
        ({"region": "3"}, "region 3 is not there"),
    ],
)
def test_settings_that_cannot_be_are_refused(bench, change, why):
    write, settings = bench
    with pytest.raises(ValueError, match=why) as failure:
        analyse_files([write(counts(2400.0, 8000.0))], {**settings, **change})
    assert "\n" not in str(failure.value)


def test_what_is_missing_is_said(bench):
    write, settings = bench
    path = write(counts(2400.0, 8000.0))
    with pytest.raises(ValueError, match="no file to analyse"):
        analyse_files([], settings)
    for missing in ("calibration", "lamp_k"):
        with pytest.raises(ValueError, match="calibration=FILE and either lamp=FILE or lamp_k=KELVIN are needed"):
            analyse_files([path], {name: text for name, text in settings.items() if name != missing})
    with pytest.raises(ValueError, match=r"hot.spe: no thermal light"):
        analyse_files([write(-counts(2400.0, 8000.0))], settings)
    path = write(counts(2400.0, 8000.0))
    notes = analyse_files(
        [path], {name: text for name, text in settings.items() if name != "rows"} | {"range_nm": "640-830"}
    )
    assert any("all rows" in note for note in notes["files"][0]["notes"])
    notes = analyse_files([path], {**settings, "range_nm": "700-725"})["files"][0]["notes"]
    assert "no sliding two-colour temperatures: too little light" in notes
    path.write_bytes(path.read_bytes().replace(b"<BitDepth>16</BitDepth>", b""))
    notes = analyse_files([path], settings)["files"][0]["notes"]
    assert "saturated pixels cannot be told: set saturation=" in notes


def test_a_temperature_that_changes_with_wavelength_is_told(bench):
    write, settings = bench
    mixed = counts(3000.0, 5000.0) + counts(1700.0, 5000.0)
    assert any("a gradient, or" in note for note in analyse_files([write(mixed)], settings)["files"][0]["notes"])
