"""Time-domain thermoreflectance: the sum over pulses, the phase of the reference, fits, and measured scans."""

import math

import numpy as np
import pytest

from megabar.analysis.heat_layers import Interface, Layer, Stack, impulse_response
from megabar.analysis.readers.tdtr import read_tdtr
from megabar.analysis.tdtr import DelayScan, PulsedLaser, fit_ratio, lock_in_signal, reference_phase

LASER = PulsedLaser(2e6, 75.8e6, 36e-6, 14.7e-6)
AL, G, SIO2, SI = Layer(237.0, 2.42e6, 77.34e-9), Interface(1.29e8), Layer(1.04, 1.86e6, 100e-9), Layer(124.0, 1.63e6)
OXIDE = {"Al": AL, "G": G, "SiO2": SIO2, "Si": SI}
BARE = {"Al": AL, "G": G, "Si": SI}
WIDE = PulsedLaser(2e6, 75.8e6, math.inf, math.inf)
SINK = {**OXIDE, "Si": Layer(1e9, 1e9)}  # keeps its temperature, so that heat is soon forgotten


def over_pulses(layers, delay, laser, n_pulses=400):
    """What the probe sees, one pump pulse after the other, each as strong as the modulation says when it was made."""
    period = 1.0 / laser.repetition_hz
    ages = delay[:, None] + period * np.arange(-1, n_pulses)
    made = delay[:, None] - ages  # in time since the pulse that gives the delay
    if laser.delayed_beam == "probe":
        made = made - delay[:, None]
    response = impulse_response(Stack(list(layers.values())), ages)
    return np.sum(response * np.exp(2j * np.pi * laser.modulation_hz * made), axis=1)


@pytest.mark.parametrize("beam", ["probe", "pump"])
def test_sum_over_frequencies_is_the_sum_over_pulses(beam):
    laser = PulsedLaser(2e6, 75.8e6, math.inf, math.inf, beam)
    delay = np.array([-3e-9, -100e-12, 75e-12, 200e-12, 1e-9, 5e-9])
    expected = over_pulses(SINK, delay, laser)
    if beam == "pump":
        expected = over_pulses(SINK, delay, WIDE) * np.exp(2j * np.pi * 2e6 * delay)
    found = lock_in_signal(Stack(list(SINK.values())), delay, laser)
    assert np.max(np.abs(found - expected)) < 2e-3 * np.max(np.abs(expected))
    np.testing.assert_allclose(found[3:], expected[3:], rtol=1e-3)


def test_signal_steps_in_phase_only_and_lags_before_the_pulse():
    z = lock_in_signal(Stack(list(BARE.values())), [-20e-12, 20e-12], LASER)
    step = z[1] - z[0]
    assert step.real > 0.5 * z[1].real
    assert abs(step.imag) < 0.005 * step.real
    assert z[0].imag < 0.0


DELAY = np.concatenate([np.linspace(-60, -10, 40), np.linspace(10, 60, 30), np.geomspace(75, 3500, 60)]) * 1e-12


def scan_of(z, noise=0.0, phase=0.0, rng=None):
    z = z / abs(z[40]) * np.exp(1j * phase)
    if rng is not None:
        z = z + noise * (rng.normal(size=len(z)) + 1j * rng.normal(size=len(z)))
    return DelayScan(DELAY, z.real, z.imag)


@pytest.fixture(scope="module")
def oxide():
    return lock_in_signal(Stack(list(OXIDE.values())), DELAY, LASER)


def test_reference_phase_is_found_within_its_error_and_undone(oxide):
    rng = np.random.default_rng(3)
    pulls = []
    for phase in rng.uniform(-0.3, 0.3, 60):
        found = reference_phase(scan_of(oxide, 0.01, phase, rng))
        pulls.append((found.value + phase) / found.error)
    assert abs(np.mean(pulls)) < 0.5
    assert np.std(pulls) < 1.5
    turned = scan_of(oxide, phase=0.2)
    restored = turned.turned(reference_phase(turned).value)
    np.testing.assert_allclose(restored.ratio, scan_of(oxide).ratio, rtol=0.02)


def test_conductivity_and_interface_are_found_with_pulls_that_are_normal():
    rng = np.random.default_rng(17)
    delay = np.geomspace(100e-12, 3.5e-9, 25)
    truth = {"Al": AL, "G": G, "SiO2": SIO2, "Si": SI}
    guess = {**truth, "SiO2": Layer(1.5, 1.86e6, 100e-9)}
    z = lock_in_signal(Stack(list(truth.values())), delay, WIDE)
    ratio, pulls = -z.real / z.imag, []
    error = 0.01 * ratio
    for _ in range(200):
        scan = DelayScan(delay, ratio + error * rng.normal(size=len(delay)), -np.ones(len(delay)))
        found = fit_ratio(scan, guess, ["thermal_conductivity_SiO2"], WIDE, error=error, relative_errors={}).estimate
        pulls.append((found.values[0] - 1.04) / math.sqrt(found.covariance[0, 0]))
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15


