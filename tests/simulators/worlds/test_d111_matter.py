"""Crystals, equations of state, flow law and texture of the world D111 against published or independent numbers."""

import math

import numpy as np
import pytest

from megabar.simulators.worlds.d111 import crystals
from megabar.simulators.worlds.d111.equations_of_state import HCP_IRON, MGO, Solid
from megabar.simulators.worlds.d111.parameters import Parameters
from megabar.simulators.worlds.d111.rheology import FlowLaw, steady_stress
from megabar.simulators.worlds.d111.texture import Texture

HCP = crystals.compliance_tensor(crystals.hexagonal(670.0, 240.0, 230.0, 720.0, 165.0))


def direction(psi: float) -> np.ndarray:
    return np.array([math.sin(psi), 0.0, math.cos(psi)])


@pytest.mark.parametrize(
    ("cosine_to_c", "psi", "strain"),
    [
        (0.0, 0.0, -0.003041513927808492),
        (0.0, 0.6, -0.0015869655997697817),
        (0.5, 0.0, -0.0036286462033154024),
        (0.5, 1.3, 0.0014248480403530718),
        (0.8, 0.6, -0.0019156769951112808),
        (1.0, 0.0, -0.0027666545322169657),
        (1.0, 1.3, 0.0010863727317812163),
    ],
)
def test_reuss_average_of_a_hexagonal_crystal_is_that_of_the_appendix(cosine_to_c, psi, strain):
    normal = np.array([math.sqrt(1.0 - cosine_to_c**2), 0.0, cosine_to_c])
    squeezed = crystals.reuss_strain(HCP, normal, direction(psi), crystals.axial_stress(2.0))
    assert squeezed == pytest.approx(-strain, rel=1e-10)  # compression counts positive here


@pytest.mark.parametrize(
    ("hkl", "q"), [((1, 0, 0), 0.00152076), ((0, 0, 2), 0.00138333), ((1, 0, 1), 0.00179521), ((1, 0, 2), 0.00188152)]
)
def test_hexagonal_lines_have_the_published_strain(hkl, q):
    normal = crystals.hexagonal_normal(hkl, 1.605)
    strain = crystals.reuss_strain(HCP, normal, direction(0.0), crystals.axial_stress(2.0))
    assert strain == pytest.approx(2.0 * q, rel=1e-5)


@pytest.mark.parametrize(("hkl", "q"), [((1, 1, 1), 0.00231216), ((2, 0, 0), 0.00289395), ((2, 2, 0), 0.0024576)])
def test_cubic_lines_halfway_between_reuss_and_voigt_have_the_published_strain(hkl, q):
    stiffness = crystals.cubic(297.0, 95.0, 156.0)
    stress = crystals.axial_stress(2.0)
    reuss = crystals.reuss_strain(crystals.compliance_tensor(stiffness), np.array(hkl, float), direction(0.0), stress)
    average = crystals.compliance_tensor(crystals.average_stiffness(stiffness))
    assert 0.5 * (reuss + crystals.voigt_strain(average, direction(0.0), stress)) == pytest.approx(2.0 * q, rel=1e-5)
    assert 0.25 / average[0, 1, 0, 1] == pytest.approx(134.0, rel=1e-6)


def test_isotropic_crystal_shortens_along_the_axis_and_widens_across():
    compliance = crystals.compliance_tensor(crystals.cubic(220.0 + 100.0, 100.0, 110.0))
    stress = crystals.axial_stress(2.5)
    along, across = (
        crystals.reuss_strain(compliance, np.array([1.0, 2.0, 3.0]), direction(psi), stress)
        for psi in (0.0, math.pi / 2)
    )
    assert along == pytest.approx(2 * 0.00378788, rel=1e-5)
    assert across == pytest.approx(-0.00378788, rel=1e-5)


def test_diffraction_vector_leans_off_the_axis_by_half_the_angle():
    g = crystals.diffraction_vector(0.0, 6.5)
    assert g[2] == pytest.approx(math.cos(math.radians(3.25)))
    assert crystals.diffraction_vector(67.5, 6.5)[2] == pytest.approx(
        math.cos(math.radians(3.25)) * math.cos(math.radians(67.5))
    )
    assert np.linalg.norm(g) == pytest.approx(1.0)


GOLD = Solid(67.850, 167.0, 6.00, 170.0, 2.97, 1.0, 0.6, 4)


