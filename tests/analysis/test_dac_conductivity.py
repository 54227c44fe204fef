"""A whole run in the diamond cell: voltages on a staircase of temperatures to conductivity at core conditions."""

import json

import numpy as np
import pytest
from scipy.integrate import quad

from megabar.analysis.dac_conductivity import Step, analyse_files, reduce_step, reduce_steps
from megabar.analysis.dac_conductivity_settings import ACCEPTED, Cell, read_settings
from megabar.analysis.resistivity import Foil, TemperatureProfile

KELVIN = np.array([300.0, 900.0, 1500.0, 2100.0, 2700.0, 3300.0, 3900.0])
LORENZ, CURRENT, NOISE, N = 2.4430e-8, 0.01, 3e-8, 40
LENGTH, WIDTH, THICKNESS = 30e-6, 12e-6, 5e-6
COMPRESSION = 0.70519  # of hcp-Fe at 140 GPa and 300 K, physics.md D 3.6
CELL = Cell(Foil(LENGTH, WIDTH, THICKNESS), 140.0)
SETTINGS = {"length_um": "30", "width_um": "12", "thickness_um": "5", "pressure_gpa": "140"}


def iron(kelvin, scale):
    """Resistivity of the sample (n,) at 140 GPa by quadrature, from the figures of D 3.6."""
    theta = 740.461

    def phonons(t):
        return (t / theta) ** 5 * quad(lambda z: z**5 / (4 * np.sinh(z / 2) ** 2), 1e-9, theta / t)[0]

    ideal = np.array([phonons(t) for t in kelvin]) / phonons(300.0) * 3.92161e-8 * scale
    return 1 / (1 / ideal + 1 / 1.49536e-6)


SCALE = 0.8218  # so that the resistivity is the one that Ohta 2016 reports
TRUTH = iron(KELVIN, SCALE)
RHO = float(iron([3750.0], SCALE)[0])
KAPPA = LORENZ * 3750.0 / RHO


def staircase(rng, *, rho=TRUTH, thickness=0.0, radiometry=0.0, source=0.0, kelvin_error=0.01, noise=NOISE):
    """Steps as the instruments show them."""
    steps = []
    sign = (-1.0) ** np.arange(N)
    k = np.arange(N)
    for t, resistivity in zip(KELVIN, rho, strict=True):
        resistance = resistivity * LENGTH / (WIDTH * THICKNESS * (1 + thickness) * COMPRESSION ** (1 / 3))
        heat = 1e-8 * (t - 300.0) + 2e-7 * k - 1e-9 * k**2
        voltage = sign * CURRENT * (1 + source) * resistance + heat + rng.normal(0.0, noise, N)
        shown = t + radiometry * (t - 300.0) + rng.normal(0.0, kelvin_error * t)
        steps.append(Step(shown, kelvin_error * t, voltage, CURRENT * sign))
    return steps


