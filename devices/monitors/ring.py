"""The storage ring."""

from ophyd import Component as Cpt
from ophyd import Kind

from ..epics import EpicsInstrument
from ..instrument import Reading


class StorageRing(EpicsInstrument):
    """The stored current, record `SRcurrentAI` (as at the Advanced Photon Source; PF-AR's is not published)."""

    current = Cpt(Reading, query="SRcurrentAI", plausible=(-1.0, 2000.0), unit="mA", kind=Kind.hinted)
