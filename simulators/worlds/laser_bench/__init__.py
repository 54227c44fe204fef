"""A foil heated by a fibre laser behind a gate: `world.LaserBench` is what simulated instruments talk to."""
