"""What the beam meets: sample, standard and assembly behind slits, on a stage, at a time."""

import math

from .beam import REFERENCE_GAP_MM, Beam
from .diffraction import Scene, lit_length
from .motion import Axis
from .parameters import Parameters
from .press import Press
from .radiograph import CENTRE, View
from .state import State
from .systematics import Cell, Systematics
from .trajectory import Trajectory

STANDARD_MM = (0.4, 0.6)  # width and height of the standard [S]
ASSEMBLY_MM = 0.8  # width and height of what scatters without lines [S]
DEPTH_MM = 0.8  # along the beam, standard deviation of what the receiving slits see [S]


class Sight:
    """Stage, slits and beam, and how the two kinds of exposure see the cell through them."""

    def __init__(self, p: Parameters, cell: Cell, errors: Systematics, trajectory: Trajectory) -> None:
        self.p, self.cell, self.errors, self.trajectory = p, cell, errors, trajectory
        self.press: Press = trajectory.press
        self.beam = Beam(p, cell.drift_phases)
        self.stage = {axis: Axis(f"stage {axis}", 0.0, -50.0, 50.0) for axis in "xyz"}
        self.slits = {axis: Axis(f"slit {axis}", p.slit_gap_mm, 0.0, 10.0) for axis in "hv"}

    def offset_mm(self, time_s: float, s: State) -> tuple[float, float, float]:
        """Sample off the beam: across, up, along. A move of the stage by +1 mm moves the sample by +1 mm."""
        x, y, z = self.press.sample_position_mm(s)
        across, up = self.beam.drift_um(time_s)
        stage = [self.stage[axis].position(time_s) for axis in "xyz"]
        return x + stage[0] + 1e-3 * across, y + stage[1] + 1e-3 * up, z + stage[2]

    def seen_length_um(self, s: State) -> float:
        """Distance of the foils as they lie: bent, they change by (1 + g) times the strain."""
        strain = self.trajectory.strain(s)
        return self.p.foil_separation_um * math.exp(-strain * (1.0 + self.errors.foil_bending))

    def scene(self, start_s: float, stop_s: float, sample_k: float) -> Scene:
        """Means over an exposure, and lit areas at its middle."""
        a, b = self.trajectory.at(start_s), self.trajectory.at(stop_s)
        middle, span = 0.5 * (start_s + stop_s), stop_s - start_s
        s = self.trajectory.at(middle)
        x, y, z = self.offset_mm(middle, s)
        wide, tall = (self.slits[axis].position(middle) for axis in "hv")
        deep = math.exp(-0.5 * (z / DEPTH_MM) ** 2)
        aside = self.stage["x"].position(middle) - self.p.standard_x_mm
        intensity, lit = self.beam.on_target(start_s, stop_s)
        unit = REFERENCE_GAP_MM**2
        length = 1e-3 * self.seen_length_um(s) - 1e-3 * self.p.foil_thickness_um
        radius = 1e-3 * self.p.sample_radius_um
        standard = lit_length(aside, wide, STANDARD_MM[0]) * lit_length(
            self.stage["y"].position(middle), tall, STANDARD_MM[1]
        )
        return Scene(
            pressure_gpa=(b.sum_pressure - a.sum_pressure) / span,
            temperature_k=sample_k,
            stress_gpa=(b.sum_stress - a.sum_stress) / span,
            texture_strain=self.p.texture_strength * s.plastic,
            sample_area=deep * lit_length(x, wide, 2.0 * radius) * lit_length(y, tall, length) / unit,
            standard_area=standard / unit,
            background_area=min(wide, ASSEMBLY_MM) * min(tall, ASSEMBLY_MM) / unit,
            intensity=intensity,
            lit_s=lit,
            real_s=span,
        )

    def view(self, start_s: float, exposure_s: float, flicker: float) -> View:
        """What the camera sees at the middle of an exposure."""
        t = start_s + 0.5 * exposure_s
        s = self.trajectory.at(t)
        x, y, _ = self.offset_mm(t, s)
        intensity, lit = self.beam.on_target(start_s, start_s + exposure_s)
        return View(
            x_um=1e3 * x,
            y_um=1e3 * y,
            separation_um=self.seen_length_um(s),
            radius_um=self.p.sample_radius_um * math.exp(0.5 * s.plastic),
            tilt=self.cell.foil_tilt,
            horizontal_mm=self.slits["h"].position(t),
            vertical_mm=self.slits["v"].position(t),
            beam_centre_px=CENTRE + 5.0 * math.sin(t / 5200.0 + self.cell.drift_phases[3]),
            photons=self.p.camera_counts_per_s * intensity * lit * flicker,
        )
