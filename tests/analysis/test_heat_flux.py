"""The law of conductivity in temperature, density and composition, ratios of phases, heat flux through a layer."""

import math

import numpy as np
import pytest

from megabar.analysis.estimate import Quantity
from megabar.analysis.heat_flux import conductivity_ratio, fit_conductivity, heat_flux

REFERENCE = {"reference_temperature_k": 300.0, "reference_density": 1.0}
RNG = np.random.default_rng(20)
T, RHO = RNG.uniform(300.0, 4000.0, 24), RNG.uniform(1.0, 1.35, 24)
IRON, ALUMINIUM = RNG.uniform(0.0, 0.15, 24), RNG.uniform(0.0, 0.1, 24)
BETAS = np.array([30.0, 0.43, 4.7, -1.5, -0.8])


def model(beta, t=T, rho=RHO, iron=IRON, aluminium=ALUMINIUM):
    return np.exp(np.log(beta[0]) - beta[1] * np.log(t / 300.0) + beta[2] * np.log(rho)) * (
        1.0 + beta[3] * iron + beta[4] * aluminium
    )


def test_law_without_composition_gives_the_reference_check():
    # physics.md D 4.4
    law = fit_conductivity(T, RHO, model(BETAS, iron=0.0, aluminium=0.0), 0.01, **REFERENCE)
    assert law.found.estimate.values == pytest.approx(BETAS[:3], rel=1e-6)
    assert law.conductivity(3700.0, 1.05).value == pytest.approx(12.8099, rel=1e-5)


def test_errors_reach_the_cramer_rao_bound_and_pulls_over_200_draws_are_normal():
    sigma = 0.05 * model(BETAS)
    steps = 1e-5 * np.eye(5)
    jacobian = np.column_stack([(model(BETAS + s) - model(BETAS - s)) / 2e-5 for s in steps]) / sigma[:, None]
    best = np.linalg.inv(jacobian.T @ jacobian)
    options = {"iron": IRON, "aluminium": ALUMINIUM, **REFERENCE}
    exact = fit_conductivity(T, RHO, model(BETAS), sigma, **options).found.estimate
    assert exact.values == pytest.approx(BETAS, rel=1e-5)
    assert np.sqrt(np.diag(exact.covariance)) == pytest.approx(np.sqrt(np.diag(best)), rel=0.01)
    rng, pulls, predicted = np.random.default_rng(6), [], []
    truth = float(model(BETAS, np.array(3500.0), np.array(1.2), 0.1, 0.05))
    for _ in range(200):
        law = fit_conductivity(T, RHO, model(BETAS) + sigma * rng.normal(size=len(T)), sigma, **options)
        estimate = law.found.estimate
        pulls.append((estimate.values - BETAS) / np.sqrt(np.diag(estimate.covariance)))
        q = law.conductivity(3500.0, 1.2, iron=0.1, aluminium=0.05)
        predicted.append((q.value - truth) / q.error)
    for pull in (*np.array(pulls).T, predicted):
        assert abs(np.mean(pull)) < 0.25
        assert 0.85 < np.std(pull) < 1.15


def test_common_scale_moves_the_reference_and_every_prediction_alike():
    law = fit_conductivity(T, RHO, model(BETAS, iron=0.0, aluminium=0.0), 0.01, scale_error=0.03, **REFERENCE)
    assert law.found.estimate.systematic == pytest.approx([0.9, 0.0, 0.0], abs=1e-6)
    q = law.conductivity(3700.0, 1.05)
    assert q.systematic == pytest.approx(0.03 * q.value, rel=1e-4)


def test_a_fixed_exponent_counts_away_from_the_density_of_the_points_only():
    fixed = {"density_exponent": Quantity(4.7, 0.0, 0.5, "1")}
    at = np.full(len(T), 1.2)
    law = fit_conductivity(T, at, model(BETAS, rho=at, iron=0.0, aluminium=0.0), 0.01, fixed=fixed, **REFERENCE)
    assert law.conductivity(2000.0, 1.2).systematic < 2e-3
    q = law.conductivity(2000.0, 1.3)
    assert q.systematic == pytest.approx(q.value * 0.5 * math.log(1.3 / 1.2), rel=1e-3)
    with pytest.raises(ValueError, match="cannot tell"):
        fit_conductivity(T, at, model(BETAS, rho=at, iron=0.0, aluminium=0.0), 0.01, **REFERENCE)


