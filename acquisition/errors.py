"""What is said to a person in one line."""


class InputError(ValueError):
    """Bad input: what is wrong, where, and what would be accepted, in one line; the command line exits with 2."""


class SimulatorEnded(RuntimeError):
    """The simulator's process is gone, or says nothing; the command line exits with 1."""
