"""Any order of what engines, guards, instruments and people may do: an output that is on has a live lease."""

import os
import signal
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

LEASE_S = 0.15
ALLOWED_S = 0.15
AGAIN_S = 1.0
"""How often the guard looks at what it has made safe."""


class FoundOn(BaseException):
    """The output is on and should not be; ends the search, as what depends on time is no use to shrink."""


def explore(laser, guard, n_runs, n_steps, *, guarded=True):
    """Let hypothesis look for an order of events after which the output is on and should not be."""
    output = laser.off()["seen"][0] | {"high": 1.0, "every_s": 0.02, "stale_s": 0.2, "while_on": []}
    reading = output | {"name": "reading", "ask": b"READ?\n".hex(), "low": 10.0, "high": 30.0}
    way = {"actions": [laser.off(within_s=0.2)], "otherwise": "", "grace_s": 0.0}
    port = laser.port(watch=[output, reading], ways={"off": way})
    guard = guard(ports={"laser": port}, lease_s=LEASE_S if guarded else 1e9, dwell_max_s=1e9)
    n = {"runs": 0, "steps": 0, "trips": 0, "arms": 0, "on": 0}

    class Events(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            n["runs"] += 1
            laser.stuck, laser.reading = False, "20.0"
            self.engine = guard.reached()
            self.engine.settled()
            if self.engine.ask("status")["latched"]:
                self.engine.settled(**{"laser: output off": "CONFIRMED"})
                self.engine.ask("ack", who="A. Tester")
            self.line = None
            self.beats = self.armed = False
            self.patience_s = 0.0

        def sent(self, data):
            try:
                if self.line is None:
                    self.line = self.engine.line("laser")
                self.line.send(data)
            except OSError:
                self.line = None

        @rule(on=st.booleans(), acknowledged=st.booleans())
        def arm(self, on, acknowledged):
            if self.armed:
                return
            if self.line is not None:
                self.line.close()
                self.line = None
            if acknowledged:
                self.acknowledge()
            state = self.engine.ask("status")
            answer = self.engine.ask("arm", run="run", dwell_s=1e9)
            if "armed" in answer:
                assert not state["latched"]
                n["arms"] += 1
                self.engine.tripped = ""
                self.armed = self.beats = True
                self.engine._still.clear()
                self.engine.beat_on(1e9)
                if on:
                    self.switch_on()
                    with laser.changed:
                        n["on"] += laser.changed.wait_for(lambda: laser.on, 0.05)

        @rule()
        def stop_beating(self):
            self.engine.stop_beating()
            self.beats = False

        @rule(kill=st.sampled_from([False, False, True]))
        def end(self, kill):
            if not self.armed:
                return
            if kill:
                os.kill(guard.pid, signal.SIGKILL)
                assert self.engine.hung_up()
            n["trips"] += 1
            self.engine.close()
            self.engine, self.line, self.armed, self.beats = guard.reached(), None, False, False

        @rule()
        def switch_on(self):
            self.sent(b"OUTP ON\n")

        @rule(wait_s=st.sampled_from([0.0, 0.01, 0.05]))
        def wait(self, wait_s):
            time.sleep(wait_s)

        @rule()
        def acknowledge(self):
            self.engine.settled()
            answer = self.engine.ask("ack", who="A. Tester")
            assert "refused" in answer or set(answer["report"].values()) <= {"CONFIRMED"}

        @rule()
        def status(self):
            state = self.engine.ask("status")
            assert not (state["armed"] and state["latched"])

        @rule(stuck=st.booleans())
        def get_stuck(self, stuck):
            if laser.stuck and not stuck:
                self.patience_s = 2 * AGAIN_S
            laser.stuck = stuck

        @rule(value=st.sampled_from(["20.0", "31.0"]))
        def read(self, value):
            laser.reading = value

        @invariant()
        def what_is_on_has_a_live_lease(self):
            n["steps"] += 1
            if self.engine.tripped:
                n["trips"] += self.armed
                self.armed = self.beats = False
            if (self.armed and self.beats and laser.reading == "20.0") or laser.stuck or not laser.on:
                return
            with laser.changed:
                if not laser.changed.wait_for(
                    lambda: not laser.on or laser.stuck, LEASE_S + ALLOWED_S + self.patience_s
                ):
                    raise FoundOn(f"armed {self.armed}, beats {self.beats}, reading {laser.reading}")
            self.patience_s = 0.0

        def teardown(self):
            laser.stuck, laser.reading = False, "20.0"
            self.engine.close()

    run_state_machine_as_test(
        Events,
        settings=settings(
            max_examples=n_runs,
            stateful_step_count=n_steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(n)


def test_an_output_that_is_on_has_a_live_lease(laser, guard) -> None:
    explore(laser, guard, 120, 20)


@pytest.mark.soak
def test_an_output_that_is_on_has_a_live_lease_in_many_runs(laser, guard) -> None:
    explore(laser, guard, 500, 40)


def test_without_a_lease_that_ends_it_would_be_found_on(laser, guard) -> None:
    with pytest.raises((FoundOn, FlakyFailure)) as found:
        explore(laser, guard, 200, 20, guarded=False)
    # found once, if not again when hypothesis tries that anew on a busy machine
    assert isinstance(found.value, FoundOn) or found.group_contains(FoundOn, depth=1)
