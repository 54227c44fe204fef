"""What an eight-bit converter makes of averaged acquisitions."""

import numpy as np
import pytest

from megabar.simulators.instruments.oscilloscopes import averaging
from megabar.simulators.instruments.oscilloscopes.averaging import average

POINTS = 4000
LEVEL = np.linspace(-60.3, 71.9, POINTS)


def spread(n: int, noise: float, seed: int = 1) -> float:
    codes, above, below = average(LEVEL, noise, n, np.random.default_rng(seed))
    assert not above and not below
    return float(np.std(codes - LEVEL))


@pytest.mark.parametrize("n", [1, 4, 32, 33, 100, 1000, 10_000])
def test_noise_and_rounding_fall_as_one_over_the_root_of_n(n: int):
    assert spread(n, 1.0) == pytest.approx(np.sqrt((1.0 + 1 / 12) / n), rel=0.04)


@pytest.mark.parametrize("n", [1, 2, 8, 32, 64, 4096])
def test_a_mean_of_whole_codes_is_a_multiple_of_one_over_n(n: int):
    codes, *_ = average(LEVEL, 0.7, n, np.random.default_rng(1))
    np.testing.assert_allclose(codes * n, np.rint(codes * n), atol=1e-6)
    assert np.ptp(codes * n - n * np.rint(codes)) > 0 or n == 1


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_without_noise_averaging_does_not_bring_back_what_rounding_takes(noise: float):
    assert spread(4096, noise) == pytest.approx(1 / np.sqrt(12), rel=0.1)


def test_means_are_true_where_there_is_noise_enough():
    level = np.full(2000, 10.37)
    codes, *_ = average(level, 1.0, 4096, np.random.default_rng(2))
    assert np.mean(codes) == pytest.approx(10.37, abs=4 * np.sqrt(13 / 12 / 4096 / 2000))


@pytest.mark.parametrize("noise", [0.15, 0.5, 1.0, 4.0, 40.0])
def test_drawing_the_sum_is_the_same_as_drawing_every_acquisition(monkeypatch, noise: float):
    level = np.repeat([0.25, 10.5, 126.2, -127.8], 1500)
    at_once = average(level, noise, 64, np.random.default_rng(3)).codes.reshape(4, -1)
    monkeypatch.setattr(averaging, "DRAWN", 64)
    one_by_one = average(level, noise, 64, np.random.default_rng(4)).codes.reshape(4, -1)
    error = np.hypot(at_once.std(axis=1), one_by_one.std(axis=1)) / np.sqrt(1500)
    assert np.all(np.abs(at_once.mean(axis=1) - one_by_one.mean(axis=1)) < 4.5 * error + 1e-12)
    np.testing.assert_allclose(at_once.std(axis=1), one_by_one.std(axis=1), rtol=0.12, atol=2e-3)


@pytest.mark.parametrize("n", [1, 32, 1000])
@pytest.mark.parametrize("top, bottom", [(100.0, -100.0), (140.0, -100.0), (100.0, -200.0), (1e6, -1e6)])
def test_what_is_beyond_the_ends_is_cut_off_and_told(n: int, top: float, bottom: float):
    codes, above, below = average(np.array([bottom, 0.0, top]), 1.0, n, np.random.default_rng(5))
    assert (above, below) == (top > 127, bottom < -128)
    assert codes.max() <= 127 and codes.min() >= -128
    assert (codes[2] == pytest.approx(min(top, 127), abs=4)) and codes[0] == pytest.approx(max(bottom, -128), abs=4)


def test_noise_that_reaches_an_end_now_and_then_is_told_in_a_long_series_only():
    level = np.full(100, 123.0)  # the end is 3.5 sigma away
    told = [average(level, 1.0, n, np.random.default_rng(6)).above for n in (1, 10_000)]
    assert told == [False, True]
