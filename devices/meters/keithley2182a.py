"""The nanovoltmeter Keithley 2182A at a thermocouple."""

import math
import re
from typing import Any, ClassVar

from ophyd import Component, Kind

from ..errors import WrongInstrument
from ..instrument import Instrument, Reading, Setpoint
from ..visa import MessageLink

READING = re.compile(r"[+-]\d\.\d+E[+-]?\d+", re.ASCII)
OVERFLOW = 9.9e37


def parse_reading(reply: str) -> float:
    """The number in a reading such as `+1.08673749E-07`; NaN for the overflow `+9.9E37`.

    Raises ValueError for any other text: a reading that has lost its end or its exponent is not a number.
    """
    if not READING.fullmatch(reply):
        raise ValueError("not in the form +d.ddddE+dd")
    value = float(reply)
    return math.nan if abs(value) >= OVERFLOW else value


def parse_function(reply: str) -> int:
    """1 for DC volts, in a reply such as `"VOLT:DC"`."""
    return int(reply.strip('"') == "VOLT:DC")


class Keithley2182A(Instrument):
    """A 2182A on its serial line (9600 baud, replies end in a line feed) or behind a terminal server.

    `trigger` makes one conversion of the selected channel and asks the internal sensor for its temperature, which is
    that of the cold junction when the thermocouple ends at the instrument's terminals. `emf` is NaN when the input is
    beyond its range or open. Attaching selects nothing: channel 1 and DC volts have to be on, or it is refused.

    Commands: 2182/2182A User's Manual, 2182A-900-01 Rev. B. Not verified on an instrument: that `:READ?` stays on the
    selected channel after `:SENS:TEMP:RTEM?`, and the form of the replies to `:SENS:CHAN?` and `:SENS:VOLT:NPLC?`.
    """

    link_type: ClassVar[type[MessageLink]] = MessageLink
    link_options: ClassVar[dict[str, Any]] = {"identity": r"MODEL 2182A?\b", "timeout_s": 5.0, "chained": True}

    emf = Component(Reading, query=":READ?", unit="V", parse=parse_reading, plausible=(-120.0, 120.0), kind=Kind.hinted)
    cold_junction = Component(
        Reading, query=":SENS:TEMP:RTEM?", unit="degC", parse=parse_reading, plausible=(-40.0, 100.0)
    )
    channel = Component(Reading, query=":SENS:CHAN?", unit="", plausible=(0, 2), kind=Kind.config)
    dc_volts = Component(Reading, query=":SENS:FUNC?", unit="", parse=parse_function, value=0, kind=Kind.config)
    integration = Component(
        Setpoint,
        command=":SENS:VOLT:NPLC {:g}",
        query=":SENS:VOLT:NPLC?",
        unit="power line cycles",
        limits=(0.01, 50.0),
        tolerance=0.005,
        kind=Kind.config,
    )

    def connect(self) -> None:
        """Read the configuration. Raises WrongInstrument where it does not measure the voltage of channel 1."""
        self.fetch(self.channel, self.dc_volts)
        if (self.channel.get(), self.dc_volts.get()) != (1, 1):
            other = "" if self.dc_volts.get() else ", and not for DC volts"
            raise WrongInstrument(
                f"{self.name}: channel {self.channel.get():g} is selected{other}; "
                "select channel 1 and DC volts on the instrument"
            )
        super().connect()
