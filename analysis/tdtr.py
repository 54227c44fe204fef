"""Time-domain thermoreflectance with a train of pulses: lock-in signal of a stack of layers, and fits of its ratio.

Source: Cahill, Rev. Sci. Instrum. 75, 5119 (2004), doi:10.1063/1.1819431.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from .estimate import Floats, Quantity
from .heat_layers import Complexes, Interface, Layer, Stack, frequency_response
from .thermal_fits import Free, ThermalFit, Values, fit

RELATIVE_ERRORS = {
    "thermal_conductivity": 0.05,
    "heat_capacity": 0.03,
    "thickness": 0.03,
    "interface_conductance": 0.1,
    "pump_radius": 0.03,
    "probe_radius": 0.03,
}
"""Relative standard uncertainties of what is known, assumed where none are given (not from a source)."""

BEFORE_S = (-math.inf, -2e-12)
AFTER_S = (3e-12, 80e-12)
"""Delays between which the out-of-phase signal must not jump."""

_PER_DECADE = 40
_SHARPNESS = 20.0  # the sums act like pulses that are as much shorter than the shortest delay: 0.1 % there
_UNITS = {
    "thermal_conductivity": "W/m/K",
    "heat_capacity": "J/m3/K",
    "thickness": "m",
    "interface_conductance": "W/m2/K",
}

Layers = Mapping[str, Layer | Interface]
Model = Callable[[Stack, float, float], Complexes]


@dataclass(frozen=True)
class PulsedLaser:
    """How pump and probe are made: modulation of the pump, repetition rate (Hz), 1/e2 radii (m), delayed beam.

    With the `probe` delayed, the lock-in sees each probe pulse as late as it is; with the `pump` advanced on the stage,
    its modulation was imprinted earlier, and the signal turns with the delay.

    Raises:
        ValueError: a value is not positive, or the delayed beam is neither `probe` nor `pump`.
    """

    modulation_hz: float
    repetition_hz: float
    pump_radius: float
    probe_radius: float
    delayed_beam: str = "probe"

    def __post_init__(self) -> None:
        for name in ("modulation_hz", "repetition_hz", "pump_radius", "probe_radius"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"pulsed laser: {name} must be positive, not {getattr(self, name):g}")
        if self.delayed_beam not in ("probe", "pump"):
            raise ValueError(f"pulsed laser: delayed beam {self.delayed_beam!r} is unknown: give probe or pump")


@dataclass(frozen=True)
class DelayScan:
    """Delays in s, in-phase and out-of-phase signal of the lock-in, each (n,)."""

    delay_s: Floats
    in_phase: Floats
    out_of_phase: Floats

    def turned(self, phase_rad: float) -> "DelayScan":
        """The scan with the phase of the lock-in's reference moved."""
        signal = (self.in_phase + 1j * self.out_of_phase) * np.exp(1j * phase_rad)
        return replace(self, in_phase=signal.real, out_of_phase=signal.imag)

    @property
    def ratio(self) -> Floats:
        """In-phase over out-of-phase signal, its sign changed: (n,)."""
        return np.asarray(-self.in_phase / self.out_of_phase)


def lock_in_signal(stack: Stack, delay_s: ArrayLike, laser: PulsedLaser) -> Complexes:
    """Temperature that the probe sees at delays (n,), in phase and out of phase, K m2/J of the pump pulses' fluence.

    Z(t) = f_rep sum over m of H(f0 + m f_rep) exp(2 pi i m f_rep t). Its imaginary part is negative: the heat of
    earlier pulses comes late.

    Raises:
        ValueError: a delay is 0, where the sum has a step, or no number.
    """
    return _train(np.asarray(delay_s, dtype=float), laser)(stack, laser.pump_radius, laser.probe_radius)


