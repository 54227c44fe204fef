"""Simulated instruments by class: the wire personality of one model, backed by a world."""
