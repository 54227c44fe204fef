"""Seeded noise: one independent sequence per instrument, or one draw per key."""

import hashlib

import numpy as np


class Noise:
    """Random numbers that depend on the seed, the owner's name and, where given, a key; on nothing else.

    What one instrument draws never shifts what another draws, and a draw with a key is the same however often and in
    whatever order it is asked for.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.seed = seed
        self.name = name
        self._sequence = self.generator("sequence")

    def normal(self, key: object = None) -> float:
        """One standard normal number: the next of the sequence, or the one that belongs to `key`."""
        return float((self._sequence if key is None else self.generator(key)).standard_normal())

    def uniform(self, key: object = None) -> float:
        """One number of [0, 1): the next of the sequence, or the one that belongs to `key`."""
        return float((self._sequence if key is None else self.generator(key)).random())

    def generator(self, key: object) -> np.random.Generator:
        """A generator of its own for `key`."""
        digest = hashlib.blake2b(f"{self.seed}/{self.name}/{key}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
