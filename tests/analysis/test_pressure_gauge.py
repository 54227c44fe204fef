"""`analyse pressure_gauge`: measured ruby, Raman spectra in files of the test's own, settings and refusals."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erfc

from megabar.analysis.pressure_gauge import ACCEPTED, analyse_files, read_settings
from megabar.analysis.raman_edge import fit_edge, raman_shift
from megabar.analysis.readers.spe import read_spe


def write_spe(path: Path, frames: np.ndarray, first_nm: float, step_nm: float) -> Path:
    """A WinSpec 2.5 file of 16-bit counts (n_frames, n_rows, n_columns) with a linear calibration in nm."""
    header = bytearray(4100)
    n_frames, n_rows, n_columns = frames.shape
    for offset, form, value in (
        (42, "<H", n_columns),
        (108, "<h", 3),
        (656, "<H", n_rows),
        (1446, "<i", n_frames),
        (1992, "<f", 2.5),
        (2996, "<i", 0x01234567),
        (3098, "<B", 1),
        (3101, "<B", 1),
        (3263, "<2d", (first_nm - step_nm, step_nm)),
        (4098, "<H", 0x5555),
    ):
        struct.pack_into(form, header, offset, *np.atleast_1d(value).tolist())
    header[3018:3020] = b"nm"
    path.write_bytes(bytes(header) + frames.astype("<u2").tobytes())
    return path


@pytest.fixture
def anvil(tmp_path):
    """Raman spectrum of an anvil excited at 532 nm, edge at 1600 cm^-1, in three of eight rows and two frames."""
    wavelength = 570.0 + 0.03 * np.arange(700)
    shift = 1e7 / 532.0 - 1e7 / wavelength
    light = 1500.0 * erfc((shift - 1600.0) / 11.0) * (shift > 1334.0)
    share = np.array([0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0, 0.0])[:, None]
    counts = np.random.default_rng(9).poisson(np.tile(100.0 + share * light, (2, 1, 1)))
    return write_spe(tmp_path / "anvil.spe", counts, 570.0, 0.03)


def test_measured_ruby_has_the_known_wavelength_and_names_its_scale(data):
    path = data / "ruby" / "Ruby.spe"
    answer = analyse_files([path], {"rows": "11-24", "columns": "82-752"})
    results = answer["results"]
    assert results["wavelength"]["value"] == pytest.approx(694.318, abs=0.005)
    assert results["r2_wavelength"]["value"] == pytest.approx(692.873, abs=0.005)
    assert set(results["pressure"]) == {"value", "error", "systematic", "unit"}
    assert abs(results["pressure"]["value"]) < 2.0 * results["pressure"]["systematic"]
    assert answer["history"] == ["pressure"]
    assert answer["files"][0]["notes"][0] == "pressure scale: Ruby2020"
    json.dumps(answer, allow_nan=False)


def test_settings_reach_the_measured_ruby(data):
    path = data / "ruby" / "Ruby.spe"
    settings = {
        "rows": "11-24",
        "columns": "82-752",
        "scale": "Mao1986",
        "lambda0_nm": "694.32",
        "temperature_k": "310",
    }
    answer = analyse_files([path], settings)
    assert answer["results"]["pressure"]["value"] == pytest.approx(-0.0733 * 2.743, abs=0.02)
    assert answer["files"][0]["notes"][:2] == ["pressure scale: Mao1986", "lambda0 694.32 nm, ruby at 310 K"]
    with pytest.raises(ValueError, match=r"Ruby.spe: setting rows=90-100: the file has 0-99"):
        analyse_files([path], {"rows": "90-100"})
    with pytest.raises(ValueError, match=r"Ruby.spe: no ruby lines between"):
        analyse_files([path], {"rows": "60-70", "columns": "82-752"})


def test_raman_edge_of_a_file_gives_a_pressure(anvil):
    answer = analyse_files([anvil], {"gauge": "raman", "laser_nm": "532", "rows": "2-4"})
    edge, pressure = answer["results"]["wavenumber"], answer["results"]["pressure"]
    assert abs(edge["value"] - 1600.0) < 4.0 * edge["error"] < 4.0
    assert pressure["value"] == pytest.approx(139.0, abs=1.0)  # 547 x (1 + 1.375 x), x = 266/1334
    assert answer["files"][0]["notes"] == ["pressure scale: Akahama2006", "Raman shift from 532 nm", "2 frames summed"]


def test_rows_and_columns_hold_both_ends(anvil):
    answer = analyse_files([anvil], {"gauge": "raman", "laser_nm": "532", "rows": "2-4", "columns": "100-600"})
    frames = read_spe(anvil)
    counts = frames.counts[:, [2, 3, 4], 100:601].sum(axis=(0, 1))
    edge = fit_edge(raman_shift(frames.wavelength_nm[100:601], 532.0), counts)
    assert answer["results"]["wavenumber"]["value"] == edge.values[0]
    assert answer["results"]["wavenumber"]["error"] == edge.quantity("wavenumber").error


def test_a_full_pixel_is_refused_though_the_sum_does_not_show_it(tmp_path):
    wavelength = 685.0 + 0.03 * np.arange(700)
    line = sum(h / (1.0 + ((wavelength - c) / 0.25) ** 2) for c, h in ((694.9, 90000.0), (693.5, 30000.0)))
    frames = np.minimum(np.tile(600.0 + line, (1, 3, 1)), 65535.0)
    path = write_spe(tmp_path / "bright.spe", frames, 685.0, 0.03)
    with pytest.raises(ValueError, match=r"bright.spe: \d+ channels of the ruby spectrum are saturated") as failure:
        analyse_files([path])
    assert "\n" not in str(failure.value)


def test_a_series_keeps_its_history(anvil):
    answer = analyse_files([anvil, str(anvil)], {"gauge": "raman", "laser_nm": "532"})
    assert len(answer["files"]) == 2
    assert answer["results"]["pressure"]["value"] == pytest.approx(answer["files"][0]["results"]["pressure"]["value"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gauge": "quartz"}, "setting gauge=quartz: expected ruby or raman"),
        ({"laser_nm": "532"}, "unknown setting 'laser_nm' for gauge ruby: accepted are gauge, scale, rows"),
        ({"gauge": "raman", "lambda0_nm": "694"}, "unknown setting 'lambda0_nm' for gauge raman"),
        ({"gauge": "raman"}, "set laser_nm=NANOMETRES"),
        ({"rows": "24-11"}, "setting rows=24-11: not FIRST-LAST; expected rows of the sensor"),
        ({"columns": "82"}, "setting columns=82: not FIRST-LAST"),
        (
            {"temperature_k": "warm"},
            "setting temperature_k=warm: could not convert .*; expected temperature of the ruby",
        ),
        ({"lambda0_nm": "nan"}, "setting lambda0_nm=nan: not a finite number"),
    ],
)
def test_settings_that_cannot_be_read_are_refused_with_what_is_accepted(settings, message):
    with pytest.raises(ValueError, match=message) as failure:
        read_settings(settings)
    assert "\n" not in str(failure.value)


def test_scales_of_the_other_gauge_and_unknown_ones_are_refused(anvil):
    settings = {"gauge": "raman", "laser_nm": "532"}
    with pytest.raises(ValueError, match="no pressure scale 'Ruby2020' for raman: there are Akahama2006, Akahama2010"):
        analyse_files([anvil], settings | {"scale": "Ruby2020"})
    with pytest.raises(ValueError, match="Akahama2010 is a scale from 200 to 410 GPa"):
        analyse_files([anvil], settings | {"scale": "Akahama2010"})


def test_files_that_are_no_spectra_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no file to analyse: give .spe files"):
        analyse_files([])
    with pytest.raises(ValueError, match=r"cannot analyse .tif here: .spe files are accepted"):
        analyse_files(["a.spe", "b.tif"])
    with pytest.raises(ValueError, match=r"nothing.spe: cannot be read"):
        analyse_files([tmp_path / "nothing.spe"])


def test_every_setting_is_described():
    assert set(ACCEPTED["ruby"]) | set(ACCEPTED["raman"]) == set(read_settings({}).__dataclass_fields__)
