"""Records as channels of caproto's Channel Access server: converted, read and put at the clock's moment."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import caproto
import numpy as np

from .records import Instrument, Record

if TYPE_CHECKING:
    from ..clock import Clock


class Channel(caproto.ChannelData):
    """A record as caproto serves it; `monitored` collects the channels that somebody has subscribed to."""

    def __init__(self, record: Record, clock: "Clock", monitored: "set[Channel]", **metadata: Any) -> None:
        value = self.plain(record, record.read(clock.monotonic()))
        super().__init__(value=value, max_length=record.count, **metadata)
        self.record = record
        self.clock = clock
        self.order = 0
        self._monitored = monitored

    @staticmethod
    def plain(record: Record, value: Any) -> Any:
        """The value as caproto keeps it."""
        return value

    async def load(self) -> None:
        """Take the value and the alarm of this moment from the world."""
        t, record = self.clock.monotonic(), self.record
        self._data["value"] = self.plain(record, record.read(t))
        if record.limits is not None:
            self._data["lower_ctrl_limit"], self._data["upper_ctrl_limit"] = record.limits()
        if record.severity is not None and (severity := record.severity(t)) != self.alarm.severity:
            status = caproto.AlarmStatus.STATE if severity else caproto.AlarmStatus.NO_ALARM
            await self.alarm.write(status=status, severity=severity, publish=False)

    async def refresh(self) -> None:
        """Tell those who monitor it of a change."""
        if not any(specs for syncs in self._queues.values() for types in syncs.values() for specs in types.values()):
            self._monitored.discard(self)
            return
        before = self._data["value"], self.alarm.severity
        await self.load()
        if self.alarm.severity != before[1] or not np.array_equal(self._data["value"], before[0]):
            self._stamp()
            await self.publish(caproto.SubscriptionType.DBE_VALUE | caproto.SubscriptionType.DBE_ALARM)

    async def read(self, data_type: Any) -> Any:
        """The value now, as `data_type`."""
        await self.load()
        if data_type in caproto.time_types:
            self._stamp()
        return await self._read(data_type)

    def _stamp(self) -> None:
        self._data["timestamp"] = caproto.TimeStamp.from_unix_timestamp(time.time())

    async def subscribe(self, *args: Any) -> None:
        """A monitor's first value is that of now, too."""
        await self.load()
        self._stamp()
        self._content.clear()
        self._monitored.add(self)
        await super().subscribe(*args)

    async def write(self, value: Any, **_: Any) -> None:
        """Apply a put to the world. Raises ValueError where it is refused."""
        value = self.preprocess_value(value)
        assert self.record.write is not None
        self.record.write(self.clock.monotonic(), value.item() if isinstance(value, np.generic) else value)
        # At once, and all: a client that waits for a motor to start would miss a short move between two looks.
        await tell(self._monitored)

    async def auth_write(self, *args: Any, **kwargs: Any) -> Any:
        """A put from a client; the status says whether it was taken."""
        if self.record.write is None:
            return caproto.CAStatus.ECA_NOWTACCESS
        try:
            await super().auth_write(*args, **kwargs)
        except (ValueError, caproto.CaprotoError):
            return caproto.CAStatus.ECA_PUTFAIL
        return caproto.CAStatus.ECA_NORMAL

    def check_access(self, *_: Any) -> Any:
        """Readable by all, writable where the record has a `write`."""
        writable = caproto.AccessRights.READ | caproto.AccessRights.WRITE
        return caproto.AccessRights.READ if self.record.write is None else writable


class _Double(Channel, caproto.ChannelDouble):
    def __init__(self, record: Record, clock: "Clock", monitored: set[Channel]) -> None:
        super().__init__(record, clock, monitored, units=record.unit, precision=record.precision)


class _Short(Channel, caproto.ChannelShort):
    def __init__(self, record: Record, clock: "Clock", monitored: set[Channel]) -> None:
        super().__init__(record, clock, monitored, units=record.unit)


class _Long(Channel, caproto.ChannelInteger):
    def __init__(self, record: Record, clock: "Clock", monitored: set[Channel]) -> None:
        super().__init__(record, clock, monitored, units=record.unit)


class _Enum(Channel, caproto.ChannelEnum):
    def __init__(self, record: Record, clock: "Clock", monitored: set[Channel]) -> None:
        super().__init__(record, clock, monitored, enum_strings=record.states)

    @staticmethod
    def plain(record: Record, value: Any) -> str:
        return record.states[int(value)]


class _String(Channel, caproto.ChannelString):
    pass


async def tell(monitored: set[Channel]) -> None:
    """Send what has changed to those who monitor it, in the order of the records: a motor's place, then its arrival."""
    for channel in sorted(monitored, key=lambda channel: channel.order):
        await channel.refresh()


_KINDS: dict[str, Callable[[Record, "Clock", set[Channel]], Channel]] = {
    "double": _Double,
    "short": _Short,
    "long": _Long,
    "enum": _Enum,
    "string": _String,
}


def channels_of(instruments: Mapping[str, Instrument], clock: "Clock", monitored: set[Channel]) -> dict[str, Channel]:
    """Every record under its full name, `MB:instrument:suffix`; a record and its `.VAL` field are one."""
    channels: dict[str, Channel] = {}
    for name, instrument in instruments.items():
        for suffix, record in instrument.records().items():
            record_name, _, field = suffix.partition(".")
            channel = _KINDS[record.kind](record, clock, monitored)
            channel.order = len(channels)
            channels[f"MB:{name}:{suffix}"] = channel
            if field in ("", "VAL"):
                channels[f"MB:{name}:{record_name}"] = channels[f"MB:{name}:{record_name}.VAL"] = channel
    return channels
