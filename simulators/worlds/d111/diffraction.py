"""Energy-dispersive diffraction of the gauge volume into ten germanium elements at a fixed angle."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.constants import c, e, h

from . import crystals
from .counting import counts
from .equations_of_state import BCC_IRON, HCP_IRON, MGO, Solid
from .parameters import N_ELEMENTS, Parameters
from .systematics import SAMPLE_LINES, Systematics, stream
from .texture import Texture

Floats = NDArray[np.float64]
HC_KEV_A = h * c / e * 1e7
N_CHANNELS = 2048
TWO_THETA_DEG = 6.5
AXIAL_RATIO = 1.605  # c/a of hcp iron [S], taken as constant
AMBIENT_MGO_A = 4.2117
AZIMUTHS_DEG = (*(22.5 * i for i in range(9)), 270.0)

# germanium: electronic width (keV), 2.355^2 F epsilon (keV), share of the energy that the receiving slits add [S]
WIDTH_KEV, WIDTH_FANO_KEV, WIDTH_DIVERGENCE = 0.15, 2.355**2 * 0.13 * 2.96e-3, 0.003

HCP_LINES = {"100": 25.0, "002": 28.0, "101": 100.0, "102": 13.0, "110": 14.0, "103": 15.0}
MGO_LINES = {"111": 12.0, "200": 80.0, "220": 45.0}
BCC_LINES = {"110": 100.0, "200": 14.0, "211": 20.0}
FLUORESCENCE = ((65.12, 20.0), (66.83, 35.0), (75.75, 12.0))  # K lines of the platinum foils, keV and strength
BACKGROUND_COUNTS_PER_S = 350.0  # through 0.2 x 0.2 mm [S]
BCC_TO_HCP_GPA, BCC_TO_HCP_WIDTH_GPA = 14.0, 0.7

# GPa, hcp iron at 20 GPa and MgO at 25 GPa (not verified); both follow the shear modulus of iron
HCP_STIFFNESS = (670.0, 240.0, 230.0, 720.0, 165.0)
MGO_STIFFNESS = (500.0, 130.0, 175.0)
BCC_STIFFNESS = (330.0, 190.0, 140.0)


def shear_modulus_ratio(pressure_gpa: float, temperature_k: float) -> float:
    """Shear modulus of hcp iron over that at 20 GPa and 300 K [S]."""
    return (116.0 + 2.0 * (pressure_gpa - 20.0) - 2.5e-2 * (temperature_k - 300.0)) / 116.0


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """What the beam meets during one exposure."""

    pressure_gpa: float
    temperature_k: float
    stress_gpa: float
    texture_strain: float
    sample_area: float  # lit areas, in units of the 0.2 x 0.2 mm beam
    standard_area: float
    background_area: float
    intensity: float  # relative to full ring current
    lit_s: float
    real_s: float


class Phase:
    """Lines of one crystalline phase, and how they shift per GPa of differential stress seen by each element."""

    def __init__(self, lines: dict[str, float], solid: Solid, stiffness: Floats, hexagonal: bool) -> None:
        self.hkl = [(int(name[0]), int(name[1]), int(name[2])) for name in lines]
        self.strength = np.array(list(lines.values()))
        self.solid = solid
        ratio = AXIAL_RATIO if hexagonal else 1.0
        if hexagonal:
            self.normals = np.array([crystals.hexagonal_normal(hkl, ratio) for hkl in self.hkl])
        else:
            self.normals = np.array(self.hkl, dtype=float)
        self.cell_shape = ratio * math.sqrt(3.0) / 2.0 if hexagonal else 1.0  # V / a^3
        self._compliance = crystals.compliance_tensor(stiffness)
        self._average = crystals.compliance_tensor(crystals.average_stiffness(stiffness))

    def spacings(self, volume_a3: float) -> Floats:
        """Lattice spacings (A) without differential stress."""
        a = (volume_a3 / self.cell_shape) ** (1.0 / 3.0)
        return np.asarray(a / np.linalg.norm(self.normals, axis=1))

    def shifts(self, vectors: list[Floats], reuss_weight: float) -> Floats:
        """Compressive lattice strain (elements, lines) per GPa of differential stress."""
        stress = crystals.axial_stress(1.0)
        reuss = [[crystals.reuss_strain(self._compliance, n, g, stress) for n in self.normals] for g in vectors]
        voigt = [crystals.voigt_strain(self._average, g, stress) for g in vectors]
        return reuss_weight * np.array(reuss) + (1.0 - reuss_weight) * np.array(voigt)[:, None]


class Spectrometer:
    """Ten elements of 2048 channels behind slits at one nominal angle."""

    def __init__(self, p: Parameters, errors: Systematics, seed: int) -> None:
        self.p, self.errors = p, errors
        rng = stream(seed, "spectrometer")
        self.offset = rng.uniform(0.05, 0.14, N_ELEMENTS)
        self.slope = rng.uniform(0.0646, 0.0650, N_ELEMENTS)
        self.quad = rng.uniform(1e-8, 8e-8, N_ELEMENTS)
        self.efficiency = rng.uniform(0.7, 1.3, N_ELEMENTS)
        self.efficiency[list(p.dead_elements)] = 0.0
        self.two_theta = TWO_THETA_DEG + np.array(errors.two_theta_error_deg)
        channels = np.arange(N_CHANNELS, dtype=float)
        energy = self.offset[:, None] + channels * (self.slope[:, None] + channels * self.quad[:, None])
        self._background = _background(energy) * self.slope[:, None] * self.efficiency[:, None]
        self._vectors = [crystals.diffraction_vector(a, t) for a, t in zip(AZIMUTHS_DEG, self.two_theta, strict=True)]
        self._psi_cosine = np.array([g[2] for g in self._vectors])
        self._build_phases(rng)

    def _build_phases(self, rng: np.random.Generator) -> None:
        stiffness = crystals.hexagonal(*HCP_STIFFNESS) * (1.0 + self.errors.elastic_scale)
        self.hcp = Phase(HCP_LINES, HCP_IRON, stiffness, hexagonal=True)
        self.bcc = Phase(BCC_LINES, BCC_IRON, crystals.cubic(*BCC_STIFFNESS), hexagonal=False)
        self.mgo = Phase(MGO_LINES, MGO, crystals.cubic(*MGO_STIFFNESS), hexagonal=False)
        weight = self.errors.reuss_weight
        self._hcp_shifts = self.hcp.shifts(self._vectors, weight) * np.array(self.errors.slip_factor)
        self._bcc_shifts = self.bcc.shifts(self._vectors, weight)
        self._mgo_shifts = self.mgo.shifts(self._vectors, weight) * self.p.marker_stress_share
        self._tilt = np.abs(self.hcp.normals[:, 2]) / np.linalg.norm(self.hcp.normals, axis=1)
        self._grains = np.exp(self.p.graininess * rng.standard_normal((N_ELEMENTS, len(SAMPLE_LINES))))

    def calibration(self) -> dict[str, list[float]]:
        """What the beamline believes: true for the energies, nominal for the angles."""
        return {
            "azimuth_deg": list(AZIMUTHS_DEG),
            "two_theta_deg": [TWO_THETA_DEG] * N_ELEMENTS,
            "offset_kev": self.offset.tolist(),
            "slope_kev": self.slope.tolist(),
            "quad_kev": self.quad.tolist(),
        }

    def expose(self, scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats, float]:
        """Counts (10, 2048), live time (10,) in s and real time in s, with dead time, pile-up and counting noise."""
        rate = self._rates(scene)
        total = rate.sum(axis=1)
        alive = np.exp(-total * self.p.dead_time_s)  # extending dead time
        live = scene.real_s - scene.lit_s * (1.0 - alive)
        expected = self._piled_up(rate, total) * (scene.lit_s * alive)[:, None]
        return counts(expected, rng).astype(np.int64), live, scene.real_s

    def _rates(self, scene: Scene) -> Floats:
        """Rate per channel (1/s) that reaches the elements."""
        rate = self._background * (scene.background_area * scene.intensity)
        if scene.intensity <= 0:
            return rate
        sample = self.p.strongest_line_counts_per_s / 100.0 * scene.sample_area * scene.intensity
        if sample > 1e-4:
            spacings, strengths = self._sample_lines(scene)
            self._add_lines(rate, HC_KEV_A / (2.0 * spacings * self._sines()), strengths * sample)
            energy, strength = np.array(FLUORESCENCE).T
            self._add_lines(rate, np.tile(energy, (N_ELEMENTS, 1)), np.tile(strength * sample, (N_ELEMENTS, 1)))
        standard = self.p.strongest_line_counts_per_s / 100.0 * scene.standard_area * scene.intensity
        if standard > 1e-4:
            spacings = np.tile(self.mgo.spacings(AMBIENT_MGO_A**3), (N_ELEMENTS, 1))
            energy = HC_KEV_A / (2.0 * spacings * self._sines())
            self._add_lines(rate, energy, incident(energy) * self.mgo.strength * standard)
        return rate

    def _sines(self) -> Floats:
        return np.sin(np.radians(0.5 * self.two_theta))[:, None]

    def _sample_lines(self, scene: Scene) -> tuple[Floats, Floats]:
        """Spacings and strengths (elements, lines) of iron and of the marker."""
        pressure, kelvin = scene.pressure_gpa, scene.temperature_k
        per_gpa = scene.stress_gpa / shear_modulus_ratio(pressure, kelvin)
        share = 1.0 / (1.0 + math.exp(-(pressure - BCC_TO_HCP_GPA) / BCC_TO_HCP_WIDTH_GPA))
        marked = pressure / (1.0 + self.errors.eos_scale)
        hcp = self.hcp.spacings(self.hcp.solid.volume(pressure, kelvin)) * (1.0 - per_gpa * self._hcp_shifts)
        mgo = self.mgo.spacings(self.mgo.solid.volume(marked, kelvin)) * (1.0 - per_gpa * self._mgo_shifts)
        poles = Texture(scene.texture_strain).pole_density(self._tilt, self._psi_cosine)
        spacings = [hcp, mgo]
        strengths = [share * self.hcp.strength * poles * self._grains, np.tile(self.mgo.strength, (N_ELEMENTS, 1))]
        if share < 0.999:
            bcc = self.bcc.spacings(self.bcc.solid.volume(pressure, kelvin))
            spacings.append(bcc * (1.0 - per_gpa * self._bcc_shifts))
            strengths.append(np.tile((1.0 - share) * self.bcc.strength, (N_ELEMENTS, 1)))
        d = np.hstack(spacings) * (1.0 + self.errors.d_scale)
        return d, np.hstack(strengths) * incident(HC_KEV_A / (2.0 * d * self._sines()))

    def _add_lines(self, rate: Floats, energy_kev: Floats, strength: Floats) -> None:
        """Add Gaussian peaks of the detector's width, each within five standard deviations."""
        offset, slope, quad = self.offset[:, None], self.slope[:, None], self.quad[:, None]
        rise = np.sqrt(slope**2 + 4.0 * quad * (energy_kev - offset))  # keV per channel at the peak
        centre = 2.0 * (energy_kev - offset) / (slope + rise)
        width = (
            np.sqrt(WIDTH_KEV**2 + WIDTH_FANO_KEV * energy_kev + (WIDTH_DIVERGENCE * energy_kev) ** 2) / 2.3548 / rise
        )
        reach = math.ceil(5.0 * float(width.max()))
        first = np.clip(np.rint(centre).astype(int), reach, N_CHANNELS - 1 - reach) - reach
        channels = first[:, :, None] + np.arange(2 * reach + 1)
        peak = np.exp(-0.5 * ((channels - centre[:, :, None]) / width[:, :, None]) ** 2)
        peak *= (strength * self.efficiency[:, None] / (width * math.sqrt(2.0 * math.pi)))[:, :, None]
        index = channels + (N_CHANNELS * np.arange(N_ELEMENTS))[:, None, None]
        rate += np.bincount(index.ravel(), peak.ravel(), N_ELEMENTS * N_CHANNELS).reshape(N_ELEMENTS, N_CHANNELS)

    def _piled_up(self, rate: Floats, total: Floats) -> Floats:
        """Two photons within the resolving time count once, at the sum of their channels: a smooth continuum."""
        share = -np.expm1(-total * self.p.pile_up_time_s)
        coarse = rate.reshape(N_ELEMENTS, -1, 16).sum(axis=2)
        spectrum = np.fft.rfft(coarse, 2 * coarse.shape[1])
        pairs = np.fft.irfft(spectrum * spectrum)[:, : coarse.shape[1]] / np.maximum(total, 1e-9)[:, None]
        pairs = np.maximum(pairs, 0.0).repeat(16, axis=1) / 16.0
        return np.asarray(rate * (1.0 - share)[:, None] + pairs * (0.5 * share)[:, None])


