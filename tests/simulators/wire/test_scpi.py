"""The SCPI engine, on an instrument made for it."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megabar.simulators.clock import WallClock
from megabar.simulators.wire.scpi import ScpiInstrument, Setting, command, query
from megabar.simulators.wire.scpi_grammar import Boolean, Choice, Number, ScpiError, block, headers, mnemonics


class Source(ScpiInstrument):
    identity = "MEGABAR,SOURCE,7,1.0"

    level = Setting("[:SOURce]:VOLTage[:LEVel]", Number(-10, 10, 0.5), 0.5)
    limit = Setting("[:SOURce]:VOLTage:LIMit", Number(0, 20, 20), 20.0)
    points = Setting(":TRACe:POINts", Number(1, 1000, 10, integer=True), 10.0)
    output = Setting(":OUTPut[:STATe]", Boolean(), False)
    shape = Setting(":FUNCtion", Choice(("SINusoid", "SQUare")), "SIN")
    sense = Setting(":SENSe:FUNCtion", Choice(("VOLTage[:DC]", "TEMPerature"), quoted=True), "VOLT:DC")
    second = Setting(":INPut2:GAIN", Number(0, 100, 1), 1.0)
    first = Setting(":INPut1:GAIN", Number(0, 100, 1), 1.0)

    def __init__(self) -> None:
        super().__init__(name="source", clock=WallClock(), latency_s=0.001)
        self.beeps: list[tuple] = []

    @command(":BEEPer", Number(0, 1, 0), Number(1, 100, 1, integer=True))
    def _beep(self, width_s: float, count: float) -> None:
        self.beeps.append((width_s, count))

    @query(":MEASure")
    async def _measure(self) -> str:
        await asyncio.sleep(0)
        return "+1.0E+00"

    @command(":HOT")
    def _hot(self) -> None:
        raise ScpiError(-221)


@pytest.fixture
def source() -> Source:
    return Source()


def ask(source: Source, message: str) -> str | None:
    return asyncio.run(source.execute(message))


def errors(source: Source) -> list[str]:
    found = []
    while (error := ask(source, "SYST:ERR?")) != '0,"No error"':
        found.append(error.split(",")[0])
    return found


def test_a_mnemonic_is_its_capitals_or_the_whole_word():
    assert mnemonics("VOLTage") == ("VOLT", "VOLTAGE")
    assert mnemonics("DC") == ("DC",)
    assert set(mnemonics("CHANnel1")) == {"CHAN1", "CHAN", "CHANNEL1", "CHANNEL"}
    assert set(mnemonics("CHANnel2")) == {"CHAN2", "CHANNEL2"}


def test_optional_nodes_may_be_left_out():
    assert set(headers("[:SENSe]:VOLTage[:DC]")) == {
        *("SENS:VOLT:DC", "SENS:VOLT", "VOLT:DC", "VOLT", "SENS:VOLTAGE:DC", "SENS:VOLTAGE", "VOLTAGE:DC", "VOLTAGE"),
        *("SENSE:VOLT:DC", "SENSE:VOLT", "SENSE:VOLTAGE:DC", "SENSE:VOLTAGE"),
    }


@pytest.mark.parametrize(
    "header",
    ["VOLT", ":VOLT", "volt", ":SOURce:VOLTage:LEVel", "SOUR:VOLT", "Source:Voltage", "VOLT:LEV", "voltage:level"],
)
def test_every_form_of_a_header_sets_the_same_value(source: Source, header: str):
    assert ask(source, f"{header} 2.5") is None
    assert ask(source, f"{header}?") == "+2.50000000E+00"
    assert not errors(source)


@pytest.mark.parametrize("header", ["VOLTA", "VOL", "VOLTAG:LEV", "SO:VOLT", "LEV", "VOLT:VOLT", "INP3:GAIN", "VOLT1"])
def test_other_forms_are_undefined_headers(source: Source, header: str):
    assert ask(source, f"{header}?") is None
    assert errors(source) == ["-113"]


@pytest.mark.parametrize("question", ["VOLT?", "VOLT ?", "VOLT   ?", " VOLT? "])
def test_blanks_before_the_question_mark_are_accepted(source: Source, question: str):
    assert ask(source, question) == "+5.00000000E-01"


def test_a_chain_remembers_the_path_of_the_header_before(source: Source):
    assert ask(source, "SOUR:VOLT:LEV 3;LIM 5;LEV?;LIM?;:OUTP ON;:OUTP?") == "+3.00000000E+00;+5.00000000E+00;1"
    assert not errors(source)


def test_common_commands_leave_the_path_alone(source: Source):
    assert ask(source, "SOUR:VOLT:LEV 3;*OPC?;LIM 5;LIM?") == "1;+5.00000000E+00"


def test_a_chain_does_not_fall_back_to_the_root(source: Source):
    assert ask(source, "SOUR:VOLT:LEV 3;OUTP ON") is None
    assert errors(source) == ["-113"]
    assert ask(source, "OUTP?") == "0"


def test_the_path_is_forgotten_with_the_message(source: Source):
    ask(source, "SOUR:VOLT:LEV 3")
    assert ask(source, "LIM?") is None
    assert errors(source) == ["-113"]


def test_suffixes_tell_channels_apart_and_one_may_be_left_out(source: Source):
    ask(source, "INP2:GAIN 5;:INP:GAIN 3")
    assert ask(source, "INP1:GAIN?;:INPUT2:GAIN?") == "+3.00000000E+00;+5.00000000E+00"


@pytest.mark.parametrize(
    "text, value", [("MIN", -10), ("MAXIMUM", 10), ("def", 0.5), ("1e0", 1), ("-.5", -0.5), ("+3.", 3)]
)
def test_numbers_and_their_names(source: Source, text: str, value: float):
    ask(source, f"VOLT {text}")
    assert float(ask(source, "VOLT?")) == value
    assert not errors(source)


def test_a_query_may_ask_for_the_limits(source: Source):
    assert ask(source, "VOLT? MAX;VOLT? MIN;VOLT? DEF") == "+1.00000000E+01;-1.00000000E+01;+5.00000000E-01"


@pytest.mark.parametrize(
    "message, code",
    [
        ("VOLT 10.001", "-222"),
        ("VOLT 1e999", "-222"),
        ("VOLT nan", "-104"),
        ("VOLT inf", "-104"),
        ("VOLT 1_0", "-104"),
        ("VOLT high", "-104"),
        ("VOLT", "-109"),
        ("VOLT 1,2", "-108"),
        ("VOLT? 3", "-108"),
        ("BEEP 0.1", "-109"),
        ("BEEP 0.1,", "-109"),
        ("OUTP maybe", "-104"),
        ("FUNC TRI", "-224"),
        ("SENS:FUNC 'CURR'", "-224"),
        ("SENS:FUNC VOLT", "-104"),
        ('SENS:FUNC "VOLT', "-151"),
        ("VOLT\x01 3", "-102"),
        (":", "-102"),
        ("1VOLT 3", "-102"),
        ("*WHAT", "-113"),
        ("MEAS", "-113"),
        ("BEEP?", "-113"),
        ("HOT", "-221"),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(source: Source, message: str, code: str):
    assert ask(source, message) is None
    assert errors(source) == [code]
    assert ask(source, "VOLT?") == "+5.00000000E-01"
    assert not source.beeps


def test_quoted_text_may_hold_separators(source: Source):
    assert ask(source, "SENS:FUNC 'TEMP';FUNC?") == '"TEMP"'
    ask(source, 'SENS:FUNC "a;b,c"')
    assert errors(source) == ["-224"]
    assert ask(source, 'SENS:FUNC "voltage";FUNC?') == '"VOLT:DC"'


def test_two_arguments_and_an_asynchronous_answer(source: Source):
    assert ask(source, "BEEP 0.25 , 4;:MEAS?") == "+1.0E+00"
    assert source.beeps == [(0.25, 4.0)]


@pytest.mark.parametrize("unit", ["NONSENSE", "VOLT high", "VOLT", "VOLT 1,2"])
def test_after_a_command_error_the_rest_of_the_message_is_left_alone(source: Source, unit: str):
    assert ask(source, f"VOLT?;{unit};:OUTP ON") == "+5.00000000E-01"
    assert ask(source, "OUTP?") == "0"


def test_after_an_execution_error_the_message_goes_on(source: Source):
    assert ask(source, "VOLT 99;:OUTP ON;:OUTP?") == "1"
    assert errors(source) == ["-222"]


def test_reset_brings_back_defaults_and_clear_empties_the_queue(source: Source):
    ask(source, "VOLT 3;:OUTP ON;:WRONG")
    assert ask(source, "*RST;*CLS;VOLT?;:OUTP?") == "+5.00000000E-01;0"
    assert not errors(source)


def test_the_error_queue_is_first_in_first_out_and_says_when_it_overflowed(source: Source):
    ask(source, "VOLT 99")
    for _ in range(11):
        ask(source, "WRONG")
    assert errors(source) == ["-222", *["-113"] * 8, "-350"]


def test_events_are_latched_until_they_are_read(source: Source):
    assert ask(source, "*ESR?") == "128"
    ask(source, "VOLT 99;*OPC")
    ask(source, "WRONG")
    assert ask(source, "*ESR?") == str(16 + 1 + 32)
    assert ask(source, "*ESR?") == "0"


def test_the_status_byte_sums_up_errors_events_and_messages(source: Source):
    ask(source, "*CLS;*ESE 32;*SRE 36")
    assert ask(source, "*STB?") == "0"
    assert ask(source, "*OPC?;*STB?") == "1;16"
    ask(source, "WRONG")
    assert ask(source, "*STB?") == str(4 + 32 + 64)
    assert ask(source, "*ESE?;*SRE?") == "32;36"
    ask(source, "*CLS")
    assert ask(source, "*STB?") == "0"


def test_identity_self_test_and_completion(source: Source):
    assert ask(source, "*IDN?;*TST?;*OPC?;*WAI") == "MEGABAR,SOURCE,7,1.0;0;1"


def messages(source: Source, *segments: bytes) -> list[bytes]:
    buffer, found = bytearray(), []
    for segment in segments:
        buffer += segment
        while (message := source.take_message(buffer)) is not None:
            found.append(message)
    return found


def test_messages_end_in_line_feed_or_carriage_return_or_both(source: Source):
    assert messages(source, b"A\r", b"\nB\n", b"C\rD\n\n", b"E") == [b"A", b"B", b"C", b"D"]


def test_an_endless_message_is_thrown_away_with_an_error(source: Source):
    flood = [b"x" * 700] * 10
    assert messages(source, b"*IDN?\n", *flood, b"\nVOLT 1\n") == [b"*IDN?", b"VOLT 1"]
    assert errors(source) == ["-363"]


def test_a_complete_message_that_is_too_long_is_not_executed(source: Source):
    assert messages(source, b"VOLT 1" + b" " * 3000 + b"\n*OPC?\n") == [b"*OPC?"]
    assert errors(source) == ["-363"]


def test_bytes_that_are_no_text_are_an_error(source: Source):
    assert asyncio.run(source.reply(b"VOLT \xb5?")) == b""
    assert errors(source) == ["-101"]
    assert asyncio.run(source.reply(b"*OPC?")) == b"1\n"


WORDS = [
    "*IDN?",
    "*CLS",
    "*RST",
    "VOLT",
    "?",
    " ",
    ";",
    ":",
    ",",
    "'",
    '"',
    "MAX",
    "1e3",
    "SOUR:",
    "LIM?",
    "OUTP",
    "-",
    "#",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), max_size=20).map("".join))
def test_garbage_never_crashes_it(message: str):
    source = Source()
    answer = ask(source, message)
    assert answer is None or isinstance(answer, str)
    assert -10 <= source.level <= 10
    assert ask(source, "*OPC?") == "1"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_no_bytes_crash_the_reader_or_fill_its_memory(segments: list[bytes]):
    source, buffer = Source(), bytearray()
    for segment in segments:
        buffer += segment
        while (message := source.take_message(buffer)) is not None:
            asyncio.run(source.reply(message))
        assert len(buffer) <= source.message_limit


class Recorder(ScpiInstrument):
    data = b"\n#;\x00\xff"

    def __init__(self) -> None:
        super().__init__(name="recorder", clock=WallClock(), latency_s=0.001)

    @query(":DATA")
    def _data(self) -> bytes:
        return block(self.data)


def test_a_block_of_bytes_is_an_answer_among_others():
    recorder = Recorder()
    assert asyncio.run(recorder.reply(b"*OPC?;:DATA?;*OPC?")) == b"1;#15\n#;\x00\xff;1\n"
    assert asyncio.run(recorder.reply(b"*OPC?")) == b"1\n"


@given(st.binary(max_size=2000))
def test_a_block_says_how_long_it_is(data: bytes):
    told = block(data)
    digits = int(told[1:2])
    assert told[:1] == b"#" and int(told[2 : 2 + digits]) == len(data) and told[2 + digits :] == data
