"""The inputs and the time base of an oscilloscope, as commands set them."""

import re
from typing import Final

from ...clock import Clock
from ...wire.scpi import ScpiInstrument, Setting, command, query
from ...wire.scpi_grammar import Boolean, Choice, Number, ScpiError
from .channel import DIVISIONS, Channel

ADC_RATE: Final = 10_000_000_000
LARGEST_SCALE_V: Final = {"DC": 1.0, "DCL": 10.0, "AC": 10.0}  # per division; into 50 ohm less
LEAST_SCALE_V: Final = 1e-3
_CHANNEL = re.compile(r"\s*:?CHAN(?:NEL)?([1-4]?)(?=[:\s?]|$)", re.IGNORECASE)


class Inputs(ScpiInstrument):
    """What `:CHANnel<n>:`, `:TIMebase:` and the sampling part of `:ACQuire:` set, for `n_channels` inputs."""

    time_range_s = Setting(":TIMebase:RANGe", Number(250e-12, 1e5, 100e-9), 100e-9)
    position_s = Setting(":TIMebase:HORizontal:POSition", Number(-1e5, 1e5, 0), 0.0)
    reference_percent = Setting(":TIMebase:REFerence", Number(0, 100, 50), 50.0)
    sample_rate = Setting(":ACQuire:SRATe", Number(2, ADC_RATE, ADC_RATE), float(ADC_RATE))

    def __init__(self, *, name: str, clock: Clock, latency_s: float, n_channels: int) -> None:
        super().__init__(name=name, clock=clock, latency_s=latency_s)
        self._number, self._n_channels = 1, n_channels
        self.channels: list[Channel] = []

    def reset(self) -> None:
        """Channel 1 on, nothing acquired."""
        self.channels = [Channel(number, on=number == 1) for number in range(1, self._n_channels + 1)]

    @property
    def channel(self) -> Channel:
        """The one that is spoken of. Raises ScpiError for one that this model does not have."""
        if self._number > len(self.channels):
            raise ScpiError(-222)
        return self.channels[self._number - 1]

    @property
    def points(self) -> int:
        """Samples of one acquisition."""
        return max(2, round(self.time_range_s * self.sample_rate))

    @property
    def first_s(self) -> float:
        """From the trigger to the first of them."""
        return self.position_s - 0.01 * self.reference_percent * self.time_range_s

    async def _unit(self, text: str, path: str) -> str:
        """Of a header the channel is taken, and what is left without it belongs to that channel."""
        if match := _CHANNEL.match(text):
            self._number = int(match[1] or 1)
            text = f":CHAN{text[match.end() :]}"
        return await super()._unit(text, path)

    @command(":CHANnel:STATe", Boolean())
    def _switch(self, on: bool) -> None:
        self.channel.on = on

    @query(":CHANnel:STATe")
    def _is_on(self) -> str:
        return "1" if self.channel.on else "0"

    @command(":CHANnel:COUPling", Choice(("DC", "DCLimit", "AC")))
    def _set_coupling(self, coupling: str) -> None:
        self.channel.coupling = coupling
        self.channel.scale_v = min(self.channel.scale_v, LARGEST_SCALE_V[coupling])

    @query(":CHANnel:COUPling")
    def _coupling(self) -> str:
        return self.channel.coupling

    @command(":CHANnel:SCALe", Number(LEAST_SCALE_V, 10.0, 0.05))
    def _set_scale(self, volt: float) -> None:
        if volt > LARGEST_SCALE_V[self.channel.coupling]:
            raise ScpiError(-222)
        self.channel.scale_v = volt

    @query(":CHANnel:SCALe")
    def _scale(self) -> str:
        return _number(self.channel.scale_v)

    @command(":CHANnel:RANGe", Number(DIVISIONS * LEAST_SCALE_V, 100.0, 0.5))
    def _set_range(self, volt: float) -> None:
        self._set_scale(volt / DIVISIONS)

    @query(":CHANnel:RANGe")
    def _range(self) -> str:
        return _number(self.channel.range_v)

    @command(":CHANnel:OFFSet", Number(-100.0, 100.0, 0.0))
    def _set_offset(self, volt: float) -> None:
        self.channel.offset_v = volt

    @query(":CHANnel:OFFSet")
    def _offset(self) -> str:
        return _number(self.channel.offset_v)

    @command(":CHANnel:POSition", Number(-5.0, 5.0, 0.0))
    def _set_position(self, divisions: float) -> None:
        self.channel.position = divisions

    @query(":CHANnel:POSition")
    def _position(self) -> str:
        return _number(self.channel.position)

    @command(":CHANnel[:WAVeform1]:ARIThmetics", Choice(("OFF", "AVERage")))
    def _set_arithmetics(self, arithmetics: str) -> None:
        self.channel.arithmetics = arithmetics

    @query(":CHANnel[:WAVeform1]:ARIThmetics")
    def _arithmetics(self) -> str:
        return self.channel.arithmetics

    @command(":TIMebase:SCALe", Number(25e-12, 1e4, 10e-9))
    def _set_time_scale(self, seconds: float) -> None:
        self.time_range_s = DIVISIONS * seconds

    @query(":TIMebase:SCALe")
    def _time_scale(self) -> str:
        return _number(self.time_range_s / DIVISIONS)

    @query(":TIMebase:DIVisions")
    def _divisions(self) -> str:
        return str(DIVISIONS)

    @query(":ACQuire:RESolution")
    def _resolution(self) -> str:
        return _number(1.0 / self.sample_rate)

    @command(":ACQuire:POINts[:VALue]", Number(2, 1e9, 1000, integer=True))
    def _set_points(self, points: float) -> None:
        self.sample_rate = min(points / self.time_range_s, float(ADC_RATE))

    @query(":ACQuire:POINts[:VALue]")
    def _points(self) -> str:
        return str(self.points)

    @query(":ACQuire:POINts:ARATe")
    def _adc_rate(self) -> str:
        return str(ADC_RATE)


def _number(value: float) -> str:
    """As in `0.05` and `1E-09`."""
    return f"{value:.10G}"
