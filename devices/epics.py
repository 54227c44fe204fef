"""Instruments made of EPICS records that share a prefix."""

from typing import Any

from ophyd import Device

from .channel_access import AsText, ChannelAccessLink, split_address
from .instrument import Instrument, Reading, Setpoint


class EpicsInstrument(Instrument):
    """An instrument whose records share a prefix; `address` is `ca://host:port/PREFIX`, the port 5064 by default."""

    link_type = ChannelAccessLink
    link: ChannelAccessLink

    def __init__(self, *, address: str, **kwargs: Any) -> None:
        _, self.record_prefix = split_address(address)
        super().__init__(address=address, **kwargs)

    def locate(self, target: Any) -> Any:
        """The full name of a record, or of each one of a tuple."""
        return _under(self.record_prefix, target)

    def ask(self, *suffixes: Any) -> list[Any]:
        """The values of records that are no declared readings; called in the link's thread."""
        return self.link.fetch([self.locate(suffix) for suffix in suffixes])

    def put(self, suffix: str, value: Any) -> None:
        """Put to a record that is no declared set-point and wait for it; called in the link's thread."""
        self.link.assign(self.locate(suffix), value)

    def start(self, suffix: str, value: Any) -> Any:
        """Put to a record that sets something going, and read it back; called in the link's thread."""
        return self.link.start(self.locate(suffix), value)


class RecordDevice(Device):
    """Part of an EpicsInstrument: fields of one record. Its signals name the fields, its own suffix the record."""

    def __init__(self, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(prefix, **kwargs)
        for signal in (walk.item for walk in self.walk_signals()):
            if isinstance(signal, Reading):
                signal.query = _under(prefix, signal.query)
            if isinstance(signal, Setpoint):
                signal.command = prefix + signal.command


def _under(record: str, query: Any) -> Any:
    """A field, or each one of a tuple, under the name of its record."""
    if isinstance(query, tuple):
        return tuple(_under(record, one) for one in query)
    return AsText(record + query.record) if isinstance(query, AsText) else record + query
