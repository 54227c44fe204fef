"""What a person can mend: bad input, said in one line."""


class InputError(ValueError):
    """Bad input: what is wrong, where, and what would be accepted, in one line; the command line exits with 2."""
