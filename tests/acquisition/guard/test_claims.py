"""No instrument has two guards, whatever its address is called in their rig files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megabar.acquisition.guard.claims import instruments_of

from .conftest import Guard, Slave, Source


def refusal(guard: Guard) -> str:
    """What a guard says that does not begin."""
    assert guard.keeper.wait(10) == 2
    (line,) = guard.said().strip().splitlines()
    return line


@pytest.fixture
def claims(tmp_path: Path) -> str:
    return str(tmp_path / "claims")


def test_a_second_guard_of_an_instrument_names_the_first_and_does_not_begin(
    guard: Callable[..., Guard], laser: Source, claims: str
) -> None:
    first = guard(laser, claims=claims, rig="first.toml")
    second = guard(laser, claims=claims, rig="second.toml", wait=False)
    host, port = laser.address[1:]
    assert refusal(second) == f"tcp {host}:{port} is owned by the guard of first.toml (process {first.keeper.pid})"
    assert first.engine().arm().ask("status")["armed"], "the first is not disturbed"


def test_without_claims_there_would_be_two(guard: Callable[..., Guard], laser: Source) -> None:
    """The control."""
    assert guard(laser).engine().ask("status") and guard(laser).engine().ask("status")


def test_another_name_of_a_host_is_the_same_instrument(guard: Callable[..., Guard], laser: Source, claims: str) -> None:
    guard(laser, claims=claims)
    alias = laser.port(address=["tcp", "localhost", laser.address[2]])
    assert "is owned by" in refusal(guard(ports={"laser": alias}, claims=claims, wait=False))


def test_a_link_to_a_serial_line_is_the_same_instrument(
    guard: Callable[..., Guard], slave: Callable[..., Slave], claims: str, tmp_path: Path
) -> None:
    relay = slave("relay")
    link = tmp_path / "by-id"
    link.symlink_to(relay.address[1])
    guard(relay, claims=claims)
    again = relay.port(address=["serial", str(link), relay.address[2]])
    assert "is owned by" in refusal(guard(ports={"relay": again}, claims=claims, wait=False))


def test_guards_of_different_instruments_stand_side_by_side(
    guard: Callable[..., Guard], source: Callable[..., Source], claims: str
) -> None:
    for name in ("one", "other"):
        assert not guard(source(name), claims=claims).engine().ask("status")["armed"]


def test_a_claim_survives_a_guard_that_dies_and_ends_with_one_that_leaves(
    guard: Callable[..., Guard], laser: Source, claims: str
) -> None:
    first = guard(laser, claims=claims)
    os.kill(first.pid, 9)
    assert "is owned by" in refusal(guard(laser, claims=claims, wait=False))
    first.reached().settled()
    assert first.engine().ask("ack", who="the test")
    first.keeper.terminate()
    first.keeper.wait(10)
    assert guard(laser, claims=claims).engine().ask("status")


def epics(*records: str, host: str = "127.0.0.1", kick: str = "") -> Any:
    actions = [{"send": [[record, 1.0]]} for record in records]
    return {
        "address": ["ca", host, 5064],
        "ways": {"off": {"actions": actions}},
        "kick": {"send": [kick, 1.0]} if kick else None,
    }


def test_instruments_of_one_epics_server_are_told_apart_by_the_records_that_are_put() -> None:
    press, shutter = epics("press:Stop", kick="press:Beat"), epics("shutter:Close")
    assert set(instruments_of(press)) == {"ca 127.0.0.1:5064 press:Stop", "ca 127.0.0.1:5064 press:Beat"}
    assert not set(instruments_of(press)) & set(instruments_of(shutter))
    assert set(instruments_of(press)) & set(instruments_of(epics("press:Beat", host="localhost")))
