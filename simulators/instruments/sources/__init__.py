"""Simulated current sources."""
