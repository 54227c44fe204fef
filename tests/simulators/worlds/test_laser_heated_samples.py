"""Foil and disc of the laser-heated cell, against published numbers and limits in closed form."""

import math

import numpy as np
import pytest

from megabar.simulators.worlds.laser_heated_cell.disc import Disc, DiscTerms
from megabar.simulators.worlds.laser_heated_cell.foil import Foil, FoilTerms, compression
from megabar.simulators.worlds.laser_heated_cell.parameters import Parameters

PLAIN = FoilTerms(1.0, 1.0, 1.0, 1.0, 1.0)


def foil(**parameters) -> Foil:
    return Foil(Parameters(**parameters), PLAIN, lambda t: (3750.0, 140.0), np.zeros(2))


def test_iron_at_the_core_is_that_of_the_chain_of_sources() -> None:
    """physics.md D 3.6: volume, Debye temperature, Bloch and Grueneisen, saturation."""
    assert compression(140.0) == pytest.approx(0.70519, abs=1e-5)
    assert foil().resistivity_ohm_m(3750.0, 140.0) == pytest.approx(4.64391e-7, rel=1e-3)
    assert foil(saturation_ohm_m=1e3).resistivity_ohm_m(3750.0, 140.0) == pytest.approx(6.73572e-7, rel=1e-3)
    assert foil(saturation_ohm_m=1e3).resistivity_ohm_m(300.0, 140.0) == pytest.approx(3.92161e-8, rel=1e-3)


def test_resistance_follows_size_and_temperature_profile() -> None:
    even = foil(foil_spot_um=1e9)
    x = compression(140.0)
    thickness_m = 4e-6 * x ** (1.0 / 3.0)
    expected = even.resistivity_ohm_m(3750.0, 140.0) * 10e-6 / (8e-6 * thickness_m)
    assert even.resistance_ohm(3750.0, 140.0) == pytest.approx(expected, rel=1e-9)
    assert foil(foil_spot_um=10.0).resistance_ohm(3750.0, 140.0) < 0.98 * expected


def test_reversing_the_current_leaves_the_thermoelectric_voltage() -> None:
    cell = foil(thermoelectric_wander=0.0)
    cell.set_source_current(1.0, 0.01)
    cell.set_source_current(2.0, -0.01)
    resistance = cell.resistance_ohm(3750.0, 140.0)
    assert 0.5 * (cell.voltage_v(1.5) - cell.voltage_v(2.5)) == pytest.approx(0.01 * resistance)
    assert 0.5 * (cell.voltage_v(1.5) + cell.voltage_v(2.5)) == pytest.approx(8e-9 * 3450.0)
    assert cell.voltage_v(0.5) == pytest.approx(8e-9 * 3450.0)


def disc(kelvin: float = 3000.0, gpa: float = 100.0, energy: float = 1.0, **parameters) -> Disc:
    return Disc(Parameters(**parameters), DiscTerms(1.0, 1.0), lambda t: (kelvin, gpa), lambda t: (energy, 1000.0))


def test_a_disc_without_films_and_medium_rises_as_parker_says() -> None:
    """Half of the rise after 0.13879 d^2/alpha (physics.md D 4.2)."""
    lone = disc(film_nm=1.0, medium_effusivity=1e-3, pulse_s=1e-12)
    d = lone.thickness_m(100.0)
    alpha = lone.conductivity_w_per_m_k(3000.0, 100.0) / (lone.density_kg_per_m3(100.0) * 1242.0)
    half_s = 0.13879 * d**2 / alpha
    final = 1.0 / (lone.density_kg_per_m3(100.0) * 1242.0 * d)
    risen = lone.response(np.array([half_s, 30.0 * half_s]), 3000.0, 100.0)
    assert risen[1] == pytest.approx(final, rel=2e-3)
    assert risen[0] == pytest.approx(0.5 * final, rel=5e-3)


def test_in_a_medium_the_rise_is_the_series_of_reflections() -> None:
    """physics.md section 4b: 2 es/(es+em)^2 sum g^2n exp(-(2n+1)^2 tau/4t)/sqrt(pi t)."""
    thin = disc(film_nm=1.0, pulse_s=1e-12, medium_effusivity=5000.0)
    d = thin.thickness_m(100.0)
    capacity = thin.density_kg_per_m3(100.0) * 1242.0
    kappa = thin.conductivity_w_per_m_k(3000.0, 100.0)
    own, tau = math.sqrt(kappa * capacity), d**2 * capacity / kappa
    mirror = (own - 5000.0) / (own + 5000.0)
    times = tau * np.array([0.3, 0.5, 1.0, 2.0])
    orders = np.arange(60)[:, None]
    terms = mirror ** (2 * orders) * np.exp(-((2 * orders + 1) ** 2) * tau / (4.0 * times)) / np.sqrt(np.pi * times)
    expected = 2.0 * own / (own + 5000.0) ** 2 * terms.sum(axis=0)
    assert np.allclose(thin.response(times, 3000.0, 100.0), expected, rtol=5e-3)


def test_no_heat_comes_before_the_pulse_or_without_it() -> None:
    cell = disc()
    assert np.allclose(cell.response(np.array([-2e-8, -6e-9]), 3000.0, 100.0), 0.0, atol=1e-12)
    dark = disc(energy=0.0)
    assert np.ptp(dark.waveform_v(1.0, np.linspace(0.0, 1e-6, 50))) == 0.0


def test_both_minerals_conduct_alike_at_the_core_and_worse_when_hot_and_impure() -> None:
    pair = [disc(disc=name).conductivity_w_per_m_k(4000.0, 135.0) for name in ("bridgmanite", "post-perovskite")]
    assert pair[1] / pair[0] == pytest.approx(1.0, abs=0.05)
    assert disc().conductivity_w_per_m_k(2000.0, 135.0) > disc().conductivity_w_per_m_k(4000.0, 135.0)
    assert disc().conductivity_w_per_m_k(2000.0, 135.0) > disc().conductivity_w_per_m_k(2000.0, 60.0)
    assert disc(dissolved=0.1).conductivity_w_per_m_k(2000.0, 60.0) == pytest.approx(
        0.95 * disc().conductivity_w_per_m_k(2000.0, 60.0)
    )
