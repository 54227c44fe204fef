"""The fibre laser's device, against a transcript of the commands of its guide and of the public EPICS database."""

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.acquisition.clock import RealClock
from megabar.devices.errors import GarbledReply, LimitError, LinkTimeout, Refused, WrongInstrument
from megabar.devices.lasers import Laser
from megabar.devices.lasers.ipg_ylr import BURST_S, IPGYLR, parse_number, parse_power, parse_status
from megabar.plans.safety import Hazardous

VERSION = (b"RFV\r", b"RFV: 1.0.148\r")
SETPOINT_0 = (b"RCS\r", b"RCS: 0.0\r")
POWER_OFF = (b"ROP\r", b"ROP: Off\r")
TEMPERATURE = (b"RCT\r", b"RCT: 26.0\r")
RESERVED = sum(1 << bit for bit in (0, 5, 9, 10, 13, 14, 16, *range(18, 32)))


def status(word: int) -> tuple[bytes, bytes]:
    return (b"STA\r", b"STA: %d\r" % word)


OFF = status(4096)
STARTING = status(4096 | 4 | 1 << 15)
ON = status(4100)  # the example of the guide: emission is on and modulation is enabled
ATTACH = [VERSION, SETPOINT_0, POWER_OFF, TEMPERATURE, OFF]
EMON = (b"EMON\r", b"EMON\r")
EMOFF = (b"EMOFF\r", b"EMOFF\r")
LOST = b""


