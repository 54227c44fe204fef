"""The pressure controller's device, against a transcript of the strings of the public EPICS protocol files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.acquisition.guard.words import Lines, holds
from megabar.acquisition.guarded import guarded_ports
from megabar.acquisition.rig import load_rig
from megabar.devices.errors import GarbledReply, LimitError, LinkError, LinkTimeout, Refused, WrongInstrument
from megabar.devices.pressure_controllers import PressureController
from megabar.devices.pressure_controllers.pace5000 import PACE5000
from megabar.devices.pressure_controllers.pace_link import (
    PACELink,
    parse_bar,
    parse_digit,
    parse_in_limits,
    parse_mode,
    parse_number,
)
from megabar.plans.safety import Hazardous

AMPLITUDE = ":SOUR:PRES:LEV:IMM:AMPL"


def told(header: str, value: str) -> tuple[bytes, bytes]:
    """A question and its answer."""
    return f"{header}?\r\n".encode(), f"{header} {value}\r\n".encode()


def sent(command: str) -> tuple[bytes, bytes]:
    """A command, which has no answer."""
    return f"{command}\r\n".encode(), b""


def serial(exchange: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """The same on the serial line."""
    question, reply = exchange
    return question.replace(b"\n", b""), b"\0" + reply.replace(b"\n", b"")


IDENTITY = told("*IDN", "GE Druck,Pace5000 User Interface,58784,01.05.04")
PRESSURE = told(":SENS:PRES", "12.3450000")
SETPOINT = told(AMPLITUDE, "12.3450000")
IN_LIMITS = told(":SENS:PRES:INL", "12.3450000, 1")
ON, OFF = told(":OUTP:STAT", "1"), told(":OUTP:STAT", "0")
NO_VENT, VENTING = told(f"{AMPLITUDE}:VENT", "0"), told(f"{AMPLITUDE}:VENT", "1")
EFFORT = told(":SOUR:PRES:EFF", "1.2000000")
SLEW = told(":SOUR:PRES:SLEW", "0.5000000")
LINEAR, FASTEST = told(":SOUR:PRES:SLEW:MODE", "LIN"), told(":SOUR:PRES:SLEW:MODE", "MAX")
BAR = told(":UNIT:PRES", "BAR")
NO_ERROR = told(":SYST:ERR", '0,"No error"')
ATTACH = [IDENTITY, PRESSURE, SETPOINT, IN_LIMITS, ON, NO_VENT, EFFORT, SLEW, LINEAR, BAR]
LOST = b""


def look(
    pressure: float = 12.345, setpoint: float | None = None, *, in_limits: int = 1, control=ON, vent=NO_VENT
) -> list[tuple[bytes, bytes]]:
    """All that a job looks at."""
    target = pressure if setpoint is None else setpoint
    return [
        BAR,
        control,
        vent,
        told(":SENS:PRES:INL", f"{pressure:.7f}, {in_limits}"),
        told(":SENS:PRES", f"{pressure:.7f}"),
        told(AMPLITUDE, f"{target:.7f}"),
        EFFORT,
    ]


def assigned(command: str) -> list[tuple[bytes, bytes]]:
    """A command between two looks into the error queue."""
    return [NO_ERROR, sent(command), NO_ERROR]


@pytest.fixture
def pace_on(on_socket, attach):
    """A controller attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes], attachment=ATTACH):
        transcript = on_socket([*attachment, *exchanges])
        return attach(PACE5000, transcript.address, "pace", timeout_s=0.4), transcript

    return make


def test_it_asks_who_answers_and_then_only_reads(pace_on):
    pace, transcript = pace_on()
    transcript.done()
    assert isinstance(pace, PressureController) and isinstance(pace, Hazardous)
    assert pace.hazard == "pressure"


@pytest.mark.parametrize(
    "reply, error",
    [
        (b"*IDN KEITHLEY INSTRUMENTS INC.,MODEL 2182A,0000000,C02\r\n", WrongInstrument),
        (b"*IDN GE Druck,Pace1000 User Interface,1,2\r\n", WrongInstrument),
        (b"GE Druck,Pace5000 User Interface,58784,01.05.04\r\n", GarbledReply),
        (b"\xff\r\n", GarbledReply),
    ],
)
def test_another_instrument_at_the_address_is_refused_after_one_question(on_socket, attach, reply: bytes, error):
    transcript = on_socket([(b"*IDN?\r\n", reply)])
    with pytest.raises(error):
        attach(PACE5000, transcript.address, "pace", timeout_s=0.4)
    transcript.done()


