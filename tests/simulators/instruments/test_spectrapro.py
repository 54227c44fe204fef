"""The simulated spectrograph: its words, its echo, the time that it takes."""

import asyncio
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megabar.simulators.instruments.spectrometers.spectrapro import SimulatedSpectraPro
from megabar.simulators.noise import Noise
from megabar.simulators.wire.exchange import Exchange
from megabar.simulators.wire.faults import Faults


class JumpingClock:
    now = 10.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float, name: str) -> None:
        self.now += delay_s


class World:
    def __init__(self) -> None:
        self.turns: list[tuple[float, float, float, float, float]] = []

    def set_spectrograph(self, *turn: float) -> None:
        self.turns.append(turn)

    def nm(self, t: float) -> float:
        """Where the centre is, by the last word on it."""
        since, nm, target_nm, arrives, _ = self.turns[-1]
        return target_nm if t >= arrives else nm + (target_nm - nm) * (t - since) / (arrives - since)


def make(seed: int = 1, **parameters) -> SimulatedSpectraPro:
    noise = Noise(seed, "spectrograph")
    return SimulatedSpectraPro(name="spectrograph", world=World(), clock=JumpingClock(), noise=noise, **parameters)


@pytest.fixture
def spectrograph() -> SimulatedSpectraPro:
    return make(offset_nm=0.0)


def say(spectrograph: SimulatedSpectraPro, words: str) -> str:
    """What follows the echo, with its ending."""
    reply = asyncio.run(spectrograph.reply(words.encode())).decode("ascii")
    assert reply.startswith(words)
    return reply.removeprefix(words)


def timed(spectrograph: SimulatedSpectraPro, words: str) -> float:
    before = spectrograph.clock.now
    assert say(spectrograph, words) == " ok\r\n"
    return spectrograph.clock.now - before


@pytest.mark.parametrize(
    "words, reply",
    [
        ("?NM", " 0.000 nm  ok\r\n"),
        ("?nm", " 0.000 nm  ok\r\n"),
        ("?GRATING", " 1  ok\r\n"),
        ("?NM/MIN", " 100.000 nm/min  ok\r\n"),
        ("MONO-?DONE", " 1  ok\r\n"),
        ("?GRATING ?NM", " 1  0.000 nm  ok\r\n"),
        ("", " ok\r\n"),
        ("5", " ok\r\n"),
    ],
)
def test_a_reply_is_the_echo_values_and_ok(spectrograph, words: str, reply: str):
    assert say(spectrograph, words) == reply


def test_the_list_of_gratings_has_nine_lines_and_an_arrow(spectrograph):
    lines = say(spectrograph, "?GRATINGS").split("\r\n")
    assert lines[0] == "" and lines[-2:] == [" ok", ""]
    assert lines[1:4] == ["\x1a1  1200 g/mm BLZ=  500NM ", " 2  300 g/mm BLZ=  750NM ", " 3  150 g/mm BLZ=  800NM "]
    assert lines[4:-2] == [f" {number}  Not Installed     " for number in range(4, 10)]
    say(spectrograph, "2 GRATING")
    assert say(spectrograph, "?GRATINGS").count("\x1a") == say(spectrograph, "?GRATINGS").count("\r\n\x1a2") == 1
    assert "BLZ=  1.6UM" in say(make(gratings=((600.0, 1600.0),)), "?GRATINGS")


def test_going_somewhere_is_answered_on_arrival(spectrograph):
    assert timed(spectrograph, "546.7 GOTO") == pytest.approx(0.2 + 5.467)
    assert say(spectrograph, "?NM") == " 546.700 nm  ok\r\n"
    assert timed(spectrograph, "10 NM/MIN 547.7 NM") == pytest.approx(0.2 + 6.0)
    since, nm, target_nm, arrives, grooves = spectrograph.world.turns[-1]
    assert (nm, target_nm, grooves) == (546.7, 547.7, 1200.0) and arrives - since == pytest.approx(6.2)


def test_a_grating_takes_twenty_seconds_and_keeps_the_wavelength(spectrograph):
    timed(spectrograph, "500 GOTO")
    assert timed(spectrograph, "2 GRATING") == pytest.approx(20.0)
    assert say(spectrograph, "?GRATING ?NM") == " 2  500.000 nm  ok\r\n"
    assert spectrograph.world.turns[-1][4] == 300.0
    assert timed(spectrograph, "2 GRATING") == 0.0
    assert timed(spectrograph, "800 GOTO") == pytest.approx(0.2 + 300.0 / 400.0)  # a coarser one turns less


def test_a_grating_that_is_not_installed_is_answered_by_ok_and_nothing(spectrograph):
    assert timed(spectrograph, "4 GRATING") == timed(spectrograph, "1.5 GRATING") == 0.0
    assert say(spectrograph, "?GRATING") == " 1  ok\r\n"


