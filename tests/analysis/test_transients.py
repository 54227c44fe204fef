"""Fits of transients after a pulse: accuracy that the noise allows, systematic terms, limits, bad input."""

import math

import numpy as np
import pytest

from megabar.analysis.embedded_samples import EmbeddedSample
from megabar.analysis.heat_layers import SIGMA_PER_FWHM
from megabar.analysis.transients import fit_transient, transient

KAPPA, C, D, EM = 12.0, 5.1e6, 2e-6, 5000.0
SAMPLE = EmbeddedSample(D, C, pulse_fwhm=2e-9)
TIME = np.arange(1, 1501) * 4e-9
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


def images(time, kappa=KAPPA, em=EM, amplitude=1.0, d=D, c=C):
    """Rear response to a pulse without width as a sum over images of the source."""
    after = np.maximum(time, 1e-12)
    tau, es = d**2 * c / kappa, math.sqrt(kappa * c)
    g2 = ((es - em) / (es + em)) ** 2
    total = sum(g2**n * np.exp(-((2 * n + 1) ** 2) * tau / (4.0 * after)) for n in range(40))
    return amplitude * 2.0 * es / (es + em) ** 2 * total / np.sqrt(np.pi * after)


def blurred(time, **parameters):
    """The same after a pulse of 2 ns."""
    shifts = 2e-9 * SIGMA_PER_FWHM * NODES
    return sum(w * images(time - x, **parameters) for x, w in zip(shifts, WEIGHTS, strict=True)) / math.sqrt(2 * np.pi)


def bound(time, sigma, names, extra=()):
    """Standard errors that no unbiased estimate of these parameters can beat."""
    truth = {"kappa": KAPPA, "amplitude": 1.0, "em": EM}
    columns = []
    for name in names:
        step = 1e-4 * truth[name]
        high, low = (blurred(time, **{**truth, name: truth[name] + sign * step}) for sign in (1.0, -1.0))
        columns.append((high - low) / (2.0 * step))
    jacobian = np.column_stack([*columns, *extra]) / sigma
    return np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))


def test_statistical_errors_reach_the_cramer_rao_bound_and_the_reference_values():
    # physics.md A.2; the range of time is not stated there: 6 us gives its figures
    clean = blurred(TIME)
    sigma = 0.02 * clean.max()
    noisy = clean + sigma * np.random.default_rng(1).normal(size=len(TIME))
    fixed = {"find_time_zero": False, "find_background": False, "error": sigma}
    estimate = fit_transient(TIME, noisy, SAMPLE, **fixed).estimate
    kappa, em = estimate.quantity("thermal_conductivity"), estimate.quantity("effusivity_medium")
    best = bound(TIME, sigma, ("kappa", "amplitude", "em"))
    assert kappa.error == pytest.approx(best[0], rel=0.05)
    assert em.error == pytest.approx(best[2], rel=0.05)
    assert kappa.error == pytest.approx(0.0034 * KAPPA, rel=0.05)
    assert em.error == pytest.approx(0.023 * EM, rel=0.1)
    assert abs(kappa.value - KAPPA) < 3.0 * kappa.error
    assert abs(em.value - EM) < 3.0 * em.error
    assert estimate.chi2_red == pytest.approx(1.0, abs=0.12)
    known = fit_transient(TIME, noisy, SAMPLE, effusivity_medium=EM, **fixed).estimate.quantity("thermal_conductivity")
    assert known.error == pytest.approx(bound(TIME, sigma, ("kappa", "amplitude"))[0], rel=0.05)
    assert known.error == pytest.approx(0.0025 * KAPPA, rel=0.05)


def test_time_zero_and_background_are_found_at_the_cost_that_the_bound_tells():
    time = np.arange(-100, 1400) * 4e-9
    truth = {"kappa": KAPPA, "em": EM}
    clean, shift, background = blurred(time - 3e-9, **truth), 3e-9, 0.002
    sigma = 0.02 * clean.max()
    noisy = clean + background + sigma * np.random.default_rng(2).normal(size=len(time))
    found = fit_transient(time, noisy, SAMPLE, error=sigma).estimate.quantities()
    accuracy = fit_transient(time, clean + background, SAMPLE, error=sigma).estimate.quantities()
    slope = (blurred(time - shift + 1e-10) - blurred(time - shift - 1e-10)) / 2e-10
    best = bound(time - shift, sigma, ("kappa", "amplitude", "em"), (slope, np.ones(len(time))))
    order = ("thermal_conductivity", "amplitude", "effusivity_medium", "time_zero", "background")
    for name, limit, expected in zip(order, best, (KAPPA, 1.0, EM, shift, background), strict=True):
        assert accuracy[name].error == pytest.approx(limit, rel=0.05), name
        assert abs(found[name].value - expected) < 3.5 * found[name].error, name