def test_another_unit_is_refused_and_never_converted(on_socket, attach):
    psi = told(":UNIT:PRES", "PSI")
    transcript = on_socket([*ATTACH[:-1], psi, *ATTACH[1:-1], psi, *ATTACH[1:-1], psi])
    with pytest.raises(GarbledReply, match="accepted is BAR"):
        attach(PACE5000, transcript.address, "pace", timeout_s=0.4)
    transcript.done()


def test_a_unit_that_is_changed_later_ends_the_readings(pace_on):
    pace, _ = pace_on(*[told(":UNIT:PRES", "MPA"), PRESSURE, SETPOINT, IN_LIMITS, ON, NO_VENT, EFFORT] * 3)
    with pytest.raises(GarbledReply, match="accepted is BAR"):
        pace.trigger().wait(5)


def test_trigger_asks_and_read_tells(pace_on):
    low = told(":SENS:PRES", "-0.0120000")
    pace, transcript = pace_on(BAR, low, SETPOINT, IN_LIMITS, ON, told(f"{AMPLITUDE}:VENT", "3"), EFFORT)
    pace.trigger().wait(5)
    transcript.done()
    assert {name: entry["value"] for name, entry in pace.read().items()} == {
        "pace_pressure": -0.012,
        "pace_setpoint": 12.345,
        "pace_in_limits": 1,
        "pace_control": 1,
        "pace_vent": 3,
        "pace_effort": 1.2,
    }
    units = {name: key["units"] for name, key in pace.describe().items()}
    assert units["pace_pressure"] == units["pace_setpoint"] == "bar" and units["pace_effort"] == "%"


@pytest.mark.parametrize(
    "reply",
    [
        b"12.3450000\r\n",  # no header
        b":SENS:PRES\r\n",
        b":SENS:PRES:INL 12.345, 1\r\n",
        b":SENS:PRESS 12.345\r\n",
        b":SOUR:PRES:SLEW 0.5000000\r\n",
        b"\xff\xfe\r\n",
        b"\r\n",
    ],
)
def test_a_reply_that_repeats_another_header_is_never_a_value(pace_on, reply: bytes):
    rest = [SETPOINT, IN_LIMITS, ON, NO_VENT, EFFORT]
    pace, transcript = pace_on(BAR, (PRESSURE[0], reply), IDENTITY, BAR, told(":SENS:PRES", "12.5000000"), *rest)
    pace.trigger().wait(5)
    assert pace.pressure.get() == 12.5
    transcript.done()


def test_a_reply_whose_text_is_no_number_is_an_error(pace_on):
    pace, _ = pace_on(*[BAR, told(":SENS:PRES", "12.3a"), SETPOINT, IN_LIMITS, ON, NO_VENT, EFFORT] * 3)
    with pytest.raises(GarbledReply, match="plain decimal"):
        pace.trigger().wait(5)


@pytest.mark.parametrize("parse", [parse_number, parse_in_limits, parse_digit, parse_bar])
@pytest.mark.parametrize("text", ["", " ", "nan", "inf", "1e5", "1.2.3", "0x10", "１", "1.0,1,1", "BARG"])
def test_other_text_is_no_value(parse, text: str):
    with pytest.raises(ValueError, match=r"not a|BAR"):
        parse(text)


