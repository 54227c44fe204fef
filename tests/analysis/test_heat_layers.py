"""Heat conduction in layers, against series, closed forms and a row of cells."""

import math

import numpy as np
import pytest

from megabar.analysis.embedded_samples import EmbeddedSample
from megabar.analysis.heat_layers import (
    SIGMA_PER_FWHM,
    Film,
    Interface,
    Layer,
    Stack,
    frequency_response,
    impulse_response,
    pulse_response,
)

from .finite_volumes import Cells

KAPPA, C, D, EM = 12.0, 5100.0 * 1000.0, 2e-6, 5000.0
MEDIUM = Layer(EM**2 / 2e6, 2e6)
SAMPLE = Layer(KAPPA, C, D)
REAR = Stack([SAMPLE, MEDIUM], [MEDIUM], depth=1)
FRONT = Stack([SAMPLE, MEDIUM], [MEDIUM])


def images(time, kappa=KAPPA, em=EM):
    """Rear response as a sum over images of the source."""
    tau, es = D**2 * C / kappa, math.sqrt(kappa * C)
    n, g = np.arange(300)[:, None], (es - em) / (es + em)
    terms = g ** (2 * n) * np.exp(-((2 * n + 1) ** 2) * tau / (4.0 * time)) / np.sqrt(np.pi * time)
    return 2.0 * es / (es + em) ** 2 * terms.sum(axis=0)


def test_rear_response_to_a_pulse_agrees_with_the_series_of_images():
    # physics.md D 4.1
    time = np.geomspace(1e-9, 1e-4, 400)
    expected = images(time)
    assert np.max(np.abs(impulse_response(REAR, time) - expected)) < 1e-9 * expected.max()
    assert impulse_response(REAR, [1.7e-6])[0] == pytest.approx(0.0322769, rel=1e-5)
    late = time > 1e-7
    np.testing.assert_allclose(impulse_response(REAR, time[late]), expected[late], rtol=1e-6)
    fine = np.linspace(0.8e-6, 0.9e-6, 20001)
    peak = impulse_response(REAR, fine)
    assert fine[peak.argmax()] * 1e9 == pytest.approx(856.24, rel=1e-3)
    assert peak.max() == pytest.approx(0.0353495, rel=1e-5)


def test_adiabatic_slab_reaches_half_its_height_when_parker_says():
    # physics.md D 4.2
    slab = Stack([Layer(2.4, 1e6, 2e-6)], depth=1)
    half = 231.309e-9
    final = 1.0 / (1e6 * 2e-6)
    assert impulse_response(slab, [half])[0] == pytest.approx(0.5 * final, rel=1e-5)
    assert impulse_response(slab, [1e-4])[0] == pytest.approx(final, rel=1e-9)


def test_phases_at_rear_and_front_agree_with_the_reference_check():
    # physics.md D 4.3
    rear, front = (frequency_response(stack, 1e5) for stack in (REAR, FRONT))
    assert np.degrees(np.angle(rear)) == pytest.approx(-87.5126, abs=1e-3)
    assert np.degrees(np.angle(front)) == pytest.approx(-48.5296, abs=1e-3)
    assert np.degrees(np.angle(front / rear)) == pytest.approx(38.9831, abs=1e-3)
    assert abs(rear / front) == pytest.approx(0.583539, rel=1e-5)


def test_films_interfaces_and_a_medium_that_ends_agree_with_a_row_of_cells():
    film, joint, backing = 0.29, 5e7, (2000.0, 1.8e6)
    sample = EmbeddedSample(
        D, C, film_capacity=film, film_conductance=joint, medium_thickness=4e-6, backing_effusivity=math.sqrt(3.6e9)
    )
    near = np.full(400, 4e-6 / 400)
    diamond = np.geomspace(2e-8, 4e-5, 400)
    medium, body = ("layer", EM**2 / 2e6, 2e6, near), ("layer", KAPPA, C, np.full(400, D / 400))
    cells = Cells(
        ("layer", *backing, diamond[::-1]),
        medium,
        ("film", film),
        ("interface", joint),
        body,
        ("interface", joint),
        ("film", film),
        medium,
        ("layer", *backing, diamond),
    )
    first, second = 800, 1201
    time, frequency = np.geomspace(2e-8, 1e-5, 30), np.geomspace(2e4, 5e6, 20)
    for probed, cell in (("rear", second), ("front", first)):
        stack = sample.stack(KAPPA, EM, probed)
        expected = cells.pulse(first, cell, time)
        assert np.max(np.abs(impulse_response(stack, time) - expected)) < 2e-4 * expected.max()
        expected = cells.modulated(first, cell, frequency)
        assert np.max(np.abs(frequency_response(stack, frequency) / expected - 1.0)) < 2e-3


