"""Seeded noise: one independent sequence per instrument, or one draw per key."""

import hashlib
import math
import struct

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
        if key is None:
            return float(self._sequence.standard_normal())
        first, second = self._uniforms(key)
        return math.sqrt(-2.0 * math.log1p(-first)) * math.cos(2.0 * math.pi * second)  # Box and Muller

    def uniform(self, key: object = None) -> float:
        """One number of [0, 1): the next of the sequence, or the one that belongs to `key`."""
        return float(self._sequence.random()) if key is None else self._uniforms(key)[0]

    def generator(self, key: object) -> np.random.Generator:
        """A generator of its own for `key`: for more than a number, as it takes much longer to make."""
        return np.random.Generator(np.random.SFC64(int.from_bytes(self._digest(key), "little")))

    def _uniforms(self, key: object) -> tuple[float, float]:
        """Two numbers of [0, 1) from the hash of `key`, 53 bits each."""
        first, second = struct.unpack("<QQ", self._digest(key))
        return (first >> 11) / 2**53, (second >> 11) / 2**53

    def _digest(self, key: object) -> bytes:
        return hashlib.blake2b(f"{self.seed}/{self.name}/{key}".encode(), digest_size=16).digest()
