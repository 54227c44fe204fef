"""Live analyses: callbacks that reduce documents and are read back into the run as devices."""
