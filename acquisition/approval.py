"""That a person has approved a rig file: who, when, and the hash of what was approved. Kept beside the guards."""

import dataclasses
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from .errors import InputError
from .home import home, key_of
from .rig import Rig, load_class

LONGEST_NAME = 100


@dataclasses.dataclass(frozen=True)
class Approval:
    """One line of a rig's approvals; the last one counts."""

    who: str
    when: str
    """UTC, ISO 8601."""
    sha256: str
    rig: str


def approve(rig: Rig, who: str) -> Approval:
    """Record that a person has approved the rig file as it was read. Raises InputError."""
    who = who.strip()
    if not who or not who.isprintable() or len(who) > LONGEST_NAME:
        raise InputError(f"--approve {who!a:.40}: accepted is the name of a person, of at most {LONGEST_NAME} letters")
    approval = Approval(who, datetime.now(UTC).isoformat(timespec="seconds"), rig.sha256, rig.name)
    path = _kept(rig)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(json.dumps(dataclasses.asdict(approval)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"{path}: the approval cannot be recorded ({error.strerror})") from error
    return approval


def approval_of(rig: Rig) -> Approval | None:
    """The last approval of the file at the rig's path, whatever it says now. Raises InputError for one that is torn."""
    path = _kept(rig)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the approvals of {rig.name} cannot be read ({error})") from error
    try:
        return Approval(**json.loads(lines[-1]))
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{path}: the last approval of {rig.name} cannot be believed; megabar check {rig.name} --approve NAME"
        ) from error


def require_approved(rig: Rig) -> Approval | None:
    """The approval of the rig file; None where nobody has ever approved one. Raises InputError for an altered file."""
    approval = approval_of(rig)
    if approval is not None and approval.sha256 != rig.sha256:
        raise InputError(
            f"{rig.name} was altered since {approval.who} approved it on {approval.when}; a person has to read it and "
            f"approve it anew: megabar check {rig.name} --approve NAME"
        )
    return approval


def hazards_of(rig: Rig, names: Iterable[str]) -> list[str]:
    """Those of some instruments that can hurt people or samples. Raises InputError for a class that is not there."""

    def is_hazard(name: str) -> bool:
        entry = rig.content.instruments[name]
        device = load_class(entry.device, f"{rig.name}: instruments.{name}.device")
        return entry.hazardous or bool(getattr(device, "hazard", ""))

    return list(filter(is_hazard, names))


def _kept(rig: Rig) -> Path:
    return home() / "approvals" / f"{key_of(rig)}.jsonl"
