"""Servers for the protocols that instruments speak, with faults at byte level."""
