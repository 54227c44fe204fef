"""Least squares with known parameters that are uncertain, on models that a line of algebra solves."""

import numpy as np
import pytest

from megabar.analysis.thermal_fits import Free, fit

X = np.linspace(1.0, 2.0, 50)


def line(values):
    return values["gain"] * (values["slope"] * X + values["offset"])


def test_line_is_found_as_linear_algebra_finds_it_and_a_gain_moves_it():
    rng = np.random.default_rng(1)
    data = 3.0 * X - 1.0 + 0.1 * rng.normal(size=50)
    free = [Free("slope", "1", 10.0), Free("offset", "1", 0.0, 1.0)]
    known = {"gain": 1.0}
    found = fit(line, known, free, data, 0.1, relative_errors={"gain": 0.02}, name="line")
    basis = np.column_stack([X, np.ones(50)])
    covariance = np.linalg.inv(basis.T @ basis) * 0.01
    best = covariance @ basis.T @ data / 0.01
    assert found.estimate.values == pytest.approx(best, rel=1e-6)
    np.testing.assert_allclose(found.estimate.covariance, covariance, rtol=1e-5)
    assert found.terms["gain"] == pytest.approx(-0.02 * best, rel=1e-3)
    assert found.estimate.systematic == pytest.approx(0.02 * np.abs(best), rel=1e-3)
    absolute = fit(line, known, free, data, 0.1, relative_errors={}, absolute_errors={"gain": 0.02}, name="line")
    assert absolute.terms["gain"] == pytest.approx(found.terms["gain"], rel=1e-9)


def test_bad_data_and_models_without_an_answer_are_refused():
    slope = [Free("slope", "1", 1.0)]
    known = {"gain": 1.0, "offset": 0.0}
    with pytest.raises(ValueError, match="line: 1 of 50 points are no numbers"):
        fit(line, known, slope, np.where(X > 1.99, np.nan, X), 0.1, relative_errors={}, name="line")
    with pytest.raises(ValueError, match="line: no fit after"):
        fit(
            lambda values: X / values["slope"],
            {},
            [Free("slope", "1", 1.0, 1.0)],
            0.0 * X,
            0.1,
            relative_errors={},
            name="line",
        )
    with pytest.raises(ValueError, match="cannot tell colour apart"):
        fit(line, {**known, "slope": 1.0}, [Free("colour", "1", 1.0)], X, 0.1, relative_errors={}, name="line")