def test_conductance_is_the_limit_of_a_thin_layer_and_film_that_of_a_conductive_one():
    f = np.geomspace(1e3, 1e7, 9)
    thin = Stack([SAMPLE, Layer(0.01, 1.0, 1e-10), MEDIUM], [MEDIUM], depth=2)
    np.testing.assert_allclose(
        frequency_response(Stack([SAMPLE, Interface(1e8), MEDIUM], [MEDIUM], depth=2), f),
        frequency_response(thin, f),
        rtol=1e-8,
    )
    conductive = Stack([Layer(1e6, 2.9e6, 1e-7), SAMPLE, MEDIUM], [MEDIUM], depth=2)
    film = Stack([Film(0.29), SAMPLE, MEDIUM], [MEDIUM], depth=2)
    np.testing.assert_allclose(frequency_response(film, f), frequency_response(conductive, f), rtol=1e-5)
    perfect = Stack([SAMPLE, Interface(math.inf), MEDIUM], [MEDIUM], depth=1)
    np.testing.assert_allclose(frequency_response(perfect, f), frequency_response(REAR, f), rtol=1e-12)


def test_a_layer_cut_in_two_conducts_like_one_and_exchanging_source_and_probe_changes_nothing():
    time = np.geomspace(1e-8, 1e-5, 20)
    halves = Stack([Layer(KAPPA, C, 0.3 * D), Layer(KAPPA, C, 0.7 * D), MEDIUM], [MEDIUM], depth=2)
    np.testing.assert_allclose(impulse_response(halves, time), impulse_response(REAR, time), rtol=1e-9, atol=1e-14)
    other = Layer(3.0, 2e6)
    there = Stack([SAMPLE, other], [Film(0.1), MEDIUM], depth=1)
    back = Stack([SAMPLE, Film(0.1), MEDIUM], [other], depth=1)
    np.testing.assert_allclose(impulse_response(there, time), impulse_response(back, time), rtol=1e-9, atol=1e-14)


def test_heat_spreads_sideways_from_gaussian_spots_as_in_closed_form():
    pump, probe = 3e-6, 2e-6
    time = np.geomspace(1e-9, 1e-4, 30)
    half_space = Stack([Layer(KAPPA, C)])
    square = pump**2 + probe**2
    expected = square / (square + 8.0 * KAPPA / C * time) / np.sqrt(np.pi * KAPPA * C * time)
    found = impulse_response(half_space, time, pump_radius=pump, probe_radius=probe)
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    wide = impulse_response(REAR, time, pump_radius=1.0, probe_radius=1.0)
    np.testing.assert_allclose(wide, impulse_response(REAR, time), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("fwhm", [2e-9, 2e-7])
@pytest.mark.parametrize("depth", [0, 1])
def test_gaussian_pulse_is_convolved_before_during_and_after_itself(fwhm, depth):
    stack, sigma = Stack([SAMPLE, MEDIUM], [MEDIUM], depth), fwhm * SIGMA_PER_FWHM
    nodes, weights = np.polynomial.legendre.leggauss(400)
    for t in sigma * np.array([-3.0, -1.0, 0.0, 1.0, 5.0, 13.9, 14.1, 60.0, 900.0]):
        low, high = np.sqrt(max(t - 9.0 * sigma, 0.0)), np.sqrt(t + 9.0 * sigma)
        root = low + 0.5 * (high - low) * (nodes + 1.0)  # in the root of the delay, where the response is smooth
        pulse = np.exp(-0.5 * ((t - root**2) / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))
        expected = 0.5 * (high - low) * weights @ (2.0 * root * impulse_response(stack, root**2) * pulse)
        assert pulse_response(stack, np.array([t]), fwhm)[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert pulse_response(stack, np.array([-30.0 * sigma]), fwhm)[0] == 0.0
    early, late = pulse_response(stack, sigma * np.array([14.0 - 1e-9, 14.0 + 1e-9]), fwhm)
    assert early == pytest.approx(late, rel=1e-6, abs=1e-12)


def test_pulse_without_width_is_an_impulse_and_nothing_comes_before_it():
    time = np.array([-1e-9, 0.0, 1e-7, 1e-6])
    assert np.array_equal(pulse_response(REAR, time, 0.0), impulse_response(REAR, time))
    assert np.array_equal(impulse_response(REAR, time[:2]), [0.0, 0.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layer(-12.0, C, D), "conductivity must be positive, not -12"),
        (lambda: Layer(KAPPA, 0.0, D), "heat capacity must be positive"),
        (lambda: Layer(KAPPA, C, float("nan")), "thickness must be positive, not nan"),
        (lambda: Film(-0.1), "areal heat capacity must be 0 or more"),
        (lambda: Interface(-1e8), "conductance must be positive"),
        (lambda: Stack([MEDIUM, SAMPLE]), "infinite thickness"),
        (lambda: Stack([SAMPLE, MEDIUM], depth=2), "none of 0 to 1"),
        (lambda: frequency_response(REAR, [1e5, 0.0]), "must be positive, not"),
        (lambda: frequency_response(REAR, 1e5, pump_radius=-1.0), "1/e2 radii"),
        (lambda: pulse_response(REAR, np.ones(3), -1e-9), "0 or positive"),
        (lambda: EmbeddedSample(-2e-6, C), "thickness must be positive, not -2e-06"),
        (lambda: EmbeddedSample(D, C, film_capacity=-1.0), "film_capacity must be 0 or more"),
        (lambda: EmbeddedSample(D, C).stack(KAPPA, -EM), "effusivity of the medium must be positive"),
        (lambda: EmbeddedSample(D, C).stack(KAPPA, EM, "side"), "give front or rear"),
    ],
)
def test_impossible_layers_are_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as failure:
        make()
    assert "\n" not in str(failure.value)
