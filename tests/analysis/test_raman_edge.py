"""The Raman edge of a diamond anvil: where it is, its errors, the pressure from it, and spectra that are refused."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import erfc

from megabar.analysis.pressure_scales import AKAHAMA_2006
from megabar.analysis.raman_edge import edge_pressure, fit_edge, raman_shift

NU = np.arange(1250.0, 1800.0, 0.8)


def expected(edge=1600.0, sigma=8.0, nu=NU, light=3000.0, level=500.0, line=20000.0):
    """A plateau that ends in the edge, the line of the unstressed anvil, and a background."""
    plateau = 0.5 * light / (1.0 + np.exp(-(nu - 1330.0) / 3.0)) * erfc((nu - edge) / (sigma * np.sqrt(2.0)))
    return plateau + level + line / (1.0 + ((nu - 1334.0) / 2.5) ** 2)


def test_edge_is_where_the_derivative_is_least():
    for edge in (1500.0, 1600.3, 1720.0):
        assert fit_edge(NU, expected(edge)).values[0] == pytest.approx(edge, abs=0.05)


def test_order_pedestal_and_scale_of_the_counts_change_nothing():
    counts = np.random.default_rng(2).poisson(expected()).astype(float)
    plain = fit_edge(NU, counts)
    backwards = fit_edge(NU[::-1], counts[::-1])
    np.testing.assert_allclose(backwards.values, plain.values, atol=1e-3)
    brighter = fit_edge(NU, 50.0 * counts)
    np.testing.assert_allclose(brighter.values, plain.values, atol=1e-3)
    np.testing.assert_allclose(brighter.covariance, plain.covariance, rtol=1e-3)


@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_pulls_over_200_draws_and_errors_that_match_the_scatter(gain):
    rng = np.random.default_rng(21)
    found = [fit_edge(NU, gain * rng.poisson(expected(e))).quantity("wavenumber") for e in np.full(200, 1600.0)]
    deviation = np.array([one.value - 1600.0 for one in found])
    pulls = deviation / np.array([one.error for one in found])
    assert abs(pulls.mean()) < 0.25
    assert 0.85 < pulls.std() < 1.15
    assert np.mean([one.error for one in found]) == pytest.approx(deviation.std(), rel=0.15)


def test_error_is_that_of_a_cubic_by_another_route():
    """Scatter of the zero of the second derivative of `numpy.polyfit`, which has neither taper nor search."""
    rng = np.random.default_rng(22)
    near = np.abs(NU - 1600.0) < 12.0
    zeros = []
    for _ in range(400):
        a3, a2 = np.polyfit(NU[near] - 1600.0, rng.poisson(expected())[near], 3)[:2]
        zeros.append(-a2 / (3.0 * a3))
    error = fit_edge(NU, rng.poisson(expected())).quantity("wavenumber").error
    assert error == pytest.approx(np.std(zeros), rel=0.3)


def crooked(nu):
    """Two falls that overlap, as where the stress differs over the spot."""
    return expected(nu=nu, line=0.0) + expected(1612.0, 12.0, nu, light=1800.0, line=0.0)


def test_smoothing_error_covers_what_the_window_does_to_a_crooked_edge():
    truth = minimize_scalar(lambda nu: float(np.diff(crooked(nu + np.array([-0.01, 0.01])))[0]), (1590.0, 1610.0)).x
    found = fit_edge(NU, crooked(NU), calibration_error=0.0)
    edge, smoothing = found.quantity("wavenumber"), found.quantity("smoothing").value
    assert edge.systematic == pytest.approx(smoothing)
    assert 0.3 < abs(edge.value - truth) < 3.0 * smoothing
    straight = fit_edge(NU, expected(line=0.0), calibration_error=0.0)
    assert straight.quantity("smoothing").value < 0.1 * smoothing


def test_line_of_the_unstressed_anvil_is_not_taken_for_the_edge():
    counts = np.random.default_rng(5).poisson(expected(line=60000.0))
    assert fit_edge(NU, counts).values[0] == pytest.approx(1600.0, abs=1.0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.random.default_rng(7).poisson(np.full(NU.shape, 500.0)), "no Raman edge between 1250 and 1800 cm"),
        (expected()[::-1].cumsum(), "no Raman edge"),
        (np.full(NU.shape, np.nan), "two finite arrays of one length"),
        (expected(1790.0, line=0.0), "no Raman edge"),
    ],
    ids=["no fall", "only a rise", "no numbers", "at the end"],
)
def test_spectra_without_an_edge_are_refused_in_one_line(counts, message):
    with pytest.raises(ValueError, match=message) as failure:
        fit_edge(NU, counts)
    assert "\n" not in str(failure.value)


def test_saturated_edge_is_refused_and_a_saturated_line_elsewhere_is_not():
    with pytest.raises(ValueError, match=r"25 channels at the Raman edge near 1600 cm.* are saturated"):
        fit_edge(NU, expected(), saturated=np.abs(NU - 1590.0) < 10.3)
    assert fit_edge(NU, expected(), saturated=np.abs(NU - 1334.0) < 5.0).values[0] == pytest.approx(1600.0, abs=0.1)


@pytest.mark.parametrize("window", [5.0, 400.0])
def test_windows_that_cannot_be_are_refused_with_what_is_accepted(window):
    with pytest.raises(ValueError, match=f"window {window:g} .* 10.2 to 183 cm"):
        fit_edge(NU, expected(), window=window)


def test_pressure_carries_scale_and_errors():
    edge = fit_edge(NU, np.random.default_rng(8).poisson(expected()))
    found = edge_pressure(edge)
    at, pressure = edge.quantity("wavenumber"), found.quantity("pressure")
    assert found.scale == "Akahama2006"
    assert pressure.value == pytest.approx(float(AKAHAMA_2006.pressure(at.value)))
    slope = AKAHAMA_2006.per_unit(at.value)
    assert pressure.error == pytest.approx(slope * at.error)
    assert pressure.systematic == pytest.approx(np.hypot(slope * at.systematic, 0.03 * pressure.value))
    with pytest.raises(ValueError, match="Akahama2010 is a scale from 200 to 410 GPa"):
        edge_pressure(edge, scale="Akahama2010")
    with pytest.raises(ValueError, match="for raman: there are Akahama2006, Akahama2010"):
        edge_pressure(edge, scale="Ruby2020")


def test_raman_shift_counts_from_the_laser():
    assert float(raman_shift(532.0, 532.0)) == 0.0
    assert float(raman_shift(572.7, 532.0)) == pytest.approx(1335.8, abs=0.1)
    with pytest.raises(ValueError, match="a positive number of nm"):
        raman_shift(572.0, 0.0)