def reference_phase(scan: DelayScan) -> Quantity:
    """Phase in rad by which a scan has to be turned so that the out-of-phase signal is continuous across zero delay.

    A pulse changes the temperature only in phase with itself. The error is that of the means over `BEFORE_S`
    and `AFTER_S`.

    Raises:
        ValueError: fewer than 3 points on one side, or no step of the in-phase signal.
    """
    before, after = (_within(scan.delay_s, window) for window in (BEFORE_S, AFTER_S))
    if before.sum() < 3 or after.sum() < 3:
        raise ValueError(
            f"phase of the reference: {before.sum()} delays below {BEFORE_S[1] * 1e12:g} ps and {after.sum()} from "
            f"{AFTER_S[0] * 1e12:g} to {AFTER_S[1] * 1e12:g} ps, 3 each are needed"
        )
    step, jump = (float(np.mean(x[after]) - np.mean(x[before])) for x in (scan.in_phase, scan.out_of_phase))
    y = scan.out_of_phase
    error = math.hypot(*(float(np.std(y[side], ddof=1)) / math.sqrt(side.sum()) for side in (before, after)))
    if not math.hypot(step, jump) > 5.0 * error:
        raise ValueError(f"phase of the reference: the signal does not step at zero delay ({step:g} +- {error:g})")
    return Quantity(-math.atan2(jump, step), error / math.hypot(step, jump), 0.0, "rad", "no jump out of phase")


def fit_ratio(
    scan: DelayScan,
    layers: Layers,
    free: Sequence[str],
    laser: PulsedLaser,
    *,
    delays_s: tuple[float, float] = (75e-12, 5e-9),
    phase_error_rad: float = 0.0,
    error: ArrayLike | None = None,
    relative_errors: Mapping[str, float] = RELATIVE_ERRORS,
) -> ThermalFit:
    """Properties of layers from the ratio of a scan.

    Args:
        scan: with the phase of the reference already set.
        layers: by name, from the heated and probed surface inwards; the last without thickness has no end.
        free: what is found, beginning at its value in `layers`: `thermal_conductivity_NAME`, `heat_capacity_NAME`,
            `thickness_NAME`, `interface_conductance_NAME`.
        laser: pulses, modulation and spots.
        delays_s: range of delays that is used.
        phase_error_rad: standard uncertainty of the phase of the reference.
        error: of each point of the scan's ratio (n,), or one for all; None takes the noise of both signals from their
            scatter before zero delay, and enlarges the errors of the result where the fit is worse than that noise.
        relative_errors: of what is known, by the names in `free`, or without `_NAME` for all layers.

    Returns:
        The free ones, in SI units.

    Raises:
        ValueError: a name that no layer has, no delay in the range, or no fit.
    """
    known = _by_name(layers)
    for name in free:
        if name not in known or math.isinf(known[name]):
            raise ValueError(f"cannot fit {name!r}: these layers have {', '.join(known)}")
    used = _within(scan.delay_s, delays_s) & (scan.delay_s > 0.0)
    if used.sum() <= len(free):
        raise ValueError(
            f"{used.sum()} delays from {delays_s[0]:g} to {delays_s[1]:g} s: more than {len(free)} are needed"
        )
    each = _ratio_error(scan) if error is None else np.broadcast_to(np.asarray(error, dtype=float), scan.ratio.shape)
    train = _train(scan.delay_s[used], laser)

    def model(values: Values) -> Floats:
        z = train(_stack(layers, values), values["pump_radius"], values["probe_radius"])
        z = z * np.exp(1j * values["reference_phase"])
        return np.asarray(-z.real / z.imag)

    known |= {"pump_radius": laser.pump_radius, "probe_radius": laser.probe_radius, "reference_phase": 0.0}
    found = fit(
        model,
        known,
        [Free(name, _UNITS[_quantity(name)], known[name]) for name in free],
        scan.ratio[used],
        each[used],
        relative_errors=_errors_by_name(known, relative_errors),
        absolute_errors={"reference_phase": phase_error_rad},
        name="time-domain thermoreflectance, ratio",
    )
    excess = found.estimate.chi2_red
    if error is None and excess > 1.0 + 3.0 * math.sqrt(2.0 / (used.sum() - len(free))):
        return replace(found, estimate=replace(found.estimate, covariance=found.estimate.covariance * excess))
    return found


