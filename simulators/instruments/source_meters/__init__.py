"""Simulated source-meters."""
