import numpy as np
import pytest

from megabar.analysis.equations_of_state import (
    AU_FEI2007,
    HCP_FE_DEWAELE2006,
    MGO_TANGE2009,
    NACL_B2_FEI2007,
    PT_FEI2007,
    marker_pressure,
)
from megabar.analysis.lattice_strain import fit_singh

ALL = (AU_FEI2007, PT_FEI2007, NACL_B2_FEI2007, MGO_TANGE2009, HCP_FE_DEWAELE2006)
PSI = np.radians(np.append(22.5 * np.arange(9), 270.0))
U = (1 - 3 * np.cos(PSI) ** 2)[:, None]
HKL = [(1, 1, 1), (2, 0, 0), (2, 2, 0)]
ROOT = np.sqrt([3.0, 4.0, 8.0])


def test_volumes_at_50_gpa_are_those_of_the_reference():
    volumes = [float(eos.volume(50.0)) for eos in ALL]
    assert volumes == pytest.approx([56.7946, 53.0005, 24.5862, 61.015, 18.5986], rel=1e-4)


def test_thermal_pressure_of_gold_is_that_of_the_reference():
    assert AU_FEI2007.cold_pressure(60.0) == pytest.approx(29.5114, rel=1e-5)
    assert AU_FEI2007.grueneisen(60.0) == pytest.approx(2.75878, rel=1e-5)
    assert AU_FEI2007.debye_temperature_k(60.0) == pytest.approx(241.732, rel=1e-5)
    assert AU_FEI2007.thermal_pressure(60.0, 2000.0) == pytest.approx(12.8878, rel=1e-5)
    assert AU_FEI2007.pressure(60.0, 2000.0) == pytest.approx(42.3992, rel=1e-5)


@pytest.mark.parametrize("eos", ALL, ids=lambda eos: eos.scale)
def test_volume_is_the_inverse_of_pressure(eos):
    pressure, temperature = np.array([0.0, 20.0, 130.0]), np.array([300.0, 900.0, 2500.0])
    assert eos.pressure(eos.volume(pressure, temperature), temperature) == pytest.approx(pressure, abs=1e-6)


def test_debye_heat_is_classical_when_hot_and_vanishes_when_cold():
    volume = 60.0
    slope = AU_FEI2007.thermal_pressure(volume, 3001.0) - AU_FEI2007.thermal_pressure(volume, 3000.0)
    classical = AU_FEI2007.grueneisen(volume) / volume * 3 * 4 * 1.380649e-2
    assert slope == pytest.approx(classical, rel=1e-3)
    cold = AU_FEI2007.thermal_pressure(volume, 2.0) - AU_FEI2007.thermal_pressure(volume, 1.0)
    assert cold == pytest.approx(0.0, abs=1e-6)


def test_bulk_modulus_at_ambient_is_the_parameter():
    assert MGO_TANGE2009.bulk_modulus(MGO_TANGE2009.v0_a3) == pytest.approx(160.63, rel=1e-4)


def test_measured_mgo_is_within_a_few_percent_of_the_scale(data):
    """Dewaele 2000 on the platinum scale of its time: scales differ by some percent, a wrong formula by far more."""
    table = np.loadtxt(data / "equation-of-state" / "PVT_MgO_Dewaele_et_al_2000.dat", comments="#")
    temperature, pressure, error, volume = table[:, 0], table[:, 3], table[:, 4], table[:, 5]
    difference = MGO_TANGE2009.pressure(volume, temperature) - pressure
    assert np.median(np.abs(difference) / np.hypot(error, 0.03 * pressure + 0.1)) < 1.0
    cold_only = MGO_TANGE2009.cold_pressure(volume) - pressure
    assert np.median(np.abs(cold_only[temperature > 1500])) > 5


def test_impossible_states_are_refused():
    with pytest.raises(ValueError, match=r"MgO Tange 2009.*no volume"):
        MGO_TANGE2009.volume(1e5)
    with pytest.raises(ValueError, match="must be positive"):
        MGO_TANGE2009.pressure(-1.0, 300.0)


def marker_fit(a, q, rng=None, strain_error=0.0, error=1e-4):
    d = a / ROOT * (1 + U * np.asarray(q))
    if rng is not None:
        d = d * (1 + rng.normal(0, strain_error, (10, 1))) + rng.normal(0, error, d.shape) * d
    return fit_singh(d, error * d, PSI)


def test_marker_stress_does_not_bias_the_pressure():
    a = float(np.cbrt(MGO_TANGE2009.volume(20.0, 800.0)))
    estimate = marker_pressure(marker_fit(a, [1e-3, 1.3e-3, 1.1e-3]), HKL, 800.0)
    assert estimate.quantity("pressure").value == pytest.approx(20.0, abs=0.002)
    assert estimate.scale == "MgO Tange 2009 (Vinet)"
    naive = (np.mean(a * (1 + U * 1.1e-3))) ** 3
    assert abs(float(MGO_TANGE2009.pressure(naive, 800.0)) - 20.0) > 0.05


def test_pressure_pulls_over_200_draws_with_every_systematic_drawn():
    rng = np.random.default_rng(30)
    pulls = []
    for _ in range(200):
        scale_error, d_scale, heat = rng.normal(0, 0.01), rng.normal(0, 1e-4), rng.normal(0, 6.0)
        a = float(np.cbrt(MGO_TANGE2009.volume(20.0 / (1 + scale_error), 800.0))) * (1 + d_scale)
        fit = marker_fit(a, [1e-3] * 3, rng, strain_error=1e-4)
        estimate = marker_pressure(fit, HKL, 800.0 + heat, temperature_systematic_k=6.0, strain_error=np.full(10, 1e-4))
        value = estimate.quantity("pressure")
        pulls.append((value.value - 20.0) / value.combined)
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_systematic_terms_are_those_of_the_budget():
    a = float(np.cbrt(MGO_TANGE2009.volume(20.0, 800.0)))
    fit = marker_fit(a, [1e-3] * 3)
    none = {"d_scale_error": 0.0, "eos_error": 0.0}
    assert marker_pressure(fit, HKL, 800.0, **none).systematic[0] == pytest.approx(0, abs=1e-9)
    eos = marker_pressure(fit, HKL, 800.0, **none | {"eos_error": 0.01})
    assert eos.systematic[0] == pytest.approx(0.2, rel=1e-3)
    scale = marker_pressure(fit, HKL, 800.0, **none | {"d_scale_error": 1e-4})
    assert scale.systematic[0] == pytest.approx(3e-4 * float(MGO_TANGE2009.bulk_modulus(a**3, 800.0)), rel=1e-3)


def test_marker_without_lines_is_refused():
    with pytest.raises(ValueError, match="no marker line"):
        marker_pressure(fit_singh(np.full((10, 3), np.nan), np.ones((10, 3)), PSI), HKL, 800.0)
