import numpy as np
import pytest

from megabar.analysis.elasticity import CubicElasticity, HexagonalElasticity, strain_per_stress
from megabar.analysis.lattice_strain import differential_stress, fit_axis_azimuth, fit_singh

IRON = HexagonalElasticity(670.0, 240.0, 230.0, 720.0, 165.0, 1.605, "iron")
IRON_HKL = [(1, 0, 0), (0, 0, 2), (1, 0, 1), (1, 1, 0), (1, 0, 3)]
IRON_D = np.array([2.1205, 1.965, 1.866, 1.2243, 1.111])
AZIMUTH = np.append(22.5 * np.arange(9), 270.0)
PSI = np.arccos(np.cos(np.radians(3.25)) * np.cos(np.radians(AZIMUTH)))
U = 1 - 3 * np.cos(PSI) ** 2


def test_cubic_strains_are_those_of_the_reference():
    magnesia = CubicElasticity(297.0, 95.0, 156.0)
    hkl = [(1, 1, 1), (2, 0, 0), (2, 2, 0)]
    q = 2.0 * strain_per_stress(magnesia, hkl, 0.5)
    assert q == pytest.approx([0.00231216, 0.00289395, 0.0024576], rel=1e-5)
    assert [0.5 / magnesia.reuss_compliance(h) for h in hkl] == pytest.approx([156, 101, 137.307], rel=1e-5)
    assert 0.5 / magnesia.voigt_compliance() == pytest.approx(134.0)


def test_hexagonal_reuss_strains_are_those_of_the_reference():
    q = 2.0 * strain_per_stress(IRON, [(1, 0, 0), (0, 0, 2), (1, 0, 1), (1, 0, 2)], alpha=1.0)
    assert q == pytest.approx([0.00152076, 0.00138333, 0.00179521, 0.00188152], rel=1e-5)


def test_hexagonal_constants_of_an_isotropic_solid_give_its_shear_modulus():
    lame, shear = 120.0, 80.0
    solid = HexagonalElasticity(lame + 2 * shear, lame, lame, lame + 2 * shear, shear, 1.6)
    for hkl in IRON_HKL:
        assert 0.5 / solid.reuss_compliance(hkl) == pytest.approx(shear)
    assert 0.5 / solid.voigt_compliance() == pytest.approx(shear)


def test_hexagonal_voigt_modulus_is_that_of_rotated_stiffnesses():
    """Second route: shear part of the stiffness tensor averaged over all orientations, G = (3 C_ijij - C_iijj) / 30."""
    c11, c12, c13, c33, c44 = 670.0, 240.0, 230.0, 720.0, 165.0
    c66 = (c11 - c12) / 2
    bulk_trace = 2 * c11 + c33 + 2 * (c12 + 2 * c13)
    trace = 2 * c11 + c33 + 2 * (2 * c44 + c66)
    assert 0.5 / IRON.voigt_compliance() == pytest.approx((3 * trace - bulk_trace) / 30)


def test_isotropic_spacings_are_those_of_the_reference_and_give_the_stress_back():
    psi = np.radians([0, 30, 45, 54.7356103, 60, 90])
    q = 2.5 / (6 * 110.0)
    assert q == pytest.approx(0.00378788, rel=1e-6)
    d = 2.02 * (1 + (1 - 3 * np.cos(psi) ** 2) * q)
    assert d == pytest.approx([2.0047, 2.01044, 2.01617, 2.02, 2.02191, 2.02765], rel=1e-5)
    fit = fit_singh(d[:, None], np.full((6, 1), 1e-4), psi)
    isotropic = CubicElasticity(300.0, 80.0, 110.0)
    stress = differential_stress(fit, [(1, 1, 1)], isotropic)
    assert stress.quantity("differential_stress").value == pytest.approx(2.5, rel=1e-6)
    assert fit.d_p[0] == pytest.approx(2.02, rel=1e-6)


def test_compression_along_the_axis_is_positive():
    d = np.where(np.abs(np.cos(PSI)) > 0.7, 1.999, 2.001)[:, None]
    fit = fit_singh(d, np.full_like(d, 1e-4), PSI)
    assert differential_stress(fit, [(2, 0, 0)], CubicElasticity(297, 95, 156)).values[0] > 0


def test_counting_error_is_that_of_36_azimuths():
    """0.010 GPa per line at dd/d = 1e-4 with 36 azimuths and t = 2 GPa, isotropic."""
    psi = np.radians(np.arange(0, 360, 10.0))
    d = 2.0 * (1 + (1 - 3 * np.cos(psi) ** 2) * 2.0 / (6 * 110))[:, None]
    fit = fit_singh(d, 1e-4 * d, psi)
    stress = differential_stress(fit, [(1, 1, 1)], CubicElasticity(300.0, 80.0, 110.0))
    assert stress.quantity("differential_stress").error == pytest.approx(0.010, abs=0.0006)


