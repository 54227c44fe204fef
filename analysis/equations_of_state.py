"""Equations of state of pressure markers and samples: Vinet at 300 K with a Mie-Grueneisen-Debye thermal pressure.

Pressure scales differ (5 GPa at 100 GPa between some): every result names the scale it rests on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from .estimate import Estimate
from .lattice_strain import SinghFit

Floats = NDArray[np.float64]

REFERENCE_K = 300.0
_BOLTZMANN_GPA_A3 = constants.k * 1e21  # J/m3 to GPa, A3 to m3
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(32)

EOS_ERROR = 0.01
D_SCALE_ERROR = 1e-4


@dataclass(frozen=True)
class MieGrueneisenDebye:
    """Vinet isotherm and Debye solid: `v0_a3` of the unit cell, `k0_gpa`, its pressure derivative, atoms in the cell.

    gamma = gamma0 [1 + a (x^b - 1)] with x = V/V0, theta = theta0 x^(-(1-a) gamma0) exp[(gamma0 - gamma)/b]. With a = 1
    this is gamma0 x^q, q = b; with a = 1 - gamma_inf/gamma0 it is the form of Al'tshuler. `scale` is the name that
    results carry.

    Source: Vinet et al., J. Geophys. Res. 92, 9319 (1987), doi:10.1029/JB092iB09p09319; Tange et al., J. Geophys. Res.
    114, B03208 (2009), doi:10.1029/2008JB005813.
    """

    scale: str
    v0_a3: float
    k0_gpa: float
    k0_prime: float
    atoms: int
    theta0_k: float
    gamma0: float
    a: float
    b: float

    def grueneisen(self, volume_a3: ArrayLike) -> Floats:
        """Grueneisen parameter at a volume."""
        x = np.asarray(volume_a3, dtype=float) / self.v0_a3
        return np.asarray(self.gamma0 * (1.0 + self.a * (x**self.b - 1.0)))

    def debye_temperature_k(self, volume_a3: ArrayLike) -> Floats:
        """Debye temperature in K at a volume."""
        x = np.asarray(volume_a3, dtype=float) / self.v0_a3
        power = x ** (-(1.0 - self.a) * self.gamma0)
        return np.asarray(self.theta0_k * power * np.exp((self.gamma0 - self.grueneisen(volume_a3)) / self.b))

    def cold_pressure(self, volume_a3: ArrayLike) -> Floats:
        """Pressure in GPa at 300 K."""
        y = np.cbrt(np.asarray(volume_a3, dtype=float) / self.v0_a3)
        return np.asarray(3.0 * self.k0_gpa * (1.0 - y) / y**2 * np.exp(1.5 * (self.k0_prime - 1.0) * (1.0 - y)))

    def thermal_pressure(self, volume_a3: ArrayLike, temperature_k: ArrayLike) -> Floats:
        """Pressure in GPa that heating from 300 K at constant volume adds."""
        volume = np.asarray(volume_a3, dtype=float)
        theta = self.debye_temperature_k(volume)
        energy = _debye_energy(temperature_k, theta) - _debye_energy(REFERENCE_K, theta)
        return np.asarray(self.grueneisen(volume) / volume * self.atoms * _BOLTZMANN_GPA_A3 * energy)

    def pressure(self, volume_a3: ArrayLike, temperature_k: ArrayLike = REFERENCE_K) -> Floats:
        """Pressure in GPa, arrays broadcast.

        Raises:
            ValueError: a volume or temperature is not positive.
        """
        volume, temperature = np.asarray(volume_a3, dtype=float), np.asarray(temperature_k, dtype=float)
        if np.any(volume <= 0) or np.any(temperature <= 0):
            raise ValueError(f"{self.scale}: volume and temperature must be positive: {volume} A3, {temperature} K")
        return np.asarray(self.cold_pressure(volume) + self.thermal_pressure(volume, temperature))

    def volume(self, pressure_gpa: ArrayLike, temperature_k: ArrayLike = REFERENCE_K) -> Floats:
        """Volume of the cell in A3, arrays broadcast.

        Raises:
            ValueError: no volume between 0.4 and 1.15 V0 gives that pressure.
        """
        target, temperature = np.broadcast_arrays(
            np.asarray(pressure_gpa, dtype=float), np.asarray(temperature_k, dtype=float)
        )
        low, high = np.full(target.shape, 0.4 * self.v0_a3), np.full(target.shape, 1.15 * self.v0_a3)
        inside = (self.pressure(low, temperature) >= target) & (self.pressure(high, temperature) <= target)
        if not np.all(inside):
            raise ValueError(f"{self.scale}: no volume within 0.4-1.15 V0 for {target} GPa at {temperature} K")
        for _ in range(8):  # bisection until Newton's method cannot run away
            middle = 0.5 * (low + high)
            above = self.pressure(middle, temperature) > target
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        volume = 0.5 * (low + high)
        for _ in range(4):
            excess = self.pressure(volume, temperature) - target
            volume = volume * (1.0 + excess / self.bulk_modulus(volume, temperature))
        return np.asarray(volume)

    def bulk_modulus(self, volume_a3: ArrayLike, temperature_k: ArrayLike = REFERENCE_K) -> Floats:
        """Isothermal bulk modulus in GPa."""
        volume, step = np.asarray(volume_a3, dtype=float), 1e-4
        fall = self.pressure(volume * (1 - step), temperature_k) - self.pressure(volume * (1 + step), temperature_k)
        return np.asarray(fall / (2.0 * step))


def _debye_energy(temperature_k: ArrayLike, theta_k: ArrayLike) -> Floats:
    """Thermal energy of a Debye solid per atom over the Boltzmann constant, in K."""
    temperature, theta = np.broadcast_arrays(np.asarray(temperature_k, dtype=float), np.asarray(theta_k, dtype=float))
    x = np.minimum(theta / temperature, 60.0)[..., None]  # the integrand is below 1e-20 beyond 60
    t = 0.5 * x * (_NODES + 1.0)
    integral = np.sum(_NODE_WEIGHTS * t**3 / np.expm1(t), axis=-1) * 0.5 * x[..., 0]
    return np.asarray(9.0 * temperature * (temperature / theta) ** 3 * integral)


MGO_TANGE2009 = MieGrueneisenDebye("MgO Tange 2009 (Vinet)", 74.698, 160.63, 4.367, 8, 761.0, 1.442, 0.138, 5.4)
"""MgO, 4 formula units. Source: doi:10.1029/2008JB005813; digits not verified there."""

HCP_FE_DEWAELE2006 = MieGrueneisenDebye(
    "hcp-Fe Dewaele 2006 (no electronic term)", 22.428, 163.4, 5.38, 2, 417.0, 1.875, 1.0 - 1.305 / 1.875, 3.289
)
"""hcp-Fe, its electronic and anharmonic terms left out. Source: doi:10.1103/PhysRevLett.97.215504; not verified."""

AU_FEI2007 = MieGrueneisenDebye("Au Fei 2007", 67.850, 167.0, 6.00, 4, 170.0, 2.97, 1.0, 0.6)
"""Gold. Source: Fei et al. 2007, doi:10.1073/pnas.0609013104; digits not verified."""

PT_FEI2007 = MieGrueneisenDebye("Pt Fei 2007", 60.38, 277.0, 5.08, 4, 230.0, 2.72, 1.0, 0.5)
"""Platinum. Source: Fei et al. 2007, doi:10.1073/pnas.0609013104; digits not verified."""

NACL_B2_FEI2007 = MieGrueneisenDebye("NaCl-B2 Fei 2007", 41.35, 26.86, 5.25, 2, 290.0, 1.70, 1.0, 0.5)
"""NaCl in the CsCl structure. Source: Fei et al. 2007, doi:10.1073/pnas.0609013104; digits not verified."""


def marker_pressure(
    fit: SinghFit,
    hkl: Sequence[tuple[int, int, int]],
    temperature_k: float,
    *,
    temperature_error_k: float = 0.0,
    temperature_systematic_k: float = 0.0,
    strain_error: ArrayLike | None = None,
    d_scale_error: float = D_SCALE_ERROR,
    eos: MieGrueneisenDebye = MGO_TANGE2009,
    eos_error: float = EOS_ERROR,
) -> Estimate:
    """Pressure from the lines of a cubic marker, whose own stress the lattice-strain fit has already removed.

    Args:
        fit: lattice strains of the marker's lines: `d_p` of each is the spacing under the mean stress.
        hkl: Miller indices of the same lines.
        temperature_k: temperature of the marker with its statistical and systematic standard uncertainties.
        temperature_error_k: statistical.
        temperature_systematic_k: systematic.
        strain_error: (n_det,) standard uncertainty of the relative spacing that each detector reads (two theta).
        d_scale_error: relative standard uncertainty of all spacings together (position of the sample on the beam).
        eos: equation of state of the marker.
        eos_error: relative standard uncertainty of the scale's pressure.

    Returns:
        `pressure` in GPa, `volume` in A3, `lattice_parameter` in angstrom; `scale` names the equation of state.

    Raises:
        ValueError: no line was fitted, or the number of indices does not match the fit.
    """
    a, error, angle_error, chi2_red, points = _cubic_parameter(fit, hkl, strain_error)
    volume = a**3
    pressure = float(eos.pressure(volume, temperature_k))
    per_strain = -3.0 * float(eos.bulk_modulus(volume, temperature_k))
    per_kelvin = float(eos.pressure(volume, temperature_k + 1.0) - eos.pressure(volume, temperature_k - 1.0)) / 2.0
    relative, systematic = error / a, float(np.hypot(angle_error / a, d_scale_error))
    transform = np.array([[per_strain, per_kelvin], [3.0 * volume, 0.0], [a, 0.0]])
    covariance = transform @ np.diag([relative**2, temperature_error_k**2]) @ transform.T
    terms = transform * np.array([systematic, temperature_systematic_k])
    total = np.sqrt(np.sum(terms**2, axis=1) + np.array([(eos_error * pressure) ** 2, 0.0, 0.0]))
    return Estimate(
        names=("pressure", "volume", "lattice_parameter"),
        values=np.array([pressure, volume, a]),
        covariance=covariance,
        systematic=total,
        units=("GPa", "angstrom^3", "angstrom"),
        model="cubic marker, lattice strain removed",
        chi2_red=chi2_red,
        n_points=points,
        scale=eos.scale,
    )


def _cubic_parameter(
    fit: SinghFit, hkl: Sequence[tuple[int, int, int]], strain_error: ArrayLike | None
) -> tuple[float, float, float, float, int]:
    """Lattice parameter, its statistical and angle errors, chi squared between the lines, points used."""
    if len(hkl) != len(fit.d_p):
        raise ValueError(f"marker_pressure needs one hkl for each of {len(fit.d_p)} lines, got {len(hkl)}")
    use = np.isfinite(fit.d_p) & np.isfinite(fit.d_p_error)
    if not use.any():
        raise ValueError("no marker line was found in three or more detectors at different angles: no pressure")
    root = np.sqrt(np.sum(np.asarray(hkl, dtype=float) ** 2, axis=1))[use]
    each, error = fit.d_p[use] * root, fit.d_p_error[use] * root
    weight = 1.0 / error**2
    a = float(weight @ each / weight.sum())
    degrees = max(len(each) - 1, 1)
    chi2_red = float(weight @ (each - a) ** 2) / degrees
    excess = chi2_red if chi2_red > 1.0 + 3.0 * np.sqrt(2.0 / degrees) else 1.0
    sensitivity = (weight / weight.sum() * root) @ fit.sensitivity[use, 0]
    drift = 0.0 if strain_error is None else np.nan_to_num(np.asarray(strain_error, dtype=float))
    angle_error = float(np.sqrt(np.sum((sensitivity * drift) ** 2)))
    return a, float(np.sqrt(excess / weight.sum())), angle_error, chi2_red, int(fit.n_points[use].sum())