@pytest.mark.parametrize(
    ("solid", "volume"),
    [
        (GOLD, 56.7946),
        (Solid(60.38, 277.0, 5.08, 230.0, 2.72, 1.0, 0.5, 4), 53.0005),
        (Solid(41.35, 26.86, 5.25, 290.0, 1.70, 1.0, 0.5, 2), 24.5862),
        (MGO, 61.015),
        (HCP_IRON, 18.5986),
    ],
)
def test_volumes_at_50_gpa_are_those_of_the_appendix(solid, volume):
    assert solid.volume(50.0, 300.0) == pytest.approx(volume, rel=1e-5)
    assert solid.pressure(solid.volume(37.0, 1100.0), 1100.0) == pytest.approx(37.0, abs=1e-8)


def test_hot_gold_has_the_published_thermal_pressure():
    assert GOLD.gamma(60.0) == pytest.approx(2.75878, rel=1e-5)
    assert GOLD.debye(60.0) == pytest.approx(241.732, rel=1e-5)
    assert GOLD.thermal(60.0, 2000.0) == pytest.approx(12.8878, rel=1e-4)
    assert GOLD.pressure(60.0, 2000.0) == pytest.approx(42.3992, rel=1e-4)


def test_debye_temperature_of_iron_follows_altshuler():
    assert HCP_IRON.debye(0.70519 * HCP_IRON.v0) == pytest.approx(740.461, rel=1e-4)


def test_both_mechanisms_give_half_of_the_rate_at_the_crossover():
    law = FlowLaw(Parameters())
    low, high = law.factors(800.0, 20.0)
    assert low == pytest.approx(5e-6) and high == pytest.approx(5e-6)
    assert law.rate(0.8, (low, high))[0] == pytest.approx(1e-5)
    assert law.rate(-0.8, (low, high))[0] == pytest.approx(-1e-5)


def test_flow_law_away_from_the_crossover_is_that_of_the_appendix():
    law = FlowLaw(Parameters())

    def apparent_energy(kelvin: float) -> float:
        near = [law.rate(0.8, law.factors(kelvin + step, 20.0))[0] for step in (-0.5, 0.5)]
        return 8.314462618e-3 * kelvin**2 * math.log(near[1] / near[0])

    assert law.rate(0.8, law.factors(650.0, 20.0))[0] == pytest.approx(4.85191e-9, rel=1e-5)
    assert law.rate(0.8, law.factors(1000.0, 20.0))[0] == pytest.approx(0.838287, rel=1e-5)
    assert apparent_energy(650.0) == pytest.approx(200.194, rel=1e-3)
    assert apparent_energy(1000.0) == pytest.approx(399.512, rel=1e-3)


def test_slope_of_the_flow_law_is_its_derivative():
    law = FlowLaw(Parameters(activation_volume_cm3_per_mol=3.0))
    factors = law.factors(760.0, 25.0)
    for stress in (0.4, 1.0, 5.0):
        near = [law.rate(stress + step, factors, 0.9)[0] for step in (-1e-5, 1e-5)]
        assert law.rate(stress, factors, 0.9)[1] == pytest.approx((near[1] - near[0]) / 2e-5, rel=1e-6)


def test_steady_stress_inverts_the_flow_law():
    law = FlowLaw(Parameters())
    for kelvin in (600.0, 800.0, 1000.0):
        stress = steady_stress(law, 3e-5, kelvin)
        assert law.rate(stress, law.factors(kelvin, 20.0))[0] == pytest.approx(3e-5, rel=1e-9)


def test_rotated_grain_normals_follow_march():
    texture = Texture(0.35)
    assert texture.axis_density(np.array([1.0, -1.0])) == pytest.approx([2.85765] * 2, rel=0.005)
    texture = Texture(-math.log(0.6))
    angles = np.cos(np.radians([0.0, 45.0, 90.0]))
    assert texture.axis_density(angles) == pytest.approx([4.62963, 0.980328, 0.464758], rel=0.02)
    assert texture.index() == pytest.approx(1.66052, rel=0.002)
    assert Texture(0.0).index() == pytest.approx(1.0)


def test_poles_of_every_line_add_up_to_the_same_number_of_grains():
    cosines, weights = np.polynomial.legendre.leggauss(60)
    densities = Texture(0.3).pole_density(np.cos(np.radians([0.0, 30.0, 61.0, 90.0])), cosines)
    assert 0.5 * weights @ densities == pytest.approx(np.ones(4), abs=0.003)
    on_axis = Texture(0.3).pole_density(np.cos(np.radians([0.0, 90.0])), np.array([1.0]))[0]
    assert on_axis[0] > 2.0 and on_axis[1] < 0.7  # basal poles gather at the axis of compression, prismatic ones leave
