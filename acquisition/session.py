"""A session: a rig's devices on their links, an engine, and runs of experiments on them."""

import contextlib
import dataclasses
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from bluesky import RunEngine
from bluesky.utils import FailedStatus, RunEngineInterrupted

from ..analysis.live.analysis import LiveAnalysis
from ..devices.clock import Clock
from ..devices.errors import LimitError
from ..devices.instrument import Instrument
from ..devices.link import Link
from ..plans.parameters import Parameters
from ..plans.safety import SafetyReport, made_safe
from .clock import RealClock
from .engine import MessageCounter, aborts, engine_for
from .errors import InputError, SimulatorEnded
from .experiments import Experiment
from .guarded import guarded_ports
from .journal import Journal, JournalError, check_metadata
from .lease import GuardLost, Lease
from .observers import Observer, Observers
from .pauses import LONGEST_PAUSE_S, Pauses
from .recording import Held, continued, noted, recorded
from .resumption import Resumption
from .rig import InstrumentEntry, Rig, load_class
from .simulation import Instruments

SHORTEST_DWELL_S = 2.0
"""In real seconds: what the engine itself may need between two messages of a plan."""

VERSIONED = ("megabar", "bluesky", "ophyd", "event-model", "numpy", "scipy", "pyvisa", "pyvisa-py", "caproto")


