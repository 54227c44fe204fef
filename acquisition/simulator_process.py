"""The simulator's process: started before it is known what to simulate, so that it imports beside this one."""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self

from .errors import InputError, SimulatorEnded

ANSWER_S = 60.0
"""How long an answer may take, in real seconds."""


class SimulatorProcess:
    """A child process that is told on its standard input, line by line, what to serve and what to answer.

    `control` is our end of the socket over which simulated time is agreed, `their_control` the number of the other.
    """

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        self.their_control = theirs.fileno()
        self._told = False
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "megabar.simulators.serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=(self.their_control,),
                start_new_session=True,  # a Ctrl-C is for the engine; the simulated instruments go on, as real ones do
                # for arrays as small as these a pool of BLAS threads only spins, on the core that the engine needs
                env={**os.environ, "PYTHONWARNINGS": "ignore", "OPENBLAS_NUM_THREADS": "1"},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def tell(self, request: Mapping[str, Any]) -> None:
        """Send one line. Raises SimulatorEnded."""
        assert self._process.stdin is not None
        self._told = True
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SimulatorEnded("the simulator has ended; what it had to say stands above") from error

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to what was told. Raises InputError for a rig that it refuses, SimulatorEnded."""
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], ANSWER_S)[0]
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise SimulatorEnded("the simulator does not answer; what it had to say stands above")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise InputError(f"the simulated rig cannot be built: {reply['error']}")
        return reply

    def close(self) -> None:
        """End it; at once when it has nothing to tell the world yet. May be called twice."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self.control.close()
        if not self._told:
            self._process.kill()
        try:
            self._process.stdin.close()
        except OSError:  # it has ended before it read the last line
            pass
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
