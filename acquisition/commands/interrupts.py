"""How a command is interrupted: SIGINT, SIGTERM and SIGHUP alike, once."""

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Raises KeyboardInterrupt at the first signal: what was begun is ended, and no child is left.

    Whoever asks again changes nothing, and nobody is heard once it is `deaf`. Takes the place of what heard the signals
    before; to be made in the main thread.
    """

    def __init__(self) -> None:
        self.asked = self.deaf = False
        for number in SIGNALS:
            signal.signal(number, self._hear)

    def check(self) -> None:
        """Raises KeyboardInterrupt where somebody has asked for it and a library has swallowed it."""
        if self.asked:
            raise KeyboardInterrupt

    def _hear(self, number: int, frame: object) -> None:
        first, self.asked = not self.asked, True
        if first and not self.deaf:
            raise KeyboardInterrupt
