"""One guard for each rig, and for each instrument, whose address is claimed in a folder that all guards share."""

import fcntl
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .specification import PortSpecification, Specification

LEAVING_S = 1.0
"""A guard that has been told to leave is gone within this."""


class Claimed(Exception):
    """Another guard owns the rig, or an instrument."""


def claim(specification: Specification) -> list[int]:
    """Lock the rig and the addresses of every port; the descriptors hold them, in this process and its children.

    Raises Claimed.
    """
    held = [os.open(specification["socket"] + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)]
    if not _locked(held[0]):
        os.close(held[0])
        raise Claimed(f"another guard of {specification['rig']} runs")
    if not (folder := specification.get("claims")):
        return held
    Path(folder).mkdir(parents=True, exist_ok=True)
    for instrument in sorted({name for port in specification["ports"].values() for name in instruments_of(port)}):
        name = (
            f"{re.sub(r'[^A-Za-z0-9.-]+', '-', instrument)[:60]}-{hashlib.sha256(instrument.encode()).hexdigest()[:8]}"
        )
        lock = os.open(Path(folder) / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        held.append(lock)
        if not _locked(lock):
            owner = os.pread(lock, 1000, 0).decode(errors="replace").strip() or "somebody"
            for descriptor in held:
                os.close(descriptor)
            raise Claimed(f"{instrument} is owned by the guard of {owner}")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{specification['rig']} (process {os.getpid()})".encode(), 0)
    return held


def _locked(lock: int) -> bool:
    """Lock a file; one whose owner is about to leave is waited for."""
    end = time.monotonic() + LEAVING_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
        time.sleep(0.02)


def instruments_of(port: PortSpecification) -> Iterator[str]:
    """What two ports of one instrument have in common, whatever name each has for its address.

    For EPICS, where many instruments share a server, the records that are put; else the address itself.
    """
    kind, where, number = port["address"]
    if kind == "serial":
        yield f"serial {os.path.realpath(where)}"  # /dev/serial/by-id holds links
        return
    for host in _numeric(where, number):
        if kind == "ca":
            yield from (f"ca {host}:{number} {record}" for record in _put_records(port))
        else:
            yield f"{kind} {host}:{number}"


def _put_records(port: PortSpecification) -> Iterator[str]:
    beat: list[Any] = [] if port["kick"] is None else [port["kick"]["send"]]
    sent = [message for way in port["ways"].values() for action in way["actions"] for message in action["send"]]
    yield from (record for record, _ in (*sent, *beat))


def _numeric(host: str, number: int) -> set[str]:
    """All addresses of a host; its name where it has none."""
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)}
    except OSError:
        return {host.lower()}
