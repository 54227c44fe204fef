"""The flow meter WF100 in the cooling water. There is no such instrument: it is the example of the guide."""

from typing import Any, ClassVar

from ophyd import Component, Kind

from megabar.devices.instrument import Instrument, Reading, Setpoint
from megabar.devices.visa import MessageLink


class WF100(Instrument):
    """A WF100 on a TCP socket: it measures the flow and closes a relay below its alarm level.

    Manual: none, as the instrument is made up. A real device says here what was read where, and what was not verified.
    """

    link_type: ClassVar[type[MessageLink]] = MessageLink
    link_options: ClassVar[dict[str, Any]] = {"identity": r"^ACME,WF100,", "timeout_s": 1.0}

    flow = Component(Reading, query=":FLOW?", unit="l/min", plausible=(0.0, 100.0), kind=Kind.hinted)
    alarm_level = Component(
        Setpoint, command=":ALARM {:.2f}", query=":ALARM?", unit="l/min", limits=(0.5, 50.0), tolerance=0.005
    )
