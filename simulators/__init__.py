"""Worlds (physics forward), instruments (text in, text out), their wires, clock and faults."""
