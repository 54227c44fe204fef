"""Lattice strain of grains under stress, by rotating tensors and averaging: no closed formula.

Grains that diffract share the direction of one plane normal and are free to turn about it. Reuss: each carries the
macroscopic stress. Voigt: each carries the strain of the aggregate with its average stiffness.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def stiffness_tensor(voigt_gpa: Floats) -> Floats:
    """Tensor (3, 3, 3, 3) of a stiffness matrix (6, 6) in Voigt's notation."""
    tensor = np.empty((3, 3, 3, 3))
    for m, (i, j) in enumerate(_PAIRS):
        for n, (k, l) in enumerate(_PAIRS):  # noqa: E741 - indices of a tensor
            tensor[i, j, k, l] = tensor[j, i, k, l] = tensor[i, j, l, k] = tensor[j, i, l, k] = voigt_gpa[m, n]
    return tensor


def compliance_tensor(stiffness: Floats) -> Floats:
    """Inverse of a stiffness tensor on symmetric matrices (1/GPa)."""
    factor = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]) ** 0.5
    rows, columns = np.array(_PAIRS).T
    mandel = stiffness[rows[:, None], columns[:, None], rows, columns] * factor[:, None] * factor
    return stiffness_tensor(np.linalg.inv(mandel) / factor[:, None] / factor)


def hexagonal(c11: float, c12: float, c13: float, c33: float, c44: float) -> Floats:
    """Stiffness tensor (GPa) of a hexagonal crystal, c axis along 3."""
    matrix = np.diag([c11, c11, c33, c44, c44, 0.5 * (c11 - c12)])
    matrix[0, 1] = matrix[1, 0] = c12
    matrix[:2, 2] = matrix[2, :2] = c13
    return stiffness_tensor(matrix)


def cubic(c11: float, c12: float, c44: float) -> Floats:
    """Stiffness tensor (GPa) of a cubic crystal."""
    matrix = np.diag([c11, c11, c11, c44, c44, c44])
    matrix[:3, :3] += c12 * (1.0 - np.eye(3))
    return stiffness_tensor(matrix)


def average_stiffness(stiffness: Floats) -> Floats:
    """Stiffness tensor averaged over all orientations; the quadrature is exact for a tensor of rank 4."""
    cosines, weights = np.polynomial.legendre.leggauss(3)
    turns = 2.0 * np.pi * np.arange(5) / 5
    flat, total = stiffness.reshape(9, 9), np.zeros((9, 9))
    for cosine, weight in zip(cosines, weights, strict=True):
        tilt = _turn(np.arccos(cosine), 1)
        for a in turns:
            for b in turns:
                rotation = _turn(a, 2) @ tilt @ _turn(b, 2)
                pairs = np.kron(rotation, rotation)
                total += weight / 50.0 * pairs @ flat @ pairs.T
    return total.reshape(3, 3, 3, 3)


def _turn(angle: float, axis: int) -> Floats:
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def _frame(direction: Floats) -> Floats:
    """Rows of a right-handed frame whose third axis is `direction`."""
    third = direction / np.linalg.norm(direction)
    helper = np.eye(3)[np.argmin(np.abs(third))]
    first = np.cross(helper, third)
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(third, first), third])


def reuss_strain(compliance: Floats, normal: Floats, direction: Floats, stress: Floats, turns: int = 5) -> float:
    """Mean strain along `direction` of grains with `normal` along it, each under the macroscopic stress (GPa)."""
    crystal, laboratory = _frame(normal), _frame(direction)
    mean = np.zeros((3, 3))
    for angle in 2.0 * np.pi * np.arange(turns) / turns:
        to_crystal = crystal.T @ _turn(angle, 2) @ laboratory
        mean += to_crystal @ stress @ to_crystal.T / turns
    n = crystal[2]
    return float(np.einsum("i,j,ijkl,kl->", n, n, compliance, mean))


def voigt_strain(average_compliance: Floats, direction: Floats, stress: Floats) -> float:
    """Strain along `direction` of the aggregate under the macroscopic stress (GPa)."""
    g = direction / np.linalg.norm(direction)
    return float(np.einsum("i,j,ijkl,kl->", g, g, average_compliance, stress))


def axial_stress(differential_gpa: float) -> Floats:
    """Deviator of a compression along the third axis, compression positive."""
    return differential_gpa * (np.diag([0.0, 0.0, 1.0]) - np.eye(3) / 3.0)


def diffraction_vector(azimuth_deg: float, two_theta_deg: float) -> Floats:
    """Unit vector; azimuth 0 leans on the axis of compression (third axis), the beam runs along the second."""
    azimuth, theta = np.radians(azimuth_deg), np.radians(0.5 * two_theta_deg)
    return np.array([np.cos(theta) * np.sin(azimuth), -np.sin(theta), np.cos(theta) * np.cos(azimuth)])


def hexagonal_normal(hkl: tuple[int, int, int], axial_ratio: float) -> Floats:
    """Plane normal (h k l) of a hexagonal lattice with a = 1 in a Cartesian frame, length 1/d."""
    h, k, l = hkl  # noqa: E741 - Miller indices
    return np.array([h, (h + 2 * k) / np.sqrt(3.0), l / axial_ratio])
