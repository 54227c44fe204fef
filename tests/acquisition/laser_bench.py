"""A laser bench whose simulated instruments are reached by their addresses, as real ones are."""

import contextlib
from pathlib import Path
from typing import Any

from megabar.acquisition.experiments import Experiment
from megabar.acquisition.home import guard_folder
from megabar.acquisition.lease import Lease
from megabar.acquisition.preflight import Finding, preflight
from megabar.acquisition.rig import load_rig
from megabar.acquisition.simulation import Simulation

QUICK = {"settle_s": "0", "duration_s": "5", "current_percent": "2"}
BENCH = (Path(__file__).parents[1] / "laser_bench.template").read_text(encoding="utf-8")


class Bench:
    """Simulated laser and relay in real time, and the rig file with their addresses."""

    def __init__(self, folder: Path, served: Simulation) -> None:
        self.file, self.trace_file, self.addresses = folder / "bench.toml", folder / "trace", served.addresses
        self.write()

    def write(self, *, more: str = "", hazardous: bool = True, **addresses: str) -> None:
        told = {**self.addresses, **addresses, "hazardous": str(hazardous).lower()}
        self.file.write_text(BENCH.format(**told) + more, encoding="utf-8")

    @property
    def guard(self) -> Path:
        return guard_folder(load_rig(str(self.file)))

    def state(self) -> dict[str, Any]:
        with contextlib.closing(Lease(self.guard)) as lease:
            return lease.state()

    def close(self) -> None:
        """End a guard that has stayed."""
        with contextlib.closing(Lease(self.guard)) as lease:
            lease.acknowledge("the test", even_unconfirmed=True)
            lease.leave()

    def found(self, experiment: Experiment | None = None, **settings: Any) -> dict[str, Finding]:
        parameters = None if experiment is None else experiment.parse(QUICK)
        out = self.file.parent / "data"
        return {
            finding.check: finding
            for finding in preflight(load_rig(str(self.file)), experiment, parameters, out=out, **settings)
        }

    def written(self) -> list[bytes]:
        """What was sent to laser and relay beside questions."""
        lines = [line.split() for line in self.trace_file.read_text(encoding="ascii").splitlines()]
        sent = [(wire, bytes.fromhex(data)) for _, wire, direction, data in lines if direction == "in"]
        questions = (b"RFV", b"STA", b"RCS", b"ROP", b"RCT")
        commands = [data for wire, data in sent if wire == "laser" and not data.startswith(questions)]
        return commands + [data for wire, data in sent if wire == "relay" and data[1] not in (1, 3)]
