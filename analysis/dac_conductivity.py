"""Electrical and thermal conductivity of a metal in the laser-heated diamond cell, from a staircase of temperatures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .dac_conductivity_settings import Cell, read_settings
from .delta_mode import delta_resistance
from .estimate import Estimate, Floats
from .file_series import answer_of
from .readers.columns import read_columns
from .resistivity import foil_resistivity
from .resistivity_fit import fit_resistivity
from .wiedemann_franz import thermal_conductivity

CORE_TEMPERATURE_K = 3750.0
"""Temperature to predict for unless another is asked for; that of the core-mantle boundary is known to some 10 %."""

COLUMNS = ("temperature_K", "temperature_error_K", "voltage_V", "current_A")

_ROOM_K = 300.0
_HISTORY = ("resistivity", "thermal_conductivity", "saturation_resistivity", "scale")


@dataclass(frozen=True)
class Step:
    """One step of the staircase: temperature in K with its statistical error, n voltages (V) and currents (A)."""

    temperature_k: float
    temperature_error_k: float
    voltage_v: ArrayLike
    current_a: ArrayLike


@dataclass(frozen=True)
class StepResult:
    """`estimate` of one step, and the positions (from 0) of readings that were left out as outliers."""

    estimate: Estimate
    outliers: tuple[int, ...]


@dataclass(frozen=True)
class RunResult:
    """`estimate` of the whole run, and its steps."""

    estimate: Estimate
    steps: tuple[StepResult, ...]


def reduce_step(step: Step, cell: Cell) -> StepResult:
    """`temperature` (K), `resistance` (ohm), `resistivity` (ohm m), `thermal_conductivity` (W/m/K) at one step.

    With a profile of temperature the resistivity is that at the hot temperature, by the shape that the model of the
    cell has before any fit.

    Raises:
        ValueError: readings that cannot be reduced (see `delta_resistance`), a temperature or its error out of range,
            or a resistance that is not positive.
    """
    kelvin, kelvin_error = step.temperature_k, step.temperature_error_k
    if not (0.0 < kelvin < math.inf and 0.0 <= kelvin_error < math.inf):
        raise ValueError(f"a temperature > 0 with an error >= 0 is needed: {kelvin:g} and {kelvin_error:g} K")
    readings = delta_resistance(step.voltage_v, step.current_a, errors=cell.errors)
    resistance = readings.estimate.quantity("resistance")
    if resistance.value <= 0.0:
        raise ValueError(f"resistance {resistance.value:.3g} ohm is not positive: check leads and signs of the current")
    mean = foil_resistivity(readings.estimate, cell.foil, float(cell.model.compression(cell.pressure_gpa, kelvin)))
    hot, gradient = _hot_over_mean(cell, kelvin)
    rho = hot * mean.quantity("resistivity").value
    errors = np.diag([kelvin_error, resistance.error])
    errors = np.vstack([errors, errors[1] * rho / resistance.value])
    state = Estimate(
        names=("temperature", "resistance", "resistivity"),
        values=np.array([kelvin, resistance.value, rho]),
        covariance=errors @ errors.T,
        systematic=np.array(
            [
                cell.temperature_scale_error * abs(kelvin - _ROOM_K),
                resistance.systematic,
                math.hypot(hot * float(mean.systematic[0]), gradient * rho),
            ]
        ),
        units=("K", "ohm", "ohm m"),
        model=mean.model,
        chi2_red=mean.chi2_red,
        n_points=mean.n_points,
        scale=f"V/V0: {cell.model.eos.scale}",
    )
    conductivity = thermal_conductivity(state, lorenz=cell.lorenz, lorenz_error=cell.lorenz_error)
    return StepResult(conductivity, readings.outliers)


def reduce_steps(
    steps: Sequence[Step],
    cell: Cell,
    *,
    pressure_gpa: float | None = None,
    temperature_k: float = CORE_TEMPERATURE_K,
    temperature_error_k: float = 0.0,
) -> RunResult:
    """`resistivity` (ohm m) and `thermal_conductivity` (W/m/K) at a pressure and temperature, from a whole staircase.

    `pressure_gpa` is that of the cell by default; `temperature_error_k` is how well the temperature asked for is known.
    The estimate has `temperature`, `saturation_resistivity` and `scale` (of the ideal resistivity) too, with the
    covariance of all.

    Raises:
        ValueError: as `reduce_step` (the message names the step, counted from 1) and `fit_resistivity`.
    """
    results = []
    for number, step in enumerate(steps, start=1):
        try:
            results.append(reduce_step(step, cell))
        except ValueError as problem:
            raise ValueError(f"step {number}: {problem}") from None
    resistance = [result.estimate.quantity("resistance") for result in results]
    value, error = np.array([r.value for r in resistance]), np.array([r.error for r in resistance])
    current = [float(np.sqrt(np.mean(np.square(step.current_a)))) for step in steps]
    additive = np.array([cell.errors.additive_ohm(amplitude) for amplitude in current])
    kelvin = np.array([step.temperature_k for step in steps])
    factor = cell.foil.factor_m(cell.model.compression(cell.pressure_gpa, kelvin)) if results else value
    fit = fit_resistivity(
        kelvin,
        [step.temperature_error_k for step in steps],
        factor * value,
        factor * error,
        cell.pressure_gpa,
        model=cell.model,
        profile=cell.profile,
        temperature_systematic_k=cell.temperature_scale_error * np.abs(kelvin - _ROOM_K),
        resistivity_systematics_ohm_m=(
            factor * value * math.hypot(cell.foil.scale_error, cell.errors.relative),
            factor * additive,
        ),
        pressure_error_gpa=cell.pressure_error_gpa,
    )
    state = fit.at(cell.pressure_gpa if pressure_gpa is None else pressure_gpa, temperature_k, temperature_error_k)
    estimate = thermal_conductivity(state, lorenz=cell.lorenz, lorenz_error=cell.lorenz_error)
    return RunResult(estimate, tuple(results))


def _hot_over_mean(cell: Cell, kelvin: float) -> tuple[float, float]:
    """Resistivity at the hot temperature over the mean along the foil, and the relative uncertainty of that."""
    if cell.profile is None:
        return 1.0, 0.0

    def resistivity(t: Floats) -> Floats:
        return cell.model.resistivity(cell.model.compression(cell.pressure_gpa, t), t)

    factor = float(cell.profile.correction(resistivity, kelvin))
    return factor, cell.profile.error * abs(factor - 1.0)


def analyse_files(paths: Sequence[str | Path], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Reduce runs in a diamond cell, each a text table with one row for each reading.

    Args:
        paths: tables with the columns temperature_K, temperature_error_K, voltage_V, current_A (see `read_columns`);
            neighbouring rows with the same temperature and error are one step.
        settings: names and values as text, see `dac_conductivity_settings`; all files are runs on the same cell.

    Returns:
        Ready for JSON: `results` {name: {value, error, systematic, unit}} of the whole set (means over the files),
        `history` (names of what is worth following through a series), `files` [{file, results, left_out, notes}].

    Raises:
        ValueError: one line that says what is wrong, where, and what is accepted.
    """
    if not paths:
        raise ValueError(f"no file to analyse: give text tables with the columns {', '.join(COLUMNS)}")
    cell, target = read_settings(settings or {})
    files = [_analyse_table(Path(path), cell, target) for path in paths]
    return {**answer_of(files), "history": list(_HISTORY)}


