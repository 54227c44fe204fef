"""What a query costs through the guard: asked directly and through it in turn, in one run.

Run with Python; prints percentiles. The guard polls the instrument every 20 ms meanwhile.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

N_QUERIES = 20_000


def serve(listener: socket.socket) -> None:
    """Answer every line by its own text, without the question mark."""

    def answer(connection: socket.socket) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                *lines, buffer = (buffer + data).split(b"\n")
                connection.sendall(b"".join(line.removesuffix(b"?") + b"\n" for line in lines))

    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def instrument() -> tuple[int, int]:
    """A process of its own; its id and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if not pid:
        serve(listener)
    port = listener.getsockname()[1]
    listener.close()
    return pid, port


def specification(folder: Path, port: int) -> dict:
    """One port with one reading that is watched."""
    reading = {"name": "reading", "ask": b"20?\n".hex(), "low": 20.0, "high": 20.0, "mask": 0, "pattern": r"^(\d+)$"}
    reading |= {"signed": False, "scale": 1.0, "every_s": 0.02, "stale_s": 1.0, "while_on": []}
    off = {"actions": [{"name": "off", "send": [], "seen": [], "within_s": 0.5}], "otherwise": "", "grace_s": 0.0}
    line = {
        "kind": "line",
        "address": ["tcp", "127.0.0.1", port],
        "terminator": "\n",
        "answers_all": False,
        "refusal": "",
        "identity": {"ask": b"*IDN?\n".hex(), "expect": "IDN"},
        "reply_s": 1.0,
        "stage": 0,
        "on_loss": "off",
        "ways": {"off": off},
        "reads": [],
        "commands": [],
        "watch": [reading],
        "kick": None,
    }
    return {
        "rig": "benchmark",
        "version": "benchmark",
        "socket": str(folder / "s"),
        "log": str(folder / "log"),
        "latch": str(folder / "latch"),
        "lease_s": 60.0,
        "dwell_max_s": 600.0,
        "orphan_s": 0.0,
        "rehearsal": True,
        "ports": {"fake": line},
    }


def address_of(path: str) -> tuple[str, int]:
    """Where the guard offers its port, as soon as it serves."""
    while True:
        with socket.socket(socket.AF_UNIX) as guard:
            try:
                guard.connect(path)
            except OSError:
                time.sleep(0.01)
                continue
            guard.sendall(b'{"op": "hello"}\n')
            _, host, number, _ = json.loads(guard.recv(65536))["addresses"]["fake"].replace("::", " ").split()
            return host, int(number)


def query(connection: socket.socket, number: int) -> float:
    """Seconds that one question took."""
    begun = time.perf_counter()
    connection.sendall(f"{number}?\n".encode())
    reply = connection.recv(4096)
    took = time.perf_counter() - begun
    assert reply == f"{number}\n".encode(), reply
    return took


def main() -> None:
    """Measure and print."""
    pid, port = instrument()
    with tempfile.TemporaryDirectory() as name:
        told = Path(name) / "guard.json"
        told.write_text(json.dumps(specification(Path(name), port)), encoding="utf-8")
        command = [sys.executable, "-I", "-m", "megabar.acquisition.guard", str(told)]
        keeper = subprocess.Popen(command, start_new_session=True)
        try:
            addresses = {"direct": ("127.0.0.1", port), "guard": address_of(str(Path(name) / "s"))}
            lines = {key: socket.create_connection(address) for key, address in addresses.items()}
            for line in lines.values():
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            took: dict[str, list[float]] = {key: [] for key in lines}
            for number in range(N_QUERIES):
                for key, line in lines.items():
                    took[key].append(1e6 * query(line, number))
            for key, times in took.items():
                times.sort()
                parts = "  ".join(f"{p:g} %: {times[int(len(times) * p / 100)]:6.0f} us" for p in (50, 90, 99, 99.9))
                print(f"{key:7} n = {len(times)}  {parts}")
            extra = took["guard"][int(0.99 * N_QUERIES)] - took["direct"][int(0.99 * N_QUERIES)]
            print(f"the guard adds {extra / 1e3:.3f} ms at the 99th percentile")
        finally:
            keeper.terminate()
            keeper.wait()
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