def incident(energy_kev: Floats) -> Floats:
    """White beam at the sample relative to its maximum at 60 keV [S]."""
    return np.asarray(np.exp(-0.5 * (np.log(energy_kev / 60.0) / 0.5) ** 2))


def _background(energy_kev: Floats) -> Floats:
    """Scattering of the assembly, counts/s/keV through the reference slits, with the cut of the windows at 20 keV."""
    shape = incident(np.maximum(energy_kev, 1.0)) / (1.0 + np.exp(-(energy_kev - 20.0) / 2.0))
    return np.asarray(BACKGROUND_COUNTS_PER_S * shape / 70.0)


def lit_length(offset_mm: float, gap_mm: float, size_mm: float, blur_mm: float = 0.02) -> float:
    """Length (mm) of a body of some size, `offset_mm` off the axis, that a gap with blurred edges lights."""
    half, body = 0.5 * gap_mm, 0.5 * size_mm
    edges = (half - offset_mm + body, half - offset_mm - body, -half - offset_mm + body, -half - offset_mm - body)
    a, b, c_, d = (_ramp(edge, blur_mm) for edge in edges)
    return max(0.0, a - b - c_ + d)


def _ramp(x: float, blur: float) -> float:
    """Integral of a blurred step."""
    u = x / blur
    return blur * (u * 0.5 * (1.0 + math.erf(u / math.sqrt(2.0))) + math.exp(-0.5 * u * u) / math.sqrt(2.0 * math.pi))
