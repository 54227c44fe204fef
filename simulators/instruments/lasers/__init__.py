"""Simulated lasers and their gates."""
