import numpy as np
import pytest

from megabar.analysis.deformation_pattern import reduce_pattern
from megabar.analysis.elasticity import strain_per_stress
from megabar.analysis.energy_dispersive import Elements, line_energy_kev
from megabar.analysis.equations_of_state import MGO_TANGE2009
from megabar.analysis.estimate import Quantity
from megabar.analysis.phases import choose_lines, hcp_iron_elasticity, hcp_iron_lines, mgo_elasticity, mgo_lines

AZIMUTH = np.append(22.5 * np.arange(9), 270.0)
AREAS = [1000, 800, 3000, 500, 700, 600, 800, 2000, 1200]


def elements() -> Elements:
    n = 10
    return Elements(
        AZIMUTH,
        np.full(n, 6.5),
        np.full(n, 0.1),
        np.full(n, 0.065),
        np.full(n, 5e-8),
        np.ones(n, bool),
        np.full(n, 1e-4),
    )


def spectra(pressure, temperature, stress, areas=AREAS):
    """Expected counts of iron and MgO, MgO under 0.6 of the sample's stress."""
    iron, magnesia = hcp_iron_lines(pressure, temperature), mgo_lines(pressure, temperature)
    u = (1 - 3 * np.cos(elements().psi_rad) ** 2)[:, None]
    q = stress * strain_per_stress(hcp_iron_elasticity(pressure, temperature), [line.hkl for line in iron])
    q_marker = 0.6 * stress * strain_per_stress(mgo_elasticity(pressure, temperature), [line.hkl for line in magnesia])
    d = np.array([line.d_angstrom for line in (*iron, *magnesia)]) * (1 + u * np.append(q, q_marker))
    energy = elements().energy_kev(np.tile(np.arange(2048.0), (10, 1)))
    mean = 8 * np.exp(-(((energy - 60) / 50) ** 2))
    for k, area in enumerate(areas):
        centre = line_energy_kev(d[:, k], 6.5)[:, None]
        sigma = np.sqrt(0.15**2 + 0.18 / 60 * centre) / 2.3548
        mean += area * 0.065 / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((energy - centre) / sigma) ** 2)
    return mean


def test_pressure_and_stress_have_honest_statistics_over_patterns():
    rng = np.random.default_rng(40)
    mean = spectra(20.0, 800.0, 1.0)
    stress, pressure = [], []
    for _ in range(60):
        pattern = reduce_pattern(rng.poisson(mean), elements(), pressure_gpa=19.5, temperature=Quantity(800, 0, 0, "K"))
        t, p = pattern.stress.quantity("differential_stress"), pattern.pressure.quantity("pressure")
        stress.append((t.value - 1.0) / t.error)
        pressure.append((p.value - 20.0) / p.error)
    for pull in (stress, pressure):
        assert abs(np.mean(pull)) < 0.4
        assert 0.75 < np.std(pull) < 1.25


def test_a_poor_expectation_of_the_pressure_is_corrected():
    counts = np.random.default_rng(41).poisson(spectra(22.0, 700.0, 0.8))
    pattern = reduce_pattern(counts, elements(), pressure_gpa=18.0, temperature=Quantity(700, 0, 5, "K"))
    assert pattern.pressure.quantity("pressure").value == pytest.approx(22.0, abs=0.15)
    assert pattern.pressure.scale == MGO_TANGE2009.scale


def test_lines_that_coincide_are_left_out_and_all_others_fitted():
    every = (*hcp_iron_lines(20.0, 800.0), *mgo_lines(20.0, 800.0))
    kept, left_out = choose_lines(every, 6.5)
    assert {text.split(":")[0] for text in left_out} == {"hcp-Fe 102", "MgO 220"}
    counts = np.random.default_rng(42).poisson(spectra(20.0, 800.0, 1.0))
    pattern = reduce_pattern(counts, elements(), pressure_gpa=20.0, temperature=Quantity(800, 0, 5, "K"))
    assert {(line.phase, line.hkl) for line in pattern.spacings.lines} == {(line.phase, line.hkl) for line in kept}


def test_no_stress_gives_no_stress():
    counts = np.random.default_rng(43).poisson(spectra(20.0, 800.0, 0.0))
    pattern = reduce_pattern(counts, elements(), pressure_gpa=20.0, temperature=Quantity(800, 0, 5, "K"))
    stress = pattern.stress.quantity("differential_stress")
    assert abs(stress.value) < 4 * stress.combined


def test_pattern_without_beam_is_refused_in_one_line():
    with pytest.raises(ValueError, match="no marker line was found") as refused:
        reduce_pattern(np.zeros((10, 2048)), elements(), pressure_gpa=20.0, temperature=Quantity(800, 0, 5, "K"))
    assert "\n" not in str(refused.value)
