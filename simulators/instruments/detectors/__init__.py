"""Simulated detectors."""
