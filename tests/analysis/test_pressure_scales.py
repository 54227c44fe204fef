"""Pressure scales: the reference checks, ranges, inverses, conversion, and ruby's shift with temperature."""

from dataclasses import replace

import numpy as np
import pytest

from megabar.analysis.estimate import Estimate
from megabar.analysis.pressure_scales import (
    AKAHAMA_2006,
    AKAHAMA_2010,
    MAO_1986,
    RUBY_2020,
    SCALES,
    convert,
    scale_named,
    temperature_shift_nm,
)

ALL = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


def reading(scale, position, error=0.02, systematic=0.05):
    line = Estimate(("position",), [position], [[error**2]], [systematic], (scale.unit,), "a line", 1.0, 100)
    return scale.estimate(line, "position")


def test_ruby_scales_agree_with_the_reference_check():
    # physics.md D 4.7
    assert float(RUBY_2020.pressure(725.0)) == pytest.approx(103.481, rel=1e-5)
    assert float(MAO_1986.pressure(725.0)) == pytest.approx(97.8773, rel=1e-5)


def test_raman_scales_agree_with_the_reference_check():
    # physics.md D 4.8; the later formula is beyond its range there, and is refused
    assert float(AKAHAMA_2006.pressure(1650.0)) == pytest.approx(171.778, rel=1e-5)
    assert float(AKAHAMA_2010.form.pressure(1650.0 / 1334.0 - 1.0)) == pytest.approx(172.402, rel=1e-5)
    with pytest.raises(ValueError, match=r"Akahama2010 is a scale from 200 to 410 GPa, .* not at 1650 cm") as failure:
        AKAHAMA_2010.pressure(1650.0)
    assert "\n" not in str(failure.value)


@ALL
def test_position_is_the_inverse_of_pressure_over_the_whole_range(scale):
    pressure = np.linspace(*scale.range_gpa, 101)[1:-1]
    position = scale.position(pressure)
    assert np.all(np.diff(position) > 0)
    np.testing.assert_allclose(scale.pressure(position), pressure, atol=1e-9)


@ALL
def test_slope_is_that_of_the_pressure(scale):
    position = float(scale.position(np.mean(scale.range_gpa)))
    rise = float(np.diff(scale.pressure(position + np.array([-0.01, 0.01])))[0]) / 0.02
    assert scale.per_unit(position) == pytest.approx(rise, rel=1e-6)


@ALL
@pytest.mark.parametrize("beyond", [-2.0, 500.0, float("nan")])
def test_a_scale_is_refused_outside_its_range(scale, beyond):
    with pytest.raises(ValueError, match=f"{scale.name} is a scale from .* GPa"):
        scale.position(beyond)
    with pytest.raises(ValueError, match=f"{scale.name} is a scale from .* GPa"):
        scale.pressure(scale.reference * (1.0 + beyond))


def test_raman_scales_meet_within_their_errors_where_both_hold():
    wavenumber = AKAHAMA_2010.position(np.linspace(205.0, 300.0, 20))
    one, other = AKAHAMA_2006.pressure(wavenumber), AKAHAMA_2010.pressure(wavenumber)
    assert np.max(np.abs(one - other) / np.hypot(0.03 * one, 0.03 * other)) < 1.0


def test_errors_of_a_pressure_are_those_of_position_and_scale():
    quantity = RUBY_2020.quantity(694.25, 0.02, systematic=0.05)
    assert quantity.value == pytest.approx(0.0, abs=1e-12)
    assert quantity.error == pytest.approx(1870.0 / 694.25 * 0.02)
    assert quantity.systematic == pytest.approx(1870.0 / 694.25 * 0.05)
    assert quantity.model == "Ruby2020"
    high = RUBY_2020.quantity(725.0, 0.0)
    assert high.error == 0.0
    assert high.systematic == pytest.approx(0.01 * high.value)
    with pytest.raises(ValueError, match="errors of a ruby gauge are >= 0"):
        RUBY_2020.quantity(725.0, -0.01)


def test_a_measured_lambda0_moves_the_zero():
    assert float(RUBY_2020.pressure(694.35, 694.35)) == 0.0
    assert float(RUBY_2020.position(0.0, 694.35)) == 694.35


def test_pressure_and_reading_are_correlated_and_the_scale_is_named():
    found = reading(RUBY_2020, 705.0)
    assert found.names == ("pressure", "position")
    assert found.units == ("GPa", "nm")
    assert found.scale == "Ruby2020"
    correlation = found.covariance[0, 1] / np.sqrt(found.covariance[0, 0] * found.covariance[1, 1])
    assert correlation == pytest.approx(1.0)


def test_mao_is_below_ruby2020_by_five_percent_at_100_gpa():
    ruby2020 = reading(RUBY_2020, 725.0)
    mao = convert(ruby2020, "Mao1986")
    assert mao.scale == "Mao1986"
    assert ruby2020.values[0] - mao.values[0] == pytest.approx(5.604, abs=1e-3)
    assert mao.values[1] == 725.0
    expected = reading(MAO_1986, 725.0)
    np.testing.assert_allclose(mao.covariance, expected.covariance, rtol=1e-9)
    np.testing.assert_allclose(mao.systematic, expected.systematic, rtol=1e-9)


def test_conversion_there_and_back_changes_nothing_whatever_lambda0_was():
    before = reading(RUBY_2020, 710.0)
    after = convert(convert(before, "Mao1986"), "Ruby2020")
    np.testing.assert_allclose(after.values, before.values)
    np.testing.assert_allclose(after.systematic, before.systematic)
    shifted = RUBY_2020.quantity(710.1, 0.0, reference=694.35)
    on_mao = convert(replace(before, values=np.array([shifted.value, 710.1])), "Mao1986")
    assert on_mao.values[0] == pytest.approx(float(MAO_1986.pressure(710.1, 694.35)))


def test_other_scales_are_refused_with_those_accepted():
    with pytest.raises(ValueError, match="no pressure scale 'Mao1978': there are Ruby2020, Mao1986, Akahama2006"):
        scale_named("Mao1978")
    with pytest.raises(ValueError, match=r"for raman: there are Akahama2006, Akahama2010$"):
        convert(reading(AKAHAMA_2006, 1500.0), "Ruby2020")
    with pytest.raises(ValueError, match="no pressure scale ''"):
        convert(replace(reading(RUBY_2020, 700.0), scale=""), "Mao1986")
    with pytest.raises(ValueError, match="Mao1986 is a scale from -1 to 100 GPa"):
        convert(reading(RUBY_2020, 732.0), "Mao1986")


def test_ruby_shifts_with_temperature_at_the_slopes_in_use():
    assert float(temperature_shift_nm(300.0)) == 0.0
    slope = float(temperature_shift_nm(305.0) - temperature_shift_nm(290.0)) / 15.0
    assert slope == pytest.approx(0.0070, abs=2e-4)
    grid = temperature_shift_nm(np.linspace(100.0, 900.0, 801))
    assert np.all(np.diff(grid) > 0)
    assert np.max(np.abs(np.diff(grid, 2))) < 1e-3  # no step where the two forms meet
    for outside in (20.0, 1000.0, float("nan")):
        with pytest.raises(ValueError, match="known from 50 to 900 K"):
            temperature_shift_nm(outside)