def test_statistical_error_reaches_the_cramer_rao_bound():
    delay = np.geomspace(100e-12, 3.5e-9, 40)

    def ratio(kappa, conductance):
        layers = {**SINK, "SiO2": Layer(kappa, 1.86e6, 100e-9), "G": Interface(conductance)}
        z = over_pulses(layers, delay, WIDE)
        return -z.real / z.imag

    sigma = 0.01
    columns = [
        (ratio(1.04 + a, 1.29e8 + b) - ratio(1.04 - a, 1.29e8 - b)) / (2 * (a + b)) for a, b in ((1e-3, 0), (0, 1e5))
    ]
    jacobian = np.column_stack(columns) / sigma
    best = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    scan = DelayScan(delay, ratio(1.04, 1.29e8), -np.ones(len(delay)))
    free = ["thermal_conductivity_SiO2", "interface_conductance_G"]
    found = fit_ratio(scan, SINK, free, WIDE, error=sigma).estimate
    assert found.values == pytest.approx([1.04, 1.29e8], rel=5e-3)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(best, rel=0.05)


def test_wrong_thickness_and_phase_move_the_result_as_their_terms_say(oxide):
    scan = scan_of(oxide)
    free = ["thermal_conductivity_SiO2"]
    options = {"error": 0.01, "phase_error_rad": 0.01, "relative_errors": {"thickness_Al": 0.02}}
    right = fit_ratio(scan, OXIDE, free, LASER, **options)
    thicker = fit_ratio(scan, {**OXIDE, "Al": Layer(237.0, 2.42e6, 1.02 * 77.34e-9)}, free, LASER, **options)
    assert right.terms["thickness_Al"][0] == pytest.approx(
        thicker.estimate.values[0] - right.estimate.values[0], rel=0.05
    )
    turned = fit_ratio(scan.turned(-0.01), OXIDE, free, LASER, **options)
    assert right.terms["reference_phase"][0] == pytest.approx(
        turned.estimate.values[0] - right.estimate.values[0], rel=0.1
    )


def test_measured_oxide_gives_the_conductivity_of_its_authors(data):
    # 1.04 W/m/K in the parameter files of the scans' authors, with the other values as in OXIDE
    scan = read_tdtr(data / "thermoreflectance" / "Si_100nmSiO2_2MHz_180423_180256_FIN_NoNaNs.mat")
    phase = reference_phase(scan)
    assert abs(phase.value) < 3.0 * phase.error  # they had set it
    scan = scan.turned(phase.value)
    guess = {**OXIDE, "SiO2": Layer(3.0, 1.86e6, 100e-9)}
    found = fit_ratio(scan, guess, ["thermal_conductivity_SiO2"], LASER, phase_error_rad=phase.error).estimate
    kappa = found.quantity("thermal_conductivity_SiO2")
    assert kappa.value == pytest.approx(1.04, rel=0.05)
    assert abs(kappa.value - 1.04) < 2.0 * kappa.combined
    assert kappa.combined < 0.1


def test_measured_bare_silicon_is_the_control(data):
    scan = read_tdtr(data / "thermoreflectance" / "Si_2MHz_180423_130021_FIN_NoNaNs.mat")
    phase = reference_phase(scan)
    free = ["thermal_conductivity_Si", "interface_conductance_G"]
    found = fit_ratio(scan.turned(phase.value), BARE, free, LASER, phase_error_rad=phase.error).estimate
    kappa, conductance = found.quantity(free[0]), found.quantity(free[1])
    assert kappa.value == pytest.approx(124.0, rel=0.1)
    assert conductance.value == pytest.approx(1.29e8, rel=0.15)
    assert found.chi2_red < 1.3


SCAN = scan_of(np.where(DELAY > 0.0, 1.0 - 0.2j, 0.1 - 0.2j), 0.005, 0.0, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PulsedLaser(-2e6, 75.8e6, 1e-5, 1e-5), "modulation_hz must be positive"),
        (lambda: PulsedLaser(2e6, 75.8e6, 1e-5, 1e-5, "both"), "give probe or pump"),
        (lambda: lock_in_signal(Stack([SI]), [0.0, 1e-9], LASER), "other than 0"),
        (
            lambda: fit_ratio(SCAN, BARE, ["thermal_conductivity_Au"], LASER),
            "these layers have thermal_conductivity_Al",
        ),
        (lambda: fit_ratio(SCAN, BARE, ["thickness_Si"], LASER), "cannot fit 'thickness_Si'"),
        (lambda: fit_ratio(SCAN, BARE, ["pump_radius"], LASER), "cannot fit 'pump_radius'"),
        (
            lambda: fit_ratio(SCAN, BARE, ["thermal_conductivity_Si"], LASER, delays_s=(1e-6, 2e-6)),
            "0 delays from 1e-06 to 2e-06 s",
        ),
        (
            lambda: fit_ratio(SCAN, BARE, ["thermal_conductivity_Si"], LASER, relative_errors={"thickness_Au": 0.1}),
            "relative error of 'thickness_Au'",
        ),
        (
            lambda: fit_ratio(DelayScan(DELAY[60:], *np.ones((2, 70))), BARE, ["thickness_Al"], LASER),
            "0 delays before -2 ps show no noise",
        ),
        (lambda: reference_phase(DelayScan(np.ones(4), np.ones(4), np.ones(4))), "3 each are needed"),
        (
            lambda: reference_phase(DelayScan(SCAN.delay_s, np.ones(130), np.random.default_rng(2).normal(size=130))),
            "does not step",
        ),
    ],
)
def test_bad_scans_are_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as failure:
        call()
    assert "\n" not in str(failure.value)
