"""Simulated presses."""
