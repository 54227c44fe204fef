"""Heat conduction in a row of cells, by the eigenvectors of its matrix: another route than Laplace transforms."""

import numpy as np
from scipy.linalg import eigh_tridiagonal


class Cells:
    """Cells of heat capacities c (J/m2/K) joined by conductances g (W/m2/K), adiabatic at both ends."""

    def __init__(self, *parts):
        capacity, half = [], []  # areal heat capacity, and resistance from the middle of a cell to its side
        between = []
        extra = 0.0
        for part in parts:
            if part[0] == "interface":
                extra += 1.0 / part[1]
                continue
            c, r = ([part[1]], [0.0]) if part[0] == "film" else self._grid(*part[1:])
            for ci, ri in zip(c, r, strict=True):
                if capacity:
                    between.append(half[-1] + ri + extra)
                extra = 0.0
                capacity.append(ci)
                half.append(ri)
        self.c = np.array(capacity)
        g = 1.0 / np.array(between)
        diagonal = np.append(g, 0.0) + np.append(0.0, g)
        root = np.sqrt(self.c)
        self.rates, self.modes = eigh_tridiagonal(diagonal / self.c, -g / (root[1:] * root[:-1]))
        self.root = root

    @staticmethod
    def _grid(conductivity, heat_capacity, widths):
        return heat_capacity * widths, 0.5 * widths / conductivity

    def pulse(self, heated, probed, time):
        weight = self.modes[heated] * self.modes[probed] / (self.root[heated] * self.root[probed])
        return np.exp(-np.outer(time, self.rates)) @ weight

    def modulated(self, heated, probed, frequency):
        weight = self.modes[heated] * self.modes[probed] / (self.root[heated] * self.root[probed])
        return (1.0 / (2j * np.pi * frequency[:, None] + self.rates)) @ weight
