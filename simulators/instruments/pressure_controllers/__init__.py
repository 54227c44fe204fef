"""Simulated pressure controllers."""
