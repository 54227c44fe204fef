"""Strips of a frame: counts less the level, what is full, and what is refused."""

import numpy as np
import pytest

from megabar.analysis.strips import cut_strips

ROWS = [(6, 17), (30, 41)]


def frame(level: float = 600.0) -> np.ndarray:
    image = np.full((48, 64), level)
    image[6:18] += 100.0
    image[30:42] += np.arange(64.0)
    return image


def test_counts_are_summed_above_the_level() -> None:
    upstream, downstream = cut_strips(frame(), ROWS, 0.5)
    assert np.allclose(upstream.counts, 1200.0)
    assert np.allclose(downstream.counts, 12.0 * np.arange(64.0))
    assert (upstream.n_rows, upstream.exposure_s) == (12, 0.5)
    assert upstream.level_error == pytest.approx(6.0)  # half a count in each of twelve rows


def test_a_full_pixel_marks_its_column() -> None:
    image = frame()
    image[9, 20] = 65535
    upstream, downstream = cut_strips(image, ROWS, 0.5)
    assert np.flatnonzero(upstream.full).tolist() == [20] and not downstream.full.any()
    assert upstream.filling[20] == 1.0


def test_the_error_of_the_level_covers_it() -> None:
    rng, off = np.random.default_rng(1), []
    for _ in range(300):
        strip = cut_strips(rng.normal(600.0, 200.0, (48, 64)), ROWS, 1.0)[0]
        off.append(strip.counts.sum() / 64.0 / np.hypot(strip.level_error, 200.0 * np.sqrt(12.0 / 64.0)))
    assert np.std(off) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(
    ("image", "rows", "exposure_s", "words"),
    [
        (np.zeros((48, 64)), [(6, 48)], 1.0, "rows 0-47"),
        (np.zeros((16, 64)), [(2, 12)], 1.0, "without light"),
        (np.zeros(64), [(0, 1)], 1.0, "rows and columns"),
        (np.zeros((48, 64)), ROWS, 0.0, "an exposure > 0"),
    ],
)
def test_what_is_no_frame_is_refused(image, rows, exposure_s, words) -> None:
    with pytest.raises(ValueError, match=words):
        cut_strips(image, rows, exposure_s)
