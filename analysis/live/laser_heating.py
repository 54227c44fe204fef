"""Live analyses of a laser-heated cell: its temperatures as they are held, and its pressure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..estimate import Estimate, Quantity
from ..pyrometer_response import Lamp
from ..pyrometry import SystematicTerms
from ..thermal_pressure import sample_pressure
from .analysis import LiveAnalysis, RunResults, independent
from .spectrograph import TEMPERATURES, Camera, Filling, Pyrometer, Responses, Ruby, Wavelengths

FIGURES = (
    {"title": "temperature", "stream": "heating", "x": "time", "y": "temperature"},
    {"title": "temperature upstream", "stream": "heating", "x": "time", "y": "temperature_upstream"},
    {"title": "temperature downstream", "stream": "heating", "x": "time", "y": "temperature_downstream"},
    {"title": "pressure by ruby", "stream": "ruby", "x": "time", "y": "ruby_pressure"},
)

LEAST_FRAMES = 2


class Mean(LiveAnalysis):
    """Temperatures averaged over the hold so far."""

    name = "mean"
    listens = recorded_after = frozenset({"hold_frames"})
    quantities: Mapping[str, str] = {f"mean_{name}": "K" for name in TEMPERATURES}

    def __init__(self, hold: Pyrometer) -> None:
        super().__init__()
        self.hold = hold

    def reduce(self, stream: str, event: Mapping[str, Any], time_s: float) -> Estimate | None:
        """With one more frame; none before the second."""
        if len(self.hold.seen) < LEAST_FRAMES:
            return None
        sides = [self.of(name) for name in TEMPERATURES]
        return independent(
            tuple(self.quantities),
            [side.value for side in sides],
            [side.error for side in sides],
            [side.systematic for side in sides],
            tuple(self.quantities.values()),
            f"mean of {len(self.hold.seen)} frames",
        )

    def of(self, name: str) -> Quantity:
        """Mean of one of the temperatures."""
        return mean_of([estimate.quantity(name) for _, estimate in self.hold.seen])


class Results(RunResults):
    """Temperatures averaged over the hold, and the pressure of the sample meanwhile."""

    quantities: Mapping[str, str] = {**dict.fromkeys(TEMPERATURES, "K"), "pressure": "GPa", "cold_pressure": "GPa"}

    def __init__(self, mean: Mean, ruby: Ruby) -> None:
        super().__init__()
        self.mean, self.ruby = mean, ruby

    def conclude(self) -> None:
        """Where both sides were seen in the hold, and the ruby at all."""
        held = self.mean.hold.seen
        if len(held) < LEAST_FRAMES or self.ruby.estimate is None:
            return
        self.window = (held[0][0], held[-1][0])
        sides = [self.mean.of(name) for name in TEMPERATURES]
        ruby = self.ruby.series("ruby_pressure")
        before, after = ruby.time_s < self.window[0], ruby.time_s > self.window[1]
        cold = [
            Quantity(ruby.value[which][i], ruby.error[which][i], ruby.systematic[which][i], "GPa")
            for which, i in ((before, -1), (after, 0))
            if which.any()
        ]
        pressure, mean_cold = sample_pressure(cold, sides[0])
        found = [*sides, pressure, mean_cold]
        self.estimate = independent(
            tuple(self.quantities),
            [quantity.value for quantity in found],
            [quantity.error for quantity in found],
            [quantity.systematic for quantity in found],
            tuple(self.quantities.values()),
            f"{held[-1][1].model}, mean of {len(held)} frames; {self.ruby.estimate.scale}, {pressure.model}",
        )
        self.seq_num = self.mean.seq_num


def mean_of(quantities: Sequence[Quantity]) -> Quantity:
    """Mean of readings of something that wanders slowly: its error is theirs, or what neighbours differ by, if more."""
    value, error, systematic = np.array([(q.value, q.error, q.systematic) for q in quantities]).T
    own = math.sqrt(float(np.mean(error**2)))
    scatter = math.sqrt(float(np.mean(np.diff(value) ** 2)) / 2.0) if len(value) > 1 else 0.0
    return Quantity(
        float(value.mean()), max(own, scatter) / math.sqrt(len(value)), float(systematic.mean()), quantities[0].unit
    )


def analyses(names: Mapping[str, str], parameters: Any) -> Sequence[LiveAnalysis]:
    """The live analyses in the order in which they take documents; `names` are the devices of the roles."""
    camera = Camera(names)
    wavelengths = Wavelengths(camera)
    lamp = Lamp(f"lamp of {parameters.lamp_k:g} K", parameters.lamp_k)
    responses = Responses(camera, wavelengths, lamp, (parameters.shortest_nm, parameters.longest_nm))
    terms = SystematicTerms(lamp_k=parameters.lamp_k, lamp_error_k=parameters.lamp_error_k)
    ruby = Ruby(camera, wavelengths, parameters.ruby_scale)
    heating, hold = (Pyrometer(camera, responses, terms, name) for name in ("heating", "hold"))
    fillings = [Filling(camera, what) for what in ("pen_lamp", "lamp", "ruby", "heating", "hold")]
    mean = Mean(hold)
    return (*fillings, wavelengths, responses, ruby, heating, hold, mean, Results(mean, ruby))
