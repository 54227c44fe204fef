import numpy as np
import pytest

from megabar.analysis.readers.med import read_med

HEADER = """VERSION:    3.1
ELEMENTS:             3
DATE:       Nov 04, 2016 04:52:52.890
CHANNELS:           6
ROIS:        0 0 0
REAL_TIME:   300.5 300.6 300.7
LIVE_TIME:   290.5 291.6 292.7
CAL_OFFSET:  9.67e-002 1.3e-001 0.0
CAL_SLOPE:   6.48e-002 6.47e-002 0.0
CAL_QUAD:    1.27e-008 8.2e-008 0.0
TWO_THETA:   6.49 6.50 6.51
ENVIRONMENT: 6BMB:m14.RBV="7.8100" (Cam X (Horiz, Focus))
ENVIRONMENT: 6BMB:Comment.VAL="68 tons, "hot"" ( )
DATA:
"""
ROWS = "".join(f" {i} {2 * i} 0\n" for i in range(6))


def write(tmp_path, text, name="a.med"):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    return path


def test_header_counts_and_environment_are_read(tmp_path):
    med = read_med(write(tmp_path, HEADER + ROWS))
    assert med.spectra.tolist() == [[0, 1, 2, 3, 4, 5], [0, 2, 4, 6, 8, 10], [0] * 6]
    assert med.offset_kev == pytest.approx([0.0967, 0.13, 0.0])
    assert med.live_time_s == pytest.approx([290.5, 291.6, 292.7])
    assert med.environment["6BMB:m14.RBV"] == ("7.8100", "Cam X (Horiz, Focus)")
    assert med.environment["6BMB:Comment.VAL"] == ('68 tons, "hot"', "")
    assert med.dead == {3: "no energy calibration"}
    assert med.date.startswith("Nov 04, 2016") and med.notes == ()


def test_dos_line_ends_read_the_same(tmp_path):
    plain = read_med(write(tmp_path, HEADER + ROWS))
    dos = read_med(write(tmp_path, (HEADER + ROWS).replace("\n", "\r\n"), "b.med"))
    assert np.array_equal(plain.spectra, dos.spectra) and plain.environment == dos.environment


def test_one_detector_of_another_length_is_read(tmp_path):
    text = "ELEMENTS: 1\nCHANNELS: 3\nCAL_OFFSET: 0.1\nCAL_SLOPE: 0.03\nTWO_THETA: 8\nDATA:\n5\n6\n7\n"
    assert read_med(write(tmp_path, text)).spectra.tolist() == [[5, 6, 7]]


@pytest.mark.parametrize("key", ["LIVE_TIME", "TWO_THETA", "CAL_QUAD", "CHANNELS", "DATE", "ELEMENTS", "ROIS"])
def test_missing_keys_are_survived_and_noted(tmp_path, key):
    text = "".join(line + "\n" for line in (HEADER + ROWS).splitlines() if not line.startswith(key))
    med = read_med(write(tmp_path, text))
    assert med.spectra.shape == (3, 6)
    if key in ("LIVE_TIME", "TWO_THETA", "CAL_QUAD", "CHANNELS"):
        assert any(key in note for note in med.notes)


def test_silent_detector_is_dead(tmp_path):
    text = HEADER.replace("6.47e-002 0.0", "6.47e-002 6.4e-2") + ROWS
    assert read_med(write(tmp_path, text)).dead == {3: "no counts"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (HEADER + ROWS[: len(ROWS) // 2], 17, "3 of 6 channels|expected 3 counts"),
        (HEADER[:300], 11, "before its DATA|one for each"),
        (HEADER + ROWS.replace("2 4 0", "2 x 0"), 17, "expected 3 counts"),
        (HEADER + ROWS.replace("2 4 0", "2 4"), 17, "expected 3 counts"),
        (HEADER + ROWS + " 1 1 1\n", 21, "more rows"),
        (HEADER.replace("6.50 6.51", "6.50") + ROWS, 11, "TWO_THETA has 2 values"),
        (HEADER.replace("6.50", "six") + ROWS, 11, "not a number"),
        (HEADER.replace("CAL_SLOPE", "SLOPE") + ROWS, 11, "CAL_SLOPE"),
        ("", 0, "before its DATA"),
        ("hello\n", 1, "KEY: values"),
        ("VERSION: 3.1\0\n", 1, "binary"),
    ],
    ids=["cut", "cut-header", "letter", "short-row", "long", "column", "word", "no-slope", "empty", "prose", "binary"],
)
def test_damaged_files_are_refused_with_file_and_line(tmp_path, text, line, says):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=rf"a\.med: line {line}: .*({says})") as refused:
        read_med(path)
    assert "\n" not in str(refused.value)


def test_a_measured_file_cut_anywhere_is_refused(data, tmp_path):
    whole = (data / "diffraction-ed" / "COSI_022_0019.med").read_bytes()
    for share in (0.01, 0.03, 0.1, 0.5, 0.9, 0.999):
        path = tmp_path / "cut.med"
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=r"cut\.med: line \d+: "):
            read_med(path)


def test_measured_headers_hold_64_values(data):
    med = read_med(data / "diffraction-ed" / "COSI_022_0019.med")
    assert len(med.environment) == 64
    assert med.environment["6BMB_LVP:LVP_tc1_calcs.I"] == ("537.12832", "Thermocouple1 Temperature")
    assert med.spectra.shape == (10, 2048) and list(med.dead) == [5]
