"""Light from the cell: thermal radiation of both surfaces, a lamp in their place, ruby, and the anvil's Raman band.

All as electrons per second and nm in one fibre of the spectrograph, before its grating and its camera.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import constants

from .parameters import Parameters

Floats = NDArray[np.float64]

RINGS = 6
RADIATION_1 = 2.0 * constants.h * constants.c**2
RADIATION_2 = constants.h * constants.c / constants.k
COLLECTED = 2.4e-7
"""Electrons per second and nm, of one W m^-3 sr^-1 where the system responds best."""
R1_SHARE, R2_SHARE, LORENTZIAN = 1.0, 0.62, 0.6
R2_DISTANCE_NM = 1.44
EDGE_WIDTH = 6.0
"""cm^-1 over which the anvil's band falls."""
UNSTRESSED = 1334.0
PEN_LAMP: Mapping[float, float] = MappingProxyType(
    {
        546.0735: 2.0,
        576.9598: 0.6,
        579.0663: 0.6,
        585.2488: 1.0,
        588.1895: 0.5,
        594.4834: 0.6,
        597.5534: 0.3,
        602.9997: 0.3,
        607.4338: 0.6,
        609.6163: 0.7,
        614.3063: 1.0,
        616.3594: 0.5,
        621.7281: 0.4,
        626.6495: 0.6,
        630.4789: 0.3,
        633.4428: 0.8,
        638.2991: 1.0,
        640.2248: 1.6,
        650.6528: 1.2,
        653.2882: 0.6,
        659.8953: 0.6,
        667.8277: 0.9,
        671.7043: 0.6,
        692.9467: 1.0,
        702.4050: 0.4,
        703.2413: 1.5,
        717.3938: 0.8,
        724.5167: 1.0,
        743.8898: 0.5,
        748.8871: 0.2,
    }
)
"""Lines of mercury and neon (nm in air, NIST) and their strengths, which are about those of a pencil lamp."""


@dataclass(frozen=True)
class Terms:
    """What is so of this cell and this optics."""

    emissivity_slope_per_um: float
    lamp_k: float
    gauge_scale: float
    """Pressure at the gauge relative to that of the sample."""


class Light:
    """Spectra at wavelengths (n,) in nm."""

    def __init__(self, p: Parameters, terms: Terms) -> None:
        self._p, self.terms = p, terms

    def seen_k(self, peak_k: Floats) -> Floats:
        """Temperatures (..., 6) of rings of one area within the aperture, from those at the centres."""
        p = self._p
        shares = (np.arange(RINGS) + 0.5) / RINGS
        radius_um = 0.5 * p.aperture_um * np.sqrt(shares)
        rise = np.asarray(peak_k)[..., None] - p.room_temperature_k
        return np.asarray(p.room_temperature_k + rise * np.exp(-((radius_um / p.spot_um) ** 2)))

    def thermal(self, nm: Floats, peak_k: float, side: int) -> Floats:
        """Of a surface, seen through an aperture: colder outside."""
        grey = self._p.emissivity * (1.0 + self.terms.emissivity_slope_per_um * (nm / 1e3 - 0.7))
        kelvin = self.seen_k(np.array(peak_k))[:, None]
        return np.asarray(grey * self._collected(nm, side) * _black(nm, kelvin).mean(axis=0))

    def lamp(self, nm: Floats, side: int) -> Floats:
        """Of a tungsten lamp at the sample's place, dimmed to the brightness of a sample."""
        return np.asarray(
            self._p.emissivity * self._collected(nm, side) * _black(nm, np.array([[self.terms.lamp_k]]))[0]
        )

    def pen_lamp(self, nm: Floats) -> Floats:
        """Of a pencil lamp of mercury and neon: each line lies between two pixels."""
        spectrum = np.zeros(len(nm))
        for line, strength in PEN_LAMP.items():
            if not nm[0] < line < nm[-1]:
                continue
            after = int(np.searchsorted(nm, line))
            share = (line - nm[after - 1]) / (nm[after] - nm[after - 1])
            spectrum[after - 1 : after + 1] += strength * np.array([1.0 - share, share])
        return np.asarray(self._p.pen_lamp_per_s * spectrum / np.gradient(nm))

    def ruby(self, nm: Floats, cold_gpa: float) -> Floats:
        """Both lines at the pressure of the gauge, cold."""
        p = self._p
        r1 = p.ruby_nm * (1.0 + shift_of(cold_gpa * self.terms.gauge_scale))
        width = p.ruby_width_nm + p.ruby_width_nm_per_gpa * cold_gpa
        lines = R1_SHARE * _line(nm, r1, width) + R2_SHARE * _line(nm, r1 - R2_DISTANCE_NM, width)
        return np.asarray(p.ruby_per_s * lines / self._per_nm(r1))

    def anvil(self, nm: Floats, cold_gpa: float) -> Floats:
        """First-order Raman band of the anvil, which ends at its stressed tip."""
        p = self._p
        shift = 1e7 / p.excitation_nm - 1e7 / nm
        edge = edge_of(cold_gpa * self.terms.gauge_scale)
        band = _step((shift - UNSTRESSED) / EDGE_WIDTH) * _step((edge - shift) / EDGE_WIDTH)
        slope = 1.0 - 0.4 * np.clip((shift - UNSTRESSED) / max(edge - UNSTRESSED, 1.0), 0.0, 1.0)
        return np.asarray(p.edge_per_s * (0.05 + band * slope) / self._per_nm(550.0))

    def _collected(self, nm: Floats, side: int) -> Floats:
        """Response of the whole system: another one for each side."""
        middle, width = (705.0, 160.0) if side == 0 else (720.0, 150.0)
        ripple = 1.0 + 0.03 * np.sin(nm / 23.0 + 1.3 * side)
        return np.asarray(COLLECTED * self._p.throughput * np.exp(-(((nm - middle) / width) ** 2)) * ripple)

    def _per_nm(self, nm: float) -> float:
        """Pixels are about so wide with a grating for lines (nm)."""
        return 1e6 / 1200.0 / self._p.focal_mm * self._p.pixel_um / 1e3


def shift_of(gpa: float) -> float:
    """Relative shift of R1 by Ruby2020, P = 1870 x (1 + 5.63 x) (doi:10.1080/08957959.2020.1791107)."""
    return (math.sqrt(1.0 + 4.0 * 5.63 * gpa / 1870.0) - 1.0) / (2.0 * 5.63)


def edge_of(gpa: float) -> float:
    """cm^-1 of the anvil's edge, P = 547 x (1 + 1.375 x) (doi:10.1063/1.2335683)."""
    return UNSTRESSED * (1.0 + (math.sqrt(1.0 + 4.0 * 1.375 * gpa / 547.0) - 1.0) / (2.0 * 1.375))


def _black(nm: Floats, kelvin: Floats) -> Floats:
    metre = 1e-9 * nm
    return np.asarray(RADIATION_1 / metre**5 / np.expm1(RADIATION_2 / (metre * kelvin)))


def _line(nm: Floats, centre: float, width: float) -> Floats:
    off = 2.0 * (nm - centre) / width
    return np.asarray(LORENTZIAN / (1.0 + off**2) + (1.0 - LORENTZIAN) * np.exp(-math.log(2.0) * off**2))


def _step(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(x)))
