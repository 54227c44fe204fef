"""The gate's device, against frames written by hand from the Modbus specification and the maker's protocol."""

import pytest

from megabar.devices.errors import LimitError, Refused, WrongInstrument
from megabar.devices.lasers import Gate
from megabar.devices.lasers.gate_relay import GateRelay
from megabar.plans.safety import Hazardous

from .test_eurotherm import frames, written

VERSION = frames("01 03 8000 0001", "01 03 02 00C8")
OPEN = frames("01 01 0000 0001", "01 01 01 00")
CLOSED = frames("01 01 0000 0001", "01 01 01 01")
TO_OPEN = written("01 05 0000 0000")
PULSE_700_MS = written("01 05 0200 0007")
ATTACH = [VERSION, OPEN]


@pytest.fixture
def relay_on(on_serial_line, attach):
    """A relay attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes]):
        transcript = on_serial_line([*ATTACH, *exchanges])
        return attach(GateRelay, transcript.address, "relay", timeout_s=0.4), transcript

    return make


def test_the_frames_here_are_those_that_others_compute():
    assert VERSION[0] == bytes.fromhex("01 03 80 00 00 01 AD CA")
    assert PULSE_700_MS[0] == bytes.fromhex("01 05 02 00 00 07 8D B0")
    assert TO_OPEN[0] == bytes.fromhex("01 05 00 00 00 00 CD CA")


def test_it_asks_for_the_version_and_then_only_reads(relay_on):
    relay, transcript = relay_on()
    transcript.done()
    assert isinstance(relay, Gate) and isinstance(relay, Hazardous)
    assert relay.hazard == "laser"


def test_a_slave_without_that_register_is_refused(on_serial_line, attach):
    transcript = on_serial_line([frames("01 03 8000 0001", "01 83 02")])
    with pytest.raises(WrongInstrument, match="version"):
        attach(GateRelay, transcript.address, "relay", timeout_s=0.4)
    transcript.done()


def test_it_reads_whether_the_contact_is_closed(relay_on):
    relay, transcript = relay_on(CLOSED, OPEN)
    for closed in (1, 0):
        relay.trigger().wait(5)
        assert {name: entry["value"] for name, entry in relay.read().items()} == {"relay_closed": closed}
    transcript.done()


def test_a_pulse_is_sent_in_tenths_of_a_second_and_confirmed(relay_on):
    relay, transcript = relay_on(PULSE_700_MS, CLOSED)
    relay.pulse.set(0.7).wait(5)
    transcript.done()


def test_a_pulse_that_does_not_close_the_contact_is_told(relay_on):
    relay, transcript = relay_on(PULSE_700_MS, OPEN)
    with pytest.raises(Refused, match="did not close"):
        relay.pulse.set(0.7).wait(5)
    transcript.done()


@pytest.mark.parametrize("value", [0.0, 0.05, 60.1, -1.0, float("nan"), float("inf")])
def test_a_pulse_beyond_its_limits_is_refused_before_a_byte_is_sent(relay_on, value: float):
    relay, transcript = relay_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError):
        relay.pulse.set(value)
    assert transcript.n_bytes == before


@pytest.mark.parametrize("value", [1, 2, -1, 0.5, float("nan")])
def test_the_contact_is_never_closed_for_good(relay_on, value: float):
    relay, transcript = relay_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError, match="accepted is 0"):
        relay.closed.set(value)
    assert transcript.n_bytes == before


def test_the_safe_state_is_open_and_read_back(relay_on):
    relay, transcript = relay_on(TO_OPEN, OPEN)
    ((what, action, limit_s),) = relay.safe_steps()
    assert what == "gate open" and limit_s <= 0.5
    action().wait(5)
    transcript.done()


def test_an_opening_that_does_not_show_is_asked_for_again(relay_on):
    relay, transcript = relay_on(TO_OPEN, CLOSED, TO_OPEN, OPEN)
    relay.closed.put(1, force=True)
    relay.gate_open().wait(5)
    assert relay.closed.get() == 0
    transcript.done()


def test_an_opening_that_never_shows_fails(relay_on):
    relay, transcript = relay_on(*[TO_OPEN, CLOSED] * 60)
    with pytest.raises(Refused, match="gate open: closed is not seen"):
        relay.gate_open().wait(5)
    assert not transcript.surprises
    assert len(transcript.left) < 114, "it was asked for more than a few times"


def test_an_opening_survives_a_lost_reply(relay_on):
    relay, transcript = relay_on((TO_OPEN[0], b""), VERSION, OPEN)
    relay.gate_open().wait(5)
    transcript.done()


def test_another_channel_has_other_coils():
    relay = GateRelay(name="relay", link=None, channel=3)
    assert relay.locate(relay.closed.query).address == 2
    assert relay.locate(relay.pulse.command).address == 0x0202


@pytest.mark.parametrize("channel", [0, 9, -1])
def test_a_channel_that_is_not_there_is_refused(channel: int):
    with pytest.raises(ValueError, match="channel"):
        GateRelay(name="relay", link=None, channel=channel)


@pytest.mark.parametrize("position", range(6))
def test_one_wrong_byte_in_a_reply_is_never_a_value(relay_on, position: int):
    request, reply = CLOSED
    bad = bytes(byte ^ (0x10 if i == position else 0) for i, byte in enumerate(reply))
    relay, transcript = relay_on((request, bad), VERSION, CLOSED)
    relay.trigger().wait(5)
    assert relay.closed.get() == 1
    transcript.done()
