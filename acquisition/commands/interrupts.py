"""How a command is interrupted: SIGINT, SIGTERM and SIGHUP alike, once."""

import contextlib
import signal
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Raises KeyboardInterrupt at the first signal: what was begun is ended, and no child is left.

    Whoever asks again changes nothing, and nobody is heard once it is `deaf`. Takes the place of what heard the signals
    before, until `restore`; to be made in the main thread.
    """

    def __init__(self) -> None:
        self.asked = self.deaf = False
        self._put_off = False
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}

    def ignore(self, number: signal.Signals) -> None:
        """Hear nothing of another signal either, until `restore`."""
        self._before[number] = signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """Nobody interrupts what is done within; who asked meanwhile is heard at its end."""
        self._put_off = True
        try:
            yield
        finally:
            self._put_off = False
        self.check()

    def restore(self) -> None:
        """Let those hear the signals who did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises KeyboardInterrupt where somebody has asked for it and a library has swallowed it."""
        if self.asked:
            raise KeyboardInterrupt

    def _hear(self, number: int, frame: object) -> None:
        first, self.asked = not self.asked, True
        if first and not self.deaf and not self._put_off:
            raise KeyboardInterrupt
