"""What nature keeps to itself: terms drawn once per run from the seed, never readable by an instrument."""

import dataclasses
import hashlib
import math

import numpy as np

from .parameters import N_ELEMENTS, Parameters

SAMPLE_LINES = ("100", "002", "101", "102", "110", "103")


def stream(seed: int, name: str) -> np.random.Generator:
    """A random stream of its own for one purpose, so that a new draw elsewhere shifts nothing here."""
    digest = hashlib.blake2b(f"d111/{seed}/{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


@dataclasses.dataclass(frozen=True, slots=True)
class Systematics:
    """Systematic terms of one run, as relative errors unless the name carries a unit."""

    emf_scale: float
    axial_gradient: float
    cold_junction_offset_k: float
    controller_offset_k: float
    two_theta_error_deg: tuple[float, ...]
    d_scale: float
    eos_scale: float
    elastic_scale: float
    reuss_weight: float
    slip_factor: tuple[float, ...]  # per line of SAMPLE_LINES, about 1
    foil_bending: float


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """How this particular cell was built and how it behaves: found out by measuring, not an error of measurement."""

    ram_efficiency: float
    ram_efficiency_growth: float
    misalignment_mm: tuple[float, float, float]
    settling_mm: tuple[float, float]
    foil_tilt: float
    drift_phases: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class BlowOut:
    """How a blow-out of this run would go, and the hazard at which it comes."""

    threshold: float
    stroke_jump_mm: float
    load_loss: float
    heater_opens: bool
    excursion_k: float
    breaks_sensor: bool


def draw_systematics(seed: int, p: Parameters) -> Systematics:
    """The table of systematic terms, each scaled by `systematic_scale`."""
    rng, scale = stream(seed, "systematics"), p.systematic_scale

    def normal(sigma: float) -> float:
        return scale * sigma * float(rng.standard_normal())

    return Systematics(
        emf_scale=normal(0.005),
        axial_gradient=normal(0.01),
        cold_junction_offset_k=normal(0.5),
        controller_offset_k=normal(0.5),
        two_theta_error_deg=tuple(normal(0.01) for _ in range(N_ELEMENTS)),
        d_scale=normal(1e-4),
        eos_scale=normal(0.01),
        elastic_scale=normal(0.05),
        reuss_weight=0.5 + scale * float(rng.uniform(-0.2, 0.2)),
        slip_factor=tuple(1.0 + normal(0.05) for _ in SAMPLE_LINES),
        foil_bending=normal(0.005),
    )


def draw_cell(seed: int, p: Parameters) -> Cell:
    """Efficiency of the rams, misalignment and settling of the cell."""
    rng = stream(seed, "cell")
    spread = p.ram_efficiency_spread
    settling = float(rng.uniform(*p.settling_mm)) * _sign(rng)
    return Cell(
        ram_efficiency=p.ram_efficiency * (1.0 + float(rng.uniform(-spread, spread))),
        ram_efficiency_growth=float(rng.uniform(*p.ram_efficiency_growth)),
        misalignment_mm=tuple(p.misalignment_mm * float(v) for v in rng.standard_normal(3)),  # type: ignore[arg-type]
        settling_mm=(0.3 * settling * _sign(rng), settling),
        foil_tilt=1e-3 * float(rng.standard_normal()),
        drift_phases=tuple(float(v) for v in rng.uniform(0.0, 2 * math.pi, 8)),
    )


def draw_blow_out(seed: int) -> BlowOut:
    """Signature of a blow-out: stroke jump 0.2-2 mm, load -2..-30 %, heater open or short, excursion 50-400 K."""
    rng = stream(seed, "blow-out")
    return BlowOut(
        threshold=float(rng.exponential()),
        stroke_jump_mm=float(rng.uniform(0.2, 2.0)),
        load_loss=float(rng.uniform(0.02, 0.30)),
        heater_opens=bool(rng.random() < 0.5),
        excursion_k=float(rng.uniform(50.0, 400.0)) * _sign(rng),
        breaks_sensor=bool(rng.random() < 0.5),
    )


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0
