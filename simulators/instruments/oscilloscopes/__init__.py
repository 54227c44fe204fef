"""Simulated oscilloscopes."""
