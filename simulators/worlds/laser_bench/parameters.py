"""What can be chosen about the world; all values are simulator defaults, not measured ones."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Constants of the bench; every unit stands in the name."""

    __pydantic_config__: ClassVar[ConfigDict] = {"allow_inf_nan": False}

    systematic_scale: NotNegative = 1.0  # 0 switches the systematic terms off

    # laser: power = slope * (current - threshold), with a spread of the slope from laser to laser
    threshold_percent: NotNegative = 10.0
    slope_w_per_percent: Positive = 1.1
    slope_spread: NotNegative = 0.02
    monitor_scale_error: NotNegative = 0.03  # standard deviation of the calibration of its power monitor

    # foil: C dT/dt = absorbed power - loss * (T - T0)
    absorbed_share: Share = 0.3
    heat_capacity_j_per_k: Positive = 0.02
    loss_w_per_k: Positive = 0.01
    room_temperature_k: Positive = 300.0


def read_parameters(given: Mapping[str, Any]) -> Parameters:
    """Parameters from a description. Raises ValueError for one unknown or out of its range."""
    known = {field.name for field in dataclasses.fields(Parameters)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"world LaserBench: unknown parameter {unknown[0]!r}; accepted are {', '.join(sorted(known))}")
    try:
        return TypeAdapter(Parameters).validate_python(dict(given))
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].replace("Input should be", "accepted is")
        raise ValueError(f"world.{problem['loc'][0]} is {problem['input']!r}: {message}") from None
