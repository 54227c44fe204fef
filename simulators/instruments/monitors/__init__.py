"""Simulated monitors."""
