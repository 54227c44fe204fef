"""Whether a guard could be armed is found out by questions alone."""

from collections.abc import Callable
from typing import Any

from .conftest import Guard, Source, watched


def found(guard: Guard, name: str = "laser") -> dict[str, Any]:
    answer: dict[str, Any] = guard.engine().ask("inspect")
    return answer["ports"][name]


def test_a_port_whose_readings_are_right_has_nothing_against_it(guard: Callable[..., Guard], laser: Source) -> None:
    guarded = guard(ports={"laser": laser.port(watch=[watched("reading", "READ?", 10, 30)])})
    assert guarded.engine().ask("inspect")["refused"] == ""
    assert found(guarded) == {"wrong": [], "hinders": [], "n_read": 2}


def test_only_questions_are_asked_and_nothing_is_armed(guard: Callable[..., Guard], laser: Source) -> None:
    guarded = guard(ports={"laser": laser.port(watch=[watched("reading", "READ?", 10, 30)])})
    engine = guarded.engine()
    engine.ask("inspect")
    assert laser.lines and all(line.endswith("?") for line in laser.lines)
    assert not engine.ask("status")["armed"]
    laser.on = True  # the control: what is not a question would be seen
    engine.arm().ask("release")
    assert not all(line.endswith("?") for line in laser.lines)


def test_a_reading_out_of_range_is_wrong(guard: Callable[..., Guard], laser: Source) -> None:
    guarded = guard(ports={"laser": laser.port(watch=[watched("reading", "READ?", 10, 15)])})
    assert found(guarded)["wrong"] == ["reading is 20, beyond 10..15"]
    assert "reading is 20" in guarded.engine().ask("arm", run="run", dwell_s=1.0)["refused"], "arming agrees"


def test_a_condition_that_is_not_met_yet_hinders_without_being_wrong(
    guard: Callable[..., Guard], laser: Source
) -> None:
    condition = watched("reading", "READ?", 10, 15, while_on=["laser"])
    told = found(guard(ports={"laser": laser.port(watch=[condition])}))
    assert not told["wrong"]
    assert told["hinders"] == ["reading is 20, beyond 10..15, without which laser cannot be on"]


def test_a_mute_instrument_is_wrong_although_arming_would_not_notice(
    guard: Callable[..., Guard], laser: Source
) -> None:
    guarded = guard(ports={"laser": laser.port(watch=[watched("reading", "READ?", 10, 30)])})
    laser.awake.clear()
    assert any("reading cannot be read" in line for line in found(guarded)["wrong"])


def test_an_instrument_that_is_not_there_is_wrong(guard: Callable[..., Guard], laser: Source) -> None:
    port = laser.port(address=["tcp", "127.0.0.1", 9])
    assert "cannot be reached" in found(guard(ports={"laser": port}))["wrong"][0]


def test_the_instruments_of_a_run_are_asked_nothing(guard: Callable[..., Guard], laser: Source) -> None:
    guarded = guard(ports={"laser": laser.port()})
    guarded.engine().arm()
    asked = len(laser.lines)
    assert guarded.engine().ask("inspect") == {"refused": "another engine holds the lease", "ports": {}}
    assert len(laser.lines) == asked


def test_a_guard_does_not_leave_while_another_engine_is_connected(guard: Callable[..., Guard], laser: Source) -> None:
    guarded = guard(laser)
    first, second = guarded.engine(), guarded.engine()
    assert second.ask("status")["armed"] is False
    assert first.ask("leave") == {"refused": "another engine is connected"}
    second.close()
    assert guarded.keeper.poll() is None
