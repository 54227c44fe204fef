"""What can be chosen about the world, with defaults. Values marked [S] are simulator defaults, not measured ones."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

N_ELEMENTS: Final = 10
"""Elements of the energy-dispersive detector."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Constants of the simulated experiment; every unit stands in the name. All [S] unless the group says otherwise."""

    __pydantic_config__: ClassVar[ConfigDict] = {"allow_inf_nan": False}

    # time: the controller acts each full second, the state steps `steps_per_second` times as often
    steps_per_second: Annotated[int, Field(ge=1)] = 1
    systematic_scale: float = 1.0  # 0 switches the systematic terms off

    # press: P(L) = pressure_scale * (1 - exp(-L / load_scale)); unloading P_max * (L / L_max)^unloading_exponent
    rated_load_mn: Positive = 10.0
    ram_area_m2: Positive = 0.125
    load_lag_s: Positive = 3.0
    pressure_scale_gpa: Positive = 32.0
    load_scale_mn: Positive = 4.6
    unloading_exponent: float = 0.5
    thermal_pressure_gpa_per_k: float = 2.0e-3
    first_heating_loss_gpa: float = 1.0
    first_heating_time_s: Positive = 60.0
    first_heating_full_k: Positive = 500.0
    pressure_per_strain_gpa: float = 1.0

    # differential rams: share of the stroke that shortens the sample, its spread and its growth over 20 % strain
    ram_efficiency: Positive = 0.4
    ram_efficiency_spread: float = 0.25
    ram_efficiency_growth: tuple[float, float] = (0.10, 0.15)
    ram_stroke_limit_mm: float = 2.0
    ram_speed_limit_um_per_s: float = 10.0

    # furnace: C dT/dt = W - (T - T0)/R - S (T^4 - T0^4), time constant 5 s at low temperature
    room_temperature_k: float = 300.0
    thermal_resistance_k_per_w: Positive = 4.2
    thermal_time_constant_s: Positive = 5.0
    radiative_loss_w_per_k4: float = 5.0e-11
    heater_ohm: Positive = 0.025
    heater_ohm_per_k: float = 2.0e-4
    power_limit_w: float = 1500.0
    current_limit_a: float = 300.0
    voltage_limit_v: float = 12.0
    proportional_percent_per_k: float = 0.015
    integral_time_s: Positive = 5.0
    derivative_time_s: float = 0.5
    sensor_break_at_s: NotNegative | None = None

    # rheology of the sample: two mechanisms in parallel, each half of the rate at the crossover (energies: the study)
    low_energy_kj_per_mol: float = 200.0
    low_exponent: float = 10.0
    high_energy_kj_per_mol: float = 400.0
    high_exponent: float = 6.0
    crossover_k: Positive = 800.0
    crossover_gpa: Positive = 0.8
    crossover_rate_per_s: Positive = 1.0e-5
    activation_volume_cm3_per_mol: float = 0.0
    reference_pressure_gpa: float = 20.0
    athermal_stress_gpa: Positive = 6.0
    initial_hardness: Annotated[float, Field(gt=0, le=1)] = 0.6
    hardening_strain: Positive = 0.006
    sample_young_gpa: Positive = 300.0
    assembly_stiffness_gpa: Positive = 75.0

    # cell
    foil_separation_um: Positive = 412.0
    foil_thickness_um: Positive = 5.0
    sample_radius_um: Positive = 300.0
    marker_stress_share: float = 0.6
    texture_strength: float = 1.0
    misalignment_mm: float = 0.03
    settling_mm: tuple[float, float] = (0.10, 0.20)
    drift_um: float = 0.3

    # hazard of a blow-out: rate at the critical load, e-folding load, factor while unloading above 40 % of the maximum;
    # the rate is far below life's, one rehearsal in ten thousand, so that they are rehearsed when they are asked for
    blow_out_rate_per_s: float = 2e-9
    blow_out_load_mn: float = 7.0
    blow_out_e_folding_mn: Positive = 0.7
    blow_out_unloading_factor: float = 5.0
    blow_out_precursor_s: Positive = 90.0
    blow_out_at_s: NotNegative | None = None

    # beam
    ring_current_ma: float = 60.0
    ring_lifetime_h: Positive = 40.0
    injection_interval_h: Positive = 12.0
    beam_losses: tuple[tuple[NotNegative, Positive], ...] = ()  # (time s, duration s)
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
    dead_elements: tuple[Annotated[int, Field(ge=0, lt=N_ELEMENTS)], ...] = ()

    # camera
    pixel_um: Positive = 2.0
    camera_counts_per_s: float = 25_000.0  # per pixel of the open field at full current
    camera_offset: float = 100.0
    camera_readout: float = 6.0
    camera_flicker: float = 0.005


def read_parameters(given: Mapping[str, Any]) -> Parameters:
    """Parameters from a description; lists stand for tuples. Raises ValueError for one unknown or out of its range."""
    known = {field.name for field in dataclasses.fields(Parameters)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"world D111: unknown parameter {unknown[0]!r}; accepted are {', '.join(sorted(known))}")
    try:
        return TypeAdapter(Parameters).validate_python(dict(given))
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(key) for key in problem["loc"])
        message = problem["msg"].replace("Input should be", "accepted is").replace("a valid tuple", "a list")
        raise ValueError(f"world.{name} is {problem['input']!r}: {message}") from None
