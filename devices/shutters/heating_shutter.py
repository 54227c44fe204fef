"""The shutter of heating lasers behind EPICS records, with a box that closes it by itself."""

from typing import ClassVar

from ophyd import Component as Cpt
from ophyd import Kind

from ..errors import Refused
from ..instrument import Reading, Setpoint
from ..status import JobStatus
from .beam_shutter import BeamShutter

HIGHEST_K = 4500.0
RUNAWAY_K = 500.0
RUNAWAY_S = 0.05


class HeatingShutter(BeamShutter):
    """`Open`, `Close` and `Status` as of every shutter here, and the comparator beside the cell.

    The comparator looks at photodiodes and closes the shutter by itself, within milliseconds and whatever becomes of
    this program, for a surface hotter than `highest` or one that rises by more than `rise` within `window`. Until
    `reset` it stays closed: `tripped` reads 1, and opening fails. Here its limits can be tightened, never relaxed: by
    default 4500 K, and 500 K within 50 ms. All names of records are ours; a beamline will have its own.
    """

    hazard: ClassVar[str] = "laser"
    goes_on: ClassVar[bool] = False

    tripped = Cpt(Reading, query="Tripped", parse=int, plausible=(0, 1), unit="", value=0)
    upstream = Cpt(Reading, query="Upstream", unit="K", plausible=(0.0, 20000.0))
    downstream = Cpt(Reading, query="Downstream", unit="K", plausible=(0.0, 20000.0))
    highest = Cpt(Setpoint, command="Highest", unit="K", limits=(500.0, HIGHEST_K), tolerance=0.1, kind=Kind.config)
    rise = Cpt(Setpoint, command="Rise", unit="K", limits=(50.0, RUNAWAY_K), tolerance=0.1, kind=Kind.config)
    window = Cpt(Setpoint, command="Window", unit="s", limits=(RUNAWAY_S, 1.0), tolerance=1e-4, kind=Kind.config)

    def reset(self) -> JobStatus:
        """Let it be opened again, after a person has seen why it closed; fails with Refused where it stays so."""
        return self.submit(self._reset)

    def _reset(self) -> None:
        self.start("Reset", 1)
        self.fetch(self.tripped)
        if self.tripped.get():
            raise Refused(f"{self.name}: the box stays tripped")
