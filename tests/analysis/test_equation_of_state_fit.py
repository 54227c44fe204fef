"""Fits of P-V-T equations of state: thermodynamics of the forms, measured MgO, pulls, bounds, and bad input."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from megabar.analysis.equation_of_state_fit import (
    FREE,
    BirchMurnaghan,
    StixrudeLithgowBertelloni,
    fit_equation_of_state,
)
from megabar.analysis.equations_of_state import AU_FEI2007, MGO_TANGE2009, MieGrueneisenDebye
from megabar.analysis.readers.pvt import PVT, read_pvt

START = (74.7, 160.0, 4.2, 8, 767.1, 1.4, 1.0, 1.5)
FORMS = pytest.mark.parametrize("form", [MieGrueneisenDebye, BirchMurnaghan, StixrudeLithgowBertelloni])


@pytest.fixture(scope="module")
def mgo(data):
    return read_pvt(data / "equation-of-state" / "PVT_MgO_Dewaele_et_al_2000.dat")


def free_energy(eos, volume, temperature):
    """Thermal free energy of a Debye solid in GPa A3 from its sum over modes, by adaptive quadrature."""
    theta = float(eos.debye_temperature_k(volume))
    integral = quad(lambda u: u**2 * np.log1p(-np.exp(-u * theta / temperature)), 0.0, 1.0)[0]
    return 9.0 * eos.atoms * 1.380649e-2 * temperature * integral


@FORMS
def test_thermal_pressure_is_the_derivative_of_the_free_energy(form):
    eos = form("solid", *START)
    for volume, temperature in ((74.0, 1200.0), (62.0, 2500.0)):

        def difference(v, temperature=temperature):
            return free_energy(eos, v, temperature) - free_energy(eos, v, 300.0)

        expected = -(difference(volume + 0.01) - difference(volume - 0.01)) / 0.02
        assert float(eos.thermal_pressure(volume, temperature)) == pytest.approx(expected, rel=1e-5)


@FORMS
def test_grueneisen_parameter_and_q_at_v0_are_the_parameters(form):
    eos = form("solid", *START)
    gamma = eos.grueneisen(74.7 * np.exp([-1e-4, 0.0, 1e-4]))
    assert gamma[1] == pytest.approx(1.4)
    assert (gamma[2] - gamma[0]) / 2e-4 / gamma[1] == pytest.approx(1.5, rel=1e-5)
    theta = eos.debye_temperature_k(70.0 * np.exp([-1e-4, 1e-4]))
    assert -np.diff(np.log(theta))[0] / 2e-4 == pytest.approx(float(eos.grueneisen(70.0)), rel=1e-6)


def test_birch_murnaghan_is_the_derivative_of_its_energy_and_has_its_moduli():
    eos = BirchMurnaghan("solid", *START)

    def energy(volume):
        x = (74.7 / volume) ** (2.0 / 3.0)
        return 9.0 * 74.7 * 160.0 / 16.0 * ((x - 1.0) ** 3 * 4.2 + (x - 1.0) ** 2 * (6.0 - 4.0 * x))

    assert float(eos.cold_pressure(60.0)) == pytest.approx(-(energy(60.01) - energy(59.99)) / 0.02, rel=1e-6)
    assert float(eos.bulk_modulus(74.7)) == pytest.approx(160.0, rel=1e-5)
    pressure = np.array([-0.2, 0.2])
    assert np.diff(eos.bulk_modulus(eos.volume(pressure)))[0] / 0.4 == pytest.approx(4.2, abs=0.01)
    assert float(eos.cold_pressure(74.7)) == 0.0


def test_scales_that_the_fit_starts_from_agree_with_the_reference_checks():
    # physics.md D 4.9 (MgO, Au) and D 4.10
    assert float(MGO_TANGE2009.volume(50.0)) == pytest.approx(61.015, rel=1e-4)
    assert float(AU_FEI2007.volume(50.0)) == pytest.approx(56.7946, rel=1e-4)
    assert float(AU_FEI2007.pressure(60.0, 2000.0)) == pytest.approx(42.3992, rel=1e-3)


def test_measured_mgo_gives_the_known_parameters(mgo):
    """The known answer is one of Stixrude and Lithgow-Bertelloni's form with theta0 767.1 K."""
    start = StixrudeLithgowBertelloni("MgO", *START)
    estimate = fit_equation_of_state(mgo, start, pressure_scale="Pt, as published").estimate
    value = {name: estimate.quantity(name).value for name in FREE}
    assert value["v0"] * 6.02214076e23 * 1e-30 / 4.0 == pytest.approx(1.1232e-5, abs=0.5e-9)
    assert value["k0"] == pytest.approx(158.0, abs=0.5)
    assert value["k0_prime"] == pytest.approx(4.4, abs=0.05)
    assert value["gamma0"] == pytest.approx(1.9, abs=0.05)
    assert value["q"] == pytest.approx(3.9, abs=0.05)
    assert estimate.chi2_red == pytest.approx(1.2213, abs=5e-4)
    stored = {"v0": 0.027, "k0": 4.0, "k0_prime": 0.4, "gamma0": 0.2, "q": 0.9}  # of errors times root chi2_red
    for name, error in stored.items():
        assert estimate.quantity(name).error * np.sqrt(estimate.chi2_red) == pytest.approx(error, rel=0.3)
    assert estimate.scale == "Pt, as published"


