"""Simulated function generators."""