def _say(line: str, paused: bool) -> None:
    print(line, file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    uid: str
    experiment: str
    exit_status: str
    reason: str
    folder: Path
    results: dict[str, dict[str, Any]]
    truth: dict[str, float] | None
    safety: str
    warnings: list[str]
    window: dict[str, Any]


class Session:
    """The devices of a rig, connected, and an engine to run experiments with.

    With `simulation` every instrument is the simulated one, and time is the simulation's. Attaching reads only.

    Where the rig marks instruments as hazardous and a folder for it is named, they are reached through the guard that
    serves in the folder `guard`, which is started if need be. In discrete-event time there is nothing to guard.
    """

    def __init__(
        self,
        rig: Rig,
        instruments: Sequence[str] | None = None,
        *,
        simulation: Instruments | None = None,
        guard: Path | None = None,
    ) -> None:
        self.rig = rig
        self.simulation = simulation
        self.clock: Clock = RealClock() if simulation is None else simulation.clock
        self.lease: Lease | None = None
        self.pauses: Pauses | None = None
        """Those of the run that goes on, or was the last."""
        self._links: dict[str, Link] = {}
        self.devices: dict[str, Instrument] = {}
        try:
            for name in rig.content.instruments if instruments is None else instruments:
                self.devices[name] = self._build(name)
            ports = guarded_ports(rig, self.devices, factor=self._factor)
            if ports and guard is not None and not self.clock.simulated:
                self._guard(guard, ports)
            for name in self.devices:
                self._attach(name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; changes nothing in any instrument."""
        for link in self._links.values():
            link.permit = lambda command: None
            link.end()
        if self.lease is not None:
            self.lease.leave()

    def run(
        self,
        experiment: Experiment,
        parameters: Parameters,
        folder: Path,
        *,
        seed: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        observers: Sequence[Observer] = (),
        subscribers: Sequence[Observer] = (),
        resumed: Resumption | None = None,
        tell: Callable[[str, bool], None] = _say,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> Outcome:
        """One run of an experiment, recorded in `folder`. Raises InputError before anything moves.

        Observers may fail, lag or block, each in its own thread. Subscribers are called by the engine, which waits.
        With `resumed` it goes on with a run that was interrupted, and takes over what the guard holds for that one.
        `pauses` of the session pause it and let it go on; `tell` is told so, in one line and whether it is paused.

        A failure in the run does not raise: it is told by the outcome, and by the stop document.
        """
        names, roles = self._roles(experiment)
        analyses = list(experiment.analyses(names, parameters))
        start = {**_start_metadata(self.rig, experiment, parameters, names, seed, self.clock), **(metadata or {})}
        if self.simulation is not None:
            start["rehearsal"] = True
        if resumed is not None:
            start["resumes"] = resumed.described()
            resumed.replay(analyses)
        check_metadata(start)
        report = SafetyReport(self.clock)
        hazardous = [device for device in self.devices.values() if device.hazard]
        results = {analysis.name: analysis for analysis in analyses}
        try:
            plan = experiment.plan(roles, results=results, parameters=parameters, md=start)
        except LimitError as error:
            raise InputError(str(error)) from error
        journal = Journal(folder, self.clock, durability=experiment.durability)
        busy = contextlib.nullcontext if self.lease is None else self.lease.busy

        def note_hazard(content: Mapping[str, Any]) -> None:
            with busy():
                journal.note("hazard", content)

        self.pauses = Pauses(self.clock, hazardous, note=journal.note, tell=tell, longest_s=longest_pause_s)
        plan = noted(self.pauses.held(plan), note_hazard)
        plan = made_safe(plan, hazardous, report)
        tail = _Tail()
        held = Held()
        plan = recorded(continued(plan, held), analyses)
        with (
            Observers(observers) as observed,
            engine_for(
                self.clock, [_within(busy, journal, _Analyses(analyses), tail, *subscribers, observed)]
            ) as engine,
        ):
            if self.lease is None:
                complaint = self._execute(engine, plan, report)
            else:
                dwell_s = max(SHORTEST_DWELL_S, experiment.dwell_s(parameters) / self._factor)
                lost = "" if resumed is None else resumed.lost.journal.parent.name
                seen = self.lease.arm(folder.name, dwell_s, lost=lost)
                held.take(seen, self.clock.time(), self._factor)
                complaint = self._guarded(engine, plan, report, dwell_s)
        truth = None
        try:
            if self.lease is not None and tail.stop:
                journal.note("guard", {"tripped": self.lease.tripped, "report": self.lease.report})
            truth = self._truth(journal, tail) if tail.stop else None
        except (JournalError, SimulatorEnded) as error:
            complaint = complaint or str(error)
        journal.close()
        return Outcome(
            uid=tail.uid,
            experiment=experiment.name,
            exit_status=(status := tail.stop.get("exit_status", "fail")),
            reason="" if status == "success" else self._reason(tail.stop.get("reason", "") or complaint),
            folder=folder,
            results=_scalars(tail.results),
            truth=truth,
            safety="\n".join(report.lines),
            warnings=[
                *(f"go and look: {line}" for line in report.lines if line.startswith("UNCONFIRMED")),
                *_warnings(tail, [line for analysis in analyses for line in analysis.failures]),
                *observed.warnings,
            ],
            window=_window(tail.results),
        )

    def _reason(self, told: str) -> str:
        """Why a run did not end well: what the guard says of it first, where it has tripped."""
        tripped = "" if self.lease is None else self.lease.tripped
        return told if tripped in told else f"{tripped}; {told}"

    def check_setpoints(self, experiment: Experiment, parameters: Parameters) -> None:
        """Every set-point of a plan against the limits of its device, without moving. Raises InputError."""
        try:
            experiment.plan(self._roles(experiment)[1], results={}, parameters=parameters)
        except LimitError as error:
            raise InputError(str(error)) from error

    def _roles(self, experiment: Experiment) -> tuple[dict[str, str], Any]:
        names = {role: self.rig.instrument_for(role) for role in experiment.role_names}
        for role, kind in experiment.role_kinds.items():
            device = self.devices[names[role]]
            if not isinstance(device, kind):
                where = f"{self.rig.name}: the role {role} is filled by {names[role]}, a {type(device).__name__}"
                raise InputError(f"{where}; accepted is a {kind.__name__}")
        return names, experiment.roles(**{role: self.devices[name] for role, name in names.items()})

    def _build(self, name: str) -> Instrument:
        """The device and its link, which is not opened yet."""
        entry = self.rig.content.instruments[name]
        where = f"{self.rig.name}: instruments.{name}"
        device_class = load_class(entry.device, f"{where}.device")
        if not (isinstance(device_class, type) and issubclass(device_class, Instrument)):
            raise InputError(f"{where}.device = {entry.device!r} is no device; accepted is a class of Instrument")
        address = entry.address if self.simulation is None else self.simulation.addresses.get(name)
        if address is None:
            accepted = "give one, or rehearse with --simulate" if self.simulation is None else "it is not served"
            raise InputError(f"{where} has no address; {accepted}")
        try:
            key = device_class.link_type.key(address, name)
            if key not in self._links:
                link = device_class.link_type(key, address, self.clock, **_link_options(device_class, entry, address))
                link.timeout_s *= self._factor  # the wire itself is no faster than in life
                self._links[key] = link
            device = device_class(name=name, link=self._links[key], address=address, **entry.options)
            device.tighten(entry.limits)
            if device.hazard and device.safe_state is None:
                raise InputError(f"{where}.device: {entry.device} has a hazard and declares no safe state")
        except (LimitError, TypeError, ValueError, OSError) as error:
            raise InputError(f"{where}: {_told(error, device_class)}") from error
        return device

    @property
    def _factor(self) -> float:
        """How many times as fast as life the instruments run, where their time follows the wall clock."""
        return self.clock.factor if isinstance(self.clock, RealClock) else 1.0

    def _guard(self, folder: Path, ports: Mapping[str, Mapping[str, Any]]) -> None:
        """Put the guard into the lines of the instruments that are marked hazardous. Raises InputError."""
        try:
            mortal = self.simulation is not None and not self.simulation.outlives
            self.lease = Lease.of(folder, self.rig.name, ports, rehearsal=mortal)
            known = self.lease.ask("hello")
        except GuardLost as error:
            raise InputError(f"{self.rig.name}: {error}") from error
        if known["armed"]:
            raise InputError(
                f"{self.rig.name}: another engine holds the lease of its guard, for the run {known['run']}"
            )
        for name, address in known["addresses"].items():
            self.devices[name].link.address = address
            self.devices[name].link.exclusive = False
        for name in ports:
            link = self.devices[name].link
            sharing = [device for other, device in self.devices.items() if other in ports and device.link is link]
            link.permit = self.lease.permit_for(str(device.locate("")) or link.name for device in sharing)

    def _attach(self, name: str) -> None:
        """Connect, reading only. Raises InputError."""
        where, device = f"{self.rig.name}: instruments.{name}", self.devices[name]
        link = device.link
        try:
            if not link.is_open:
                link.call(link.open)
        except OSError as error:
            raise InputError(f"{where}.address: {error}") from error
        try:
            link.call(device.connect)
        except (LimitError, ValueError, OSError) as error:
            raise InputError(f"{where}: {error}") from error

    def _guarded(self, engine: RunEngine, plan: Any, report: SafetyReport, dwell_s: float) -> str:
        """Run a plan to its end with the guard's lease, and give it back; returns why it did not end well."""
        assert self.lease is not None
        try:
            complaint = self._execute(engine, plan, report, dwell_s=dwell_s)
            self.lease.stop_beating(engine.loop)
            steps = self.lease.release()
        except GuardLost as error:
            report.lines.append(f"UNCONFIRMED by the guard: {error}")
        else:
            report.lines += [f"{result} by the guard: {step}" for step, result in steps.items()]
        return complaint

    def _execute(self, engine: RunEngine, plan: Any, report: SafetyReport, *, dwell_s: float = 0.0) -> str:
        """Run a plan to its end; returns why it did not end well."""
        # event-model words a complaint, arrays and all, for each document that it checks, and throws it away
        assert self.pauses is not None
        with aborts(engine, self.clock, report, self.pauses) as aborting, np.printoptions(threshold=0, edgeitems=0):
            if self.lease is not None:
                counter = MessageCounter()
                engine.msg_hook = counter  # type: ignore[assignment]  # bluesky declares None
                self.lease.beat_with(
                    engine.loop,
                    counter.count,
                    lambda: self._dwell_s(dwell_s),
                    lost=aborting.fail,
                    ending=lambda: aborting.asked,
                )
            try:
                engine(plan)
            except RunEngineInterrupted:
                return "interrupted"
            except FailedStatus as error:
                return str(error.__cause__ or error)
            except Exception as error:
                return str(error) or type(error).__name__
        return ""

    def _dwell_s(self, declared_s: float) -> float:
        """How long the plan may make no progress now (real s): as it declares, and for a pause while it is held."""
        if self.pauses is None or not self.pauses.waiting:
            return declared_s
        return declared_s + self.pauses.longest_s / self._factor

    def _truth(self, journal: Journal, tail: "_Tail") -> dict[str, float] | None:
        """Ask the world what was really so in the window that the results state; after the stop, never before."""
        if self.simulation is None:
            return None
        data = {key: value for key, value in tail.results.items() if key.startswith("window_")}
        epoch = self.clock.time() - self.clock.monotonic()
        window = {f"{key.removeprefix('window_')}_s": value - epoch for key, value in data.items()}
        if any(moment_s < 0.0 for moment_s in window.values()):  # of an earlier run, whose world is gone
            return None
        truth = self.simulation.truth(window or None)
        if truth is None:
            return None
        journal.append_truth({**truth, "epoch": epoch, "window": window})
        values: dict[str, float] = truth["values"]
        return {name: values[name] for name in _scalars(tail.results) if name in values}


def _within(busy: Callable[[], contextlib.AbstractContextManager[None]], *takers: Observer) -> Observer:
    """Hands each document to the takers in their order."""

    def take(name: str, document: Mapping[str, Any]) -> None:
        with busy():
            for taker in takers:
                taker(name, document)

    return take


def _link_options(device_class: type[Instrument], entry: InstrumentEntry, address: str) -> Mapping[str, Any]:
    """Those of the class, at the rate of the rig. Raises ValueError where the line has none."""
    if entry.baud is None:
        return device_class.link_options
    if not address.upper().startswith("ASRL"):
        raise ValueError(
            f"baud = {entry.baud} is of no use at {address}; accepted is a serial line, ASRL/dev/...::INSTR"
        )
    return {**device_class.link_options, "baud_rate": entry.baud}


def _told(error: Exception, device_class: type[Instrument]) -> str:
    """What is wrong with an entry; of an option that there is not, which there are."""
    if not isinstance(error, TypeError) or "unexpected keyword argument" not in str(error):
        return str(error)
    options = inspect.signature(device_class).parameters.values()
    known = [option.name for option in options if option.kind == option.KEYWORD_ONLY and option.name != "name"]
    accepted = ", ".join(name for name in known if name not in ("link", "address")) or "none"
    return f"options: {str(error).rpartition(' ')[2]} is no option of it; accepted are {accepted}"


class _Analyses:
    """Hands each event to the analyses that listen to its stream, in their order."""

    def __init__(self, analyses: Sequence[LiveAnalysis]) -> None:
        self._analyses = analyses
        self._listeners: dict[str, list[LiveAnalysis]] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "event":
            for analysis in self._listeners[document["descriptor"]]:
                analysis(name, document)
            return
        if name == "descriptor":
            listeners = [analysis for analysis in self._analyses if document["name"] in analysis.listens]
            self._listeners[document["uid"]] = listeners
        for analysis in self._analyses:
            analysis(name, document)


class _Tail:
    """Keeps what the outcome tells: uid, last results, stop document."""

    def __init__(self) -> None:
        self.uid = ""
        self.start: Mapping[str, Any] = {}
        self.stop: Mapping[str, Any] = {}
        self.results: Mapping[str, Any] = {}
        self.units: dict[str, str] = {}
        self._streams: dict[str, str] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start":
            self.uid, self.start = document["uid"], document
        elif name == "descriptor":
            self._streams[document["uid"]] = document["name"]
            if document["name"] == "results":
                self.units = {key: entry.get("units", "") for key, entry in document["data_keys"].items()}
        elif name == "event" and self._streams[document["descriptor"]] == "results":
            self.results = {**document["data"], "": self.units}
        elif name == "stop":
            self.stop = document


def _start_metadata(
    rig: Rig, experiment: Experiment, parameters: Parameters, names: Mapping[str, str], seed: int | None, clock: Clock
) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "sample": getattr(parameters, "sample", ""),
        "parameters": parameters.described(),
        "roles": dict(names),
        "rig": {"name": rig.name, "text": rig.text, "sha256": rig.sha256},
        "simulated": clock.simulated,
        "seed": seed,
        "versions": {package: importlib.metadata.version(package) for package in VERSIONED},
        "figures": [dict(figure) for figure in experiment.figures],
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _window(results: Mapping[str, Any]) -> dict[str, Any]:
    """The window that the results are averages over (s since the epoch), and what is said of it."""
    window = {key.removeprefix("window_"): value for key, value in results.items() if key.startswith("window_")}
    return {**window, "model": results["results_model"]} if window else {}


def _warnings(tail: "_Tail", failures: Sequence[str]) -> list[str]:
    """What a person should know of a run that ended well."""
    warnings = list(failures[:5])
    if len(failures) > 5:
        warnings.append(f"{len(failures) - 5} more events could not be reduced")
    if "NOT steady" in str(tail.results.get("results_model", "")):
        warnings.append("the stress was not steady: the results are averages over the last span of strain")
    if tail.stop.get("exit_status") == "success" and tail.start.get("figures") and not tail.results:
        warnings.append("no results: too little could be measured; the streams of the run hold what there is")
    return warnings


def _scalars(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Value, statistical and systematic error and unit of each result."""
    units = results.get("", {})
    return {
        name: {
            "value": results[name],
            "error": results[f"{name}_error"],
            "systematic": results[f"{name}_systematic"],
            "unit": units.get(name, ""),
        }
        for name in results
        if f"{name}_error" in results
    }