@pytest.mark.parametrize(("form", "gamma0", "q"), [(BirchMurnaghan, 1.84, 2.97), (MieGrueneisenDebye, 1.84, 2.95)])
def test_other_forms_give_other_parameters_of_the_same_mgo(mgo, form, gamma0, q):
    estimate = fit_equation_of_state(mgo, form("MgO", *START), pressure_scale="Pt", pressure_scale_error=0.0).estimate
    assert estimate.quantity("gamma0").value == pytest.approx(gamma0, abs=0.01)
    assert estimate.quantity("q").value == pytest.approx(q, abs=0.02)
    assert estimate.quantity("v0").value == pytest.approx(74.608, abs=0.01)
    assert np.all(estimate.systematic == 0.0)


TRUTH = np.array([74.7, 160.0, 4.2, 1.5, 1.2])


def true_pressure(p, volume, temperature):
    """Birch-Murnaghan and Debye with gamma0 x^q, heat integrated by the trapezium rule."""
    v0, k0, k0_prime, gamma0, q = p
    x = volume / v0
    cold = 1.5 * k0 * (x ** (-7 / 3) - x ** (-5 / 3)) * (1.0 + 0.75 * (k0_prime - 4.0) * (x ** (-2 / 3) - 1.0))
    gamma = gamma0 * x**q
    theta = 767.1 * np.exp((gamma0 - gamma) / q)
    u = np.linspace(1e-6, 1.0, 400)[:, None]

    def energy(t):
        return 72.0 * 1.380649e-2 * theta * np.trapezoid(u**3 / np.expm1(u * theta / t), u, axis=0)

    return cold + gamma / volume * (energy(temperature) - energy(np.full_like(temperature, 300.0)))


def design():
    temperature = np.concatenate([np.full(12, 300.0), np.tile([1200.0, 2000.0, 2600.0], 8)])
    volume = np.concatenate([np.linspace(62.0, 74.7, 12), np.repeat(np.linspace(62.0, 75.0, 8), 3)])
    return volume, temperature, (0.3, 0.01, np.where(temperature > 301.0, 0.04 * temperature, 2.0))


def draw(rng):
    volume, temperature, (p_error, v_error, t_error) = design()
    pressure = true_pressure(TRUTH, volume, temperature)
    errors = [np.broadcast_to(np.asarray(error, dtype=float), volume.shape) for error in (p_error, v_error, t_error)]
    shown = [x + rng.normal(size=x.shape) * e for x, e in zip((pressure, volume, temperature), errors, strict=True)]
    return PVT(shown[0], errors[0], shown[1], errors[1], shown[2], errors[2])


def test_pulls_over_200_draws_and_errors_at_the_cramer_rao_bound():
    rng = np.random.default_rng(31)
    start = BirchMurnaghan("generated", 75.0, 155.0, 4.4, 8, 767.1, 1.4, 1.0, 1.0)
    found = [
        fit_equation_of_state(draw(rng), start, pressure_scale="none", pressure_scale_error=0.0).estimate
        for _ in range(200)
    ]
    errors = np.array([np.sqrt(np.diagonal(one.covariance)) for one in found])
    pulls = (np.array([one.values for one in found]) - TRUTH) / errors
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.25)
    assert np.all((pulls.std(axis=0) > 0.85) & (pulls.std(axis=0) < 1.15))
    assert np.mean([one.chi2_red for one in found]) == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(np.median(errors, axis=0), cramer_rao(), rtol=0.05)