@pytest.mark.parametrize(
    "words", ["X", "GOTO", "NM", "1401 GOTO", "-1 GOTO", "0 NM/MIN", "?NM? ", "1e3 GOTO", "nan GOTO"]
)
def test_what_is_not_understood_or_out_of_reach_turns_nothing(spectrograph, words: str):
    n = len(spectrograph.world.turns)
    assert say(spectrograph, words).endswith(" ? \r\n")
    assert say(spectrograph, "?NM") == " 0.000 nm  ok\r\n" and len(spectrograph.world.turns) == n


def test_each_grating_has_its_reach(spectrograph):
    timed(spectrograph, "1400 GOTO")
    timed(spectrograph, "2 GRATING")
    timed(spectrograph, "5600 GOTO")
    assert say(spectrograph, "5601 GOTO") == " ? \r\n"
    assert say(spectrograph, "1 GRATING") == " ? \r\n"
    assert say(spectrograph, "?GRATING ?NM") == " 2  5600.000 nm  ok\r\n"


def test_words_before_one_that_is_unknown_have_been_acted_on(spectrograph):
    assert say(spectrograph, "500 GOTO X 600 GOTO") == " ? \r\n"
    assert say(spectrograph, "?NM") == " 500.000 nm  ok\r\n"


def test_a_move_may_be_left_to_itself_and_stopped(spectrograph):
    assert timed(spectrograph, "600 NM/MIN 60 >NM") == 0.0
    spectrograph.clock.now += 3.2
    assert say(spectrograph, "?NM MONO-?DONE").startswith(" 30.968 nm  0 ")
    assert say(spectrograph, "MONO-STOP") == " ok\r\n"
    spectrograph.clock.now += 10.0
    assert say(spectrograph, "?NM MONO-?DONE") == " 30.968 nm  1  ok\r\n"


def test_its_scale_is_a_little_off_for_the_whole_run():
    offsets = []
    for seed in range(300):
        spectrograph = make(seed, nm=600.0)
        timed(spectrograph, "700 GOTO")
        offsets.append(spectrograph.world.nm(spectrograph.clock.now) - 700.0)
        assert say(spectrograph, "?NM") == " 700.000 nm  ok\r\n"
        assert spectrograph.world.turns[0][1] - 600.0 == pytest.approx(offsets[-1])
    assert statistics.stdev(offsets) == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize("n", [0, 10])
def test_a_turret_holds_one_to_nine(n: int):
    with pytest.raises(ValueError, match="1 to 9"):
        make(gratings=((300.0, 500.0),) * n)


def test_words_that_come_while_it_turns_wait_for_the_arrival():
    """As it is served: one message after the other."""

    class Line:
        open = True
        heard = b""

        def write(self, data: bytes) -> None:
            self.heard += data

    class Clock(JumpingClock):
        def received(self, wire: str, n_bytes: int) -> None:
            """Nothing to count."""

        sent = received

        def trace(self, wire: str, direction: str, data: bytes) -> None:
            """Nobody looks on."""

    async def both(clock: Clock, line: Line) -> None:
        spectrograph = SimulatedSpectraPro(name="s", world=World(), clock=clock, noise=Noise(1, "s"))
        exchange = Exchange(spectrograph, clock, Faults(), line, asyncio.Lock())
        exchange.receive(b"500 GOTO\r?NM\r")
        task = asyncio.ensure_future(exchange.run())
        while b"?NM" not in line.heard:
            await asyncio.sleep(0)
        task.cancel()

    clock, line = Clock(), Line()
    asyncio.run(both(clock, line))
    assert line.heard == b"500 GOTO ok\r\n?NM 500.000 nm  ok\r\n" and clock.now > 15.0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["?NM", "2 GRATING", "X", ""]), max_size=8), st.lists(st.integers(0, 60), max_size=5))
def test_messages_are_the_same_however_they_are_cut(texts: list[str], cuts: list[int]):
    data, buffer, messages, start = "".join(text + "\r" for text in texts).encode(), bytearray(), [], 0
    for end in [*sorted(cut for cut in cuts if cut <= len(data)), len(data)]:
        buffer += data[start:end]
        start = max(start, end)
        while (message := make().take_message(buffer)) is not None:
            messages.append(message)
    assert messages == [text.encode() for text in texts]


def test_of_an_endless_message_only_an_error_remains(spectrograph):
    buffer = bytearray(b"5" * 1000)
    assert spectrograph.take_message(buffer) is None
    buffer += b"\r?NM\r"
    assert say(spectrograph, spectrograph.take_message(buffer).decode()) == " ? \r\n"
    assert spectrograph.take_message(buffer) == b"?NM"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40).filter(lambda data: b"\r" not in data))
def test_every_message_is_answered(data: bytes):
    reply = asyncio.run(make().reply(data))
    assert reply.isascii() and reply.endswith((b" ok\r\n", b" ? \r\n"))
