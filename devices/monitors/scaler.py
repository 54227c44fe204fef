"""Counters of the incident beam."""

from ophyd import Component as Cpt
from ophyd import Kind

from ..epics import EpicsInstrument
from ..instrument import Reading


def _rate(fields: tuple[float, float]) -> float:
    counts, seconds = fields
    if not seconds > 0:
        raise ValueError("nothing has been counted: set .CONT of the scaler to AutoCount")
    return counts / seconds


class ScalerMonitor(EpicsInstrument):
    """Rate of an ion chamber on channel 2 of the scaler record `scaler1` (synApps).

    The record's last count is read, and nothing is written: in the mode AutoCount it counts by itself, `.TP1` s each.
    """

    rate = Cpt(
        Reading,
        query=("scaler1.S2", "scaler1.T"),
        parse=_rate,
        plausible=(0.0, 1e12),
        unit="counts/s",
        kind=Kind.hinted,
    )
