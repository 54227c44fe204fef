import numpy as np
import pytest

from megabar.analysis.peaks import fit_peaks

SIGMA = 3.0


def draw(rng, n, *, areas, background, separation=0.0, channels=41):
    """Windows of Poisson counts with peaks `separation` apart about a random centre; true centres (n, k)."""
    x = np.arange(channels)
    offsets = separation * (np.arange(len(areas)) - 0.5 * (len(areas) - 1))
    centre = channels / 2 - 0.5 + rng.uniform(-1, 1, (n, 1)) + offsets
    z = (x - centre[:, :, None]) / SIGMA
    shape = np.exp(-0.5 * z**2) / (SIGMA * np.sqrt(2 * np.pi))
    mean = background * (1 + 0.3 * x / channels) + (np.array(areas)[:, None] * shape).sum(1)
    return rng.poisson(mean).astype(float), centre


def cramer_rao_centre(area, background, channels=41):
    """Bound on the centre from its own Fisher information: by symmetry nothing else is correlated with it (flat)."""
    x = np.arange(channels) - (channels - 1) / 2
    peak = area / (SIGMA * np.sqrt(2 * np.pi)) * np.exp(-0.5 * (x / SIGMA) ** 2)
    slope = x / SIGMA**2 * peak
    ramp = x  # a sloping background is the one parameter that shifts a peak
    mean = background + peak
    fisher = np.array([[np.sum(a * b / mean) for a in (slope, ramp)] for b in (slope, ramp)])
    return float(np.sqrt(np.linalg.inv(fisher)[0, 0]))


@pytest.mark.parametrize(
    ("areas", "background", "separation", "known_width"),
    [
        ((20000,), 40, 0, False),
        ((2000,), 20, 0, False),
        ((300,), 3, 0, False),
        ((60,), 0.5, 0, True),
        ((2000, 1000), 20, 8, False),
    ],
    ids=["strong", "ordinary", "weak", "sixty-counts", "overlapping"],
)
def test_pulls_of_centre_and_area_have_mean_zero_and_width_one(areas, background, separation, known_width):
    rng = np.random.default_rng(1)
    n = 400
    counts, centre = draw(rng, n, areas=areas, background=background, separation=separation, channels=51)
    start = centre + rng.uniform(-1.5, 1.5, (n, 1))
    width_error = np.full(n, 0.1 * SIGMA) if known_width else None
    peaks = fit_peaks(counts, start, np.full(n, SIGMA * 1.1), sigma_error=width_error)
    good = peaks.converged
    assert good.mean() > 0.985
    for pull in ((peaks.centre - centre) / peaks.centre_error, (peaks.area - np.array(areas)) / peaks.area_error):
        assert np.all(np.abs(pull[good].mean(0)) < 0.2)
        assert np.all((pull[good].std(0) > 0.88) & (pull[good].std(0) < 1.12))
    assert peaks.chi2_red[good].mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("area", "background"), [(2000, 20), (200, 2)])
def test_centre_scatters_no_more_than_the_cramer_rao_bound_allows(area, background):
    rng = np.random.default_rng(2)
    counts, centre = draw(rng, 1500, areas=(area,), background=background)
    peaks = fit_peaks(counts, centre, np.full(len(counts), SIGMA))
    scatter = np.std((peaks.centre - centre)[peaks.converged])
    assert scatter == pytest.approx(cramer_rao_centre(area, 1.15 * background), rel=0.08)


def test_least_squares_with_weights_from_the_data_would_fail_the_same_check():
    """The check can fail: Neyman's chi squared, weights 1/counts, loses counts from a weak peak."""
    rng = np.random.default_rng(3)
    counts, centre = draw(rng, 400, areas=(60,), background=0.5)
    x = np.arange(counts.shape[1])
    shape = np.exp(-0.5 * ((x - centre) / SIGMA) ** 2) / (SIGMA * np.sqrt(2 * np.pi))
    design = np.stack([shape, np.ones_like(shape)], axis=2)
    weight = 1.0 / np.maximum(counts, 1.0)
    normal = np.einsum("wci,wc,wcj->wij", design, weight, design)
    covariance = np.linalg.inv(normal)
    area = np.einsum("wij,wcj,wc,wc->wi", covariance, design, weight, counts)[:, 0]
    pull = (area - 60) / np.sqrt(covariance[:, 0, 0])
    assert abs(pull.mean()) > 0.3


def test_padded_channels_and_absent_peaks_change_nothing():
    rng = np.random.default_rng(4)
    counts, centre = draw(rng, 5, areas=(800,), background=5)
    plain = fit_peaks(counts, centre, np.full(5, SIGMA))
    padded = np.hstack([counts, np.full((5, 7), 999.0)])
    used = np.arange(48) < 41
    absent = np.hstack([centre, np.full((5, 1), np.nan)])
    same = fit_peaks(padded, absent, np.full(5, SIGMA), used=np.tile(used, (5, 1)))
    assert same.centre[:, 0] == pytest.approx(plain.centre[:, 0], abs=2e-3)
    assert same.centre_error[:, 0] == pytest.approx(plain.centre_error[:, 0], rel=1e-3)
    assert np.isnan(same.centre[:, 1]).all() and np.isnan(same.area[:, 1]).all()


def test_window_without_a_peak_does_not_claim_one():
    rng = np.random.default_rng(5)
    counts = rng.poisson(10.0, (200, 41)).astype(float)
    peaks = fit_peaks(counts, np.full((200, 1), 20.0), np.full(200, SIGMA), sigma_error=np.full(200, 0.3))
    claimed = peaks.converged & (peaks.area[:, 0] > 4 * peaks.area_error[:, 0])
    assert claimed.mean() < 0.03


def test_empty_spectrum_is_survived():
    peaks = fit_peaks(np.zeros((3, 41)), np.full((3, 1), 20.0), np.full(3, SIGMA))
    assert not np.any(peaks.area > 3 * peaks.area_error)


@pytest.mark.parametrize(
    ("counts", "centre"),
    [
        (-np.ones((2, 41)), np.ones((2, 1))),
        (np.full((2, 41), np.nan), np.ones((2, 1))),
        (np.ones((2, 41)), np.ones((3, 1))),
    ],
)
def test_bad_input_is_refused(counts, centre):
    with pytest.raises(ValueError, match="fit_peaks"):
        fit_peaks(counts, centre, np.full(2, SIGMA))
