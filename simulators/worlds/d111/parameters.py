"""What can be chosen about the world, with defaults. Values marked [S] are simulator defaults, not measured ones."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Constants of the simulated experiment; every unit stands in the name. All [S] unless the group says otherwise."""

    # time: the controller acts each full second, the state steps `steps_per_second` times as often
    steps_per_second: int = 1
    systematic_scale: float = 1.0  # 0 switches the systematic terms off

    # press: P(L) = pressure_scale * (1 - exp(-L / load_scale)); unloading P_max * (L / L_max)^unloading_exponent
    rated_load_mn: float = 10.0
    ram_area_m2: float = 0.125
    load_lag_s: float = 3.0
    pressure_scale_gpa: float = 32.0
    load_scale_mn: float = 4.6
    unloading_exponent: float = 0.5
    thermal_pressure_gpa_per_k: float = 2.0e-3
    first_heating_loss_gpa: float = 1.0
    first_heating_time_s: float = 60.0
    first_heating_full_k: float = 500.0
    pressure_per_strain_gpa: float = 1.0

    # differential rams: share of the stroke that shortens the sample, its spread and its growth over 20 % strain
    ram_efficiency: float = 0.4
    ram_efficiency_spread: float = 0.25
    ram_efficiency_growth: tuple[float, float] = (0.10, 0.15)
    ram_stroke_limit_mm: float = 2.0
    ram_speed_limit_um_per_s: float = 10.0

    # furnace: C dT/dt = W - (T - T0)/R - S (T^4 - T0^4), time constant 5 s at low temperature
    room_temperature_k: float = 300.0
    thermal_resistance_k_per_w: float = 4.2
    thermal_time_constant_s: float = 5.0
    radiative_loss_w_per_k4: float = 5.0e-11
    heater_ohm: float = 0.025
    heater_ohm_per_k: float = 2.0e-4
    power_limit_w: float = 1500.0
    current_limit_a: float = 300.0
    voltage_limit_v: float = 12.0
    proportional_percent_per_k: float = 0.015
    integral_time_s: float = 5.0
    derivative_time_s: float = 0.5
    sensor_break_at_s: float | None = None

    # rheology of the sample: two mechanisms in parallel, each half of the rate at the crossover (energies: the study)
    low_energy_kj_per_mol: float = 200.0
    low_exponent: float = 10.0
    high_energy_kj_per_mol: float = 400.0
    high_exponent: float = 6.0
    crossover_k: float = 800.0
    crossover_gpa: float = 0.8
    crossover_rate_per_s: float = 1.0e-5
    activation_volume_cm3_per_mol: float = 0.0
    reference_pressure_gpa: float = 20.0
    athermal_stress_gpa: float = 6.0
    initial_hardness: float = 0.6
    hardening_strain: float = 0.006
    sample_young_gpa: float = 300.0
    assembly_stiffness_gpa: float = 75.0

    # cell
    foil_separation_um: float = 412.0
    foil_thickness_um: float = 5.0
    sample_radius_um: float = 300.0
    marker_stress_share: float = 0.6
    texture_strength: float = 1.0
    misalignment_mm: float = 0.03
    settling_mm: tuple[float, float] = (0.10, 0.20)
    drift_um: float = 0.3

    # hazard of a blow-out: rate at the critical load, e-folding load, factor while unloading above 40 % of the maximum
    blow_out_rate_per_s: float = 2.3e-8
    blow_out_load_mn: float = 7.0
    blow_out_e_folding_mn: float = 0.7
    blow_out_unloading_factor: float = 5.0
    blow_out_precursor_s: float = 90.0
    blow_out_at_s: float | None = None

    # beam
    ring_current_ma: float = 60.0
    ring_lifetime_h: float = 40.0
    injection_interval_h: float = 12.0
    beam_losses: tuple[tuple[float, float], ...] = ()  # (time s, duration s)
    intensity_flicker: float = 0.003
    i0_counts_per_s: float = 2.0e5  # through slits of 0.2 x 0.2 mm at full current
    shutter_open_at_start: bool = False
    slit_gap_mm: float = 2.0

    # diffraction
    standard_x_mm: float = -20.0
    strongest_line_counts_per_s: float = 300.0  # of hcp Fe 101 through 0.2 x 0.2 mm at full current
    dead_time_s: float = 8.0e-6
    pile_up_time_s: float = 0.5e-6
    graininess: float = 0.0
    dead_elements: tuple[int, ...] = ()

    # camera
    pixel_um: float = 2.0
    camera_counts_per_s: float = 25_000.0  # per pixel of the open field at full current
    camera_offset: float = 100.0
    camera_readout: float = 6.0
    camera_flicker: float = 0.005

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_number(field.name, getattr(self, field.name))
        if not isinstance(self.steps_per_second, int) or self.steps_per_second < 1:
            raise ValueError(f"steps_per_second is {self.steps_per_second!r}: a whole number of at least 1 is accepted")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}: a number above 0 is accepted")
        if not 0 < self.initial_hardness <= 1:
            raise ValueError(f"initial_hardness is {self.initial_hardness!r}: above 0, at most 1 is accepted")


_POSITIVE = (
    "load_lag_s",
    "pressure_scale_gpa",
    "load_scale_mn",
    "ram_area_m2",
    "rated_load_mn",
    "first_heating_time_s",
    "first_heating_full_k",
    "ram_efficiency",
    "thermal_resistance_k_per_w",
    "thermal_time_constant_s",
    "heater_ohm",
    "integral_time_s",
    "crossover_k",
    "crossover_gpa",
    "crossover_rate_per_s",
    "athermal_stress_gpa",
    "hardening_strain",
    "sample_young_gpa",
    "assembly_stiffness_gpa",
    "foil_separation_um",
    "foil_thickness_um",
    "sample_radius_um",
    "blow_out_e_folding_mn",
    "ring_lifetime_h",
    "injection_interval_h",
    "pixel_um",
    "blow_out_precursor_s",
)


def _check_number(name: str, value: object) -> None:
    if isinstance(value, str | bytes | dict) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{name} is {value!r}: a finite number is accepted")


def read_parameters(given: dict[str, Any]) -> Parameters:
    """Parameters from a description; lists stand for tuples. Raises ValueError that names an unknown parameter."""
    known = {field.name for field in dataclasses.fields(Parameters)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"world D111: unknown parameter {unknown[0]!r}; accepted are {', '.join(sorted(known))}")
    return Parameters(**{name: _frozen(value) for name, value in given.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value
