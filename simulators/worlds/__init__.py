"""Worlds: the physics of one experimental system, with known truth."""