def table(path, steps, separator=" "):
    lines = [separator.join(("temperature_K", "temperature_error_K", "voltage_V", "current_A"))]
    for step in steps:
        for voltage, current in zip(step.voltage_v, step.current_a, strict=True):
            values = step.temperature_k, step.temperature_error_k, voltage, current
            lines.append(separator.join(repr(float(v)) for v in values))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def runs():
    """200 runs, each with thickness, radiometry, current and Lorenz number of its own, and the truth of kappa."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        thickness, radiometry, source, lorenz = rng.normal(0.0, (0.10, 0.03, 1e-3, 0.05))
        foil = Foil(LENGTH, WIDTH, THICKNESS, 0.0, 0.0)
        steps = staircase(rng, thickness=thickness, radiometry=radiometry, source=source)
        found.append((reduce_steps(steps, Cell(foil, 140.0)).estimate, KAPPA * (1 + lorenz)))
    return found


def test_headline_is_within_its_tolerance(runs):
    """140 GPa, 3750 K: resistivity to 15 %, thermal conductivity to 18 %, in the median and by the stated errors."""
    assert pytest.approx(40.4e-8, rel=1e-3) == RHO
    resistivity = [found.quantity("resistivity") for found, _ in runs]
    conductivity = [found.quantity("thermal_conductivity") for found, _ in runs]
    assert abs(np.median([q.value for q in resistivity]) / RHO - 1) < 0.03
    assert abs(np.median([q.value for q in conductivity]) / KAPPA - 1) < 0.03
    assert np.median([q.combined for q in resistivity]) < 0.15 * RHO
    assert np.median([q.combined for q in conductivity]) < 0.18 * KAPPA
    assert np.mean([abs(q.value - RHO) < 3 * q.combined for q in resistivity]) > 0.98


def test_pulls_over_200_runs_are_normal(runs):
    for name, truths in (("resistivity", [RHO] * 200), ("thermal_conductivity", [kappa for _, kappa in runs])):
        found = [(estimate.quantity(name), truth) for (estimate, _), truth in zip(runs, truths, strict=True)]
        pulls = [(q.value - truth) / q.combined for q, truth in found]
        assert abs(np.mean(pulls)) < 0.25
        assert 0.85 < np.std(pulls) < 1.15


def test_half_the_tolerance_is_reached_where_the_thickness_is_measured_to_six_percent():
    cell = Cell(Foil(LENGTH, WIDTH, THICKNESS, thickness_error=0.06), 140.0)
    found = reduce_steps(staircase(np.random.default_rng(2)), cell).estimate
    assert found.quantity("resistivity").combined < 0.075 * RHO
    assert found.quantity("thermal_conductivity").combined < 0.09 * KAPPA


def test_estimate_has_the_covariance_of_all_it_found():
    found = reduce_steps(staircase(np.random.default_rng(3)), CELL, temperature_error_k=150.0).estimate
    assert found.names == (
        "temperature",
        "resistivity",
        "saturation_resistivity",
        "scale",
        "thermal_conductivity",
    )
    relative = found.covariance / np.outer(found.values, found.values)
    assert relative[4, 4] == pytest.approx(relative[0, 0] + relative[1, 1] - 2 * relative[0, 1], rel=1e-9)
    assert relative[0, 1] > 0 > relative[2, 3]
    assert "Dewaele" in found.scale and "Wiedemann-Franz" in found.model


def test_each_step_is_reduced_by_itself():
    run = reduce_steps(staircase(np.random.default_rng(4), kelvin_error=0.0), CELL)
    for step, rho, t in zip(run.steps, TRUTH, KELVIN, strict=True):
        found = step.estimate.quantity("resistivity")
        assert abs(found.value - rho) < 4 * found.error + 1e-4 * rho
        assert found.systematic == pytest.approx(CELL.foil.scale_error * rho, rel=0.02)
        kappa = step.estimate.quantity("thermal_conductivity")
        assert kappa.value == pytest.approx(LORENZ * t / found.value, rel=1e-4)
    assert run.steps[0].estimate.quantity("temperature").systematic == 0.0
    assert run.steps[-1].estimate.quantity("temperature").systematic == pytest.approx(0.03 * 3600.0)


def test_spike_in_one_step_is_named_and_does_no_harm():
    clean = staircase(np.random.default_rng(5))
    spiked = staircase(np.random.default_rng(5))
    np.asarray(spiked[3].voltage_v)[11] += 5e-6
    run = reduce_steps(spiked, CELL)
    assert [step.outliers for step in run.steps] == [(), (), (), (11,), (), (), ()]
    expected = reduce_steps(clean, CELL).estimate.quantity("resistivity")
    assert run.estimate.quantity("resistivity").value == pytest.approx(expected.value, abs=0.2 * expected.error)


def test_cold_ends_of_the_foil_are_accounted_for():
    rise = (0.6, 0.9, 1.0, 0.9, 0.6)
    places = tuple(np.linspace(0.0, LENGTH, 5))
    mean = np.array([np.trapezoid(iron(300 + np.array(rise) * (t - 300), SCALE), places) / LENGTH for t in KELVIN])
    steps = staircase(np.random.default_rng(6), rho=mean)
    cell = Cell(CELL.foil, 140.0, profile=TemperatureProfile(places, rise))
    run = reduce_steps(steps, cell)
    found, ignored = run.estimate, reduce_steps(steps, CELL).estimate
    assert found.quantity("resistivity").value == pytest.approx(RHO, rel=0.02)
    assert ignored.quantity("resistivity").value < 0.95 * RHO
    hot = run.steps[-1].estimate.quantity("resistivity")
    assert hot.value == pytest.approx(TRUTH[-1], rel=0.02)
    assert hot.systematic > CELL.foil.scale_error * hot.value


def test_files_give_what_arrays_give(tmp_path):
    steps = staircase(np.random.default_rng(7))
    path = table(tmp_path / "run.txt", steps)
    answer = analyse_files([path], SETTINGS)
    expected = reduce_steps(steps, CELL).estimate
    for name in answer["history"]:
        quantity, entry = expected.quantity(name), answer["results"][name]
        assert entry == pytest.approx(
            {"value": quantity.value, "error": quantity.error, "systematic": quantity.systematic, "unit": quantity.unit}
        )
    entry = answer["files"][0]
    assert entry["left_out"] == []
    assert any("140 GPa and 3750 K" in note for note in entry["notes"])
    assert entry["results"]["resistance_step_7"]["unit"] == "ohm"
    json.dumps(answer, allow_nan=False)


def test_separators_order_of_columns_and_comments_make_no_difference(tmp_path):
    steps = staircase(np.random.default_rng(8))
    plain = analyse_files([table(tmp_path / "a.txt", steps)], SETTINGS)["results"]
    rows = [line.split() for line in (tmp_path / "a.txt").read_text().splitlines()]
    lines = ["# " + ", ".join(reversed([*rows[0], "note"]))]
    lines += ["# laser on", *(", ".join(["x", *reversed(row)]) + "  # as read" for row in rows[1:])]
    other = tmp_path / "b.csv"
    other.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n\r\n").encode())
    assert analyse_files([other], SETTINGS)["results"] == plain


def test_settings_reach_the_analysis(tmp_path):
    path = table(tmp_path / "run.txt", staircase(np.random.default_rng(9)))
    profile = tmp_path / "profile.txt"
    profile.write_text("position_um rise\n0 0.8\n15 1\n30 0.8\n")
    plain = analyse_files([path], SETTINGS)["results"]

    def changed(**settings):
        return analyse_files([path], SETTINGS | settings)["results"]

    assert changed(thickness_um="10")["resistivity"]["value"] == pytest.approx(2 * plain["resistivity"]["value"])
    assert changed(lorenz="2.44e-8")["thermal_conductivity"]["value"] < plain["thermal_conductivity"]["value"]
    assert changed(target_temperature_k="3000")["resistivity"]["value"] < plain["resistivity"]["value"]
    assert changed(target_pressure_gpa="100")["resistivity"]["value"] > plain["resistivity"]["value"]
    assert changed(target_temperature_error_k="400")["resistivity"]["error"] > 2 * plain["resistivity"]["error"]
    assert changed(profile=str(profile))["resistivity"]["value"] > plain["resistivity"]["value"]
    assert changed(thermal_expansion="yes")["scale"]["value"] != plain["scale"]["value"]
    assert changed(exponent="3")["scale"]["value"] != plain["scale"]["value"]
    assert changed(solutes_ohm_m="1e-8")["scale"]["value"] < plain["scale"]["value"]
    for name in ("length_error", "width_error", "thickness_error", "current_error", "meter_gain_error"):
        assert changed(**{name: "0.5"})["resistivity"]["systematic"] > 0.4 * plain["resistivity"]["value"]
    for name, value in {
        "pressure_error_gpa": "20",
        "temperature_scale_error": "0.1",
        "thermoelectric_v": "1e-3",
        "series_ohm": "0.1",
    }.items():
        assert changed(**{name: value})["resistivity"]["systematic"] > 1.05 * plain["resistivity"]["systematic"]
    assert changed(lorenz_error="0.5")["thermal_conductivity"]["systematic"] > 0.5 * 200


def test_extrapolation_and_spikes_are_told(tmp_path):
    steps = staircase(np.random.default_rng(10))[:5]
    np.asarray(steps[1].voltage_v)[4] -= 4e-6
    entry = analyse_files([table(tmp_path / "run.txt", steps)], SETTINGS)["files"][0]
    assert entry["left_out"] == ["step 2: reading 5: too far from the others"]
    assert any(note.startswith("extrapolated: the hottest step is at 2") for note in entry["notes"])


def test_runs_on_one_cell_are_averaged_but_not_what_they_have_in_common(tmp_path):
    rng = np.random.default_rng(11)
    paths = [table(tmp_path / f"{i}.txt", staircase(rng)) for i in range(4)]
    each = [analyse_files([path], SETTINGS)["results"]["resistivity"] for path in paths]
    together = analyse_files(paths, SETTINGS)["results"]["resistivity"]
    assert together["value"] == pytest.approx(np.mean([entry["value"] for entry in each]))
    assert together["error"] < 0.8 * np.mean([entry["error"] for entry in each])
    assert together["systematic"] == pytest.approx(np.mean([entry["systematic"] for entry in each]))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"thicknes_um": "3"}, "unknown setting 'thicknes_um'.*length_um.*lorenz_error"),
        ({"thickness_um": "0"}, "Foil.thickness_m must be positive"),
        ({"thickness_um": "-3"}, "thickness_um=-3: not a finite number >= 0"),
        ({"pressure_gpa": "high"}, "pressure_gpa=high"),
        ({"pressure_gpa": "0"}, "pressure"),
        ({"pressure_gpa": "1e6"}, "no volume"),
        ({"width_um": "nan"}, "width_um=nan"),
        ({"exponent": "4"}, "neither 3 nor 5"),
        ({"thermal_expansion": "maybe"}, "neither yes nor no"),
        ({"profile": "/nowhere/at/all.txt"}, "profile=/nowhere"),
        ({"target_temperature_k": "0"}, "positive temperatures"),
        ({"lorenz": "0"}, "Lorenz number must be positive"),
    ],
)
def test_bad_settings_are_refused_in_one_line(tmp_path, settings, says):
    path = table(tmp_path / "run.txt", staircase(np.random.default_rng(12)))
    with pytest.raises(ValueError, match=says) as refused:
        analyse_files([path], SETTINGS | settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_settings_that_cannot_be_guessed_must_be_given(name):
    with pytest.raises(ValueError, match=f"setting {name} is missing"):
        read_settings({key: value for key, value in SETTINGS.items() if key != name})


def test_every_accepted_setting_is_read():
    texts = dict.fromkeys(ACCEPTED, "1") | {"exponent": "5", "thermal_expansion": "no"}
    del texts["profile"]
    cell, target = read_settings(texts)
    assert set(target) == {"pressure_gpa", "temperature_k", "temperature_error_k"}
    assert (cell.pressure_error_gpa, cell.lorenz, cell.errors.series_ohm, cell.foil.width_error) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"run\.txt: line 1: no column temperature_K"),
        ("temperature_K voltage_V current_A\n300 1e-4 0.01\n", "no column temperature_error_K"),
        ("temperature_K temperature_error_K voltage_V current_A\n", "no row of numbers"),
        ("temperature_K temperature_error_K voltage_V current_A\n300 1 1e-4 0.01\n300 1 x 1\n", "line 3: expected"),
        ("temperature_K temperature_error_K voltage_V current_A\n300 1 nan 0.01\n", "line 2: expected finite"),
        ("temperature_K temperature_error_K voltage_V current_A\n300 1 1e-4\n", "line 2: expected finite"),
        ("temperature_K temperature_error_K voltage_V current_A\n" + "300 1 1e-4 0.01\n" * 9, "step 1: .*one sign"),
        ("temperature_K temperature_error_K voltage_V current_A\n300 1 1e-4 0.01\n300 1 -1e-4 -0.01\n", "2 readings"),
    ],
)
def test_damaged_tables_are_refused_with_file_and_line(tmp_path, text, says):
    path = tmp_path / "run.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as refused:
        analyse_files([path], SETTINGS)
    assert "run.txt" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_steps_that_cannot_be_reduced_are_named():
    steps = staircase(np.random.default_rng(13))
    with pytest.raises(ValueError, match="2 steps of temperature: 3 at least"):
        reduce_steps(steps[:2], CELL)
    with pytest.raises(ValueError, match="0 steps of temperature"):
        reduce_steps([], CELL)
    broken = Step(1000.0, -1.0, steps[0].voltage_v, steps[0].current_a)
    with pytest.raises(ValueError, match="step 2: a temperature > 0 with an error >= 0"):
        reduce_steps([steps[0], broken, *steps[1:]], CELL)
    turned = Step(1000.0, 1.0, steps[0].voltage_v, -np.asarray(steps[0].current_a))
    with pytest.raises(ValueError, match="is not positive: check leads"):
        reduce_step(turned, CELL)
    with pytest.raises(ValueError, match="no file to analyse"):
        analyse_files([], SETTINGS)
