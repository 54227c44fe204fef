"""A beam shutter behind EPICS records."""

from typing import Final

from ophyd import Component as Cpt

from ..epics import EpicsInstrument
from ..errors import LimitError, Refused
from ..instrument import Reading
from ..link import Steps
from ..safe_state import SafeAction, SafeState, Seen, Way
from ..status import JobStatus

TRAVEL_S: Final = 5.0
POLL_S: Final = 0.2
COMMANDS: Final = {"open": ("Open", 1), "closed": ("Close", 0)}


class BeamShutter(EpicsInstrument):
    """Buttons `Open` and `Close`, and the switches' word for it, `Status` (0 closed, 1 open).

    There is no standard record for shutters: these names are ours, and a beamline will have its own. The search of a
    hutch and its interlock are outside this program; a shutter may refuse to open.
    """

    hazard = "radiation"
    safe_state = SafeState(
        ways={"closed": Way((SafeAction("closed", (("Close", 1),), (Seen("status", "Status", 0, 0),), 2 * TRAVEL_S),))},
        on_loss="closed",
    )

    is_open = Cpt(Reading, query="Status", parse=int, plausible=(0, 1), unit="", value=0)

    def set(self, state: str) -> JobStatus:
        """Go "open" or "closed"; done when the switches say so, fails with Refused when they do not.

        Opening into which a pause of the run comes is done without: the pause closes it.

        Raises:
            LimitError: another word.
        """
        self.check_value(state)
        return (self.submit if state == "open" else self.link.submit)(lambda: self._go(state))

    def check_value(self, state: str) -> None:
        """Raises LimitError for another word than "open" and "closed"."""
        if state not in COMMANDS:
            raise LimitError(f"{self.name} cannot be {state!r}; accepted are {', '.join(COMMANDS)}")

    def _go(self, state: str) -> Steps:
        button, expected = COMMANDS[state]
        self.fetch(self.is_open)
        if self.is_open.get() == expected:
            return
        self.start(button, 1)
        deadline = self.clock.monotonic() + TRAVEL_S
        while True:
            self.fetch(self.is_open)
            if self.is_open.get() == expected or (expected and self.paused is not None):
                return
            if self.clock.monotonic() > deadline:
                raise Refused(f"{self.name} is not {state} {TRAVEL_S:g} s after it was told to be")
            yield POLL_S
