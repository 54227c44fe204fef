"""Draws an energy-dispersive pattern with its fitted lines and their indices."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ..energy_dispersive import Elements, Line, Spacings, line_energy_kev
from .page import GREY, Floats

_MARGIN_KEV = 4.0
_NEAR_KEV = 0.8


def draw_spectrum(axes: Axes, counts: Floats, elements: Elements, detector: int) -> None:
    """Counts (n_ch,) of one element against energy."""
    channels = np.tile(np.arange(len(counts), dtype=float), (len(elements), 1))
    energy = elements.energy_kev(channels)[detector]
    axes.step(energy, counts, where="mid", color="black", lw=0.6, label="counts")
    axes.set_xlim(20.0, float(energy[-1]))


def draw_fit(
    axes: Axes, spacings: Spacings, detector: int, unfitted: Sequence[Line], colours: Mapping[str, str]
) -> None:
    """Fitted curves and the indices of their lines, in the colour of each phase; lines that were not fitted in grey.

    The view closes in on the lines that were found; without any it stays as it is.
    """
    found = np.flatnonzero(spacings.found[detector])
    if not found.size:
        return
    windows = spacings.curves(detector)
    for number, (energy, _, fitted) in enumerate(windows):
        axes.plot(energy, fitted, color="crimson", lw=1.1, label="fit" if number == 0 else "_")
    for index in found:
        line = spacings.lines[index]
        _write(axes, line.name, float(spacings.energy_kev[detector, index]), colours.get(line.phase, "black"))
    for text, energy_kev in _together(unfitted, float(spacings.elements.two_theta_deg[detector])):
        _write(axes, text, energy_kev, GREY)
    for phase in dict.fromkeys(spacings.lines[index].phase for index in found):
        axes.plot([], [], "s", color=colours.get(phase, "black"), ms=5, label=phase)
    centres = spacings.energy_kev[detector][found]
    low, high = float(centres.min()) - _MARGIN_KEV, float(centres.max()) + _MARGIN_KEV
    axes.set(xlim=(low, high), ylim=(0.0, 1.35 * _highest(axes, low, high)))
    axes.legend(loc="upper right", ncols=2)


def _write(axes: Axes, text: str, energy_kev: float, colour: str) -> None:
    height = _highest(axes, energy_kev - _NEAR_KEV, energy_kev + _NEAR_KEV)
    axes.annotate(
        text,
        (energy_kev, height),
        xytext=(0, 3),
        textcoords="offset points",
        color=colour,
        rotation=90,
        ha="center",
        va="bottom",
        annotation_clip=True,
    )


def _highest(axes: Axes, low_kev: float, high_kev: float) -> float:
    """The highest count between two energies."""
    energy, counts = np.asarray(axes.lines[0].get_xdata()), np.asarray(axes.lines[0].get_ydata())
    return float(counts[(energy > low_kev) & (energy < high_kev)].max(initial=0.0))


def _together(lines: Sequence[Line], two_theta_deg: float) -> list[tuple[str, float]]:
    """Names and energies of lines, those that coincide under one name such as `102+220`."""
    groups: list[list[tuple[float, str]]] = []
    for energy, name in sorted((float(line_energy_kev(line.d_angstrom, two_theta_deg)), line.name) for line in lines):
        if groups and energy - groups[-1][-1][0] < _NEAR_KEV:
            groups[-1].append((energy, name))
        else:
            groups.append([(energy, name)])
    return [("+".join(name for _, name in group), float(np.mean([energy for energy, _ in group]))) for group in groups]
