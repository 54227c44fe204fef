"""The flow meter: its bytes as the manual has them, its limits, and its twin through the wire."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_meter import WF100

from megabar.acquisition.clock import RealClock
from megabar.acquisition.rig import load_rig
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation
from megabar.devices.errors import LimitError, WrongInstrument

MANUAL = {"*IDN?": "ACME,WF100,0007,1.2", ":FLOW?": "7.913", ":ALARM?": "2.00"}


class Transcript:
    """Answers as the manual's examples do, and keeps what it was asked."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies, self.heard = replies, list[str]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"TCPIP::127.0.0.1::{self._listener.getsockname()[1]}::SOCKET"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection, connection.makefile("rw", newline="\n") as lines:
            for line in lines:
                self.heard.append(line.strip())
                if line.strip() in self.replies:
                    lines.write(self.replies[line.strip()] + "\n")
                    lines.flush()


@pytest.fixture
def attached() -> Iterator[tuple[WF100, Transcript]]:
    transcript = Transcript(MANUAL)
    link = WF100.link_type("water", transcript.address, RealClock(), **WF100.link_options)
    link.call(link.open)
    device = WF100(name="water", link=link)
    link.call(device.connect)
    yield device, transcript
    link.call(link.close)


def test_attaching_only_reads(attached: tuple[WF100, Transcript]) -> None:
    assert attached[1].heard == ["*IDN?", ":FLOW?", ":ALARM?"]


def test_a_reading_has_a_value_and_a_unit(attached: tuple[WF100, Transcript]) -> None:
    device, _ = attached
    device.trigger().wait(5)
    assert device.read()["water_flow"]["value"] == 7.913
    assert device.describe()["water_flow"]["units"] == "l/min"


def test_a_level_beyond_the_limits_is_refused_before_a_byte_is_sent(attached: tuple[WF100, Transcript]) -> None:
    device, transcript = attached
    before = list(transcript.heard)
    with pytest.raises(LimitError, match=r"accepted are 0\.5\.\.50 l/min"):
        device.alarm_level.set(0.1)
    assert transcript.heard == before


def test_another_instrument_is_refused() -> None:
    transcript = Transcript({"*IDN?": "ACME,PH7,0001,2.0"})
    link = WF100.link_type("water", transcript.address, RealClock(), **WF100.link_options)
    with pytest.raises(WrongInstrument, match="PH7"):
        link.call(link.open)
    assert transcript.heard == ["*IDN?"]


def test_device_and_twin_understand_each_other_through_the_wire() -> None:
    rig = load_rig(str(Path(__file__).parent / "water.toml"))
    with Simulation(rig, seed=1) as simulation, Session(rig, simulation=simulation) as session:
        water = session.devices["water"]
        water.link.call(water.acquire)
        assert water.flow.get() == pytest.approx(8.0, abs=0.1)
        water.link.call(lambda: water.alarm_level.apply(3.0))
        assert water.alarm_level.get() == 3.0
        with pytest.raises(LimitError):
            water.alarm_level.set(0.6)  # the rig has narrowed 0.5..50 to 1..20
