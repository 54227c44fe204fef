"""Every EPICS driver, against a circuit that changes, loses and adds bytes of what the server says."""

import socket
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megabar.devices import channel_access, instrument
from megabar.devices.errors import LinkError, Refused

from .conftest import PAIRS

EDITS = st.lists(
    st.tuples(st.sampled_from(["change"] * 6 + ["lose", "add", "cut"]), st.integers(0, 1 << 16), st.binary(max_size=6)),
    max_size=3,
)


class Garbling:
    """A socket whose next pieces come as `edits` leave them."""

    edits: list[list[tuple[str, int, bytes]]] = []

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def recv(self, n: int) -> bytes:
        data = self._inner.recv(n)
        for kind, at, new in Garbling.edits.pop(0) if Garbling.edits else ():
            at %= len(data) + 1
            match kind:
                case "change":
                    data = data[:at] + new + data[at + len(new) :]
                case "lose":
                    data = data[:at] + data[at + 1 :]
                case "add":
                    data = data[:at] + new + data[at:]
                case "cut":
                    data = data[:at]
        return data or b"\0"


@pytest.fixture
def garbling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Circuits are garbled, and an answer that does not come is not waited for."""

    def connect(*arguments: Any) -> Any:
        return Garbling(socket.create_connection(*arguments))

    made = types.SimpleNamespace(**{**vars(socket), "create_connection": connect})
    monkeypatch.setattr(channel_access, "socket", made)
    monkeypatch.setattr(instrument, "ATTEMPTS", 1)


@pytest.mark.row(14, control="test_without_a_bound_a_changed_exponent_would_be_a_value")
@pytest.mark.parametrize("n", [200, pytest.param(10_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", PAIRS)
def test_garbled_records_are_errors_and_never_implausible_values(
    garbling: None, station: Any, measured: Any, name: str, n: int
) -> None:
    device, refused = station.device(name), 0
    station.link.timeout_s = 0.01
    station.job(station.link.close)

    def read() -> None:
        device.fetch(*device.readings())

    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def garble(each: list[list[tuple[str, int, bytes]]]) -> None:
        nonlocal refused
        Garbling.edits = list(each)
        try:
            station.job(read)
        except (LinkError, Refused):
            refused += 1
        Garbling.edits = []
        for reading in device.readings():
            value, (low, high) = np.asarray(reading.get(), float), reading.plausible
            assert np.all(np.isnan(value) | ((low <= value) & (value <= high))), (reading.name, value)

    garble()
    station.link.timeout_s = 2.0
    station.job(station.link.close)
    station.job(read)
    what = f"{type(device).__name__}, {n:,} readings garbled: implausible values"
    measured(14, what, f"none; {refused:,} refused", 0.0, "")


def test_without_a_bound_a_changed_exponent_would_be_a_value(station: Any) -> None:
    ring = station.device("ring")
    ring.current.plausible = instrument.UNBOUNDED
    ring.current.take(1e300, 0.0)
    assert ring.current.get() == 1e300
