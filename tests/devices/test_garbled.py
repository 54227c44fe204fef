"""Every driver, against a line that changes, loses, adds and repeats bytes, and against instruments of another kind.

The line answers at once, and a reply that does not end is late at once: thousands of cases take seconds, while framing,
checksums, parsing and plausibility are the driver's own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from megabar.acquisition.clock import RealClock
from megabar.devices.errors import LinkError, LinkTimeout, Refused
from megabar.devices.furnaces.eurotherm import Eurotherm3504
from megabar.devices.generators.keysight33500b import Keysight33500B
from megabar.devices.instrument import UNBOUNDED, Instrument
from megabar.devices.lasers.gate_relay import GateRelay
from megabar.devices.lasers.ipg_ylr import IPGYLR
from megabar.devices.lockins.sr830 import SR830
from megabar.devices.lockins.sr860 import SR860
from megabar.devices.meters.keithley2182a import Keithley2182A
from megabar.devices.oscilloscopes.rto import RTO
from megabar.devices.pressure_controllers.pace5000 import PACE5000
from megabar.devices.source_meters.keithley2450 import Keithley2450
from megabar.devices.sources.keithley6221 import Keithley6221
from megabar.devices.spectrometers.spectrapro import SpectraPro

from . import test_eurotherm, test_gate_relay, test_ipg_ylr, test_keithley2182a, test_pace5000, test_spectrapro
from .generators import test_keysight33500b
from .lockins import test_sr830, test_sr860
from .oscilloscopes import test_rto
from .source_meters import test_keithley2450
from .sources import test_keithley6221

FULL = 10_000
COUNTS = [200, pytest.param(FULL, marks=pytest.mark.soak)]
DRIVERS: dict[type[Instrument], list[tuple[bytes, bytes]]] = {
    Keithley2182A: [
        *test_keithley2182a.ATTACH,
        test_keithley2182a.chain(test_keithley2182a.EMF, test_keithley2182a.INTERNAL),
    ],
    Eurotherm3504: test_eurotherm.ATTACH,
    IPGYLR: test_ipg_ylr.ATTACH,
    GateRelay: test_gate_relay.ATTACH,
    PACE5000: list(map(test_pace5000.serial, test_pace5000.ATTACH)),
    SpectraPro: test_spectrapro.ATTACH,
    SR830: test_sr830.ATTACH,
    SR860: test_sr860.ATTACH,
    Keysight33500B: test_keysight33500b.ATTACH,
    Keithley2450: [*test_keithley2450.ATTACH, test_keithley2450.EVERYTHING],
    RTO: [*test_rto.ATTACH, *test_rto.EVERYTHING],
    Keithley6221: test_keithley6221.ATTACH,
}
"""What each driver with a line of its own asks, and the answers; the first question is the one that identifies."""

EDITS = st.lists(
    st.tuples(
        st.sampled_from(["change", "lose", "add", "cut", "replace", "twice"]), st.integers(0, 60), st.binary(max_size=6)
    ),
    max_size=3,
)
"""What befalls one reply."""


def edited(reply: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    for kind, at, data in edits:
        at = at % (len(reply) + 1)
        match kind:
            case "change":
                reply = reply[:at] + data + reply[at + len(data) :]
            case "lose":
                reply = reply[:at] + reply[at + 1 :]
            case "add":
                reply = reply[:at] + data + reply[at:]
            case "cut":
                reply = reply[:at]
            case "replace":
                reply = data
            case "twice":
                reply += reply
    return reply


class Line:
    """Stands in for the connection of a link: each question is answered by what `answer` makes of the right reply."""

    def __init__(self, driver: type[Instrument]) -> None:
        self.replies = dict(DRIVERS[driver])
        self.answer: Callable[[bytes], bytes] = lambda reply: reply
        self.heard: list[bytes] = []
        self.link: Any = driver.link_type("line", "ASRL/dev/null::INSTR", RealClock(), **driver.link_options)
        self.link.send, self.link._more = self._hear, self._late
        self.link._resource = self

    def _hear(self, question: bytes) -> None:
        self.heard.append(question)
        self.link._buffer += self.answer(self.replies[question])

    def _late(self, deadline: float) -> None:
        self.link.dirty = True
        raise LinkTimeout("nothing more comes")

    def close(self) -> None:
        """As a resource has it."""


def check_values(device: Instrument) -> None:
    """Whatever was accepted is plausible, or named as no number."""
    for reading in device.readings():
        if isinstance(reading.get(), str):
            continue
        value = np.asarray(reading.get(), float)
        low, high = reading.plausible
        assert not np.isinf(value).any(), reading.name
        assert np.all(np.isnan(value) | ((low <= value) & (value <= high))), (reading.name, value)


def told(device: Instrument) -> list[Any]:
    """Every value, arrays as lists."""
    values = [reading.get() for reading in device.readings()]
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]


@pytest.mark.row(14, control="test_without_a_bound_a_changed_digit_would_be_a_value")
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("n", COUNTS)
def test_garbled_replies_are_errors_and_never_implausible_values(
    driver: type[Instrument], n: int, measured: Any
) -> None:
    line = Line(driver)
    device: Any = driver(name="device", link=line.link)
    device.connect()
    refused = 0

    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(EDITS, min_size=1, max_size=8))
    def garble(each: list[list[tuple[str, int, bytes]]]) -> None:
        nonlocal refused
        coming = iter(each)
        line.answer = lambda reply: edited(reply, next(coming, []))
        try:
            device.fetch(*device.readings())
        except (LinkError, Refused):
            refused += 1
        check_values(device)
        line.answer = lambda reply: reply
        try:
            device.fetch(*device.readings())
        except LinkError:
            raise AssertionError("the line was not clean again") from None
        assert told(device) == right, "an answer was taken for another's"

    device.fetch(*device.readings())
    right = told(device)
    garble()
    measured(
        14, f"{driver.__name__}, {n:,} readings garbled: implausible values", f"none; {refused:,} refused", 0.0, ""
    )


def test_without_a_bound_a_changed_digit_would_be_a_value() -> None:
    line = Line(Keithley2182A)
    device: Any = Keithley2182A(name="device", link=line.link)
    device.connect()
    line.answer = lambda reply: reply.replace(b"E-02", b"E+12")
    with pytest.raises(LinkError):
        device.fetch(device.emf, device.cold_junction)
    device.emf.plausible = UNBOUNDED
    device.fetch(device.emf, device.cold_junction)
    with pytest.raises(AssertionError):
        device.emf.plausible = (-120.0, 120.0)
        check_values(device)


@pytest.mark.row(15, control="test_without_an_identity_a_stranger_would_be_spoken_to")
@pytest.mark.parametrize("driver", DRIVERS)
def test_whoever_answers_wrongly_is_asked_who_it_is_and_nothing_else(driver: type[Instrument]) -> None:
    line = Line(driver)
    (question, right), *_ = DRIVERS[driver]
    strangers = [reply for other in DRIVERS if other is not driver for _, reply in DRIVERS[other]]

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.one_of(st.sampled_from(strangers), st.binary(max_size=20), EDITS.map(lambda edits: edited(right, edits))))
    def ask(reply: bytes) -> None:
        line.answer, line.heard[:], line.link._buffer = lambda _: reply, [], b""
        try:
            line.link.identify()
        except LinkError:
            assert line.heard == [question]
            assert line.link.dirty or driver.link_type.identify.__qualname__.startswith(("MessageLink", "YLR"))
            return
        assume(False)  # it has answered as the right one does

    ask()


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_an_identity_a_stranger_would_be_spoken_to(driver: type[Instrument]) -> None:
    line = Line(driver)
    line.link.identity = None
    line.link.identify()
    device: Any = driver(name="device", link=line.link)
    device.connect()
    assert set(line.heard) - {DRIVERS[driver][0][0]}, "it was asked more than who it is"
    device.fetch(*device.readings())
    assert all(isinstance(value, str) or np.all(np.isfinite(value)) for value in told(device))
