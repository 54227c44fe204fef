"""What can go wrong between a device and its instrument."""


class LimitError(ValueError):
    """A set-point beyond a limit; raised before a byte is sent."""


class LinkError(ConnectionError):
    """The instrument cannot be reached, or the connection is lost."""


class LinkTimeout(LinkError, TimeoutError):
    """No complete reply in time; the link is dirty until it has been drained and identified again."""


class GarbledReply(LinkError):
    """A reply that is not what was asked for; never taken as a value."""


class NotPermitted(LinkError):
    """Nothing may be sent to the instrument any more: its guard has taken over, or is gone."""


class WrongInstrument(LinkError):
    """Something else answers at the address."""


class Refused(RuntimeError):
    """The instrument did not take a set-point (its read-back differs, or it reports an error)."""
