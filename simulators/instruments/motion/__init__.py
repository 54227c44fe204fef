"""Simulated motion."""