def test_thickness_counts_twice_in_conductivity_and_heat_capacity_once():
    found = fit_transient(TIME, blurred(TIME), SAMPLE, error=1e-4, relative_errors={"thickness": 0.05})
    assert found.estimate.quantity("thermal_conductivity").systematic == pytest.approx(0.10 * KAPPA, rel=0.01)
    assert found.terms["thickness"][0] > 0.0
    assert fit_transient(
        TIME, blurred(TIME), EmbeddedSample(1.02 * D, C, pulse_fwhm=2e-9), error=1e-4
    ).estimate.quantity("thermal_conductivity").value == pytest.approx(1.02**2 * KAPPA, rel=1e-3)
    terms = fit_transient(TIME, blurred(TIME), SAMPLE, error=1e-4, relative_errors={"heat_capacity": 0.03}).terms
    assert terms["heat_capacity"][0] == pytest.approx(0.03 * KAPPA, rel=0.01)


def test_uncertain_film_pulse_and_medium_move_the_result_as_a_wrong_value_does():
    true = EmbeddedSample(1e-6, C, film_capacity=0.29, pulse_fwhm=20e-9)
    time = np.arange(-50, 1500) * 1e-9
    signal = transient(true, KAPPA, EM, time)
    for name, wrong, medium in (
        ("film_capacity", EmbeddedSample(1e-6, C, film_capacity=0.29 * 1.02, pulse_fwhm=20e-9), EM),
        ("pulse_fwhm", EmbeddedSample(1e-6, C, film_capacity=0.29, pulse_fwhm=20e-9 * 1.02), EM),
        ("effusivity_medium", true, 1.02 * EM),
    ):
        options = {"error": 1e-4, "find_time_zero": False, "relative_errors": {name: 0.02}}
        right = fit_transient(time, signal, true, effusivity_medium=EM, **options)
        moved = fit_transient(time, signal, wrong, effusivity_medium=medium, **options).estimate.values[0]
        assert right.terms[name][0] == pytest.approx(moved - KAPPA, rel=0.05, abs=1e-7), name


def test_pulls_over_200_draws_are_normal():
    rng = np.random.default_rng(11)
    time, sample = np.arange(-25, 150) * 40e-9, EmbeddedSample(D, C)
    clean = images(time)
    sigma = 0.01 * clean.max()
    pulls = []
    for _ in range(200):
        found = fit_transient(
            time, clean + sigma * rng.normal(size=len(time)), sample, error=sigma, relative_errors={}
        ).estimate
        pulls.append((found.values[0] - KAPPA) / math.sqrt(found.covariance[0, 0]))
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


@pytest.mark.parametrize(
    ("kappa", "heat_capacity", "d", "em", "probed"),
    [(200.0, 8e6, 3e-6, 4000.0, "rear"), (1.5, 2.5e6, 1e-6, 900.0, "rear"), (60.0, 6e6, 2e-6, 4000.0, "front")],
)
def test_iron_glass_and_the_front_are_found_without_a_guess(kappa, heat_capacity, d, em, probed):
    sample = EmbeddedSample(d, heat_capacity, pulse_fwhm=2e-9)
    time = np.arange(-20, 1000) * 1e-9 if kappa > 10.0 else np.arange(-20, 1000) * 4e-9
    signal = -3e-3 * transient(sample, kappa, em, time, probed) + 1e-5
    noise = 0.01 * np.ptp(signal)
    noisy = signal + noise * np.random.default_rng(4).normal(size=len(time))
    for error in (noise, None):
        found = fit_transient(time, noisy, sample, probed=probed, error=error).estimate
        conductivity = found.quantity("thermal_conductivity")
        assert abs(conductivity.value - kappa) < 3.0 * conductivity.error
        assert conductivity.error < 0.1 * kappa
        assert found.quantity("amplitude").value < 0.0


def test_scatter_stands_for_the_error_where_none_is_given():
    clean = blurred(TIME)
    sigma = 0.02 * clean.max()
    noisy = clean + sigma * np.random.default_rng(5).normal(size=len(TIME))
    given, taken = (fit_transient(TIME, noisy, SAMPLE, error=error).estimate for error in (sigma, None))
    assert taken.quantity("thermal_conductivity").error == pytest.approx(
        given.quantity("thermal_conductivity").error * math.sqrt(given.chi2_red), rel=1e-3
    )
    assert math.isnan(taken.chi2_red)


GOOD = blurred(TIME)


@pytest.mark.parametrize(
    ("time", "signal", "options", "message"),
    [
        (TIME, GOOD[:-1], {}, "one length"),
        (TIME, np.where(TIME > 5e-6, np.nan, GOOD), {}, "are no numbers"),
        (TIME - 1.0, GOOD, {}, "0 points after the pulse"),
        (TIME, GOOD, {"error": -1.0}, "must be positive"),
        (TIME, GOOD, {"error": np.ones(3)}, "one for all or one per point"),
        (TIME, GOOD, {"probed": "side"}, "front or rear"),
        (TIME, GOOD, {"effusivity_medium": -3.0}, "must be positive, not -3"),
        (TIME, GOOD, {"relative_errors": {"colour": 0.1}}, "error colour = 0.1: 0 or more is accepted, of thickness"),
        (TIME, GOOD, {"relative_errors": {"thickness": -0.1}}, "error thickness = -0.1"),
    ],
)
def test_bad_transients_are_refused_in_one_line(time, signal, options, message):
    with pytest.raises(ValueError, match=message) as failure:
        fit_transient(time, signal, SAMPLE, **options)
    assert "\n" not in str(failure.value)
