"""What should be known before a run begins, as findings: each is well, a warning, or a failure with what to do next."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..plans.parameters import Parameters
from .approval import approve, hazards_of, require_approved
from .disk import check_disk
from .dry_run import DryRun, dry_run
from .engine import Observer
from .errors import InputError
from .experiments import Experiment
from .home import guard_folder
from .lease import GuardLost, Lease
from .rig import Rig
from .session import Session
from .simulation import Simulation, describe
from .wall_clock import Steadiness, synchronised

BYTES_PER_HOUR = 20e6
"""Spectra and radiographs of a deformation, about; for a plan that cannot be dry-run."""
MARGIN = 1.5
"""A run may fill so much more than its dry run; its NeXus file comes on top, for which twice as much must be free."""
MOST_EVENTS_PER_S = 500.0
"""What the journal has been shown to take."""
JUMP_S = 0.1
SHOWN = 3
"""So many complaints of one kind are told."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check has shown."""

    check: str
    verdict: Literal["ok", "warning", "FAILED"]
    text: str


class Visit(Session):
    """A session that also stands where instruments cannot be reached; `troubles` says why, by their names."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.troubles: dict[str, str] = {}
        super().__init__(*arguments, **options)

    def _attach(self, name: str) -> None:
        try:
            super()._attach(name)
        except InputError as error:
            self.troubles[name] = str(error)


def preflight(
    rig: Rig,
    experiment: Experiment | None = None,
    parameters: Parameters | None = None,
    *,
    simulated: bool = False,
    world: Mapping[str, Any] | None = None,
    out: Path = Path("data"),
    rehearsed: bool = True,
    observers: Sequence[Observer] = (),
) -> Iterator[Finding]:
    """Check a rig, and an experiment on it: instruments, guard, set-points, plan, disk, clock. Nothing is set.

    With `simulated` the instruments are the simulated ones. Unless `rehearsed` is false the plan is dry-run on the
    simulated rig. Raises InputError for a rig or parameters that no run would begin with.
    """
    steadiness = Steadiness()
    needed = None if experiment is None else list(dict.fromkeys(map(rig.instrument_for, experiment.role_names)))
    if experiment is not None:
        roles = (f"{role}: {rig.instrument_for(role)}" for role in experiment.role_names)
        yield Finding("roles", "ok", ", ".join(roles))
    if simulated:
        with Simulation(rig, 0, world=world) as simulation, Visit(rig, needed, simulation=simulation) as session:
            yield from _instruments(session)
            if experiment is not None and parameters is not None:
                yield _setpoints(session, experiment, parameters)
                yield from _experiment(session, rig, experiment, parameters, out, rehearsed, observers)
    else:
        yield from _real(rig, needed, experiment, parameters)
        if experiment is not None and parameters is not None:
            with _twin(rig, needed, world, rehearsed) as twin:
                yield from _experiment(twin, rig, experiment, parameters, out, rehearsed, observers)
    if experiment is None:
        yield _disk(out, 0.0, "")
    yield _clock(steadiness)


def approval(rig: Rig, who: str | None = None) -> Finding | None:
    """Whether the rig file is as a person has approved it; approved now by `who`. None where nobody needs to."""
    if who is not None:
        return Finding("approval", "ok", f"approved now by {approve(rig, who).who}, SHA-256 {rig.sha256[:12]}…")
    try:
        found = require_approved(rig)
    except InputError as error:
        return Finding("approval", "FAILED", str(error))
    if found is not None:
        return Finding("approval", "ok", f"as {found.who} approved it on {found.when}")
    if hazards := hazards_of(rig, rig.content.instruments):
        text = f"nobody has approved the file ({', '.join(hazards)}): megabar check {rig.name} --approve NAME"
        return Finding("approval", "warning", text)
    return None


def _real(
    rig: Rig, needed: Sequence[str] | None, experiment: Experiment | None, parameters: Parameters | None
) -> Iterator[Finding]:
    """The instruments themselves; nobody disturbs a run that goes on."""
    names = rig.content.instruments if needed is None else needed
    if any(rig.content.instruments[name].hazardous for name in names):
        lease = Lease(guard_folder(rig))
        state = lease.state()
        lease.close()
        if state["armed"]:
            text = f"the run {state['run']} goes on: none of the rig's instruments was asked anything; wait for its end"
            yield Finding("guard", "FAILED", text)
            return
        if state["running"] and (state["tripping"] or state["held_s"]):
            text = f"what a run has left is still being made safe, or held: megabar guard status {rig.name}"
            yield Finding("guard", "FAILED", text)
            return
        if state["latched"]:
            text = f"tripped: {state['latched']}; go and look, then megabar guard acknowledge {rig.name} --name NAME"
            yield Finding("trip", "FAILED", text)
    try:
        session = Visit(rig, needed, guard=guard_folder(rig))
    except InputError as error:
        if not isinstance(error.__cause__, GuardLost):
            raise
        yield Finding("guard", "FAILED", f"{error}; nothing was asked of any instrument")
        return
    with session:
        yield from _instruments(session)
        yield from _leases(session)
        if experiment is not None and parameters is not None:
            yield _setpoints(session, experiment, parameters)


def _setpoints(session: Session, experiment: Experiment, parameters: Parameters) -> Finding:
    session.check_setpoints(experiment, parameters)
    return Finding("set-points", "ok", "those that are known before the run are within limits")


def _instruments(session: Visit) -> Iterator[Finding]:
    for name, device in session.devices.items():
        if name in session.troubles:
            text = f"{session.troubles[name]}; see that it is on, connected, and that nobody else holds its line"
            yield Finding(f"link {name}", "FAILED", text)
        else:
            yield Finding(f"link {name}", "ok", f"{device.address} answers as {type(device).__name__}")


def _leases(session: Session) -> Iterator[Finding]:
    """Whether each hazardous instrument is guarded, and whether the guard could be armed now; only questions."""
    entries = session.rig.content.instruments
    for name, device in session.devices.items():
        if device.hazard and not entries[name].hazardous:
            text = f"{name} ({device.hazard}) has no guard if this program dies: say hazardous = true in the rig"
            yield Finding(f"lease {name}", "warning", text)
    if session.lease is None:
        return
    try:
        told = session.lease.ask("inspect")
    except GuardLost as error:
        yield Finding("guard", "FAILED", f"{error}: see {session.lease.folder}")
        return
    for name, port in told.get("ports", {}).items():
        if port["wrong"]:
            text = f"{'; '.join(port['wrong'])}: the guard could not be armed, or would trip; see to the instrument"
            yield Finding(f"lease {name}", "FAILED", text)
        elif port["hinders"]:
            text = f"{'; '.join(port['hinders'])}: it could not be switched on now"
            yield Finding(f"lease {name}", "warning", text)
        else:
            yield Finding(f"lease {name}", "ok", f"the guard reads it ({port['n_read']} readings, all as they must be)")
    if told["refused"]:
        yield Finding("guard", "FAILED", f"it would refuse a run now: {told['refused']}")
    elif not any(port["wrong"] for port in told.get("ports", {}).values()):
        yield Finding("guard", "ok", "it could be armed, as far as it is asked; it is not")


@contextlib.contextmanager
def _twin(
    rig: Rig, needed: Sequence[str] | None, world: Mapping[str, Any] | None, rehearsed: bool
) -> Iterator[Session | None]:
    """A session with the simulated rig, where there is one and it is asked for."""
    if not rehearsed or not _can_be_simulated(rig):
        yield None
        return
    with Simulation(rig, 0, world=world) as simulation, Session(rig, needed, simulation=simulation) as session:
        yield session


def _can_be_simulated(rig: Rig) -> bool:
    try:
        describe(rig, 0, {})
    except InputError:
        return False
    return True


def _experiment(
    session: Session | None,
    rig: Rig,
    experiment: Experiment,
    parameters: Parameters,
    out: Path,
    rehearsed: bool,
    observers: Sequence[Observer],
) -> Iterator[Finding]:
    expected_s = experiment.expected_duration_s(parameters)
    expected_bytes, basis = BYTES_PER_HOUR * expected_s / 3600, "as estimated"
    if not rehearsed:
        yield Finding("dry run", "warning", "left out: the plan's own set-points, waits and time are not checked")
    elif session is None:
        text = "is not possible, the rig has no simulated twin: give it [world] and each instrument the key 'simulated'"
        yield Finding("dry run", "warning", text)
    else:
        found = dry_run(session, experiment, parameters, observers=observers)
        yield from _plan(found, experiment.dwell_s(parameters))
        if found.outcome.exit_status == "success":
            expected_s, expected_bytes, basis = found.duration_s, MARGIN * found.n_bytes, "as in the dry run"
    yield Finding("time", "ok", f"about {expected_s / 3600:.2g} h, {basis}")
    yield _disk(out, expected_bytes, basis)


def _plan(found: DryRun, dwell_s: float) -> Iterator[Finding]:
    """What the dry run says of the plan."""
    if found.outcome.exit_status == "success":
        yield Finding("dry run", "ok", f"{found.n_messages} messages to a good end")
    else:
        text = f"it ended as {found.outcome.exit_status}: {found.outcome.reason}; megabar run --simulate keeps a record"
        yield Finding("dry run", "FAILED", text)
    yield _verdict(
        "limits",
        found.unchecked,
        f"each of {found.n_sets} set-points goes to what checks it",
        "set, and has no check_value that would refuse a bad value",
    )
    yield _verdict(
        "deadlines", found.endless, f"all of {found.n_waits} waits have one", "waits without one: give it a timeout"
    )
    yield _verdict(
        "safe states",
        {**found.unguarded, **dict.fromkeys(found.unsafe, 1)},
        "every hazardous device was made safe at the end, and seen to be",
        "not made safe: the rig must have the device, and the device its safe state",
    )
    silence = f"at most {found.longest_silence_s:.1f} s between two messages of the plan, {dwell_s:g} s are declared"
    if found.longest_silence_s > dwell_s:
        yield Finding("dwell", "FAILED", f"{silence}: the guard would trip; let the plan's dwell_s say more, or poll")
    else:
        yield Finding("dwell", "ok", silence)
    rates = f"at most {found.events_per_s:.2g} events/s and {found.bytes_per_s / 1e6:.2g} MB/s over a minute"
    if found.events_per_s > MOST_EVENTS_PER_S:
        yield Finding("rates", "warning", f"{rates}; {MOST_EVENTS_PER_S:g} events/s have been shown to work")
    else:
        yield Finding("rates", "ok", rates)


def _verdict(check: str, complaints: Mapping[str, int], well: str, wrong: str) -> Finding:
    if not complaints:
        return Finding(check, "ok", well)
    shown = [text if n == 1 else f"{text} ({n} times)" for text, n in list(complaints.items())[:SHOWN]]
    more = f" and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
    return Finding(check, "FAILED", f"{'; '.join(shown)}{more}: {wrong}")


def _disk(out: Path, expected_bytes: float, basis: str) -> Finding:
    try:
        check_disk(out, expected_bytes)
    except InputError as error:
        return Finding("disk", "FAILED", f"{error}; make room, or choose another --out")
    needed = f"room for {expected_bytes / 1e9:.2g} GB, {basis}, twice" if basis else "local, with room for the reserve"
    return Finding("disk", "ok", needed)


def _clock(steadiness: Steadiness) -> Finding:
    if abs(jumped_s := steadiness.jumped_s()) > JUMP_S:
        text = f"the system clock jumped by {jumped_s:.1f} s during the check: find out what sets it, and check again"
        return Finding("clock", "FAILED", text)
    match synchronised():
        case True:
            return Finding("clock", "ok", "synchronised, and it did not jump")
        case False:
            text = (
                "not synchronised: time stamps may be wrong against those of others; start chrony or another NTP client"
            )
            return Finding("clock", "warning", text)
        case _:
            return Finding("clock", "warning", "it did not jump; whether it is synchronised is unknown here")
