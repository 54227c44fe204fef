"""Metadata that cannot be recorded is refused before a byte goes to an instrument."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megabar.acquisition.errors import InputError
from megabar.acquisition.experiments import find
from megabar.acquisition.rig import load_rig
from megabar.acquisition.session import Session
from megabar.acquisition.simulation import Simulation

UNWRITABLE = st.one_of(
    st.sets(st.integers(), min_size=1), st.binary(), st.complex_numbers(), st.builds(object), st.just(float("nan"))
)
METADATA = st.dictionaries(
    st.text("abc", min_size=1, max_size=4),
    st.recursive(
        UNWRITABLE, lambda inner: st.lists(inner, min_size=1, max_size=2) | st.fixed_dictionaries({"k": inner})
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Session, list[bytes]]]:
    """A rehearsed laser bench, and what has been sent to its instruments."""
    rig, said = load_rig("laser_bench"), []
    with Simulation(rig, 4) as simulation, Session(rig, simulation=simulation) as session:
        for device in session.devices.values():
            link: Any = device.link

            def note(data: bytes, send: Any = link.send) -> None:
                said.append(data)
                send(data)

            link.send = note
        yield session, said


@pytest.mark.row(30, control="test_without_the_check_the_instruments_are_spoken_to")
@pytest.mark.parametrize("n", [200, pytest.param(10_000, marks=pytest.mark.soak)])
def test_nothing_is_sent_where_metadata_cannot_be_recorded(
    sent: tuple[Session, list[bytes]], tmp_path: Path, measured: Any, n: int
) -> None:
    session, said = sent
    experiment = find("irradiation")

    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(METADATA)
    def refuse(metadata: dict[str, Any]) -> None:
        with pytest.raises(InputError) as refused:
            session.run(experiment, experiment.parse({}), tmp_path / "run", metadata=metadata)
        assert "\n" not in str(refused.value)
        assert said == []

    refuse()
    assert not (tmp_path / "run").exists()
    measured(30, f"{n:,} runs with metadata that cannot be recorded: bytes sent", "none", len(b"".join(said)), "bytes")


def test_without_the_check_the_instruments_are_spoken_to(
    sent: tuple[Session, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, said = sent
    monkeypatch.setattr("megabar.acquisition.session.check_metadata", lambda metadata: None)
    experiment = find("irradiation")
    outcome = session.run(experiment, experiment.parse({}), tmp_path / "run", metadata={"odd": {1, 2}})
    assert outcome.exit_status == "fail"
    assert said