def test_ratio_of_phases_keeps_what_they_do_not_share():
    ppv, brg = Quantity(9.2, 0.1, 0.5, "W/m/K"), Quantity(9.0, 0.2, 0.4, "W/m/K")
    ratio = conductivity_ratio(ppv, brg)
    assert ratio.value == pytest.approx(9.2 / 9.0)
    draws = np.random.default_rng(1).normal([9.2, 9.0], [0.1, 0.2], (200000, 2))
    assert ratio.error == pytest.approx(np.std(draws[:, 0] / draws[:, 1]), rel=0.01)
    rng = np.random.default_rng(2)
    shared = rng.normal(0.0, 0.03, 200000)
    own = [math.sqrt((q.systematic / q.value) ** 2 - 0.03**2) for q in (ppv, brg)]
    a, b = (1.0 + shared + rng.normal(0.0, s, 200000) for s in own)
    cancelled = conductivity_ratio(ppv, brg, common=0.03)
    assert cancelled.systematic == pytest.approx(ratio.value * np.std(a / b), rel=0.02)
    assert cancelled.systematic < ratio.systematic


def test_heat_flux_through_the_boundary_layer_and_its_errors():
    estimate = heat_flux(Quantity(9.0, 0.1, 0.9, "W/m/K"))
    flux, flow = estimate.quantity("heat_flux"), estimate.quantity("heat_flow")
    assert flux.value == pytest.approx(0.045)
    assert flow.value == pytest.approx(0.045 * 4.0 * math.pi * 3.48e6**2)
    assert flow.value == pytest.approx(6.85e12, rel=1e-3)
    assert flux.error == pytest.approx(0.045 / 90.0)
    assert flux.systematic == pytest.approx(0.045 * math.sqrt(0.1**2 + 0.3**2 + 0.25**2))
    assert "1000 K over 200000 m" in estimate.scale


KAPPA = model(BETAS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_conductivity(-T, RHO, KAPPA, 0.1, **REFERENCE), "must be positive, not -"),
        (lambda: fit_conductivity(T, RHO[1:], KAPPA, 0.1, **REFERENCE), "one length"),
        (lambda: fit_conductivity(T, RHO, -KAPPA, 0.1, **REFERENCE), "conductivities must be positive"),
        (lambda: fit_conductivity(T, RHO, KAPPA, -0.1, **REFERENCE), "must be positive"),
        (lambda: fit_conductivity(T, RHO, KAPPA, 0.1, iron=2.0, **REFERENCE), "iron must be within 0 to 1, not 2"),
        (
            lambda: fit_conductivity(T, RHO, KAPPA, 0.1, reference_temperature_k=0.0, reference_density=1.0),
            "references must be positive",
        ),
        (
            lambda: fit_conductivity(T, RHO, KAPPA, 0.1, fixed={"colour": Quantity(1, 0, 0, "1")}, **REFERENCE),
            "'colour' is unknown: accepted are reference_conductivity",
        ),
        (lambda: heat_flux(Quantity(-9.0, 0.1, 0.1, "W/m/K")), "conductivity must be positive, not -9"),
        (
            lambda: heat_flux(Quantity(9.0, 0, 0, "W/m/K"), thickness=Quantity(0.0, 0, 0, "m")),
            "thickness must be positive",
        ),
        (lambda: heat_flux(Quantity(9.0, 0, 0, "W/m/K"), radius_m=-1.0), "radius must be positive"),
        (lambda: conductivity_ratio(Quantity(0, 1, 1, "W/m/K"), Quantity(9, 1, 1, "W/m/K")), "must be positive"),
        (
            lambda: conductivity_ratio(Quantity(9, 1, 0.1, "W/m/K"), Quantity(9, 1, 1, "W/m/K"), common=0.1),
            "common error 0.1",
        ),
    ],
)
def test_impossible_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as failure:
        call()
    assert "\n" not in str(failure.value)
