"""Fits of phase against frequency: the bound, pulls, whole turns, the instrument's own phase, bad input."""

import cmath
import math

import numpy as np
import pytest

from megabar.analysis.embedded_samples import EmbeddedSample
from megabar.analysis.frequency_sweeps import fit_frequency_sweep, phase

KAPPA, C, D, EM = 12.0, 5.1e6, 2e-6, 5000.0
SAMPLE = EmbeddedSample(D, C)
F = np.geomspace(1e4, 3e6, 31)
SIGMA = 3e-3


def rear_phase(f, kappa=KAPPA, em=EM):
    """Of 1 / sqrt(s) / (2 em cosh u + (es + em^2/es) sinh u), one frequency after the other."""
    phases = []
    for frequency in f:
        s, es = 2j * math.pi * frequency, math.sqrt(kappa * C)
        u = cmath.sqrt(s * D**2 * C / kappa)
        phases.append(cmath.phase(1.0 / (cmath.sqrt(s) * (2 * em * cmath.cosh(u) + (es + em**2 / es) * cmath.sinh(u)))))
    return np.array(phases)


def test_phase_is_that_of_the_closed_form():
    difference = np.exp(1j * phase(SAMPLE, KAPPA, EM, F)) / np.exp(1j * rear_phase(F))
    np.testing.assert_allclose(np.angle(difference), 0.0, atol=1e-12)
    lag = phase(SAMPLE, KAPPA, EM, 1e5, "lag")
    assert np.degrees(lag) == pytest.approx(-38.9831, abs=1e-3)  # physics.md D 4.3


def test_statistical_errors_reach_the_cramer_rao_bound():
    noisy = rear_phase(F) + SIGMA * np.random.default_rng(1).normal(size=len(F))
    estimate = fit_frequency_sweep(F, noisy, SAMPLE, error=SIGMA).estimate
    turns = [np.unwrap(rear_phase(F, KAPPA + dk, EM + de)) for dk, de in ((1e-3, 0), (-1e-3, 0), (0, 1), (0, -1))]
    jacobian = np.column_stack([(turns[0] - turns[1]) / 2e-3, (turns[2] - turns[3]) / 2.0]) / SIGMA
    best = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    for name, limit, truth in (("thermal_conductivity", best[0], KAPPA), ("effusivity_medium", best[1], EM)):
        quantity = estimate.quantity(name)
        assert quantity.error == pytest.approx(limit, rel=0.05)
        assert abs(quantity.value - truth) < 3.0 * quantity.error


def test_systematic_terms_are_those_of_thickness_and_heat_capacity():
    found = fit_frequency_sweep(F, rear_phase(F), SAMPLE, error=SIGMA)
    assert found.terms["thickness"][0] == pytest.approx(0.10 * KAPPA, rel=0.01)
    assert found.terms["heat_capacity"][0] == pytest.approx(0.03 * KAPPA, rel=0.01)
    assert found.estimate.systematic[0] == pytest.approx(math.hypot(0.10, 0.03) * KAPPA, rel=0.01)


def test_pulls_over_200_draws_are_normal():
    rng = np.random.default_rng(7)
    clean, pulls = rear_phase(F), []
    for _ in range(200):
        noisy = clean + SIGMA * rng.normal(size=len(F))
        estimate = fit_frequency_sweep(F, noisy, SAMPLE, error=SIGMA, relative_errors={}).estimate
        pulls.append((estimate.values[0] - KAPPA) / math.sqrt(estimate.covariance[0, 0]))
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_phase_and_delay_of_the_instrument_are_found_or_cancel():
    rng = np.random.default_rng(3)
    noisy = rear_phase(F) + 0.3 - 2.0 * np.pi * F * 20e-9 + SIGMA * rng.normal(size=len(F))
    found = fit_frequency_sweep(F, noisy, SAMPLE, error=SIGMA, find_offset=True, find_delay=True).estimate.quantities()
    for name, truth in (("thermal_conductivity", KAPPA), ("phase_offset", 0.3), ("delay", 20e-9)):
        assert abs(found[name].value - truth) < 3.0 * found[name].error, name
    naive = fit_frequency_sweep(F, noisy, SAMPLE, error=SIGMA).estimate
    assert naive.chi2_red > 10.0
    lag = phase(SAMPLE, KAPPA, EM, F, "lag") + SIGMA * rng.normal(size=len(F))
    for medium in (None, EM):
        found = fit_frequency_sweep(F, lag, SAMPLE, probed="lag", error=SIGMA, effusivity_medium=medium).estimate
        kappa = found.quantity("thermal_conductivity")
        assert abs(kappa.value - KAPPA) < 3.0 * kappa.error
        assert ("effusivity_medium" in found.names) == (medium is None)


def test_whole_turns_do_not_matter():
    turned = rear_phase(F) + 2.0 * np.pi * np.random.default_rng(2).integers(-2, 3, len(F))
    assert fit_frequency_sweep(F, turned, SAMPLE, error=SIGMA).estimate.values[0] == pytest.approx(KAPPA, rel=1e-6)


def test_iron_that_absorbs_by_itself_is_found_too():
    iron = EmbeddedSample(3e-6, 8e6)
    f = np.geomspace(1e5, 2e7, 31)
    noisy = phase(iron, 200.0, 4000.0, f) + SIGMA * np.random.default_rng(8).normal(size=len(f))
    kappa = fit_frequency_sweep(f, noisy, iron, error=SIGMA).estimate.quantity("thermal_conductivity")
    assert abs(kappa.value - 200.0) < 3.0 * kappa.error
    assert kappa.error < 4.0


@pytest.mark.parametrize(
    ("f", "phases", "options", "message"),
    [
        (F, rear_phase(F)[1:], {}, "one length"),
        (-F, rear_phase(F), {}, "frequencies of heating must be positive"),
        (F, np.full(len(F), np.nan), {}, "are no numbers"),
        (F[:2], rear_phase(F[:2]), {}, "more points are needed"),
        (F, rear_phase(F), {"error": 0.0}, "must be positive"),
    ],
)
def test_bad_sweeps_are_refused_in_one_line(f, phases, options, message):
    with pytest.raises(ValueError, match=message) as failure:
        fit_frequency_sweep(f, phases, SAMPLE, **options)
    assert "\n" not in str(failure.value)


def test_parameters_that_cannot_be_told_apart_are_named():
    far = EmbeddedSample(200e-6, C)  # nothing but a half space at these frequencies: its phase is always -45 degrees
    with pytest.raises(ValueError, match="cannot tell thermal_conductivity, effusivity_medium apart"):
        fit_frequency_sweep(np.geomspace(1e6, 1e7, 20), np.full(20, -np.pi / 4), far, probed="front", error=SIGMA)