def draw_stress(rng, *, scatter=True):
    """Stress and its estimate from spacings with every systematic term drawn; the analysis has nominal constants."""
    t = 1.0
    elastic, anisotropy = rng.normal(0, 0.05), rng.normal(0, 0.05, 5)
    alpha = rng.uniform(0.3, 0.7)
    angle = rng.normal(0, 1e-3, 10)
    strain_per_degree = -0.5 * np.radians(1.0) / np.tan(np.radians(3.25))
    q = t / (1 + elastic) * (1 + anisotropy) * strain_per_stress(IRON, IRON_HKL, alpha)
    error = 1.5e-4 * IRON_D * np.ones((10, 1))
    d = IRON_D * (1 + U[:, None] * q) * (1 + strain_per_degree * angle[:, None])
    d = d + rng.normal(0, 1, d.shape) * error if scatter else d
    fit = fit_singh(d, error, PSI)
    return t, differential_stress(fit, IRON_HKL, IRON, strain_error=np.full(10, abs(strain_per_degree) * 1e-3))


def test_stress_pulls_over_200_draws():
    rng = np.random.default_rng(20)
    pulls = []
    for _ in range(200):
        t, stress = draw_stress(rng)
        value = stress.quantity("differential_stress")
        pulls.append((value.value - t) / value.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_statistical_errors_alone_would_not_cover_the_truth():
    rng = np.random.default_rng(20)
    pulls = [
        (s.values[0] - t) / s.quantity("differential_stress").error for t, s in (draw_stress(rng) for _ in range(50))
    ]
    assert np.std(pulls) > 2


def test_each_systematic_term_is_counted_once():
    fit = fit_singh(IRON_D * (1 + U[:, None] * strain_per_stress(IRON, IRON_HKL)), 1e-4 * np.ones((10, 5)), PSI)
    off = {"elastic_error": 0.0, "alpha_error": 0.0, "hkl_error": 0.0}
    assert differential_stress(fit, IRON_HKL, IRON, **off).systematic[0] == pytest.approx(0, abs=1e-12)
    elastic = differential_stress(fit, IRON_HKL, IRON, **off | {"elastic_error": 0.05})
    assert elastic.quantity("differential_stress").systematic == pytest.approx(0.05, rel=1e-6)
    hkl = differential_stress(fit, IRON_HKL, IRON, **off | {"hkl_error": 0.05})
    assert 0.05 / np.sqrt(5) <= hkl.quantity("differential_stress").systematic < 0.05
    assert hkl.quantity("t_101").systematic == pytest.approx(0.05, rel=1e-6)


def test_alpha_term_is_the_change_between_bounds():
    fit = fit_singh(IRON_D * (1 + U[:, None] * strain_per_stress(IRON, IRON_HKL)), 1e-4 * np.ones((10, 5)), PSI)
    options = {"elastic_error": 0.0, "hkl_error": 0.0}
    low, high = (
        differential_stress(fit, IRON_HKL, IRON, alpha=a, alpha_error=0, **options).values[1:6] for a in (0.4, 0.6)
    )
    term = differential_stress(fit, IRON_HKL, IRON, alpha_error=0.1, **options).systematic[1:6]
    assert term == pytest.approx(np.abs(high - low) / 2, rel=0.01)


def test_missing_detectors_and_lines_are_left_out():
    d = IRON_D * (1 + U[:, None] * 1e-3)
    d[4] = np.nan
    d[:, 2] = np.nan
    fit = fit_singh(d, 1e-4 * np.ones_like(d), PSI)
    assert fit.q[[0, 1, 3, 4]] == pytest.approx(1e-3) and np.isnan(fit.q[2])
    names = differential_stress(fit, IRON_HKL, IRON).names
    assert "t_101" not in names and "t_100" in names
    with pytest.raises(ValueError, match="no stress"):
        differential_stress(fit_singh(d * np.nan, d, PSI), IRON_HKL, IRON)


def test_axis_is_found_where_spacings_are_smallest():
    d = IRON_D * (1 - 2e-3 * np.cos(2 * np.radians(AZIMUTH - 12.0)))[:, None]
    noisy = d + np.random.default_rng(22).normal(0, 1e-4, d.shape)
    axis, error = fit_axis_azimuth(noisy, np.full_like(d, 1e-4), AZIMUTH)
    assert error < 1.0
    assert axis == pytest.approx(12.0, abs=4 * error)


@pytest.mark.parametrize("constants", [(100.0, 120.0, 50.0), (100.0, 50.0, -1.0)])
def test_unstable_crystals_are_refused(constants):
    with pytest.raises(ValueError, match="stable"):
        CubicElasticity(*constants)
