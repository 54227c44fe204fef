"""Question and answer belong together, whoever else asks, and however late an answer comes."""

import threading
import time

import pytest

from megabar.acquisition.clock import RealClock
from megabar.devices.errors import LinkTimeout
from megabar.devices.visa import MessageLink


def polled(laser, check_reading, **port):
    return {"laser": laser.port(watch=[check_reading], **port)}


@pytest.fixture
def reading():
    """A reading that is 20 and nothing else, asked every 20 ms."""
    wanted = {"name": "reading", "ask": b"READ?\n".hex(), "low": 20.0, "high": 20.0, "mask": 0, "signed": False}
    return wanted | {"scale": 1.0, "pattern": r"^(\S+)$", "every_s": 0.02, "stale_s": 2.0, "while_on": []}


@pytest.mark.row(13, control="test_without_a_lock_answers_are_mixed")
@pytest.mark.parametrize("serial", [False, True])
def test_eight_threads_and_the_guard_get_their_own_answers(source, guard, reading, serial) -> None:
    laser = source(serial=serial)
    engine = guard(ports=polled(laser, reading)).engine().arm()
    line, lock, wrong = engine.line("laser"), threading.Lock(), []

    def ask(thread):
        for i in range(500):
            with lock:
                reply = line.ask(f"E{thread}{i:03}?")
            if reply != f"{thread}{i:03}":
                wrong.append((thread, i, reply))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert laser.lines.count("READ?") >= 10
    assert not engine.tripped


def test_without_a_lock_answers_are_mixed(laser, direct) -> None:
    line, wrong, begin = direct(laser), [], threading.Barrier(4)
    laser.delay = lambda message: 0.002

    def ask(thread):
        begin.wait()
        for i in range(20):
            question = f"E{thread}{i:03}?"
            line.send(f"{question}\n".encode())
            if line.receive(0.05) != f"{thread}{i:03}\n".encode():
                wrong.append(question)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong


@pytest.mark.row(12, control="test_without_the_identity_it_would")
def test_late_answers_are_nobody_elses(laser, guard, reading) -> None:
    """One in a hundred comes after its time, whoever asked."""
    guard = guard(ports=polled(laser, reading, reply_s=0.05))
    engine = guard.engine().arm()
    laser.delay = lambda message: 0.075 if laser.chance.random() < 0.01 else 0.0
    link = MessageLink("laser", engine.ask("hello")["addresses"]["laser"], RealClock(), timeout_s=0.05, identity="FAKE")
    link.call(link.open)
    n_late, wrong = 0, []
    for i in range(1000):
        try:
            link.call(lambda i=i: wrong.append(i) if link.query(f"E{i}?") != str(i) else None)
        except LinkTimeout:
            n_late += 1
    link.call(link.close)
    print(f"{n_late} of 1000 late, {len(wrong)} wrong")
    assert wrong == []
    assert 2 <= n_late < 40
    assert not engine.tripped


def late_answer_of_the_guard(laser, guard, reading, **port):
    reading["every_s"] = 0.3
    line = guard(ports=polled(laser, reading, **port)).engine().line("laser")
    laser.wait(lambda: laser.times(b"READ?"))
    n = len(laser.times(b"READ?"))
    laser.delay = lambda message: 0.16 if message == b"READ?" else 0.0
    laser.wait(lambda: len(laser.times(b"READ?")) > n)
    return line.ask("E1?", 0.5)


def test_late_answer_of_the_guard_does_not_become_the_engines(laser, guard, reading) -> None:
    assert late_answer_of_the_guard(laser, guard, reading) in ("1", "")


def test_without_the_identity_it_would(laser, guard, reading) -> None:
    assert late_answer_of_the_guard(laser, guard, reading, identity=None) == "20.0"


def late_answer_of_the_engine(laser, guard, reading, **port):
    engine = guard(ports=polled(laser, reading, **port)).engine().arm()
    laser.delay = lambda message: 0.16 if message.startswith(b"E") else 0.0
    for _ in range(3):
        engine.line("laser").send(b"E7?\n")
        time.sleep(0.3)
    return engine.tripped


def test_late_answer_of_the_engine_does_not_become_the_guards(laser, guard, reading) -> None:
    assert late_answer_of_the_engine(laser, guard, reading) == ""


def test_nor_would_it_stay_out_without_the_identity(laser, guard, reading) -> None:
    assert "reading is 7" in late_answer_of_the_engine(laser, guard, reading, identity=None)


def test_question_of_a_connection_that_has_gone_is_not_answered_to_the_next(laser, guard) -> None:
    engine = guard(laser).engine()
    laser.delay = lambda message: 0.02
    first = engine.line("laser")
    first.send(b"E1?\nE2?\n")
    laser.wait(lambda: laser.times(b"E1?"))
    first.close()
    assert engine.line("laser").ask("E3?") == "3"


def test_question_that_is_asked_too_late_is_not_asked(laser, guard) -> None:
    """Who asked has given up, so the answer would be taken for that to the next question."""
    line = guard(laser).engine().line("laser")
    laser.awake.clear()
    line.send(b"E1?\nE2?\n")
    time.sleep(0.25)
    laser.awake.set()
    time.sleep(0.15)
    assert line.ask("E3?") == "3"
    assert "E2?" not in laser.lines


def test_mute_instrument_gets_no_more_questions_of_the_engine(laser, guard) -> None:
    line = guard(laser).engine().line("laser")
    laser.awake.clear()
    for n in range(4):
        assert line.ask(f"E{n}?", 0.15) == ""
    laser.awake.set()
    time.sleep(0.25)
    assert line.ask("E9?") == "9"
    assert laser.lines.count("E0?") == 1
    assert {"E1?", "E2?"}.isdisjoint(laser.lines)


def test_mute_instrument_still_gets_what_makes_it_safe(laser, guard) -> None:
    line = guard(laser).engine().arm().line("laser")
    line.send(b"OUTP ON\n")
    laser.wait(lambda: laser.on)
    laser.awake.clear()
    assert line.ask("E0?", 0.15) == ""
    line.send(b"OUTP ON\nOUTP OFF\n")
    laser.wait(lambda: laser.times(b"OUTP OFF"), 1.0)
    laser.awake.set()
    laser.wait(lambda: not laser.on)
    assert laser.lines.count("OUTP ON") == 1
