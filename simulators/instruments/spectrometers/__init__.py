"""Simulated spectrometers."""
