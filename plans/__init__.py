"""What an experiment does, in which order (Bluesky generators)."""
