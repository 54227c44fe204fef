"""What can be chosen about the world; all values are simulator defaults, not measured ones."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Constants of the cell; every unit stands in the name."""

    __pydantic_config__: ClassVar[ConfigDict] = {"allow_inf_nan": False}

    systematic_scale: NotNegative = 1.0  # 0 switches the systematic terms off
    room_temperature_k: Positive = 300.0

    # membrane: friction of the piston is overcome first, then the pressure follows with less and less gain
    screwed_gpa: NotNegative = 20.0
    largest_gain_gpa_per_bar: Positive = 1.1
    gain_decay_bar: Positive = 200.0
    gain_spread: NotNegative = 0.05
    friction_bar: NotNegative = 4.0
    leak_bar_per_s: NotNegative = 1e-4
    thermal_gpa_per_k: NotNegative = 2e-3
    thermal_spread: NotNegative = 0.3

    # lasers: power = slope * (current - threshold)
    threshold_percent: NotNegative = 10.0
    slope_w_per_percent: Positive = 1.1
    slope_spread: NotNegative = 0.02
    monitor_scale_error: NotNegative = 0.03

    # heating: each side rises by so much per watt on it, and by a share of that per watt on the other
    kelvin_per_w: Positive = 75.0
    kelvin_spread: NotNegative = 0.1
    shared: Annotated[float, Field(ge=0, lt=1)] = 0.6
    response_s: Positive = 0.005
    wander: Annotated[float, Field(ge=0, lt=0.2)] = 0.01  # of the absorbed share, slowly
    wander_s: Positive = 40.0
    spot_um: Positive = 12.0  # where the rise is exp(-1) of that at its centre
    aperture_um: Positive = 4.0  # diameter of what the spectrograph sees
    runaway_s: NotNegative | None = None  # when the upstream side begins to absorb more and more
    runaway_share: Positive = 1.0
    runaway_rise_s: Positive = 0.05

    # protection: a photodiode for each side, a comparator, a shutter before the cell
    blade_s: Positive = 0.004
    photodiode_error: NotNegative = 0.03  # relative, of the temperatures that the box sees

    # light
    emissivity: Share = 0.35
    emissivity_slope_per_um: float = 0.0
    emissivity_slope_spread_per_um: NotNegative = 0.15
    lamp_k: Positive = 2900.0
    lamp_spread_k: NotNegative = 10.0
    throughput: Positive = 1.0
    pen_lamp_per_s: Positive = 2e4  # electrons in a line of strength 1
    ruby_per_s: NotNegative = 4000.0  # electrons in the highest pixel
    ruby_nm: Positive = 694.25
    ruby_width_nm: Positive = 0.6
    ruby_width_nm_per_gpa: NotNegative = 0.012
    gauge_gradient: NotNegative = 0.01  # of the pressure, from the gauge to the sample
    edge_per_s: NotNegative = 3000.0
    excitation_nm: Positive = 532.0

    # foil of iron between four leads
    foil_length_um: Positive = 10.0  # between the inner leads
    foil_width_um: Positive = 8.0
    foil_thickness_um: Positive = 4.0  # before compression
    foil_spot_um: Positive = 30.0  # along the foil the temperature falls off more slowly than across the spot
    thickness_error: NotNegative = 0.06
    picture_error: NotNegative = 0.02
    resistivity_spread: NotNegative = 0.05
    saturation_ohm_m: Positive = 1.68e-6
    alloy_resistivity_ohm_m: NotNegative = 0.0
    thermoelectric_v_per_k: float = 8e-9
    thermoelectric_wander: NotNegative = 0.05
    source_error: NotNegative = 5e-4

    # disc between two films in its medium, heated by pulses and looked at from behind
    disc: Literal["bridgmanite", "post-perovskite", "iron"] = "bridgmanite"
    disc_um: Positive = 2.5  # before compression
    dissolved: Annotated[float, Field(ge=0, lt=0.5)] = 0.0  # iron or aluminium, per formula unit
    dissolved_slope: float = 0.5  # relative loss of conductivity per dissolved
    disc_conductivity_spread: NotNegative = 0.02
    disc_thickness_error: NotNegative = 0.03
    film_nm: Positive = 100.0
    film_heat_capacity: Positive = 2.9e6  # J/m^3/K
    film_conductivity: Positive = 50.0
    medium_effusivity: Positive = 2500.0
    medium_heat_capacity: Positive = 2.5e6
    pulse_s: Positive = 2e-9  # full width at half maximum
    pulse_delay_s: NotNegative = 20e-9
    pulse_j_per_m2: Positive = 60.0
    pulse_rate_hz: Positive = 1000.0
    probe_v: Positive = 0.2
    reflectance_per_k: float = 1e-4

    # spectrograph and its camera
    focal_mm: Positive = 300.0
    focal_error: NotNegative = 1e-3
    included_deg: Annotated[float, Field(ge=0, lt=90)] = 30.0
    pixel_um: Positive = 20.0
    instrument_nm_times_grooves: Positive = 150.0  # full width at half maximum times grooves per mm
    gain_electrons: Positive = 1.0
    read_noise_electrons: NotNegative = 5.0
    bias_counts: NotNegative = 600.0
    dark_per_s: NotNegative = 0.5
    nonlinearity: Annotated[float, Field(ge=0, lt=0.2)] = 0.005


def read_parameters(given: Mapping[str, Any]) -> Parameters:
    """Parameters from a description. Raises ValueError for one unknown or out of its range."""
    known = {field.name for field in dataclasses.fields(Parameters)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(
            f"world LaserHeatedCell: unknown parameter {unknown[0]!r}; accepted are {', '.join(sorted(known))}"
        )
    try:
        return TypeAdapter(Parameters).validate_python(dict(given))
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].replace("Input should be", "accepted is")
        raise ValueError(f"world.{problem['loc'][0]} is {problem['input']!r}: {message}") from None
