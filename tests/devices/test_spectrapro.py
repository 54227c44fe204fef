"""The spectrograph's device, against a transcript of the examples of its manuals and of drivers of others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megabar.devices.errors import GarbledReply, LimitError, LinkError, Refused, WrongInstrument
from megabar.devices.spectrometers import Spectrometer
from megabar.devices.spectrometers.spectrapro import (
    SpectraPro,
    parse_grating,
    parse_gratings,
    parse_grooves,
    parse_wavelength,
)


def told(words: str, value: str) -> tuple[bytes, bytes]:
    """Words and their answer."""
    return f"{words}\r".encode(), f"{words} {value}  ok\r\n".encode()


def turned(words: str) -> tuple[bytes, bytes]:
    """Words that turn something."""
    return f"{words}\r".encode(), f"{words} ok\r\n".encode()


def gratings(in_place: int = 1, *installed: str) -> str:
    """As the instrument lists them."""
    known = installed or ("1200 g/mm BLZ=  500NM", "300 g/mm BLZ=  1.0UM", "150 g/mm BLZ=  500NM")
    lines = [*known, *["Not Installed    "] * (9 - len(known))]
    marks = ["\x1a" if number == in_place else " " for number in range(1, 10)]
    return (
        "".join(f"\r\n{mark}{n}  {line} " for n, (mark, line) in enumerate(zip(marks, lines, strict=True), 1)) + "\r\n"
    )


MODEL = told("MODEL", "SP-2356")
NM = told("?NM", "700.000 nm")
GRATING = told("?GRATING", "1")
LIST = told("?GRATINGS", gratings())
ATTACH = [MODEL, NM, GRATING, LIST, LIST]
LOST = b""


@pytest.fixture
def spectrograph_on(on_serial_line, attach):
    """A spectrograph attached to a transcript that begins as every attachment does."""

    def make(*exchanges: tuple[bytes, bytes]):
        transcript = on_serial_line([*ATTACH, *exchanges])
        return attach(SpectraPro, transcript.address, "spectrograph", timeout_s=0.4), transcript

    return make


def test_it_asks_for_the_model_and_then_only_reads(spectrograph_on):
    spectrograph, transcript = spectrograph_on()
    transcript.done()
    assert isinstance(spectrograph, Spectrometer)
    assert spectrograph.installed == {1: 1200.0, 2: 300.0, 3: 150.0}
    assert spectrograph.grooves.get() == 1200.0


@pytest.mark.parametrize(
    "reply, error",
    [
        (b"MODEL 2182A  ok\r\n", WrongInstrument),
        (b"MODEL ? \r\n", WrongInstrument),
        (b"SP-2356  ok\r\n", GarbledReply),  # no echo
        (b"\xf0MODEL SP-2356  ok\r\n", GarbledReply),
        (b"MODEL \xf0SP-2356  ok\r\n", GarbledReply),
    ],
)
def test_another_instrument_is_refused_after_one_question(on_serial_line, attach, reply: bytes, error):
    transcript = on_serial_line([(b"MODEL\r", reply)])
    with pytest.raises(error):
        attach(SpectraPro, transcript.address, "spectrograph", timeout_s=0.4)
    transcript.done()


def test_trigger_asks_and_read_tells(spectrograph_on):
    spectrograph, transcript = spectrograph_on(told("?NM", "546.70"), GRATING)
    spectrograph.trigger().wait(5)
    transcript.done()
    assert {name: entry["value"] for name, entry in spectrograph.read().items()} == {
        "spectrograph_wavelength": 546.7,
        "spectrograph_grating": 1,
    }
    assert spectrograph.describe()["spectrograph_wavelength"]["units"] == "nm"


@pytest.mark.parametrize(
    "reply",
    [b"700.000 nm  ok\r\n", b"?GRATING 1  ok\r\n", b"?NM 7\x8b0.000 nm  ok\r\n", b"?NM 700.000 nm\r\n", b"\r\n"],
)
def test_the_reply_to_other_words_is_never_a_value(spectrograph_on, reply: bytes):
    spectrograph, transcript = spectrograph_on((NM[0], reply), MODEL, told("?NM", "1.5 nm"), GRATING)
    spectrograph.trigger().wait(10)
    transcript.done()
    assert spectrograph.wavelength.get() == 1.5


@pytest.mark.parametrize("text", ["700.0.0 nm", "99999.0 nm", "700.0 um", "7e2 nm", ""])
def test_what_is_no_wavelength_is_never_a_value(spectrograph_on, text: str):
    spectrograph, transcript = spectrograph_on(told("?NM", text), GRATING, told("?NM", "1.5 nm"), GRATING)
    spectrograph.trigger().wait(10)
    transcript.done()
    assert spectrograph.wavelength.get() == 1.5


def test_the_list_of_gratings_is_read_as_it_is_written():
    assert parse_gratings(gratings(2).strip()) == ({1: 1200.0, 2: 300.0, 3: 150.0}, 2)
    installed, in_place = parse_gratings(gratings(2, "1800 g/mm BLZ=  500NM", "MIRROR").strip())
    assert installed[1] == 1800.0 and math.isnan(installed[2]) and in_place == 2
    assert parse_grooves(gratings(3).strip()) == 150.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        gratings(9).strip(),  # none is in place there
        gratings().strip().replace("\x1a", ""),
        gratings().strip().replace(" 2  300", " 3  300"),
        gratings().strip().replace("\r\n 4  Not Installed     ", ""),
        "1200 g/mm",
    ],
)
def test_another_list_is_none(text: str):
    with pytest.raises(ValueError, match="grating"):
        parse_gratings(text)


@given(st.text(max_size=12))
def test_no_text_becomes_a_value_that_there_is_not(text: str):
    for parse in (parse_wavelength, parse_grating, parse_grooves):
        try:
            assert math.isfinite(parse(text))
        except ValueError:
            pass


@pytest.mark.parametrize(
    "name, value",
    [
        ("wavelength", -1.0),
        ("wavelength", 11_201.0),
        ("wavelength", float("nan")),
        ("grating", 4),
        ("grating", 0),
        ("grating", 1.5),
    ],
)
def test_what_is_beyond_a_limit_is_refused_before_a_byte_is_sent(spectrograph_on, name: str, value: float):
    spectrograph, transcript = spectrograph_on()
    before = transcript.n_bytes
    for method in ("set", "check_value"):
        with pytest.raises(LimitError):
            getattr(getattr(spectrograph, name), method)(value)
    assert transcript.n_bytes == before


def test_a_wavelength_is_gone_to_and_read_back(spectrograph_on):
    spectrograph, transcript = spectrograph_on(GRATING, turned("546.700 GOTO"), told("?NM", "546.700 nm"))
    spectrograph.wavelength.set(546.7).wait(5)
    transcript.done()
    assert spectrograph.at_rest


def test_a_wavelength_beyond_the_grating_in_place_is_refused_before_it_turns(spectrograph_on):
    spectrograph, transcript = spectrograph_on(GRATING)
    with pytest.raises(LimitError, match="grating 1 reaches to 1400 nm"):
        spectrograph.wavelength.set(1500.0).wait(5)
    transcript.done()


def test_an_arrival_elsewhere_is_refused(spectrograph_on):
    spectrograph, _ = spectrograph_on(GRATING, turned("546.700 GOTO"), told("?NM", "545.900 nm"))
    with pytest.raises(Refused, match=r"stands at 545\.9 nm"):
        spectrograph.wavelength.set(546.7).wait(5)


def test_words_that_are_not_understood_are_refused(spectrograph_on):
    spectrograph, transcript = spectrograph_on(GRATING, (b"546.700 GOTO\r", b"546.700 GOTO ? \r\n"))
    with pytest.raises(Refused, match="not understood"):
        spectrograph.wavelength.set(546.7).wait(5)
    transcript.done()


def test_a_garbled_arrival_is_an_error_and_the_line_is_cleaned(spectrograph_on):
    spectrograph, transcript = spectrograph_on(
        GRATING, (b"546.700 GOTO\r", b"546.7\x000 GOTO ok\r\n"), MODEL, NM, GRATING
    )
    with pytest.raises(GarbledReply):
        spectrograph.wavelength.set(546.7).wait(5)
    spectrograph.trigger().wait(5)
    transcript.done()


def test_an_arrival_that_never_comes_is_an_error(spectrograph_on, monkeypatch):
    monkeypatch.setattr("megabar.devices.spectrometers.spectrapro.TURNING_S", 0.5)
    spectrograph, transcript = spectrograph_on(GRATING, (b"546.700 GOTO\r", LOST), MODEL, NM, GRATING)
    with pytest.raises(LinkError, match="not been answered"):
        spectrograph.wavelength.set(546.7).wait(5)
    spectrograph.trigger().wait(5)
    transcript.done()


def test_a_grating_is_put_in_place_and_read_back(spectrograph_on):
    after = [told("?GRATING", "2"), NM, told("?GRATINGS", gratings(2))]
    spectrograph, transcript = spectrograph_on(GRATING, NM, turned("2 GRATING"), *after)
    spectrograph.grating.set(2).wait(5)
    transcript.done()
    assert spectrograph.grooves.get() == 300.0


def test_the_grating_that_is_in_place_stays(spectrograph_on):
    spectrograph, transcript = spectrograph_on(GRATING, NM)
    spectrograph.grating.set(1).wait(5)
    transcript.done()


def test_a_grating_that_was_not_changed_although_all_is_ok_is_refused(spectrograph_on):
    spectrograph, _ = spectrograph_on(GRATING, NM, turned("2 GRATING"), GRATING, NM, LIST)
    with pytest.raises(Refused, match="1 is in place"):
        spectrograph.grating.set(2).wait(5)


def test_a_grating_that_does_not_reach_the_wavelength_is_refused_before_it_turns(spectrograph_on):
    spectrograph, transcript = spectrograph_on(told("?GRATING", "3"), told("?NM", "1500.000 nm"))
    with pytest.raises(LimitError, match="grating 1 reaches"):
        spectrograph.grating.set(1).wait(5)
    transcript.done()
