"""A disc between two films in a medium, as in a diamond anvil cell, for the analysis of its heat conduction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from .heat_layers import Element, Film, Interface, Layer, Stack

FRONT, REAR = "front", "rear"


@dataclass(frozen=True)
class EmbeddedSample:
    """Medium, film, sample, film, medium: what is known of them, in SI units.

    `heat_capacity` and `medium_heat_capacity` are per volume (J/m3/K), `film_capacity` per area of one film (J/m2/K; 0
    where a metallic sample absorbs and reflects by itself), `film_conductance` (W/m2/K) between film and sample. A
    medium of `medium_thickness` (m) ends at a diamond of `backing_effusivity` (J/m2/K/s^0.5). Heat spreads sideways
    only where the 1/e2 radii of pump and probe (m) are given. `pulse_fwhm` (s) is that of pump and detector together.
    The defaults of medium and diamond are assumptions for room temperature, not verified in a source.

    Raises:
        ValueError: a value is not positive; capacities of films and width of the pulse may be 0.
    """

    thickness: float
    heat_capacity: float
    film_capacity: float = 0.0
    film_conductance: float = math.inf
    pulse_fwhm: float = 0.0
    medium_heat_capacity: float = 2e6
    medium_thickness: float = math.inf
    backing_effusivity: float = 6e4
    pump_radius: float = math.inf
    probe_radius: float = math.inf

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            may_vanish = field.name in ("film_capacity", "pulse_fwhm")
            if not (value > 0.0 or (may_vanish and value == 0.0)):
                accepted = "0 or more" if may_vanish else "positive"
                raise ValueError(f"sample: {field.name} must be {accepted}, not {value:g}")

    def stack(self, conductivity: float, effusivity_medium: float, probed: str = REAR) -> Stack:
        """Layers for a conductivity of the sample (W/m/K) and an effusivity of the medium (J/m2/K/s^0.5).

        Raises:
            ValueError: one of them is not positive, or the probed side is neither `front` nor `rear`.
        """
        if probed not in (FRONT, REAR):
            raise ValueError(f"probed side {probed!r} is unknown: give {FRONT} or {REAR}")
        if not effusivity_medium > 0.0:
            raise ValueError(f"sample: effusivity of the medium must be positive, not {effusivity_medium:g}")
        film: list[Element] = [Film(self.film_capacity)] if self.film_capacity else []
        boundary: list[Element] = [] if math.isinf(self.film_conductance) else [Interface(self.film_conductance)]
        sample = Layer(conductivity, self.heat_capacity, self.thickness)
        capacity = self.medium_heat_capacity
        medium: list[Element] = [Layer(effusivity_medium**2 / capacity, capacity, self.medium_thickness)]
        if not math.isinf(self.medium_thickness):
            medium.append(Layer(self.backing_effusivity**2 / DIAMOND_HEAT_CAPACITY, DIAMOND_HEAT_CAPACITY))
        through = [*film, *boundary, sample, *boundary]
        return Stack([*through, *film, *medium], medium, len(through) if probed == REAR else 0)

    def known(self) -> dict[str, float]:
        """The values by name."""
        return {field.name: float(getattr(self, field.name)) for field in fields(self)}

    def changed(self, values: Mapping[str, float]) -> "EmbeddedSample":
        """With those of `values` that are its own."""
        return replace(self, **{name: values[name] for name in self.known() if name in values})


DIAMOND_HEAT_CAPACITY = 1.8e6
"""Of diamond at room temperature, J/m3/K; not verified."""