@given(st.text(max_size=12))
def test_no_text_becomes_a_mode_or_flag_that_there_is_not(text: str):
    assert parse_mode(text) in ((0, 1) if text in ("LIN", "MAX") else (-1,))
    try:
        assert parse_in_limits(text) in (0, 1)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "name, value",
    [
        ("setpoint", 200.1),
        ("setpoint", -0.1),
        ("setpoint", float("nan")),
        ("slew_rate", 1.01),
        ("slew_rate", 0.0),
        ("slew_rate", float("inf")),
        ("control", 2),
        ("control", 0.5),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(pace_on, name: str, value: float):
    pace, transcript = pace_on()
    before = transcript.n_bytes
    for method in ("set", "check_value"):
        with pytest.raises(LimitError):
            getattr(getattr(pace, name), method)(value)
    assert transcript.n_bytes == before


def test_the_limits_are_those_of_the_safety_table_and_a_rig_may_only_narrow_them():
    pace = PACE5000(name="pace", link=None)
    assert pace.setpoint.limits == (0.0, 200.0)
    assert pace.slew_rate.limits[1] == 1.0
    pace.tighten({"setpoint": (0.0, 80.0)})
    with pytest.raises(LimitError, match="within"):
        pace.tighten({"setpoint": (0.0, 120.0)})


def test_a_rate_is_set_before_the_slew_becomes_linear(pace_on):
    exchanges = [
        *assigned(":SOUR:PRES:SLEW 0.2500"),
        told(":SOUR:PRES:SLEW", "0.2500000"),
        *assigned(":SOUR:PRES:SLEW:MODE LIN"),
        *assigned(":SOUR:PRES:SLEW:OVER 0"),
        LINEAR,
    ]
    pace, transcript = pace_on(*exchanges)
    pace.slew_rate.set(0.25).wait(5)
    transcript.done()


def test_a_slew_that_stays_as_it_is_is_refused(pace_on):
    commands = [*assigned(":SOUR:PRES:SLEW:MODE LIN"), *assigned(":SOUR:PRES:SLEW:OVER 0")]
    pace, _ = pace_on(*assigned(":SOUR:PRES:SLEW 0.5000"), SLEW, *commands, FASTEST)
    with pytest.raises(Refused, match="linear"):
        pace.slew_rate.set(0.5).wait(5)


def test_what_the_error_queue_says_of_a_command_is_told_and_what_it_said_before_is_not(pace_on):
    stale, refused = told(":SYST:ERR", '-113,"Undefined header"'), told(":SYST:ERR", '-222,"Data out of range"')
    exchanges = [stale, NO_ERROR, sent(":SOUR:PRES:SLEW 0.5000"), refused, NO_ERROR]
    pace, transcript = pace_on(*exchanges)
    with pytest.raises(Refused, match=r"SLEW 0\.5000.*-222") as raised:
        pace.slew_rate.set(0.5).wait(5)
    assert "-113" not in str(raised.value)
    transcript.done()


def test_a_garbled_error_queue_is_an_error(pace_on):
    pace, _ = pace_on(told(":SYST:ERR", "No error"))
    with pytest.raises(GarbledReply, match="error queue"):
        pace.slew_rate.set(0.5).wait(5)


def test_control_begins_where_the_pressure_is(pace_on):
    exchanges = [
        *look(7.0, 150.0, in_limits=0, control=OFF),
        LINEAR,
        SLEW,
        *assigned(f"{AMPLITUDE} 7.0000"),
        told(AMPLITUDE, "7.0000000"),
        *assigned(":OUTP:STAT 1"),
        ON,
    ]
    pace, transcript = pace_on(*exchanges)
    pace.control.set(1).wait(5)
    transcript.done()
    assert pace.control.get() == 1


def test_control_that_does_not_come_is_refused(pace_on):
    start = [*look(-0.01, 0.0, control=OFF), LINEAR, SLEW, *assigned(f"{AMPLITUDE} 0.0000"), told(AMPLITUDE, "0.0")]
    pace, transcript = pace_on(*start, *assigned(":OUTP:STAT 1"), OFF)
    with pytest.raises(Refused, match="stays off"):
        pace.control.set(1).wait(5)
    transcript.done()


def test_control_off_is_verified(pace_on):
    pace, transcript = pace_on(sent(":OUTP:STAT 0"), OFF, NO_VENT)
    pace.control.set(0).wait(5)
    transcript.done()


@pytest.mark.parametrize(
    "exchanges, what",
    [
        ([*look(vent=VENTING)], "vent is under way"),
        ([*look(), FASTEST, SLEW], "as fast as can be"),
        ([*look(), LINEAR, told(":SOUR:PRES:SLEW", "5.0000000")], "5 bar/s"),
        ([*look(control=OFF), LINEAR, SLEW], "control is off"),
    ],
)
def test_no_ramp_where_it_would_be_none(pace_on, exchanges, what: str):
    pace, transcript = pace_on(*exchanges)
    with pytest.raises(Refused, match=what):
        pace.setpoint.set(20.0).wait(5)
    transcript.done()


@pytest.mark.parametrize(
    "seen, what",
    [
        (look(12.4, 12.6, in_limits=0, vent=VENTING, control=OFF), "vent is under way"),
        (look(12.4, 12.6, in_limits=0, control=OFF), "control is off"),
        (look(12.4, 30.0, in_limits=0), "replaced by one to 30 bar"),
        (look(14.7, 12.6, in_limits=0), "over-pressure: 14.7 bar"),
    ],
)
def test_a_ramp_into_which_something_comes_fails(pace_on, seen, what: str):
    start = [*look(), LINEAR, SLEW, *assigned(f"{AMPLITUDE} 12.6000"), told(AMPLITUDE, "12.6000000")]
    pace, transcript = pace_on(*start, *seen)
    with pytest.raises(Refused, match=what):
        pace.setpoint.set(12.6).wait(5)
    transcript.done()


def test_the_flag_of_the_instrument_alone_is_no_arrival(pace_on):
    """Right after a command it may be that of the target before; or somebody has made its band wide."""
    start = [*look(), LINEAR, SLEW, *assigned(f"{AMPLITUDE} 12.6000"), told(AMPLITUDE, "12.6000000")]
    pace, transcript = pace_on(*start, *look(12.345, 12.6), *look(12.5, 12.6, in_limits=0), *look(12.6, 12.6))
    pace.setpoint.set(12.6).wait(10)
    transcript.done()


def safe(pace) -> None:
    ((what, action, limit_s),) = pace.safe_steps()
    assert what == "pressure held" and limit_s == 10.0
    action().wait(12)


def test_a_pressure_that_has_arrived_is_left_on_its_set_point(pace_on):
    pace, transcript = pace_on(*look(80.01, 80.0))
    safe(pace)
    transcript.done()


def test_a_controller_that_is_off_is_left_off(pace_on):
    pace, transcript = pace_on(*look(80.0, 120.0, in_limits=0, control=OFF))
    safe(pace)
    transcript.done()


def test_a_ramp_is_stopped_where_the_pressure_is(pace_on):
    stop = [*assigned(f"{AMPLITUDE} 80.0000"), told(AMPLITUDE, "80.0000000")]
    pace, transcript = pace_on(*look(80.0, 120.0, in_limits=0), *stop, *look(80.05, 80.0, in_limits=0), *look(80.0))
    safe(pace)
    transcript.done()


def test_where_a_ramp_cannot_be_stopped_control_goes_off(pace_on):
    stop = [*assigned(f"{AMPLITUDE} 80.0000"), told(AMPLITUDE, "120.0000000")]
    pace, transcript = pace_on(
        *look(80.0, 120.0, in_limits=0), *stop, sent(":OUTP:STAT 0"), ON, NO_VENT, sent(":OUTP:STAT 0"), OFF, NO_VENT
    )
    safe(pace)
    transcript.done()


def test_a_vent_is_not_called_held(pace_on):
    pace, transcript = pace_on(*look(vent=VENTING), *[sent(":OUTP:STAT 0"), OFF, VENTING] * 20)
    with pytest.raises((Refused, ValueError)):
        safe(pace)
    assert not transcript.surprises


def test_it_is_held_although_replies_are_lost(pace_on):
    pace, transcript = pace_on(
        BAR, (ON[0], LOST), IDENTITY, *look(80.0, 120.0, in_limits=0), NO_ERROR, sent(f"{AMPLITUDE} 80.0000"),
        (NO_ERROR[0], LOST), IDENTITY, *look(80.0)
    )  # fmt: skip
    pace.link.timeout_s = 0.1
    safe(pace)
    transcript.done()


def test_nothing_that_it_sends_vents():
    """The word is only ever asked for."""
    pace = PACE5000(name="pace", link=None)
    state = pace.safe_state
    actions = [action for way in state.ways.values() for action in way.actions]
    commands = [command for action in actions for command, _ in action.commands] + [c for c, _ in state.commands]
    commands += [signal.command for signal in (pace.setpoint, pace.slew_rate, pace.control)]
    assert not [command for command in commands if "VENT" in command]


def test_on_the_serial_line_messages_end_in_a_carriage_return_and_replies_begin_with_nul(on_serial_line, attach):
    transcript = on_serial_line([serial(exchange) for exchange in ATTACH])
    pace = attach(PACE5000, transcript.address, "pace", timeout_s=0.4)
    transcript.done()
    assert pace.pressure.get() == 12.345


def test_after_a_lost_reply_the_next_is_not_taken_for_it(pace_on):
    rest = [SETPOINT, IN_LIMITS, ON, NO_VENT, EFFORT]
    pace, transcript = pace_on(BAR, (PRESSURE[0], LOST), IDENTITY, BAR, told(":SENS:PRES", "13.0000000"), *rest)
    pace.trigger().wait(5)
    assert pace.pressure.get() == 13.0
    transcript.done()


def test_an_instrument_that_has_fallen_silent_is_an_error(pace_on):
    pace, _ = pace_on()
    with pytest.raises((LinkTimeout, LinkError)):
        pace.trigger().wait(20)


# ---- what the guard is told

RIG = """
title = "A membrane"

[instruments.membrane]
device = "megabar.devices.pressure_controllers.pace5000:PACE5000"
address = "{address}"
hazardous = true

[instruments.membrane.limits]
setpoint = [0.0, 120.0]
"""


@pytest.fixture
def port(tmp_path: Path):
    """What a guard is told of a controller whose rig narrows the set-point to 120 bar."""

    def make(address: str = "TCPIP::127.0.0.1::5025::SOCKET"):
        path = tmp_path / "membrane.toml"
        path.write_text(RIG.format(address=address))
        rig = load_rig(str(path))
        link = PACELink("membrane", address, None, **PACE5000.link_options)
        device = PACE5000(name="membrane", link=link)
        device.tighten(rig.content.instruments["membrane"].limits)
        return guarded_ports(rig, {"membrane": device})["membrane"]

    return make


def test_the_guard_is_told_how_it_is_spoken_to(port):
    told = port()
    assert (told["kind"], told["address"]) == ("line", ["tcp", "127.0.0.1", 5025])
    assert (told["terminator"], told["answers_all"], told["on_loss"]) == ("\r\n", False, "hold")
    assert told["identity"]["ask"] == b"*IDN?\r\n".hex()
    assert port("ASRL/dev/ttyS0::INSTR")["terminator"] == "\r"


@pytest.mark.parametrize(
    "message",
    [
        f"{AMPLITUDE} 120.0000",
        ":SOUR:PRES:SLEW 1.0000",
        ":SOUR:PRES:SLEW:MODE LIN",
        ":SOUR:PRES:SLEW:OVER 0",
        ":OUTP:STAT 1",
        ":OUTP:STAT 0",
        ":SYST:ERR?",
        f"{AMPLITUDE}:VENT?",
        ":SENS:PRES:INL?",
    ],
)
def test_what_the_device_says_passes_the_guard(port, message: str):
    assert not Lines(port()).judge(f"{message}\r\n".encode()).refused


@pytest.mark.parametrize(
    "message",
    [
        f"{AMPLITUDE} 120.1",
        f"{AMPLITUDE} -0.1",
        f"{AMPLITUDE}:VENT 1",
        f"{AMPLITUDE}:VENT 0",
        ":SOUR:VENT 1",
        ":SOUR:PRES:SLEW 1.1",
        ":SOUR:PRES:SLEW:MODE MAX",
        ":SOUR:PRES:SLEW:OVER 1",
        ":SOUR:PRES 10",
        ":UNIT:PRES MPA",
        "*RST",
        f":SYST:ERR?;{AMPLITUDE}:VENT 1",
    ],
)
def test_what_would_vent_or_go_beyond_a_limit_does_not_pass(port, message: str):
    assert Lines(port()).judge(f"{message}\r\n".encode()).refused


def test_the_guard_reads_the_replies_of_its_own_questions_and_no_others(port):
    """As they are on the wire, with their headers."""
    told, words = port(), Lines(port())
    (left,), (closed,) = (told["ways"][way]["actions"] for way in ("hold", "off"))
    assert told["ways"]["hold"]["otherwise"] == "off" and not left["send"]
    checks = {check["name"]: check for check in (*left["seen"], *closed["seen"], *told["watch"])}
    right = {"control": b":OUTP:STAT 0", "in limits": b":SENS:PRES:INL 80.0000000, 1", "pressure": b":SENS:PRES 80.0"}
    right["no vent under way"] = f"{AMPLITUDE}:VENT 2".encode()
    assert right.keys() == checks.keys()
    for name, check in checks.items():
        assert holds(words.number(right[name] + b"\r\n", check), check)
        for other in right.values():
            if other != right[name]:
                with pytest.raises(ValueError, match="does not answer"):
                    words.number(other + b"\r\n", check)
    assert not holds(words.number(b":SENS:PRES:INL 80.0000000, 0\r\n", checks["in limits"]), checks["in limits"])
    assert not holds(words.number(b":SENS:PRES 122.1\r\n", checks["pressure"]), checks["pressure"])
    with pytest.raises(ValueError, match="no vent"):
        words.number(f"{AMPLITUDE}:VENT 1\r\n".encode(), checks["no vent under way"])
