"""Texture: March-Dollase density, its indices, and the fit of r with honest errors."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from megabar.analysis import texture
from megabar.analysis.texture import Ring


def test_density_index_and_strain_agree_with_the_reference_check():
    # physics.md D 6.1
    np.testing.assert_allclose(texture.march_dollase([0, 45, 90], 0.6), [4.62963, 0.980328, 0.464758], rtol=2e-6)
    norm = quad(lambda a: float(texture.march_dollase(math.degrees(a), 0.6)) * math.sin(a), 0, math.pi / 2)[0]
    assert norm == pytest.approx(1.0, rel=1e-9)
    assert texture.texture_index(0.6) == pytest.approx(1.66052, rel=1e-5)
    assert texture.march_strain(0.6) == pytest.approx(0.510826, rel=1e-5)


@pytest.mark.parametrize("r", [0.2, 0.5, 1.0, 1.7])
def test_texture_index_is_the_integral_of_the_squared_density(r):
    integral = quad(lambda a: float(texture.march_dollase(math.degrees(a), r)) ** 2 * math.sin(a), 0, math.pi / 2)[0]
    assert texture.texture_index(r) == pytest.approx(integral, rel=1e-7)


def test_shortening_gathers_plane_normals_along_the_axis():
    # physics.md D 6.3
    r = math.exp(-0.35)
    assert r == pytest.approx(0.704688, rel=1e-6)
    assert float(texture.march_dollase(0.0, r)) == pytest.approx(2.85765, rel=1e-6)


def test_misorientation_index_of_aligned_and_random_grains():
    # physics.md D 6.4
    random = texture.random_misorientations()
    assert random[0] == pytest.approx(3.52432e-5, rel=1e-5)
    assert random[18] == pytest.approx(0.028989, rel=1e-4)
    assert texture.misorientation_index(np.eye(36)[0]) == pytest.approx(0.999965, abs=1e-6)
    assert texture.misorientation_index(random) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="36 bins"):
        texture.misorientation_index(np.ones(36))


def test_fit_of_an_alternating_ring_agrees_with_the_reference_check():
    # physics.md D 6.2, unweighted
    psi = np.arange(0.0, 91.0, 10.0)
    intensity = 250.0 * texture.march_dollase(psi, 0.7) * (1.0 + 0.03 * (-1.0) ** np.arange(10))
    estimate = texture.fit_texture([Ring(psi, intensity, np.ones(10))])
    assert estimate.quantity("march_r").value == pytest.approx(0.69758, abs=2e-4)
    assert estimate.quantity("scale_0").value == pytest.approx(249.476, abs=0.02)


def test_error_of_r_meets_the_expected_accuracy():
    # physics.md A.2: 19 points at 5 %
    psi = np.arange(0.0, 91.0, 5.0)
    intensity = 250.0 * texture.march_dollase(psi, 0.7)
    r = texture.fit_texture([Ring(psi, intensity, 0.05 * intensity)]).quantity("march_r")
    assert r.value == pytest.approx(0.7, abs=1e-6)
    assert r.error == pytest.approx(0.0051, abs=1e-4)


@pytest.mark.parametrize("tilt", [0.0, 30.0, 62.0, 90.0])
def test_ring_density_of_a_tilted_plane_is_what_random_cones_give(tilt):
    rng = np.random.default_rng(1)
    # c axes of March-Dollase density by stretching random directions, plane normals on cones about them
    n, r = 400_000, 0.6
    axis = rng.normal(size=(n, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    axis *= np.array([r**0.5, r**0.5, 1.0 / r])
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    side = np.cross(axis, rng.normal(size=(n, 3)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    normal_z = np.abs(axis[:, 2] * math.cos(math.radians(tilt)) + side[:, 2] * math.sin(math.radians(tilt)))
    counts, edges = np.histogram(normal_z, bins=np.linspace(0, 1, 11))
    fine = np.degrees(np.arccos(np.linspace(0, 1, 1001)[:-1] + 0.0005))
    expected = texture.ring_density(fine, tilt, r).reshape(10, 100).mean(axis=1)
    np.testing.assert_allclose(counts / n * 10, expected, rtol=0.02)
    assert edges.size == 11


def test_plane_tilt_of_hexagonal_planes():
    assert texture.plane_tilt((0, 0, 2), 1.605) == 0.0
    assert texture.plane_tilt((1, 0, 0), 1.605) == 90.0
    assert texture.plane_tilt((1, 0, 1), 1.605) == pytest.approx(61.65, abs=0.01)  # atan(2 c/a / sqrt 3)
    with pytest.raises(ValueError, match="0 0 0"):
        texture.plane_tilt((0, 0, 0), 1.6)


def _spectra(rng, r, efficiency, counts):
    psi = np.array([2.9, 22.7, 45.1, 67.6, 90.0, 67.6, 45.1, 22.7, 2.9])
    rings = []
    for name, tilt in (("100", 90.0), ("002", 0.0), ("101", 61.6)):
        reference = rng.poisson(counts * efficiency).astype(float)
        now = rng.poisson(counts * efficiency * texture.ring_density(psi, tilt, r)).astype(float)
        ratio, error = texture.relative_to(now, np.sqrt(now), reference, np.sqrt(reference))
        rings.append(Ring(psi, ratio, error, tilt, name))
    return rings


@pytest.mark.parametrize("r", [0.75, 1.0])
def test_pulls_over_200_draws_are_normal_with_unequal_detectors(r):
    rng = np.random.default_rng(3)
    efficiency = rng.uniform(0.5, 1.5, 9)
    fits = [texture.fit_texture(_spectra(rng, r, efficiency, 2500.0)) for _ in range(200)]
    pulls = [(f.quantity("march_r").value - r) / f.quantity("march_r").error for f in fits]
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15
    index = np.array([(f.values[1] - texture.texture_index(r)) / math.sqrt(f.covariance[1, 1]) for f in fits])
    assert np.mean(np.abs(index) < 3.0) > 0.98


def test_spotty_rings_enlarge_the_error():
    rng = np.random.default_rng(4)
    psi = np.linspace(0, 90, 19)
    smooth = 1000.0 * texture.march_dollase(psi, 0.8)
    spotty = smooth * rng.normal(1.0, 0.1, 19)
    calm = texture.fit_texture([Ring(psi, smooth, 0.01 * smooth)])
    rough = texture.fit_texture([Ring(psi, spotty, 0.01 * smooth)])
    assert rough.chi2_red > 20
    assert rough.quantity("march_r").error > 5 * calm.quantity("march_r").error


def test_dead_detectors_are_left_out():
    psi = np.linspace(0, 90, 10)
    intensity = 100.0 * texture.march_dollase(psi, 0.7)
    intensity[4] = np.nan
    error = np.full(10, 1.0)
    error[7] = 0.0
    estimate = texture.fit_texture([Ring(psi, intensity, error)])
    assert estimate.n_points == 8
    assert estimate.quantity("march_r").value == pytest.approx(0.7, abs=1e-6)


def test_data_that_cannot_give_r_are_refused():
    psi = np.linspace(0, 90, 10)
    with pytest.raises(ValueError, match="more good points"):
        texture.fit_texture([Ring(psi[:2], psi[:2] + 1, np.ones(2))])
    with pytest.raises(ValueError, match="more good points"):
        texture.fit_texture([])
    with pytest.raises(ValueError, match="10 angles, 9 intensities"):
        texture.fit_texture([Ring(psi, psi[:9], np.ones(10))])
    with pytest.raises(ValueError, match="r runs to"):
        texture.fit_texture([Ring(psi, np.eye(10)[0] * 100, np.full(10, 0.01))])
    with pytest.raises(ValueError, match="positive"):
        texture.march_dollase(0.0, -1.0)


def test_what_is_not_texture_is_a_systematic_error_of_its_size():
    psi = np.linspace(0.0, 180.0, 10)
    rings = []
    for tilt, name in ((0.0, "002"), (90.0, "100"), (61.0, "101")):
        shape = texture.ring_density(psi, tilt, 0.9)
        spurious = 0.01 * np.cos(np.radians(psi)) ** 2
        rings.append(Ring(psi, 100.0 * shape * (1.0 + spurious), np.full(10, 0.1), tilt, name, spurious))
    fitted = texture.fit_texture(rings)
    assert fitted.systematic[0] == pytest.approx(abs(fitted.values[0] - 0.9), rel=0.1)
    assert fitted.systematic[1] == pytest.approx(abs(fitted.values[1] - texture.texture_index(0.9)), rel=0.1)
    without = [Ring(ring.psi_deg, ring.intensity, ring.error, ring.tilt_deg, ring.name) for ring in rings]
    assert texture.fit_texture(without).systematic[0] == 0.0