def _train(delay_s: Floats, laser: PulsedLaser) -> Model:
    """The lock-in signal at these delays as a function of stack and radii; the exponentials are computed once."""
    if not (delay_s.size and np.all(np.isfinite(delay_s)) and np.all(delay_s != 0.0)):
        raise ValueError("delays of a lock-in signal must be numbers other than 0")
    width = float(np.min(np.abs(delay_s))) / _SHARPNESS
    most = math.ceil(5.0 / (2.0 * np.pi * width * laser.repetition_hz))
    comb = laser.repetition_hz * np.arange(-most, most + 1)
    f = laser.modulation_hz + comb
    size = np.abs(f)
    grid = np.geomspace(size.min(), size.max(), math.ceil(_PER_DECADE * math.log10(size.max() / size.min())) + 2)
    grid[-1] = max(grid[-1], size.max())
    turns = np.exp(2j * np.pi * np.outer(delay_s, comb)) * np.exp(-0.5 * (2.0 * np.pi * f * width) ** 2)
    if laser.delayed_beam == "pump":
        turns *= np.exp(2j * np.pi * laser.modulation_hz * delay_s)[:, None]

    def signal(stack: Stack, pump_radius: float, probe_radius: float) -> Complexes:
        response = frequency_response(stack, grid, pump_radius=pump_radius, probe_radius=probe_radius)
        h = CubicSpline(np.log(grid), response * np.sqrt(grid))(np.log(size)) / np.sqrt(size)
        return np.asarray(laser.repetition_hz * (turns @ np.where(f < 0.0, np.conj(h), h)))

    return signal


def _within(delay_s: Floats, window: tuple[float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return (delay_s >= window[0]) & (delay_s <= window[1])


def _ratio_error(scan: DelayScan) -> Floats:
    """Standard uncertainty of each ratio from the scatter of both signals before zero delay."""
    before = _within(scan.delay_s, BEFORE_S)
    if before.sum() < 3:
        raise ValueError(
            f"{before.sum()} delays before {BEFORE_S[1] * 1e12:g} ps show no noise: 3 are needed, or error="
        )
    x, y = (float(np.std(signal[before], ddof=1)) for signal in (scan.in_phase, scan.out_of_phase))
    return np.asarray(np.hypot(x, scan.ratio * y) / np.abs(scan.out_of_phase))


def _quantity(name: str) -> str:
    """What a parameter of a layer is, without the layer's name; the name itself where it is none."""
    return next((quantity for quantity in _UNITS if name.startswith(f"{quantity}_")), name)


def _by_name(layers: Layers) -> dict[str, float]:
    known = {}
    for name, element in layers.items():
        if isinstance(element, Interface):
            known[f"interface_conductance_{name}"] = element.conductance
        else:
            known[f"thermal_conductivity_{name}"] = element.conductivity
            known[f"heat_capacity_{name}"] = element.heat_capacity
            known[f"thickness_{name}"] = element.thickness
    return known


def _stack(layers: Layers, values: Values) -> Stack:
    return Stack(
        [
            Interface(values[f"interface_conductance_{name}"])
            if isinstance(element, Interface)
            else Layer(*(values[f"{part}_{name}"] for part in ("thermal_conductivity", "heat_capacity", "thickness")))
            for name, element in layers.items()
        ]
    )


def _errors_by_name(known: Values, relative_errors: Mapping[str, float]) -> dict[str, float]:
    """One for each known parameter that is finite; a name of a quantity alone stands for all layers."""
    for name in relative_errors:
        if name not in known and name not in _UNITS:
            raise ValueError(f"relative error of {name!r}: accepted are {', '.join([*_UNITS, *known])}")
    return {
        name: relative_errors.get(name, relative_errors.get(_quantity(name), 0.0))
        for name, value in known.items()
        if 0.0 < value < math.inf
    }
