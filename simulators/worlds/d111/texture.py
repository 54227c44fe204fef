"""Preferred orientation: c axes turn towards the axis of compression like normals of passive planes."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
N_GRAINS = 400
_EDGES = np.linspace(0.0, 1.0, N_GRAINS + 1)  # cosine to the axis of the first orientation: equal areas of the sphere
_TURNS = np.cos(2.0 * np.pi * (np.arange(24) + 0.5) / 24)


def turned_cosines(strain: float) -> Floats:
    """Cosines to the axis of grain normals, first spread evenly, after an axial shortening: n -> F^-T n, normalised."""
    sine = np.sqrt(1.0 - _EDGES**2)
    across, along = sine * np.exp(-0.5 * strain), _EDGES * np.exp(strain)
    return np.asarray(along / np.hypot(across, along))


class Texture:
    """Densities of poles relative to a random powder after an axial strain."""

    def __init__(self, strain: float) -> None:
        cosines = turned_cosines(strain)
        self._density = (1.0 / N_GRAINS) / np.diff(cosines)  # as many grains in less room
        self._middle = 0.5 * (cosines[1:] + cosines[:-1])

    def axis_density(self, cosine: Floats) -> Floats:
        """Density of c axes at the cosine of an angle to the axis of compression."""
        return np.interp(np.abs(cosine), self._middle, self._density)

    def pole_density(self, tilt_cosine: Floats, psi_cosine: Floats) -> Floats:
        """Density (psi, lines) of plane normals that lean off the c axis by a tilt, averaged about the normal."""
        tilt, psi = tilt_cosine[None, :, None], psi_cosine[:, None, None]
        cosine = tilt * psi + np.sqrt((1.0 - tilt**2) * (1.0 - psi**2)) * _TURNS
        return np.asarray(self.axis_density(cosine).mean(axis=2))

    def index(self) -> float:
        """Index of the c-axis pole figure, the mean over grains of their density: 1 for a random powder."""
        return float(self._density.mean())
