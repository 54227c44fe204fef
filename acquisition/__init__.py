"""Puts a run together: rig, session, journal, export, report and the command line."""