def _analyse_table(path: Path, cell: Cell, target: Mapping[str, float]) -> dict[str, Any]:
    rows = read_columns(path, COLUMNS)
    steps = [
        Step(kelvin, error, *np.array(list(group)).T[2:])
        for (kelvin, error), group in groupby(rows, key=lambda row: (float(row[0]), float(row[1])))
    ]
    try:
        run = reduce_steps(steps, cell, **target)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    found = {name: run.estimate.quantity(name) for name in _HISTORY}
    left_out = []
    for number, step in enumerate(run.steps, start=1):
        found |= {f"{name}_step_{number}": quantity for name, quantity in step.estimate.quantities().items()}
        left_out += [f"step {number}: reading {i + 1}: too far from the others" for i in step.outliers]
    kelvin = run.estimate.quantity("temperature").value
    pressure = target.get("pressure_gpa", cell.pressure_gpa)
    notes = [
        f"resistivity and thermal conductivity are those at {pressure:g} GPa and {kelvin:g} K: {run.estimate.model}",
        f"reduced chi squared of {len(steps)} steps: {run.estimate.chi2_red:.2f}",
    ]
    hottest = max(step.temperature_k for step in steps)
    if kelvin > hottest:
        notes.append(f"extrapolated: the hottest step is at {hottest:g} K")
    return {
        "file": str(path),
        "results": {
            name: {"value": q.value, "error": q.error, "systematic": q.systematic, "unit": q.unit}
            for name, q in found.items()
        },
        "left_out": left_out,
        "notes": notes,
    }