def cramer_rao():
    """Bound from the Fisher matrix with every true volume and temperature a parameter besides the five."""
    volume, temperature, (p_error, v_error, t_error) = design()
    n = len(volume)

    def shown(p):
        v, t = p[5 : 5 + n], p[5 + n :]
        return np.concatenate([true_pressure(p[:5], v, t) / p_error, v / v_error, t / t_error])

    p = np.concatenate([TRUTH, volume, temperature])
    steps = 1e-5 * p
    jacobian = np.array([(shown(p + step) - shown(p - step)) for step in np.diag(steps)]) / (2.0 * steps[:, None])
    return np.sqrt(np.diagonal(np.linalg.inv(jacobian @ jacobian.T)))[:5]


def test_systematic_errors_are_the_shifts_of_the_parameters():
    points = draw(np.random.default_rng(32))
    start = BirchMurnaghan("generated", 74.7, 160.0, 4.2, 8, 767.1, 1.5, 1.0, 1.2)
    scale = fit_equation_of_state(points, start, pressure_scale="x", pressure_scale_error=0.02).estimate
    # all pressures times 1.02: K0 follows; V0 and K' stay
    assert scale.quantity("k0").systematic == pytest.approx(0.02 * scale.quantity("k0").value, rel=0.1)
    assert scale.quantity("v0").systematic < 0.1 * scale.quantity("v0").error
    none = {"pressure_scale": "x", "pressure_scale_error": 0.0}
    hot = fit_equation_of_state(points, start, **none, temperature_scale_error=0.05).estimate
    gamma = hot.quantity("gamma0")
    assert gamma.systematic == pytest.approx(0.05 * gamma.value, rel=0.3)
    theta = fit_equation_of_state(points, start, **none, held_errors={"theta0": 50.0}).estimate
    assert 0.0 < theta.quantity("gamma0").systematic < 0.1


def test_scatter_beyond_the_errors_widens_them():
    points = draw(np.random.default_rng(33))
    start = BirchMurnaghan("generated", 74.7, 160.0, 4.2, 8, 767.1, 1.5, 1.0, 1.2)
    plain = fit_equation_of_state(points, start, pressure_scale="x", pressure_scale_error=0.0)
    narrow = {name: getattr(points, name) / 3.0 for name in ("pressure_error", "volume_error", "temperature_error")}
    strict = fit_equation_of_state(replace(points, **narrow), start, pressure_scale="x", pressure_scale_error=0.0)
    assert strict.estimate.chi2_red == pytest.approx(9.0 * plain.estimate.chi2_red, rel=1e-3)
    expected = plain.estimate.covariance * plain.estimate.chi2_red
    np.testing.assert_allclose(strict.estimate.covariance, expected, rtol=0.01)
    assert strict.residuals == pytest.approx(3.0 * plain.residuals, rel=1e-2, abs=1e-2)
    assert strict.eos.k0_gpa == pytest.approx(plain.eos.k0_gpa, rel=1e-4)


def test_the_debye_temperature_can_be_fitted_where_cold_points_tell_it():
    rng = np.random.default_rng(34)
    truth = BirchMurnaghan("truth", 74.7, 160.0, 4.2, 8, 700.0, 1.5, 1.0, 1.2)
    temperature, volume = np.repeat([80.0, 150.0, 300.0, 700.0, 1500.0], 8), np.tile(np.linspace(64.0, 75.0, 8), 5)
    pressure = truth.pressure(volume, temperature) + rng.normal(0.0, 0.005, 40)
    points = PVT(pressure, np.full(40, 0.005), volume, np.zeros(40), temperature, np.zeros(40))
    start = replace(truth, theta0_k=800.0, gamma0=1.4)
    found = fit_equation_of_state(points, start, pressure_scale="x", free=(*FREE, "theta0")).estimate.quantity("theta0")
    assert abs(found.value - 700.0) < 3.0 * found.error < 60.0
    assert found.unit == "K"