@pytest.fixture
def laser_on(on_socket, attach):
    """A laser attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes], attachment=ATTACH):
        transcript = on_socket([*attachment, *exchanges])
        return attach(IPGYLR, transcript.address, "laser", timeout_s=0.4), transcript

    return make


def sent(value: str) -> list[tuple[bytes, bytes]]:
    """A current that is set and read back."""
    return [(f"SDC {value}\r".encode(), f"SDC: {value}\r".encode()), (b"RCS\r", f"RCS: {value}\r".encode())]


def test_it_asks_who_answers_and_then_only_reads(laser_on):
    laser, transcript = laser_on()
    transcript.done()
    assert isinstance(laser, Laser) and isinstance(laser, Hazardous)
    assert laser.hazard == "laser"


@pytest.mark.parametrize("reply", [b"ERR: unknown\r", b"KEITHLEY\r", b"RFV: \r"])
def test_another_instrument_at_the_address_is_refused_after_one_question(on_socket, attach, reply: bytes):
    transcript = on_socket([(b"RFV\r", reply)])
    with pytest.raises(WrongInstrument):
        attach(IPGYLR, transcript.address, "laser", timeout_s=0.4)
    transcript.done()


def test_a_laser_of_another_series_is_refused(on_socket, attach):
    """A YAR has a firmware version too, and no current set-point."""
    transcript = on_socket([VERSION, (b"RCS\r", b"ERR: Command not found\r")])
    with pytest.raises(WrongInstrument, match="YLR"):
        attach(IPGYLR, transcript.address, "laser", timeout_s=0.4)
    transcript.done()


def test_trigger_asks_each_question_once_and_read_tells(laser_on):
    exchanges = [(b"RCS\r", b"RCS: 30.0\r"), (b"ROP\r", b"ROP: 21.7\r"), TEMPERATURE, status(4100 | 2 | RESERVED)]
    laser, transcript = laser_on(*exchanges)
    laser.trigger().wait(5)
    transcript.done()
    assert {name: entry["value"] for name, entry in laser.read().items()} == {
        "laser_current": 30.0,
        "laser_output_power": 21.7,
        "laser_temperature": 26.0,
        "laser_emission": 1,
        "laser_fault": 2,
    }
    units = {name: key["units"] for name, key in laser.describe().items()}
    assert units["laser_current"] == "%" and units["laser_output_power"] == "W"


def test_power_is_a_number_or_off_or_too_low_to_tell():
    assert parse_power("12.3") == 12.3
    assert parse_power("Off") == 0.0
    assert math.isnan(parse_power("Low"))


@pytest.mark.parametrize("parse", [parse_power, parse_number, parse_status])
@pytest.mark.parametrize("text", ["", " ", "-3", "1e2", "nan", "inf", "Lo", "1.2.3", "0x10", "１２"])
def test_other_text_is_no_value(parse, text: str):
    with pytest.raises(ValueError, match="not a"):
        parse(text)


@given(st.text(max_size=12))
def test_no_text_becomes_a_negative_or_infinite_value(text: str):
    for parse in (parse_power, parse_number, parse_status):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value >= 0 or math.isnan(value)
        assert not math.isinf(value)


@pytest.mark.parametrize("reply", [b"RCT: 26.0\r", b"26.0\r", b"ROPE: 1.0\r", b"\xff\xfe\r", b"\r"])
def test_the_reply_to_another_question_is_never_a_value(laser_on, reply: bytes):
    whole = [SETPOINT_0, POWER_OFF, TEMPERATURE, OFF]
    laser, transcript = laser_on(SETPOINT_0, (b"ROP\r", reply), VERSION, *whole)
    laser.trigger().wait(5)
    assert laser.output_power.get() == 0.0
    transcript.done()


def test_a_power_beyond_what_the_laser_can_give_is_an_error(laser_on):
    absurd = [SETPOINT_0, (b"ROP\r", b"ROP: 151.0\r"), TEMPERATURE, OFF]
    laser, transcript = laser_on(*absurd * 3)
    with pytest.raises(GarbledReply):
        laser.trigger().wait(5)
    transcript.done()


def test_a_current_is_set_and_read_back(laser_on):
    laser, transcript = laser_on(*sent("3.5"))
    laser.current.set(3.5).wait(5)
    transcript.done()


def test_a_current_that_the_laser_did_not_take_is_refused(laser_on):
    laser, _ = laser_on((b"SDC 3.5\r", b"SDC: 3.5\r"), (b"RCS\r", b"RCS: 0.0\r"))
    with pytest.raises(Refused, match="read back"):
        laser.current.set(3.5).wait(5)


def test_an_error_reply_is_told(laser_on):
    laser, transcript = laser_on((b"SDC 3.5\r", b"ERR: Out of range\r"))
    with pytest.raises(Refused, match="Out of range"):
        laser.current.set(3.5).wait(5)
    transcript.done()


@pytest.mark.parametrize(
    "name, value",
    [
        ("current", 40.1),
        ("current", -0.1),
        ("current", float("nan")),
        ("current", float("inf")),
        ("emission", 2),
        ("emission", 0.5),
        ("emission", -1),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(laser_on, name: str, value: float):
    laser, transcript = laser_on()
    before = transcript.n_bytes
    with pytest.raises(LimitError):
        getattr(laser, name).set(value)
    with pytest.raises(LimitError):
        getattr(laser, name).check_value(value)
    assert transcript.n_bytes == before
    transcript.done()


def test_a_rise_faster_than_the_ramp_is_refused_before_a_byte_is_sent(laser_on):
    laser, transcript = laser_on(*sent("4.0"))
    before = transcript.n_bytes
    with pytest.raises(LimitError, match="rise"):
        laser.current.set(4.1)
    assert transcript.n_bytes == before
    laser.current.set(4.0).wait(5)
    asked = transcript.n_bytes
    with pytest.raises(LimitError, match="rise"):
        laser.current.set(8.0)
    assert transcript.n_bytes == asked
    transcript.done()


def test_a_fall_is_taken_at_once(laser_on):
    laser, transcript = laser_on(*sent("4.0"), *sent("0.0"))
    laser.current.set(4.0).wait(5)
    laser.current.set(0.0).wait(5)
    transcript.done()


def test_a_step_that_was_queued_behind_a_fall_is_refused_before_it_is_sent(laser_on):
    laser, transcript = laser_on(*sent("4.0"), *sent("0.0"))
    laser.current.set(4.0).wait(5)
    time.sleep(BURST_S + 0.05)
    go_on = threading.Event()
    laser.link.submit(lambda: go_on.wait(5) and None)
    fall, rise = laser.current.set(0.0), laser.current.set(8.0)  # from 4 % it would not be too fast
    go_on.set()
    fall.wait(5)
    with pytest.raises(LimitError, match="rise"):
        rise.wait(5)
    transcript.done()


@pytest.mark.parametrize("rated, highest, ramp", [(100.0, 40.0, 4.0), (200.0, 20.0, 2.0), (50.0, 40.0, 8.0)])
def test_the_limits_are_those_of_the_safety_table(rated: float, highest: float, ramp: float):
    """40 W and 5 W/s at most, for a threshold of up to a fifth and no more than the rated power at full current."""
    laser = IPGYLR(name="laser", link=None, rated_power=rated)
    assert laser.current.limits == (0.0, highest)
    assert laser.current.rise_per_s == pytest.approx(ramp)
    for threshold in (0.0, 10.0, 20.0):
        slope_w = rated / (100.0 - threshold)
        assert slope_w * (highest - threshold) <= 40.0 + 1e-9
        assert slope_w * ramp <= 5.0 + 1e-9
    with pytest.raises(LimitError, match="within"):
        laser.tighten({"current": (0.0, 60.0)})


@pytest.mark.parametrize("rated", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rated_power_that_cannot_be_is_refused(rated: float):
    with pytest.raises(ValueError, match="rated_power"):
        IPGYLR(name="laser", link=None, rated_power=rated)


def test_emission_waits_for_the_end_of_the_safety_start(laser_on):
    laser, transcript = laser_on(OFF, SETPOINT_0, EMON, STARTING, STARTING, ON)
    laser.emission.set(1).wait(5)
    transcript.done()
    assert laser.emission.get() == 1


def test_the_link_is_free_during_the_safety_start(laser_on):
    """What ends the emission need not wait for the end of the start, and the start then fails."""
    laser, transcript = laser_on(OFF, SETPOINT_0, EMON, EMOFF, OFF, OFF, EMOFF, OFF)
    started = laser.emission.set(1)
    laser.emission_off().wait(5)
    with pytest.raises(Refused, match="went off"):
        started.wait(5)
    transcript.done()


@pytest.mark.parametrize(
    "word, what",
    [
        (4096 | 1 << 1, "overtemperature"),
        (4096 | 1 << 3, "back-reflection"),
        (4096 | 1 << 6, "disconnected"),
        (4096 | 1 << 7, "failed"),
        (4096 | 1 << 11, "power supply"),
        (4096 | 1 << 17, "unexpected emission"),
        (4096 | 1 << 4, "analog"),
        (0, "modulation"),
        (4100, "on already"),
    ],
)
def test_no_emission_where_the_status_forbids_it(laser_on, word: int, what: str):
    laser, transcript = laser_on(status(word), SETPOINT_0)
    with pytest.raises(Refused, match=what):
        laser.emission.set(1).wait(5)
    transcript.done()


@pytest.mark.parametrize("bit", [10, 29, 30])
def test_interlock_bits_count_where_the_laser_has_them(on_socket, bit: int):
    transcript = on_socket([*ATTACH, status(4096 | 1 << bit), SETPOINT_0])
    link = IPGYLR.link_type("laser", transcript.address, RealClock(), **{**IPGYLR.link_options, "timeout_s": 0.4})
    link.call(link.open)
    laser = IPGYLR(name="laser", link=link, interlock_bits=True)
    link.call(laser.connect)
    with pytest.raises(Refused, match=r"interlock|modules|collimator"):
        laser.emission.set(1).wait(5)
    link.call(link.close)
    transcript.done()


def test_reserved_bits_may_be_in_any_state(laser_on):
    ready, emitting = status(4096 | RESERVED), status(4100 | RESERVED)
    laser, transcript = laser_on(ready, SETPOINT_0, EMON, emitting, EMOFF, status(4096 | RESERVED))
    laser.emission.set(1).wait(5)
    laser.emission_off().wait(5)
    transcript.done()


def test_no_emission_from_a_current_that_was_left_set(laser_on):
    laser, transcript = laser_on(OFF, (b"RCS\r", b"RCS: 20.0\r"))
    with pytest.raises(Refused, match="set it to 0"):
        laser.emission.set(1).wait(5)
    transcript.done()


def test_a_start_whose_answer_is_lost_is_ended(laser_on):
    laser, transcript = laser_on(OFF, SETPOINT_0, (b"EMON\r", LOST), VERSION, EMOFF, OFF)
    with pytest.raises(LinkTimeout):
        laser.emission.set(1).wait(5)
    transcript.done()


def test_a_fault_during_the_start_ends_it(laser_on):
    laser, transcript = laser_on(OFF, SETPOINT_0, EMON, STARTING, status(4100 | 1 << 15 | 8), EMOFF, OFF)
    with pytest.raises(Refused, match="back-reflection"):
        laser.emission.set(1).wait(5)
    transcript.done()


def test_emission_ends_and_the_status_is_what_counts(laser_on):
    laser, transcript = laser_on(EMOFF, OFF)
    laser.emission.set(0).wait(5)
    transcript.done()


def test_an_end_that_does_not_show_is_asked_for_again(laser_on):
    laser, transcript = laser_on(EMOFF, ON, EMOFF, STARTING, EMOFF, OFF)
    laser.emission_off().wait(5)
    transcript.done()


def test_an_end_that_never_shows_fails(laser_on):
    laser, transcript = laser_on(*[EMOFF, ON] * 60)
    with pytest.raises(Refused, match="emission off: emission is not seen"):
        laser.emission_off().wait(5)
    assert not transcript.surprises
    assert len(transcript.left) < 114, "it was asked for more than a few times"


def test_an_end_that_is_refused_is_confirmed_by_a_laser_that_is_off(laser_on):
    laser, transcript = laser_on((b"EMOFF\r", b"ERR: Keyswitch in remote\r"), OFF)
    laser.emission_off().wait(5)
    transcript.done()


def test_an_end_survives_two_lost_replies(laser_on):
    laser, transcript = laser_on((b"EMOFF\r", LOST), VERSION, (b"STA\r", LOST), VERSION, EMOFF, OFF)
    laser.link.timeout_s = 0.15  # as for both there is time
    laser.emission_off().wait(5)
    transcript.done()


def test_the_safe_state_is_the_emission_off(laser_on):
    laser, transcript = laser_on(EMOFF, OFF)
    ((what, action, limit_s),) = laser.safe_steps()
    assert what == "emission off" and limit_s <= 0.5
    action().wait(5)
    transcript.done()


def test_a_pause_ends_the_emission_and_resuming_does_not_bring_it_back(laser_on):
    laser, transcript = laser_on(EMOFF, OFF)
    laser.pause()
    idle = threading.Event()
    laser.link.submit(idle.set)
    assert idle.wait(5)
    laser.resume()
    transcript.done()
