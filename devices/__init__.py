"""What an instrument is and how it is spoken to (ophyd devices over links)."""