def test_cold_points_alone_do_not_give_thermal_parameters(mgo):
    cold = PVT(*(getattr(mgo, name)[mgo.temperature < 400] for name in PVT.__dataclass_fields__))
    start = BirchMurnaghan("MgO", *START)
    with pytest.raises(ValueError, match=r"do not determine|does not converge") as failure:
        fit_equation_of_state(cold, start, pressure_scale="Pt")
    assert "\n" not in str(failure.value)
    estimate = fit_equation_of_state(cold, start, pressure_scale="Pt", free=FREE[:3]).estimate
    assert estimate.quantity("k0").value == pytest.approx(158.0, abs=3.0 * estimate.quantity("k0").error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"free": ("v0", "k_0")}, "no parameter 'k_0' .* there are v0, k0, k0_prime, gamma0, q, theta0"),
        ({"free": ()}, "free once or held"),
        ({"free": ("v0", "v0")}, "free once or held"),
        ({"held_errors": {"q": 1.0}}, "free once or held, not both: free v0, k0, .* held q"),
    ],
)
def test_names_that_cannot_be_fitted_are_refused(options, message):
    points = draw(np.random.default_rng(1))
    with pytest.raises(ValueError, match=message):
        fit_equation_of_state(points, BirchMurnaghan("MgO", *START), pressure_scale="x", **options)


def test_too_few_points_and_another_form_of_gamma_are_refused():
    points = draw(np.random.default_rng(1))
    few = PVT(*(getattr(points, name)[:5] for name in PVT.__dataclass_fields__))
    with pytest.raises(ValueError, match="5 points do not determine 5 parameters"):
        fit_equation_of_state(few, BirchMurnaghan("MgO", *START), pressure_scale="x")
    with pytest.raises(ValueError, match=r"with a = 1, not 0\.138"):
        fit_equation_of_state(points, MGO_TANGE2009, pressure_scale="x")
    with pytest.raises(ValueError, match="starting values give no pressure"):
        fit_equation_of_state(points, BirchMurnaghan("MgO", -74.7, *START[1:]), pressure_scale="x")


def test_debye_temperature_without_a_real_root_is_refused():
    with pytest.raises(ValueError, match="solid: no real Debye temperature at"):
        StixrudeLithgowBertelloni("solid", 74.7, 160.0, 4.2, 8, 767.1, 1.4, 1.0, 12.0).pressure(40.0, 1000.0)


def test_tables_are_read_by_their_columns(tmp_path, mgo):
    assert len(mgo.pressure) == 61
    assert (mgo.temperature[0], mgo.pressure[0], mgo.volume_error[0]) == (2015.0, 20.5, 0.007)
    path = tmp_path / "table.txt"
    path.write_text("# V sV P sP T sT\n70 .1 10 .2 300 5  # first\n\n69 .1 12 .2 300 5\n")
    columns = ("volume", "volume_error", "pressure", "pressure_error", "temperature", "temperature_error")
    table = read_pvt(path, columns)
    assert table.volume.tolist() == [70.0, 69.0]
    with pytest.raises(ValueError, match=r"table.txt: line 2: expected 7 numbers"):
        read_pvt(path)
    with pytest.raises(ValueError, match="name each of pressure, pressure_error, volume"):
        read_pvt(path, columns[:5])
    path.write_text("70 .1 10 .2 300 5\n70 .1 ten .2 300 5\n")
    with pytest.raises(ValueError, match=r"table.txt: line 2"):
        read_pvt(path, columns)
    path.write_text("70 .1 10 .2 -300 5\n")
    with pytest.raises(ValueError, match=r"table.txt: P-V-T point 1 of 1: volume, temperature and one of the errors"):
        read_pvt(path, columns)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="no point in the table"):
        read_pvt(path, columns)


@pytest.mark.parametrize("row", [(10, 0, 70, 0, 300, 0), (10, -1, 70, 1, 300, 1), (np.nan, 1, 70, 1, 300, 1)])
def test_points_that_no_fit_can_use_are_refused(row):
    with pytest.raises(ValueError, match="P-V-T point 1 of 1"):
        PVT(*(np.array([float(x)]) for x in row))
